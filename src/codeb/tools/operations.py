"""Operations: get, list, cancel."""

from typing import Any

from pydantic import Field

from codeb.contracts.store import Registry
from codeb.errors import NotFound
from codeb.model.access import Role
from codeb.model.journal import Operation, OpState, StepRow
from codeb.tools import fields
from codeb.tools.call import Call
from codeb.tools.drafts import Draft, draft
from codeb.tools.refusals import step_list
from codeb.tools.tool import NextCall, Outcome, Risk, Tool


class OperationView(fields.Result):
    operation_id: str
    tool: str
    project_name: str
    environment: str
    state: str
    summary: str
    step: str | None
    started_at: str
    started_by: str
    ended_at: str | None
    resumed: int
    cancel_requested: bool
    follows: str | None
    error: dict[str, Any] | None = Field(None, json_schema_extra=fields.UNTRUSTED)
    warnings: list[str] = Field([], json_schema_extra=fields.UNTRUSTED)


class GetParams(fields.Params):
    operation_id: fields.OperationId
    wait_seconds: int = Field(0, ge=0, le=60, description="answer when something changed after `seen`, or after this long")
    seen: int = Field(0, ge=0, le=2**31, description="the `changes` of the answer before")


class GetResult(fields.Result):
    operation: OperationView
    steps: list[dict[str, Any]]
    result: dict[str, Any] | None = Field(json_schema_extra=fields.UNTRUSTED)
    changes: int


class ListParams(fields.Params):
    project_name: fields.ProjectName | None = None
    environment: fields.Environment | None = None
    running: bool = Field(False, description="only those that have not ended")
    limit: fields.Limit = 50
    before: fields.OperationId | None = Field(None, description="the last operationId of the page before")


class ListResult(fields.Result):
    operations: list[OperationView]
    more: bool


class CancelParams(fields.Changing):
    operation_id: fields.OperationId


class CancelResult(fields.Result):
    operation_id: str
    state: str


def operation_view(operation: Operation) -> OperationView:
    return OperationView(
        operation_id=operation.id, tool=operation.tool, project_name=operation.project, environment=operation.environment,
        state=operation.state.value, summary=operation.summary, step=operation.step,
        started_at=operation.created_at.isoformat(), started_by=operation.actor,
        ended_at=operation.ended_at.isoformat() if operation.ended_at else None, resumed=operation.resumed,
        cancel_requested=operation.cancel_requested, follows=operation.follows, error=operation.error,
        warnings=[*operation.warnings, *(f"not undone: {fault}" for fault in operation.undo_faults)],
    )  # fmt: skip


async def _find(call: Call, operation_id: str) -> tuple[Operation, list[StepRow]]:
    async def look(registry: Registry) -> tuple[Operation | None, list[StepRow]]:
        return await registry.journal.get(operation_id), list(await registry.journal.steps(operation_id))

    operation, steps = await call.kit.store.consult(look)
    if operation is None or not call.actor.sees_project(operation.project, operation.team):
        raise NotFound(f"There is no operation {operation_id}.", code="operation_not_found", hint="See operation_list.")
    return operation, steps


async def _get(call: Call, params: GetParams) -> Outcome:
    operation, steps = await _find(call, params.operation_id)
    changes = params.seen
    if params.wait_seconds and not operation.state.terminal:
        changes = await call.engine.wait_for_change(operation.id, params.seen, params.wait_seconds)
        operation, steps = await _find(call, params.operation_id)
    result = GetResult(operation=operation_view(operation), steps=step_list(steps), result=operation.result, changes=changes)
    said = f"{operation.summary}: {operation.state}"
    if operation.state.terminal:
        return Outcome(result, f"{said}.")
    onward = {"operationId": operation.id, "waitSeconds": 30, "seen": changes}
    where = f" at step {operation.step}" if operation.step else ""
    return Outcome(result, f"{said}{where}.", (NextCall("operation_get", onward, "see how it goes on"),))


async def _list(call: Call, params: ListParams) -> Outcome:
    found = await call.kit.store.consult(
        lambda registry: registry.journal.history(
            team=call.actor.team, project=params.project_name, environment=params.environment,
            open_only=params.running, limit=params.limit + 1, before=params.before,
        )
    )  # fmt: skip
    rows = [operation_view(each) for each in found if call.actor.sees_project(each.project, each.team)]
    more = len(found) > params.limit
    said = f"{min(len(rows), params.limit)} operations."
    return Outcome(ListResult(operations=rows[: params.limit], more=more), said, (), call.past(params.project_name))


def _draft_cancel(operation: Operation, steps: list[StepRow]) -> Draft:
    """Bound to how far the operation has come: what a cancel undoes is what was done until now."""
    changes = [] if operation.state.terminal else [f"undo {row.name}" for row in reversed(steps)]
    plan = {"operationId": operation.id, "state": operation.state.value}
    return draft("operation_cancel", plan, changes, {"steps": [[row.name, row.state.value] for row in steps]})


async def _cancel(call: Call, params: CancelParams) -> Outcome:
    operation, steps = await _find(call, params.operation_id)
    drafted = _draft_cancel(operation, steps)
    if params.dry_run:
        apply = NextCall("operation_cancel", {"operationId": operation.id, "planId": drafted.id}, "do exactly this")
        return drafted.shown(f"Would cancel {operation.summary}.", None if operation.state.terminal else apply)
    asked = operation.cancel_requested and bool(await call.began())
    if not asked:
        drafted.still_fits(params)
        await call.bind(operation.id)
    if not (asked and operation.state.terminal):
        await call.engine.cancel(operation)
    await call.engine.wait(operation.id, 30)
    operation, _ = await _find(call, operation.id)
    said = "is cancelled; everything it had done is undone" if operation.state is OpState.CANCELLED else f"is {operation.state}"
    follow = NextCall("operation_get", {"operationId": operation.id, "waitSeconds": 30}, "see it end")
    result = CancelResult(operation_id=operation.id, state=operation.state.value)
    return Outcome(result, f"{operation.summary} {said}.", () if operation.state.terminal else (follow,))


TOOLS: tuple[Tool[Any], ...] = (
    Tool(
        "operation_get", "Show an operation", "One operation with its steps; can wait for a change.",
        GetParams, GetResult, Role.VIEWER, Risk.READS, _get,
    ),
    Tool(
        "operation_list", "List operations", "Operations, newest first.",
        ListParams, ListResult, Role.VIEWER, Risk.READS, _list,
    ),
    Tool(
        "operation_cancel", "Cancel an operation", "Stop an operation before its commit point; what it did is undone.",
        CancelParams, CancelResult, Role.MEMBER, Risk.CHANGES, _cancel, without_database=True,
    ),
)  # fmt: skip
