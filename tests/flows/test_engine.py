"""The engine: one at a time, cancel, deadline, fencing, leases, stop, follow-ups (P2, P3, P6, P8, P13)."""

import asyncio
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import pytest

from codeb.errors import Busy, Conflict, Unavailable
from codeb.model.journal import Operation, OpState
from codeb.model.names import Slot
from codeb.saga.engine import Engine, Request
from codeb.saga.step import Next, Run, Saga, Step
from tests.kit import PROD, STAGE, Died, Process, Rig, begin

pytestmark = pytest.mark.anyio


@dataclass(frozen=True)
class Plain:
    word: str = ""


class Play:
    """A saga of three steps, a record that commits, and one after it; a test says what each does."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.fail: dict[str, Exception] = {}
        self.gates: dict[str, asyncio.Event] = {}
        self.inside = asyncio.Event()
        self.onward: Next[Any] | None = None

    def saga(self, version: int = 1, name: str = "play", seconds: float = 60) -> Saga[Plain]:
        def act(step: str) -> Any:
            async def run(_: Run[Plain]) -> dict[str, Any]:
                self.log.append(step)
                if step in self.gates:
                    self.inside.set()
                    await self.gates[step].wait()
                if step in self.fail:
                    raise self.fail[step]
                return {"did": step}

            return run

        async def commit(run: Run[Plain], _: Any) -> dict[str, Any]:
            return await act("commit")(run)  # type: ignore[no-any-return]

        async def then(_: Run[Plain], __: Any) -> Next[Any] | None:
            return self.onward

        return Saga(
            name=name,
            version=version,
            input=Plain,
            steps=(
                Step("one", "", do=act("one"), undo=act("-one")),
                Step("two", "", do=act("two"), undo=act("-two")),
                Step("three", "", do=act("three"), undo=act("-three")),
                Step("commit", "", record=commit, commits=True),
                Step("after", "", do=act("after")),
            ),
            deadline=lambda policy: seconds,
            result=lambda run: {"outputs": sorted(run.outputs)},
            summary=lambda value: "play",
            then=then,
        )


async def _input(_: Any) -> Plain:
    return Plain("x")


def engine(process: Process, *sagas: Saga[Any], owner: str = "house:a") -> Engine:
    return Engine(process.kit, sagas, owner)


async def open_(on: Engine, saga: Saga[Any], *places: Any) -> Operation:
    return await on.open(saga, Request("deploy", places or (PROD,), "main", "main/owner/k"), _input)


async def of(rig: Rig, operation: Operation) -> Operation:
    async with rig.store.read() as registry:
        found = await registry.journal.get(operation.id)
    assert found is not None
    return found


async def test_it_runs_to_the_end_and_keeps_outputs() -> None:
    async with begin("new") as rig:
        play = Play()
        on = engine(rig.boot(), play.saga())
        op = await open_(on, play.saga())
        await on.wait(op.id, 5)
        ended = await of(rig, op)
        assert (ended.state, ended.result) == (OpState.SUCCEEDED, {"outputs": ["after", "commit", "one", "three", "two"]})
        assert play.log == ["one", "two", "three", "commit", "after"]


@pytest.mark.parametrize("step", ["one", "two", "three", "commit"])
async def test_a_failure_undoes_the_failing_step_too_last_first(step: str) -> None:
    async with begin("new") as rig:
        play = Play()
        play.fail[step] = Conflict("no", code="nope")
        on = engine(rig.boot(), play.saga())
        op = await open_(on, play.saga())
        await on.wait(op.id, 5)
        ended = await of(rig, op)
        assert (ended.state, (ended.error or {})["code"]) == (OpState.FAILED, "nope")
        did = ["one", "two", "three", "commit"][: ["one", "two", "three", "commit"].index(step) + 1]
        assert play.log == did + [f"-{each}" for each in reversed(did) if each != "commit"]
        assert rig.store.snapshot.running == {}


async def test_an_undo_that_fails_is_recorded_and_stops_no_other() -> None:
    async with begin("new") as rig:
        play = Play()
        play.fail = {"three": Conflict("no"), "-two": Conflict("stuck")}
        on = engine(rig.boot(), play.saga())
        op = await open_(on, play.saga())
        await on.wait(op.id, 5)
        assert (await of(rig, op)).undo_faults == ("two: stuck",)
        assert play.log == ["one", "two", "three", "-three", "-two", "-two", "-two", "-one"]


async def test_after_the_commit_point_three_tries_then_a_warning() -> None:
    async with begin("new") as rig:
        play = Play()
        play.fail["after"] = Conflict("sticky")
        on = engine(rig.boot(), play.saga())
        op = await open_(on, play.saga())
        await on.wait(op.id, 5)
        ended = await of(rig, op)
        assert ended.state is OpState.SUCCEEDED
        assert ended.warnings == ("Step after failed after the commit point: sticky",)
        assert play.log.count("after") == 3


async def test_one_at_a_time_per_place_and_others_in_parallel() -> None:
    async with begin("new") as rig:
        play = Play()
        play.gates["two"] = asyncio.Event()
        on = engine(rig.boot(), play.saga())
        op = await open_(on, play.saga())
        await play.inside.wait()
        with pytest.raises(Busy) as busy:
            await open_(on, play.saga())
        assert busy.value.details["operationId"] == op.id
        other = await open_(on, play.saga(), STAGE)
        with pytest.raises(Busy):
            await open_(on, play.saga(), replace(PROD, environment="preview"), STAGE)
        play.gates["two"].set()
        await on.wait(op.id, 5)
        await on.wait(other.id, 5)
        await on.wait((await open_(on, play.saga())).id, 5)


async def test_cancel_before_the_commit_point_undoes() -> None:
    async with begin("new") as rig:
        play = Play()
        play.gates["two"] = asyncio.Event()
        on = engine(rig.boot(), play.saga())
        op = await open_(on, play.saga())
        await play.inside.wait()
        await on.cancel(await of(rig, op))
        await on.wait(op.id, 5)
        ended = await of(rig, op)
        assert ended.state is OpState.CANCELLED
        assert play.log == ["one", "two", "-two", "-one"]
        with pytest.raises(Conflict) as late:
            await on.cancel(ended)
        assert late.value.code == "already_ended"


async def test_cancel_after_the_commit_point_is_refused() -> None:
    async with begin("new") as rig:
        play = Play()
        play.gates["after"] = asyncio.Event()
        on = engine(rig.boot(), play.saga())
        op = await open_(on, play.saga())
        await play.inside.wait()
        with pytest.raises(Conflict) as late:
            await on.cancel(await of(rig, op))
        assert late.value.code == "past_commit"
        play.gates["after"].set()
        await on.wait(op.id, 5)
        assert (await of(rig, op)).state is OpState.SUCCEEDED


async def test_a_step_that_hangs_ends_at_the_deadline_and_the_next_one_can_start() -> None:
    async with begin("new") as rig:
        play = Play()
        play.gates["two"] = asyncio.Event()
        saga = play.saga(seconds=0.05)
        on = engine(rig.boot(), saga)
        op = await open_(on, saga)
        await on.wait(op.id, 5)
        ended = await of(rig, op)
        assert (ended.state, (ended.error or {})["code"]) == (OpState.FAILED, "deadline")
        play.gates.clear()
        again = await open_(on, saga)
        await on.wait(again.id, 5)
        assert (await of(rig, again)).state is OpState.SUCCEEDED


async def test_drain_begins_nothing_new_and_leaves_the_rest_to_the_next_start() -> None:
    async with begin("new") as rig:
        play = Play()
        play.gates["two"] = asyncio.Event()
        on = engine(rig.boot(), play.saga())
        op = await open_(on, play.saga())
        await play.inside.wait()
        await on.drain(0.01)
        with pytest.raises(Unavailable) as stopping:
            await open_(on, play.saga(), STAGE)
        assert stopping.value.code == "stopping"
        assert (await of(rig, op)).state is OpState.RUNNING
        play.gates.clear()
        later = engine(rig.boot(), play.saga(), owner="house:b")
        assert await later.resume() == [op.id]
        await later.wait(op.id, 5)
        ended = await of(rig, op)
        assert (ended.state, ended.resumed, (ended.error or {})["code"]) == (OpState.FAILED, 1, "interrupted")
        assert play.log == ["one", "two", "-two", "-one"]


async def test_a_stale_holder_changes_nothing_any_more() -> None:
    """P6: paused inside a step, taken over, then awake again."""
    async with begin("ready") as rig:
        process = rig.boot()
        inside, go = asyncio.Event(), asyncio.Event()
        before = process.kit.health.probe

        async def slow(*args: Any) -> Any:
            inside.set()
            await go.wait()
            return await before(*args)

        process.kit.health.probe = slow  # type: ignore[method-assign]
        call = asyncio.create_task(process.ask("promote", projectName="shop", environment="production"))
        await inside.wait()
        process.kit.health.probe = before  # type: ignore[method-assign]
        other = rig.boot()
        other.engine._owner = "elsewhere:1"
        assert await other.engine.resume() == []
        rig.clock.jumped = timedelta(seconds=60)
        taken = await other.engine.resume()
        assert len(taken) == 1
        await other.settle()
        rig.effects()
        ended, there = await _row(rig, taken[0]), rig.print()
        go.set()
        said = await call
        assert not said.ok
        assert rig.effects() == []
        assert rig.print() == there
        assert await _row(rig, taken[0]) == ended
        assert await rig.faults() == []


async def _row(rig: Rig, operation_id: str) -> Any:
    async with rig.store.read() as registry:
        return await registry.journal.get(operation_id), await registry.journal.steps(operation_id)


async def test_a_lease_that_is_renewed_is_not_taken() -> None:
    async with begin("new") as rig:
        play = Play()
        play.gates["two"] = asyncio.Event()
        on = engine(rig.boot(), play.saga())
        op = await open_(on, play.saga())
        await play.inside.wait()
        other = engine(rig.boot(), play.saga(), owner="elsewhere:1")
        rig.clock.jumped = timedelta(seconds=60)
        async with rig.store.write() as registry:
            await registry.journal.renew("house:a")
        assert await other.resume() == []
        play.gates["two"].set()
        await on.wait(op.id, 5)


async def test_an_unfinished_saga_of_another_version_is_handed_to_a_person() -> None:
    async with begin("new") as rig:
        play = Play()
        process = rig.boot()

        def die(point: str) -> None:
            if point == "play.two.do.effect":
                raise Died

        process.world.at_point = die
        on = engine(process, play.saga())
        op = await open_(on, play.saga())
        await on.wait(op.id, 5)
        later = engine(rig.boot(), play.saga(version=2), owner="house:b")
        assert await later.resume() == []
        ended = await of(rig, op)
        assert (ended.state, (ended.error or {})["code"]) == (OpState.FAILED, "unknown_saga_version")
        assert play.log == ["one", "two"]
        assert rig.store.snapshot.running == {}


async def test_an_unfinished_saga_is_finished_by_the_version_it_was_begun_with() -> None:
    async with begin("new") as rig:
        play = Play()
        process = rig.boot()

        def die(point: str) -> None:
            if point == "play.two.do.effect":
                raise Died

        process.world.at_point = die
        on = engine(process, play.saga())
        op = await open_(on, play.saga())
        await on.wait(op.id, 5)
        later = rig.boot()
        on = Engine(later.kit, (play.saga(version=2), play.saga()), "house:b")
        assert await on.resume() == [op.id]
        await on.wait(op.id, 5)
        ended = await of(rig, op)
        assert (ended.saga_version, ended.resumed) == (1, 1)
        assert (ended.error or {}).get("code") != "unknown_saga_version"
        assert rig.store.snapshot.running == {}


async def test_a_follow_up_takes_over_the_lock_without_a_gap() -> None:
    async with begin("new") as rig:
        play, later = Play(), Play()
        second = later.saga(name="second")
        play.onward = Next(second, "promote", Plain("y"))
        later.gates["one"] = asyncio.Event()
        on = engine(rig.boot(), play.saga(), second)
        op = await open_(on, play.saga())
        await on.wait(op.id, 5)
        await later.inside.wait()
        running = rig.store.snapshot.running[PROD]
        assert (running.follows, running.tool, running.fence) == (op.id, "promote", op.fence + 1)
        later.gates["one"].set()
        await on.wait(running.id, 5)
        assert (await of(rig, running)).state is OpState.SUCCEEDED


async def test_a_claim_that_names_an_operation_opens_no_other() -> None:
    async with begin("new") as rig:
        play = Play()
        on = engine(rig.boot(), play.saga())
        first = await open_(on, play.saga())
        await on.wait(first.id, 5)

        async def claim(_: Any, __: str) -> str:
            return first.id

        again = await on.open(play.saga(), Request("deploy", (PROD,), "main", "k"), _input, claim)
        assert again.id == first.id
        assert play.log.count("one") == 1


async def test_waiting_for_a_change() -> None:
    async with begin("new") as rig:
        play = Play()
        play.gates["two"] = asyncio.Event()
        on = engine(rig.boot(), play.saga())
        op = await open_(on, play.saga())
        await play.inside.wait()
        seen = await on.wait_for_change(op.id, 0, 1)
        assert await on.wait_for_change(op.id, seen, 0.01) == seen
        waiting = asyncio.create_task(on.wait_for_change(op.id, seen, 5))
        await asyncio.sleep(0)
        play.gates["two"].set()
        assert await waiting > seen
        await on.wait(op.id, 5)
        assert await on.wait_for_change("op_unknown00000", 7, 1) == 7


async def test_a_client_that_hangs_up_cancels_nothing() -> None:
    async with begin("new") as rig:
        process = rig.boot()
        call = asyncio.create_task(process.ask("deploy", projectName="shop", environment="production", image="shop:1"))
        while not process.engine._tasks:
            await asyncio.sleep(0)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await process.settle()
        row = rig.store.snapshot.slot(PROD, Slot.BLUE)
        assert row is not None
        assert row.version == "1"
        assert await rig.faults() == []
