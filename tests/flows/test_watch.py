"""P4, issue 3.4: an active slot that dies or turns unhealthy is restarted, and left when that does not help."""

from datetime import timedelta

import pytest

from codeb.model.names import Slot
from codeb.model.slots import State
from tests.flows.watch_scene import NEW, OLD, WHERE, later, scene, watching
from tests.kit import Died

pytestmark = pytest.mark.anyio


async def test_a_version_that_is_well_is_left_alone() -> None:
    async with scene() as at:
        await at.go(120)
        assert at.effects() == []
        assert await at.kinds() == []
        looks = at.watcher.counts.looks
        assert 60 <= looks <= 80, "each second inside the window, each five outside"


async def test_in_the_window_traffic_goes_back_by_itself_with_reason_event_and_audit() -> None:
    """P4."""
    async with scene() as at:
        await at.go(5)
        at.turn(NEW, status=500)
        await at.go(4)
        assert at.effects() == ["proxy fallback shop-production off", "proxy live shop-production blue"]
        assert (at.state(Slot.BLUE), at.state(Slot.GREEN)) == (State.ACTIVE, State.DEPLOYED)
        line = at.rig.records.lines["rollbacks/shop"][0]
        assert line["by"] == "main/admin/watch"
        assert line["reason"] == "health failed in the watch window: / gave status 500"
        (event,) = await at.events()
        assert (event.kind, event.severity, event.team, event.project) == ("auto_rollback", "alarm", "main", "shop")
        assert event.operation_id == line["operationId"]
        (row,) = await at.audit()
        assert (row.tool, row.ok, row.team, row.params["reason"]) == ("rollback", True, "main", line["reason"])
        operation = (await at.process.ok("operation_get", operationId=event.operation_id))["operation"]
        assert (operation["state"], operation["startedBy"]) == ("succeeded", "main/admin/watch")
        # and it ends there: the version that is back is well, the other one has no traffic
        await at.go(120)
        assert await at.kinds() == ["auto_rollback"]
        at.turn(NEW, status=200)
        await at.process.ok("promote", **WHERE)


async def test_one_bad_answer_moves_nothing() -> None:
    async with scene() as at:
        await at.go(3)
        for _ in range(10):
            at.turn(NEW, status=500)
            await at.go(0.5)
            at.turn(NEW, status=200)
            await at.go(2)
        assert at.effects() == []
        assert await at.kinds() == []


async def test_both_versions_bad_moves_nothing_and_is_told_once() -> None:
    async with scene() as at:
        at.turn(NEW, status=500)
        at.turn(OLD, status=500)
        await at.go(50)
        assert (await at.kinds()).count("watch_alarm") == 1
        assert "auto_rollback" not in await at.kinds()
        assert "not well either" in next(each.text for each in await at.events() if each.kind == "watch_alarm")
        assert not any(effect.startswith("proxy") for effect in at.effects())
        assert at.state(Slot.GREEN) is State.ACTIVE
        at.turn(OLD, status=200)
        await at.go(5)
        assert at.state(Slot.BLUE) is State.ACTIVE, "as soon as there is a healthy one"


async def test_switched_off_it_stays_and_is_restarted_and_told() -> None:
    async with scene() as at:
        await at.process.ok("project_update", projectName="shop", autoRollback=False)
        at.turn(NEW, status=500)
        await at.go(20)
        assert at.effects() == [f"stop {NEW}", f"start {NEW}"]
        assert sorted(await at.kinds()) == ["container_restarted", "watch_alarm"]
        assert at.state(Slot.GREEN) is State.ACTIVE
        at.turn(NEW, status=200)
        await at.go(70)
        assert (await at.kinds())[-1] == "watch_recovered"


async def test_the_watch_window_is_as_long_as_the_project_says() -> None:
    async with scene() as at:
        await at.process.ok("project_update", projectName="shop", watchSeconds=0)
        at.turn(NEW, status=500)
        await at.go(4)
        assert at.state(Slot.GREEN) is State.ACTIVE
        await at.process.ok("project_update", projectName="shop", watchSeconds=3600)
        await at.go(4)
        assert at.state(Slot.BLUE) is State.ACTIVE


async def test_a_stopped_container_is_started_at_once() -> None:
    async with later() as at:
        await at.go(10)
        at.stopped(NEW)
        await at.go(6)
        assert at.effects() == [f"start {NEW}"]
        (event,) = await at.events()
        assert (event.kind, event.data["by"]) == ("container_restarted", "codeb")
        (row,) = await at.audit()
        assert (row.tool, row.ok) == ("restart", True)
        assert await at.rig.faults() == []


async def test_what_the_runtime_restarted_itself_is_only_told() -> None:
    async with later() as at:
        await at.go(10)
        at.rig.machine.die(NEW)
        await at.go(10)
        assert at.effects() == []
        (event,) = await at.events()
        assert (event.kind, event.data["by"]) == ("container_restarted", "runtime")
        assert await at.audit() == []


async def test_in_the_window_a_second_death_sends_traffic_back() -> None:
    async with scene() as at:
        await at.go(2)
        for _ in range(2):
            at.rig.machine.die(NEW)
            await at.go(2)
        assert at.state(Slot.BLUE) is State.ACTIVE
        assert "died 2 times" in at.rig.records.lines["rollbacks/shop"][0]["reason"]


async def test_after_the_window_it_is_restarted_first_and_left_after_half_a_minute() -> None:
    async with later() as at:
        await at.go(10)
        at.turn(NEW, status=500)
        await at.go(15)
        assert at.effects() == [f"stop {NEW}", f"start {NEW}"]
        assert at.state(Slot.GREEN) is State.ACTIVE
        await at.go(30)
        assert at.state(Slot.BLUE) is State.ACTIVE


async def test_a_container_that_is_not_ours_or_gone_is_not_restarted() -> None:
    async with later() as at:
        await at.go(10)
        del at.rig.machine.boxes[NEW]
        await at.go(20)
        assert at.effects() == []
        await at.go(20)
        assert at.state(Slot.BLUE) is State.ACTIVE, "a healthy version is better than none"


async def test_a_grace_that_is_over_is_no_way_back() -> None:
    async with scene() as at:
        at.rig.clock.jumped = timedelta(hours=49)
        at.turn(NEW, status=500)
        await at.go(40)
        assert at.state(Slot.GREEN) is State.ACTIVE
        assert "is over" in next(each.text for each in await at.events() if each.kind == "watch_alarm")


@pytest.mark.parametrize("jump", [timedelta(days=1), timedelta(days=-1)])
async def test_setting_the_clock_opens_and_closes_no_window(jump: timedelta) -> None:
    """P12."""
    async with scene() as at:
        await at.go(55)
        at.rig.clock.jumped = jump
        assert [at.watcher._inside(each, at.rig.clock.spent) for each in at.watcher._watched.values()] == [True]
        await at.go(10)
        assert [at.watcher._inside(each, at.rig.clock.spent) for each in at.watcher._watched.values()] == [False]


async def test_a_promote_that_lies_in_the_future_is_watched_no_longer_than_one_of_now() -> None:
    """P12: the clock was set back a day, and CodeB was started anew."""
    async with scene() as at:
        at.rig.clock.jumped = timedelta(days=-1)
        at.watcher = watching(at.rig.boot())
        await at.go(58)
        assert [at.watcher._inside(each, at.rig.clock.spent) for each in at.watcher._watched.values()] == [True]
        await at.go(4)
        assert [at.watcher._inside(each, at.rig.clock.spent) for each in at.watcher._watched.values()] == [False]


async def test_a_new_process_goes_on_with_the_window() -> None:
    async with scene() as at:
        at.turn(NEW, status=500)
        await at.go(1)
        at.process = at.rig.boot()
        at.watcher = watching(at.process)
        await at.go(4)
        assert at.state(Slot.BLUE) is State.ACTIVE


async def test_a_rollback_cut_by_the_death_of_codeb_is_finished_by_the_next_process() -> None:
    async with scene() as at:
        at.turn(NEW, status=500)

        def die(point: str) -> None:
            if point == "rollback.switch.do.effect":
                raise Died(point)

        at.process.world.at_point = die
        await at.go(5)
        assert at.process.world.dead
        at.process = at.rig.boot()
        await at.process.engine.resume()
        await at.process.settle()
        assert at.state(Slot.BLUE) is State.ACTIVE
        assert await at.kinds() == ["auto_rollback"], "told in the transaction that opened it"
        assert await at.rig.faults() == []
