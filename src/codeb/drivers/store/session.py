"""One connection doing one transaction, whatever the database; what `sqlite.py` and `postgres.py` provide."""

import asyncio
from collections.abc import Coroutine, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from sqlalchemy import Executable, RowMapping

T = TypeVar("T")

Parameters = Mapping[str, Any] | Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Rows:
    """All rows of a statement, and how many rows it changed."""

    all: Sequence[RowMapping]
    count: int

    @property
    def one(self) -> RowMapping | None:
        return self.all[0] if self.all else None


class Session(Protocol):
    """A transaction that begins with its first statement. Raises what SQLAlchemy raises."""

    async def run(self, statement: Executable, parameters: Parameters | None = None) -> Rows: ...

    async def commit(self) -> None: ...

    async def rollback(self) -> None: ...


class Database(Protocol):
    name: str
    """sqlite or postgresql"""

    about: str
    """for people: where it is, without a password"""

    def writing(self) -> AbstractAsyncContextManager[Session]:
        """Excludes every other writer, of other processes too, from its first statement on."""

    def reading(self) -> AbstractAsyncContextManager[Session]:
        """Sees one state of the database, whatever is committed meanwhile; waits for no writer."""

    async def close(self) -> None: ...


async def through(work: Coroutine[Any, Any, T]) -> T:
    """Let `work` come to its end even when the caller is cancelled meanwhile; the cancellation is raised afterwards.

    A commit that is under way cannot be taken back, so what follows from it must follow.
    """
    task = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        task.exception()
        raise cancelled
    return task.result()
