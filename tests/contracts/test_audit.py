"""P14: the chain of the audit log on every database, with several processes, and over outages."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import pytest

from codeb.contracts.audit import AuditAsk
from codeb.drivers.records.memory import MemoryLedger
from codeb.drivers.store.sql import SqlStore
from codeb.gate.audit import AuditLog
from codeb.model.chain import ZERO, AuditRow, Head, Walk, after
from tests.contracts.silence import unanswered
from tests.contracts.test_store_twin import Machine, machine, postgres
from tests.stores import KINDS, START, clock, opener, store, url

__all__ = ["clock", "machine", "opener", "postgres", "store", "url"]

pytestmark = pytest.mark.anyio
everywhere = pytest.mark.parametrize("url", KINDS, indirect=True)


def row(number: int, **more: object) -> AuditRow:
    base = AuditRow(
        START + timedelta(seconds=number), f"c{number}", "http", "deploy", bool(number % 2), "", "key_1", "acme", "member",
        "192.0.2.1", 0.1 + 0.2, {"projectName": "shop", "deep": [1.1, {"x": None, "a\0": "\ud800"}]}, "was\0said",
    )  # fmt: skip
    return replace(base, **more)  # type: ignore[arg-type]


async def rows_of(store: SqlStore, chain: str) -> Sequence[AuditRow]:
    return await store.consult(lambda registry: registry.audit.run(chain, 0, 10_000))


async def whole(store: SqlStore, chain: str, count: int, end: Head | None = None) -> None:
    found = await rows_of(store, chain)
    walk = Walk(chain, None, (end,) if end else ())
    for each in found:
        walk.see(each)
    walk.end()
    assert (walk.faults, len(found)) == ([], count)


@everywhere
async def test_what_was_hashed_is_what_is_read(store: SqlStore) -> None:
    rows, head = [], Head("one", 0, ZERO)
    for number in range(5):
        rows.append(after(head, row(number)))
        head = rows[-1].head
    for _ in range(2):
        await store.append(lambda registry: registry.audit.add(rows))
    await whole(store, "one", 5, head)
    (span,) = await store.consult(lambda registry: registry.audit.chains())
    assert (span.first, span.last, span.pruned) == (1, head, None)


@everywhere
async def test_pages_filters_and_pruning(store: SqlStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("codeb.drivers.store.audit.STRETCH", 3)
    old = row(77, at=START - timedelta(days=1), params={"projectName": "shop"})
    await store.append(lambda registry: registry.audit.add([old]))
    log = AuditLog(store, MemoryLedger(), "one:1")
    for number in range(10):
        log.add(row(number, team="acme" if number < 8 else None, key_id=f"key_{number % 2}"))
    await log.flush()

    async def listed(ask: AuditAsk) -> list[str]:
        found, before = list[str](), None
        while True:
            page = await store.consult(lambda registry, before=before: registry.audit.page(ask, before=before, limit=2))  # type: ignore[misc]
            found += [each.correlation_id for _, each in page.rows]
            before = page.before
            if before is None:
                return found

    chain = next(span.chain for span in await store.consult(lambda registry: registry.audit.chains()))
    assert await listed(AuditAsk("acme", ok=True)) == ["c7", "c5", "c3", "c1", "c77"]
    assert await listed(AuditAsk("acme", own_key="key_0")) == ["c6", "c4", "c2", "c0"]
    assert await listed(AuditAsk("acme", nobodys=True, since=START + timedelta(seconds=6))) == ["c9", "c8", "c7", "c6"]
    assert await listed(AuditAsk("acme", project="shop", until=START + timedelta(seconds=2))) == ["c1", "c0", "c77"]
    assert await listed(AuditAsk("acme", projects=frozenset({"blog"}))) == []
    assert await store.consult(lambda registry: registry.audit.unchained()) == 1
    before = START + timedelta(seconds=4)
    while await store.transact(lambda registry: registry.audit.prune(before, 2)):
        pass
    span = next(each for each in await store.consult(lambda registry: registry.audit.chains()) if each.chain == chain)
    assert span.pruned is not None and span.first == span.pruned.seq + 1
    left = await rows_of(store, chain)
    assert left[0].correlation_id == "c4"
    assert await store.consult(lambda registry: registry.audit.unchained()) == 0


@pytest.mark.postgres
async def test_two_processes_append_at_once_each_to_its_own_chain(machine: Machine) -> None:
    one, two = await machine.start("one"), await machine.start("two")
    logs = [AuditLog(one, MemoryLedger(), "one:1"), AuditLog(two, MemoryLedger(), "two:1")]

    async def write(log: AuditLog) -> None:
        for number in range(40):
            log.add(row(number))
            await log.flush()

    await asyncio.gather(*(write(log) for log in logs))
    for name in ("one", "two"):
        await whole(one, name, 40)


@pytest.mark.postgres
@pytest.mark.parametrize("landed", [True, False])
async def test_over_an_outage_and_a_commit_without_an_answer_the_chain_is_whole(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, landed: bool
) -> None:
    twin, ledger = await machine.start(), MemoryLedger()
    log = AuditLog(twin, ledger, "one:1")
    log.add(row(0))
    await log.flush()
    with unanswered(machine.at, monkeypatch, landed):
        log.add(row(1))
        await log.flush()
    assert twin.standing.degraded
    for number in (2, 3):
        log.add(row(number))
        await log.flush()
    await machine.find(twin)
    log.add(row(4))
    await log.close()
    await whole(twin, "one", 5, ledger.kept)
    assert [each.correlation_id for each in await rows_of(twin, "one")] == [f"c{number}" for number in range(5)]


@pytest.mark.postgres
async def test_a_start_without_the_database_begins_a_chain_that_says_so_and_both_are_whole(machine: Machine) -> None:
    twin, ledger = await machine.start(), MemoryLedger()
    log = AuditLog(twin, ledger, "one:1")
    log.add(row(0))
    await log.close()
    await machine.lose(twin)
    await machine.die(twin)
    twin = await machine.start()
    log = AuditLog(twin, ledger, "one:2")
    log.add(row(1))
    await log.close()
    await machine.find(twin)
    log.add(row(2))
    await log.close()
    await whole(twin, "one", 1)
    await whole(twin, "one.2", 3, ledger.kept)
    first = (await rows_of(twin, "one.2"))[0]
    assert (first.tool, first.code, first.params["follows"]["seq"]) == ("audit_chain", "without_database", 1)


@pytest.mark.postgres
async def test_a_follower_without_the_database_keeps_its_rows_aside_and_brings_them_back(machine: Machine) -> None:
    one, two = await machine.start("one"), await machine.start("two")
    ledger = MemoryLedger()
    log = AuditLog(two, ledger, "two:1")
    log.add(row(0))
    await log.flush()
    await machine.lose(two)
    log.add(row(1))
    await log.flush()
    assert [each.seq for each in ledger.rows] == [2]
    await machine.find(one, two)
    log.add(row(2))
    await log.flush()
    await whole(one, "two", 3)
    assert ledger.rows == []
