"""The roles bound to one transaction, and what that transaction will have changed once it is committed."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from datetime import datetime
from typing import Any

from sqlalchemy import Executable, Insert, Table, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.dialects.postgresql import Insert as PostgresInsert
from sqlalchemy.dialects.sqlite import Insert as SqliteInsert
from sqlalchemy.exc import IntegrityError

from codeb.drivers.store.faults import conflict_of, translated
from codeb.drivers.store.session import Database, Parameters, Rows, Session, through
from codeb.errors import InternalFault, Unavailable
from codeb.model.journal import Operation

SAVE, BACK, RELEASE = text("SAVEPOINT claim"), text("ROLLBACK TO SAVEPOINT claim"), text("RELEASE SAVEPOINT claim")


def insert(dialect: str, table: Table) -> PostgresInsert | SqliteInsert:
    return postgresql.insert(table) if dialect == "postgresql" else sqlite.insert(table)


def upsert(dialect: str, table: Table) -> Insert:
    """Insert, or replace the row with the same primary key; takes a whole row as parameters."""
    statement = insert(dialect, table)
    key = [column.name for column in table.primary_key]
    rest = {column.name: statement.excluded[column.name] for column in table.c if column.name not in key}
    return statement.on_conflict_do_update(index_elements=key, set_=rest)


@asynccontextmanager
async def writing(database: Database, now: Callable[[], datetime]) -> AsyncIterator["Transaction"]:
    """A transaction apart from the store's own, committed when the block ends. Raises `Unavailable`."""
    async with database.writing() as session:
        tx = Transaction(session, database.name, now, writes=True, known={})
        try:
            yield tx
        except BaseException:
            with suppress(Unavailable), translated():
                await through(session.rollback())
            raise
        with translated():
            await through(session.commit())


@asynccontextmanager
async def reading(database: Database, now: Callable[[], datetime]) -> AsyncIterator["Transaction"]:
    """One state of the database. Raises `Unavailable`."""
    async with database.reading() as session:
        yield Transaction(session, database.name, now, writes=False, known={})


class Transaction:
    """One transaction: its statements, and notes of what they change, which count only after the commit.

    `known` are the open operations as of the last commit; `operations` those this transaction changed (None: ended).
    """

    def __init__(
        self,
        session: Session,
        dialect: str,
        now: Callable[[], datetime],
        *,
        writes: bool,
        known: dict[str, Operation],
        written: str = "",
    ) -> None:
        self.now = now
        self.dialect = dialect
        self.known = known
        self.operations: dict[str, Operation | None] = {}
        self.projects: set[str] = set()
        self.keys = False
        self.wrote = False
        self.broken = False
        """a statement failed, so the database may have dropped part of it: only rolling back is right"""
        self.over = False
        self.away = False
        """a statement failed because the database did not answer"""
        self.written = written
        """the name under which the feed notes what this transaction changes"""
        self.made: list[Any] = []
        """what the feed of the database notes of this transaction and of others since the copy's position"""
        self.audited: list[dict[str, Any]] = []
        """rows of the audit log that it adds: the feed does not note those"""
        self.session = session
        self._writes = writes

    async def read(self, statement: Executable, parameters: Parameters | None = None) -> Rows:
        """Raises `Unavailable`; afterwards the transaction cannot be committed."""
        if self.over:
            raise InternalFault("the transaction is over")
        try:
            with translated():
                return await self.session.run(statement, parameters)
        except BaseException as error:
            self.broken = True
            self.away = isinstance(error, Unavailable)
            raise

    async def write(self, statement: Executable, parameters: Parameters | None = None) -> int:
        """The number of rows changed."""
        if not self._writes:
            raise InternalFault("a reading transaction does not write")
        self.wrote = True
        return (await self.read(statement, parameters)).count

    async def claim(self, statement: Executable, parameters: Parameters | None = None) -> int:
        """A write that a constraint may refuse: raises the `Conflict` for it, and the transaction can go on."""
        await self.write(SAVE)
        try:
            rows = await self.session.run(statement, parameters)
        except IntegrityError as error:
            await self.write(BACK)
            await self.write(RELEASE)
            raise conflict_of(error) from error
        except BaseException as error:
            self.broken = True
            try:
                with translated():
                    raise error
            except Unavailable:
                self.away = True
                raise
        await self.write(RELEASE)
        return rows.count

    def insert(self, table: Table) -> PostgresInsert | SqliteInsert:
        """An insert that knows ON CONFLICT, of this database."""
        return insert(self.dialect, table)

    def touch(self, project: str) -> None:
        """Projects, slots or leases of this project change."""
        self.projects.add(project)

    @property
    def mirrored(self) -> bool:
        """Whether what is mirrored to files changes."""
        return bool(self.projects) or self.keys
