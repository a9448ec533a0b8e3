"""What an assistant is sent of the list, by role: frozen beside the surface, so that a change of it is seen."""

from typing import Any

from codeb.entry.mcp.core import CORE
from codeb.entry.mcp.doors import parted
from codeb.entry.mcp.listing import characters, listed
from codeb.model.access import Role
from codeb.tools.catalog import TOOLS


def snapshot() -> dict[str, Any]:
    """Which tools each role is shown, how many characters its model reads, and what those are."""
    shown: dict[str, Any] = {}
    names: dict[str, list[str]] = {}
    read: dict[str, int] = {}
    for role in Role:
        first, doors = parted([tool for tool in TOOLS if role.covers(tool.role)], CORE)
        each = [*listed(first), *doors]
        names[role.value] = [tool.name for tool in each]
        read[role.value] = sum(characters(tool) for tool in each)
        shown |= {tool.name: {"description": tool.description, "inputSchema": tool.input_schema} for tool in each}
    return {"characters": read, "listed": names, "tools": shown}
