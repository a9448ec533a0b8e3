"""Rights, consent, soft deletes and the audit log, where one of them meets another."""

import dataclasses
from typing import Any

import pytest

from codeb.contracts.kit import Kit
from codeb.gate import Asked
from codeb.gate.flood import BURST
from codeb.model.access import Approval, Role, key_text
from codeb.model.limits import Rate
from codeb.model.secret import Secret
from codeb.tools.presets import PRESETS
from tests.kit import OWNER, Process, add_key, begin

pytestmark = pytest.mark.anyio

SHOP = {"projectName": "shop"}
WHERE = {**SHOP, "environment": "production"}


def in_development(kit: Kit) -> Kit:
    return dataclasses.replace(kit, policy=dataclasses.replace(kit.policy, development=True))


async def made(process: Process, **params: Any) -> Secret:
    return Secret((await process.ok("token_create", **params))["key"])


@pytest.mark.parametrize(("preset", "more"), [("agent", {}), ("ci", {"projects": ["shop"], "approval": "human"})])
async def test_a_machine_sees_what_became_of_its_approval_and_decides_about_none(preset: str, more: dict[str, Any]) -> None:
    async with begin("ready") as rig:
        process = rig.boot()
        key = await made(process, preset=preset, **more)
        asked = (await process.refused("promote", 409, "approval_needed", key=key, **WHERE))["details"]
        which = {"approvalId": asked["approvalId"]}
        assert (await process.ok("approval_get", key=key, **which))["approval"]["state"] == "waiting"
        assert [each["approvalId"] for each in (await process.ok("approval_list", key=key))["approvals"]] == [which["approvalId"]]
        for decide in ("approve", "reject"):
            await process.refused(decide, 403, "forbidden", key=key, **which)
        await process.ok("approve", **which)
        body = await process.ok("approval_get", key=key, **which)
        (repeat,) = body["next"]
        await process.ok(repeat["tool"], key=key, **repeat["params"])


def test_no_preset_of_machines_decides_or_hands_anything_on() -> None:
    barred = {"approve", "reject", "token_create", "token_rotate", "member_invite", "team_create", "project_delete"}
    for preset in PRESETS.values():
        assert not barred & preset.tools


async def test_a_key_that_is_narrowed_is_told_so_and_not_that_its_role_falls_short() -> None:
    async with begin("active") as rig:
        key = await add_key(rig, Role.ADMIN, tools=frozenset({"whoami"}))
        body = await rig.boot().refused("slot_list", 403, "forbidden", key=key)
        assert "needs the role" not in body["error"]
        assert "slot_list" in body["error"]


async def test_what_is_on_record_of_a_deleted_project_is_found_by_its_name() -> None:
    async with begin("grace") as rig:
        process, bound = rig.boot(), await add_key(rig, approval=Approval.HUMAN)
        await process.ok("project_delete", **SHOP, confirm="shop")
        asked = await process.refused("project_delete", 409, "approval_needed", key=bound, **SHOP, confirm="shop", purge=True)
        found = (await process.ok("approval_list", **SHOP, waiting=True))["approvals"]
        assert [each["approvalId"] for each in found] == [asked["details"]["approvalId"]]
        assert "project_delete" in [row["tool"] for row in (await process.ok("audit_list", **SHOP))["rows"]]


async def test_what_is_on_record_of_a_purged_project_is_found_by_its_own_team_alone() -> None:
    """Also when another team has a project of that name by then."""
    async with begin("ready") as rig:
        process, bound, rival = rig.boot(), await add_key(rig, approval=Approval.HUMAN), await add_key(rig, team="rivals")
        await process.refused("promote", 409, "approval_needed", key=bound, **WHERE)
        for purge in (False, True):
            await process.ok("project_delete", **SHOP, confirm="shop", purge=purge)
        await process.ok("project_create", **SHOP, key=rival)
        await process.audit.flush()

        async def recorded(**more: Any) -> dict[str, set[str]]:
            lists = {"audit_list": "rows", "event_list": "events", "operation_list": "operations", "approval_list": "approvals"}
            said = {tool: await process.ok(tool, **SHOP, **more) for tool in lists}
            return {tool: {each.get("tool") or each["kind"] for each in said[tool][lists[tool]]} for tool in lists}

        mine = await recorded()
        assert {"deploy", "promote", "project_delete"} <= mine["audit_list"]
        assert {"deploy", "promote", "project_delete"} <= mine["operation_list"]
        assert "project_purged" in mine["event_list"]
        assert mine["approval_list"] == {"promote"}
        (warning,) = (await process.ok("audit_list", **SHOP))["warnings"]
        assert "There is no project shop now" in warning
        theirs = await recorded(key=rival)
        assert theirs == {
            "audit_list": {"workflow_init"}, "event_list": set(), "operation_list": set(), "approval_list": set()
        }  # fmt: skip
        (guess,) = (await process.ok("audit_list", projectName="shap", key=rival))["warnings"]
        assert "Did you mean shop?" in guess


async def test_a_team_whose_projects_are_deleted_is_told_what_is_left_of_them() -> None:
    async with begin("active") as rig:
        process = rig.boot()
        await process.ok("team_create", team="other")
        await process.ok("project_delete", **SHOP, confirm="shop")
        body = await process.refused("team_delete", 409, "team_not_empty", team="main", confirm="main")
        assert "purge" in body["hint"]
        await process.ok("project_delete", **SHOP, confirm="shop", purge=True)
        await process.ok("team_delete", team="main", confirm="main")


async def test_development_makes_neither_key_nor_project_for_a_team_that_is_not_there() -> None:
    """Else that key would be valid, in production too, from the day somebody makes the team; a project would be that team's."""
    async with begin("active") as rig:
        process, claimed = rig.boot(in_development), key_text("later", Role.OWNER, "d" * 32)
        before = len(rig.store.snapshot.keys)
        for dry in (True, False):
            await process.refused("token_create", 404, "team_not_found", key=claimed, role="owner", dryRun=dry)
            await process.refused("member_invite", 404, "team_not_found", key=claimed, name="ana", dryRun=dry)
            await process.refused("project_create", 404, "team_not_found", key=claimed, projectName="blog", dryRun=dry)
        assert len(rig.store.snapshot.keys) == before
        assert "blog" not in rig.store.snapshot.projects
        await process.ok("project_create", key=key_text("main", Role.OWNER, "d" * 32), projectName="blog")


async def test_only_a_whole_key_changes_the_master_key() -> None:
    async with begin("active") as rig:
        process = rig.boot()
        for narrow in ({"projects": frozenset({"shop"})}, {"environments": frozenset({"staging"})}):
            key = await add_key(rig, Role.OWNER, **narrow)
            for dry in (True, False):
                await process.refused("keys_rotate", 403, "forbidden", key=key, dryRun=dry)


def limited(kit: Kit) -> Kit:
    return dataclasses.replace(kit, policy=dataclasses.replace(kit.policy, calls=Rate(5, 60)))


async def test_what_is_refused_before_a_tool_is_found_counts_like_a_call() -> None:
    """S30: what an entry cannot read is a call too, or a key could ask without end."""
    async with begin("active") as rig:
        process = rig.boot(limited)
        for _ in range(5):
            process.gate.refused(Asked("deploy", None, OWNER, "http", "corr-1", "127.0.0.1"), 400, "malformed", "no JSON")
        await process.refused("whoami", 429, "rate_limited")


async def test_a_key_beyond_its_limit_does_not_fill_the_audit_log() -> None:
    """S30: they are counted there, under its key, and none is missing."""
    async with begin("active") as rig:
        process, more = rig.boot(limited), 300
        for _ in range(5):
            await process.ok("whoami")
        for _ in range(BURST + more):
            await process.refused("whoami", 429, "rate_limited")
        await process.audit.close()
        async with rig.store.read() as registry:
            found = [row for row in await registry.audit.run("house", 0, 1000) if row.code == "rate_limited"]
        assert len(found) <= BURST + 5
        assert sum(row.params.get("times", 1) for row in found) == BURST + more
        assert {row.key_id for row in found} == {"key_owner"}


async def test_the_audit_log_says_why_a_call_that_would_show_a_secret_was_refused() -> None:
    async with begin("active") as rig:
        process = rig.boot()
        await process.refused("token_create", 400, "invalid_params", preset="ci")
        await made(process, role="viewer")
        said = await process.gate.call(Asked("audit_list", {"tool": "token_create"}, OWNER, "test", "corr-1", "127.0.0.1"))
        done, refused = said.body["rows"]
        assert "named projects" in refused["summary"]
        assert done["summary"] == "Make a key: what it showed is not on record."


async def test_nobody_is_sent_to_a_tool_that_is_not_theirs() -> None:
    async with begin("ready") as rig:
        process = rig.boot()
        asked = await process.refused("promote", 409, "approval_needed", key=await made(process, preset="agent"), **WHERE)
        which = {"approvalId": asked["details"]["approvalId"]}
        for key, tools in (
            (await add_key(rig, Role.VIEWER), []), (await made(process, preset="agent"), []), (OWNER, ["approve"]),
        ):  # fmt: skip
            assert [each["tool"] for each in (await process.ok("approval_get", key=key, **which))["next"]] == tools
