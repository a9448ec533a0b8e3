"""Teams, members and keys: who may hand on what, and what ends (S5, S9, S13)."""

import re
from datetime import timedelta
from typing import Any

import pytest

from codeb.model.access import Approval, Role
from codeb.model.secret import Secret
from tests.kit import START, Process, add_key, begin

pytestmark = pytest.mark.anyio

OWN = re.compile(r"codeb_([a-zA-Z0-9-]+)_(owner|admin|member|viewer)_([a-zA-Z0-9_-]+)")


async def made(process: Process, tool: str = "token_create", **params: Any) -> tuple[Secret, dict[str, Any]]:
    body = await process.ok(tool, **params)
    return Secret(body["key"]), body


async def test_a_new_key_is_shown_once_and_kept_as_its_digest_only() -> None:
    """S13: 192 random bits, in the form that is promised; the text is in no row but the answer's own."""
    async with begin("active") as rig:
        process = rig.boot()
        key, body = await made(process, role="member", label="laptop")
        match = OWN.fullmatch(key.reveal())
        assert match is not None and match.group(1, 2) == ("main", "member") and len(match[3]) == 32
        assert (await process.ok("whoami", key=key))["keyId"] == body["token"]["keyId"]
        assert key.reveal() not in str(await process.ok("token_list"))
        assert "only time" in body["warnings"][0] and key.reveal() not in body["summary"]
        await process.audit.flush()
        async with rig.store.read() as registry:
            rows = await registry.audit.latest(10)
        assert [row.tool for row in rows if match[3] in repr(row)] == []
        other, _ = await made(process, role="member", label="laptop")
        assert other.reveal() != key.reveal()


@pytest.mark.parametrize(
    ("maker", "asked", "beyond"),
    [
        ({"role": Role.MEMBER}, {"role": "admin"}, ["role"]),
        ({"projects": frozenset({"shop"}), "role": Role.ADMIN}, {"role": "owner"}, ["role"]),
        ({"tools": frozenset({"token_create", "logs"})}, {"role": "viewer", "tools": ["logs", "scan"]}, ["tools"]),
        ({"environments": frozenset({"staging"})}, {"role": "viewer", "environments": ["production"]}, ["environments"]),
        ({"expires_at": START + timedelta(days=1)}, {"role": "viewer", "expires": "2d"}, ["expires_at"]),
    ],
)
async def test_a_key_hands_on_no_more_than_it_has(maker: dict[str, Any], asked: dict[str, Any], beyond: list[str]) -> None:
    async with begin("active") as rig:
        key = await add_key(rig, **maker)
        before = len(rig.store.snapshot.keys)
        for more in ({}, {"dryRun": True}):
            body = await rig.boot().refused("token_create", 403, "forbidden", key=key, **asked, **more)
            assert body["details"]["beyond"] == beyond
        assert len(rig.store.snapshot.keys) == before


async def test_what_is_not_said_is_as_narrow_as_the_maker() -> None:
    async with begin("active") as rig:
        reach: dict[str, Any] = {
            "projects": frozenset({"shop"}), "environments": frozenset({"staging"}),
            "tools": frozenset({"token_create", "deploy", "whoami"}), "expires_at": START + timedelta(days=9),
        }  # fmt: skip
        key = await add_key(rig, **reach)
        process = rig.boot()
        _, body = await made(process, key=key, role="owner")
        token = body["token"]
        assert (token["projects"], token["environments"], token["tools"]) == (
            ["shop"],
            ["staging"],
            ["deploy", "token_create", "whoami"],
        )
        assert token["expiresAt"] == reach["expires_at"].isoformat()
        _, body = await made(process, key=key, preset="ci")
        assert body["token"]["tools"] == ["deploy", "whoami"], "of the preset what the maker has"
        narrow = await add_key(rig, tools=frozenset({"token_create"}))
        said = await process.refused("token_create", 400, "invalid_params", key=narrow, preset="agent")
        assert said["details"]["fields"][0]["field"] == "tools", "an empty list would be no narrowing at all"


async def test_presets() -> None:
    async with begin("ready") as rig:
        process = rig.boot()
        ci, body = await made(process, preset="ci", projects=["shop"], environments=["production"], expires="90d")
        assert (body["token"]["role"], body["token"]["approval"]) == ("member", "none")
        assert (await process.ask("promote", key=ci, projectName="shop")).ok
        for tool, params in (("token_create", {"role": "viewer"}), ("project_create", {"projectName": "blog"})):
            assert (await process.ask(tool, key=ci, **params)).status == 403
        agent, body = await made(process, preset="agent")
        assert (body["token"]["role"], body["token"]["approval"]) == ("member", "human")
        assert not {"approve", "reject", "token_create", "token_rotate"} & set(body["token"]["tools"])
        assert (await process.ok("whoami", key=agent))["approval"] == "human"
        task = await process.ok("task_create", key=agent, projectName="shop", title="Pay", branch="main", files=["src"])
        assert (await process.ok("task_complete", key=agent, taskId=task["task"]["taskId"]))["completed"]
        viewer, _ = await made(process, preset="viewer")
        assert (await process.ask("slot_list", key=viewer)).ok
        assert (await process.ask("deploy", key=viewer, projectName="shop")).status == 403
        await process.refused("token_create", 400, "invalid_params", preset="ci")
        await process.refused("token_create", 404, "project_not_found", preset="ci", projects=["shoq"])
        for wider in ({"role": "admin"}, {"tools": ["token_create"]}):
            await process.refused("token_create", 400, "invalid_params", preset="ci", projects=["shop"], **wider)
        await process.refused("token_create", 400, "invalid_params", preset="agent", approval="none")
        await process.refused("token_create", 400, "invalid_params", label="neither role nor preset")
        await process.refused("token_create", 400, "invalid_params", role="viewer", tools=["delpoy"])


@pytest.mark.parametrize("text", ["2026-02-30T00:00:00Z", "2020-01-01T00:00:00Z", "999999d9", "9999-12-31T23:59:59-23:59"])
async def test_an_end_that_is_none(text: str) -> None:
    async with begin("active") as rig:
        await rig.boot().refused("token_create", 400, "invalid_params", role="viewer", expires=text)


async def test_an_end_is_kept() -> None:
    async with begin("active") as rig:
        process = rig.boot()
        key, body = await made(process, role="viewer", expires="1h")
        assert (await process.ask("whoami", key=key)).ok
        rig.clock.jumped += timedelta(hours=1)
        assert (await process.ask("whoami", key=key)).status == 401
        listed = (await process.ok("token_list", ended=True))["tokens"]
        assert [each["state"] for each in listed if each["keyId"] == body["token"]["keyId"]] == ["expired"]
        assert body["token"]["keyId"] not in str(await process.ok("token_list"))


async def test_a_member_has_their_own_keys_only_and_an_admin_everyone_s() -> None:
    async with begin("active") as rig:
        process = rig.boot()
        ana, first = await made(process, "member_invite", name="Ana@example.com", role="member")
        bo, _ = await made(process, "member_invite", name="bo", role="member")
        _, second = await made(process, key=ana, role="member")
        seen = {each["keyId"] for each in (await process.ok("token_list", key=ana))["tokens"]}
        assert seen == {first["token"]["keyId"], second["token"]["keyId"]}
        assert second["token"]["member"] == "ana@example.com"
        lost = await process.refused("token_revoke", 404, "key_not_found", key=bo, keyId=second["token"]["keyId"])
        none = await process.refused("token_revoke", 404, "key_not_found", key=bo, keyId="key_" + "0" * 28)
        assert lost["error"].replace(second["token"]["keyId"], "*") == none["error"].replace("key_" + "0" * 28, "*")
        await process.refused("token_create", 400, "invalid_params", key=bo, role="viewer", member="ana@example.com")
        assert len((await process.ok("token_list"))["tokens"]) == 4
        await process.ok("token_revoke", keyId=second["token"]["keyId"])


async def test_removing_a_member_ends_what_they_hold_and_says_what_they_made() -> None:
    async with begin("active") as rig:
        process = rig.boot()
        ana, _ = await made(process, "member_invite", name="ana", role="admin")
        await process.ok("member_invite", name="bo", key=ana)
        more, _ = await made(process, key=ana, role="member")
        await process.refused("member_invite", 409, "member_exists", name="ANA")
        _, for_bo = await made(process, key=ana, role="member", member="bo")
        body = await process.ok("member_remove", name="ana")
        assert len(body["revoked"]) == 2 and for_bo["token"]["keyId"] in body["warnings"][0]
        wrong = await process.ask("whoami", key=Secret("codeb_main_owner_wrong"))
        for key in (ana, more):
            said = await process.ask("whoami", key=key)
            assert (said.status, said.body["error"]) == (401, wrong.body["error"])
        await process.refused("member_remove", 404, "member_not_found", name="ana")
        await process.ok("member_invite", name="ana", role="viewer")
        assert (await process.ask("whoami", key=ana)).status == 401, "the name is free, the keys stay dead"


async def test_a_member_is_given_another_role_by_being_invited_with_it() -> None:
    """S9: it bounds what they hold from the next call on, and no key is made."""
    async with begin("active") as rig:
        process = rig.boot()
        ana, _ = await made(process, "member_invite", name="ana", role="admin")
        before = rig.print()
        plan = await process.ok("member_invite", name="ana", role="viewer", dryRun=True)
        assert plan["changes"] == ["change the role of ana from admin to viewer"]
        for said in ({}, {"role": "admin"}):
            body = await process.refused("member_invite", 409, "member_exists", name="ana", **said)
            assert "who is admin" in body["error"]
        assert rig.print() == before
        body = await process.ok("member_invite", name="ana", role="viewer", planId=plan["planId"])
        assert (body["member"]["role"], body["key"], body["token"]) == ("viewer", None, None)
        assert (await process.ok("whoami", key=ana))["role"] == "viewer"
        await process.refused("member_invite", 409, "stale_plan", name="ana", role="member", planId=plan["planId"])
        await process.ok("member_invite", name="ana", role="member")
        assert (await process.ok("whoami", key=ana))["role"] == "member"
        assert len(rig.store.snapshot.keys) == 2, "no key was made"


@pytest.mark.parametrize(
    ("maker", "held", "was", "to", "code"),
    [
        ({"role": Role.ADMIN}, {}, "owner", "viewer", "forbidden"),
        ({"role": Role.ADMIN}, {}, "member", "owner", "forbidden"),
        ({"role": Role.ADMIN}, {"label": "a lesser key only"}, "owner", "viewer", "forbidden"),
        ({"role": Role.ADMIN}, {"label": "a lesser key only"}, "member", "owner", "forbidden"),
        ({"role": Role.ADMIN}, {}, "member", "admin", None),
        ({"role": Role.ADMIN, "projects": frozenset({"shop"})}, {}, "member", "viewer", "forbidden"),
        ({"role": Role.ADMIN, "projects": frozenset({"shop"})}, {"projects": ["shop"]}, "member", "viewer", None),
        ({"role": Role.ADMIN, "projects": frozenset({"shop"})}, {"projects": ["shop"]}, "viewer", "member", None),
        ({"approval": Approval.HUMAN}, {}, "viewer", "admin", "forbidden"),
        ({"approval": Approval.HUMAN}, {}, "admin", "viewer", None),
        ({"expires_at": START + timedelta(1)}, {}, "viewer", "admin", "forbidden"),
    ],
)
async def test_nobody_gives_a_role_beyond_their_own_reach(
    maker: dict[str, Any], held: dict[str, Any], was: str, to: str, code: str | None
) -> None:
    """A member's key of a higher stored role is worth more by a higher role: it is as if it were handed on anew."""
    async with begin("active") as rig:
        process = rig.boot()
        _, body = await made(process, "member_invite", name="ana", role="owner")
        await made(process, "member_invite", name="bo", role="owner")
        if held:
            await process.ok("token_create", member="ana", role="member", **held)
            await process.ok("token_revoke", keyId=body["token"]["keyId"])
        if was != "owner":
            await process.ok("member_invite", name="ana", role=was)
        key, before = await add_key(rig, **maker), rig.print()
        said = await process.ask("member_invite", key=key, name="ana", role=to)
        assert said.body.get("code") == code, said.body
        assert code is None or {**rig.print(), "keys": 0} == {**before, "keys": 0}


async def test_the_last_owner_keeps_the_role() -> None:
    async with begin("active") as rig:
        process = rig.boot()
        boss, _ = await made(process, "member_invite", name="boss", role="owner")
        first = (await process.ok("whoami"))["keyId"]
        await process.ok("token_revoke", key=boss, keyId=first)
        await process.refused("member_invite", 409, "last_owner", key=boss, name="boss", role="admin")
        assert (await process.ok("whoami", key=boss))["role"] == "owner"


async def test_an_admin_has_no_say_over_an_owner() -> None:
    async with begin("active") as rig:
        process, admin = rig.boot(), await add_key(rig, Role.ADMIN)
        await made(process, "member_invite", name="boss", role="owner")
        listed = (await process.ok("token_list", key=admin))["tokens"]
        owner = next(each["keyId"] for each in listed if each["member"] == "boss")
        for tool, params in (
            ("token_revoke", {"keyId": owner}),
            ("token_rotate", {"keyId": owner}),
            ("member_remove", {"name": "boss"}),
            ("member_invite", {"name": "x", "role": "owner"}),
        ):
            await process.refused(tool, 403, "forbidden", key=admin, **params)


async def test_the_last_owner_stays() -> None:
    """S9: neither revoked, nor removed, nor left to expire."""
    async with begin("active") as rig:
        process = rig.boot()
        await process.refused("token_revoke", 409, "last_owner", keyId="key_owner")
        await process.ok("token_create", role="owner", expires="9d")
        await process.refused("token_revoke", 409, "last_owner", keyId="key_owner")
        boss, _ = await made(process, "member_invite", name="boss", role="owner")
        await process.ok("token_revoke", keyId="key_owner")
        assert (await process.ask("whoami")).status == 401
        await process.refused("member_remove", 409, "last_owner", key=boss, name="boss")
        rotated, _ = await made(process, "token_rotate", key=boss, keyId=(await process.ok("whoami", key=boss))["keyId"])
        assert (await process.ask("whoami", key=boss)).ok, "were the answer lost, it could be asked for again"
        rig.clock.jumped += timedelta(seconds=60)
        assert (await process.ask("whoami", key=boss)).status == 401
        assert (await process.ok("whoami", key=rotated))["role"] == "owner"


async def test_a_rotated_key_has_the_same_rights_and_both_are_valid_for_the_overlap() -> None:
    async with begin("active") as rig:
        process = rig.boot()
        old, body = await made(process, preset="ci", projects=["shop"], label="runner")
        new, after = await made(process, "token_rotate", keyId=body["token"]["keyId"], overlapSeconds=60)
        own = ("keyId", "createdAt")
        assert {k: v for k, v in after["token"].items() if k not in own} == {
            k: v for k, v in body["token"].items() if k not in own
        }
        assert (await process.ask("whoami", key=old)).ok and (await process.ask("whoami", key=new)).ok
        rig.clock.jumped += timedelta(seconds=60)
        assert (await process.ask("whoami", key=old)).status == 401 and (await process.ask("whoami", key=new)).ok
        await process.refused("token_rotate", 409, "key_ended", keyId=body["token"]["keyId"])


async def test_a_policy_only_grows_stricter() -> None:
    async with begin("active") as rig:
        process = rig.boot()
        await process.ok("team_settings", approval="name", displayName="Shop ☃")
        await process.refused("team_settings", 403, "approval_only_stricter", approval="none")
        assert (await process.ok("whoami"))["approval"] == "name"
        await process.refused("team_settings", 400, "invalid_params")
        bound, _ = await made(process, role="admin", approval="human")
        said = await process.refused("token_create", 403, "forbidden", key=bound, role="viewer", approval="none")
        assert said["details"]["beyond"] == ["approval"]
        _, body = await made(process, key=bound, role="viewer")
        assert body["token"]["approval"] == "human"


async def test_a_policy_that_nobody_could_satisfy_warns_and_names_the_keys() -> None:
    """Every key descends from the first one, so nobody ever approves a call of that; two members approve each other's."""
    async with begin("ready") as rig:
        process = rig.boot()
        await process.ok("team_settings", approval="name")
        assert (await process.ok("team_settings", approval="name"))["warnings"] == []
        ana, body = await made(process, "member_invite", name="ana", role="admin")
        await made(process, preset="agent")
        for dry in (True, False):
            (warning,) = (await process.ok("team_settings", approval="human", dryRun=dry))["warnings"]
            assert "key_owner" in warning and body["token"]["keyId"] not in warning
        where = {"projectName": "shop", "environment": "production"}
        first = await process.refused("promote", 409, "approval_needed", **where)
        await process.refused("approve", 403, "not_another_identity", key=ana, approvalId=first["details"]["approvalId"])
        asked = await process.refused("promote", 409, "approval_needed", key=ana, **where)
        await process.ok("approve", approvalId=asked["details"]["approvalId"])
        new = await process.ok("team_create", team="other", approval="human")
        assert any("Nobody could approve" in each for each in new["warnings"])


async def test_a_team_is_reached_by_its_own_keys_only() -> None:
    """S5."""
    async with begin("active") as rig:
        process = rig.boot()
        other, _ = await made(process, "team_create", team="My_Team")
        assert (await process.ok("whoami", key=other))["team"] == "my-team"
        assert [each["team"] for each in (await process.ok("team_list"))["teams"]] == ["main"]
        assert (await process.ok("project_list", key=other))["projects"] == []
        for tool, more in (("team_get", {}), ("team_delete", {"confirm": "main"})):
            there = await process.refused(tool, 404, "team_not_found", key=other, team="main", **more)
            none = await process.refused(tool, 404, "team_not_found", key=other, team="nope", **more)
            assert there["error"].replace("main", "nope") == none["error"]
        await process.refused("team_create", 409, "team_exists", team="my-team")
        for narrow in (
            {"projects": frozenset({"shop"})},
            {"tools": frozenset({"team_create"})},
            {"expires_at": START + timedelta(1)},
        ):
            key = await add_key(rig, **narrow)
            await process.refused("team_create", 403, "forbidden", key=key, team="escape")


async def test_a_team_is_deleted_by_its_owner_once_it_is_empty() -> None:
    async with begin("active") as rig:
        process = rig.boot()
        await process.refused("team_delete", 409, "team_not_empty", team="main", confirm="main")
        other, _ = await made(process, "team_create", team="other")
        ana, _ = await made(process, "member_invite", key=other, name="ana", role="owner")
        await process.refused("team_delete", 400, "invalid_params", key=other, team="other")
        body = await process.ok("team_delete", key=ana, team="other", confirm="other")
        assert len(body["revoked"]) == 2
        for key in (other, ana):
            assert (await process.ask("whoami", key=key)).status == 401
        await process.refused("team_create", 409, "team_exists", team="other")
    async with begin("empty") as rig:
        await rig.boot().refused("team_delete", 409, "last_team", team="main", confirm="main")


async def test_a_key_revoked_after_the_gate_saw_it_makes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The transaction asks once more: what was revoked meanwhile must not live on in a key it made."""
    async with begin("active") as rig:
        process, key = rig.boot(), await add_key(rig, Role.ADMIN)
        actor = process.gate.entrance.know(key, None)
        async with rig.store.write() as registry:
            await registry.keys.revoke(START, actor.key_id)
        monkeypatch.setattr(process.gate.entrance, "know", lambda token, ip: actor)
        before = len(rig.store.snapshot.keys)
        for tool, params in (("token_create", {"role": "viewer"}), ("member_invite", {"name": "x"})):
            assert (await process.ask(tool, key=key, **params)).status == 401
        assert (len(rig.store.snapshot.keys), rig.store.snapshot.members) == (before, {})


async def test_the_same_key_again_gives_the_same_key() -> None:
    """P8: one key is made, and shown to who asks again under the same idempotency key."""
    async with begin("active") as rig:
        first = await rig.boot().ok("token_create", role="viewer", idem="once")
        again = await rig.boot().ok("token_create", role="viewer", idem="once")
        assert first["key"] == again["key"] and len(rig.store.snapshot.keys) == 2


ENDING = {
    "member_remove": {"name": "ana"},
    "token_revoke": {"keyId": "key_ci"},
    "team_delete": {"team": "other", "confirm": "other"},
}


@pytest.mark.parametrize("tool", ENDING)
async def test_what_ends_somebody_can_be_rehearsed(tool: str) -> None:
    async with begin("active") as rig:
        process, params = rig.boot(), dict(ENDING[tool])
        other, _ = await made(process, "team_create", team="other")
        await process.ok("member_invite", key=other, name="ana")
        if tool == "token_revoke":
            params["keyId"] = (await made(process, key=other, role="viewer"))[1]["token"]["keyId"]
        before = rig.print()
        plan = await process.ok(tool, key=other, **params, dryRun=True)
        await process.refused(tool, 409, "stale_plan", key=other, **params, planId="plan_" + "0" * 32)
        assert rig.print() == before
        await process.ok(tool, key=other, **params, planId=plan["planId"])
        assert rig.print() != before
