"""Cleanup: never the active slot; the fallback is forbidden before the container goes (P12)."""

from datetime import timedelta

import pytest

from codeb.entry.timer import end_graces
from codeb.errors import Unavailable
from codeb.model.chain import AuditRow
from codeb.model.names import Slot
from codeb.model.slots import State
from tests.kit import PROD, Process, begin

pytestmark = pytest.mark.anyio
WHERE = {"projectName": "shop", "environment": "production"}
BLUE = "shop-production-blue"


async def audited(process: Process) -> list[AuditRow]:
    """What time did, newest first (P14)."""
    await process.audit.flush()
    async with process.kit.store.read() as registry:
        return [each for each in await registry.audit.latest(50) if each.entry == "timer"]


async def test_a_grace_is_emptied_only_when_its_time_is_over() -> None:
    async with begin("grace") as rig:
        process = rig.boot()
        rig.clock.jumped = timedelta(hours=48, seconds=-10)
        assert (await process.ok("slot_cleanup"))["emptied"] == []
        await process.refused("slot_cleanup", 409, "not_expired", **WHERE, slot="blue")
        assert rig.effects() == []
        rig.clock.jumped = timedelta(hours=48)
        assert [each["version"] for each in (await process.ok("slot_cleanup"))["emptied"]] == ["1"]
        assert rig.effects() == ["proxy fallback shop-production off", f"stop {BLUE}", f"remove {BLUE}"]
        assert await rig.faults() == []


async def test_a_clock_set_back_ends_no_grace() -> None:
    async with begin("grace") as rig:
        rig.clock.jumped = timedelta(days=-1)
        process = rig.boot()
        assert await end_graces(process.kit, process.engine, process.audit, {}) == []
        assert rig.effects() == []


async def test_the_timer_empties_what_is_over_once() -> None:
    """P14: with an event and a row, as everything that CodeB does by itself."""
    async with begin("grace") as rig:
        rig.clock.jumped = timedelta(hours=49)
        process = rig.boot()
        (operation,) = await end_graces(process.kit, process.engine, process.audit, {})
        await process.settle()
        assert await end_graces(process.kit, process.engine, process.audit, {}) == []
        assert rig.store.snapshot.pairs[PROD][Slot.BLUE].state is State.EMPTY
        assert await rig.faults() == []
        (row,) = await audited(process)
        assert (row.tool, row.ok, row.team, row.key_id, row.correlation_id) == ("slot_cleanup", True, "main", None, operation)
        assert row.params == {"projectName": "shop", "environment": "production", "slot": "blue"}
        (told,) = [each for each in (await process.ok("event_list"))["events"] if each["kind"] == "grace_ended"]
        assert (told["projectName"], told["operationId"], told["data"]["version"]) == ("shop", operation, "1")


async def test_a_slot_that_could_not_be_emptied_is_on_record_and_tried_again_later() -> None:
    async with begin("grace") as rig:
        rig.clock.jumped = timedelta(hours=49)
        process, later = rig.boot(), dict[str, float]()
        with pytest.MonkeyPatch.context() as patch:

            async def refuse(*_: object) -> None:
                raise Unavailable("The proxy does not answer.", code="proxy_away")

            patch.setattr(process.kit.proxy, "set_fallback", refuse)
            assert len(await end_graces(process.kit, process.engine, process.audit, later)) == 1
            assert await end_graces(process.kit, process.engine, process.audit, later) == [], "not at once"
        (row,) = await audited(process)
        assert (row.tool, row.ok, row.code) == ("slot_cleanup", False, "proxy_away")
        assert not [each for each in (await process.ok("event_list"))["events"] if each["kind"] == "grace_ended"]
        rig.clock.spent += 61
        assert len(await end_graces(process.kit, process.engine, process.audit, later)) == 1
        assert [each.ok for each in await audited(process)] == [True, False]


async def test_what_somebody_emptied_is_no_event_and_one_row() -> None:
    async with begin("grace") as rig:
        rig.clock.jumped = timedelta(hours=49)
        process = rig.boot()
        await process.ok("slot_cleanup")
        assert not [each for each in (await process.ok("event_list"))["events"] if each["kind"] == "grace_ended"]
        assert await audited(process) == []


@pytest.mark.parametrize("force", [True, False])
async def test_the_active_slot_is_never_emptied(force: bool) -> None:
    async with begin("grace") as rig:
        await rig.boot().refused("slot_cleanup", 409, "slot_active", **WHERE, slot="green", force=force)
        assert rig.effects() == []


async def test_force_gives_up_a_deployed_slot() -> None:
    async with begin("ready") as rig:
        await rig.boot().ok("slot_cleanup", **WHERE, slot="green", force=True)
        assert rig.effects() == ["stop shop-production-green", "remove shop-production-green"]
        assert await rig.faults() == []
