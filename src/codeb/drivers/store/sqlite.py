"""SQLite: one connection that writes, a few that read, each with a thread of its own.

A thread of our own rather than aiosqlite: one hop per statement instead of four (0.54 against 1.07 ms for a transaction
of one row), and a cancelled caller never leaves a connection in the middle of a statement, because whatever comes
next queues behind it in the same thread. Left to itself SQLite loses updates silently (no BEGIN before a SELECT), so
the writer says BEGIN IMMEDIATE; readers say plain BEGIN and wait for nobody (WAL).
"""

import asyncio
import shutil
import sqlite3
import tempfile
import time
import weakref
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, Executable, NullPool, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.engine.interfaces import DBAPIConnection, DBAPICursor

from codeb.drivers.store.session import Parameters, Rows, Session, through

R = TypeVar("R")

READERS = 4
BUSY_MS = 5000
"""how long a writer waits for a writer of another process"""


def engine(path: Path, *, begin: str, durable: bool = True) -> Engine:
    """An engine whose transactions start with `begin`. `durable` waits for the disk at every commit."""
    url = URL.create("sqlite", database=str(path))
    made = create_engine(
        url, poolclass=NullPool, hide_parameters=True, connect_args={"check_same_thread": False, "timeout": BUSY_MS / 1000}
    )

    @event.listens_for(made, "connect")
    def _connect(connection: DBAPIConnection, _: object) -> None:
        connection.isolation_level = None
        cursor = connection.cursor()
        for pragma in (f"busy_timeout={BUSY_MS}", f"synchronous={'FULL' if durable else 'OFF'}", "foreign_keys=ON"):
            cursor.execute(f"PRAGMA {pragma}")
        _use_wal(cursor)
        cursor.close()

    @event.listens_for(made, "begin")
    def _begin(connection: Connection) -> None:
        connection.exec_driver_sql(begin)

    return made


def _use_wal(cursor: DBAPICursor) -> None:
    """A file becomes WAL once, and that change alone does not wait for others by itself: two first starts may meet."""
    end = time.monotonic() + BUSY_MS / 1000
    while True:
        try:
            cursor.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > end:
                raise
            time.sleep(0.02)
        else:
            return


class _Line:
    """A connection and the one thread that uses it. It is a `Session` again and again, one transaction at a time."""

    def __init__(self, source: Engine, name: str) -> None:
        self._source = source
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"codeb-{name}")
        self._connection: Connection | None = None

    async def _in_thread(self, act: Callable[..., R], *args: Any) -> R:
        return await asyncio.get_running_loop().run_in_executor(self._thread, partial(act, *args))

    def _run(self, statement: Executable, parameters: Parameters | None) -> Rows:
        if self._connection is None:
            self._connection = self._source.connect()
        result = self._connection.execute(statement, parameters)
        return Rows(result.mappings().all() if result.returns_rows else (), result.rowcount)

    def _end(self, how: str) -> None:
        if self._connection is None:
            return
        try:
            getattr(self._connection, how)()
        except BaseException:
            self._drop()
            raise

    def _drop(self) -> None:
        """Close for good; whatever was not committed is gone with it."""
        if self._connection is not None:
            connection, self._connection = self._connection, None
            connection.invalidate()
            connection.close()

    async def run(self, statement: Executable, parameters: Parameters | None = None) -> Rows:
        return await self._in_thread(self._run, statement, parameters)

    async def commit(self) -> None:
        await self._in_thread(self._end, "commit")

    async def rollback(self) -> None:
        await self._in_thread(self._end, "rollback")

    async def close(self) -> None:
        await self._in_thread(self._drop)
        self._thread.shutdown(wait=False)


class SqliteDatabase:
    name = "sqlite"

    def __init__(self, path: Path | None) -> None:
        """`None`: in memory. That is a file in memory-backed storage, gone at `close`: the same engine and the same rules."""
        self._folder: str | None = None
        if path is None:
            shared = Path("/dev/shm")  # noqa: S108  a private folder is made inside
            self._folder = tempfile.mkdtemp(prefix="codeb-", dir=shared if shared.is_dir() else None)
            self._forget = weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
        self.path = path or Path(self._folder or "") / "memory.db"
        self.about = f"SQLite at {self.path}"
        durable = path is not None
        self.writer = engine(self.path, begin="BEGIN IMMEDIATE", durable=durable)
        reader = engine(self.path, begin="BEGIN", durable=durable)
        self._writing = _Line(self.writer, "write")
        self._idle = [_Line(reader, f"read-{number}") for number in range(READERS)]
        self._lines = (self._writing, *self._idle)
        self._free = asyncio.Semaphore(READERS)

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[Session]:
        yield self._writing

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[Session]:
        async with self._free:
            line = self._idle.pop()
            try:
                yield line
            finally:
                try:
                    await through(line.rollback())
                finally:
                    self._idle.append(line)

    async def close(self) -> None:
        for line in self._lines:
            await through(line.close())
        if self._folder is not None:
            self._forget()


def open_sqlite(url: str) -> SqliteDatabase:
    """`sqlite:///relative`, `sqlite:////absolute`, as SQLAlchemy reads them, or `sqlite://`: memory. Makes the folder (0700)."""
    database = make_url(url).database
    if not database or database == ":memory:":
        return SqliteDatabase(None)
    path = Path(database).absolute()
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    return SqliteDatabase(path)
