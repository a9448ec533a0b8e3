"""What a policy keeps a key from doing by itself: the name typed, or another identity's yes, once, to one plan (S25).

A risky call of a bound key does nothing until somebody else said yes to exactly that call on exactly that state.
"""

from dataclasses import replace
from datetime import timedelta
from itertools import product
from typing import Any

import pytest
from sqlalchemy import update

from codeb.drivers.store.schema import api_keys, teams
from codeb.entry.timer import prune_approvals
from codeb.gate.authenticate import digest
from codeb.model.access import Approval, Member, Role
from codeb.model.secret import Secret
from codeb.tools.catalog import BY_NAME, TOOLS
from tests.kit import START, TEAM, Process, Rig, add_key, begin
from tests.kit_pulls import PULL

pytestmark = pytest.mark.anyio

WHERE = {"projectName": "shop", "environment": "production"}
RISKY: dict[str, tuple[str, dict[str, Any]]] = {
    "promote": ("ready", WHERE),
    "rollback": ("grace", WHERE),
    "deploy": ("active", {**WHERE, "image": "shop:3", "autoPromote": True}),
    "slot_cleanup": ("grace", {**WHERE, "slot": "blue", "force": True}),
    "port_release": ("new", WHERE),
    "domain_delete": ("named", {"domain": "www.example.com"}),
    "project_delete": ("grace", {"projectName": "shop", "confirm": "shop"}),
    "db_delete": ("stored", {**WHERE, "confirm": "shop"}),
    "db_rotate": ("rotated", {**WHERE, "endFormer": True}),
    "redis_rotate": ("rotated", {**WHERE, "endFormer": True}),
    "redis_delete": ("stored", {**WHERE, "confirm": "shop"}),
    "registry_delete": ("active", {"repository": "shop", "tag": "old"}),
    "pr_merge": ("sourced", PULL),
    "pr_review": ("sourced", {**PULL, "verdict": "approve"}),
}
"""tool -> the state it is possible in, and the call"""


async def bound(rig: Rig, approval: Approval = Approval.HUMAN, **more: Any) -> Secret:
    if (member := more.get("member")) is not None and member not in rig.store.snapshot.members:
        async with rig.store.write() as registry:
            await registry.members.add(Member(member, TEAM, "ana", Role.OWNER, created_at=START))
    return await add_key(rig, approval=approval, **more)


async def needed(process: Process, key: Secret, tool: str, params: dict[str, Any], **more: Any) -> dict[str, Any]:
    body = await process.refused(tool, 409, "approval_needed", key=key, **params, **more)
    return dict(body["details"])


async def approved(process: Process, key: Secret, tool: str = "promote", params: dict[str, Any] = WHERE) -> dict[str, Any]:
    details = await needed(process, key, tool, params)
    await process.ok("approve", approvalId=details["approvalId"])
    return details


async def state_of(process: Process, approval_id: str) -> Any:
    return (await process.ok("approval_get", approvalId=approval_id))["approval"]["state"]


async def set_key(rig: Rig, key: Secret, **fields: Any) -> None:
    async with rig.store.write() as registry:
        tx = registry.keys._tx
        tx.keys = True
        await tx.write(update(api_keys).where(api_keys.c.sha256 == digest(key)).values(**fields))


def key_id(rig: Rig, key: Secret) -> str:
    return rig.store.snapshot.keys[digest(key)].id


# what is risky


def test_every_tool_that_destroys_is_risky_and_every_risky_one_is_tried_here() -> None:
    # the end of a team is no project's: test_people has it; test_envs the one that reads; taking a right away waits for nobody;
    # registry_gc is a plan unless it is told otherwise: test_image_cleanup
    elsewhere = {"team_delete", "env_get", "registry_gc"}
    assert {tool.name for tool in TOOLS if tool.may_be_risky} - elsewhere == set(RISKY)
    free = {tool.name for tool in TOOLS if tool.risk == "destroys" and not tool.may_be_risky}
    assert free == {"token_revoke", "member_remove", "preview_delete"}
    for name, (_, params) in RISKY.items():
        tool = BY_NAME[name]
        assert tool.is_risky(tool.params.model_validate(params, by_alias=True))


@pytest.mark.parametrize(
    ("state", "tool", "params"),
    [
        ("active", "deploy", {**WHERE, "image": "shop:3"}),
        ("active", "deploy", {"projectName": "shop", "environment": "staging", "image": "shop:3", "autoPromote": True}),
        ("grace", "slot_cleanup", WHERE),
        ("active", "project_update", {"projectName": "shop", "watchSeconds": 5}),
    ],
)
async def test_what_is_not_risky_waits_for_nobody(state: str, tool: str, params: dict[str, Any]) -> None:
    async with begin(state) as rig:
        await rig.boot().ok(tool, key=await bound(rig), **params)


@pytest.mark.parametrize("name", RISKY)
async def test_a_free_key_goes_on_as_before(name: str) -> None:
    state, params = RISKY[name]
    async with begin(state) as rig:
        await rig.boot().ok(name, **params)


# the name typed


@pytest.mark.parametrize("name", RISKY)
async def test_the_name_has_to_be_typed(name: str) -> None:
    state, params = RISKY[name]
    said = {key: value for key, value in params.items() if key != "confirm"}
    async with begin(state) as rig:
        process, key, before = rig.boot(), await bound(rig, Approval.NAME), rig.print()
        for wrong in ({}, {"confirm": ""}, {"confirm": "Shop"}, {"confirm": "yes"}, {"confirm": name}):
            body = await process.refused(name, 409, "confirm_needed", key=key, **said, **wrong)
            assert (rig.print(), rig.effects()) == (before, [])
        assert body["details"]["changes"]
        again = body["next"][0]
        assert (again["tool"], again["params"]["confirm"]) == (name, params.get("domain", "shop"))
        await process.ok(name, key=key, **again["params"])


# another identity


@pytest.mark.parametrize("name", RISKY)
async def test_it_waits_for_another_identity_and_is_done_once(name: str) -> None:
    state, params = RISKY[name]
    async with begin(state) as rig:
        process, key, before = rig.boot(), await bound(rig), rig.print()
        plan = await process.ok(name, key=key, **params, dryRun=True)
        assert (await process.ok("approval_list"))["approvals"] == []
        details = await needed(process, key, name, params)
        assert (details["planId"], details["changes"]) == (plan["planId"], plan["changes"])
        reach = {"domain_delete": "hosts", "registry_delete": "images", "pr_merge": "pulls", "pr_review": "pulls"}
        assert details["touches"][reach.get(name, "ports")]
        # neither the plan alone nor a confirm that the caller fills in is a yes
        for more in (
            {"planId": plan["planId"]},
            {"confirm": params.get("domain", "shop")},
            {"planId": plan["planId"], "confirm": params.get("domain", "shop"), "wait": False},
        ):
            if "wait" in more and not BY_NAME[name].long:
                continue
            again = await needed(process, key, name, params | more)
            assert again["approvalId"] == details["approvalId"]
        assert (rig.print(), rig.effects()) == (before, [])
        assert len((await process.ok("approval_list"))["approvals"]) == 1
        await process.ok("approve", approvalId=details["approvalId"], reason="seen")
        assert rig.print() == before
        given = await needed(process, key, name, params)
        assert (given["state"], given["approvalId"]) == ("approved", details["approvalId"])
        await process.ok(name, key=key, **params, planId=details["planId"])
        assert rig.print() != before
        assert await state_of(process, details["approvalId"]) == "used"
        after = rig.print()
        rig.effects()
        body = (await process.ask(name, key=key, **params, planId=details["planId"])).body
        assert body["code"] in ("approval_used", "project_not_found"), body
        assert (rig.print(), rig.effects()) == (after, [])


async def test_it_is_told_in_events_and_found_by_who_may_decide() -> None:
    async with begin("ready") as rig:
        process, key = rig.boot(), await bound(rig, role=Role.MEMBER)
        details = await approved(process, key)
        kinds = [(each["kind"], each["data"]["approvalId"]) for each in (await process.ok("event_list"))["events"]]
        assert kinds == [("approval_approved", details["approvalId"]), ("approval_asked", details["approvalId"])]
        mine = await process.ok("approval_get", key=key, approvalId=details["approvalId"])
        assert mine["next"][0] == {
            "tool": "promote", "params": {**WHERE, "planId": details["planId"]}, "why": "do what was approved"
        }  # fmt: skip
        assert details["touches"]["hosts"] == ["shop.localhost"]


@pytest.mark.parametrize("of", ["team", "key"])
async def test_the_stricter_of_key_and_team_counts(of: str) -> None:
    async with begin("ready") as rig:
        process = rig.boot()
        key = await bound(rig, Approval.HUMAN if of == "key" else Approval.NONE)
        async with rig.store.write() as registry:
            tx = registry.keys._tx  # type: ignore[attr-defined]
            tx.keys = True
            await tx.write(update(teams).values(approval="human" if of == "team" else "name"))
        details = await needed(process, key, "promote", WHERE)
        # under the team's policy each waits for another, and any other may say yes
        await process.ok("approve", approvalId=details["approvalId"])
        await process.ok("promote", key=key, **WHERE, planId=details["planId"])


async def test_who_is_no_other_identity_cannot_decide() -> None:
    async with begin("ready") as rig:
        process = rig.boot()
        key = await bound(rig, member="mem_1")
        asker = key_id(rig, key)
        minted = await add_key(rig, created_by=f"{TEAM}/owner/{asker}")
        others = {
            "itself": key,
            "the same member's other key": await add_key(rig, member="mem_1"),
            "a key it made": minted,
            "a key it made, by its bare id": await add_key(rig, created_by=asker),
            "a key made by a key it made": await add_key(rig, created_by=key_id(rig, minted)),
            "a key that the same member made": await add_key(rig, created_by="mem_1"),
            "an agent": await add_key(rig, preset="agent"),
            "a pipeline": await add_key(rig, preset="ci"),
            "bound itself": await bound(rig),
        }
        others["a key of an agent's making"] = await add_key(rig, created_by=key_id(rig, others["an agent"]))
        details = await needed(process, key, "promote", WHERE)
        for who, other in others.items():
            for tool, dry in product(("approve", "reject"), (True, False)):
                said = await process.ask(tool, key=other, approvalId=details["approvalId"], dryRun=dry)
                assert (said.status, said.body["code"]) == (403, "not_another_identity"), (who, tool, said.body)
        assert await state_of(process, details["approvalId"]) == "waiting"


@pytest.mark.parametrize(
    ("more", "tool"),
    [
        ({"role": Role.MEMBER}, "slot_cleanup"),
        ({"environments": frozenset({"staging"})}, "promote"),
        ({"tools": frozenset({"approve", "reject", "approval_list"})}, "promote"),
    ],
)
async def test_who_may_not_make_the_call_cannot_decide_about_it(more: dict[str, Any], tool: str) -> None:
    state, params = RISKY[tool]
    async with begin(state) as rig:
        process = rig.boot()
        details = await needed(process, await bound(rig), tool, params)
        for verb in ("approve", "reject"):
            await process.refused(verb, 403, "forbidden", key=await add_key(rig, **more), approvalId=details["approvalId"])
        assert await state_of(process, details["approvalId"]) == "waiting"


async def test_approvals_go_with_the_age_of_the_audit_log() -> None:
    async with begin("ready") as rig:
        process, key = rig.boot(), await bound(rig)
        first = (await approved(process, key))["approvalId"]
        rig.clock.jumped += timedelta(days=401)
        await needed(process, key, "promote", WHERE)
        kept = replace(process.kit, policy=replace(process.kit.policy, audit_days=0))
        assert (await prune_approvals(kept), await prune_approvals(process.kit)) == (0, 1)
        (left,) = (await process.ok("approval_list"))["approvals"]
        assert (left["state"], left["approvalId"] != first) == ("waiting", True)


@pytest.mark.parametrize("verb", ["approve", "reject", "approval_get"])
async def test_a_foreign_approval_is_one_that_is_not_there(verb: str) -> None:
    async with begin("ready") as rig:
        process = rig.boot()
        details = await needed(process, await bound(rig), "promote", WHERE)
        there, nowhere = details["approvalId"], "ap_" + "0" * 26
        for key in (await add_key(rig, team="rivals"), await add_key(rig, projects=frozenset({"other"}))):
            said = []
            for which in (there, nowhere):
                body = await process.refused(verb, 404, "approval_not_found", key=key, approvalId=which)
                said.append({name: str(body[name]).replace(which, "*") for name in ("error", "hint", "details", "next")})
            assert said[0] == said[1]
            assert (await process.ok("approval_list", key=key))["approvals"] == []


async def test_a_yes_is_for_one_key_one_tool_one_set_of_params() -> None:
    async with begin("ready") as rig:
        process, key, other = rig.boot(), await bound(rig), await bound(rig)
        details = await approved(process, key)
        before = rig.print()
        plan = {"planId": details["planId"]}
        # another key with the same plan
        theirs = await needed(process, other, "promote", {**WHERE, **plan})
        assert theirs["approvalId"] != details["approvalId"]
        # other params that come to the same plan
        mine = await needed(process, key, "promote", {**WHERE, "slot": "green", **plan})
        assert mine["approvalId"] != details["approvalId"]
        # another tool, another plan
        await process.refused("slot_cleanup", 409, "stale_plan", key=key, **WHERE, slot="green", force=True, **plan)
        await process.refused("promote", 409, "stale_plan", key=key, **WHERE, planId="plan_" + "0" * 32)
        assert (rig.print(), rig.effects()) == (before, [])
        # what is left to a default is the same call
        await process.ok("promote", key=key, projectName="shop", **plan)


async def test_a_state_that_moved_refuses_the_plan_and_a_new_approval_is_asked_for() -> None:
    async with begin("ready") as rig:
        process, key = rig.boot(), await bound(rig)
        details = await approved(process, key)
        await process.ok("deploy", **WHERE, image="shop:3")
        before = rig.print()
        await process.refused("promote", 409, "stale_plan", key=key, **WHERE, planId=details["planId"])
        assert rig.print() == before
        # a plan of how things are now is another plan: the yes was not to this one
        now = await process.ok("promote", key=key, **WHERE, dryRun=True)
        fresh = await needed(process, key, "promote", {**WHERE, "planId": now["planId"]})
        assert rig.print() == before
        assert fresh["approvalId"] != details["approvalId"]
        await process.ok("deploy", **WHERE, image="shop:4")
        newer = await needed(process, key, "promote", WHERE)
        assert await state_of(process, fresh["approvalId"]) == "stale"
        await process.refused("approve", 409, "approval_stale", approvalId=fresh["approvalId"])
        assert newer["plan"]["version"] == "4"


async def test_what_nobody_decided_or_used_in_time_is_over() -> None:
    async with begin("ready") as rig:
        process, key, late = rig.boot(), await bound(rig), timedelta(minutes=61)
        details = await needed(process, key, "promote", WHERE)
        rig.clock.jumped += late
        await process.refused("approve", 409, "approval_expired", approvalId=details["approvalId"])
        assert (await process.ok("approval_list", waiting=True))["approvals"] == []
        again = await approved(process, key)
        assert again["approvalId"] != details["approvalId"]
        rig.clock.jumped += late
        await process.refused("promote", 409, "approval_expired", key=key, **WHERE, planId=again["planId"])
        assert rig.effects() == []


async def test_a_no_is_final_and_asking_again_does_not_wear_anybody_down() -> None:
    async with begin("ready") as rig:
        process, key = rig.boot(), await bound(rig)
        details = await needed(process, key, "promote", WHERE)
        await process.ok("reject", approvalId=details["approvalId"], reason="not on a Friday")
        for more in ({}, {"planId": details["planId"]}):
            body = await process.refused("promote", 409, "approval_rejected", key=key, **WHERE, **more)
            # somebody's own words are data, wherever they are shown (S25)
            assert "Friday" not in body["error"] + body["summary"] + body["hint"]
            assert body["details"]["reason"] == "not on a Friday" and body["untrusted"] == ["details.reason"]
        # the same in other words
        await process.refused("promote", 409, "approval_rejected", key=key, **WHERE, slot="green")
        for verb in ("approve", "reject"):
            await process.refused(verb, 409, "approval_decided", approvalId=details["approvalId"])
        assert len((await process.ok("approval_list"))["approvals"]) == 1


async def test_the_word_of_a_key_that_was_revoked_counts_no_more() -> None:
    async with begin("ready") as rig:
        process, key, other = rig.boot(), await bound(rig), await add_key(rig)
        details = await needed(process, key, "promote", WHERE)
        await process.ok("approve", key=other, approvalId=details["approvalId"])
        await set_key(rig, other, revoked_at=rig.clock.now())
        await process.refused("promote", 409, "approval_void", key=key, **WHERE, planId=details["planId"])
        assert rig.effects() == []


async def test_a_decision_is_rehearsed_and_bound_like_every_change() -> None:
    async with begin("ready") as rig:
        process, key = rig.boot(), await bound(rig)
        details = await needed(process, key, "promote", WHERE)
        plan = await process.ok("approve", approvalId=details["approvalId"], dryRun=True)
        assert await state_of(process, details["approvalId"]) == "waiting"
        await process.refused("reject", 409, "stale_plan", approvalId=details["approvalId"], planId=plan["planId"])
        await process.ok("approve", approvalId=details["approvalId"], planId=plan["planId"], idem="yes")
        assert (await process.ok("approve", approvalId=details["approvalId"], planId=plan["planId"], idem="yes"))["approval"]


async def test_one_key_does_not_bury_who_decides() -> None:
    async with begin("grace") as rig:
        process, key = rig.boot(), await bound(rig)
        for number in range(20):
            await needed(process, key, "rollback", {**WHERE, "reason": f"because {number}"})
        await process.refused("rollback", 409, "too_many_waiting", key=key, **WHERE, reason="one more")
        await needed(process, key, "rollback", {**WHERE, "reason": "because 3"})
        rig.clock.jumped += timedelta(minutes=61)
        await needed(process, key, "rollback", {**WHERE, "reason": "one more"})


# looking


async def test_they_are_paged_and_filtered() -> None:
    async with begin("ready") as rig:
        process = rig.boot()
        ids = [(await needed(process, await bound(rig), "promote", WHERE))["approvalId"] for _ in range(5)]
        await process.ok("reject", approvalId=ids[0])
        first = await process.ok("approval_list", limit=2)
        assert ([each["approvalId"] for each in first["approvals"]], first["more"]) == (ids[:2:-1], True)
        rest = await process.ok("approval_list", before=ids[3])
        assert ([each["approvalId"] for each in rest["approvals"]], rest["more"]) == (ids[2::-1], False)
        waiting = await process.ok("approval_list", waiting=True, projectName="shop")
        assert [each["approvalId"] for each in waiting["approvals"]] == ids[:0:-1]
