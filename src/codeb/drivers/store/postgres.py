"""PostgreSQL, through psycopg 3: the driver whose loss of the server is one class of error, whatever the way it is lost.

Writers of all processes queue at one advisory lock, taken with the first statement of a writing transaction and let go
by its end. So a writing transaction means the same as on SQLite: nobody else writes meanwhile, what it read stays true,
and no serialisation failure has to be tried again. CodeB writes a few small rows at a time; a queue costs less than
two sets of rules. A process that is paused inside a transaction is cut off by the server after IDLE_SECONDS.

A statement that gets no answer in its time is ended by cutting the connection under it. Cancelling it would not do:
psycopg then asks the server, which does not answer, to cancel, and waits for that.
"""

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator, Awaitable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, TypeVar

from sqlalchemy import Engine, Executable, NullPool, Pool, create_engine, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from codeb.drivers.store.session import Parameters, Rows, Session, through

T = TypeVar("T")

LOCK = text("SELECT pg_advisory_xact_lock(4807526976)")
ALIVE = text("SELECT 1")
IDLE_SECONDS = 5.0
"""how long a process that was paused in a transaction keeps others waiting, at least"""
PATIENT = 10.0
"""seconds for one statement, whatever the network does, where nothing stands in for the database"""
BRIEF = 2.0
"""the same where a local copy does: with the second between two looks it is noticed within 3 s that the database is gone"""
END_SECONDS = 1.0
"""how long a connection that was cut may take to notice"""


def _connect_args(seconds: float) -> dict[str, Any]:
    return {
        "connect_timeout": 2,
        "application_name": "codeb",
        "options": f"-c lock_timeout={int(seconds * 500)} -c statement_timeout={int(seconds * 1000)}"
        f" -c idle_in_transaction_session_timeout={int(max(seconds, IDLE_SECONDS) * 1000)} -c timezone=UTC",
        "tcp_user_timeout": int(seconds * 1000),
    }


class _Transaction:
    """A `Session` on a connection of `source`, taken with the first statement."""

    def __init__(
        self, source: AsyncEngine, stack: AsyncExitStack, seconds: float, strays: "set[asyncio.Future[None]]", *, alone: bool
    ) -> None:  # fmt: skip
        self._source = source
        self._stack = stack
        self._seconds = seconds
        self._alone = alone
        self._strays = strays
        self._connection: AsyncConnection | None = None
        self._socket = -1
        self._pool: Pool | None = None

    async def run(self, statement: Executable, parameters: Parameters | None = None) -> Rows:
        connection = self._connection or await self._connect()
        result = await self._bounded(connection.execute(statement, parameters))
        return Rows(result.mappings().all() if result.returns_rows else (), result.rowcount)

    async def _connect(self) -> AsyncConnection:
        """A connection that answers. One from the pool may be to a server that has been restarted since: then a new one."""
        for last in (False, True):
            self._pool = self._source.pool
            connection = self._connection = await self._open()
            raw = await connection.get_raw_connection()
            assert raw.driver_connection is not None
            self._socket = raw.driver_connection.pgconn.socket
            try:
                await self._bounded(connection.execute(LOCK if self._alone else ALIVE))
            except (DBAPIError, TimeoutError) as error:
                await self._drop()
                if last or isinstance(error, TimeoutError) or not error.connection_invalidated:
                    raise
                await self._source.dispose()
            except BaseException:
                await self._drop()
                raise
            else:
                self._stack.push_async_callback(self._give_back)
                return connection
        raise AssertionError("the second round returns or raises")

    async def _open(self) -> AsyncConnection:
        """A connection of the pool. Whoever is cancelled or tired of waiting leaves none behind."""
        connection = self._source.connect()
        opening = asyncio.ensure_future(connection.start())
        try:
            await asyncio.wait({opening}, timeout=self._seconds + 2)
        except BaseException:
            self._leave(opening, connection)
            raise
        if not opening.done():
            self._leave(opening, connection)
            raise TimeoutError("the database let nobody in in time")
        return opening.result()

    def _leave(self, opening: "asyncio.Future[AsyncConnection]", connection: AsyncConnection) -> None:
        async def put_away() -> None:
            await asyncio.wait({opening})
            if opening.exception() is None:
                await _destroy(connection)

        stray = asyncio.ensure_future(put_away())
        self._strays.add(stray)
        stray.add_done_callback(self._strays.discard)

    async def _bounded(self, work: Awaitable[T]) -> T:
        """Raises `TimeoutError` when there is no answer in time; whoever is cancelled meanwhile also leaves at once."""
        task = asyncio.ensure_future(work)
        try:
            await asyncio.wait({task}, timeout=self._seconds)
        finally:
            silent = not task.done()
            if silent:
                self._cut()
                await asyncio.wait({task}, timeout=END_SECONDS)
                if not task.done():
                    task.cancel()
                elif not task.cancelled():
                    task.exception()
        if silent:
            await self._drop()
            raise TimeoutError("the database did not answer in time")
        return task.result()

    def _cut(self) -> None:
        with contextlib.suppress(OSError), socket.socket(fileno=os.dup(self._socket)) as line:
            line.shutdown(socket.SHUT_RDWR)

    async def _give_back(self) -> None:
        """To the pool, which ends what is open on it, and for that asks the server once more. Unless it was disposed of."""
        if self._connection is not None:
            if self._source.pool is not self._pool:
                await self._drop()
                return
            try:
                await self._bounded(self._connection.close())
            except (DBAPIError, TimeoutError):
                await self._drop()

    async def _drop(self) -> None:
        """Never give this connection back: its state is not known."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await _destroy(connection)

    async def commit(self) -> None:
        if self._connection is not None:
            await self._bounded(self._connection.commit())

    async def rollback(self) -> None:
        if self._connection is None:
            return
        try:
            await self._bounded(self._connection.rollback())
        except BaseException:
            await self._drop()
            raise


async def _destroy(connection: AsyncConnection) -> None:
    with contextlib.suppress(Exception):
        await connection.invalidate()
    with contextlib.suppress(Exception):
        await connection.close()


class PostgresDatabase:
    name = "postgresql"

    def __init__(self, url: URL, seconds: float = PATIENT) -> None:
        self.url = url
        self.seconds = seconds
        self._strays: set[asyncio.Future[None]] = set()
        """connections that are still being opened and that nobody waits for any more"""
        self.about = f"PostgreSQL at {url.host or 'its socket'}, database {url.database}"
        shape: dict[str, Any] = {"pool_timeout": seconds, "hide_parameters": True, "connect_args": _connect_args(seconds)}
        self._writer = create_async_engine(url, pool_size=1, max_overflow=1, **shape)
        self._reader = create_async_engine(
            url, pool_size=4, max_overflow=4, isolation_level="REPEATABLE READ", **shape
        ).execution_options(postgresql_readonly=True)

    def migrating(self) -> Engine:
        """An engine without async, for alembic; without time limits, because a migration may take long."""
        return create_engine(self.url, poolclass=NullPool, hide_parameters=True, connect_args={"connect_timeout": 2})

    @asynccontextmanager
    async def _begin(self, source: AsyncEngine, *, alone: bool) -> AsyncIterator[Session]:
        stack = AsyncExitStack()
        transaction = _Transaction(source, stack, self.seconds, self._strays, alone=alone)
        try:
            yield transaction
        finally:
            await through(stack.aclose())

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[Session]:
        async with self._begin(self._writer, alone=True) as session:
            yield session

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[Session]:
        async with self._begin(self._reader, alone=False) as session:
            yield session

    async def forget(self) -> None:
        """Give up the connections that wait in the pools: their server is gone."""
        await self._writer.dispose()
        await self._reader.dispose()

    async def close(self) -> None:
        if self._strays:
            await asyncio.wait(self._strays, timeout=self.seconds)
        await self.forget()


def open_postgres(url: str, seconds: float = PATIENT) -> PostgresDatabase:
    """`postgresql://user:password@host:port/name`, or any form SQLAlchemy reads; the driver is always psycopg 3."""
    address = make_url(url).set(drivername="postgresql+psycopg")
    if said := address.query.get("password"):
        # where its representation leaves it out
        address = address.set(password=str(said)).difference_update_query(["password"])
    return PostgresDatabase(address, seconds)
