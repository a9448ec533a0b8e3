"""Work items: make one, and change one. Files are locked and given back in the same transaction."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from pydantic import Field

from codeb.contracts.store import Registry
from codeb.errors import Conflict
from codeb.model.access import Role
from codeb.model.work import LOCK_FOR, MOST_FILES, MOST_LOCKS, FileLock, Status, Task, in_the_way, lock_span, next_of
from codeb.tools import fields
from codeb.tools.call import Call
from codeb.tools.drafts import Draft, draft
from codeb.tools.task_views import (
    FileView,
    TaskView,
    author,
    file_views,
    files_locked,
    lock_views,
    not_from_here,
    ready,
    view,
    wire,
)
from codeb.tools.tool import NextCall, Outcome, Risk, Tool

PATHS = "files and folders to lock, from the root of the repository; a folder covers what is below"


class CreateParams(fields.Changing):
    project_name: fields.ProjectName
    title: fields.TaskTitle
    branch: fields.Branch
    description: fields.TaskText = ""
    files: list[fields.FilePath] = Field([], max_length=MOST_FILES, description=PATHS, examples=[["src/pay.py"]])
    status: Literal["draft", "in-progress"] = Field("draft", description="draft, or in-progress where the work begins now")
    lock_ttl: fields.LockSpan = LOCK_FOR


class UpdateParams(fields.Changing):
    task_id: fields.TaskId
    status: Literal["draft", "in-progress", "review"] | None = Field(None, description="default: as it is")
    title: fields.TaskTitle | None = None
    description: fields.TaskText | None = None
    branch: fields.Branch | None = None
    add_files: list[fields.FilePath] = Field([], max_length=MOST_FILES, description=PATHS, examples=[["src/pay.py"]])
    remove_files: list[fields.FilePath] = Field([], max_length=MOST_FILES, description="files of it to give back")
    lock_ttl: fields.LockSpan | None = Field(None, description="hold all its files for so long from now: 1m to 7d")


class WriteResult(fields.Result):
    task: TaskView
    files: list[FileView]
    changed: bool


@dataclass(frozen=True)
class _Wanted:
    """How a task is to be, and what of its files changes hands."""

    was: Task | None
    task: Task
    taken: tuple[FileLock, ...] = ()
    given_back: tuple[str, ...] = ()
    holds: int = 0
    """how many paths it holds then"""

    @property
    def changes(self) -> list[str]:
        found = [] if self.was else ["create a task"]
        if self.was and self.was.status is not self.task.status:
            found.append(f"from {self.was.status} to {self.task.status}")
        if self.was and replace(self.was, status=self.task.status, done_at=self.task.done_at) != self.task:
            found.append("change what is said of it")
        found += [f"lock {_paths(len(self.taken))}"] if self.taken else []
        return found + ([f"give back {_paths(len(self.given_back))}"] if self.given_back else [])


def _paths(number: int) -> str:
    return f"{number} path{'' if number == 1 else 's'}"


def _locks(call: Call, task: Task, paths: Sequence[str], span: str) -> tuple[FileLock, ...]:
    until = call.kit.world.now() + lock_span(span)
    return tuple(FileLock(task.id, task.project, task.branch, path, until) for path in dict.fromkeys(paths))


async def _may_hold(call: Call, registry: Registry, wanted: _Wanted) -> None:
    """Raises `Conflict`: `files_locked`, `too_many_files`."""
    task = wanted.task
    others = [each for each in await registry.tasks.locks(task.project, call.kit.world.now()) if each.task != task.id]
    if met := in_the_way([each.path for each in wanted.taken], task.branch, others):
        raise files_locked(await lock_views(registry, met))
    if wanted.holds > MOST_FILES or len(others) + wanted.holds > MOST_LOCKS:
        raise Conflict(
            f"A task holds at most {MOST_FILES} paths, a project {MOST_LOCKS}. Nothing was changed.", code="too_many_files",
            hint="Lock the folders they are in, or finish tasks that are done: task_complete.",
        )  # fmt: skip


async def _write(call: Call, registry: Registry, wanted: _Wanted) -> WriteResult:
    now, task, tasks = call.kit.world.now(), wanted.task, registry.tasks
    if wanted.taken:
        await _may_hold(call, registry, wanted)
    if wanted.changes:
        task = replace(task, updated_at=now)
        await tasks.put(task)
        await tasks.release(task.id, wanted.given_back)
        await tasks.hold(now, *wanted.taken)
    return WriteResult(task=view(task), files=file_views(await tasks.files(task.id), now), changed=bool(wanted.changes))


def _holding(done: WriteResult) -> str:
    return f"holds {_paths(sum(each.locked for each in done.files))}"


def _next(task: TaskView) -> tuple[NextCall, ...]:
    if task.status == Status.DRAFT:
        return (NextCall("task_update", {"taskId": task.task_id, "status": "in-progress"}, "say that the work begins"),)
    return (NextCall("task_complete", {"taskId": task.task_id}, "once it is done: then its files are free"),)


# create


async def _create(call: Call, params: CreateParams) -> Outcome:
    name, now = params.project_name, call.kit.world.now()
    task = Task(
        call.kit.world.new_id("task"), name, params.title, params.branch, Status(params.status), author(call), call.actor.name,
        now, now, params.description,
    )  # fmt: skip
    taken = _locks(call, task, params.files, params.lock_ttl)
    wanted = _Wanted(None, task, taken, holds=len(taken))
    said = params.model_dump(by_alias=True, mode="json", exclude={"dry_run", "plan_id", "idempotency_key"})
    drafted = draft("task_create", said, wanted.changes, {})

    async def look(registry: Registry) -> None:
        await call.ready(registry, name)
        await _may_hold(call, registry, wanted)

    if params.dry_run:
        await call.kit.store.consult(look)
        return drafted.shown(f"Would create a task of {name} that holds {_paths(len(taken))}.")
    drafted.still_fits(params)

    async def act(registry: Registry) -> WriteResult:
        await call.ready(registry, name)
        return await _write(call, registry, wanted)

    done = await call.change(act, wire)
    return Outcome(done, f"{done.task.task_id} of {name} is {done.task.status} and {_holding(done)}.", _next(done.task))


# update


def _moved(task: Task, params: UpdateParams) -> Task:
    """Raises `Conflict` (`task_status`)."""
    status = Status(params.status) if params.status else task.status
    if status is not task.status and status not in (allowed := next_of(task.status)):
        raise not_from_here(task, allowed)
    if not status.open and (params.add_files or params.lock_ttl):
        raise not_from_here(task, next_of(task.status))
    return replace(
        task, status=status, done_at=None if status.open else task.done_at, title=params.title or task.title,
        branch=params.branch or task.branch,
        description=task.description if params.description is None else params.description,
    )  # fmt: skip


def _updating(call: Call, params: UpdateParams, was: Task, files: Sequence[FileLock]) -> _Wanted:
    task, now = _moved(was, params), call.kit.world.now()
    kept = [each for each in files if each.until is not None and each.path not in params.remove_files]
    live = [each for each in kept if each.holds(now)]
    fresh = params.add_files
    if params.lock_ttl:
        fresh = [*(each.path for each in kept), *fresh]
    taken = _locks(call, task, fresh, params.lock_ttl or LOCK_FOR)
    renewed = {each.path for each in taken}
    rest = [replace(each, branch=task.branch) for each in live if each.path not in renewed]
    return _Wanted(
        was, task, (*(rest if task.branch != was.branch else ()), *taken),
        tuple(each.path for each in files if each.until is not None and each.path in params.remove_files),
        len(rest) + len(taken),
    )  # fmt: skip


async def _found(call: Call, params: UpdateParams, registry: Registry) -> _Wanted:
    task = await ready(call, registry, params.task_id)
    return _updating(call, params, task, await registry.tasks.files(task.id))


def _draft_update(params: UpdateParams, wanted: _Wanted) -> Draft:
    """Bound to how the task is now. In the plan are the caller's own words, and no one else's."""
    own = {"dry_run", "plan_id", "idempotency_key"}
    said = params.model_dump(by_alias=True, mode="json", exclude=own, exclude_unset=True)
    assert wanted.was is not None
    was = [wanted.was.status.value, wanted.was.updated_at.isoformat()]
    return draft("task_update", {**said, "status": wanted.task.status.value}, wanted.changes, {"was": was})


async def _update(call: Call, params: UpdateParams) -> Outcome:
    async def look(registry: Registry) -> Draft:
        wanted = await _found(call, params, registry)
        if wanted.taken:
            await _may_hold(call, registry, wanted)
        return _draft_update(params, wanted)

    if params.dry_run:
        drafted = await call.kit.store.consult(look)
        return drafted.shown(f"Would {'; '.join(drafted.changes) or 'change nothing: it is so already'}.")

    async def act(registry: Registry) -> WriteResult:
        wanted = await _found(call, params, registry)
        _draft_update(params, wanted).still_fits(params)
        return await _write(call, registry, wanted)

    done = await call.change(act, wire)
    told = f"is {done.task.status} and {_holding(done)}" if done.changed else f"was so already: {done.task.status}"
    lost = done.task.status in (Status.IN_PROGRESS, Status.REVIEW) and done.files and not any(each.locked for each in done.files)
    warnings = ("It holds none of its files any more: name them in addFiles to lock them again.",) if lost else ()
    return Outcome(done, f"{done.task.task_id} {told}.", _next(done.task), warnings)


TOOLS: tuple[Tool[Any], ...] = (
    Tool(
        "task_create", "Create a task",
        "A work item on a branch. The files it names are locked for that branch until it is completed, or lockTtl is over.",
        CreateParams, WriteResult, Role.MEMBER, Risk.CHANGES, _create,
    ),
    Tool(
        "task_update", "Change a task",
        "Move a work item between draft, in-progress and review, take more files or give some back, hold them longer.",
        UpdateParams, WriteResult, Role.MEMBER, Risk.CHANGES, _update,
    ),
)  # fmt: skip
