"""The store keeps its contract on all databases: operations, locks and fencing."""

import asyncio
from dataclasses import replace

import pytest

from codeb.drivers.store.sql import SqlStore
from codeb.errors import Busy, Conflict, FenceLost, InternalFault, NotFound
from codeb.model.journal import Operation, OpState, StepRow, StepState
from codeb.model.names import Place
from tests.postgres import postgres
from tests.stores import KINDS, PROD, STAGE, START, Clock, Opener, clock, many_write, opener, operation, reread, store, url

__all__ = ["clock", "opener", "postgres", "store", "url"]

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("url", KINDS, indirect=True)]

US, THEM = "home1:boot1", "home2:boot1"


async def opened(store: SqlStore, id_: str = "op_1", places: tuple[Place, ...] = (PROD,), owner: str = US) -> Operation:
    async with store.write() as registry:
        return await registry.journal.open(operation(id_, places), owner=owner)


def step(index: int = 0, state: StepState = StepState.INTENT, **more: object) -> StepRow:
    return replace(StepRow("op_1", index, f"step{index}", state, START), **more)  # type: ignore[arg-type]  # any field


async def test_an_operation_comes_back_whole(store: SqlStore) -> None:
    wanted = replace(
        operation("op_1", (STAGE, PROD)), step="pull", cancel_requested=True, result={"a": [1]}, error={"code": "x\0"},
        warnings=("w",), undo_faults=("u",), resumed=2, follows="op_0", summary="s",
    )  # fmt: skip
    async with store.write() as registry:
        found = await registry.journal.open(wanted, owner=US)
    assert found == replace(wanted, fence=1)
    async with store.read() as registry:
        assert await registry.journal.get("op_1") == found
        assert await registry.journal.running(PROD) == found == await registry.journal.running(STAGE)
        assert await registry.journal.running(Place("shop", "preview")) is None
        assert await registry.journal.get("op_2") is None
    assert store.snapshot.running == {PROD: found, STAGE: found}


async def test_a_locked_place_is_busy_and_says_with_what(store: SqlStore) -> None:
    first = await opened(store)
    async with store.write() as registry:
        await registry.journal.step(first.fence, step())
    before = store.snapshot
    with pytest.raises(Busy) as refused:
        await opened(store, "op_2", (STAGE, PROD))
    assert refused.value.code == "operation_in_progress"
    assert refused.value.details == {
        "operationId": "op_1", "tool": "deploy", "step": "step0", "startedAt": START.isoformat(), "startedBy": "acme/member/k1",
    }  # fmt: skip
    assert store.snapshot == before == await reread(store)
    await opened(store, "op_3", (STAGE,))


async def test_of_32_openers_one_gets_the_place(opener: Opener) -> None:
    stores = [await opener()]
    if many_write(stores[0]):
        stores.append(await opener())

    async def attempt(number: int) -> bool:
        try:
            await opened(stores[number % len(stores)], f"op_{number}", (PROD, STAGE) if number % 3 else (STAGE, PROD))
        except Busy:
            return False
        return True

    assert sum(await asyncio.gather(*(attempt(number) for number in range(32)))) == 1


async def test_fences_only_go_up_and_are_one_for_all_places(store: SqlStore) -> None:
    for number in (1, 2, 3):
        one = await opened(store, f"op_{number}")
        assert one.fence == number
        async with store.write() as registry:
            await registry.journal.close(one.id, one.fence, OpState.SUCCEEDED)
    both = await opened(store, "op_4", (STAGE, PROD))
    assert both.fence == 4
    async with store.write() as registry:
        await registry.journal.close(both.id, both.fence, OpState.FAILED)
    assert (await opened(store, "op_5", (STAGE,))).fence == 5


async def test_steps_are_replaced_and_are_the_current_step(store: SqlStore, clock: Clock) -> None:
    held = await opened(store)
    clock.jump(seconds=1)
    done = step(0, StepState.DONE, duration_ms=1.25, output={"x": [1, {"y": None}]}, error="bad\0\ud800", attempt=3)
    async with store.write() as registry:
        await registry.journal.step(held.fence, step())
        await registry.journal.step(held.fence, done)
        await registry.journal.step(held.fence, step(1))
        assert await registry.journal.steps("op_1") == [replace(done, error="bad\ufffd\ufffd"), step(1)]
    now = store.snapshot.running[PROD]
    assert (now.step, now.updated_at) == ("step1", clock.at)
    assert store.snapshot == await reread(store)


async def test_change_and_close(store: SqlStore, clock: Clock) -> None:
    held = await opened(store)
    async with store.write() as registry:
        fields = {"state": OpState.UNWINDING, "error": {"code": "x"}, "warnings": ("a",), "resumed": 1}
        await registry.journal.change("op_1", held.fence, **fields)
        with pytest.raises(InternalFault):
            await registry.journal.change("op_1", held.fence, places=())
        with pytest.raises(InternalFault):
            await registry.journal.close("op_1", held.fence, OpState.RUNNING)
    assert store.snapshot.running[PROD].state is OpState.UNWINDING
    assert store.snapshot == await reread(store)
    clock.jump(seconds=5)
    async with store.write() as registry:
        await registry.journal.close("op_1", held.fence, OpState.FAILED, undo_faults=("u",), result={"r": 1})
    assert store.snapshot.running == {}
    async with store.read() as registry:
        ended = await registry.journal.get("op_1")
        assert await registry.journal.running(PROD) is None
    assert ended == replace(
        held, state=OpState.FAILED, error={"code": "x"}, warnings=("a",), resumed=1, undo_faults=("u",), result={"r": 1},
        ended_at=clock.at, updated_at=clock.at,
    )  # fmt: skip


async def refused(store: SqlStore, held: Operation) -> None:
    """Every fenced write of this holder raises, and even one that swallows the error leaves nothing behind."""
    before = await reread(store)
    async with store.read() as registry:
        steps = await registry.journal.steps(held.id)
        row = await registry.journal.get(held.id)
        with pytest.raises(FenceLost):
            await registry.journal.holds(held.id, held.fence)
    async with store.write() as registry:
        with pytest.raises(FenceLost):
            await registry.journal.step(held.fence, step(7))
        with pytest.raises(FenceLost):
            await registry.journal.change(held.id, held.fence, resumed=99)
        with pytest.raises(FenceLost):
            await registry.journal.close(held.id, held.fence, OpState.SUCCEEDED)
    async with store.read() as registry:
        assert (await registry.journal.steps(held.id), await registry.journal.get(held.id)) == (steps, row)
    assert await reread(store) == before == store.snapshot


async def test_a_stale_holder_writes_nothing(store: SqlStore) -> None:
    held = await opened(store, places=(STAGE, PROD))
    async with store.write() as registry:
        await registry.journal.holds("op_1", held.fence)
        newer = await registry.journal.take_over("op_1", owner=THEM)
        await registry.journal.holds("op_1", newer.fence)
    assert newer == replace(held, fence=held.fence + 1) == store.snapshot.running[STAGE]
    await refused(store, held)
    async with store.write() as registry:
        await registry.journal.close("op_1", newer.fence, OpState.FAILED)
    await refused(store, newer)
    follower = await opened(store, "op_2", (PROD,))
    await refused(store, newer)
    assert follower.fence == newer.fence + 1


async def test_one_place_lost_is_all_lost(store: SqlStore) -> None:
    from sqlalchemy import text

    held = await opened(store, places=(STAGE, PROD))
    async with store._database.writing() as session:
        await session.run(text("UPDATE operation_locks SET fence = 2 WHERE environment = 'staging'"))
        await session.commit()
    await refused(store, held)


async def test_taking_over_what_ended_or_never_was(store: SqlStore) -> None:
    held = await opened(store)
    async with store.write() as registry:
        await registry.journal.close("op_1", held.fence, OpState.SUCCEEDED)
        with pytest.raises(Conflict) as ended:
            await registry.journal.take_over("op_1", owner=THEM)
        assert ended.value.code == "already_ended"
        with pytest.raises(NotFound):
            await registry.journal.take_over("op_0", owner=THEM)


async def test_a_follow_up_opens_where_its_predecessor_closed(store: SqlStore) -> None:
    held = await opened(store)
    async with store.write() as registry:
        await registry.journal.close("op_1", held.fence, OpState.SUCCEEDED)
        after = await registry.journal.open(operation("op_2", follows="op_1"), owner=US)
    assert after.fence == held.fence + 1
    assert store.snapshot.running == {PROD: after}
    await refused(store, held)


async def test_a_rolled_back_open_never_was(store: SqlStore) -> None:
    with pytest.raises(ZeroDivisionError):
        async with store.write() as registry:
            await registry.journal.open(operation(), owner=US)
            raise ZeroDivisionError
    assert store.snapshot.running == {}
    assert (await opened(store)).fence == 1


@pytest.mark.parametrize("jump", [86_400, -86_400])
async def test_abandoned_whichever_way_the_clock_jumps(store: SqlStore, clock: Clock, jump: int) -> None:
    ours = await opened(store)
    theirs = await opened(store, "op_2", (STAGE, Place("shop", "preview")), owner=THEM)
    closed = await opened(store, "op_3", (Place("blog", "production"),), owner=THEM)

    async def abandoned() -> list[Operation]:
        async with store.write() as registry:
            return list(await registry.journal.abandoned(home="home1", lease_seconds=30))

    async with store.write() as registry:
        await registry.journal.close(closed.id, closed.fence, OpState.FAILED)
    assert await abandoned() == [ours]
    clock.jump(seconds=29)
    assert await abandoned() == [ours]
    clock.jump(seconds=jump)
    assert await abandoned() == [ours, theirs]
    async with store.write() as registry:
        await registry.journal.renew(THEM)
    assert await abandoned() == [ours]
    clock.jump(seconds=31)
    assert await abandoned() == [ours, theirs]


async def test_a_home_is_matched_whole(store: SqlStore) -> None:
    await opened(store, owner="home10:boot")
    async with store.read() as registry:
        assert await registry.journal.abandoned(home="home1", lease_seconds=30) == []


async def test_history_is_of_one_team_newest_first_in_pages(store: SqlStore) -> None:
    places = [(PROD,), (STAGE,), (PROD, STAGE), (Place("blog", "production"),)]
    for number, where in enumerate(places, 1):
        held = await opened(store, f"op_{number}", where)
        if number != 4:
            async with store.write() as registry:
                await registry.journal.close(held.id, held.fence, OpState.SUCCEEDED)
    async with store.write() as registry:
        await registry.journal.open(operation("op_5", (Place("x", "production"),), team="other"), owner=US)

    async def ids(**asked: object) -> list[str]:
        every: dict[str, object] = {
            "team": "acme", "project": None, "environment": None, "open_only": False, "limit": 10, "before": None,
        }  # fmt: skip
        async with store.read() as registry:
            found = await registry.journal.history(**{**every, **asked})  # type: ignore[arg-type]  # built above
        return [each.id for each in found]

    assert await ids() == ["op_4", "op_3", "op_2", "op_1"]
    assert await ids(limit=2) == ["op_4", "op_3"]
    assert await ids(limit=2, before="op_3") == ["op_2", "op_1"]
    assert await ids(project="shop", environment="staging") == ["op_3", "op_2"]
    assert await ids(environment="production") == ["op_4", "op_3", "op_1"]
    assert await ids(project="shop") == ["op_3", "op_2", "op_1"]
    assert await ids(environment="prod%") == []
    assert await ids(open_only=True) == ["op_4"]
    assert await ids(team="nobody") == []


async def test_asking_to_cancel_needs_no_fence_and_leaves_the_ended_alone(store: SqlStore) -> None:
    held = await opened(store)
    async with store.write() as registry:
        await registry.journal.ask_cancel("op_1")
        await registry.journal.ask_cancel("op_0")
    assert store.snapshot.running[PROD] == replace(held, cancel_requested=True)
    async with store.write() as registry:
        await registry.journal.close("op_1", held.fence, OpState.CANCELLED, cancel_requested=False)
        await registry.journal.ask_cancel("op_1")
        ended = await registry.journal.get("op_1")
    assert ended is not None and not ended.cancel_requested
    assert store.snapshot.running == {}
