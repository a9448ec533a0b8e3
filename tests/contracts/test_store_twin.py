"""P9: PostgreSQL and the local copy that stands in for it. The whole store contract runs on both (`tests/stores.py`);
here is what happens at the moments in between."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest

from codeb.drivers.store import feed
from codeb.drivers.store.local import LocalCopy
from codeb.drivers.store.registry import SqlProjects
from codeb.drivers.store.transaction import reading
from codeb.drivers.store.twin import TwinStore
from codeb.errors import Conflict, FenceLost, Unavailable
from codeb.model.access import Key, Role
from codeb.model.chain import AuditRow
from codeb.model.journal import OpState
from codeb.model.ports import Lease
from codeb.model.slots import State
from tests.contracts.silence import unanswered
from tests.line import Line, line
from tests.postgres import Server, postgres
from tests.stores import PROD, STAGE, Clock, clock, operation, pair, project, through, twin_of

__all__ = ["clock", "postgres"]

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]


class Machine:
    """One machine with homes on it, before one database behind one line."""

    def __init__(self, folder: Path, at: Line, address: str, now: Clock) -> None:
        self.folder, self.at, self.address, self.now = folder, at, address, now
        self.boots = 0
        self.open: list[TwinStore] = []

    async def start(self, home: str = "one") -> TwinStore:
        self.boots += 1
        self.open.append(await twin_of(through(self.at, self.address), self.folder, self.now, boot=self.boots, home=home))
        return self.open[-1]

    async def die(self, twin: TwinStore) -> None:
        """Without a word to anybody, as by kill -9."""
        self.open.remove(twin)
        assert twin._watching is not None
        twin._watching.cancel()
        await asyncio.gather(twin._watching, return_exceptions=True)
        twin._closed = True
        await twin._let_go()

    async def lose(self, twin: TwinStore, how: str = "shut") -> None:
        self.at.set(how)
        await until(lambda: twin.standing.degraded, 6)

    async def find(self, *twins: TwinStore) -> None:
        self.at.set("open")
        for twin in twins:
            await until(lambda twin=twin: not twin.standing.degraded, 10)


@pytest.fixture
async def machine(postgres: Server, tmp_path: Path, clock: Clock) -> AsyncIterator[Machine]:
    with line(postgres.port) as at:
        made = Machine(tmp_path, at, postgres.url(), clock)
        yield made
        for twin in made.open:
            await twin.close()


async def until(true: Any, seconds: float) -> None:
    end = asyncio.get_running_loop().time() + seconds
    while not true():
        assert asyncio.get_running_loop().time() < end, "it did not come to that in time"
        await asyncio.sleep(0.02)


async def shop(twin: TwinStore, name: str = "shop") -> None:
    async def act(registry: Any) -> None:
        await registry.projects.add(project(name))
        await registry.slots.add(pair(replace(PROD, project=name)))

    await twin.transact(act)


async def rows_of(twin: TwinStore, copy: bool) -> dict[str, list[Any]]:
    """Every row of every table that is copied, by the database or by its copy."""
    source = twin._local.database if copy else twin._remote
    async with reading(source, twin._now) as tx:
        found = {table.name: [dict(row) for row in (await tx.read(table.select())).all] for table in feed.FED}
    return {name: sorted(rows, key=str) for name, rows in found.items()}


async def same(twin: TwinStore) -> None:
    """The database and its copy say the same, and so does the registry in memory; at rest, an event may be on its way."""
    async with asyncio.timeout(4):
        while await rows_of(twin, copy=True) != await rows_of(twin, copy=False) and not twin.standing.degraded:
            await asyncio.sleep(0.05)
    async with asyncio.timeout(5):  # the event of a return may be told between the two looks
        while await rows_of(twin, copy=True) != await rows_of(twin, copy=False):
            await asyncio.sleep(0.05)
    fresh = TwinStore(twin._remote, twin._local, twin._lead, None, twin._now, str)
    await fresh.refresh()
    assert fresh.snapshot == twin.snapshot


async def everything(twin: TwinStore) -> None:
    """Every role once, every kind of value."""
    await shop(twin)

    async def act(registry: Any) -> None:
        await registry.leases.add(Lease("local", 4100, "shop", "production", "blue"))
        await registry.teams.ensure("acme")
        await registry.keys.add(Key("k1", "a" * 64, "acme", Role.OWNER, "Frau Müller ☃ \0", created_at=twin._now()))
        held = await registry.journal.open(operation(input={"b": 1, "a": ['"', None, 1.5, "\0"]}), owner="one:1")
        await registry.slots.put(replace(pair().blue, state=State.ACTIVE, version="1", deployed_at=twin._now()))
        await registry.journal.change(held.id, held.fence, error={"z": 1, "a": 2}, warnings=("w",))

    await twin.transact(act)


async def test_the_copy_follows_every_commit(machine: Machine) -> None:
    twin = await machine.start()
    await everything(twin)
    await same(twin)

    async def gone(registry: Any) -> None:
        await registry.projects.remove("shop")

    await twin.transact(gone)
    await same(twin)
    assert (await rows_of(twin, copy=True))["port_leases"] == []


@pytest.mark.parametrize("how", ["shut", "silent"])
async def test_it_goes_away_and_comes_back(machine: Machine, how: str) -> None:
    """Noticed within 3 s, whatever is called meanwhile; every transaction done without it is in it afterwards, in order."""
    twin = await machine.start()
    await everything(twin)
    machine.at.set(how)
    began = asyncio.get_running_loop().time()
    await shop(twin, "blog")
    assert asyncio.get_running_loop().time() - began < 3.5
    assert twin.standing.degraded and twin.standing.leads and twin.standing.pending == 1
    held = await twin.consult(lambda registry: registry.journal.get("op_1"))
    assert held is not None
    await twin.transact(lambda registry: registry.journal.close("op_1", held.fence, OpState.SUCCEEDED, result={"x": 1.5}))
    assert set(twin.snapshot.projects) == {"shop", "blog"} and PROD not in twin.snapshot.running
    assert (await twin.check()).status == "fail"
    await machine.find(twin)
    assert set(twin.snapshot.projects) == {"shop", "blog"} and PROD not in twin.snapshot.running
    await same(twin)
    assert await twin._local.pending() == []
    await until(lambda: not twin._untold, 3)
    told = await twin.consult(lambda registry: registry.events.latest(team=None, project=None, limit=5, before=None))
    assert [(each.kind, each.data["replayed"]) for each in told] == [("database_away", 2)]
    assert twin.standing.last_gap_seconds is not None and (await twin.check()).status == "pass"


async def test_a_transaction_it_went_away_under_is_done_once(machine: Machine) -> None:
    twin = await machine.start()
    ran = 0

    async def act(registry: Any) -> None:
        nonlocal ran
        ran += 1
        await registry.projects.add(project())
        if ran == 1:
            machine.at.set("shut")
        await registry.slots.add(pair())

    await twin.transact(act)
    assert ran == 2 and PROD in twin.snapshot.pairs and twin.standing.degraded
    await machine.find(twin)
    await same(twin)


@pytest.mark.parametrize("landed", [True, False])
async def test_a_commit_without_an_answer_counts_once(machine: Machine, monkeypatch: pytest.MonkeyPatch, landed: bool) -> None:
    """The caller hears of success; if the database had it after all, it is not added a second time."""
    twin = await machine.start()
    await shop(twin)
    with unanswered(machine.at, monkeypatch, landed):
        await shop(twin, "blog")
    assert twin.standing.degraded and "blog" in twin.snapshot.projects
    await twin.transact(lambda registry: registry.projects.set_state("blog", "deleting"))
    await machine.find(twin)
    assert twin.snapshot.projects["blog"].state == "deleting"
    await same(twin)


async def test_a_start_without_the_database(machine: Machine) -> None:
    first = await machine.start()
    await everything(first)
    before = first.snapshot
    await machine.die(first)
    machine.at.set("shut")
    twin = await machine.start()
    assert twin.standing.degraded and twin.standing.leads and twin.snapshot == before
    await shop(twin, "blog")
    await machine.die(twin)
    machine.at.set("silent")
    twin = await machine.start()
    assert "blog" in twin.snapshot.projects
    await machine.find(twin)
    await same(twin)
    assert "blog" in twin.snapshot.projects


async def test_the_first_start_needs_the_database(machine: Machine) -> None:
    machine.at.set("shut")
    with pytest.raises(Unavailable) as refused:
        await machine.start()
    assert "no local copy" in refused.value.message


async def test_an_empty_or_another_database_is_never_taken_for_ours(machine: Machine, postgres: Server) -> None:
    """P10: not a new installation; what is there goes on from the copy, and says what is wrong."""
    twin = await machine.start()
    await everything(twin)
    await machine.die(twin)
    true, other = machine.address, postgres.url()
    machine.address = other
    twin = await machine.start()
    assert twin.standing.degraded and "is empty" in twin.standing.why and "shop" in twin.snapshot.projects
    await twin.close()
    machine.open.remove(twin)
    with psycopg.connect(other) as connection:
        assert connection.execute("SELECT to_regclass('meta')").fetchone() == (None,)
    machine.address = true
    twin = await machine.start()
    assert not twin.standing.degraded
    await same(twin)


async def test_what_others_did_meanwhile_is_kept_and_a_conflict_told(machine: Machine) -> None:
    """None dropped: what does not touch it is added, what does is kept aside in whole, and the copy is as the database."""
    twin = await machine.start()
    await shop(twin)
    await shop(twin, "blog")
    await machine.lose(twin)
    with psycopg.connect(machine.address) as elsewhere:
        elsewhere.execute("SELECT set_config('codeb.written', 'elsewhere', true)")
        elsewhere.execute("UPDATE projects SET state = 'deleting' WHERE name = 'blog'")
    await twin.transact(lambda registry: registry.projects.set_watch("blog", auto_rollback=False, watch_seconds=5))
    await twin.transact(lambda registry: registry.projects.set_watch("shop", auto_rollback=False, watch_seconds=7))
    await machine.find(twin)
    assert twin.snapshot.projects["shop"].watch_seconds == 7
    assert (twin.snapshot.projects["blog"].state, twin.snapshot.projects["blog"].watch_seconds) == ("deleting", 60)
    await same(twin)
    open_ones = await twin.consult(lambda registry: registry.conflicts.open_ones())
    assert [each.reason for each in open_ones] == ["projects blog was changed"]
    assert open_ones[0].changes[0]["after"]["watch_seconds"] == 5
    assert twin.standing.conflicts == 1 and (await twin.check()).status == "warn"
    await twin.transact(lambda registry: registry.conflicts.settle(open_ones[0].id, "somebody"))
    assert (await twin.check()).status == "pass"


async def test_a_database_restored_from_before_is_followed_and_what_is_new_is_added(machine: Machine) -> None:
    twin = await machine.start()
    await shop(twin)
    with psycopg.connect(machine.address) as restored:
        restored.execute("DELETE FROM changes WHERE seq > 2")
    await machine.lose(twin)
    await twin.transact(lambda registry: registry.projects.set_state("shop", "deleting"))
    await machine.find(twin)
    assert twin.snapshot.projects["shop"].state == "deleting"
    await same(twin)


async def test_audit_rows_of_the_time_without_it_are_passed_on(machine: Machine) -> None:

    twin = await machine.start()
    row = AuditRow(twin._now(), "c1", "test", "deploy", True, "", None, None, None, None, 1.0)
    await twin.append(lambda registry: registry.audit.add([row]))
    await machine.lose(twin)
    await twin.append(lambda registry: registry.audit.add([replace(row, correlation_id="c2"), replace(row, correlation_id="c3")]))
    await machine.find(twin)
    told = await twin.consult(lambda registry: registry.audit.latest(9))
    assert [each.correlation_id for each in told] == ["c3", "c2", "c1"]


# two processes


async def test_of_two_processes_one_leads_and_the_other_follows(machine: Machine) -> None:
    one, two = await machine.start("one"), await machine.start("two")
    assert one.standing.leads and not two.standing.leads
    await everything(one)
    await until(lambda: two.snapshot == one.snapshot, 3)
    assert two.standing.leader == "http://one.test"
    await same(two)
    with pytest.raises(FenceLost):
        await shop(two, "blog")
    await one.close()
    machine.open.remove(one)
    await until(lambda: two.standing.leads, 4)
    await shop(two, "blog")
    await same(two)


async def test_a_leader_that_dies_is_followed_within_15_seconds(machine: Machine) -> None:
    """P6: by the database's own clock; whoever led before can change nothing any more, with and without the database."""
    one, two = await machine.start("one"), await machine.start("two")
    gained = asyncio.Event()

    async def lead() -> None:
        gained.set()

    two.on_lead.append(lead)
    assert one._watching is not None
    one._watching.cancel()  # paused: it renews nothing, and does not know
    await asyncio.wait_for(gained.wait(), 15)
    assert two.standing.leads and not one.standing.leads
    await shop(two)
    with pytest.raises(FenceLost):
        await shop(one, "blog")
    one._lose(Unavailable("cut off"))
    with pytest.raises(FenceLost):
        await shop(one, "blog")
    assert set(two.snapshot.projects) == {"shop"}


@asynccontextmanager
async def cut_off(machine: Machine, twin: TwinStore) -> AsyncIterator[None]:
    """Only this process does not reach the database."""
    engines = twin._remote._writer, twin._remote._reader
    lost = twin._remote.__class__(twin._remote.url.set(port=1), twin._remote.seconds)
    await twin._remote.forget()
    twin._remote._writer, twin._remote._reader = lost._writer, lost._reader
    try:
        yield
    finally:
        await twin._remote.forget()
        twin._remote._writer, twin._remote._reader = engines


async def test_a_leader_that_is_cut_off_goes_on_until_another_takes_over(machine: Machine) -> None:
    """What it did before that is added to the database when it comes back; after that it does nothing."""
    one, two = await machine.start("one"), await machine.start("two")
    await shop(one)
    async with cut_off(machine, one):
        await until(lambda: one.standing.degraded, 5)
        await one.transact(lambda registry: registry.projects.set_watch("shop", auto_rollback=False, watch_seconds=9))
        await until(lambda: two.standing.leads, 15)
        assert not one.standing.leads
        assert (one.standing.owed, two.standing.owed) == ("", "one")
        with pytest.raises(FenceLost):
            await one.transact(lambda registry: registry.projects.set_state("shop", "deleting"))
        await shop(two, "blog")
    await until(lambda: not two.standing.owed, 8)
    await until(lambda: not one.standing.degraded, 8)
    await until(lambda: two.snapshot.projects["shop"].watch_seconds == 9, 5)
    assert not one.standing.leads and set(one.snapshot.projects) == {"blog", "shop"}
    await same(two)
    await same(one)


async def test_the_copy_notes_nothing_while_it_follows(tmp_path: Path, clock: Clock) -> None:
    copy = await LocalCopy.open(tmp_path / "local.db", clock)
    async with copy.writing() as tx:
        tx.touch("shop")

        await SqlProjects(tx).add(project())
    assert await copy.pending() == []
    await copy.close()


async def test_a_port_is_never_leased_twice_across_the_switch(machine: Machine) -> None:
    """P7, in and out of the time without the database."""
    twin, lease = await machine.start(), Lease("local", 4100, "shop", "production", "blue")
    await shop(twin)
    await twin.transact(lambda registry: registry.leases.add(lease))
    await machine.lose(twin)
    with pytest.raises(Conflict):
        await twin.transact(lambda registry: registry.leases.add(lease))
    await machine.find(twin)
    with pytest.raises(Conflict):
        await twin.transact(lambda registry: registry.leases.add(lease))
    assert STAGE not in twin.snapshot.pairs
