"""Keys: make one, list them, revoke one, exchange one for a new text with the same rights."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from pydantic import Field

from codeb.contracts.store import Registry
from codeb.errors import Conflict, InvalidParams, NotFound
from codeb.model import grammar
from codeb.model.access import Actor, Approval, Key, People, Role
from codeb.tools import fields
from codeb.tools.call import Call
from codeb.tools.drafts import Draft, draft
from codeb.tools.people import (
    ONCE,
    caller,
    everybody,
    known,
    member_of,
    mine,
    minted,
    no_orphan,
    no_wider,
    owned_still,
    within,
)
from codeb.tools.presets import PRESETS
from codeb.tools.refusals import unknown_project
from codeb.tools.tool import NextCall, Outcome, Risk, Tool, never

SPANS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
MOST_OVERLAP = 30 * 86400
OWN_OVERLAP = 60
"""for the key that asks: were its answer lost, nobody could ask for it again, and a last owner would be locked out"""


class CreateParams(fields.Changing):
    preset: Literal["ci", "agent", "viewer"] | None = Field(
        None, description="ci: deploy named projects; agent: deploy and preview, approval human; viewer: look"
    )
    role: fields.RoleName | None = Field(None, description="at most your own; default: the preset's")
    label: fields.Title = Field("", description="what the key is for")
    member: fields.MemberName | None = Field(None, description="who holds it; default: who holds the key you call with")
    tools: list[fields.ToolName] | None = Field(None, min_length=1, max_length=100, description="only these tools")
    projects: list[fields.ProjectName] | None = Field(None, min_length=1, max_length=100, description="only these projects")
    environments: list[fields.Environment] | None = Field(
        None, min_length=1, max_length=10, description="only these; preview has those of pull requests in it"
    )
    approval: fields.ApprovalName | None = Field(None, description="what a risky call with it needs; at least what yours needs")
    expires: fields.Expiry | None = Field(None, description="when it ends: RFC 3339, or a span from now: 12h, 90d")


class KeyView(fields.Result):
    key_id: str
    label: str
    role: str
    member: str | None
    preset: str | None
    state: str
    projects: list[str]
    environments: list[str]
    tools: list[str]
    approval: str
    expires_at: str | None
    created_at: str | None
    created_by: str | None


class KeyResult(fields.Result):
    key: str
    """shown once"""
    token: KeyView


class ListParams(fields.Params):
    ended: bool = Field(False, description="revoked and expired ones too")


class ListResult(fields.Result):
    tokens: list[KeyView]


class RevokeParams(fields.Changing):
    key_id: fields.KeyId


class RevokeResult(fields.Result):
    token: KeyView
    revoked: bool


class RotateParams(fields.Changing):
    key_id: fields.KeyId
    overlap_seconds: int = Field(
        0,
        ge=0,
        le=MOST_OVERLAP,
        description="how long the old text stays valid beside the new one; the key you call with: at least 60",
    )


class RotateResult(KeyResult):
    replaced: str
    old_ends_at: str


def view(key: Key, people: People) -> KeyView:
    role = people.role(key)
    ended = "revoked" if key.revoked_at else "active" if key.usable(people.now) else "expired"
    holder = people.members.get(key.member or "")
    return KeyView(
        key_id=key.id, label=key.label, role=(role or key.role).value, member=holder.name if holder else None,
        preset=key.preset, state=ended if role is None and ended != "active" else "active" if role else "unusable",
        projects=sorted(key.projects), environments=sorted(key.environments), tools=sorted(key.tools),
        approval=key.approval.value, expires_at=key.expires_at.isoformat() if key.expires_at else None,
        created_at=key.created_at.isoformat() if key.created_at else None, created_by=key.created_by,
    )  # fmt: skip


def refused(field: str, problem: str, hint: str = "") -> InvalidParams:
    return InvalidParams(
        f"{field}: {problem}; nothing was done.", hint=hint, details={"fields": [{"field": field, "problem": problem}]}
    )


def key_of(people: People, actor: Actor, key_id: str) -> Key:
    """A key the caller may see. Raises `NotFound`, the same for one that is not there and one that is not theirs."""
    found = next((key for key in mine(people, actor) if key.id == key_id), None)
    if found is None:
        raise NotFound(f"There is no key {key_id}.", code="key_not_found", hint="See token_list.")
    return found


# create


def _end(text: str | None, now: datetime) -> datetime | None:
    if text is None:
        return None
    span = grammar.DURATION.fullmatch(text)
    try:
        end = now + timedelta(**{SPANS[span[2]]: int(span[1])}) if span else datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError):
        raise refused("expires", "is no moment of the calendar") from None
    if end <= now:
        raise refused("expires", "is over already")
    return end


def _part(field: str, said: list[str] | None, preset: frozenset[str], own: frozenset[str]) -> frozenset[str]:
    """What a key reaches: as it is said, else of the preset what the caller has, else what the caller has. Empty means all."""
    if said is not None:
        if preset and not set(said) <= preset:
            raise refused(field, f"the preset has no {', '.join(sorted(set(said) - preset))}", "Leave the preset out.")
        return frozenset(said)
    if not preset or not own:
        return preset or own
    if not preset & own:
        raise refused(field, "this key has nothing of what the preset is for", "Use a key that is not narrowed so.")
    return preset & own


def _role(params: CreateParams) -> Role:
    if params.preset is None:
        if params.role is None:
            raise refused("role", "say role or preset", "Presets: ci, agent, viewer.")
        return Role(params.role)
    most = PRESETS[params.preset].role
    if params.role is not None and not most.covers(Role(params.role)):
        raise refused("role", f"the preset {params.preset} is for a {most} at the most", "Leave the preset out.")
    return Role(params.role) if params.role is not None else most


def _wanted(call: Call, params: CreateParams, people: People, actor: Actor) -> Key:
    """The key that is asked for, without a text. Raises what is wrong with it."""
    preset = PRESETS[params.preset] if params.preset else None
    least = preset.approval if preset else Approval.NONE
    approval = Approval(params.approval) if params.approval else least.stricter(actor.bound)
    if least.stricter(approval) is not approval:
        raise refused("approval", f"the preset {params.preset} asks for {least}", "Leave the preset out.")
    projects = _part("projects", params.projects, frozenset(), actor.projects)
    if preset and preset.needs_projects and not projects:
        raise refused("projects", f"the preset {params.preset} is for named projects", "Say in projects which.")
    visible = call.projects()
    for name in params.projects or ():
        if name not in visible:
            raise unknown_project(name, visible)
    role = _role(params)
    holder = actor.member
    if params.member is not None:
        holder = member_of(people, actor, params.member).id
        if holder != actor.member and not actor.role.covers(Role.ADMIN):
            raise refused("member", "only an admin makes keys for others")
    key = Key(
        call.kit.world.new_id("key"), "", actor.team, role, params.label,
        _part("tools", params.tools, preset.tools if preset else frozenset(), actor.tools), projects,
        _part("environments", params.environments, frozenset(), actor.environments), people.now,
        _end(params.expires, people.now) or actor.expires_at, None, holder, params.preset, approval, call.actor.key_id,
    )  # fmt: skip
    no_wider(key, actor)
    return key


def _creating(call: Call, params: CreateParams, people: People) -> tuple[Key, Draft]:
    """The key without a text, and its plan, in which is nothing that differs from one moment to the next."""
    actor = caller(call, people, Role.MEMBER)
    no_orphan(people, actor)
    key = _wanted(call, params, people, actor)
    shown = view(key, people).model_dump(by_alias=True)
    plan = {name: value for name, value in shown.items() if name not in ("keyId", "state", "createdAt", "createdBy", "expiresAt")}
    plan["expires"] = params.expires or shown["expiresAt"]
    return key, draft("token_create", plan, [f"make a key: {_said(plan)}"], {})


async def _create(call: Call, params: CreateParams) -> Outcome:
    unknown = sorted(set(params.tools or ()) - _names())
    if unknown:
        raise refused("tools", f"there is no {', '.join(unknown)}", "GET /api lists them.")
    if params.dry_run:
        _, drafted = _creating(call, params, known(call))
        return drafted.shown("Would make a key; its text is shown once it is made.")

    async def act(registry: Registry) -> KeyResult:
        people = await everybody(registry, call)
        wanted, drafted = _creating(call, params, people)
        drafted.still_fits(params)
        made = minted(wanted)
        await registry.keys.add(made.key)
        return KeyResult(key=made.text.reveal(), token=view(made.key, people))

    done = await call.change(act, lambda result: result.model_dump(by_alias=True, mode="json"))
    return Outcome(done, f"Key {done.token.key_id} is made: {done.token.role} of {call.actor.team}.", (), (ONCE,))


def _names() -> set[str]:
    # the catalogue imports this file
    from codeb.tools.catalog import TOOLS as EVERY

    return {tool.name for tool in EVERY}


def _said(plan: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in plan.items() if value)


# list


async def _list(call: Call, params: ListParams) -> Outcome:
    people = known(call)
    found = [view(key, people) for key in mine(people, call.actor) if params.ended or people.actor(key.id) is not None]
    return Outcome(ListResult(tokens=found), f"{len(found)} key{'' if len(found) == 1 else 's'}.")


# revoke


def _revoking(call: Call, params: RevokeParams, people: People) -> Key:
    actor = caller(call, people, Role.MEMBER)
    key = key_of(people, actor, params.key_id)
    within([key], people, actor, f"{key.id} cannot be revoked with this key")
    owned_still(people, people.without([key.id]), actor.team)
    return key


async def _revoke(call: Call, params: RevokeParams) -> Outcome:
    people = known(call)
    key = _revoking(call, params, people)
    plan = {"keyId": key.id}
    drafted = draft("token_revoke", plan, [f"revoke {key.id} ({key.role}, {key.label or 'no label'})"], _state(key))
    if params.dry_run:
        apply = NextCall("token_revoke", {**plan, "planId": drafted.id}, "revoke it")
        return drafted.shown(f"Would revoke {key.id}; calls with it are refused at once.", apply)
    drafted.still_fits(params)

    async def act(registry: Registry) -> RevokeResult:
        now = await everybody(registry, call)
        found = _revoking(call, params, now)
        await registry.keys.revoke(now.now, found.id)
        gone = now.without([found.id])
        return RevokeResult(token=view(gone.keys[found.id], gone), revoked=found.revoked_at is None)

    done = await call.change(act, lambda result: result.model_dump(by_alias=True, mode="json"))
    return Outcome(done, f"{key.id} is revoked." if done.revoked else f"{key.id} was revoked already.")


def _state(key: Key) -> dict[str, Any]:
    return {"revoked": str(key.revoked_at), "expires": str(key.expires_at)}


# rotate


def _rotating(call: Call, params: RotateParams, people: People) -> tuple[Key, Key]:
    """The old key, and the new one without a text: with the old one's rights as they are now."""
    actor = caller(call, people, Role.MEMBER)
    old = key_of(people, actor, params.key_id)
    role = people.role(old)
    if role is None:
        raise Conflict(
            f"{old.id} is worth nothing any more, so there is nothing to exchange.", code="key_ended", hint="Use token_create."
        )
    fresh = replace(
        old, id=call.kit.world.new_id("key"), sha256="", role=role, created_at=people.now, created_by=call.actor.key_id
    )  # fmt: skip
    no_wider(fresh, actor)
    return old, fresh


def _rotation(old: Key, overlap: int) -> Draft:
    plan = {"keyId": old.id, "overlapSeconds": overlap}
    return draft("token_rotate", plan, [f"give {old.id} a successor", f"end {old.id}"], _state(old))


async def _rotate(call: Call, params: RotateParams) -> Outcome:
    old, _ = _rotating(call, params, known(call))
    overlap = max(params.overlap_seconds, OWN_OVERLAP if old.id == call.actor.key_id else 0)
    if params.dry_run:
        drafted = _rotation(old, overlap)
        apply = NextCall("token_rotate", {**drafted.plan, "planId": drafted.id}, "do it")
        return drafted.shown(f"Would exchange {old.id} for a new key with the same rights.", apply)

    async def act(registry: Registry) -> RotateResult:
        people = await everybody(registry, call)
        former, fresh = _rotating(call, params, people)
        _rotation(former, overlap).still_fits(params)
        made, end = minted(fresh), people.now + timedelta(seconds=overlap)
        await registry.keys.add(made.key)
        if overlap:
            await registry.keys.expire(end, former.id)
            end = min(end, former.expires_at or end)
        else:
            await registry.keys.revoke(end, former.id)
        return RotateResult(
            key=made.text.reveal(), token=view(made.key, people), replaced=former.id, old_ends_at=end.isoformat()
        )  # fmt: skip

    done = await call.change(act, lambda result: result.model_dump(by_alias=True, mode="json"))
    until = f"; the old one is valid until {done.old_ends_at}" if overlap else "; the old one is not valid any more"
    return Outcome(done, f"{done.token.key_id} takes the place of {old.id}{until}.", (), (ONCE,))


TOOLS: tuple[Tool[Any], ...] = (
    Tool(
        "token_create", "Make a key",
        "Make an API key that may at most what yours may: by a preset, or by role, tools, projects, environments and end.",
        CreateParams, KeyResult, Role.MEMBER, Risk.CHANGES, _create, holds_secret=True,
    ),
    Tool(
        "token_list", "List keys", "Your own keys; for an admin those of the whole team. Never their text.",
        ListParams, ListResult, Role.MEMBER, Risk.READS, _list,
    ),
    Tool(
        "token_revoke", "Revoke a key", "From now on the key is as unknown as a wrong one. Your own; for an admin everyone's.",
        RevokeParams, RevokeResult, Role.MEMBER, Risk.DESTROYS, _revoke, risky=never,
    ),
    Tool(
        "token_rotate", "Exchange a key",
        "A new text with the same rights; the old one ends at once, or after an overlap in which both are valid.",
        RotateParams, RotateResult, Role.MEMBER, Risk.CHANGES, _rotate, holds_secret=True,
    ),
)  # fmt: skip
