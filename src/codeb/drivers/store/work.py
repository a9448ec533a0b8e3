"""Work items, and the files they hold.

Of the rows on one path one is `first`: the unique index lets only one be so, whatever branch it is of. A task on a branch that
holds the path already shares it, beside the first. When that gave it back or its time is over, the oldest of those that are left
becomes it before anybody else is let in.
"""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import RowMapping, func, select, update

from codeb.drivers.store.schema_work import work_task_files, work_tasks
from codeb.drivers.store.transaction import Transaction, upsert
from codeb.errors import NotFound
from codeb.model.work import FileLock, Status, Task

Holders = dict[tuple[str, str], tuple[str, str]]
"""task and branch, by project and path"""

_TASKS, _FILES = work_tasks.c, work_task_files.c
_BESIDE, _OLDER = work_task_files.alias("beside"), work_task_files.alias("older")


class SqlTasks:
    def __init__(self, tx: Transaction) -> None:
        self._tx = tx

    async def put(self, task: Task) -> None:
        await self._tx.claim(upsert(self._tx.dialect, work_tasks), {**vars(task), "status": task.status.value})

    async def get(self, task_id: str) -> Task | None:
        row = (await self._tx.read(select(work_tasks).where(_TASKS.id == task_id))).one
        return _task(row) if row else None

    async def find(
        self,
        projects: Collection[str],
        *,
        statuses: Collection[Status],
        branch: str | None = None,
        limit: int,
        before: str | None = None,
    ) -> Sequence[Task]:
        these = _TASKS.project.in_(sorted(projects)) & _TASKS.status.in_([each.value for each in statuses])
        statement = select(work_tasks).where(these)
        if branch is not None:
            statement = statement.where(_TASKS.branch == branch)
        if before is not None:
            statement = statement.where(_TASKS.id < before)
        newest = statement.order_by(_TASKS.id.desc()).limit(limit)
        return [_task(row) for row in (await self._tx.read(newest)).all]

    async def hold(self, now: datetime, *locks: FileLock) -> None:
        """Raises also `NotFound` when one of their tasks is not there any more."""
        if not locks:
            return
        for project in sorted({each.project for each in locks}):
            over = (_FILES.project == project) & _FILES.first & (_FILES.until <= now)
            await self._tx.write(update(work_task_files).where(over).values(first=False))
            await self._pass_on(project, now)
        holders = await self._holders(locks)
        made = [{**vars(each), "first": _stands(each, holders)} for each in locks]
        if gone := {each.task for each in locks} - await self._there({each.task for each in locks}):
            raise NotFound(f"There is no task {', '.join(sorted(gone))}.", code="task_not_found", hint="See task_list.")
        await self._tx.claim(upsert(self._tx.dialect, work_task_files), made)

    async def _there(self, task_ids: Collection[str]) -> set[str]:
        these = select(_TASKS.id).where(_TASKS.id.in_(sorted(task_ids)))
        return {row["id"] for row in (await self._tx.read(these)).all}

    async def _holders(self, locks: Sequence[FileLock]) -> Holders:
        """Who stands for each of these paths, by project and path."""
        these = (
            _FILES.first & _FILES.project.in_({each.project for each in locks}) & _FILES.path.in_({each.path for each in locks})
        )
        found = (await self._tx.read(select(work_task_files).where(these))).all
        return {(row["project"], row["path"]): (row["task"], row["branch"]) for row in found}

    async def release(self, task_id: str, paths: Collection[str] | None = None) -> None:
        its = (_FILES.task == task_id) & _FILES.until.is_not(None)
        if paths is not None:
            its &= _FILES.path.in_(sorted(paths))
        await self._tx.write(update(work_task_files).where(its).values(until=None, first=False))

    async def _pass_on(self, project: str, now: datetime) -> None:
        """Where nobody stands for a path any more and tasks still hold it, the oldest of them does from now on."""
        same = (_BESIDE.c.project == _FILES.project) & (_BESIDE.c.path == _FILES.path) & _BESIDE.c.first
        older = select(func.min(_OLDER.c.task)).where(
            (_OLDER.c.project == _FILES.project) & (_OLDER.c.path == _FILES.path) & (_OLDER.c.until > now)
        )
        left = (_FILES.project == project) & ~_FILES.first & (_FILES.until > now) & ~select(_BESIDE.c.task).where(same).exists()
        heirs = left & (_FILES.task == older.scalar_subquery())
        await self._tx.write(update(work_task_files).where(heirs).values(first=True))

    async def locks(self, project: str, now: datetime) -> Sequence[FileLock]:
        return await self._load((_FILES.project == project) & (_FILES.until > now))

    async def files(self, task_id: str) -> Sequence[FileLock]:
        return await self._load(_FILES.task == task_id)

    async def _load(self, these: Any) -> list[FileLock]:
        some = select(work_task_files).where(these).order_by(_FILES.path, _FILES.task)
        return [_lock(row) for row in (await self._tx.read(some)).all]


def _stands(lock: FileLock, holders: Holders) -> bool:
    """Whether it is to stand for its path: unless another task of its own branch does. Of another branch the index refuses it."""
    task, branch = holders.setdefault((lock.project, lock.path), (lock.task, lock.branch))
    return task == lock.task or branch != lock.branch


def _task(row: RowMapping) -> Task:
    return Task(**{**row, "status": Status(row["status"])})


def _lock(row: RowMapping) -> FileLock:
    return FileLock(**{name: value for name, value in row.items() if name != "first"})
