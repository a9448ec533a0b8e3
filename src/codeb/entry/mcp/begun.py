"""A call that is under way: the operation it began, how far that is, and how it is waited for."""

import asyncio
from dataclasses import dataclass, field, replace
from typing import Any

from codeb.contracts.store import Registry
from codeb.entry.mcp.caller import Caller
from codeb.entry.mcp.surroundings import Context, Surroundings
from codeb.errors import PublicError
from codeb.gate import Answer, Asked
from codeb.model.journal import Operation, StepRow, StepState
from codeb.tools.refusals import step_list
from codeb.wiring import House

PACE_SECONDS = 1.0
"""between two notices of progress"""


@dataclass
class Begun:
    """One call, detached from the request that made it. Its `task` is there once it was begun."""

    asked: Asked
    operations: list[str] = field(default_factory=list)
    """that it began or waits for, in order"""
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    task: "asyncio.Task[Answer]" = field(init=False)

    def __post_init__(self) -> None:
        self.asked = replace(self.asked, told=self._told)

    def _told(self, operation_id: str) -> None:
        if operation_id not in self.operations:
            self.operations.append(operation_id)
        self.changed.set()

    @property
    def operation_id(self) -> str | None:
        """The first one: the call's own."""
        return self.operations[0] if self.operations else None

    async def known(self) -> None:
        """Return when its operation is known, or it has ended without one."""
        await self.changed.wait()


async def follow(ctx: Context, begun: Begun, house: House, seconds: float) -> None:
    """Return when the call has ended, or `seconds` are over; meanwhile tell of each step, where the client wants to know."""
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    told = -1
    while not begun.task.done() and (left := end - loop.time()) > 0:
        await asyncio.wait((begun.task,), timeout=min(left, PACE_SECONDS))
        if begun.task.done():
            return
        number, words = await _progress(begun, house)
        if number > told:
            told = number
            await ctx.session.report_progress(number, None, words)


async def _progress(begun: Begun, house: House) -> tuple[int, str]:
    """How many steps have ended, and at which it is. Only names of ours: it is shown to people as it stands."""
    ended, words = 0, "waiting to begin"
    for operation_id in list(begun.operations):
        try:
            operation, steps = await look(house, operation_id)
        except PublicError:
            break
        ended += sum(row.state is not StepState.INTENT for row in steps)
        if operation is not None:
            words = f"{operation.summary}: {operation.step or operation.state.value}"
    return ended, words


async def look(house: House, operation_id: str) -> tuple[Operation | None, list[StepRow]]:
    """Raises `Unavailable`."""

    async def both(registry: Registry) -> tuple[Operation | None, list[StepRow]]:
        return await registry.journal.get(operation_id), list(await registry.journal.steps(operation_id))

    return await house.kit.store.consult(both)


async def running(begun: Begun, around: Surroundings, caller: Caller) -> Answer:
    """The answer for a client whose patience is over: the operation that goes on, as `wait: false` would have shown it."""
    which = begun.operations[-1] if begun.operations else None
    if which is None:
        text = "The call is still under way, and has begun no operation yet."
        return Answer(200, around.dressed(caller, _accepted("", "running", [], text, [])))
    try:
        operation, steps = await look(around.house, which)
    except PublicError:
        operation, steps = None, []
    where = f" at step {operation.step}" if operation and operation.step else ""
    text = f"{operation.summary if operation else begun.asked.tool} is still running{where}; it goes on whoever waits."
    after = {"tool": "operation_get", "params": {"operationId": which, "waitSeconds": 45}, "why": "see how it ends"}
    state = operation.state.value if operation else "running"
    return Answer(200, around.dressed(caller, _accepted(which, state, step_list(steps), text, [after])))


def _accepted(which: str, state: str, steps: list[Any], summary: str, after: list[Any]) -> dict[str, Any]:
    return {
        "success": True, "operationId": which, "state": state, "steps": steps, "summary": summary, "next": after, "warnings": [],
    }  # fmt: skip
