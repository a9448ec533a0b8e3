"""What an assistant is shown: the tools its key may use, in one order, with honest hints."""

import json
from collections.abc import Iterable
from typing import Any

from mcp_types import ListToolsResult, PaginatedRequestParams, ToolAnnotations
from mcp_types import Tool as Shown

from codeb.entry.mcp import schemas
from codeb.entry.mcp.doors import Doors
from codeb.entry.mcp.surroundings import Context, Surroundings
from codeb.tools.tool import Risk, Tool

PREFIX = "mcp__plugin_we_codeb__"
"""what clients put before the names of a plugin's tools"""
OUTSIDE = frozenset({"pr", "git", "domain"})
"""families whose tools speak with somebody beyond this installation: GitHub, the world's name servers"""
FRESH_MS = 60_000
"""a key's rights change seldom, and a call that is not allowed is refused whatever the list said"""


def annotations(tool: Tool[Any]) -> ToolAnnotations:
    """Hints, never protection. Repeating a call that changes something is harmless only under an idempotency key."""
    reads = tool.risk is Risk.READS
    return ToolAnnotations(
        title=tool.title, read_only_hint=reads, destructive_hint=tool.risk is Risk.DESTROYS, idempotent_hint=reads,
        open_world_hint=tool.family in OUTSIDE,
    )  # fmt: skip


def shown(tool: Tool[Any]) -> Shown:
    return Shown(
        name=tool.name, title=tool.title, description=tool.about, input_schema=schemas.said(tool),
        output_schema=schemas.answered(tool), annotations=annotations(tool),
    )  # fmt: skip


def characters(tool: Shown) -> int:
    """How many of a tool a model is sent, by a plugin."""
    schema = json.dumps(tool.input_schema, ensure_ascii=False, separators=(",", ":"))
    return len(PREFIX + tool.name) + len(tool.description or "") + len(schema)


def listed(tools: Iterable[Tool[Any]]) -> list[Shown]:
    return [shown(tool) for tool in tools]


class Listing:
    """`tools/list`: it counts as a call of the key, and is on record like one."""

    def __init__(self, around: Surroundings, doors: Doors) -> None:
        self._around = around
        self._doors = doors

    async def __call__(self, ctx: Context, params: PaginatedRequestParams | None) -> ListToolsResult:
        actor = self._around.enter(ctx, "get_tools")
        first, doors = self._doors.shown(self._around.house.gate.offered(actor))
        tools = [*listed(first), *doors]
        return ListToolsResult(tools=tools, ttl_ms=FRESH_MS, cache_scope="private")
