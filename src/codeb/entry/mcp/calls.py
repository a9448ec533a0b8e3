"""`tools/call`: a call of the gate, and its answer as an assistant reads it.

A call is a task of its own: whoever hangs up cancels nothing.
"""

import asyncio

from mcp_types import CallToolRequestParams, CallToolResult, TextContent

from codeb.entry.mcp.surroundings import Context, Surroundings
from codeb.gate import Answer, Asked


def result(answer: Answer) -> CallToolResult:
    """The gate's own envelope as data, and the same facts as text."""
    text = str(answer.body.get("summary", ""))
    return CallToolResult(content=[TextContent(text=text)], structured_content=answer.body, is_error=not answer.ok)


class Calls:
    def __init__(self, around: Surroundings) -> None:
        self._around = around
        self._under_way: set[asyncio.Task[Answer]] = set()

    async def __call__(self, ctx: Context, params: CallToolRequestParams) -> CallToolResult:
        asked = self._around.caller(ctx).asks(params.name, params.arguments or {})
        return result(await asyncio.shield(self.begin(asked)))

    def begin(self, asked: Asked) -> "asyncio.Task[Answer]":
        """Make the call, detached from whoever asked for it."""
        task = asyncio.create_task(self._around.house.gate.call(asked), name=f"mcp {asked.tool}")
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        return task
