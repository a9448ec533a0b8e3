"""Members of a team: invite one, list them, remove one with everything they hold."""

from dataclasses import replace
from typing import Any

from pydantic import Field

from codeb.contracts.store import Registry
from codeb.errors import Conflict, Forbidden
from codeb.model.access import Actor, Key, Member, People, Role
from codeb.tools import fields
from codeb.tools.call import Call
from codeb.tools.drafts import Draft, draft
from codeb.tools.people import ONCE, caller, everybody, known, member_of, minted, no_orphan, no_wider, owned_still, within
from codeb.tools.tokens import KeyView, view
from codeb.tools.tool import NextCall, Outcome, Risk, Tool, never


class InviteParams(fields.Changing):
    name: fields.MemberName
    role: fields.RoleName = Field(
        "member",
        description="at most your own; it bounds every key the member holds; said of a member of the team, it is changed",
    )


class MemberView(fields.Result):
    name: str
    role: str
    keys: int
    """usable ones"""
    created_at: str | None
    created_by: str
    removed_at: str | None


class InviteResult(fields.Result):
    member: MemberView
    key: str | None
    """shown once; none for a member who was there already and has another role now"""
    token: KeyView | None


class ListParams(fields.Params):
    removed: bool = Field(False, description="removed ones too")


class ListResult(fields.Result):
    members: list[MemberView]


class RemoveParams(fields.Changing):
    name: fields.MemberName


class RemoveResult(fields.Result):
    member: MemberView
    revoked: list[str]


def _view(member: Member, people: People) -> MemberView:
    held = [key for key in people.keys.values() if key.member == member.id and people.actor(key.id) is not None]
    return MemberView(
        name=member.name, role=member.role.value, keys=len(held),
        created_at=member.created_at.isoformat() if member.created_at else None, created_by=member.created_by,
        removed_at=member.removed_at.isoformat() if member.removed_at else None,
    )  # fmt: skip


# invite


def _inviting(call: Call, params: InviteParams, people: People) -> tuple[Member, Key | None, Draft]:
    """The member, and their first key without a text: as narrow as the one that invites. No key for who is a member already."""
    actor = caller(call, people, Role.ADMIN)
    no_orphan(people, actor)
    if (there := people.named(actor.team, params.name)) is not None:
        return _raised_or_lowered(actor, there, params, people)
    new_id, role = call.kit.world.new_id, Role(params.role)
    member = Member(new_id("mem"), actor.team, params.name, role, people.now, actor.name)
    key = Key(
        new_id("key"), "", actor.team, role, f"first key of {params.name}", actor.tools, actor.projects, actor.environments,
        people.now, actor.expires_at, None, member.id, None, actor.bound, actor.key_id,
    )  # fmt: skip
    no_wider(key, actor)
    plan = {"name": params.name, "role": params.role}
    return member, key, draft("member_invite", plan, [f"add {params.name} as {params.role}", "make their first key"], {})


def _raised_or_lowered(actor: Actor, there: Member, params: InviteParams, people: People) -> tuple[Member, None, Draft]:
    """The member with another role, if one was said: what is left to its default changes nobody."""
    role = Role(params.role)
    if "role" not in params.model_fields_set or role is there.role:
        raise Conflict(
            f"The team has a member {there.name}, who is {there.role}. Nothing was changed.", code="member_exists",
            hint="token_create with member makes one more key for them; another role is given by saying it.",
        )  # fmt: skip
    if not (actor.role.covers(there.role) and actor.role.covers(role)):
        what = f"{there.name} is {there.role}, which" if actor.role.covers(role) else f"The role {role}"
        raise Forbidden(f"{what} is above this key; nothing was done.", hint="Ask an owner.")
    after = people.given(there.id, role)
    most = max(role, there.role, key=lambda each: each.rank)
    held = [replace(key, role=key.role.lesser(most)) for key in people.of(actor.team) if key.member == there.id]
    within(held, people, actor, f"{there.name} cannot be given another role with this key")
    if most is role:
        # what they hold is worth more by it: as if it were handed on anew
        for key in held:
            if after.actor(key.id) is not None:
                no_wider(key, actor)
    owned_still(people, after, actor.team)
    plan = {"name": there.name, "role": role.value}
    change = f"change the role of {there.name} from {there.role} to {role}"
    return replace(there, role=role), None, draft("member_invite", plan, [change], {"id": there.id, "role": there.role.value})


async def _invite(call: Call, params: InviteParams) -> Outcome:
    if params.dry_run:
        _, first, drafted = _inviting(call, params, known(call))
        apply = NextCall("member_invite", {**drafted.plan, "planId": drafted.id}, "do it")
        would = f"add {params.name} to team {call.actor.team}" if first else drafted.changes[0]
        return drafted.shown(f"Would {would}.", apply)

    async def act(registry: Registry) -> InviteResult:
        people = await everybody(registry, call)
        member, key, drafted = _inviting(call, params, people)
        drafted.still_fits(params)
        if key is None:
            await registry.members.set_role(member.id, member.role)
            return InviteResult(member=_view(member, await everybody(registry, call)), key=None, token=None)
        made = minted(key)
        await registry.members.add(member)
        await registry.keys.add(made.key)
        after = await everybody(registry, call)
        return InviteResult(member=_view(member, after), key=made.text.reveal(), token=view(made.key, after))

    done = await call.change(act, lambda result: result.model_dump(by_alias=True, mode="json"))
    if done.token is None:
        return Outcome(done, f"{params.name} is {params.role} of team {call.actor.team} now, and no key was made.")
    said = f"{params.name} is {params.role} of team {call.actor.team}, with the key {done.token.key_id}."
    return Outcome(done, said, (), (ONCE,))


# list


async def _list(call: Call, params: ListParams) -> Outcome:
    people, team = known(call), call.actor.team
    found = [each for each in people.members.values() if each.team == team and (params.removed or each.removed_at is None)]
    views = [_view(each, people) for each in sorted(found, key=lambda member: (member.name, member.id))]
    return Outcome(ListResult(members=views), f"{len(views)} member{'' if len(views) == 1 else 's'} of team {team}.")


# remove


def _removing(call: Call, params: RemoveParams, people: People) -> tuple[Member, list[Key], Actor]:
    actor = caller(call, people, Role.ADMIN)
    member = member_of(people, actor, params.name)
    if not actor.role.covers(member.role):
        raise Forbidden(f"{member.name} is {member.role}, above this key; nothing was done.", hint="Ask an owner.")
    held = [key for key in people.of(actor.team) if key.member == member.id and key.revoked_at is None]
    within(held, people, actor, f"{member.name} cannot be removed with this key")
    owned_still(people, people.without([key.id for key in held], member.id), actor.team)
    return member, held, actor


async def _remove(call: Call, params: RemoveParams) -> Outcome:
    member, held, _ = _removing(call, params, known(call))
    plan = {"name": member.name}
    changes = [f"remove {member.name} ({member.role})", *(f"revoke {key.id}" for key in held)]
    drafted = draft("member_remove", plan, changes, {"id": member.id})
    if params.dry_run:
        apply = NextCall("member_remove", {**plan, "planId": drafted.id}, "remove them")
        return drafted.shown(f"Would remove {member.name}; calls with their keys are refused at once.", apply)
    drafted.still_fits(params)

    async def act(registry: Registry) -> RemoveResult:
        people = await everybody(registry, call)
        gone, keys, _ = _removing(call, params, people)
        await registry.members.remove(people.now, gone.id)
        await registry.keys.revoke(people.now, *(key.id for key in keys))
        after = people.without([key.id for key in keys], gone.id)
        return RemoveResult(member=_view(after.members[gone.id], after), revoked=[key.id for key in keys])

    done = await call.change(act, lambda result: result.model_dump(by_alias=True, mode="json"))
    return Outcome(done, f"{member.name} is removed; keys revoked: {len(done.revoked)}.", (), _left(call, done.revoked))


def _left(call: Call, revoked: list[str]) -> tuple[str, ...]:
    """Keys that were made with theirs and are not theirs: whoever made a key may have kept its text."""
    people = known(call)
    found = [key.id for key in people.of(call.actor.team) if key.created_by in revoked and people.actor(key.id) is not None]
    return (
        (f"Made with their keys and still valid: {', '.join(found)}. Rotate them unless you know who has them.",) if found else ()
    )


TOOLS: tuple[Tool[Any], ...] = (
    Tool(
        "member_invite", "Invite a member",
        "Add a person to your team with a role, and make their first key, no wider than yours; or change a member's role.",
        InviteParams, InviteResult, Role.ADMIN, Risk.CHANGES, _invite, holds_secret=True,
    ),
    Tool(
        "member_list", "List members", "The people of your team.", ListParams, ListResult, Role.VIEWER, Risk.READS, _list,
    ),
    Tool(
        "member_remove", "Remove a member", "Remove a person from your team and revoke every key they hold.",
        RemoveParams, RemoveResult, Role.ADMIN, Risk.DESTROYS, _remove, risky=never,
    ),
)  # fmt: skip
