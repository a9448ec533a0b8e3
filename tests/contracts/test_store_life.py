"""The store keeps its contract on all databases: transactions, the snapshot, migrations, and a database that is gone."""

import asyncio
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, inspect, text

from codeb.drivers.store import migrate, sqlite
from codeb.drivers.store.mirror import Mirror, verified
from codeb.drivers.store.postgres import open_postgres
from codeb.drivers.store.sql import SqlStore, open_store
from codeb.errors import InternalFault, InvalidParams, Unavailable
from codeb.model.access import Key, Role
from codeb.model.journal import OpState, StepRow, StepState
from codeb.model.ports import Lease
from codeb.model.slots import State
from tests.postgres import Server, postgres, postgres_server
from tests.stores import (
    KINDS,
    PROD,
    SHARED,
    STAGE,
    START,
    Clock,
    Opener,
    clock,
    opener,
    operation,
    pair,
    project,
    reread,
    store,
    url,
)

__all__ = ["clock", "opener", "postgres", "store", "url"]

pytestmark = pytest.mark.anyio
on_all = pytest.mark.parametrize("url", KINDS, indirect=True)
on_shared = pytest.mark.parametrize("url", SHARED, indirect=True)


@on_all
async def test_the_snapshot_is_exact_after_every_commit_and_only_then(store: SqlStore) -> None:
    held = operation()

    async def acts(registry: Any) -> Any:
        nonlocal held
        await registry.projects.add(project())
        yield
        await registry.slots.add(pair())
        yield
        await registry.leases.add(Lease("local", 4100, "shop", "production", "blue"), Lease("a", 1, "shop", "x", "blue"))
        yield
        held = await registry.journal.open(held, owner="h:b")
        yield
        await registry.journal.step(held.fence, StepRow("op_1", 0, "s", StepState.DONE, START))
        yield
        await registry.slots.put(replace(pair().blue, state=State.ACTIVE, version="1"))
        yield
        await registry.teams.ensure("acme")
        await registry.keys.add(Key("k1", "a" * 64, "acme", Role.OWNER))
        yield
        held = await registry.journal.take_over("op_1", owner="h:c")
        yield
        await registry.journal.close("op_1", held.fence, OpState.SUCCEEDED)
        yield
        await registry.leases.remove("a", [1])
        yield
        await registry.projects.remove("shop")
        yield

    class Now:
        """The registry of the transaction under way."""

    now: Any = Now()
    script = acts(now)
    generations = []
    for _ in range(11):
        before = store.snapshot
        async with store.write() as registry:
            now.__dict__.update(vars(registry))
            await anext(script)
            assert store.snapshot is before
        assert store.snapshot == await reread(store)
        generations.append(store.snapshot.generation)
    assert generations == [1, 2, 3, 3, 3, 4, 5, 5, 5, 6, 7]


@on_all
async def test_a_transaction_that_raises_leaves_nothing(store: SqlStore) -> None:
    before = store.snapshot
    with pytest.raises(ZeroDivisionError):
        async with store.write() as registry:
            await registry.projects.add(project())
            await registry.journal.open(operation(), owner="h:b")
            assert await registry.projects.get("shop") is not None
            raise ZeroDivisionError
    assert store.snapshot is before and await reread(store) == before
    async with store.write() as registry:
        await registry.projects.add(project())
    assert store.snapshot == await reread(store)


@on_all
async def test_a_caller_cancelled_anywhere_leaves_all_or_nothing(store: SqlStore) -> None:
    async def work(number: int) -> None:
        async with store.write() as registry:
            await registry.projects.add(project(f"p{number}"))
            await registry.slots.add(pair(replace(PROD, project=f"p{number}")))

    for number in range(40):
        task = asyncio.create_task(work(number))
        await asyncio.sleep(number * 0.0001)
        task.cancel()
        await asyncio.wait([task])
        found = await reread(store)
        assert found == store.snapshot
        assert (f"p{number}" in found.projects) == (replace(PROD, project=f"p{number}") in found.pairs)
    await work(99)
    assert "p99" in store.snapshot.projects


@on_all
async def test_reading_sees_one_state_and_waits_for_no_writer(store: SqlStore) -> None:
    async with store.write() as registry:
        await registry.projects.add(project())
        async with asyncio.timeout(1), store.read() as reader:
            assert await reader.projects.all() == []
    async with store.read() as reader:
        assert len(await reader.projects.all()) == 1
        async with store.write() as registry:
            await registry.projects.add(project("blog"))
        assert len(await reader.projects.all()) == 1
        with pytest.raises(InternalFault):
            await reader.projects.add(project("late"))
    with pytest.raises(InternalFault):
        await reader.projects.all()


@on_all
async def test_a_transaction_inside_a_transaction_is_refused_not_hung(store: SqlStore) -> None:
    async with store.write():
        with pytest.raises(InternalFault):
            async with store.write():
                pass


@on_all
async def test_a_failed_statement_is_never_half_committed(store: SqlStore) -> None:
    with pytest.raises(InternalFault):
        async with store.write() as registry:
            await registry.projects.add(project())
            with pytest.raises((Unavailable, InternalFault)):
                await registry.keys._tx.write(text("UPDATE nowhere SET x = 1"))
    assert (await reread(store)).projects == {} == store.snapshot.projects


@on_shared
async def test_another_process_shows_after_refresh_or_the_next_own_write(opener: Opener) -> None:
    one, two = await opener(), await opener()
    async with one.write() as registry:
        await registry.projects.add(project())
        await registry.journal.open(operation(), owner="h:b")
    await two.refresh()
    assert two.snapshot == one.snapshot
    async with one.write() as registry:
        await registry.projects.add(project("blog"))
    async with two.write() as registry:
        await registry.teams.ensure("acme")
    assert two.snapshot == await reread(two)
    assert set(two.snapshot.projects) == {"blog", "shop"}


@on_shared
async def test_what_is_stored_survives_and_the_mirror_says_it(opener: Opener, tmp_path: Path) -> None:
    store = await opener(Mirror(tmp_path))
    async with store.write() as registry:
        await registry.projects.add(project())
        await registry.slots.add(pair())
    await store.flush()
    assert verified(tmp_path / "registry/ssot.json")["generation"] == 1
    assert (tmp_path / "registry/slots/shop-production.json").exists()
    before = store.snapshot
    await store.close()
    assert (await opener()).snapshot == before
    await store.close()
    assert (await store.check()).status == "fail"
    with pytest.raises(Unavailable):
        async with store.write():
            pass


@on_all
async def test_check_says_where_it_is(store: SqlStore) -> None:
    found = await store.check()
    if not store.standing.degraded:
        assert (found.name, found.status) == ("store", "pass")
        assert migrate.HEAD in found.text


# migrations


def engine_of(url: str) -> Engine:
    if url.startswith("postgresql"):
        return open_postgres(url).migrating()
    path = Path(url.removeprefix("sqlite:///"))
    path.parent.mkdir(parents=True, exist_ok=True)
    return sqlite.engine(path, begin="BEGIN IMMEDIATE")


@on_shared
async def test_migrations_have_no_drift_and_go_both_ways(url: str) -> None:
    engine = engine_of(url)
    for _ in range(2):
        migrate.upgrade(engine)
        with engine.begin() as connection:
            assert migrate.recorded(connection) == migrate.HEAD
            command.check(migrate.config(connection))
            command.downgrade(migrate.config(connection), "base")
            assert inspect(connection).get_table_names() == ["alembic_version"]
    engine.dispose()


@on_shared
async def test_drift_would_be_seen(url: str) -> None:
    engine = engine_of(url)
    migrate.upgrade(engine)
    with engine.begin() as connection:
        connection.execute(text("DROP INDEX ux_project_slots_one_active"))
        with pytest.raises(Exception, match="ux_project_slots_one_active"):
            command.check(migrate.config(connection))
    engine.dispose()


@on_shared
async def test_a_store_of_a_newer_version_is_left_alone(url: str, opener: Opener) -> None:
    await (await opener()).close()
    engine = engine_of(url)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(Unavailable) as refused:
        await opener()
    assert refused.value.code == "store_newer"
    engine.dispose()


@on_shared
async def test_two_starters_migrate_once(opener: Opener) -> None:
    one, two = await asyncio.gather(opener(), opener())
    assert one.snapshot == two.snapshot


def test_many_first_starts_at_once_all_get_their_file(tmp_path: Path) -> None:
    """SQLite's change to WAL can fail at once when two make it together, whatever the busy timeout says."""

    def start(path: Path, together: threading.Barrier) -> None:
        together.wait()
        with sqlite.engine(path, begin="BEGIN IMMEDIATE").begin() as connection:
            connection.execute(text("CREATE TABLE IF NOT EXISTS x (y INTEGER)"))

    with ThreadPoolExecutor(6) as threads:
        for number in range(20):
            together = threading.Barrier(6)
            starts = [threads.submit(start, tmp_path / f"{number}.db", together) for _ in range(6)]
            for each in starts:
                each.result(timeout=30)


def test_head_is_the_newest_revision() -> None:
    assert ScriptDirectory.from_config(migrate.config()).get_heads() == [migrate.HEAD]


def test_a_start_with_nothing_to_migrate_loads_neither_alembic_nor_psycopg(tmp_path: Path) -> None:
    program = (
        "import asyncio, sys\nfrom datetime import UTC, datetime\nfrom codeb.drivers.store.sql import open_store\n"
        "async def main():\n"
        f"    store = await open_store('sqlite:///{tmp_path}/codeb.db', mirror=None, now=lambda: datetime.now(UTC))\n"
        "    await store.close()\n"
        "asyncio.run(main())\nprint([name for name in ('alembic', 'psycopg', 'greenlet') if name in sys.modules])\n"
    )
    said = [
        subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True, timeout=60).stdout
        for _ in range(2)
    ]
    assert said[0].startswith("['alembic'") and said[1] == "[]\n"


# a database that does not answer


async def test_an_address_of_another_kind_is_refused(clock: Clock) -> None:
    with pytest.raises(InvalidParams):
        await open_store("mysql://localhost/x", mirror=None, now=clock)


async def test_a_file_that_is_no_database_is_unavailable_and_left_as_it_is(tmp_path: Path, clock: Clock) -> None:
    path = tmp_path / "codeb.db"
    path.write_bytes(b"not a database" * 100)
    with pytest.raises(Unavailable) as refused:
        await open_store(f"sqlite:///{path}", mirror=None, now=clock)
    assert refused.value.code == "store_unavailable"
    assert path.read_bytes() == b"not a database" * 100


async def test_a_commit_without_an_answer_is_read_again(tmp_path: Path, clock: Clock) -> None:
    """The commit landed, its answer was lost: the caller hears 503, and the next transaction's snapshot is exact."""
    from sqlalchemy.exc import OperationalError

    store = await open_store(f"sqlite:///{tmp_path}/codeb.db", mirror=None, now=clock)
    line = store._database._writing  # type: ignore[attr-defined]  # the SQLite one
    commit = line.commit

    async def lost() -> None:
        await commit()
        raise OperationalError("COMMIT", {}, Exception("gone"))

    line.commit = lost
    with pytest.raises(Unavailable):
        async with store.write() as registry:
            await registry.projects.add(project())
            await registry.journal.open(operation(places=(STAGE,)), owner="h:b")
    line.commit = commit
    async with store.write() as registry:
        await registry.journal.renew("h:b")
    assert store.snapshot == await reread(store)
    assert STAGE in store.snapshot.running and "shop" in store.snapshot.projects
    await store.close()


@pytest.mark.postgres
async def test_postgres_gone_and_back(clock: Clock) -> None:
    with postgres_server() as server:
        store = await open_store(server.url(), mirror=None, now=clock)
        async with store.write() as registry:
            await registry.projects.add(project())
        server.stop()
        before = store.snapshot
        for act in (store.write, store.read):
            with pytest.raises(Unavailable) as gone:
                async with act() as registry:
                    await registry.projects.all()
            assert gone.value.code == "store_unavailable"
        assert (await store.check()).status == "fail"
        assert store.snapshot is before
        server.start()
        async with store.write() as registry:
            await registry.projects.add(project("blog"))
        assert set(store.snapshot.projects) == {"shop", "blog"}
        await store.close()


@pytest.mark.postgres
async def test_a_full_write_queue_of_another_process_is_unavailable_not_for_ever(postgres: Server, clock: Clock) -> None:
    address = postgres.url()
    one = await open_store(address, mirror=None, now=clock)
    two = await open_store(address, mirror=None, now=clock)
    async with one.write() as registry:
        await registry.projects.add(project())
        with pytest.raises(Unavailable):
            async with asyncio.timeout(9), two.write() as other:
                await other.projects.add(project("blog"))
    async with two.write() as other:
        await other.projects.add(project("blog"))
    assert set(two.snapshot.projects) == {"shop", "blog"}
    await one.close()
    await two.close()
