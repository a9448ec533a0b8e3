"""The role Approvals keeps its contract on all databases (S31: one waiting plan per call is a constraint)."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from codeb.errors import Conflict
from codeb.model.approvals import STANDS_FOR, Decision, PlanApproval
from tests.postgres import postgres, postgres_server
from tests.stores import KINDS, SHARED, START, Clock, Opener, clock, opener, url

__all__ = ["clock", "opener", "postgres", "postgres_server", "url"]

pytestmark = pytest.mark.anyio


def asked(number: int = 1, **more: Any) -> PlanApproval:
    one = PlanApproval(
        f"ap_{number:026d}", "main", "promote", "shop", "production", {"projectName": "shop", "deep": [{"a": None}]}, "body",
        "plan_1", {"to": "green"}, ("send all traffic", "keep 1"), {"ports": [4100]}, Decision.WAITING, "key_a",
        "main/member/key_a", START, START + STANDS_FOR,
    )  # fmt: skip
    return replace(one, **more)


@pytest.mark.parametrize("url", KINDS, indirect=True)
async def test_what_was_asked_comes_back_as_it_was(opener: Opener) -> None:
    store = await opener()
    async with store.write() as registry:
        await registry.approvals.add(asked())
        await registry.approvals.add(asked(2, project=None, environment=None, requested_key="key_b"))
    async with store.read() as registry:
        assert await registry.approvals.get(asked().id) == asked()
        assert (await registry.approvals.get(asked(2).id)).project is None
        assert await registry.approvals.get("ap_none") is None


@pytest.mark.parametrize("url", KINDS, indirect=True)
async def test_one_call_of_one_key_waits_once(opener: Opener) -> None:
    store = await opener()
    async with store.write() as registry:
        await registry.approvals.add(asked())
        with pytest.raises(Conflict) as refused:
            await registry.approvals.add(asked(2, plan_id="plan_2"))
        assert refused.value.code == "approval_waiting"
        await registry.approvals.move(asked().id, Decision.WAITING, Decision.STALE)
        await registry.approvals.add(asked(2, plan_id="plan_2"))
        await registry.approvals.add(asked(3, body_sha256="other"))
        await registry.approvals.add(asked(4, requested_key="key_b"))
        found = await registry.approvals.of_key("key_a", 10, body_sha256="body")
        newest = await registry.approvals.of_key("key_a", 1)
        stale = await registry.approvals.of_key("key_a", 10, state="stale", plan_id="plan_1")
        nothing = await registry.approvals.of_key("key_b", 10, plan_id="plan_2")
    assert [(each.id, each.state) for each in found] == [(asked(2).id, "waiting"), (asked().id, "stale")]
    assert [each.id for each in newest] == [asked(3).id]
    assert [each.id for each in stale] == [asked().id]
    assert nothing == []


@pytest.mark.parametrize("url", KINDS, indirect=True)
async def test_it_moves_once_from_where_it_was(opener: Opener, clock: Clock) -> None:
    store = await opener()
    decided = {"decided_key": "key_b", "decided_by": "main/owner/key_b", "decided_at": clock(), "reason": "seen"}
    async with store.write() as registry:
        await registry.approvals.add(asked())
        await registry.approvals.move(asked().id, Decision.WAITING, Decision.APPROVED, **decided)
    async with store.write() as registry:
        for was, which in ((Decision.WAITING, asked().id), (Decision.APPROVED, "ap_none")):
            with pytest.raises(Conflict) as refused:
                await registry.approvals.move(which, was, Decision.REJECTED)
            assert refused.value.code == "approval_moved"
        await registry.approvals.move(asked().id, Decision.APPROVED, Decision.USED, used_at=clock(), operation_id="op_1")
    async with store.read() as registry:
        found = await registry.approvals.get(asked().id)
    assert found == replace(asked(), state=Decision.USED, used_at=clock(), operation_id="op_1", **decided)


@pytest.mark.parametrize("url", KINDS, indirect=True)
async def test_of_many_that_use_it_one_does(opener: Opener) -> None:
    store = await opener()
    async with store.write() as registry:
        await registry.approvals.add(asked(state=Decision.APPROVED))

    async def use() -> bool:
        try:
            await store.transact(lambda registry: registry.approvals.move(asked().id, Decision.APPROVED, Decision.USED))
        except Conflict:
            return False
        return True

    assert (await asyncio.gather(*(use() for _ in range(16)))).count(True) == 1


@pytest.mark.parametrize("url", KINDS, indirect=True)
async def test_they_are_paged_and_filtered(opener: Opener, clock: Clock) -> None:
    store = await opener()
    async with store.write() as registry:
        for number in range(1, 6):
            state = Decision.REJECTED if number == 2 else Decision.WAITING
            project = None if number == 5 else "blog" if number == 4 else "shop"
            await registry.approvals.add(asked(number, state=state, project=project, body_sha256=f"b{number}"))
        await registry.approvals.add(asked(6, team="rivals"))
        await registry.approvals.add(asked(7, body_sha256="old", expires_at=START - timedelta(seconds=1)))

    async def numbers(**more: Any) -> list[int]:
        wanted: dict[str, Any] = {"team": "main", "projects": None, "waiting": False, "limit": 10, "before": None, **more}
        found = await store.consult(lambda registry: registry.approvals.history(**wanted))
        return [int(each.id.removeprefix("ap_")) for each in found]

    assert await numbers() == [7, 5, 4, 3, 2, 1]
    assert await numbers(limit=2) == [7, 5]
    assert await numbers(before=asked(4).id) == [3, 2, 1]
    assert await numbers(projects={"shop"}) == [7, 3, 2, 1]
    assert await numbers(projects=set()) == []
    assert await numbers(waiting=True) == [5, 4, 3, 1]
    assert await numbers(team="rivals") == [6]


@pytest.mark.parametrize("url", SHARED, indirect=True)
async def test_two_processes_do_not_both_ask(opener: Opener) -> None:
    one, two = await opener(), await opener()

    async def ask(store: Any, number: int) -> bool:
        try:
            await store.transact(lambda registry: registry.approvals.add(asked(number)))
        except Conflict:
            return False
        return True

    found = await asyncio.gather(*(ask(store, number) for number, store in enumerate([one, two] * 4)))
    assert found.count(True) == 1


@pytest.mark.parametrize("url", KINDS, indirect=True)
async def test_what_is_over_for_long_goes_and_never_what_can_still_be_decided_or_used(opener: Opener, clock: Clock) -> None:
    store, old = await opener(), START - timedelta(days=9)
    async with store.write() as registry:
        for number, state in enumerate(Decision, 1):
            await registry.approvals.add(asked(number, state=state, body_sha256=str(number), expires_at=old))
        await registry.approvals.add(asked(11, body_sha256="open"))
        await registry.approvals.add(asked(12, state=Decision.APPROVED, body_sha256="given"))
        await registry.approvals.add(asked(13, state=Decision.USED, body_sha256="late", expires_at=START - timedelta(days=1)))
    week, later = START - timedelta(days=7), START + timedelta(days=99)
    steps = [await store.transact(lambda registry: registry.approvals.prune(week, 4)) for _ in range(3)]
    assert steps == [4, len(Decision) - 4, 0]

    async def left() -> list[str]:
        wanted: Any = {"team": "main", "projects": None, "waiting": False, "limit": 99, "before": None}
        return [each.id for each in await store.consult(lambda registry: registry.approvals.history(**wanted))]

    assert await left() == [asked(number).id for number in (13, 12, 11)]
    await store.transact(lambda registry: registry.approvals.prune(later, 9))
    assert await left() == [asked(number).id for number in (12, 11)], "whatever age is asked for"
