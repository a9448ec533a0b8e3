"""PostgreSQL, through psycopg 3: the driver whose loss of the server is one class of error, whatever the way it is lost.

Writers of all processes queue at one advisory lock, taken with the first statement of a writing transaction and let go
by its end. So a writing transaction means the same as on SQLite: nobody else writes meanwhile, what it read stays true,
and no serialisation failure has to be tried again. CodeB writes a few small rows at a time; a queue costs less than
two sets of rules. A process that is paused inside a transaction is cut off by the server after IDLE_MS.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from sqlalchemy import Engine, Executable, NullPool, create_engine, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from codeb.drivers.store.session import Parameters, Rows, Session, through

LOCK = text("SELECT pg_advisory_xact_lock(4807526976)")
WAIT_MS = 5000
"""for the lock of another writer"""
IDLE_MS = 10_000
SECONDS = 10.0
"""for one statement, whatever the network does"""

CONNECT: dict[str, Any] = {
    "connect_timeout": 2,
    "application_name": "codeb",
    "options": f"-c lock_timeout={WAIT_MS} -c statement_timeout={int(SECONDS * 1000)}"
    f" -c idle_in_transaction_session_timeout={IDLE_MS} -c timezone=UTC",
    "tcp_user_timeout": int(SECONDS * 1000),
}


class _Transaction:
    def __init__(self, source: AsyncEngine, stack: AsyncExitStack, *, alone: bool) -> None:
        self._source = source
        self._stack = stack
        self._alone = alone
        self._connection: AsyncConnection | None = None

    async def run(self, statement: Executable, parameters: Parameters | None = None) -> Rows:
        async with asyncio.timeout(SECONDS):
            if self._connection is None:
                self._connection = await self._stack.enter_async_context(self._source.connect())
                if self._alone:
                    await self._connection.execute(LOCK)
            result = await self._connection.execute(statement, parameters)
            return Rows(result.mappings().all() if result.returns_rows else (), result.rowcount)

    async def commit(self) -> None:
        if self._connection is not None:
            async with asyncio.timeout(SECONDS):
                await self._connection.commit()

    async def rollback(self) -> None:
        if self._connection is not None:
            async with asyncio.timeout(SECONDS):
                await self._connection.rollback()


class PostgresDatabase:
    name = "postgresql"

    def __init__(self, url: URL) -> None:
        self.url = url
        self.about = f"PostgreSQL at {url.host or 'its socket'}, database {url.database}"
        shape: dict[str, Any] = {"pool_pre_ping": True, "pool_timeout": 5, "connect_args": CONNECT}
        self._writer = create_async_engine(url, pool_size=1, max_overflow=0, **shape)
        self._reader = create_async_engine(
            url, pool_size=4, max_overflow=4, isolation_level="REPEATABLE READ", **shape
        ).execution_options(postgresql_readonly=True)

    def migrating(self) -> Engine:
        """An engine without async, for alembic; without time limits, because a migration may take long."""
        return create_engine(self.url, poolclass=NullPool, connect_args={"connect_timeout": 2})

    @asynccontextmanager
    async def _begin(self, source: AsyncEngine, *, alone: bool) -> AsyncIterator[Session]:
        stack = AsyncExitStack()
        transaction = _Transaction(source, stack, alone=alone)
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

    async def close(self) -> None:
        await self._writer.dispose()
        await self._reader.dispose()


def open_postgres(url: str) -> PostgresDatabase:
    """`postgresql://user:password@host:port/name`, or any form SQLAlchemy reads; the driver is always psycopg 3."""
    return PostgresDatabase(make_url(url).set(drivername="postgresql+psycopg"))
