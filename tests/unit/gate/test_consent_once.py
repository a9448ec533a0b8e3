"""A yes is used once, whoever asks, decides and applies at the same time, repeats, or loses the answer (S25, P8, P9)."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from codeb.contracts.store import Standing
from codeb.gate import Answer
from codeb.model.access import Approval
from codeb.tools.call import Call
from tests.kit import START, add_key, begin
from tests.unit.gate.test_consent import RISKY, WHERE, approved, bound, needed, set_key, state_of

pytestmark = pytest.mark.anyio


async def test_sixteen_that_ask_at_once_ask_once() -> None:
    async with begin("ready") as rig:
        process, key = rig.boot(), await bound(rig)
        found = await asyncio.gather(*(needed(process, key, "promote", WHERE, idem=f"k{n}") for n in range(16)))
        assert len({each["approvalId"] for each in found}) == 1
        assert len((await process.ok("approval_list"))["approvals"]) == 1


async def test_sixteen_that_apply_at_once_apply_once() -> None:
    async with begin("ready") as rig:
        process, key = rig.boot(), await bound(rig)
        details = await approved(process, key)
        found = await asyncio.gather(
            *(process.ask("promote", key=key, **WHERE, planId=details["planId"], idem=f"k{n}") for n in range(16))
        )
        assert [each.ok for each in found].count(True) == 1
        assert {each.body["code"] for each in found if not each.ok} <= {"approval_used", "operation_in_progress", "stale_plan"}


async def test_sixteen_that_decide_at_once_decide_once() -> None:
    async with begin("ready") as rig:
        process, key = rig.boot(), await bound(rig)
        others = [await add_key(rig) for _ in range(16)]
        details = await needed(process, key, "promote", WHERE)
        verbs = ("approve", "reject")
        found: list[Answer] = await asyncio.gather(
            *(process.ask(verbs[n % 2], key=each, approvalId=details["approvalId"]) for n, each in enumerate(others))
        )
        assert [each.ok for each in found].count(True) == 1
        assert {each.body["code"] for each in found if not each.ok} == {"approval_decided"}


@pytest.mark.parametrize("verb", ["approve", "reject"])
@pytest.mark.parametrize("meanwhile", ["revoked", "removed", "bound", "lowered"])
async def test_who_decides_is_asked_in_the_transaction_that_decides(
    verb: str, meanwhile: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the gate and the registry in memory knew of the key may be over by then."""
    async with begin("grace") as rig:
        process, key, decider = rig.boot(), await bound(rig), await bound(rig, Approval.NONE, member="mem_1")
        which = (await needed(process, key, "rollback", WHERE))["approvalId"]
        actor, old = process.gate.entrance.know(decider, None), rig.store.snapshot
        async with rig.store.write() as registry:
            if meanwhile == "revoked":
                await registry.keys.revoke(START, actor.key_id)
            elif meanwhile == "removed":
                await registry.members.remove(START, "mem_1")
        if meanwhile == "bound":
            await set_key(rig, decider, approval="human")
        elif meanwhile == "lowered":
            await set_key(rig, decider, role="viewer")
        monkeypatch.setattr(process.gate.entrance, "know", lambda token, ip: actor)
        monkeypatch.setattr(type(rig.store), "snapshot", property(lambda _: old))
        said = await process.ask(verb, key=decider, approvalId=which)
        assert said.status == (403 if meanwhile in ("bound", "lowered") else 401), said.body
        async with rig.store.read() as registry:
            assert (await registry.approvals.get(which)).state == "waiting"


@pytest.mark.parametrize("name", RISKY)
async def test_a_refusal_burns_no_idempotency_key_and_a_repetition_is_the_same_answer(name: str) -> None:
    state, params = RISKY[name]
    async with begin(state) as rig:
        process, key = rig.boot(), await bound(rig)
        details = await needed(process, key, name, params, idem="once")
        assert (await needed(process, key, name, params, idem="once"))["approvalId"] == details["approvalId"]
        await process.ok("approve", approvalId=details["approvalId"])
        first = await process.ok(name, key=key, **params, planId=details["planId"], idem="once")
        after = rig.print()
        again = await process.ok(name, key=key, **params, planId=details["planId"], idem="once")
        own = ("duration", "timestamp", "correlationId")
        assert {k: v for k, v in again.items() if k not in own} == {k: v for k, v in first.items() if k not in own}
        assert rig.print() == after


@pytest.mark.parametrize("name", RISKY)
async def test_a_repetition_whose_answer_was_lost_finds_what_was_begun(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def lost(*_: Any) -> None:
        return None

    state, params = RISKY[name]
    async with begin(state) as rig:
        process, key = rig.boot(), await bound(rig)
        details = await approved(process, key, name, params)
        monkeypatch.setattr(Call, "keep_answer", lost)
        await process.ok(name, key=key, **params, planId=details["planId"], idem="once")
        after = rig.print()
        rig.effects()
        await process.ok(name, key=key, **params, planId=details["planId"], idem="once")
        assert (rig.print(), rig.effects()) == (after, [])


async def test_a_used_yes_is_no_yes_under_a_new_idempotency_key() -> None:
    async with begin("ready") as rig:
        process, key = rig.boot(), await bound(rig)
        details = await approved(process, key)
        await process.ok("promote", key=key, **WHERE, planId=details["planId"], idem="one")
        # back to exactly where the plan was made
        await process.ok("rollback", **WHERE)
        rig.effects()
        body = (await process.ask("promote", key=key, **WHERE, planId=details["planId"], idem="two")).body
        assert body["code"] == "approval_used"
        assert rig.effects() == []


async def test_a_call_with_nothing_to_do_uses_its_approval_up() -> None:
    async with begin("active") as rig:
        process, key = rig.boot(), await bound(rig)
        params = {**WHERE, "slot": "green", "force": True}
        details = await approved(process, key, "slot_cleanup", params)
        await process.ok("slot_cleanup", key=key, **params, planId=details["planId"])
        assert await state_of(process, details["approvalId"]) == "used"


async def test_a_yes_that_is_over_is_none_for_a_call_with_nothing_to_do_either() -> None:
    """With an idempotency key only what was used may have been used by this very call."""
    async with begin("active") as rig:
        process, key = rig.boot(), await bound(rig)
        params = {**WHERE, "slot": "green", "force": True}
        details = await approved(process, key, "slot_cleanup", params)
        rig.clock.jumped += timedelta(minutes=61)
        for more in ({}, {"idem": "once"}):
            await process.refused("slot_cleanup", 409, "approval_expired", key=key, **params, planId=details["planId"], **more)


async def test_a_call_that_was_refused_after_all_leaves_its_approval() -> None:
    """Somebody else's operation was in the way: nothing was done, so nothing is used up."""
    async with begin("ready") as rig:
        process, key = rig.boot(), await bound(rig)
        details = await approved(process, key)
        process.engine._stopping = True
        await process.refused("promote", 503, "stopping", key=key, **WHERE, planId=details["planId"])
        process.engine._stopping = False
        assert await state_of(process, details["approvalId"]) == "approved"
        await process.ok("promote", key=key, **WHERE, planId=details["planId"])


# without the database


async def test_without_the_database_nobody_approves_and_a_yes_given_before_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    """P9: nothing that widens; what another identity allowed while the database was there can be done."""
    async with begin("grace") as rig:
        process, key, second = rig.boot(), await bound(rig), await bound(rig)
        details = await approved(process, key, "rollback")
        waits = await needed(process, second, "rollback", WHERE)
        away = Standing(away_since=rig.clock.now(), why="gone")
        monkeypatch.setattr(type(rig.store), "standing", property(lambda self: away))
        await process.refused("approve", 503, "degraded", approvalId=waits["approvalId"])
        await process.refused("reject", 503, "degraded", approvalId=waits["approvalId"])
        third = await bound(rig)
        await process.refused("rollback", 503, "degraded", key=third, **WHERE)
        await process.ok("rollback", key=key, **WHERE, planId=details["planId"])


# between the look in memory and the transaction


def meanwhile(monkeypatch: pytest.MonkeyPatch, happens: Callable[[], object]) -> None:
    """Let this become true once a call was let in, right before its transaction."""
    for name in ("change", "open"):
        real = getattr(Call, name)

        async def later(call: Call, *words: Any, real: Any = real, **named: Any) -> Any:
            happens()
            return await real(call, *words, **named)

        monkeypatch.setattr(Call, name, later)


@pytest.mark.parametrize("name", ["port_release", "promote"])
async def test_a_yes_that_ends_before_the_transaction_is_none(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    state, params = RISKY[name]
    async with begin(state) as rig:
        process, key = rig.boot(), await bound(rig)
        details = await approved(process, key, name, params)
        before = rig.print()

        def an_hour() -> None:
            rig.clock.jumped += timedelta(minutes=61)

        meanwhile(monkeypatch, an_hour)
        await process.refused(name, 409, "approval_expired", key=key, **params, planId=details["planId"])
        assert rig.print() == before


@pytest.mark.parametrize("name", ["project_create", "project_delete"])
async def test_a_database_that_goes_before_the_transaction_is_away(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """P9"""
    async with begin("active") as rig:
        process, before = rig.boot(), rig.print()
        away = Standing(away_since=rig.clock.now(), why="gone")
        meanwhile(monkeypatch, lambda: monkeypatch.setattr(type(rig.store), "standing", property(lambda _: away)))
        params = {"projectName": "shop" if name == "project_delete" else "blog"}
        said = {**params, "confirm": "shop"} if name == "project_delete" else params
        await process.refused(name, 503, "degraded", **said)
        assert rig.print() == before


async def test_of_two_at_once_under_one_idempotency_key_one_acts(monkeypatch: pytest.MonkeyPatch) -> None:
    """P8: whoever looked before the other was done finds its answer in the transaction."""
    async with begin("active") as rig:
        process = rig.boot()
        first = await process.ok("env_set", **WHERE, values={"A": "1"}, idem="again")
        await process.ok("env_set", **WHERE, values={"A": "2"})

        async def nothing_yet(call: Call) -> None:
            return None

        monkeypatch.setattr(Call, "first_answer", nothing_yet)
        assert (await process.ok("env_set", **WHERE, values={"A": "1"}, idem="again"))["version"] == first["version"]
        assert (await process.ok("env_get", **WHERE, reveal=True))["variables"] == {"A": "2"}
