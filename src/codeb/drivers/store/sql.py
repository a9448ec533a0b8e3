"""The store: transactions over SQLite or PostgreSQL, and the registry in memory."""

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from datetime import datetime
from typing import TypeVar

from sqlalchemy import select, update
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from codeb.contracts.store import Snapshot, Standing
from codeb.drivers.store import migrate, recall
from codeb.drivers.store.approvals import SqlApprovals
from codeb.drivers.store.audit import SqlAudit
from codeb.drivers.store.envs import SqlEnvs
from codeb.drivers.store.faults import translated
from codeb.drivers.store.happenings import SqlConflicts, SqlEvents
from codeb.drivers.store.hosts import SqlDomains, SqlMaintenances
from codeb.drivers.store.journal import SqlJournal
from codeb.drivers.store.machines import SqlRules, SqlServers
from codeb.drivers.store.mirror import Mirror
from codeb.drivers.store.people import SqlAnswers, SqlKeys, SqlMembers, SqlTeams
from codeb.drivers.store.previews import SqlPreviews
from codeb.drivers.store.registry import SqlDeployments, SqlLeases, SqlProjects, SqlSlots
from codeb.drivers.store.schema import meta
from codeb.drivers.store.seals import SqlSeals
from codeb.drivers.store.session import Database, through
from codeb.drivers.store.sqlite import open_sqlite
from codeb.drivers.store.storages import SqlStorages
from codeb.drivers.store.transaction import Transaction
from codeb.drivers.store.work import SqlTasks
from codeb.errors import InternalFault, InvalidParams, PublicError, Unavailable
from codeb.model.specs import Finding

log = logging.getLogger("codeb.store")

T = TypeVar("T")


class SqlRegistry:
    """All roles, bound to one transaction."""

    def __init__(self, tx: Transaction) -> None:
        self.projects = SqlProjects(tx)
        self.slots = SqlSlots(tx)
        self.leases = SqlLeases(tx)
        self.deployments = SqlDeployments(tx)
        self.journal = SqlJournal(tx)
        self.answers = SqlAnswers(tx)
        self.seals = SqlSeals(tx)
        self.keys = SqlKeys(tx)
        self.teams = SqlTeams(tx)
        self.members = SqlMembers(tx)
        self.audit = SqlAudit(tx)
        self.events = SqlEvents(tx)
        self.conflicts = SqlConflicts(tx)
        self.approvals = SqlApprovals(tx)
        self.envs = SqlEnvs(tx)
        self.domains = SqlDomains(tx)
        self.maintenances = SqlMaintenances(tx)
        self.previews = SqlPreviews(tx)
        self.storages = SqlStorages(tx)
        self.servers = SqlServers(tx)
        self.rules = SqlRules(tx)
        self.tasks = SqlTasks(tx)


class SqlStore:
    """See `contracts.store.Store`. Writers of this process queue in the order in which they came."""

    def __init__(self, database: Database, mirror: Mirror | None, now: Callable[[], datetime]) -> None:
        self._database = database
        self._mirror = mirror
        self._now = now
        self._recalled = recall.EMPTY
        self._doubt = False
        """a commit brought no answer: it may have landed, so the next transaction reads everything again"""
        self._turn = asyncio.Lock()
        self._writer: asyncio.Task[object] | None = None
        self._closed = False
        self.on_lead: list[Callable[[], Awaitable[None]]] = []
        """called whenever this process begins to lead; one that is alone always has"""
        self.own_instance = ""
        """what `begin` puts on record as the id on the installation's containers, where there is none yet"""

    @property
    def snapshot(self) -> Snapshot:
        """Another process's writes to the registry show with this one's next, or after `refresh`."""
        return self._recalled.snapshot

    @asynccontextmanager
    async def read(self) -> AsyncIterator[SqlRegistry]:
        async with self._reading() as tx:
            yield SqlRegistry(tx)

    @asynccontextmanager
    async def _reading(self) -> AsyncIterator[Transaction]:
        self._refuse_closed()
        async with self._database.reading() as session:
            tx = Transaction(session, self._database.name, self._now, writes=False, known={})
            try:
                yield tx
            finally:
                tx.over = True

    @asynccontextmanager
    async def _writing(self) -> AsyncIterator[Transaction]:
        async with self._database.writing() as session:
            yield Transaction(session, self._database.name, self._now, writes=True, known=self._recalled.operations)

    @asynccontextmanager
    async def write(self) -> AsyncIterator[SqlRegistry]:
        """Raises what the block raises, after rolling back; `Unavailable` when it cannot be committed, or when closed.

        A caller cancelled during the commit is told so after it, and the snapshot knows what was committed.
        """
        if self._writer is not None and self._writer is asyncio.current_task():
            raise InternalFault("a transaction inside a transaction would wait for itself")
        async with self._turn:
            self._refuse_closed()
            self._writer = asyncio.current_task()
            try:
                async with self._writing() as tx:
                    try:
                        yield SqlRegistry(tx)
                    except BaseException:
                        await through(self._roll_back(tx))
                        raise
                    await through(self._commit(tx))
            finally:
                self._writer = None

    async def transact(self, act: Callable[[SqlRegistry], Awaitable[T]]) -> T:
        async with self.write() as registry:
            return await act(registry)

    async def append(self, act: Callable[[SqlRegistry], Awaitable[T]]) -> T:
        return await self.transact(act)

    async def consult(self, act: Callable[[SqlRegistry], Awaitable[T]]) -> T:
        if self._doubt and not self._turn.locked():
            # a commit brought no answer: who reads what came of it must not find the snapshot behind what it read
            await self.refresh()
        async with self.read() as registry:
            return await act(registry)

    @property
    def standing(self) -> Standing:
        return Standing()

    def _refuse_closed(self) -> None:
        if self._closed:
            raise Unavailable("CodeB is stopping; its store is closed.", code="store_closed", hint="Try again in a moment.")

    async def _roll_back(self, tx: Transaction) -> None:
        tx.over = True
        with suppress(Unavailable), translated():
            await tx.session.rollback()

    async def _commit(self, tx: Transaction) -> None:
        try:
            coming = await self._coming(tx)
        except BaseException:
            await self._roll_back(tx)
            raise
        tx.over = True
        try:
            with translated():
                await tx.session.commit()
        except BaseException as silent:
            await self._unanswered(tx, silent)
        else:
            await self._answered(tx)
        self._landed(coming)

    async def _unanswered(self, tx: Transaction, silent: BaseException) -> None:
        """The commit brought no answer. Raises `silent`: the caller has to know; returns where it counts all the same."""
        self._doubt = True
        await self._roll_back(tx)
        raise silent

    async def _answered(self, tx: Transaction) -> None:
        """The database has it."""

    async def _coming(self, tx: Transaction) -> recall.Recalled:
        """What will be true once `tx` is committed."""
        if tx.broken:
            raise InternalFault("a transaction one of whose statements failed is not committed")
        if not tx.wrote and not self._doubt:
            return self._recalled
        return await recall.after(tx, self._recalled, doubt=self._doubt)

    def _landed(self, coming: recall.Recalled) -> None:
        changed = coming.snapshot.generation != self._recalled.snapshot.generation
        self._recalled = coming
        self._doubt = False
        if changed:
            self._tell_mirror()

    def _tell_mirror(self) -> None:
        if self._mirror is not None:
            self._mirror.dirty(self._recalled.snapshot)

    async def refresh(self) -> None:
        """Read everything again: at the start, and when another process may have written. Raises `Unavailable`."""
        async with self._turn:
            async with self._reading() as tx:
                self._recalled = await recall.whole(tx)
            self._doubt = False
        self._tell_mirror()

    async def check(self) -> Finding:
        """Never raises: a store that does not answer is a finding."""
        try:
            async with self._reading() as tx:
                number = await recall.generation(tx)
        except PublicError as fault:
            return Finding("store", "fail", f"{self._database.about}: {fault.message}", fault.hint)
        said = f"{self._database.about}, schema {migrate.HEAD}, generation {number}."
        if self._mirror is not None and self._mirror.fault:
            said = f"{said} Its mirror files are behind: {self._mirror.fault}"
            return Finding("store", "warn", said, "Look at the disk of the home.")
        return Finding("store", "pass", said)

    async def flush(self) -> None:
        """Return once the mirror files say what the snapshot says. Raises `Unavailable` when they cannot be written."""
        if self._mirror is not None:
            await self._mirror.flush()

    async def close(self) -> None:
        """After the running transaction, if any. Safe to repeat."""
        async with self._turn:
            if self._closed:
                return
            self._closed = True
            if self._mirror is not None:
                await self._mirror.close()
            await self._let_go()

    async def _let_go(self) -> None:
        await self._database.close()

    async def begin(self) -> None:
        """Make sure that the one row of `meta` is there, and read everything."""
        async with self._turn, self._database.writing() as session:
            tx = Transaction(session, self._database.name, self._now, writes=True, known={})
            await born(tx, self.own_instance)
            with translated():
                await session.commit()
        await self.refresh()


async def born(tx: Transaction, instance: str) -> None:
    """Give the registry its one row of `meta`, and its containers an id, unless it has them. Two first starts may meet."""
    there = (await tx.read(select(meta))).one
    if there is None:
        first = {"id": 1, "generation": 0, "registry_id": secrets.token_hex(16), "created_at": tx.now(), "instance": instance}
        await tx.write(tx.insert(meta).values(**first).on_conflict_do_nothing())
    elif not there["instance"] and instance:
        await tx.write(update(meta).values(instance=instance))


async def open_store(url: str, *, mirror: Mirror | None, now: Callable[[], datetime], instance: str = "") -> SqlStore:
    """Migrate to this version's schema, then open. `sqlite:////absolute/path`, `sqlite://` (memory), `postgresql://…`.

    Raises `Unavailable` (`store_unavailable`; `store_newer` when a newer CodeB has migrated it) and `InvalidParams`
    for an address of another kind.
    """
    try:
        kind = make_url(url).get_backend_name()
    except ArgumentError:
        raise InvalidParams(
            "The address of the store is none.", hint="CODEB_DATABASE_URL is sqlite:///path or postgresql://…"
        ) from None
    database: Database
    with translated():
        if kind == "sqlite":
            local = open_sqlite(url)
            await asyncio.to_thread(migrate.upgrade, local.writer)
            database = local
        elif kind == "postgresql":
            # PostgreSQL's driver costs start-up time that an embedded store does not pay.
            from codeb.drivers.store.postgres import open_postgres

            remote = open_postgres(url)
            await asyncio.to_thread(migrate.upgrade, remote.migrating())
            database = remote
        else:
            raise InvalidParams(f"A store of the kind {kind} is not known.", hint="Use sqlite:///path or postgresql://…")
    store = SqlStore(database, mirror, now)
    store.own_instance = instance
    try:
        await store.begin()
    except BaseException:
        await database.close()
        raise
    return store
