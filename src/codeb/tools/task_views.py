"""Work items and the files they hold, as callers see them; and finding one that the caller may see."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from codeb.contracts.store import Registry
from codeb.errors import Conflict, NotFound
from codeb.model.deletion import is_deleted
from codeb.model.specs import Project
from codeb.model.work import FileLock, Status, Task
from codeb.tools import fields
from codeb.tools.call import Call
from codeb.tools.refusals import gone, not_ready


class TaskView(fields.Result):
    task_id: str
    project_name: str
    title: fields.Untrusted
    branch: fields.Untrusted
    status: str
    author: fields.Untrusted
    created_at: str
    updated_at: str
    done_at: str | None
    deployed_at: str | None
    operation_id: str | None
    """the operation that brought it live"""


class FileView(fields.Result):
    path: fields.Untrusted
    locked: bool
    until: str | None


class LockView(fields.Result):
    """A path that was asked about, and who holds it or something that overlaps it."""

    path: fields.Untrusted
    locked_path: fields.Untrusted
    task_id: str
    title: fields.Untrusted
    status: str
    branch: fields.Untrusted
    author: fields.Untrusted
    until: str


def view(task: Task) -> TaskView:
    return TaskView(
        task_id=task.id, project_name=task.project, title=task.title, branch=task.branch, status=task.status.value,
        author=task.author, created_at=task.created_at.isoformat(), updated_at=task.updated_at.isoformat(),
        done_at=_iso(task.done_at), deployed_at=_iso(task.deployed_at), operation_id=task.operation_id,
    )  # fmt: skip


def file_views(files: Iterable[FileLock], now: datetime) -> list[FileView]:
    return [FileView(path=each.path, locked=each.holds(now), until=_iso(each.until)) for each in files]


async def lock_views(registry: Registry, met: Sequence[tuple[str, FileLock]]) -> list[LockView]:
    tasks = {each: await registry.tasks.get(each) for each in sorted({lock.task for _, lock in met})}
    return [
        LockView(
            path=path, locked_path=lock.path, task_id=task.id, title=task.title, status=task.status.value, branch=lock.branch,
            author=task.author, until=_iso(lock.until) or "",
        )
        for path, lock in met
        if (task := tasks[lock.task]) is not None
    ]  # fmt: skip


def _iso(at: datetime | None) -> str | None:
    return at.isoformat() if at else None


def wire(result: fields.Result) -> dict[str, Any]:
    return result.model_dump(by_alias=True, mode="json")


def author(call: Call) -> str:
    """Who a task is by: the member who holds the key, else the key."""
    member = call.kit.store.snapshot.members.get(call.actor.member or "")
    return member.name if member else call.actor.name


# finding one


def no_task(task_id: str) -> NotFound:
    """The same answer for one that is not there and one of a project the caller may not see."""
    return NotFound(f"There is no task {task_id}.", code="task_not_found", hint="See task_list.")


async def seen(call: Call, registry: Registry, task_id: str) -> Task:
    """Raises `NotFound` (`task_not_found`); `Conflict` (`project_deleted`)."""
    task = await registry.tasks.get(task_id)
    task, project = _theirs(call, task_id, task, call.kit.store.snapshot.projects.get(task.project) if task else None)
    if is_deleted(project):
        raise gone(project)
    return task


async def ready(call: Call, registry: Registry, task_id: str) -> Task:
    """One that may be changed, as this transaction sees it. Raises as `seen` does; `Conflict` (`project_deleting`)."""
    task = await registry.tasks.get(task_id)
    task, project = _theirs(call, task_id, task, await registry.projects.get(task.project) if task else None)
    if fault := not_ready(project):
        raise fault
    return task


def _theirs(call: Call, task_id: str, task: Task | None, project: Project | None) -> tuple[Task, Project]:
    if task is None or project is None or not call.actor.sees_project(project.name, project.team):
        raise no_task(task_id)
    return task, project


# refusals


def files_locked(held: Sequence[LockView]) -> Conflict:
    """Names the tasks in words, and who and where as data."""
    tasks = list(dict.fromkeys(each.task_id for each in held))
    named = ", ".join(tasks[:5]) + (f" and {len(tasks) - 5} more" if len(tasks) > 5 else "")
    files = len({each.path for each in held})
    return Conflict(
        f"{files} of the files {'is' if files == 1 else 'are'} locked on another branch, by {named}. Nothing was changed.",
        code="files_locked",
        hint="Work on other files, or agree with the author; a lock ends with its task, or at `until`.",
        details={"locks": [wire(each) for each in held]},
    )


def not_from_here(task: Task, allowed: Sequence[Status]) -> Conflict:
    ways = " or ".join(each.value for each in allowed)
    return Conflict(
        f"Task {task.id} is {task.status}; from there it can become {ways or 'nothing else'}. Nothing was changed.",
        code="task_status",
        hint="done and deployed are said by task_complete." if allowed else "Make a new task: task_create.",
        details={"taskId": task.id, "status": task.status.value, "allowed": [each.value for each in allowed]},
    )
