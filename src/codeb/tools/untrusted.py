"""Which fields of an answer hold text that others wrote: logs, titles, branch names, messages (S25).

A result marks such a field with `fields.UNTRUSTED` (`fields.Untrusted` for a plain text). Every answer of it names them in
`untrusted`, as paths (`lines`, `tasks[].title`), and the assistants' entry shows them apart, as data. Such text goes
into no `summary`, `next` or `warnings`.
"""

from functools import cache
from typing import Any

from codeb.tools.fields import Result

MARK = "x-untrusted"
EVIDENCE = ("logs", "locks", "github", "reason", "said", "vendor", "output")
"""of a refusal's details: the last lines that a container printed, what somebody else works on, what GitHub said, why somebody
said no or what another program gave as its reason, said (a name server), answered (a vendor) or printed"""


@cache
def paths(model: type[Result]) -> tuple[str, ...]:
    """Of the marked fields, in the order of the schema, by their wire names."""
    schema = model.model_json_schema(by_alias=True, mode="serialization")
    return tuple(dict.fromkeys(_paths(schema, schema.get("$defs", {}), "", ())))


def _paths(schema: Any, shapes: dict[str, Any], here: str, within: tuple[str, ...]) -> list[str]:
    if not isinstance(schema, dict):
        return []
    if schema.get(MARK):
        return [here]
    ref = schema.get("$ref")
    if ref is not None:
        return [] if ref in within else _paths(shapes[ref.rpartition("/")[2]], shapes, here, (*within, ref))
    found: list[str] = []
    for either in ("anyOf", "oneOf", "allOf"):
        for each in schema.get(either, ()):
            found += _paths(each, shapes, here, within)
    for name, each in schema.get("properties", {}).items():
        found += _paths(each, shapes, f"{here}.{name}" if here else name, within)
    found += _paths(schema.get("items"), shapes, f"{here}[]", within)
    found += _paths(schema.get("additionalProperties"), shapes, f"{here}[]", within)
    return found
