"""Operations as tasks: the task's id is the operation's, so a task outlives every process that was told of it.

A long call is made under an idempotency key, and goes on detached once its handle is answered. When the operation has ended, the
answer is that call's, or, where this process did not make it, that of the same call made once more: it begins nothing.
"""

import asyncio
from collections.abc import Mapping
from typing import Any

from mcp.server.lowlevel import Server
from mcp.shared.exceptions import MCPError
from mcp_types import INTERNAL_ERROR, INVALID_REQUEST, CallToolResult

from codeb.entry.mcp import tasks
from codeb.entry.mcp.begun import Begun
from codeb.entry.mcp.caller import Caller
from codeb.entry.mcp.calls import Calls
from codeb.entry.mcp.surroundings import Context, Surroundings
from codeb.entry.mcp.tasks import POLL_MS, task
from codeb.errors import PublicError
from codeb.gate import Answer, Asked, Gate
from codeb.tools.tool import Tool

LOOK_SECONDS = 3
"""how long a look may wait for news: a client that asks every second must not use up what its key may call in a minute"""
ANSWER_SECONDS = 2.0
"""how long a look may wait for the answer of what has ended; then the next one has it"""
MOST_SEEN = 1_000
FOLLOW = "operation_get"
PASSING = frozenset({"rate_limited", "stopping", "still_running"})
"""refusals after which the same call is made again by the next look"""


class Operations:
    """The tasks of the house."""

    def __init__(self, around: Surroundings, calls: Calls) -> None:
        self._around = around
        self._calls = calls
        self._seen: dict[str, tuple[int, tasks.Task]] = {}
        """of what is under way: how many changes were told, so that the next look waits for another one, and in which words"""
        self._fetching: dict[str, asyncio.Task[Answer]] = {}
        """the answers that are waited for: calls that were made here, or are made once more"""

    # a call that may be answered by a handle

    def how(self, ctx: Context, tool: Tool[Any], said: dict[str, Any]) -> dict[str, Any]:
        """Under an idempotency key, so that the call can be made once more by the operation it began."""
        if not tool.long or "idempotencyKey" in said or not tasks.declared(ctx):
            return {}
        return {"idempotency_key": self._around.house.kit.world.new_id("task")}

    async def instead(self, ctx: Context, begun: Begun) -> dict[str, Any] | None:
        """A handle in place of the answer: the operation is on record by now. Not for whoever said not to wait, nor for a key
        that could not follow it."""
        task_id, params = begun.operation_id, begun.asked.params
        caller = self._around.caller(ctx)
        if not task_id or not tasks.declared(ctx) or params.get("wait") is False or FOLLOW not in self._around.offered(caller):
            return None
        if await self._house_gate.that_began(begun.asked, task_id) is None:
            return None
        self._keep(task_id, begun.task)
        now = self._around.house.kit.world.now().isoformat()
        return {"resultType": "task", **task(task_id, "working", now, now), "statusMessage": f"{begun.asked.tool} has begun."}

    @property
    def _house_gate(self) -> Gate:
        return self._around.house.gate

    def _keep(self, task_id: str, answer: "asyncio.Task[Answer]") -> None:
        self._fetching[task_id] = answer
        answer.add_done_callback(lambda _: self._fetching.pop(task_id, None))

    # looking

    async def look(self, ctx: Context, task_id: str) -> tasks.Task | None:
        caller = self._around.caller(ctx)
        again = await self._mine(caller, task_id)
        if again is None:
            return None
        changes, before = self._seen.get(task_id, (0, None))
        params = {"operationId": task_id, "waitSeconds": LOOK_SECONDS, "seen": changes}
        seen = await self._ask(caller.asks(FOLLOW, params))
        if seen.status == 404:
            return None
        if seen.status == 429 and before is not None:
            # a client that is refused takes the task for lost, which it is not
            return {**before, "pollIntervalMs": 1_000 * int(seen.body["details"].get("retryAfterSeconds", 1)) + POLL_MS}
        if not seen.ok:
            raise _refused(seen)
        return await self._told(ctx, task_id, seen.body, again)

    async def _told(self, ctx: Context, task_id: str, body: Mapping[str, Any], again: Asked) -> tasks.Task:
        view = body["operation"]
        if view["endedAt"] is None:
            return self._note(task_id, body["changes"], _working(task_id, body))
        self._seen.pop(task_id, None)
        if view["state"] == "cancelled":
            ended = task(task_id, "cancelled", view["startedAt"], view["endedAt"])
            return {**ended, "statusMessage": f"{_what(view)} was cancelled; everything it had done is undone."}
        answer = await self._answer(task_id, again)
        if answer is None:
            return _working(task_id, body)
        told = self._result(ctx, again, answer if _tells(answer) else _recorded(body))
        said = "failed" if told.get("isError") else "succeeded"
        ended = task(task_id, "completed", view["startedAt"], view["endedAt"])
        return {**ended, "statusMessage": f"{_what(view)} {said}.", "result": told}

    def _result(self, ctx: Context, again: Asked, answer: Answer) -> dict[str, Any]:
        """As a call that was waited for is answered."""
        told: CallToolResult = self._calls.told(ctx, again.params, answer)
        return {"resultType": "complete", **told.model_dump(by_alias=True, mode="json", exclude_none=True)}

    def _note(self, task_id: str, changes: int, told: tasks.Task) -> tasks.Task:
        self._seen.pop(task_id, None)
        while len(self._seen) >= MOST_SEEN:
            del self._seen[next(iter(self._seen))]
        self._seen[task_id] = (changes, told)
        return told

    async def _answer(self, task_id: str, again: Asked) -> Answer | None:
        """None while it is not there: another operation may have grown out of this one, and the call waits for it too."""
        fetching = self._fetching.get(task_id)
        if fetching is None:
            fetching = self._ask(again)
            self._keep(task_id, fetching)
        await asyncio.wait({fetching}, timeout=ANSWER_SECONDS)
        if not fetching.done():
            return None
        answer = fetching.result()
        return None if answer.body.get("code") in PASSING else answer

    async def _mine(self, caller: Caller, task_id: str) -> Asked | None:
        """The call that this task is. An unknown one is on record as what it is: a look at something that is not there."""
        gate, look = self._house_gate, caller.asks(FOLLOW)
        try:
            again = await gate.that_began(look, task_id)
        except PublicError as fault:
            raise MCPError(INTERNAL_ERROR, f"{fault.message} {fault.hint}".strip()) from fault
        if again is None:
            gate.refused(look, 404, "operation_not_found", "A task that is not there was asked for.")
        return again

    def _ask(self, asked: Asked) -> "asyncio.Task[Answer]":
        """Detached from whoever looks."""
        return self._calls.begin(Begun(asked)).task

    # the rest

    async def hear(self, ctx: Context, task_id: str, responses: Mapping[str, Any]) -> bool:
        """An operation asks nothing: what has to be asked is asked before it begins."""
        return await self._mine(self._around.caller(ctx), task_id) is not None

    async def cancel(self, ctx: Context, task_id: str) -> bool:
        caller = self._around.caller(ctx)
        if await self._mine(caller, task_id) is None:
            return False
        asking = self._ask(caller.asks("operation_cancel", {"operationId": task_id}))
        await asyncio.wait({asking}, timeout=ANSWER_SECONDS)
        if not asking.done():
            return True
        said = asking.result()
        if said.status == 404:
            return False
        # one that has ended, or can only finish, was asked all the same
        if not said.ok and said.status != 409:
            raise _refused(said)
        return True


def _refused(answer: Answer) -> MCPError:
    code = INTERNAL_ERROR if answer.status >= 500 else INVALID_REQUEST
    body = answer.body
    return MCPError(code, f"{body['error']} {body['hint']}".strip(), {"code": body["code"], "details": body["details"]})


def _what(view: Mapping[str, Any]) -> str:
    """Of names alone that the grammar made: it may be shown to anybody, and read by any model."""
    return f"{view['tool']} of {view['projectName']} {view['environment']}"


def _working(task_id: str, body: Mapping[str, Any]) -> dict[str, Any]:
    view = body["operation"]
    done = sum(each["status"] == "done" for each in body["steps"])
    step = f"step {view['step']}, {done} done" if view["step"] else f"{done} steps done"
    return {
        **task(task_id, "working", view["startedAt"], body["timestamp"]), "statusMessage": f"{_what(view)}: {step}.",
    }  # fmt: skip


def _tells(answer: Answer) -> bool:
    """Whether it is how the call ended, not why it could not be made again."""
    return answer.ok or answer.body["details"].get("state") in ("failed", "cancelled")


def _recorded(body: Mapping[str, Any]) -> Answer:
    """The answer from what is on record, where the call cannot be made again: its project is gone, or the key has less rights."""
    view = body["operation"]
    told = {
        "success": True, **(body["result"] or {}), "operationId": view["operationId"], "steps": body["steps"],
        "summary": f"{_what(view)} {view['state']}.", "next": [], "warnings": view["warnings"],
    }  # fmt: skip
    if view["state"] == "succeeded":
        return Answer(200, told)
    error = view["error"] or {}
    fault = {
        "success": False, "error": str(error.get("message", "It did not finish.")), "code": str(error.get("code", "failed")),
        "hint": str(error.get("hint", "")), "details": {"operationId": view["operationId"], "state": view["state"]},
        "retryable": False,
    }  # fmt: skip
    return Answer(409, fault | {name: told[name] for name in ("summary", "next", "warnings")})


def part(server: Server[Any], around: Surroundings, calls: Calls) -> None:
    """Our tasks, as a part of the server."""
    operations = Operations(around, calls)
    calls.how.append(operations.how)
    calls.instead.append(operations.instead)
    tasks.serve(server, operations)
