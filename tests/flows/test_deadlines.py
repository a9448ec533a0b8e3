"""P3: what failed goes back within one time for all of it, and what committed tidies up within the same.

Time is virtual, except where an undo hangs.
"""

import asyncio
import time
from dataclasses import dataclass, replace
from typing import Any

import pytest

from codeb.contracts.kit import Kit
from codeb.errors import Conflict, Unavailable
from codeb.model import names
from codeb.model.journal import Operation, OpState
from codeb.saga.engine import Engine, Request
from codeb.saga.step import Run, Saga, Step
from tests.kit import PROD, Died, Rig, begin

pytestmark = pytest.mark.anyio

WHERE = {"projectName": "shop", "environment": "production"}
LEAVE = 5.0
"""seconds beyond a limit that only tells an end from none"""


@dataclass(frozen=True)
class Plain:
    word: str = ""


class Way:
    """Three steps, of which the last fails, a commit and one step after it. What a test puts into `undo` or `after` happens."""

    def __init__(self, *apart: str) -> None:
        self.log: list[str] = []
        self.undo: dict[str, Any] = {}
        self.after: Any = None
        self.fails = True
        self.apart = apart

    def saga(self, seconds: float = 60) -> Saga[Plain]:
        def step(name: str) -> Step[Plain]:
            async def do(_: Run[Plain]) -> None:
                if name == "three" and self.fails:
                    raise Conflict("no", code="nope")

            async def undo(_: Run[Plain]) -> None:
                self.log.append(name)
                if name in self.undo:
                    await self.undo[name]()

            return Step(name, "", do=do, undo=undo, apart=name in self.apart)

        async def commit(run: Run[Plain], _: Any) -> None:
            return None

        async def after(_: Run[Plain]) -> None:
            self.log.append("after")
            if self.after:
                await self.after()

        return Saga(
            name="way", version=1, input=Plain,
            steps=(
                step("one"), step("two"), step("three"),
                Step("commit", "", record=commit, commits=True), Step("after", "", do=after),
            ),
            deadline=lambda policy: seconds, result=lambda run: {}, summary=lambda value: "way",
        )  # fmt: skip

    async def go(self, rig: Rig, seconds: float = 60) -> Operation:
        """Run it to its end."""
        process = rig.boot()
        engine = Engine(process.kit, [self.saga(seconds)], "house:a")
        opened = await engine.open(self.saga(seconds), Request("deploy", (PROD,), "main", "main/owner/k"), _input)
        await engine.wait(opened.id, 60)
        return await found(rig, opened.id)


async def _input(_: Any) -> Plain:
    return Plain()


async def found(rig: Rig, operation_id: str) -> Operation:
    async with rig.store.read() as registry:
        operation = await registry.journal.get(operation_id)
    assert operation is not None
    return operation


async def away() -> None:
    raise Unavailable("It does not answer.")


async def refused() -> None:
    raise Conflict("It is stuck.")


async def hang() -> None:
    await asyncio.Event().wait()


def away_until(rig: Rig, second: float) -> Any:
    end = rig.clock.spent + second

    async def act() -> None:
        if rig.clock.spent < end:
            await away()

    return act


async def test_parts_that_are_away_share_one_time_and_are_named() -> None:
    async with begin("new") as rig:
        way = Way()
        way.undo = {"three": away, "two": away, "one": away}
        began = rig.clock.spent
        ended = await way.go(rig)
        assert rig.policy.undo_seconds / 2 < rig.clock.spent - began <= rig.policy.undo_seconds
        assert ended.state is OpState.FAILED
        assert ended.undo_faults == tuple(f"{name}: It does not answer." for name in ("three", "two", "one"))
        assert rig.store.snapshot.running == {}


async def test_a_step_that_waits_holds_up_the_ones_before_it_but_leaves_them_their_share() -> None:
    """Last in, first out, as long as nothing says that a step stands apart."""
    async with begin("new") as rig:
        way = Way()
        way.undo = {"three": away_until(rig, 10)}
        assert (await way.go(rig)).undo_faults == ()
        assert way.log[-2:] == ["two", "one"]
        assert set(way.log[:-2]) == {"three"}
        way = Way()
        way.undo = {"three": away}
        assert (await way.go(rig)).undo_faults == ("three: It does not answer.",)
        assert way.log[-2:] == ["two", "one"]


async def test_what_one_step_leaves_is_enough_for_another_that_waits() -> None:
    async with begin("new") as rig:
        way = Way()
        tries = iter([away, away, away])

        async def slow() -> None:
            if (act := next(tries, None)) is not None:
                await act()

        way.undo = {"three": away, "two": slow}
        assert (await way.go(rig)).undo_faults == ("three: It does not answer.",)


async def test_a_step_apart_holds_up_nobody_and_has_another_turn() -> None:
    async with begin("new") as rig:
        way = Way("three")
        way.undo = {"three": away_until(rig, 20)}
        ended = await way.go(rig)
        assert way.log[:3] == ["three", "two", "one"]
        assert ended.undo_faults == ()


async def test_a_part_that_is_away_is_waited_for_a_refusal_is_not() -> None:
    async with begin("new") as rig:
        way = Way("three")
        way.undo = {"three": refused}
        began = rig.clock.spent
        ended = await way.go(rig)
        assert ended.undo_faults == ("three: It is stuck.",)
        assert way.log == ["three"] * 3 + ["two", "one"]
        assert rig.clock.spent - began < 2


@pytest.mark.parametrize("apart", [(), ("three",)])
async def test_an_undo_that_hangs_is_cut_off_and_the_others_are_undone(apart: tuple[str, ...]) -> None:
    async with begin("new") as rig:
        rig.policy = replace(rig.policy, undo_seconds=1)
        way = Way(*apart)
        way.undo = {"three": hang}
        began = time.monotonic()
        ended = await way.go(rig)
        assert time.monotonic() - began < 3 + LEAVE
        assert [fault.partition(":")[0] for fault in ended.undo_faults] == ["three"]
        assert {"one", "two"} <= set(way.log)


async def test_death_while_a_step_apart_waits_forgets_nothing() -> None:
    async with begin("new") as rig:
        way = Way("three")
        way.undo = {"three": away}
        process = rig.boot()

        def die(point: str) -> None:
            if point == "way.two.undo.record":
                raise Died(point)

        process.world.at_point = die
        engine = Engine(process.kit, [way.saga()], "house:a")
        opened = await engine.open(way.saga(), Request("deploy", (PROD,), "main", "main/owner/k"), _input)
        await engine.wait(opened.id, 5)
        assert way.log == ["three", "two"]
        way.undo.clear()
        later = Engine(rig.boot().kit, [way.saga()], "house:b")
        assert await later.resume() == [opened.id]
        await later.wait(opened.id, 5)
        ended = await found(rig, opened.id)
        assert (ended.state, ended.undo_faults) == (OpState.FAILED, ())
        assert way.log == ["three", "two", "three", "one"]


async def test_what_hangs_after_the_commit_is_cut_off_and_told() -> None:
    async with begin("new") as rig:
        rig.policy = replace(rig.policy, undo_seconds=1)
        way = Way()
        way.fails, way.after = False, hang
        began = time.monotonic()
        ended = await way.go(rig, seconds=0.05)
        assert time.monotonic() - began < 3 + LEAVE
        assert ended.state is OpState.SUCCEEDED
        assert "after the commit point" in ended.warnings[0]


async def test_what_follows_a_late_commit_has_the_time_it_needs() -> None:
    async with begin("new") as rig:
        rig.policy = replace(rig.policy, undo_seconds=10)
        way = Way()
        way.fails, way.after = False, lambda: asyncio.sleep(1.5)
        ended = await way.go(rig, seconds=0.05)
        assert (ended.state, ended.warnings) == (OpState.SUCCEEDED, ())


# --- the procedures themselves -----------------------------------------------------------------------------------


class Broken:
    """A driver of which these verbs fail."""

    def __init__(self, driver: Any, error: Exception, *verbs: str) -> None:
        self.driver, self.error, self.verbs, self.on = driver, error, verbs, True

    def __getattr__(self, name: str) -> Any:
        if self.on and name in self.verbs:
            return self._fail
        return getattr(self.driver, name)

    async def _fail(self, *_: Any, **__: Any) -> None:
        raise self.error


async def _newest(rig: Rig) -> Operation:
    async with rig.store.read() as registry:
        past = await registry.journal.history(
            team="main", project=None, environment=None, open_only=False, limit=1, before=None
        )  # fmt: skip
    return past[0]


async def test_a_dead_proxy_keeps_no_container_of_a_failed_deploy_running() -> None:
    async with begin("new") as rig:
        dead = Broken(rig.proxy, Unavailable("The proxy does not answer."), "put_site", "remove_site")

        def change(kit: Kit) -> Kit:
            return replace(kit, proxy=dead)  # type: ignore[arg-type]

        process, began = rig.boot(change), rig.clock.spent
        gone: list[float] = []
        rig.machine.trap = lambda what: gone.append(rig.clock.spent) if what.startswith("after remove shop") else None
        said = await process.ask("deploy", **WHERE, image="shop:1")
        rig.machine.trap = None
        assert said.status == 503
        assert gone, "the trap saw nothing"
        assert gone[0] - began < 1, "the container waited for the proxy"
        assert [fault.partition(":")[0] for fault in (await _newest(rig)).undo_faults] == ["preview"]
        assert rig.clock.spent - began <= rig.policy.undo_seconds
        assert not [box for box in rig.machine.boxes.values() if box.instance]
        assert rig.store.snapshot.running == {}
        dead.on = False
        await process.ok("deploy", **WHERE, image="shop:2", autoPromote=True)
        assert await rig.faults() == []


async def test_what_could_not_be_removed_never_becomes_the_fallback() -> None:
    """P4: the version in grace is gone, and the one that failed stands in its place and cannot be removed."""
    async with begin("grace") as rig:
        rig.image("bad", status=500)

        def lose_the_old_one(point: str) -> None:
            if point == "deploy.start.do.effect":
                del rig.machine.boxes[names.kept("shop-production-blue")]

        def change(kit: Kit) -> Kit:
            return replace(kit, runtime=Broken(kit.runtime, Conflict("Docker refuses to remove it."), "remove"))  # type: ignore[arg-type]

        process = rig.boot(change)
        process.world.at_point = lose_the_old_one
        said = await process.ask("deploy", **WHERE, image="shop:bad", timeout=1)
        assert not said.ok
        faults = (await _newest(rig)).undo_faults
        assert [fault.partition(":")[0] for fault in faults] == ["start", "clear"], faults
        assert rig.machine.boxes["shop-production-blue"].running
        assert not (await rig.proxy.live(PROD)).fallback
        rig.machine.boxes["shop-production-green"].status = "exited"
        assert rig.health.through("shop.localhost").slot != "blue", "an unproven version answers"
