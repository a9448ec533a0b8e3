"""What the tools about teams, members and keys have in common: who is who, by the transaction itself, and making a key."""

import secrets
from collections.abc import Iterable
from dataclasses import dataclass

from codeb.contracts.store import Registry
from codeb.errors import Conflict, Forbidden, NotFound, Unauthenticated
from codeb.model.access import Actor, Key, Member, People, Role, beyond, digest, key_text, wider
from codeb.model.names import did_you_mean
from codeb.model.secret import Secret
from codeb.tools.call import Call

TOKEN_BYTES = 24
"""192 random bits"""
ONCE = "This is the only time the key is shown: CodeB keeps its SHA-256 only. Store it where secrets belong."
FIELDS = {
    "team": "another team", "role": "a higher role", "tools": "more tools", "projects": "more projects",
    "environments": "more environments", "expires_at": "a longer life", "approval": "less approval",
}  # fmt: skip


def known(call: Call) -> People:
    """Everybody as the registry in memory has them: for what only looks, and for dry runs."""
    now = call.kit.store.snapshot
    return People({key.id: key for key in now.keys.values()}, now.teams, now.members, call.kit.world.now())


async def everybody(registry: Registry, call: Call) -> People:
    """Everybody as this transaction sees them."""
    keys, teams, members = await registry.keys.all(), await registry.teams.all(), await registry.members.all()
    return People(
        {key.id: key for key in keys}, {team.id: team for team in teams}, {member.id: member for member in members},
        call.kit.world.now(),
    )  # fmt: skip


def caller(call: Call, people: People, needed: Role) -> Actor:
    """Who calls, once more, with what the key is worth to this transaction: it may have been revoked since the gate saw it.

    Rows of keys are never deleted, so one without a row is not a key of this registry: as the gate took it, so it stays.
    """
    if call.actor.key_id not in people.keys:
        return call.actor
    actor = people.actor(call.actor.key_id)
    if actor is None:
        raise Unauthenticated("This API key is not valid; nothing was done.", hint="Ask an owner of your team for a new one.")
    if not actor.may_use(call.tool, needed):
        raise Forbidden(f"{actor.lacks(call.tool, needed)} Nothing was done.")
    return actor


def whole(actor: Actor, what: str) -> None:
    """Raises `Forbidden` for a key that is narrowed: what is about the whole team is beyond it."""
    if not actor.whole:
        raise Forbidden(
            f"This key is narrowed to some tools, projects or environments, and {what} concerns more; nothing was done.",
            hint="Use a key of the team that is not narrowed.",
        )


def operates(people: People, actor: Actor) -> bool:
    """Whether the caller is of the operators' team, and not narrowed to some projects: then it may see what is of all teams."""
    return actor.team == people.operators and not actor.projects


def operating(people: People, actor: Actor, what: str) -> None:
    """Raises `Forbidden` for a key that is narrowed, and for every team but the operators'."""
    whole(actor, what)
    if not operates(people, actor):
        raise Forbidden(
            f"{what[0].upper()}{what[1:]} concerns every team of this CodeB, so only the team that operates it may do this; "
            "nothing was done.",
            hint="Ask whoever runs this CodeB: the first key is in its home.",
        )


def no_orphan(people: People, actor: Actor) -> None:
    """Raises `NotFound` (`team_not_found`) where the caller's team is not there, which only development mode lets call: what is
    made for it, a key or a project, would be that team's, in production too, from the day somebody makes it."""
    if actor.team not in people.teams:
        raise NotFound(
            f"There is no team {actor.team}; nothing was done.", code="team_not_found", hint="Make it first: team_create."
        )


def owned_still(people: People, after: People, team: str) -> None:
    """Raises `Conflict` (`last_owner`) when the team would be left to nobody."""
    if people.orphans(team, after):
        raise Conflict(
            f"That would leave team {team} without an owner key that is whole and does not expire; nothing was done.",
            code="last_owner", hint="Make another owner key first: token_create with role owner, or member_invite.",
        )  # fmt: skip


def member_of(people: People, actor: Actor, name: str) -> Member:
    """A present member of the caller's team. Raises `NotFound` (`member_not_found`)."""
    found = people.named(actor.team, name)
    if found is None:
        near = did_you_mean(name, [each.name for each in people.present(actor.team)])
        raise NotFound(f"There is no member {name}.", code="member_not_found", hint=near or "See member_list.")
    return found


def own(key: Key, actor: Actor) -> bool:
    """Whether the key is the caller's: the one it calls with, held by the same member, or made with it."""
    held = actor.member is not None and key.member == actor.member
    made = key.created_by == actor.key_id and key.member == actor.member
    return key.team == actor.team and (key.id == actor.key_id or held or made)


def mine(people: People, actor: Actor) -> list[Key]:
    """The keys this caller may see: an admin those of the team, others their own."""
    return [key for key in people.of(actor.team) if actor.role.covers(Role.ADMIN) or own(key, actor)]


def within(keys: Iterable[Key], people: People, actor: Actor, what: str) -> None:
    """Raises `Forbidden` when a living key of these reaches beyond the caller's own."""
    for key in keys:
        found = people.actor(key.id) and beyond(key, actor)
        if found and key.id != actor.key_id:
            raise Forbidden(
                f"{what}: it reaches beyond this key ({', '.join(FIELDS[each] for each in found)}). Nothing was done.",
                hint="Use a key that reaches at least as far.",
            )


def no_wider(key: Key, actor: Actor) -> None:
    """Raises `Forbidden` when a new key would exceed the one that makes it."""
    if found := wider(key, actor):
        raise Forbidden(
            f"A key hands on no more than it has; this is {', '.join(FIELDS[each] for each in found)}. Nothing was done.",
            hint="Ask for less, or use a key that has it; whoami shows what this one has.",
            details={"beyond": list(found)},
        )  # fmt: skip


@dataclass(frozen=True)
class Minted:
    """A new key and its text, which is in nobody's memory but this."""

    key: Key
    text: Secret


def minted(key: Key) -> Minted:
    """The same with a text of its own."""
    text = key_text(key.team, key.role, secrets.token_urlsafe(TOKEN_BYTES))
    return Minted(Key(**{**vars(key), "sha256": digest(text)}), text)
