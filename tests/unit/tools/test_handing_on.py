"""What a key that is narrowed, ended or lowered meanwhile may do to keys, members and teams (S9)."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from codeb.model.access import Approval, Role, digest
from codeb.model.secret import Secret
from codeb.tools.call import Call
from tests.kit import START, TEAM, Process, Rig, add_key, begin

pytestmark = pytest.mark.anyio

CALLS: dict[str, dict[str, Any]] = {
    "token_create": {"role": "viewer"},
    "token_revoke": {"keyId": "key_other"},
    "token_rotate": {"keyId": "key_other"},
    "member_invite": {"name": "bo"},
    "member_remove": {"name": "ana"},
    "team_create": {"team": "fresh"},
    "team_settings": {"displayName": "fresh"},
    "team_delete": {"team": TEAM, "confirm": TEAM},
}
"""all that change who may do what"""


def key_id(rig: Rig, key: Secret) -> str:
    return next(each.id for each in rig.store.snapshot.keys.values() if each.sha256 == digest(key))


@pytest.mark.parametrize("tool", CALLS)
async def test_whoever_lost_a_right_after_the_gate_saw_the_key_has_lost_it(tool: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Revoked between the look in memory and the transaction: the transaction is what counts."""
    async with begin("empty") as rig:
        process = rig.boot()
        await add_key(rig, team="others")
        await process.ok("member_invite", name="ana")
        other, mine = await add_key(rig, Role.VIEWER), await add_key(rig)
        params = {**CALLS[tool], **({"keyId": key_id(rig, other)} if "keyId" in CALLS[tool] else {})}
        change = Call.change

        async def revoked_first(call: Call, *words: Any) -> Any:
            async with rig.store.write() as registry:
                await registry.keys.revoke(START, key_id(rig, mine))
            return await change(call, *words)

        monkeypatch.setattr(Call, "change", revoked_first)
        await process.refused(tool, 401, "unauthenticated", key=mine, **params)


@pytest.mark.parametrize("tool", CALLS)
async def test_whoever_was_lowered_after_the_gate_saw_the_key_is_lowered(tool: str) -> None:
    async with begin("empty") as rig:
        process = rig.boot()
        await process.ok("member_invite", name="ana")
        await add_key(rig, team="others")
        other, mine = await add_key(rig, Role.VIEWER), await add_key(rig, Role.VIEWER)
        params = {**CALLS[tool], **({"keyId": key_id(rig, other)} if "keyId" in CALLS[tool] else {})}
        actor = process.gate.entrance.know(await add_key(rig), None)
        was = type(actor)(**{**vars(actor), "key_id": key_id(rig, mine)})
        process.gate.entrance.know = lambda token, ip: was  # type: ignore[method-assign]
        before = rig.print()
        await process.refused(tool, 403, "forbidden", key=mine, **params)
        assert rig.print() == before


async def test_a_first_key_is_as_narrow_as_the_one_that_invites() -> None:
    async with begin("active") as rig:
        process = rig.boot()
        ends = START + timedelta(days=9)
        key = await add_key(
            rig, Role.ADMIN, tools=frozenset({"member_invite", "deploy"}), projects=frozenset({"shop"}),
            environments=frozenset({"staging"}), expires_at=ends, approval=Approval.NAME,
        )  # fmt: skip
        token = (await process.ok("member_invite", key=key, name="bo", role="viewer"))["token"]
        assert (token["tools"], token["projects"], token["environments"]) == (["deploy", "member_invite"], ["shop"], ["staging"])
        assert (token["expiresAt"], token["approval"], token["member"]) == (ends.isoformat(), "name", "bo")
        assert token["createdBy"] == key_id(rig, key)


async def test_a_team_s_first_key_is_bound_like_the_one_that_made_it() -> None:
    """Also by the policy of the team it came from: a new team is no way round it."""
    async with begin("active") as rig:
        process = rig.boot()
        await process.ok("team_settings", approval="name")
        token = (await process.ok("team_create", team="fresh"))["token"]
        assert (token["approval"], token["createdBy"]) == ("name", "key_owner")


@pytest.mark.parametrize(
    "narrow", [{"projects": frozenset({"shop"})}, {"environments": frozenset({"staging"})}, {"tools": frozenset(CALLS)}]
)
async def test_a_narrowed_key_decides_nothing_about_its_team(narrow: dict[str, Any]) -> None:
    async with begin("empty") as rig:
        process, key = rig.boot(), await add_key(rig, **narrow)
        await add_key(rig, team="others")
        before = rig.print()
        for tool in ("team_create", "team_settings", "team_delete"):
            said = await process.refused(tool, 403, "forbidden", key=key, **CALLS[tool])
            assert "narrowed" in said["error"]
        assert rig.print() == before


async def test_a_team_that_only_others_without_a_lasting_owner_would_leave_stays() -> None:
    async with begin("empty") as rig:
        process = rig.boot()
        await add_key(rig, team="others", expires_at=START + timedelta(days=1))
        await process.refused("team_delete", 409, "last_team", team=TEAM, confirm=TEAM)
        await add_key(rig, Role.ADMIN, team="more")
        await process.refused("team_delete", 409, "last_team", team=TEAM, confirm=TEAM)
        await add_key(rig, team="others")
        plan = (await process.ok("team_delete", team=TEAM, confirm=TEAM, dryRun=True))["planId"]
        await add_key(rig)
        await process.refused("team_delete", 409, "stale_plan", team=TEAM, confirm=TEAM, planId=plan)
        await process.ok("team_delete", team=TEAM, confirm=TEAM)


async def test_a_project_made_while_its_team_is_deleted_keeps_the_team(monkeypatch: pytest.MonkeyPatch) -> None:
    async with begin("empty") as rig:
        process = rig.boot()
        await add_key(rig, team="others")
        change = Call.change

        async def made_first(call: Call, *words: Any) -> Any:
            monkeypatch.setattr(Call, "change", change)
            await process.ok("project_create", projectName="blog")
            return await change(call, *words)

        monkeypatch.setattr(Call, "change", made_first)
        await process.refused("team_delete", 409, "team_not_empty", team=TEAM, confirm=TEAM)


async def test_an_id_that_is_taken_is_refused_beforehand_also_one_of_a_team_that_is_gone() -> None:
    async with begin("empty") as rig:
        process = rig.boot()
        await add_key(rig, team="others")
        for more in ({}, {"dryRun": True}):
            await process.refused("team_create", 409, "team_exists", team="others", **more)
        assert (await process.ok("team_create", team="fresh", dryRun=True))["planId"]


async def test_members_end_with_their_team() -> None:
    async with begin("empty") as rig:
        process = rig.boot()
        await add_key(rig, team="others")
        await process.ok("member_invite", name="ana")
        gone = await add_key(rig, revoked_at=START)
        body = await process.ok("team_delete", team=TEAM, confirm=TEAM)
        found = rig.store.snapshot
        assert found.teams[TEAM].deleted_at is not None
        assert all(each.removed_at for each in found.members.values())
        assert all(each.revoked_at for each in found.keys.values() if each.team == TEAM)
        assert key_id(rig, gone) not in body["revoked"], "what had ended before is not told as ended now"


async def test_keys_of_other_teams_are_as_unknown_as_none() -> None:
    """S5."""
    async with begin("empty") as rig:
        process = rig.boot()
        theirs = key_id(rig, await add_key(rig, team="others"))
        for tool in ("token_revoke", "token_rotate"):
            await process.refused(tool, 404, "key_not_found", keyId=theirs)
        assert rig.store.snapshot.keys
        assert theirs not in str(await process.ok("token_list", ended=True))


async def test_machines_keys_are_nobody_s_and_not_each_other_s() -> None:
    """Two keys that no member holds have that in common and nothing else; one that was made for a member is theirs."""
    async with begin("empty") as rig:
        process = rig.boot()
        await process.ok("member_invite", name="bo")
        bo = next(iter(rig.store.snapshot.members))
        one, other = await add_key(rig, Role.MEMBER), await add_key(rig, Role.MEMBER)
        made = await add_key(rig, Role.MEMBER, created_by=key_id(rig, one))
        for_bo = await add_key(rig, Role.MEMBER, created_by=key_id(rig, one), member=bo)
        seen = {each["keyId"] for each in (await process.ok("token_list", key=one))["tokens"]}
        assert seen == {key_id(rig, one), key_id(rig, made)}
        for key in (other, for_bo):
            await process.refused("token_revoke", 404, "key_not_found", key=one, keyId=key_id(rig, key))


async def test_all_that_a_member_holds_is_theirs_whoever_made_it() -> None:
    async with begin("empty") as rig:
        process = rig.boot()
        ana = Secret((await process.ok("member_invite", name="ana"))["key"])
        more = (await process.ok("token_create", member="ana", role="viewer"))["token"]["keyId"]
        listed = {each["keyId"] for each in (await process.ok("token_list", key=ana))["tokens"]}
        assert listed == {key_id(rig, ana), more}
        await process.ok("token_revoke", key=ana, keyId=more)


async def test_what_is_worth_nothing_can_be_revoked_by_any_admin_and_one_s_own_key_always() -> None:
    async with begin("empty") as rig:
        process = rig.boot()
        admin, dead = await add_key(rig, Role.ADMIN), await add_key(rig, expires_at=START)
        await process.ok("token_revoke", key=admin, keyId=key_id(rig, dead))
        await process.ok("member_invite", name="bo", role="viewer")
        bo = next(iter(rig.store.snapshot.members))
        await process.ok("member_invite", name="ana", role="member")
        ana = next(each for each in rig.store.snapshot.members if each != bo)
        above = await add_key(rig, Role.ADMIN, member=ana)
        await process.ok("token_revoke", key=above, keyId=key_id(rig, above))


async def test_a_rotated_key_has_the_role_its_holder_has_by_now_and_never_lives_longer() -> None:
    async with begin("empty") as rig:
        process = rig.boot()
        await process.ok("member_invite", name="ana", role="member")
        ana = next(iter(rig.store.snapshot.members))
        ends = START + timedelta(seconds=30)
        old = await add_key(rig, member=ana, expires_at=ends)
        body = await process.ok("token_rotate", keyId=key_id(rig, old), overlapSeconds=3600)
        assert (body["token"]["role"], body["oldEndsAt"]) == ("member", ends.isoformat())
        assert rig.store.snapshot.keys[digest(Secret(body["key"]))].role is Role.MEMBER
        assert body["token"]["createdBy"] == "key_owner"
        at_once = await process.ok("token_rotate", keyId=body["token"]["keyId"])
        assert (await process.ask("whoami", key=Secret(body["key"]))).status == 401
        assert (await process.ask("whoami", key=Secret(at_once["key"]))).ok


async def test_a_key_that_ended_unseen_gets_no_successor_and_a_plan_ends_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the registry in memory has of it may be over by then."""
    async with begin("empty") as rig:
        process, other = rig.boot(), key_id(rig, await add_key(rig, Role.VIEWER))
        plan = (await process.ok("token_revoke", keyId=other, dryRun=True))["planId"]
        old = rig.store.snapshot
        await process.ok("token_revoke", keyId=other, planId=plan)
        await process.refused("token_revoke", 409, "stale_plan", keyId=other, planId=plan)
        monkeypatch.setattr(type(rig.store), "snapshot", property(lambda _: old))
        await process.refused("token_rotate", 409, "key_ended", keyId=other)


async def test_of_two_that_rotate_by_one_plan_one_does() -> None:
    async with begin("empty") as rig:
        process, mine = rig.boot(), (await add_key(rig))
        plan = (await process.ok("token_rotate", key=mine, keyId=key_id(rig, mine), dryRun=True))["planId"]
        said = await asyncio.gather(
            *(process.ask("token_rotate", key=mine, keyId=key_id(rig, mine), planId=plan) for _ in range(2))
        )
        assert sorted(each.body.get("code", "") for each in said) == ["", "stale_plan"]


async def test_a_bound_key_gets_no_looser_successor() -> None:
    """A member's key that is freer than the one that would exchange it stays who it is."""
    async with begin("empty") as rig:
        process = rig.boot()
        free, bound = await add_key(rig, Role.MEMBER), await add_key(rig, approval=Approval.HUMAN)
        await process.refused("token_rotate", 403, "forbidden", key=bound, keyId=key_id(rig, free))


async def test_who_made_a_key_and_who_holds_it_is_on_record() -> None:
    async with begin("empty") as rig:
        process: Process = rig.boot()
        ana = Secret((await process.ok("member_invite", name="ana", role="member"))["key"])
        token = (await process.ok("token_create", key=ana, role="viewer"))["token"]
        assert (token["member"], token["createdBy"]) == ("ana", key_id(rig, ana))


async def test_an_end_has_to_lie_ahead() -> None:
    async with begin("empty") as rig:
        process = rig.boot()
        now = rig.clock.now().isoformat().replace("+00:00", "Z")
        said = await process.refused("token_create", 400, "invalid_params", role="viewer", expires=now)
        assert "over already" in said["error"]


async def test_who_is_listed() -> None:
    async with begin("empty") as rig:
        process = rig.boot()
        other = await add_key(rig, team="others")
        await process.ok("member_invite", key=other, name="theirs")
        await process.ok("member_invite", name="ana")
        await process.ok("member_invite", name="bo")
        await process.ok("member_remove", name="bo")
        assert [each["name"] for each in (await process.ok("member_list"))["members"]] == ["ana"]
        assert [each["name"] for each in (await process.ok("member_list", removed=True))["members"]] == ["ana", "bo"]


async def test_a_member_above_or_beyond_a_key_is_not_removed_with_it() -> None:
    """Whatever keys the member has left; and a plan is for one member, not for whoever has the name later."""
    async with begin("empty") as rig:
        process, admin = rig.boot(), await add_key(rig, Role.ADMIN)
        narrow = await add_key(rig, Role.ADMIN, projects=frozenset({"shop"}))
        first = (await process.ok("member_invite", name="boss", role="owner"))["token"]["keyId"]
        await process.ok("token_create", member="boss", role="member")
        await process.ok("token_revoke", keyId=first)
        await process.ok("member_invite", name="ana")
        await process.refused("member_remove", 403, "forbidden", key=admin, name="boss")
        await process.refused("member_remove", 403, "forbidden", key=narrow, name="ana")
        plan = (await process.ok("member_remove", key=admin, name="ana", dryRun=True))["planId"]
        await process.ok("member_remove", key=admin, name="ana", planId=plan)
        await process.ok("member_invite", name="ana")
        await process.refused("member_remove", 409, "stale_plan", key=admin, name="ana", planId=plan)


async def test_only_what_was_held_ends_with_a_member() -> None:
    async with begin("empty") as rig:
        process = rig.boot()
        ana = Secret((await process.ok("member_invite", name="ana"))["key"])
        dead = (await process.ok("token_create", key=ana, role="viewer"))["token"]["keyId"]
        await process.ok("token_revoke", keyId=dead)
        body = await process.ok("member_remove", name="ana")
        assert body["revoked"] == [key_id(rig, ana)]
        assert body["warnings"] == [], "what they made is revoked too"
        assert rig.store.snapshot.keys[digest(ana)].revoked_at is not None
