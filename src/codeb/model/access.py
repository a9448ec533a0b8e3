"""Who may do what: roles, the reach of a key, and the one question `may`."""

import re
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from functools import cached_property
from typing import Any

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


_RANKS = {role: rank for rank, role in enumerate(Role)}


class Approval(StrEnum):
    """What a risky call needs before it is applied: nothing more, the name typed as `confirm`, or another identity's yes."""

    NONE = "none"
    NAME = "name"
    HUMAN = "human"

    def stricter(self, other: "Approval") -> "Approval":
        """Of two policies the one that asks for more: neither a team nor a key can loosen the other's."""
        return max(self, other, key=list(Approval).index)


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

    def usable(self, now: datetime) -> bool:
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)

    @cached_property
    def actor(self) -> "Actor":
        """Who calls with this key."""
        return Actor(self.id, self.team, self.role, self.tools, self.projects, self.environments)


@dataclass(frozen=True)
class Actor:
    """Who is calling, as the store says it: never as the text of the key claims."""

    key_id: str
    team: str
    role: Role
    tools: frozenset[str] = frozenset()
    projects: frozenset[str] = frozenset()
    environments: frozenset[str] = frozenset()

    @property
    def name(self) -> str:
        """How history names this caller."""
        return f"{self.team}/{self.role}/{self.key_id}"

    def sees_project(self, name: str, team: str) -> bool:
        return team == self.team and (not self.projects or name in self.projects)

    def may_use(self, tool: str, needed: Role) -> bool:
        return self.role.covers(needed) and (not self.tools or tool in self.tools)

    def may_touch(self, environment: str) -> bool:
        return not self.environments or environment in self.environments


API_KEY = re.compile(r"codeb_[a-z0-9-]{1,40}_(viewer|member|admin|owner)_[A-Za-z0-9_-]+")


def holds_key(value: Any) -> bool:
    """Whether an API key is in this text, or anywhere in this plain value."""
    text = value if isinstance(value, str) else str(value)
    return "codeb_" in text and any(API_KEY.finditer(text))


def key_text(team: str, role: Role, token: str) -> Secret:
    """The text a person is given once: `codeb_{team}_{role}_{token}`."""
    return Secret(f"codeb_{team}_{role.value}_{token}")
