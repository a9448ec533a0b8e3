"""What we need remembered of people and their keys: roles of `contracts.store.Registry`."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from codeb.model.access import Approval, Key, Member, Role, Team


class Keys(Protocol):
    """A row is never deleted: a key that is not there never was."""

    async def add(self, key: Key) -> None:
        """Raises `Conflict` (`key_exists`)."""

    async def all(self) -> Sequence[Key]:
        """Revoked and expired ones too, oldest first."""

    async def revoke(self, at: datetime, *key_ids: str) -> None:
        """From `at` on they are worth nothing. Safe to repeat: the first moment stays."""

    async def expire(self, at: datetime, key_id: str) -> None:
        """It ends at `at`, or earlier where it said so."""


class Teams(Protocol):
    """Ids are not used twice: a deleted team's stays taken, with its history."""

    async def add(self, team: Team) -> None:
        """Raises `Conflict` (`team_exists`)."""

    async def ensure(self, team_id: str) -> None:
        """Have a team of this id. Safe to repeat."""

    async def all(self) -> Sequence[Team]:
        """Deleted ones too, by id."""

    async def set(self, team_id: str, *, display_name: str, approval: Approval) -> None: ...

    async def delete(self, at: datetime, team_id: str) -> None:
        """From `at` on its keys are worth nothing. Safe to repeat."""


class Members(Protocol):
    async def add(self, member: Member) -> None:
        """Raises `Conflict` (`member_exists`) while the team has a present member of this name: a constraint says so."""

    async def all(self) -> Sequence[Member]:
        """Removed ones too, oldest first."""

    async def set_role(self, member_id: str, role: Role) -> None:
        """Of a present member; it bounds what they hold from now on."""

    async def remove(self, at: datetime, *member_ids: str) -> None:
        """From `at` on what they hold is worth nothing, and the name is free. Safe to repeat."""
