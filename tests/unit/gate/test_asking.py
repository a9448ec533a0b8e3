"""Approvals at their edges: a policy that grew meanwhile, a question that is over, who sees which, a tool that is gone (S25)."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import update

from codeb.drivers.store.schema import teams
from codeb.gate.consent import body_of
from codeb.model.access import Role
from codeb.tools.call import Call
from codeb.tools.catalog import BY_NAME
from tests.kit import add_key, begin
from tests.unit.gate.test_consent import WHERE, bound, needed, state_of

pytestmark = pytest.mark.anyio


async def test_a_policy_that_grew_stricter_after_the_key_was_looked_at_binds(monkeypatch: pytest.MonkeyPatch) -> None:
    async with begin("ready") as rig:
        process = rig.boot()

        async def grown(call: Call) -> None:
            async with rig.store.write() as registry:
                tx = registry.keys._tx  # type: ignore[attr-defined]
                tx.keys = True
                await tx.write(update(teams).values(approval="human"))

        monkeypatch.setattr(Call, "first_answer", grown)
        await process.refused("promote", 409, "approval_needed", **WHERE)
        assert rig.effects() == []


async def test_a_question_that_nobody_answered_in_time_is_over_and_a_no_ends_with_its_hour() -> None:
    async with begin("ready") as rig:
        process, key = rig.boot(), await bound(rig)
        first = await needed(process, key, "promote", WHERE)
        rig.clock.jumped += timedelta(minutes=61)
        second = await needed(process, key, "promote", WHERE)
        assert await state_of(process, first["approvalId"]) == "expired", "and not stale: nothing had moved"
        await process.ok("reject", approvalId=second["approvalId"])
        await process.refused("promote", 409, "approval_rejected", key=key, **WHERE)
        rig.clock.jumped += timedelta(minutes=61)
        third = await needed(process, key, "promote", WHERE)
        assert third["approvalId"] not in (first["approvalId"], second["approvalId"])


async def test_how_a_call_is_made_is_no_part_of_the_question() -> None:
    async with begin("ready") as rig:
        process, key = rig.boot(), await bound(rig)
        plan = await process.ok("promote", key=key, **WHERE, dryRun=True)
        details = await needed(process, key, "promote", WHERE, planId=plan["planId"], wait=False)
        asked = (await process.ok("approval_get", approvalId=details["approvalId"]))["approval"]
        assert asked["params"] == WHERE
        await process.refused("promote", 409, "stale_plan", key=key, **WHERE, planId="plan_" + "0" * 32)


async def test_a_rehearsal_is_no_beginning_of_the_call() -> None:
    """P8: what the idempotency key began is another matter than what the call would do now."""
    seen, promote = [], BY_NAME["promote"]

    async def run(call: Call, params: Any) -> Any:
        seen.append((call.idempotency_key, params.dry_run))
        return await promote.run(call, params)

    async with begin("ready") as rig:
        process = rig.boot(tools=dict(BY_NAME) | {"promote": replace(promote, run=run)})
        await process.refused("promote", 409, "approval_needed", key=await bound(rig), idem="once", **WHERE)
    assert seen == [(None, True)]


def test_the_same_words_to_another_tool_are_another_question() -> None:
    promote = BY_NAME["promote"]
    said = promote.params.model_validate(WHERE)
    assert body_of(promote, said) == body_of(promote, said.model_copy(update={"wait": False}))
    assert body_of(promote, said) != body_of(replace(promote, name="rollback"), said)


async def test_a_key_for_one_project_sees_the_questions_about_that_one() -> None:
    async with begin("ready") as rig:
        process = rig.boot()
        await process.ok("project_create", projectName="blog")
        await needed(process, await bound(rig), "promote", WHERE)
        other, same = [await add_key(rig, projects=frozenset({name})) for name in ("blog", "shop")]
        assert (await process.ok("approval_list", key=other))["approvals"] == []
        assert len((await process.ok("approval_list", key=same))["approvals"]) == 1
        assert (await process.ok("approval_list", projectName="blog"))["approvals"] == []
        assert (await process.ok("approval_list", projectName="nobody"))["approvals"] == []
        await process.refused("approval_list", 404, "project_not_found", key=same, projectName="blog")
        said = await process.ok("approval_list", projectName="nobody")
        assert said["approvals"] == [] and "There is no project nobody now" in said["warnings"][0]


async def test_only_an_owner_decides_about_a_tool_that_this_version_does_not_have() -> None:
    async with begin("ready") as rig:
        process = rig.boot()
        details = await needed(process, await bound(rig), "promote", WHERE)
        async with rig.store.write() as registry:
            asked = await registry.approvals.get(details["approvalId"])
            assert asked is not None
            await registry.approvals.add(replace(asked, id="ap_" + "1" * 26, tool="gone_tool", body_sha256="1" * 64))
        said: dict[str, Any] = {"approvalId": "ap_" + "1" * 26}
        await process.refused("approve", 403, "forbidden", key=await add_key(rig, Role.ADMIN), **said)
        await process.ok("approve", **said)


async def test_who_asked_and_who_may_decide_are_each_sent_to_their_own_next_call() -> None:
    async with begin("ready") as rig:
        process, key = rig.boot(), await bound(rig)
        said = {"approvalId": (await needed(process, key, "promote", WHERE))["approvalId"]}

        async def sent(**by: Any) -> list[str]:
            return [each["tool"] for each in (await process.ok("approval_get", **said, **by))["next"]]

        assert (await sent(), await sent(key=key)) == (["approve"], [])
        await process.ok("approve", **said)
        assert (await sent(), await sent(key=key)) == ([], ["promote"])
