"""Which values of a call are not kept as they are, wherever in the params they stand: those whose schema says `writeOnly`
are secrets, and of those that say `contentMediaType`, whole files, the log keeps which one it was."""

import hashlib
from functools import cache
from typing import Any

from codeb.tools.fields import Params

HIDDEN = "…"


@cache
def _schema(model: type[Params]) -> dict[str, Any] | None:
    """None where nothing is hidden, which is nearly everywhere."""
    schema = model.model_json_schema(by_alias=True)
    return schema if any(word in repr(schema) for word in ("'writeOnly': True", "'contentMediaType'")) else None


def hidden(model: type[Params], said: dict[str, Any]) -> dict[str, Any]:
    """The validated params (wire names) with `…` for every secret, so that it still shows that one was given, and
    the size and SHA-256 of every file."""
    schema = _schema(model)
    if schema is None:
        return said
    found: dict[str, Any] = _without(schema, said, schema.get("$defs", {}))
    return found


def _without(schema: Any, value: Any, shapes: dict[str, Any]) -> Any:
    if value is None or not isinstance(schema, dict):
        return value
    if schema.get("writeOnly"):
        return HIDDEN
    if schema.get("contentMediaType") and isinstance(value, str):
        return f"a file of {len(value)} characters, sha256 {hashlib.sha256(value.encode()).hexdigest()}"
    if "$ref" in schema:
        value = _without(shapes.get(schema["$ref"].rpartition("/")[2]), value, shapes)
    for either in ("anyOf", "oneOf", "allOf"):
        for each in schema.get(either, ()):
            # a value may be hidden by a branch it is not of: too much rather than too little
            value = _without(each, value, shapes)
    if isinstance(value, dict):
        named, others = schema.get("properties", {}), schema.get("additionalProperties")
        return {name: _without(named.get(name, others), each, shapes) for name, each in value.items()}
    if isinstance(value, list):
        return [_without(schema.get("items"), each, shapes) for each in value]
    return value
