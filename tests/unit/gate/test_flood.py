"""P14: refusals of which there may be any number are gathered; nothing else is, and nothing waits for ever."""

from dataclasses import replace

import pytest

from codeb.gate.flood import BURST, MOST, Flood
from tests.kit import OWNER, START, begin
from tests.unit.gate.test_audit import Away, chains, row, verified

pytestmark = pytest.mark.anyio


def test_a_flood_of_refusals_is_counted() -> None:
    flood, refused = Flood(), row(1, ok=False, code="unauthenticated", key_id=None, ip="192.0.2.1")
    apart = sum(not flood.takes(refused, 0.0) for _ in range(10_000))
    assert apart == BURST
    assert flood.due(5.0) == []
    (told,) = flood.due(10.0)
    assert (told.params["times"], told.ip, told.ok) == (10_000 - BURST, "192.0.2.1", False)
    for number in range(5_000):
        flood.takes(replace(refused, ip=f"198.51.100.{number}"), 10.0)
    told_of = flood.due(30.0)
    assert len(told_of) <= MOST + 1
    assert sum(each.params["times"] for each in told_of) + 10 == 5_000


def test_a_silence_saves_nothing_up_and_what_is_gathered_of_many_names_nobody() -> None:
    flood, refused = Flood(), row(1, ok=False, code="unauthenticated", key_id=None, ip="192.0.2.1", summary="x" * 600)
    assert sum(not flood.takes(refused, 1e6) for _ in range(BURST + 50)) == BURST
    assert flood.due(1e6 + 9.9) == [], "ten seconds from the first that was counted"
    (told,) = flood.due(1e6 + 10)
    assert len(told.summary) <= 500
    later = 1e6 + 10
    for number in range(10 + MOST + 10):
        flood.takes(replace(refused, ip=f"198.51.100.{number}", key_id="key_1"), later)
    (others,) = [each for each in flood.due(later, at_once=True) if each.tool == "unknown"]
    assert (others.ip, others.key_id, others.team, others.role, others.params["times"]) == (None, None, None, None, 10)


async def test_what_succeeded_is_never_gathered_and_what_codeb_does_itself_holds_no_key() -> None:
    async with begin() as rig:
        process = rig.boot()
        for number in range(BURST + 20):
            process.audit.add(row(number, key_id=None))
        key = OWNER.reveal()
        process.audit.record_automatic("purge", START, "c", f"a {key}", {"key": key}, team="main")
        await process.audit.flush()
        found = (await chains(rig))["house"]
        assert sum(each.tool == "deploy" and each.key_id is None for each in found) == BURST + 20
        assert key not in repr(found) and found[-1].tool == "purge"


async def test_rows_wait_for_their_place_as_long_as_it_takes() -> None:
    """Nothing could be written, and nothing new comes: the next look writes what has its numbers; so it is with the files."""
    async with begin("active") as rig:
        process = rig.boot()
        process.audit._store, rig.ledger.full = Away(rig.store), "no space left on device"  # type: ignore[assignment]
        process.audit.add(row(1))
        await process.audit.flush()
        assert process.audit.blocked
        rig.ledger.full = ""
        await process.audit.flush()
        assert not process.audit.blocked and len(rig.ledger.rows) >= 1
        process.audit._store = rig.store
        await process.audit.flush()
        assert rig.ledger.rows == []
        await verified(process)
