"""What we need remembered of work items and the files they hold: a role of `contracts.store.Registry`."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Protocol

from codeb.model.work import FileLock, Status, Task


class Tasks(Protocol):
    """Work items; they go with their project. What lets two branches not hold the same path is a constraint of the store."""

    async def put(self, task: Task) -> None:
        """Add it, or replace what is said of it. Raises `Conflict` (`project_gone`)."""

    async def get(self, task_id: str) -> Task | None: ...

    async def find(
        self,
        projects: Collection[str],
        *,
        statuses: Collection[Status],
        branch: str | None = None,
        limit: int,
        before: str | None = None,
    ) -> Sequence[Task]:
        """Newest first; `before` is the id of the last one of the page before."""

    async def hold(self, now: datetime, *locks: FileLock) -> None:
        """Have these, all or none; what of their projects is over by `now` is free first.

        Raises `Conflict` (`file_locked`) where another branch holds that very path: two tasks of one branch may share it.
        """

    async def release(self, task_id: str, paths: Collection[str] | None = None) -> None:
        """Give back these paths of it, or all. Another task of the same branch that has one too goes on holding it. They stay
        on record as its files. Safe to repeat."""

    async def locks(self, project: str, now: datetime) -> Sequence[FileLock]:
        """Every path that is held in this project now, by path."""

    async def files(self, task_id: str) -> Sequence[FileLock]:
        """Every path it has or had, by path."""
