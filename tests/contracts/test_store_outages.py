"""P9: what outages of a real server on a real PostgreSQL brought to light (`tests/e2e/outages.py`), each held fast here."""

import asyncio
from collections import Counter
from typing import Any

import psycopg
import pytest

from codeb.drivers.store import postgres as driver
from codeb.drivers.store import twin as twin_module
from codeb.model.chain import ZERO, AuditRow, Head, after
from codeb.model.events import Event, Severity
from tests.contracts.silence import unanswered
from tests.contracts.test_store_twin import Machine, clock, machine, postgres, same, shop, until

__all__ = ["clock", "machine", "postgres"]

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]


def audit_row(machine: Machine, number: int) -> AuditRow:
    row = AuditRow(machine.now(), f"c{number}", "test", "deploy", True, "", None, None, None, None, 1.0)
    return after(Head("one", number, ZERO), row)


@pytest.mark.parametrize("landed", [True, False])
async def test_audit_rows_whose_commit_brought_no_answer_are_there_once(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, landed: bool
) -> None:
    """P14: the feed does not tell of the audit log, and yet none is lost and none is there twice."""
    twin = await machine.start()
    rows = [audit_row(machine, number) for number in range(3)]
    await twin.append(lambda registry: registry.audit.add(rows[:1]))
    with unanswered(machine.at, monkeypatch, landed):
        await twin.append(lambda registry: registry.audit.add(rows[1:2]))
    assert twin.standing.degraded
    await twin.append(lambda registry: registry.audit.add(rows[2:]))
    await machine.find(twin)
    told = await twin.consult(lambda registry: registry.audit.latest(9))
    assert [each.correlation_id for each in told] == ["c2", "c1", "c0"]


async def test_what_waited_is_added_many_at_a_time(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """A gap of a minute is not followed by another while its transactions are added one by one."""
    twin = await machine.start()
    await shop(twin)
    await machine.lose(twin)
    for number in range(120):
        await twin.transact(
            lambda registry, number=number: registry.projects.set_watch("shop", auto_rollback=True, watch_seconds=number + 1)
        )
    calls: Counter[str] = Counter()
    commit = driver._Transaction.commit

    async def counted(self: Any) -> None:
        calls["commit"] += 1
        await commit(self)

    monkeypatch.setattr(driver._Transaction, "commit", counted)
    await machine.find(twin)
    assert calls["commit"] < 20
    assert twin.snapshot.projects["shop"].watch_seconds == 120
    await until(lambda: not twin._untold, 3)
    await same(twin)


async def test_it_comes_back_under_more_writers_than_are_added_at_a_time(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P9: after each group that is added each of them has its turn; the absence ends all the same."""
    monkeypatch.setattr(twin_module, "AT_ONCE", 3)
    twin = await machine.start()
    await machine.lose(twin)
    over, written = False, 0

    async def write(number: int) -> None:
        nonlocal written
        while not over:
            written += 1
            row = audit_row(machine, number * 10_000 + written)
            await twin.append(lambda registry, row=row: registry.audit.add([row]))

    writers = [asyncio.create_task(write(number)) for number in range(10)]
    await asyncio.sleep(0.5)
    machine.at.set("open")
    try:
        await until(lambda: not twin.standing.degraded, 30)
    finally:
        over = True
        await asyncio.gather(*writers)
    await machine.find(twin)
    with psycopg.connect(machine.address) as elsewhere:
        assert elsewhere.execute("select count(*) from audit_logs").fetchone() == (written,)


async def test_events_told_again_are_there_once(machine: Machine) -> None:
    """Whoever heard nothing of a commit that landed tells its events again, with those that came since."""
    twin = await machine.start()
    first, second = (Event(f"ev_{number}", machine.now(), "test", Severity.INFO, "") for number in range(2))
    await twin.transact(lambda registry: registry.events.add(first))
    await twin.transact(lambda registry: registry.events.add(first, second))
    await same(twin)
    with psycopg.connect(machine.address) as elsewhere:
        assert elsewhere.execute("select id from events order by id").fetchall() == [("ev_0",), ("ev_1",)]


async def test_one_that_does_not_fit_keeps_none_of_its_neighbours_out(machine: Machine) -> None:
    """Of many that are added together one conflicts: it is kept aside, the others count."""
    twin = await machine.start()
    for name in ("shop", "blog", "wiki"):
        await shop(twin, name)
    await machine.lose(twin)
    with psycopg.connect(machine.address) as elsewhere:
        elsewhere.execute("SELECT set_config('codeb.written', 'elsewhere', true)")
        elsewhere.execute("UPDATE projects SET state = 'deleting' WHERE name = 'blog'")
    for name in ("shop", "blog", "wiki"):
        await twin.transact(lambda registry, name=name: registry.projects.set_watch(name, auto_rollback=False, watch_seconds=7))
    await machine.find(twin)
    assert {name: each.watch_seconds for name, each in twin.snapshot.projects.items()} == {"shop": 7, "blog": 60, "wiki": 7}
    assert [each.reason for each in await twin.consult(lambda registry: registry.conflicts.open_ones())] == [
        "projects blog was changed"
    ]


@pytest.mark.parametrize("another", [False, True])
async def test_one_that_is_emptied_or_replaced_under_open_connections_is_not_written_to(machine: Machine, another: bool) -> None:
    """P10: no connection ends, no statement is late; the next write and the next look see it all the same."""
    twin = await machine.start()
    await shop(twin)
    twin._wake.set()
    with psycopg.connect(machine.address, autocommit=True) as elsewhere:
        if another:
            elsewhere.execute("UPDATE meta SET registry_id = 'another'")
            elsewhere.execute("UPDATE leadership SET term = 40")
        else:
            elsewhere.execute("DROP SCHEMA public CASCADE")
            elsewhere.execute("CREATE SCHEMA public")
        await shop(twin, "blog")
        assert twin.standing.degraded and set(twin.snapshot.projects) == {"shop", "blog"}
        reason = "another registry" if another else "is empty"
        await until(lambda: reason in twin.standing.why, 5)
        if another:
            assert elsewhere.execute("SELECT name FROM projects").fetchall() == [("shop",)]
        else:
            assert elsewhere.execute("SELECT to_regclass('meta')").fetchone() == (None,)


@pytest.mark.parametrize("another", [False, True])
async def test_one_that_is_emptied_or_replaced_is_seen_without_a_call(machine: Machine, another: bool) -> None:
    twin = await machine.start()
    await shop(twin)
    with psycopg.connect(machine.address, autocommit=True) as elsewhere:
        if another:
            elsewhere.execute("UPDATE meta SET registry_id = 'another'")
        else:
            elsewhere.execute("DROP SCHEMA public CASCADE")
            elsewhere.execute("CREATE SCHEMA public")
    await until(lambda: twin.standing.degraded, 5)
    assert await twin.consult(lambda registry: registry.projects.get("shop"))
