"""Cleanup: never the active slot; the fallback is forbidden before the container goes (P12)."""

from datetime import timedelta

import pytest

from codeb.entry.timer import end_graces
from codeb.model.names import Slot
from codeb.model.slots import State
from tests.kit import PROD, begin

pytestmark = pytest.mark.anyio
WHERE = {"projectName": "shop", "environment": "production"}
BLUE = "shop-production-blue"


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
        assert await end_graces(process.kit, process.engine) == []
        assert rig.effects() == []


async def test_the_timer_empties_what_is_over_once() -> None:
    async with begin("grace") as rig:
        rig.clock.jumped = timedelta(hours=49)
        process = rig.boot()
        assert len(await end_graces(process.kit, process.engine)) == 1
        await process.settle()
        assert await end_graces(process.kit, process.engine) == []
        assert rig.store.snapshot.pairs[PROD][Slot.BLUE].state is State.EMPTY
        assert await rig.faults() == []


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
