"""`tools/call`: a call of the gate, and its answer as an assistant reads it.

A call is a task of its own: whoever hangs up cancels nothing. One that runs as an operation is waited for as long as clients
are patient, and then answered by the operation that goes on.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from mcp.shared.exceptions import MCPError
from mcp_types import INVALID_PARAMS, CallToolRequestParams, CallToolResult, InputRequiredResult

from codeb.entry.mcp.asking import Asking
from codeb.entry.mcp.begun import Begun, follow, running
from codeb.entry.mcp.doors import Doors
from codeb.entry.mcp.helps import helps
from codeb.entry.mcp.schemas import SNAKE_WAIT, WAIT
from codeb.entry.mcp.shown import result
from codeb.entry.mcp.surroundings import Context, Surroundings
from codeb.errors import InvalidParams, PublicError
from codeb.gate import Answer
from codeb.tools.tool import Tool

WAIT_SECONDS, MOST_SECONDS = 45, 50
"""common clients give a request up after sixty"""

Said = CallToolResult | InputRequiredResult | dict[str, Any]
Instead = Callable[[Context, Begun], Awaitable[Said | None]]
"""what answers a call whose operation has begun in another way than by waiting for it; None: it does not"""
How = Callable[[Context, Tool[Any], dict[str, Any]], dict[str, Any]]
"""how a call is made, beside what it says: fields of `Asked`"""


class Calls:
    def __init__(self, around: Surroundings, doors: Doors) -> None:
        self.how: list[How] = []
        self.instead: list[Instead] = []
        self._around = around
        self._asking = Asking(around)
        self._doors = doors
        self._under_way: set[asyncio.Task[Answer]] = set()

    async def __call__(self, ctx: Context, params: CallToolRequestParams) -> Any:
        # a client that says no arguments at all means none
        said = dict(params.arguments or {})
        try:
            name, said = self._doors.through(params.name, said, self._around.caller(ctx))
            if self._doors.finds(name):
                return self._doors.find(ctx, said)
            return await self._call(ctx, params, name, said)
        except PublicError as fault:
            return result(self._around.refused(self._around.caller(ctx), params.name, fault))

    async def _call(self, ctx: Context, params: CallToolRequestParams, name: str, said: dict[str, Any]) -> Said:
        caller, tool = self._around.caller(ctx), self._around.house.gate.named(name)
        if tool is None:
            # the gate says so, and puts it on record
            unknown = self.begin(Begun(caller.asks(name, said)))
            return self.told(ctx, said, await asyncio.shield(unknown.task))
        seconds = _patience(tool, said)
        said = self._asking.without_a_models_word(ctx, caller, tool, said)
        how: dict[str, Any] = {}
        for made in self.how:
            how |= made(ctx, tool, said)
        if params.request_state is not None:
            said, once = self._asking.answered(caller, tool, said, params)
            how |= once
        begun = self.begin(Begun(caller.asks(name, said, **how)))
        if tool.long:
            seconds -= await _until_known(begun)
            for each in self.instead if begun.operation_id and not begun.task.done() else ():
                if (other := await each(ctx, begun)) is not None:
                    return other
            # what was not known in time is not known later either, as far as this answer goes
            await follow(ctx, begun, self._around.house, seconds if begun.operation_id else 0)
            if not begun.task.done():
                return result(await running(begun, self._around, caller), ())
        answer = await asyncio.shield(begun.task)
        if question := self._asking.question(ctx, caller, tool, said, answer):
            return question
        return self.told(ctx, said, answer)

    def begin(self, begun: Begun) -> Begun:
        """Make the call, detached from whoever asked for it."""
        task = begun.task = asyncio.create_task(self._around.house.gate.call(begun.asked), name=f"mcp {begun.asked.tool}")
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        task.add_done_callback(lambda _: begun.changed.set())
        return begun

    def told(self, ctx: Context, said: dict[str, Any], answer: Answer) -> CallToolResult:
        """The whole result of a call that has ended. Raises `MCPError` where there is no such tool."""
        if answer.body.get("code") == "unknown_tool":
            raise MCPError(INVALID_PARAMS, f"{answer.body['error']} {answer.body['hint']}", answer.body)
        return result(answer, helps(answer.body, said, self._around.offered(self._around.caller(ctx))))


async def _until_known(begun: Begun) -> float:
    """How long it took until it was known which operation it began. It is waited for as long as clients are patient, whatever
    was said: who does not know the operation cannot follow it."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    with suppress(TimeoutError):
        async with asyncio.timeout(WAIT_SECONDS):
            await begun.known()
    return loop.time() - began


def _patience(tool: Tool[Any], said: dict[str, Any]) -> float:
    """How long a call that runs as an operation is waited for; it is no param of the tool. Raises `InvalidParams`."""
    spelt = [each for each in (WAIT, SNAKE_WAIT) if each in said]
    if not tool.long or len(spelt) != 1:
        return WAIT_SECONDS
    seconds = said.pop(spelt[0])
    if type(seconds) is not int or not 0 <= seconds <= MOST_SECONDS:
        raise InvalidParams(
            f"{WAIT} has to be a whole number from 0 to {MOST_SECONDS}; nothing was done.",
            hint="The operation goes on after that; operation_get follows it.",
            details={"fields": [{"field": WAIT, "problem": f"is no whole number from 0 to {MOST_SECONDS}"}]},
        )  # fmt: skip
    return seconds
