"""`tools/call`: a call of the gate, and its answer as an assistant reads it.

A call is a task of its own: whoever hangs up cancels nothing.
"""

import asyncio
from typing import Any, Protocol

from mcp_types import CallToolRequestParams, CallToolResult, TextContent

from codeb.entry.mcp.surroundings import Context, Surroundings
from codeb.gate import Answer, Asked


def result(answer: Answer) -> CallToolResult:
    """The gate's own envelope as data, and the same facts as text."""
    text = str(answer.body.get("summary", ""))
    return CallToolResult(content=[TextContent(text=text)], structured_content=answer.body, is_error=not answer.ok)


class Later(Protocol):
    """What answers a long call by a handle, to a client that takes one."""

    def later(self, ctx: Context, asked: Asked) -> Asked | None:
        """The same call without waiting, where a handle may be its answer."""

    def handle(self, answer: Answer) -> dict[str, Any]: ...


class Calls:
    def __init__(self, around: Surroundings) -> None:
        self.later: Later | None = None
        self._around = around
        self._under_way: set[asyncio.Task[Answer]] = set()

    async def __call__(self, ctx: Context, params: CallToolRequestParams) -> CallToolResult | dict[str, Any]:
        asked = self._around.caller(ctx).asks(params.name, params.arguments or {})
        later = self.later.later(ctx, asked) if self.later else None
        answer = await asyncio.shield(self.begin(later or asked))
        if self.later is not None and later is not None and answer.begun:
            return self.later.handle(answer)
        return result(answer)

    def begin(self, asked: Asked) -> "asyncio.Task[Answer]":
        """Make the call, detached from whoever asked for it."""
        task = asyncio.create_task(self._around.house.gate.call(asked), name=f"mcp {asked.tool}")
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        return task
