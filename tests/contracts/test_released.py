"""What the release before this one left in a database comes through the migration whole; made by `tests/released.py`."""

import contextlib
import sqlite3
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row
from sqlalchemy import Engine, text

from codeb.drivers.store import migrate, sqlite
from codeb.drivers.store.sql import SqlStore, open_store
from codeb.errors import InternalFault
from codeb.model.journal import StepState
from codeb.model.names import Place
from codeb.model.slots import State
from tests.postgres import postgres
from tests.released import FIXTURES, SCHEMA

__all__ = ["postgres"]

pytestmark = pytest.mark.anyio

KINDS = ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)]
A, B = Place("released-a", "production"), Place("released-b", "production")
NOT_STATE = ("alembic_version", "sqlite_sequence", "audit_logs", "meta")
Rows = dict[str, list[dict[str, Any]]]


@pytest.fixture(params=KINDS)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database as the release left it, in the middle of a promote."""
    if request.param == "sqlite":
        with contextlib.closing(sqlite3.connect(tmp_path / "codeb.db")) as database:
            database.executescript((FIXTURES / "sqlite.sql").read_text())
        return f"sqlite:///{tmp_path}/codeb.db"
    address = str(request.getfixturevalue("postgres").url())
    with psycopg.connect(address, autocommit=True) as server:
        server.execute((FIXTURES / "postgres.sql").read_bytes())
    return address


def everything(url: str) -> Rows:
    """Every table by its own means, rows in an order that does not depend on the database."""
    if url.startswith("postgresql"):
        with psycopg.connect(url, row_factory=dict_row) as server:
            names = [row["tablename"] for row in server.execute("select tablename from pg_tables where schemaname = 'public'")]
            found = {name: list(server.execute(f"select * from {name}".encode())) for name in names}
    else:
        with contextlib.closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as database:
            database.row_factory = sqlite3.Row
            names = [row[0] for row in database.execute("select name from sqlite_master where type = 'table'")]
            found = {name: [dict(row) for row in database.execute(f"select * from {name}")] for name in names}
    return {name: sorted(rows, key=str) for name, rows in found.items()}


@pytest.fixture
async def store(url: str) -> AsyncIterator[SqlStore]:
    opened = await open_store(url, mirror=None, now=lambda: datetime.now(UTC))
    yield opened
    await opened.close()


async def test_no_row_and_no_value_is_lost(url: str) -> None:
    """Every row of every table of the release, column by column; each table has some, or the test would show nothing."""
    before = everything(url)
    assert before["alembic_version"] == [{"version_num": SCHEMA}]
    state = {name: rows for name, rows in before.items() if name not in NOT_STATE}
    assert min(len(rows) for rows in state.values()) > 0, {name: len(rows) for name, rows in state.items()}
    await (await open_store(url, mirror=None, now=lambda: datetime.now(UTC))).close()
    after = everything(url)
    assert after["alembic_version"] == [{"version_num": migrate.HEAD}]
    for name, rows in state.items():
        columns = rows[0].keys()
        assert [{column: row[column] for column in columns} for row in after[name]] == rows, name
    assert {(bool(row["auto_rollback"]), row["watch_seconds"]) for row in after["projects"]} == {(True, 60)}


async def test_it_is_read_as_what_it_was(store: SqlStore) -> None:
    found = store.snapshot
    assert sorted(found.projects) == ["released-a", "released-b"]
    states = {place: [row.state for row in pair.rows] for place, pair in found.pairs.items()}
    assert states[A] == [State.GRACE, State.ACTIVE]
    assert states[B] == [State.ACTIVE, State.DEPLOYED]
    assert sorted(lease.port for lease in found.leases) == sorted(row.port for pair in found.pairs.values() for row in pair.rows)
    assert len(found.keys) == 1


async def test_the_operation_in_the_middle_of_which_it_died_is_found(store: SqlStore) -> None:
    home = "nobody"
    left = await store.transact(lambda registry: registry.journal.abandoned(home=home, lease_seconds=30))
    assert [(each.saga, each.places, each.state.terminal) for each in left] == [("promote", (B,), False)]
    steps = await store.consult(lambda registry: registry.journal.steps(left[0].id))
    assert [(step.name, step.state) for step in steps][-1] == ("switch", StepState.INTENT)


def engine_of(url: str) -> Engine:
    return sqlite.engine(Path(url.removeprefix("sqlite:///")), begin="BEGIN IMMEDIATE")


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
def test_a_migration_may_make_a_table_anew(url: str) -> None:
    """SQLite deletes what hangs on a table that is dropped: alembic's batches do that, and took every slot with the projects."""
    engine, before = engine_of(url), everything(url)
    with migrate._beginning(engine) as connection:
        for statement in (
            "CREATE TABLE anew AS SELECT * FROM projects",
            "DROP TABLE projects",
            "ALTER TABLE anew RENAME TO projects",
        ):
            connection.execute(text(statement))
    engine.dispose()
    assert everything(url)["project_slots"] == before["project_slots"]


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
def test_a_migration_that_leaves_loose_rows_is_not_committed(url: str) -> None:
    engine, before = engine_of(url), everything(url)
    with pytest.raises(InternalFault, match="port_leases"), migrate._beginning(engine) as connection:
        connection.execute(text("DELETE FROM projects"))
        migrate._check_ties(connection)
    engine.dispose()
    assert everything(url) == before
