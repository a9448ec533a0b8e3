"""Who may do what: roles, the reach of a key, what it is worth now, and what it may hand on (S9)."""

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from codeb.model.grammar import PULL_REQUEST
from codeb.model.secret import Secret


class Role(StrEnum):
    VIEWER = "viewer"
    MEMBER = "member"
    ADMIN = "admin"
    OWNER = "owner"

    @property
    def rank(self) -> int:
        return _RANKS[self]

    def covers(self, needed: "Role") -> bool:
        return self.rank >= needed.rank

    def lesser(self, other: "Role") -> "Role":
        return self if other.covers(self) else other


_RANKS = {role: rank for rank, role in enumerate(Role)}


class Approval(StrEnum):
    """What a risky call needs before it is applied: nothing more, the name typed as `confirm`, or another identity's yes."""

    NONE = "none"
    NAME = "name"
    HUMAN = "human"

    def stricter(self, other: "Approval") -> "Approval":
        """Of two policies the one that asks for more: neither a team nor a key can loosen the other's."""
        return other if _STRICTNESS[other] > _STRICTNESS[self] else self


_STRICTNESS = {approval: rank for rank, approval in enumerate(Approval)}


@dataclass(frozen=True)
class Team:
    """Who owns projects, keys and records. `approval` binds every key of it, at least so strictly."""

    id: str
    display_name: str = ""
    approval: Approval = Approval.NONE
    created_at: datetime | None = None
    created_by: str | None = None
    deleted_at: datetime | None = None


@dataclass(frozen=True)
class Member:
    """A person of a team. The role now bounds every key the member holds (S9); a removed member's keys are worth nothing."""

    id: str
    team: str
    name: str
    role: Role
    created_at: datetime | None = None
    created_by: str = ""
    removed_at: datetime | None = None


@dataclass(frozen=True)
class Key:
    """A stored API key: only the SHA-256 of its text, and what it reaches. Empty reach means no narrowing."""

    id: str
    sha256: str
    team: str
    role: Role
    label: str = ""
    tools: frozenset[str] = field(default_factory=frozenset)
    projects: frozenset[str] = field(default_factory=frozenset)
    environments: frozenset[str] = field(default_factory=frozenset)
    created_at: datetime | None = None
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
    member: str | None = None
    """id of the member who holds it; None: it is nobody's in particular (the first key, a machine's)"""
    preset: str | None = None
    approval: Approval = Approval.NONE
    created_by: str | None = None
    """id of the key that made it; None: CodeB itself, at the first start"""

    def usable(self, now: datetime) -> bool:
        """By what the key itself says; `worth` says the rest."""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)


@dataclass(frozen=True)
class Actor:
    """Who is calling, as the store says it: never as the text of the key claims."""

    key_id: str
    team: str
    role: Role
    tools: frozenset[str] = frozenset()
    projects: frozenset[str] = frozenset()
    environments: frozenset[str] = frozenset()
    member: str | None = None
    """id of the member who holds the key"""
    expires_at: datetime | None = None
    bound: Approval = Approval.NONE
    """what the key itself asks for"""
    approval: Approval = Approval.NONE
    """what binds its calls: the key's policy or the team's, whichever asks for more"""
    preset: str | None = None

    @property
    def name(self) -> str:
        """How history names this caller."""
        return f"{self.team}/{self.role}/{self.key_id}"

    def sees_project(self, name: str, team: str) -> bool:
        return team == self.team and (not self.projects or name in self.projects)

    def may_use(self, tool: str, needed: Role) -> bool:
        return self.role.covers(needed) and (not self.tools or tool in self.tools)

    def lacks(self, tool: str, needed: Role) -> str:
        """Why it may not use a tool, in words."""
        if not self.role.covers(needed):
            return f"{tool} needs the role {needed}; this key is {self.role}."
        return f"This key is narrowed to other tools than {tool}."

    def may_touch(self, environment: str) -> bool:
        return not self.environments or _reached(environment, self.environments)

    @property
    def whole(self) -> bool:
        """Whether it is narrowed to nothing: only such a key is about the team itself."""
        return not (self.tools or self.projects or self.environments)


@dataclass(frozen=True)
class People:
    """Everybody at one moment: keys by id, teams and members by id, ended ones too."""

    keys: Mapping[str, Key]
    teams: Mapping[str, Team]
    members: Mapping[str, Member]
    now: datetime

    def actor(self, key_id: str) -> Actor | None:
        """See `worth`; None also for a key that is not there."""
        key = self.keys.get(key_id)
        return worth(key, self.teams, self.members, self.now) if key is not None else None

    def role(self, key: Key) -> Role | None:
        """What the key's role comes to now; None when it is worth nothing."""
        actor = worth(key, self.teams, self.members, self.now)
        return actor.role if actor is not None else None

    def of(self, team: str) -> list[Key]:
        """Its keys, oldest first."""
        return sorted((key for key in self.keys.values() if key.team == team), key=lambda key: key.id)

    def named(self, team: str, name: str) -> Member | None:
        """Its present member of this name."""
        return next((each for each in self.present(team) if each.name == name), None)

    @property
    def operators(self) -> str | None:
        """The team that operates this installation: the oldest there is. What concerns all teams at once is its alone."""
        there = [(each.created_at, each.id) for each in self.teams.values() if each.created_at and each.deleted_at is None]
        return min(there)[1] if there else None

    def present(self, team: str) -> list[Member]:
        return sorted((each for each in self.members.values() if each.team == team and not each.removed_at), key=lambda m: m.name)

    def without(self, ended: Iterable[str], member: str | None = None) -> "People":
        """As if these keys were revoked and this member removed."""
        keys = {**self.keys, **{each: replace(self.keys[each], revoked_at=self.now) for each in ended}}
        gone = {member: replace(self.members[member], removed_at=self.now)} if member is not None else {}
        return replace(self, keys=keys, members={**self.members, **gone})

    def given(self, member: str, role: Role) -> "People":
        """As if this member had this role."""
        return replace(self, members={**self.members, member: replace(self.members[member], role=role)})

    def owned(self, team: str) -> tuple[bool, bool]:
        """Whether somebody owns the team now, and whether somebody does for good: a whole owner key that does not expire."""
        owners = [actor for key in self.of(team) if (actor := self.actor(key.id)) and actor.role is Role.OWNER and actor.whole]
        return bool(owners), any(each.expires_at is None for each in owners)

    def orphans(self, team: str, after: "People") -> bool:
        """Whether what leads from here to `after` would leave the team to nobody, at once or in time."""
        before, later = self.owned(team), after.owned(team)
        return any(was and not still for was, still in zip(before, later, strict=True))


def worth(key: Key, teams: Mapping[str, Team], members: Mapping[str, Member], now: datetime) -> Actor | None:
    """Who calls with this key now: the least of its stored role, its holder's role now, and its scope.

    None where it is worth nothing: revoked, expired, its holder removed, its team deleted or not there.
    """
    team, role, usable = teams.get(key.team), key.role, key.usable(now)
    if team is None or team.deleted_at is not None or not usable:
        return None
    if key.member is not None:
        holder = members.get(key.member)
        if holder is None or holder.team != key.team or holder.removed_at is not None:
            return None
        role = role.lesser(holder.role)
    return Actor(
        key.id, key.team, role, key.tools, key.projects, key.environments, key.member, key.expires_at, key.approval,
        team.approval.stricter(key.approval), key.preset,
    )  # fmt: skip


def _within(inner: frozenset[str], outer: frozenset[str]) -> bool:
    """An empty set is no narrowing, so it is within nothing but itself."""
    return not outer or (bool(inner) and inner <= outer)


def _reached(environment: str, environments: frozenset[str]) -> bool:
    """`preview` stands for its class: the environments of pull requests are in it."""
    return environment in environments or ("preview" in environments and PULL_REQUEST.fullmatch(environment) is not None)


def beyond(key: Key, actor: Actor) -> tuple[str, ...]:
    """In what a key reaches beyond this caller, by the names of its fields: what the caller has no say over."""
    known = {each for each in key.environments if _reached(each, actor.environments)}
    found = [] if key.team == actor.team else ["team"]
    found += [] if actor.role.covers(key.role) else ["role"]
    reach = ("tools", "projects")
    found += [name for name in reach if not _within(getattr(key, name), getattr(actor, name))]
    return (*found, *(() if _within(key.environments, actor.environments | known) else ("environments",)))


def wider(key: Key, actor: Actor) -> tuple[str, ...]:
    """In what a new key would exceed the one that makes it: nothing, or the key is not made."""
    found = list(beyond(key, actor))
    if actor.expires_at is not None and (key.expires_at is None or key.expires_at > actor.expires_at):
        found.append("expires_at")
    if key.approval.stricter(actor.bound) is not key.approval:
        found.append("approval")
    return tuple(found)


def digest(token: Secret) -> str:
    """What is stored of the text of a key."""
    return hashlib.sha256(token.reveal().encode("utf-8", "surrogatepass")).hexdigest()


KEY_FORM = re.compile(r"codeb_([a-zA-Z0-9-]{1,64})_(owner|admin|member|viewer)_([a-zA-Z0-9_-]{1,256})")
"""the form of a key's text; the lengths are bounds, far beyond any key CodeB makes"""
DEVELOPMENT = "development_"
"""how the id of a key begins that only development mode accepts, so that every record of what it did says so"""


def development_key(text: Secret, sha256: str) -> Key | None:
    """What development mode makes of an unregistered key: the role and the team that it names, and everything within.

    None for a text that has not the form of a key. Nothing else may call this: elsewhere a claim is never believed.
    """
    match = KEY_FORM.fullmatch(text.reveal())
    return Key(f"{DEVELOPMENT}{sha256[:12]}", sha256, match[1], Role(match[2]), "development") if match else None


API_KEY = re.compile(r"codeb_[a-zA-Z0-9-]{1,40}_(viewer|member|admin|owner)_[A-Za-z0-9_-]+")


def holds_key(value: Any) -> bool:
    """Whether an API key is in this text, or anywhere in this plain value."""
    text = value if isinstance(value, str) else str(value)
    return "codeb_" in text and any(API_KEY.finditer(text))


def key_text(team: str, role: Role, token: str) -> Secret:
    """The text a person is given once: `codeb_{team}_{role}_{token}`."""
    return Secret(f"codeb_{team}_{role.value}_{token}")
