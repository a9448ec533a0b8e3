"""The database is back: is it the same one, what does it lack, what did others do in it meanwhile?"""

import asyncio
import logging
import secrets
from collections.abc import Callable, Mapping, Sequence, Set
from datetime import datetime

from sqlalchemy import select, text, update

from codeb.drivers.store import feed, migrate
from codeb.drivers.store.faults import translated, unavailable
from codeb.drivers.store.feed import Change
from codeb.drivers.store.happenings import SqlConflicts
from codeb.drivers.store.leader import HOLDS
from codeb.drivers.store.local import LocalCopy
from codeb.drivers.store.postgres import PostgresDatabase
from codeb.drivers.store.schema import changes, meta
from codeb.drivers.store.schema_hosts import metadata
from codeb.drivers.store.sql import born
from codeb.drivers.store.transaction import Transaction, reading, writing
from codeb.errors import Conflict, InternalFault, Unavailable
from codeb.model.events import Event, Severity, Unreplayed

log = logging.getLogger("codeb.store")

THERE = text("SELECT to_regclass('meta') IS NOT NULL AS meta, to_regclass('alembic_version') IS NOT NULL AS revision")
PREPARE_SECONDS = 60.0
"""for migrations at the most"""
AT_ONCE = 25
"""transactions added to the database in one; writers wait that long"""
FEW = 5
"""so many may be left for the last moment, in which all writers wait; more where it would not end otherwise"""


class Strange(Unavailable):
    """A database answers, but it is not the one that the local copy is of."""


class DoesNotFit(Exception):
    """Why a transaction cannot be added to the database."""


class Comeback:
    """What is to be done between the moment the database answers and the moment it is the truth again. Safe to repeat."""

    def __init__(
        self, remote: PostgresDatabase, local: LocalCopy, now: Callable[[], datetime], new_id: Callable[[str], str]
    ) -> None:
        self._remote = remote
        self._local = local
        self._now = now
        self._new_id = new_id
        self.replayed = 0
        self.conflicts: list[str] = []
        self.instance = ""
        self._added: set[str] = set()
        """names under which this process wrote to the database meanwhile"""
        self._anew = False
        """the copy holds what the database refused, or lost its place in the feed"""

    def summary(self) -> str:
        added = f"{self.replayed} transactions were added to it"
        return f"{added}, {len(self.conflicts)} could not be" if self.conflicts else added

    def event(self, since: datetime, why: str, seconds: float) -> Event:
        """What is remembered of an absence."""
        severity = Severity.ALARM if self.conflicts else Severity.WARN
        told = f"The database was away for {seconds:.1f} s ({why}); {self.summary()}."
        data = {"seconds": seconds, "replayed": self.replayed, "conflicts": len(self.conflicts)}
        return Event(self._new_id("ev"), since, "database_away", severity, told, data=data)

    def told(self) -> None:
        self.replayed, self.conflicts = 0, []
        self._added.clear()

    # is it the same one?

    async def prepare(self) -> None:
        """Bring its schema up to date. Raises `Unavailable`: no answer; `Strange`: another registry than ours."""
        revision = await self._revision()
        if revision != migrate.HEAD:
            try:
                async with asyncio.timeout(PREPARE_SECONDS):
                    with translated():
                        await asyncio.to_thread(migrate.upgrade, self._remote.migrating())
            except TimeoutError as silent:
                raise unavailable(silent) from silent
        await self._born()

    async def _revision(self) -> str | None:
        """The schema the database has."""
        async with reading(self._remote, self._now) as tx:
            there = (await tx.read(THERE)).all[0]
            found = (await tx.read(select(meta.c.registry_id))).one if there["meta"] else None
            self.refuse_another(found["registry_id"] if found else None)
            if not there["revision"]:
                return None
            known = (await tx.read(text("SELECT version_num FROM alembic_version"))).one
            return known["version_num"] if known else None

    async def see_that_it_is_ours(self, tx: Transaction) -> None:
        """Raises `Strange` when it was emptied or replaced, which need not end a connection."""
        found = (await tx.read(select(meta.c.registry_id))).one
        self.refuse_another(found["registry_id"] if found else None)

    def refuse_another(self, found: str | None) -> None:
        """Raises `Strange`."""
        ours = self._local.registry_id
        if ours is None or found == ours:
            return
        what = "holds another registry" if found else "is empty"
        raise Strange(
            f"The database that answers at {self._remote.about} {what}; CodeB goes on from its local copy.",
            code="store_strange",
            hint="Point CODEB_DATABASE_URL at the right one or restore it. To really begin anew, move the home's registry away.",
        )

    async def _born(self) -> None:
        """One row of `meta`, and a feed that is not empty: an end that a copy can name.

        Mostly both are there. Then nothing is written, and nobody waited for who holds the writers' lock.
        """
        async with reading(self._remote, self._now) as tx:
            known = (await tx.read(select(meta.c.instance))).one
            if known is not None and (known["instance"] or not self.instance) and await feed.newest(tx):
                return
        async with writing(self._remote, self._now) as tx:
            await tx.read(HOLDS, {"written": secrets.token_hex(12)})
            await born(tx, self.instance)
            if (await tx.read(select(changes.c.seq).limit(1))).one is None:
                await tx.write(update(meta).values(id=1))

    # what it lacks

    async def replay(self, names: Sequence[str]) -> None:
        """Add transactions that were done without it, those that are not there, in their order; keep as a conflict what does
        not fit. Several at once cost one commit here and there; if one does not fit, they are added one by one."""
        noted = await self._local.noted(names)
        try:
            added = await self._together(noted)
        except DoesNotFit as reason:
            if len(names) > 1:
                for written in names:
                    await self.replay([written])
                return
            await self._keep(names[0], noted[names[0]], str(reason))
        else:
            self.replayed += added
            self._added.update(names)
        await self._local.passed_on(names)

    async def _together(self, noted: Mapping[str, Sequence[Change]]) -> int:
        """Add them in one transaction, each under its own name; how many were not there yet."""
        ours, added = set(await self._local.pending()) | self._added, 0
        async with writing(self._remote, self._now) as tx:
            await tx.read(HOLDS, {"written": next(iter(noted))})
            alone = await self._alone(tx, ours)
            there = await feed.has(tx, noted)
            for written, made in noted.items():
                if written in there:
                    continue
                await tx.read(HOLDS, {"written": written})
                await self._add(tx, made, alone)
                added += 1
        return added

    async def _alone(self, tx: Transaction, ours: Set[str]) -> bool:
        """Whether nobody but us wrote to it since the copy's position: then everything fits."""
        if not await self._local.matches(tx):
            self._anew = True
            return False
        return await feed.writers(tx, self._local.position.applied) <= ours

    async def _add(self, tx: Transaction, made: Sequence[Change], alone: bool) -> None:
        """Raises `DoesNotFit`; nothing of the transaction may count then."""
        if not alone and (reason := await feed.fits(tx, made)):
            raise DoesNotFit(reason)
        try:
            await feed.apply(tx, made, replaying=True)
        except (Conflict, InternalFault) as refused:
            raise DoesNotFit(str(refused)) from refused

    async def _keep(self, written: str, made: Sequence[Change], reason: str) -> None:
        log.error("a transaction done while the database was away cannot be added to it: %s", reason)
        self._anew = True
        self.conflicts.append(reason)
        operation = next((str(each.key["id"]) for each in made if each.table.name == "operations"), None)
        told = Unreplayed(
            id=self._new_id("cf"), at=self._now(), written=written, reason=reason, operation_id=operation,
            changes=tuple(_shown(each) for each in made),
        )  # fmt: skip
        name = secrets.token_hex(12)
        self._added.add(name)
        async with writing(self._remote, self._now) as tx:
            await tx.read(HOLDS, {"written": name})
            await SqlConflicts(tx).add(told)

    # what others did

    async def catch_up(self) -> None:
        """Let the copy be what the database is. Only when nothing is left to replay."""
        async with reading(self._remote, self._now) as tx:
            if self._anew or self._local.registry_id is None or not await self._local.matches(tx):
                await self._local.fill(tx)
                self._anew = False
                return
            while made := await feed.after(tx, self._local.position.applied):
                await self._local.follow(made)


def _shown(change: Change) -> dict[str, object]:
    """As a conflict keeps it: readable, and enough to do it by hand."""

    def plain(row: feed.Row | None) -> dict[str, object] | None:
        if row is None:
            return None
        return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in row.items()}

    assert change.table.name in metadata.tables
    return {"table": change.table.name, "act": change.act, "before": plain(change.before), "after": plain(change.after)}
