"""The local copy of a PostgreSQL registry: `{home}/local.db`, SQLite with the same schema.

While the database answers, the copy follows its feed with every commit. While it does not, the copy stands in for it, and
its triggers note what is changed: those changes are what the database is told when it is back.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import delete, func, select, text

from codeb.drivers.store import feed, migrate
from codeb.drivers.store.faults import translated
from codeb.drivers.store.feed import Change
from codeb.drivers.store.schema import audit_logs, changes, meta
from codeb.drivers.store.sqlite import SqliteDatabase
from codeb.drivers.store.transaction import Transaction, reading, writing
from codeb.errors import Unavailable

NAME = "local.db"
HISTORY = 2_000
"""newest operations, deployments, answers and events that a copy made anew takes along"""

SET_POSITION = text("UPDATE copy_state SET applied = :applied, applied_written = :written")
SET_AWAY = text("UPDATE copy_state SET away_since = :since, why = :why")
NOTE = text("UPDATE copy_state SET written = :written")
STOP_NOTING = text("UPDATE copy_state SET written = NULL")


@dataclass(frozen=True)
class Position:
    """How far in the feed the copy is, and the name of the transaction there."""

    applied: int = 0
    written: str = ""


class LocalCopy:
    """Its writers take turns outside: one transaction at a time."""

    def __init__(self, database: SqliteDatabase, now: Callable[[], datetime]) -> None:
        self.database = database
        self.position = Position()
        self.registry_id: str | None = None
        """of the registry it is a copy of; None: of none yet"""
        self.away_since: datetime | None = None
        self.why = ""
        self._kept: tuple[datetime | None, str] = (None, "")
        self._now = now

    @classmethod
    async def open(cls, path: Path, now: Callable[[], datetime]) -> "LocalCopy":
        """Raises `Unavailable` when the file cannot be used."""
        database = SqliteDatabase(path)
        copy = cls(database, now)
        try:
            with translated():
                await asyncio.to_thread(migrate.upgrade, database.writer)
            async with copy.writing() as tx:
                for statement in feed.copy_statements():
                    await tx.write(statement)
                await tx.write(text("INSERT OR IGNORE INTO copy_state VALUES (1, 0, '', NULL, NULL, '')"))
                # left by a death in the middle of a transaction it cannot be: that one was rolled back
                await tx.write(STOP_NOTING)
            await copy._recall()
        except BaseException:
            await database.close()
            raise
        return copy

    async def _recall(self) -> None:
        async with self.reading() as tx:
            state = (await tx.read(text("SELECT * FROM copy_state"))).all[0]
            self.position = Position(state["applied"], state["applied_written"])
            self.away_since = datetime.fromisoformat(state["away_since"]) if state["away_since"] else None
            self.why = state["why"]
            self._kept = self.away_since, self.why
            known = (await tx.read(select(meta.c.registry_id))).one
            self.registry_id = known["registry_id"] if known else None

    # transactions

    def writing(self) -> AbstractAsyncContextManager[Transaction]:
        """Committed when the block ends. Not noted, unless the block says so."""
        return writing(self.database, self._now)

    def reading(self) -> AbstractAsyncContextManager[Transaction]:
        return reading(self.database, self._now)

    # following

    async def follow(self, made: Sequence[Change]) -> None:
        """Take over what the database has beyond the position. Raises `Unavailable`; the copy is then as it was."""
        if not made:
            return
        reached = Position(made[-1].seq, made[-1].written)
        async with self.writing() as tx:
            await tx.write(text("PRAGMA defer_foreign_keys = ON"))
            await feed.apply(tx, made)
            await tx.write(SET_POSITION, {"applied": reached.applied, "written": reached.written})
        self.position = reached

    async def fill(self, source: Transaction) -> None:
        """Make it anew from the database as `source` sees it. What was noted here is forgotten: it was passed on before."""
        reached = await position_of(source)
        rows = {table: (await source.read(feed.everything(table, HISTORY))).all for table in feed.FED}
        async with self.writing() as tx:
            await tx.write(text("PRAGMA defer_foreign_keys = ON"))
            for table in reversed(feed.FED):
                await tx.write(delete(table))
            await tx.write(delete(audit_logs))
            await tx.write(delete(changes))
            for table, found in rows.items():
                if found:
                    await tx.write(table.insert(), [dict(row) for row in found])
            await tx.write(SET_POSITION, {"applied": reached.applied, "written": reached.written})
        await self._recall()

    async def matches(self, source: Transaction) -> bool:
        """Whether the database still has the very transaction at the position: else it was restored, or has forgotten it."""
        there = select(changes.c.written).where(changes.c.seq == self.position.applied)
        found = (await source.read(there)).one
        return found is not None and found["written"] == self.position.written

    # standing in

    async def stand_in(self, since: datetime | None, why: str) -> None:
        """Remember since when the database is away; None: it is back."""
        if (since, why) != self._kept:
            async with self.writing() as tx:
                await tx.write(SET_AWAY, {"since": since.isoformat() if since else None, "why": why})
        self.away_since, self.why = self._kept = since, why

    async def adopt(self, made: Sequence[Change], written: str, audited: Sequence[dict[str, Any]]) -> None:
        """Do here what the database was told to commit without an answer: `made` as it would have noted it, and rows of the
        audit log. What others had committed before counts as followed.
        """
        await self.follow([change for change in made if change.written != written])
        async with self.writing() as tx:
            await tx.write(NOTE, {"written": written})
            await feed.apply(tx, [change for change in made if change.written == written])
            if audited:
                await tx.write(tx.insert(audit_logs).on_conflict_do_nothing(), list(audited))
            await tx.write(STOP_NOTING)

    async def pending(self) -> list[str]:
        """The transactions that the database does not have yet, oldest first."""
        async with self.reading() as tx:
            first = func.min(changes.c.seq)
            found = await tx.read(select(changes.c.written).group_by(changes.c.written).order_by(first))
        return [row["written"] for row in found.all]

    async def noted(self, names: Sequence[str]) -> dict[str, list[Change]]:
        """What these transactions changed, each in its order."""
        async with self.reading() as tx:
            made = await feed.of(tx, names)
        return {written: [change for change in made if change.written == written] for written in names}

    async def passed_on(self, names: Sequence[str]) -> None:
        async with self.writing() as tx:
            await tx.write(delete(changes).where(changes.c.written.in_(names)))

    async def close(self) -> None:
        await self.database.close()


async def position_of(tx: Transaction) -> Position:
    """The end of the feed as `tx` sees it."""
    last = await tx.read(select(changes.c.seq, changes.c.written).order_by(changes.c.seq.desc()).limit(1))
    return Position(last.one["seq"], last.one["written"]) if last.one else Position()


def nothing_to_go_on(why: str) -> Unavailable:
    """The start that is refused: neither the database nor a copy of it."""
    return Unavailable(
        f"The database does not answer ({why}), and there is no local copy of its registry yet. Nothing was changed.",
        code="store_unavailable", hint="Bring the database up once; from then on CodeB starts without it.",
    )  # fmt: skip
