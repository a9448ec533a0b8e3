"""Work items: list, show, and ask who holds which files."""

from typing import Any, Literal

from pydantic import Field

from codeb.contracts.store import Registry
from codeb.model.access import Role
from codeb.model.work import MOST_FILES, FileLock, Status, Task, meeting
from codeb.tools import fields
from codeb.tools.call import Call
from codeb.tools.task_views import FileView, LockView, TaskView, file_views, lock_views, seen, view
from codeb.tools.tool import Outcome, Risk, Tool

StatusName = Literal["draft", "in-progress", "review", "done", "deployed"]


class ListParams(fields.Params):
    project_name: fields.ProjectName | None = None
    status: StatusName | None = Field(None, description="default: those that are not done")
    branch: fields.Branch | None = None
    limit: fields.Limit = 50
    before: fields.TaskId | None = Field(None, description="the last taskId of the page before")


class ListResult(fields.Result):
    tasks: list[TaskView]
    more: bool


class GetParams(fields.Params):
    task_id: fields.TaskId


class GetResult(fields.Result):
    task: TaskView
    description: fields.Untrusted
    files: list[FileView]


class CheckParams(fields.Params):
    project_name: fields.ProjectName
    paths: list[fields.FilePath] = Field(
        min_length=1, max_length=MOST_FILES, description="files and folders, from the root of the repository",
        examples=[["src/pay.py"]],
    )  # fmt: skip
    branch: fields.Branch | None = Field(None, description="the branch you work on: what it holds itself is not in your way")


class CheckResult(fields.Result):
    free: bool
    """whether all of them may be edited"""
    locked: list[LockView]
    own: list[LockView]
    """held by tasks of the branch itself"""


async def _list(call: Call, params: ListParams) -> Outcome:
    names = [call.project(params.project_name).name] if params.project_name else list(call.projects())
    statuses = [Status(params.status)] if params.status else [each for each in Status if each.open]
    found = await call.kit.store.consult(
        lambda registry: registry.tasks.find(
            names, statuses=statuses, branch=params.branch, limit=params.limit + 1, before=params.before
        )
    )  # fmt: skip
    rows = [view(each) for each in found[: params.limit]]
    said = f"{len(rows)} task{'' if len(rows) == 1 else 's'}, newest first."
    return Outcome(ListResult(tasks=rows, more=len(found) > params.limit), said)


async def _get(call: Call, params: GetParams) -> Outcome:
    async def look(registry: Registry) -> tuple[Task, list[FileLock]]:
        task = await seen(call, registry, params.task_id)
        return task, list(await registry.tasks.files(task.id))

    task, files = await call.kit.store.consult(look)
    views = file_views(files, call.kit.world.now())
    held = sum(each.locked for each in views)
    result = GetResult(task=view(task), description=task.description, files=views)
    return Outcome(result, f"{task.id} of {task.project} is {task.status} and holds {held} file{'' if held == 1 else 's'}.")


async def _check(call: Call, params: CheckParams) -> Outcome:
    name = call.project(params.project_name).name

    async def look(registry: Registry) -> tuple[list[LockView], list[LockView]]:
        met = meeting(params.paths, await registry.tasks.locks(name, call.kit.world.now()))
        others = [each for each in met if each[1].branch != params.branch]
        return await lock_views(registry, others), await lock_views(registry, [each for each in met if each not in others])

    locked, own = await call.kit.store.consult(look)
    result = CheckResult(free=not locked, locked=locked, own=own)
    if not locked:
        return Outcome(result, "None of them is locked on another branch.")
    tasks = sorted({each.task_id for each in locked})
    files = len({each.path for each in locked})
    by = f"{len(tasks)} task{'' if len(tasks) == 1 else 's'}"
    return Outcome(result, f"{files} of them {'is' if files == 1 else 'are'} locked on another branch, by {by}.")


TOOLS: tuple[Tool[Any], ...] = (
    Tool(
        "task_list", "List tasks", "Work items with their branch and author, newest first.",
        ListParams, ListResult, Role.VIEWER, Risk.READS, _list,
    ),
    Tool(
        "task_get", "Show a task", "One work item, and which files it holds until when.",
        GetParams, GetResult, Role.VIEWER, Risk.READS, _get,
    ),
    Tool(
        "task_check", "Check for locked files",
        "Before an edit: which of these paths another branch has locked, by which task and author. A folder covers all in it.",
        CheckParams, CheckResult, Role.VIEWER, Risk.READS, _check,
    ),
)  # fmt: skip
