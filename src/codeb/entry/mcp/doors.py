"""Three doors to the tools that are not listed one by one: find one, call one that only reads, call any other.

A tool called through a door is called as by its own name: the same checks, the same record. Each door refuses what belongs
to the other, so that what a client was told of it stays true.
"""

from collections.abc import Sequence
from typing import Any

from mcp_types import CallToolResult, ToolAnnotations
from mcp_types import Tool as Shown

from codeb.entry.mcp import schemas
from codeb.entry.mcp.caller import Caller
from codeb.entry.mcp.shown import result
from codeb.entry.mcp.surroundings import Context, Surroundings
from codeb.entry.surface import ENVELOPE
from codeb.errors import InvalidParams
from codeb.gate import Answer
from codeb.model.access import Role
from codeb.model.names import did_you_mean
from codeb.tools.tool import Tool

FIND, READ, CHANGE = "tool_find", "tool_read", "tool_change"
MOST_FOUND = 8
ANY: dict[str, Any] = {
    "type": "object", "properties": {"tool": {"type": "string"}, "arguments": {"type": "object"}}, "required": ["tool"],
    "additionalProperties": False,
}  # fmt: skip
WORDS: dict[str, Any] = {
    "type": "object", "properties": {"words": {"type": "string"}}, "required": ["words"], "additionalProperties": False,
}  # fmt: skip
ANSWER: dict[str, Any] = {**ENVELOPE}


def _door(name: str, about: str, says: dict[str, Any], *, reads: bool) -> Shown:
    hints = ToolAnnotations(read_only_hint=reads, destructive_hint=not reads, idempotent_hint=reads, open_world_hint=name != FIND)
    return Shown(name=name, description=about, input_schema=says, output_schema=ANSWER, annotations=hints)


LOOK = "Find tools, unlisted ones too (teams, keys, ports, servers, firewall, images, audit), by words; shows all fields."
DOORS = (
    _door(FIND, LOOK, WORDS, reads=True),
    _door(READ, "Call a tool that only reads, found by tool_find.", ANY, reads=True),
    _door(CHANGE, "Call a tool that changes or destroys something, found by tool_find.", ANY, reads=False),
)  # fmt: skip


def parted(tools: Sequence[Tool[Any]], listed: Sequence[str] | None) -> tuple[list[Tool[Any]], list[Shown]]:
    """The tools that are listed one by one, in that order, and the doors that the others need."""
    if listed is None:
        return list(tools), []
    by_name = {tool.name: tool for tool in tools}
    first = [by_name[name] for name in listed if name in by_name]
    others = [tool for tool in tools if tool not in first]
    if not others:
        return first, []
    return first, [*DOORS[:2], *(DOORS[2:] if any(tool.changes for tool in others) else ())]


class Doors:
    """`listed` are the names of the tools that have no need of them; None: all."""

    def __init__(self, around: Surroundings, listed: Sequence[str] | None) -> None:
        self._around = around
        self._listed = listed

    def shown(self, tools: Sequence[Tool[Any]]) -> tuple[list[Tool[Any]], list[Shown]]:
        """What is listed of the tools somebody may use, and the doors to the others."""
        return parted(tools, self._listed)

    def finds(self, name: str) -> bool:
        return self._listed is not None and name == FIND

    def through(self, name: str, said: dict[str, Any], caller: Caller) -> tuple[str, dict[str, Any]]:
        """Which tool is really called, and with what. Raises `InvalidParams`: `wrong_door`, or for no such tool."""
        if self._listed is None or name not in (READ, CHANGE):
            return name, said
        which, params = said.get("tool"), said.get("arguments", {})
        if set(said) - {"tool", "arguments"} or not isinstance(which, str) or not isinstance(params, dict):
            raise InvalidParams(
                f"{name} takes tool, a name, and arguments, an object; nothing was done.", hint="Known fields: tool, arguments."
            )
        tool = self._around.house.gate.named(which)
        if tool is None:
            near = did_you_mean(which[:64], self._around.offered(caller))
            raise InvalidParams("There is no such tool; nothing was done.", hint=near or "Look for it with tool_find.")
        if tool.changes == (name == READ):
            fits, does = (CHANGE, "changes something") if tool.changes else (READ, "only reads")
            raise InvalidParams(
                f"{tool.name} {does}, so {name} does not call it; nothing was done.",
                code="wrong_door", hint=f"Call it through {fits}, or by its own name.",
            )  # fmt: skip
        return tool.name, dict(params)

    def find(self, ctx: Context, said: dict[str, Any]) -> CallToolResult:
        """Raises `InvalidParams`, `MCPError`."""
        words = said.get("words")
        if set(said) != {"words"} or not isinstance(words, str) or not 1 <= len(words) <= 200:
            raise InvalidParams(f"{FIND} takes words, 1 to 200 characters; nothing was done.", hint="Known fields: words.")
        actor = self._around.enter(ctx, FIND)
        tools = self._around.house.gate.offered(actor)
        found = sorted(((_fit(tool, words), tool) for tool in tools), key=lambda each: -each[0])
        best = [_described(tool) for fit, tool in found if fit][:MOST_FOUND]
        rest = sum(bool(fit) for fit, _ in found) - len(best)
        summary = f"{len(best)} tools." if best else "No tool this key may use has to do with that."
        hint = [] if best else [f"There are: {', '.join(tool.name for tool in tools)}."]
        body = {"success": True, "tools": best, "more": rest, "summary": summary, "next": [], "warnings": hint}
        return result(Answer(200, self._around.dressed(self._around.caller(ctx), body)))


def _fit(tool: Tool[Any], words: str) -> int:
    """How much a tool has to do with the words: its name counts most."""
    text = f"{tool.title} {tool.about} {' '.join(tool.aliases)}".lower()
    score = 0
    for word in words.lower().replace("_", " ").split():
        stem = word[:-1] if len(word) > 3 and word.endswith("s") else word
        score += 5 * (stem in tool.name.split("_")) + 2 * (stem in tool.name) + (stem in text)
    return score + 20 * (tool.name in words.lower().split())


def _described(tool: Tool[Any]) -> dict[str, Any]:
    door = CHANGE if tool.changes else READ
    return {
        "name": tool.name, "about": tool.about, "role": Role(tool.role).value, "risk": tool.risk.value, "door": door,
        "inputSchema": schemas.said(tool, whole=True),
    }  # fmt: skip
