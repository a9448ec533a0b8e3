"""P4, P6: what the watch leaves alone: what it cannot see, what others hold, what it was not told of."""

from dataclasses import replace
from typing import Any

import pytest

from codeb.contracts.store import Standing
from codeb.entry.acting import Case
from codeb.errors import FenceLost
from codeb.model.journal import OpState
from codeb.model.names import Slot
from codeb.model.slots import State
from codeb.saga.fence import fence_kit
from tests.flows.watch_scene import NEW, WHERE, Scene, later, scene
from tests.kit import PROD, Died

pytestmark = pytest.mark.anyio


async def test_while_the_runtime_is_away_nothing_is_decided() -> None:
    async with scene() as at:
        await at.process.ok("project_update", projectName="shop", watchSeconds=3600)
        await at.go(2)
        at.turn(NEW, status=500)
        at.rig.machine.down = True
        await at.go(30)
        at.rig.machine.down = False
        await at.go(20)
        assert at.effects() == []
        assert at.watcher.counts.blind > 10
        await at.go(15)
        assert at.state(Slot.BLUE) is State.ACTIVE


async def test_where_nobody_answers_our_own_way_is_suspect() -> None:
    async with scene() as at:
        for name in ("one", "two"):
            await at.process.ok("project_create", projectName=name, containerPort=8080)
            await at.process.ok("deploy", projectName=name, image="shop:1", autoPromote=True)
        at.effects()
        for box in at.rig.machine.boxes.values():
            box.behaviour = replace(box.behaviour, answers_after=10**9)
        await at.go(25)
        assert at.effects() == []
        assert await at.kinds() == []
        for box in at.rig.machine.boxes.values():
            if box.name != NEW:
                box.behaviour = replace(box.behaviour, answers_after=0)
        await at.go(40)
        assert at.state(Slot.BLUE) is State.ACTIVE, "the others answer: it is this one"


async def test_those_that_are_down_are_no_witnesses() -> None:
    async with scene() as at:
        for name in ("one", "two"):
            await at.process.ok("project_create", projectName=name, containerPort=8080)
            await at.process.ok("deploy", projectName=name, image="shop:1", autoPromote=True)
            del at.rig.machine.boxes[f"{name}-production-blue"]
        at.turn(NEW, answers_after=10**9)
        await at.go(6)
        assert at.state(Slot.BLUE) is State.ACTIVE


async def test_a_busy_place_is_left_to_its_operation() -> None:
    async with scene() as at:
        at.turn(NEW, status=500)
        operation = await _stuck(at)
        tried = list[str]()
        at.process.world.at_point = tried.append
        act = at.watcher.acting.roll_back

        async def noted(case: Case, why: str) -> str:
            tried.append(why)
            return await act(case, why)

        at.watcher.acting.roll_back = noted  # type: ignore[method-assign]  # to see that it is not even tried
        await at.go(10)
        assert tried == []
        assert at.state(Slot.GREEN) is State.ACTIVE
        async with at.rig.store.write() as registry:
            await registry.journal.close(operation.id, operation.fence, OpState.FAILED)
        await at.go(2)
        assert at.state(Slot.BLUE) is State.ACTIVE


async def _stuck(at: Scene) -> Any:
    """An operation on the place that nobody drives."""
    async with at.rig.store.read() as registry:
        former = (await registry.journal.history(
            team="main", project="shop", environment=None, open_only=False, limit=1, before=None
        ))[0]  # fmt: skip
    fresh = replace(former, id="op_00000000000000000000009999", state=OpState.RUNNING, ended_at=None, fence=0)
    async with at.rig.store.write() as registry:
        return await registry.journal.open(fresh, owner="somebody:1")


async def test_a_failed_rollback_is_told_and_not_repeated_each_second() -> None:
    async with scene() as at:
        at.turn(NEW, status=500)
        at.rig.health.broken.add("shop.localhost")
        await at.go(20)
        kinds = await at.kinds()
        assert kinds.count("auto_rollback") == 1
        assert kinds.count("watch_alarm") == 1
        assert [row.ok for row in await at.audit() if row.tool == "rollback"] == [False]
        assert at.state(Slot.GREEN) is State.ACTIVE
        await at.go(80)
        kinds = await at.kinds()
        assert (kinds.count("auto_rollback"), kinds.count("watch_alarm")) == (3, 1), "after 30 s and 60 s more"


@pytest.mark.parametrize("standing", ["follows", "stopping"])
async def test_one_that_does_not_lead_or_is_stopping_does_nothing(standing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with scene() as at:
        at.turn(NEW, status=500)
        if standing == "follows":
            monkeypatch.setattr(type(at.rig.store), "standing", property(lambda _: Standing(leads=False)))
        else:
            at.process.engine.stop()
        await at.go(10)
        assert at.watcher.counts.looks == 0
        assert at.effects() == []


async def test_what_was_promoted_between_look_and_act_is_not_rolled_back() -> None:
    async with scene() as at:
        at.turn(NEW, status=500)
        await at.go(1.5)
        stale = at.watcher._watched[PROD]
        await at.process.ok("rollback", **WHERE)
        case = Case(at.rig.store.snapshot.projects["shop"], stale.row)
        assert await at.watcher.acting.roll_back(case, "health failed") == ""
        assert await at.watcher.acting.restart(case, "x", "health failed") is False
        assert at.state(Slot.BLUE) is State.ACTIVE
        assert await at.kinds() == []
        assert await at.audit() == []


async def test_a_restart_cut_half_way_leaves_it_running() -> None:
    async with later() as at:
        await at.go(10)
        at.turn(NEW, status=500)

        def trap(effect: str) -> None:
            if effect == f"after stop {NEW}":
                at.rig.machine.trap = None
                raise Died(effect)

        at.rig.machine.trap = trap
        await at.go(11)
        assert not at.rig.machine.boxes[NEW].running
        at.process = at.rig.boot()
        await at.process.engine.resume()
        await at.process.settle()
        assert at.rig.machine.boxes[NEW].running
        assert await at.rig.faults() == []


async def test_a_holder_that_lost_its_lock_restarts_nothing() -> None:
    """P6."""
    async with later() as at:
        operation = await _stuck(at)
        fenced = fence_kit(at.process.kit, operation.id, operation.fence)
        async with at.rig.store.write() as registry:
            await registry.journal.take_over(operation.id, owner="another:2")
        with pytest.raises(FenceLost):
            await fenced.restarter.restart(NEW, 1)
        assert at.effects() == []


async def test_whoever_finds_another_life_running_restarts_nothing() -> None:
    """What was to be ended has ended by itself meanwhile: the new one gets its chance."""
    async with later() as at:
        await at.go(10)
        row = at.rig.store.snapshot.pairs[PROD][Slot.GREEN]
        case = Case(at.rig.store.snapshot.projects["shop"], row)
        assert await at.watcher.acting.restart(case, "an older one", "health failed")
        assert at.effects() == []
        box = at.rig.machine.boxes[NEW]
        assert await at.watcher.acting.restart(case, f"{box.id}@{box.lives}", "health failed")
        assert at.effects() == [f"stop {NEW}", f"start {NEW}"]
