"""Tasks of the official suite, in memory: they sleep, fail, break, and ask. What serves them is the server's own `tasks`."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from mcp.shared.exceptions import MCPError
from mcp_types import MISSING_REQUIRED_CLIENT_CAPABILITY, CallToolRequestParams, CallToolResult

from codeb.entry.mcp import tasks
from codeb.entry.mcp.surroundings import Context
from tests.conformance.contents import NO_PARAMS, text
from tests.conformance.questions import Questions, form, name_in, wire

SECONDS: dict[str, Any] = {"type": "object", "properties": {"seconds": {"type": "number"}, "label": {"type": "string"}}}
SHAPES = {
    "slow_compute": SECONDS, "failing_job": NO_PARAMS, "protocol_error_job": NO_PARAMS, "multi_input": NO_PARAMS,
    "confirm_delete": {"type": "object", "properties": {"filename": {"type": "string"}}}, "test_tool_with_task": NO_PARAMS,
}  # fmt: skip
REQUIRED = frozenset({"failing_job", "test_tool_with_task"})
"""that cannot be answered without a task"""


@dataclass
class Job:
    id: str
    began: str
    status: str = "working"
    result: CallToolResult | None = None
    error: dict[str, Any] | None = None
    asked: dict[str, Any] = field(default_factory=dict)
    given: dict[str, Any] = field(default_factory=dict)
    heard: asyncio.Event = field(default_factory=asyncio.Event)
    task: "asyncio.Task[None] | None" = None

    def shown(self) -> dict[str, Any]:
        told: dict[str, Any] = {}
        if self.status == "input_required":
            told = {"inputRequests": self.asked}
        elif self.result is not None:
            told = {"result": {"resultType": "complete", **self.result.model_dump(by_alias=True, mode="json", exclude_none=True)}}
        elif self.error is not None:
            told = {"error": self.error, "statusMessage": "It broke."}
        return {**tasks.task(self.id, self.status, self.began, now()), **told}

    async def ask(self, **requests: dict[str, Any]) -> dict[str, Any]:
        """Return once all of it is answered."""
        self.asked, self.status = requests, "input_required"
        while self.asked:
            self.heard.clear()
            await self.heard.wait()
        self.status = "working"
        return self.given


def now() -> str:
    return datetime.now(UTC).isoformat()


class Jobs:
    """The fixture's `Works`."""

    def __init__(self, questions: Questions) -> None:
        self._questions = questions
        self._jobs: dict[str, Job] = {}

    async def call(self, ctx: Context, params: CallToolRequestParams) -> Any:
        can = tasks.declared(ctx)
        if params.name in REQUIRED and not can:
            needed: dict[str, Any] = {"requiredCapabilities": {"extensions": {tasks.EXTENSION: {}}}}
            raise MCPError(MISSING_REQUIRED_CLIENT_CAPABILITY, "This needs tasks.", needed)
        said = dict(params.arguments or {})
        if params.name == "test_tool_with_task":
            given = wire(params.input_responses)
            if "user_name" not in given:
                return self._questions.ask({"user_name": form("What is your name?", name="string")}, {"round": 0})
            self._questions.opened(params.request_state)
            said = {"name": name_in(given)}
        if not can or (params.name == "slow_compute" and not said.get("seconds")):
            await asyncio.sleep(float(said.get("seconds", 0)))
            return text(f"Done: {params.name}")
        job = Job(f"job-{len(self._jobs) + 1:04d}", now())
        self._jobs[job.id] = job
        job.task = asyncio.create_task(self._run(job, WORK[params.name], said))
        return {"resultType": "task", **tasks.task(job.id, "working", job.began, job.began)}

    async def _run(self, job: Job, work: "Work", said: dict[str, Any]) -> None:
        try:
            job.result = await work(job, said)
            job.status = "completed"
        except MCPError as fault:
            job.error = {"code": fault.error.code, "message": fault.error.message}
            job.status = "failed"
        except asyncio.CancelledError:
            job.status, job.asked = "cancelled", {}

    async def look(self, ctx: Context, task_id: str) -> tasks.Task | None:
        job = self._jobs.get(task_id)
        return job.shown() if job else None

    async def hear(self, ctx: Context, task_id: str, responses: Mapping[str, Any]) -> bool:
        job = self._jobs.get(task_id)
        if job is None:
            return False
        for name in set(responses) & set(job.asked):
            job.given[name] = responses[name]
            job.asked = {other: each for other, each in job.asked.items() if other != name}
        job.heard.set()
        await asyncio.sleep(0)
        return True

    async def cancel(self, ctx: Context, task_id: str) -> bool:
        job = self._jobs.get(task_id)
        if job is None:
            return False
        if job.task is not None and not job.task.done():
            job.task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await job.task
        return True


Work = Callable[[Job, dict[str, Any]], Awaitable[CallToolResult]]


async def _slow(job: Job, said: dict[str, Any]) -> CallToolResult:
    await asyncio.sleep(float(said["seconds"]))
    return text(f"Computed {said.get('label', '')}.")


async def _failing(job: Job, said: dict[str, Any]) -> CallToolResult:
    await asyncio.sleep(1)
    return text("The job failed.", error=True)


async def _breaking(job: Job, said: dict[str, Any]) -> CallToolResult:
    await asyncio.sleep(0.1)
    raise MCPError(-32603, "The job broke.")


async def _confirming(job: Job, said: dict[str, Any]) -> CallToolResult:
    await job.ask(confirm=form(f"Delete {said.get('filename', 'it')}?", confirm="boolean"))
    return text("Deleted.")


async def _asking_two(job: Job, said: dict[str, Any]) -> CallToolResult:
    given = await job.ask(first=form("First name?", name="string"), second=form("Second name?", name="string"))
    return text(f"Heard {len(given)} answers.")


async def _named(job: Job, said: dict[str, Any]) -> CallToolResult:
    await asyncio.sleep(0.1)
    return text(f"Done for {said['name']}.")


WORK: dict[str, Work] = {
    "slow_compute": _slow, "failing_job": _failing, "protocol_error_job": _breaking, "confirm_delete": _confirming,
    "multi_input": _asking_two, "test_tool_with_task": _named,
}  # fmt: skip
