"""A tool's shapes as an assistant sees them: what to say, in as few characters as can be; and one shape for every answer."""

from functools import cache
from typing import Any

from pydantic.json_schema import models_json_schema

from codeb.entry.surface import ENVELOPE
from codeb.tools.fields import Params, Result
from codeb.tools.tool import Accepted, Plan, Tool

HIDDEN = frozenset(
    {
        # answers name them where they are needed
        "idempotencyKey", "planId", "wait", "timeout", "confirm",
        # seldom said: `tool_find` shows them
        "limit", "seen", "content", "memoryMb", "cpus", "redirect", "lockTtl", "s3Endpoint", "s3Bucket", "s3Region",
    }
)  # fmt: skip
"""accepted, and not worth their characters in every list"""
KEPT = frozenset({"type", "enum", "items", "additionalProperties", "properties", "required"})
"""of a field's schema; the grammar is the server's, and a refusal says it in words"""
WAIT, SNAKE_WAIT = "waitSeconds", "wait_s"
"""how long a call is waited for: as our fields are spelt, and as assistants know it from elsewhere"""

FAILURE: dict[str, Any] = {
    "type": "object",
    "required": ["error", "code", "hint", "details", "retryable"],
    "properties": {
        "success": {"const": False},
        "error": {"type": "string"}, "code": {"type": "string"}, "hint": {"type": "string"},
        "details": {"type": "object"}, "retryable": {"type": "boolean"},
    },
}  # fmt: skip


@cache
def said(tool: Tool[Any], *, whole: bool = False) -> dict[str, Any]:
    """The input schema; what an assistant has to say is required. Without `whole` hidden fields are left out, and so is that
    unknown ones are refused."""
    schema = tool.params.model_json_schema(by_alias=True)
    shapes = schema.get("$defs", {})
    must = {tool.params.model_fields[name].alias or name for name in tool.must_say}
    fields = schema.get("properties", {})
    required = [name for name in fields if name in must or name in schema.get("required", ())]
    fields = {
        name: _brief(each if name in required else _said_at_all(each), shapes)
        for name, each in fields.items()
        if whole or name not in HIDDEN or name in required
    }
    found: dict[str, Any] = {"type": "object", "properties": fields, **({"required": required} if required else {})}
    return found | ({"additionalProperties": False} if whole else {})


def _said_at_all(schema: dict[str, Any]) -> dict[str, Any]:
    """Without the null that a field may hold which is left out."""
    if "anyOf" not in schema:
        return schema
    return {**schema, "anyOf": [each for each in schema["anyOf"] if each.get("type") != "null"]}


def _brief(schema: Any, shapes: dict[str, Any]) -> Any:
    """Without titles, grammars and defaults, and with everything in its place."""
    if not isinstance(schema, dict):
        return schema
    if ref := schema.get("$ref"):
        return _brief(shapes[ref.rpartition("/")[2]], shapes)
    if "const" in schema:
        return {"const": schema["const"]}
    for either in ("anyOf", "oneOf", "allOf"):
        if either in schema:
            parts = [_brief(each, shapes) for each in schema[either]]
            if all(set(each) == {"type"} for each in parts) and len(parts) > 1:
                return {"type": [each["type"] for each in parts]}
            return parts[0] if len(parts) == 1 else {either: parts}
    found = {name: value for name, value in schema.items() if name in KEPT}
    if "enum" in found:
        found.pop("type", None)
    if "properties" in found:
        found["properties"] = {name: _brief(each, shapes) for name, each in found["properties"].items()}
    for inner in ("items", "additionalProperties"):
        if inner in found:
            found[inner] = _brief(found[inner], shapes)
    return found


@cache
def answered(tool: Tool[Any]) -> dict[str, Any]:
    """The output schema: one that holds for every answer, refusals too, since clients judge those by it as well."""
    models: list[type[Params] | type[Result]] = [tool.result]
    models += [Plan] if tool.changes or "dry_run" in tool.params.model_fields else []
    models += [Accepted] if tool.long else []
    refs, shared = models_json_schema([(each, "serialization") for each in models], by_alias=True)
    shapes = shared.get("$defs", {})
    for each in models:
        # the envelope's fields stand beside a result's own
        shapes[refs[each, "serialization"]["$ref"].rpartition("/")[2]].pop("additionalProperties", None)
    either = [FAILURE, *(refs[each, "serialization"] for each in models)]
    return {**ENVELOPE, "anyOf": either, "$defs": shapes}
