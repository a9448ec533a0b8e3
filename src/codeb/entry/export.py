"""`GET /api/audit`: the tool `audit_list` for programs that can only get, and everything it would show as JSON lines."""

import json
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

from starlette.datastructures import QueryParams

from codeb.errors import InvalidParams
from codeb.tools.audit import AuditView, ListParams, asked, pages
from codeb.tools.call import Call

FORMATS = ("json", "jsonl")
KINDS: dict[str, Callable[[str], Any]] = {
    "integer": lambda text: int(text) if text.isascii() and text.isdecimal() and len(text) < 20 else text,
    "boolean": lambda text: {"true": True, "false": False}.get(text, text),
    "string": str,
}


def fields() -> dict[str, dict[str, Any]]:
    """What may stand in the query, each with its schema less the null."""
    said = ListParams.model_json_schema(by_alias=True)["properties"]
    return {name: next((each for each in of.get("anyOf", ()) if each["type"] != "null"), of) for name, of in said.items()}


def parameters() -> list[dict[str, Any]]:
    """As OpenAPI has them."""
    said = fields() | {"format": {"type": "string", "enum": list(FORMATS)}}
    return [{"name": name, "in": "query", "required": False, "schema": schema} for name, schema in said.items()]


def wanted(query: QueryParams) -> tuple[dict[str, Any], bool]:
    """The params of the tool, and whether as lines. Raises `InvalidParams`; the tool refuses what it does not know."""
    said = query.multi_items()
    if len({name for name, _ in said}) < len(said):
        raise InvalidParams("A field stands in the query twice; nothing was done.", code="malformed")
    params, known = dict[str, Any](said), fields()
    form = params.pop("format", "json")
    if form not in FORMATS:
        raise InvalidParams("format is json or jsonl; nothing was done.")
    return {name: KINDS[known[name]["type"]](text) if name in known else text for name, text in params.items()}, form == "jsonl"


def lines(call: Call, params: ListParams, still: Callable[[], object]) -> AsyncIterator[bytes]:
    """One row a line, newest first: all there are, or `limit` if that was said. What is held is one page.

    `still` is called before each page and raises when the caller may not go on.
    """
    ask = asked(call, params)
    most = params.limit if "limit" in params.model_fields_set else None

    async def told() -> AsyncIterator[bytes]:
        left = most
        async for page in pages(call, ask, params.before):
            still()
            page = page if left is None else page[:left]
            yield b"".join(_line(row) for row in page)
            left = None if left is None else left - len(page)
            if left == 0:
                return

    return told()


def _line(row: AuditView) -> bytes:
    said: Mapping[str, Any] = row.model_dump(by_alias=True)
    return json.dumps(said, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace") + b"\n"
