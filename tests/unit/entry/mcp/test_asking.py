"""The person at the client is asked before a risky call, where the key's policy wants a name typed (S25)."""

import json
from datetime import timedelta
from typing import Any

import pytest
from mcp_types import ElicitResult, InputRequiredResult

from codeb.model.access import Approval
from codeb.model.secret import Secret
from tests.assistant import assistant, at, text
from tests.kit import OWNER, add_key, begin

pytestmark = pytest.mark.anyio

PRODUCTION = {"projectName": "shop", "environment": "production"}
ACCEPT = ElicitResult(action="accept", content={"confirm": "shop"})


async def bound(rig: Any, approval: Approval = Approval.NAME, **more: Any) -> Secret:
    return await add_key(rig, approval=approval, **more)


async def test_who_types_the_name_allows_exactly_this() -> None:
    """S25"""
    async with begin("ready") as rig, at(rig, rig.boot(), await bound(rig), says="shop") as one:
        said = await one.ok("promote", **PRODUCTION)
        assert said["activeSlot"] and len(one.asked) == 1
        assert "Type shop to allow exactly this, once" in one.asked[0] and "traffic" in one.asked[0]


@pytest.mark.parametrize(
    "says",
    [
        "shop2",
        "",
        ElicitResult(action="decline", content={"confirm": "shop"}),
        ElicitResult(action="cancel"),
        ElicitResult(action="accept", content={}),
    ],
)
async def test_whoever_does_not_allows_nothing(says: Any) -> None:
    async with begin("ready") as rig, at(rig, rig.boot(), await bound(rig), says=says) as one:
        before = rig.print()
        assert "nothing was done" in await one.refused("promote", "declined", **PRODUCTION)
        assert rig.print() == before


async def test_what_a_model_filled_in_is_no_persons_word() -> None:
    """S25"""
    async with begin("ready") as rig, at(rig, rig.boot(), await bound(rig), says=ElicitResult(action="decline")) as one:
        await one.refused("promote", "declined", **PRODUCTION, confirm="shop")
        assert len(one.asked) == 1


async def test_where_nobody_can_be_asked_the_gates_word_stands() -> None:
    async with begin("ready") as rig:
        process, key = rig.boot(), await bound(rig)
        async with at(rig, process, key) as one:
            words = await one.refused("promote", "confirm_needed", **PRODUCTION)
            assert "Next: promote(" in words and '"confirm":"shop"' in words
        async with at(rig, process, key, mode="legacy", says="shop") as one:
            await one.refused("promote", "confirm_needed", **PRODUCTION)
            assert one.asked == []


async def test_a_name_typed_is_never_another_identitys_yes() -> None:
    """S25: the answer names the way out of band."""
    async with begin("ready") as rig, at(rig, rig.boot(), await bound(rig, Approval.HUMAN), says="shop") as one:
        words = await one.refused("promote", "approval_needed", **PRODUCTION)
        assert one.asked == [] and "we approve ap_" in words and "Next: approval_get(" in words


async def test_where_nothing_is_needed_nobody_is_asked() -> None:
    async with assistant("ready", says="shop") as one:
        await one.ok("promote", **PRODUCTION)
        assert one.asked == []


# the answer is good for one call of one key


async def question(one: Any, **params: Any) -> InputRequiredResult:
    said = await one.client.session.call_tool("promote", params or PRODUCTION, allow_input_required=True)
    assert isinstance(said, InputRequiredResult)
    return said


async def reply(one: Any, state: Any, tool: str = "promote", answer: Any = ACCEPT, **params: Any) -> Any:
    return await one.client.session.call_tool(
        tool, params or PRODUCTION, input_responses={"confirm": answer}, request_state=state, allow_input_required=True
    )


async def test_an_answer_counts_once() -> None:
    async with begin("ready") as rig, at(rig, rig.boot(), await bound(rig), says="shop") as one:
        asked = await question(one)
        first = await reply(one, asked.request_state)
        again = await reply(one, asked.request_state)
        assert not first.is_error and first.structured_content["operationId"] == again.structured_content["operationId"]
        assert await promotes(one) == 2, "the one that made it ready, and this one"


async def promotes(one: Any) -> int:
    return sum(each["tool"] == "promote" for each in (await one.process.ok("operation_list"))["operations"])


@pytest.mark.parametrize("wrong", ["late", "other call", "other key", "torn", "made up"])
async def test_an_answer_to_something_else_counts_for_nothing(wrong: str) -> None:
    async with begin("ready") as rig:
        process, key = rig.boot(), await bound(rig)
        async with at(rig, process, key, says="shop") as one:
            state = (await question(one)).request_state
            assert state is not None
            before, params = rig.print(), dict(PRODUCTION)
            if wrong == "late":
                rig.clock.jumped += timedelta(seconds=121)
            if wrong == "other call":
                params["slot"] = "green"
            if wrong == "torn":
                state = state[:-4] + ("AAAA" if state[-4:] != "AAAA" else "BBBB")
            if wrong == "made up":
                state = json.dumps({"name": "shop", "planId": "x", "once": "y", "until": 9e9})
            other = await add_key(rig, approval=Approval.NAME) if wrong == "other key" else key
            async with at(rig, process, other, says="shop") as two:
                said = await reply(two, state, **params)
            assert said.is_error and said.structured_content["code"] == "question_over", text(said)
            assert rig.print() == before or wrong == "other key"


async def test_an_answer_shows_a_secret_once() -> None:
    """What only reads is not kept under an idempotency key, so its answers are remembered here."""
    async with begin("active") as rig:
        process, key = rig.boot(), await bound(rig)
        await process.ok("env_set", **PRODUCTION, values={"A_KEY": "v" * 20}, key=OWNER)
        async with at(rig, process, key, says="shop") as one:
            params = {**PRODUCTION, "reveal": True}
            said = await one.client.session.call_tool("env_get", params, allow_input_required=True)
            if not isinstance(said, InputRequiredResult):
                assert said.structured_content["code"] != "confirm_needed"
                return
            assert not (await reply(one, said.request_state, "env_get", **params)).is_error
            assert (await reply(one, said.request_state, "env_get", **params)).structured_content["code"] == "question_over"


async def test_a_plan_that_moved_meanwhile_is_not_applied() -> None:
    async with begin("ready") as rig:
        process = rig.boot()
        async with at(rig, process, await bound(rig), says="shop") as one:
            state = (await question(one)).request_state
            await process.ok("promote", **PRODUCTION)
            assert (await reply(one, state)).is_error
