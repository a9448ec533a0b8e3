"""PostgreSQL with a local copy that stands in for it.

While the database answers it is the truth, and every commit is followed by the copy. When it does not answer, the copy takes
over at once: what is changed is noted there, and added to the database in its order when that is back. A transaction that
would touch what somebody else changed meanwhile is not added, and kept as a conflict for a person to settle.

A commit that brought no answer counts: it is done on the copy, under its name. When the database is back, it is passed over
if it had landed after all.
"""

import asyncio
import contextlib
import logging
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import TypeVar

from codeb.contracts.store import Standing
from codeb.drivers.store import feed, recall
from codeb.drivers.store.comeback import AT_ONCE, FEW, Comeback, Strange
from codeb.drivers.store.faults import Moved, quietly, said
from codeb.drivers.store.leader import Duties, Leadership
from codeb.drivers.store.local import NAME, NOTE, STOP_NOTING, LocalCopy, nothing_to_go_on
from codeb.drivers.store.mirror import Mirror
from codeb.drivers.store.postgres import BRIEF, PostgresDatabase, open_postgres
from codeb.drivers.store.session import Session
from codeb.drivers.store.sql import SqlRegistry, SqlStore
from codeb.drivers.store.stands import as_it_stands
from codeb.drivers.store.transaction import Transaction, reading, writing
from codeb.errors import CodebError, PublicError, Unavailable
from codeb.model.events import Event
from codeb.model.specs import Finding

log = logging.getLogger("codeb.store")

T = TypeVar("T")

LOOK_SECONDS = 0.8
"""between two looks at the database; with the time one statement may take this bounds how late a loss is noticed"""
FED = 50_000
"""changes that the feed keeps: a copy further behind is made anew"""
PRUNE_EVERY = 1_000
TRIES = 4


class TwinStore(SqlStore):
    """See `contracts.store.Store`. `begin()` first; `close()` ends it."""

    def __init__(
        self, remote: PostgresDatabase, local: LocalCopy, lead: Leadership, mirror: Mirror | None, now: Callable[[], datetime],
        new_id: Callable[[str], str],
    ) -> None:  # fmt: skip
        super().__init__(remote, mirror, now)
        self._remote = remote
        self._local = local
        self._lead = lead
        self._duties = Duties(lead, self.on_lead)
        self._comeback = Comeback(remote, local, now, new_id)
        self._looks = 0
        self._pending = 0
        self._conflicts = 0
        self._gap: float | None = None
        self._untold: list[Event] = []
        self._wake = asyncio.Event()
        self._watching: asyncio.Task[None] | None = None

    # how it stands

    @property
    def away(self) -> bool:
        return self._local.away_since is not None

    @property
    def standing(self) -> Standing:
        return Standing(
            away_since=self._local.away_since, why=self._local.why, pending=self._pending, conflicts=self._conflicts,
            last_gap_seconds=self._gap, leads=self._lead.mine, leader=self._lead.other, owed=self._lead.owed,
        )  # fmt: skip

    def _lose(self, fault: BaseException) -> None:
        """The database does not answer: from now on the copy stands in."""
        if self.away:
            return
        self._local.away_since, self._local.why = self._now(), said(fault)
        self._database = self._local.database
        log.error("the database is away, the local copy stands in: %s", self._local.why)
        self._wake.set()

    # transactions

    @asynccontextmanager
    async def _writing(self) -> AsyncIterator[Transaction]:
        tx: Transaction | None = None
        try:
            async with AsyncExitStack() as stack:
                tx = await self._begun(stack)
                yield tx
        except Moved:
            raise
        except Unavailable as fault:
            # where it was begun counts: while it waited for its turn the database may have gone and come back
            if tx is not None and tx.dialect == self._remote.name and self.away and fault.code == "store_unavailable":
                raise Moved(fault.message, code=fault.code, hint=fault.hint) from fault
            raise

    def _transaction(self, session: Session, dialect: str) -> Transaction:
        return Transaction(
            session, dialect, self._now, writes=True, known=self._recalled.operations, written=secrets.token_hex(12)
        )  # fmt: skip

    async def _begun(self, stack: AsyncExitStack) -> Transaction:
        # Who does not lead asks for no lock: waiting for it in vain would look as if the database were away.
        if not self.away and self._lead.term:
            try:
                tx = self._transaction(await stack.enter_async_context(self._remote.writing()), self._remote.name)
                await self._lead.holds(tx, self._comeback.refuse_another)
            except Unavailable as fault:
                self._lose(fault)
            else:
                return tx
        self._lead.refuse_unless_mine()
        tx = self._transaction(await stack.enter_async_context(self._local.database.writing()), self._local.database.name)
        await tx.read(NOTE, {"written": tx.written})
        return tx

    async def _roll_back(self, tx: Transaction) -> None:
        await super()._roll_back(tx)
        if tx.away and tx.dialect == self._remote.name:
            self._lose(Unavailable("it went away under a transaction"))

    async def _coming(self, tx: Transaction) -> recall.Recalled:
        if tx.dialect != self._remote.name:
            coming = await super()._coming(tx)
            await tx.read(STOP_NOTING)
            return coming
        coming = await super()._coming(tx)
        if tx.wrote:
            tx.made = await feed.after(tx, self._local.position.applied)
            if any(change.written != tx.written for change in tx.made):
                coming = await recall.whole(tx)
        return coming

    async def _unanswered(self, tx: Transaction, silent: BaseException) -> None:
        if tx.dialect != self._remote.name or not isinstance(silent, Unavailable):
            await super()._unanswered(tx, silent)
            return
        self._lose(silent)
        self._lead.refuse_in_doubt(silent)
        await self._local.adopt(tx.made, tx.written, tx.audited)
        self._owe()

    async def _answered(self, tx: Transaction) -> None:
        """A copy that cannot follow is behind until it can: the next time it takes all since."""
        if tx.dialect != self._remote.name:
            if tx.wrote:
                self._owe()
            return
        try:
            await self._local.follow(tx.made)
        except PublicError as fault:
            log.error("the local copy does not follow: %s", fault)

    def _owe(self) -> None:
        """One transaction more that the database does not have."""
        self._pending += 1
        self._lead.owe()

    @asynccontextmanager
    async def _reading(self) -> AsyncIterator[Transaction]:
        self._refuse_closed()
        database = self._database
        async with database.reading() as session:
            tx = Transaction(session, database.name, self._now, writes=False, known={})
            try:
                yield tx
            except Unavailable as fault:
                if tx.away and database is self._remote:
                    self._lose(fault)
                    raise Moved(fault.message, code=fault.code, hint=fault.hint) from fault
                raise
            finally:
                tx.over = True

    async def transact(self, act: Callable[[SqlRegistry], Awaitable[T]]) -> T:
        return await self._again(super().transact, act)

    async def append(self, act: Callable[[SqlRegistry], Awaitable[T]]) -> T:
        if self._lead.mine:
            return await self.transact(act)
        if self.away:
            raise Unavailable("The database is away, and another process may lead.", code="store_unavailable", hint="It waits.")
        async with self._turn, writing(self._remote, self._now) as tx:
            return await act(SqlRegistry(tx))

    async def consult(self, act: Callable[[SqlRegistry], Awaitable[T]]) -> T:
        return await self._again(super().consult, act)

    async def _again(self, way: Callable[..., Awaitable[T]], act: Callable[[SqlRegistry], Awaitable[T]]) -> T:
        for left in reversed(range(TRIES)):
            try:
                return await way(act)
            except Moved:
                if not left:
                    raise
        raise AssertionError("the last round returns or raises")

    # from the start to the end

    async def begin(self) -> None:
        """Come up with the database, or on the copy when it does not answer. Raises `Unavailable` when there is neither."""
        former, self._comeback.instance = self._local.away_since, self.own_instance
        self._local.away_since, self._database = former or self._now(), self._local.database
        try:
            await self._comeback.prepare()
            await self._return(quietly=former is None)
            await self._attend()
        except Unavailable as fault:
            if self._local.registry_id is None:
                raise nothing_to_go_on(said(fault)) from fault
            log.error("started without the database, on the local copy: %s", said(fault))
            self._lead.claim_without_database()
            async with self._turn:
                await self._local.stand_in(former or self._now(), said(fault))
        await self.refresh()
        await self._count()
        self._watching = asyncio.create_task(self._watch(), name="store watch")

    async def close(self) -> None:
        if self._watching is not None:
            self._watching.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._watching
            self._watching = None
        await self._duties.end()
        if not self._closed and self._lead.mine and not self.away:
            with contextlib.suppress(CodebError):
                async with self._turn:
                    await self._lead.leave(self._remote, self._now)
        await super().close()

    async def _let_go(self) -> None:
        await self._remote.close()
        await self._local.close()

    # looking after it

    async def _watch(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                # not wait_for: that of CPython 3.11 forgets a cancellation that comes in the moment of the event
                async with asyncio.timeout(LOOK_SECONDS):
                    await self._wake.wait()
            self._wake.clear()
            try:
                if self.away:
                    with quietly():
                        await self._away_round()
                else:
                    await self._look()
                await self._tell()
            except CodebError as fault:
                log.info("looking after the database: %s", fault)
            except Exception:
                log.exception("looking after the database failed; the next round comes")

    async def _away_round(self) -> None:
        async with self._turn:
            await self._local.stand_in(self._local.away_since, self._local.why)
        await self._remote.forget()
        try:
            await self._comeback.prepare()
            self._lead.returned()
            await self._return()
        except Strange as strange:
            self._local.why = str(strange)
        except Unavailable as still:
            log.debug("the database is still away: %s", said(still))
        else:
            await self._attend()

    async def _look(self) -> None:
        """Does it answer, who leads, and is there anything new?"""
        try:
            async with reading(self._remote, self._now) as tx:
                await self._comeback.see_that_it_is_ours(tx)
                newest = await feed.newest(tx)
                seat = await self._lead.look(tx)
        except Unavailable as fault:
            self._lose(fault)
            return
        self._lead.see(seat)
        self._lead.see_debts()
        if self._lead.due(seat):
            await self._attend()
        if newest > self._local.position.applied:
            await self._catch_up()
        self._looks += 1
        if self._looks % PRUNE_EVERY == 0 and self._lead.mine:
            async with self._turn, writing(self._remote, self._now) as tx:
                await feed.prune(tx, FED)

    async def _attend(self) -> None:
        """Renew the lease, or take it when it is free, and say so to whoever waits for it."""
        async with self._turn:
            gained = await self._lead.attend(self._remote, self._now)
        if gained:
            self._lead.see_debts()
            await self._catch_up()
            if self._watching is not None:
                await self._duties.begin()

    async def _catch_up(self) -> None:
        async with self._turn:
            await self._comeback.catch_up()
            async with reading(self._remote, self._now) as tx:
                self._recalled = await recall.whole(tx)
        self._tell_mirror()

    async def _return(self, *, quietly: bool = False) -> None:
        """Add to the database what was done without it, follow what was done there, and let it be the truth again."""
        await self._lead.keep(self._remote, self._now)
        former, few = 0, FEW
        while len(left := await self._local.pending()) > few:
            # Where as many come in as are added, it would never end: then more are left for the moment in which writers wait.
            few = few * 2 if former and len(left) > former - AT_ONCE / 2 else few
            former = len(left)
            async with self._turn:
                await self._comeback.replay(left[: max(AT_ONCE, few)])
            await self._lead.keep(self._remote, self._now)
        async with self._turn:
            if left := await self._local.pending():
                await self._comeback.replay(left)
            await self._comeback.catch_up()
            async with reading(self._remote, self._now) as tx:
                self._recalled = await recall.whole(tx)
            since, why = self._local.away_since, self._local.why
            await self._local.stand_in(None, "")
            self._database = self._remote
        self._tell_mirror()
        self._pending = 0
        self._lead.owe_nothing()
        await self._count()
        if since is not None and not quietly:
            self._gap = round((self._now() - since).total_seconds(), 3)
            log.warning("the database is back after %.1f s; %s", self._gap, self._comeback.summary())
            self._untold.append(self._comeback.event(since, why, self._gap))
        self._comeback.told()

    async def _tell(self) -> None:
        """Events wait until this process may write."""
        if self._untold and self._lead.mine and not self.away:
            told = list(self._untold)
            await self.transact(lambda registry: registry.events.add(*told))
            self._untold = self._untold[len(told) :]

    async def _count(self) -> None:
        with contextlib.suppress(PublicError):
            self._conflicts = len(await self.consult(lambda registry: registry.conflicts.open_ones()))
            self._pending = len(await self._local.pending())

    async def refresh(self) -> None:
        async with self._turn:
            async with self._reading() as tx:
                self._recalled = await recall.whole(tx)
            self._doubt = False
        self._tell_mirror()

    async def check(self) -> Finding:
        await self._count()
        return as_it_stands(await super().check(), self.standing, self._remote.about)


async def open_twin(
    url: str, *, home: Path, fence: Path, owner: str, address: str, mirror: Mirror | None, now: Callable[[], datetime],
    new_id: Callable[[str], str], instance: str = "",
) -> TwinStore:  # fmt: skip
    """A PostgreSQL registry with its copy in `home`. `fence`: the file that every process with the same proxy shares.

    Raises `Unavailable` when there is neither the database nor a copy.
    """
    local = await LocalCopy.open(home / NAME, now)
    store = TwinStore(open_postgres(url, BRIEF), local, Leadership(owner, address, fence), mirror, now, new_id)
    store.own_instance = instance
    try:
        await store.begin()
    except BaseException:
        await store.close()
        raise
    return store
