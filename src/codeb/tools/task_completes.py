"""The end of work items: said of one, or by a commit message that names some."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import Field

from codeb.contracts.store import Registry
from codeb.errors import Conflict, InvalidParams, NotFound
from codeb.model.access import Role
from codeb.model.journal import Operation, OpState
from codeb.model.refs import named_tasks
from codeb.model.work import Task
from codeb.tools import fields
from codeb.tools.call import Call
from codeb.tools.drafts import Draft, draft
from codeb.tools.task_moves import complete
from codeb.tools.task_views import no_task, ready, wire
from codeb.tools.tool import Outcome, Risk, Tool

BRINGS_LIVE = ("deploy", "promote")


class CompleteParams(fields.Changing):
    task_id: fields.TaskId | None = None
    commit_message: fields.CommitMessage | None = None
    project_name: fields.ProjectName | None = Field(None, description="only tasks of this project")
    operation_id: fields.OperationId | None = Field(
        None, description="the deploy or promote that brought it live: deployed, not only done"
    )


class CompletedView(fields.Result):
    task_id: str
    project_name: str
    title: fields.Untrusted
    was: str
    status: str


class CompleteResult(fields.Result):
    named: list[str]
    completed: list[CompletedView]
    unknown: list[str]
    """named, and not there or not yours, or of another project"""


@dataclass(frozen=True)
class _Found:
    named: tuple[str, ...]
    tasks: tuple[Task, ...]
    operation: Operation | None = None

    @property
    def unknown(self) -> list[str]:
        there = {each.id for each in self.tasks}
        return [each for each in self.named if each not in there]


def _one_of_both(params: CompleteParams) -> None:
    if (params.task_id is None) is (params.commit_message is None):
        problem = "say one of them" if params.task_id is None else "say only one of them"
        raise InvalidParams(
            f"Which task is meant is {'not said' if params.task_id is None else 'said twice'}; nothing was done.",
            hint="Give taskId, or commitMessage.",
            details={"fields": [{"field": each, "problem": problem} for each in ("taskId", "commitMessage")]},
        )


async def _operation(call: Call, registry: Registry, operation_id: str) -> Operation:
    """What brought the tasks live. Raises `NotFound` (`operation_not_found`), `Conflict` (`not_deployed`)."""
    found = await registry.journal.get(operation_id)
    if found is None or not call.actor.sees_project(found.project, found.team):
        raise NotFound(f"There is no operation {operation_id}.", code="operation_not_found", hint="See operation_list.")
    if found.tool not in BRINGS_LIVE or found.state is not OpState.SUCCEEDED:
        raise Conflict(
            f"Operation {found.id} ({found.tool}) is {found.state}: it brought nothing live. Nothing was changed.",
            code="not_deployed", hint="Name a deploy or promote that succeeded, or leave operationId out: then they are done.",
        )  # fmt: skip
    return found


async def _look(call: Call, params: CompleteParams, registry: Registry) -> _Found:
    operation = await _operation(call, registry, params.operation_id) if params.operation_id else None
    projects = {each for each in (params.project_name, operation and operation.project) if each}
    if params.task_id:
        task = await ready(call, registry, params.task_id)
        if projects - {task.project}:
            raise no_task(task.id)
        return _Found((task.id,), (task,), operation)
    named, tasks = named_tasks(params.commit_message or ""), list[Task]()
    for each in named:
        try:
            task = await ready(call, registry, each)
        except (NotFound, Conflict):
            continue
        tasks += [] if projects - {task.project} else [task]
    return _Found(named, tuple(tasks), operation)


def _draft(found: _Found) -> Draft:
    to = "deployed" if found.operation else "done"
    plan = {"tasks": [each.id for each in found.tasks], "unknown": found.unknown, "status": to}
    state = {"tasks": [[each.id, each.status.value, each.updated_at.isoformat()] for each in found.tasks]}
    lines = [f"{each.id} from {each.status} to {to}" for each in found.tasks if each.status.open or each.status != to]
    return draft("task_complete", plan, lines, state)


async def _complete(call: Call, params: CompleteParams) -> Outcome:
    _one_of_both(params)
    if params.project_name:
        call.project(params.project_name)
    if params.dry_run:
        found = await call.kit.store.consult(lambda registry: _look(call, params, registry))
        drafted = _draft(found)
        return drafted.shown(f"Would complete {_tasks(len(drafted.changes))}.", None, *_left(found.unknown))

    async def act(registry: Registry) -> CompleteResult:
        found = await _look(call, params, registry)
        _draft(found).still_fits(params)
        now, which = call.kit.world.now(), found.operation.id if found.operation else None
        done = [(each, await complete(registry, now, each, which)) for each in found.tasks]
        views = [
            CompletedView(task_id=is_.id, project_name=is_.project, title=is_.title, was=was.status, status=is_.status)
            for was, is_ in done
        ]
        return CompleteResult(named=list(found.named), completed=views, unknown=found.unknown)

    result = await call.change(act, wire)
    return Outcome(result, _said(result), (), _left(result.unknown))


def _tasks(number: int) -> str:
    return f"{number} task{'' if number == 1 else 's'}"


def _said(result: CompleteResult) -> str:
    if not result.named:
        return "The commit message names no task; nothing was to be done."
    if not result.completed:
        return "None of the tasks named is known here; nothing was done."
    if len(result.completed) == 1:
        one = result.completed[0]
        return f"{one.task_id} {'is' if one.was != one.status else 'was already'} {one.status}, and holds no file."
    ends = " or ".join(sorted({each.status for each in result.completed}))
    return f"{_tasks(len(result.completed))} are {ends}, and hold no file."


def _left(unknown: Sequence[str]) -> tuple[str, ...]:
    return (f"Not known here, or of another project: {', '.join(unknown)}.",) if unknown else ()


TOOLS: tuple[Tool[Any], ...] = (
    Tool(
        "task_complete", "Complete a task",
        "A work item is done and its files are free: the one named, or all that a commit message names by their task_… ids. "
        "With the operationId of a deploy or promote it is deployed.",
        CompleteParams, CompleteResult, Role.MEMBER, Risk.CHANGES, _complete,
    ),
)  # fmt: skip
