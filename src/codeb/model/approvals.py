"""Approvals: one identity's plan, and another identity's yes to exactly that plan, once."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from codeb.model.access import Actor, Approval, Key, People, Role, Team

STANDS_FOR = timedelta(hours=1)
"""from the asking on: time to reach a person, and too short for a yes that everybody forgot"""

MACHINES = frozenset({"agent", "ci"})
"""presets of keys behind which nobody sits"""


class Decision(StrEnum):
    WAITING = "waiting"
    APPROVED = "approved"
    REJECTED = "rejected"
    USED = "used"
    """its plan was applied: it is worth nothing more"""
    STALE = "stale"
    """the same call was asked for again, and would do something else by then"""
    EXPIRED = "expired"


@dataclass(frozen=True)
class PlanApproval:
    """What one key wants to do, bound to that key, the tool, its params and the state the plan was made from."""

    id: str
    team: str
    tool: str
    project: str | None
    environment: str | None
    params: Mapping[str, Any]
    body_sha256: str
    plan_id: str
    plan: Mapping[str, Any]
    changes: tuple[str, ...]
    touches: Mapping[str, Any]
    state: Decision
    requested_key: str
    requested_by: str
    created_at: datetime
    expires_at: datetime
    decided_key: str | None = None
    decided_by: str | None = None
    decided_at: datetime | None = None
    reason: str | None = None
    used_at: datetime | None = None
    operation_id: str | None = None

    def stands(self, now: datetime) -> Decision:
        """Its state, by what time it is: what nobody decided or used in time is over."""
        late = now >= self.expires_at and self.state in (Decision.WAITING, Decision.APPROVED)
        return Decision.EXPIRED if late else self.state

    @property
    def what(self) -> str:
        """The call in a few words."""
        return " ".join(each for each in (self.tool, self.project, self.environment) if each)


def policy(actor: Actor, team: Team | None) -> Approval:
    """What a risky call of this caller needs: the stricter of what binds its key and its team."""
    return actor.approval.stricter(team.approval) if team else actor.approval


def visible(actor: Actor, asked: PlanApproval) -> bool:
    """Approvals of the caller's team, less those of projects that the key does not reach."""
    if asked.project is None:
        return asked.team == actor.team and not actor.projects
    return actor.sees_project(asked.project, asked.team)


def _line(key_id: str, keys: Mapping[str, Key]) -> Iterator[Key]:
    """A key, the key that made it, and so on. `created_by` is a key's id, or a caller's name, which ends in it."""
    seen: set[str] = set()
    found = keys.get(key_id)
    while found is not None and found.id not in seen:
        seen.add(found.id)
        yield found
        found = keys.get((found.created_by or "").rpartition("/")[2])


def not_another(decider: Actor, asker_key: str, keys: Mapping[str, Key]) -> str:
    """Why the decider does not count as another identity that can be believed; empty when it does. `keys` by id.

    A key inherits what the keys were that made it: else whoever may make keys could approve its own plans.
    """
    asker = keys.get(asker_key)
    member = asker.member if asker else None
    line = list(_line(decider.key_id, keys))
    if not line or decider.key_id == asker_key:
        return "the key that asked"
    if any(each.id == asker_key for each in line):
        return "a key that was made by the one that asked"
    makers = {(each.created_by or "").rpartition("/")[2] for each in line}
    if member is not None and (member in makers or any(each.member == member for each in line)):
        return "a key of the same member as the one that asked"
    if any(each.preset in MACHINES for each in line):
        return "a machine's key"
    # The team's own policy does not count here: under it each waits for another, and none could say yes.
    if any(each.approval is Approval.HUMAN for each in line):
        return "a key whose own risky calls wait for an approval"
    return ""


def stuck(team: str, people: People) -> list[Key]:
    """Keys whose risky calls nobody of the team could approve as it is now, should they need it; viewers make none."""
    living = {key.id: actor for key in people.of(team) if (actor := people.actor(key.id)) and actor.role.covers(Role.MEMBER)}
    return [
        people.keys[key_id] for key_id, asker in living.items()
        if not any(
            each.role.covers(asker.role.lesser(Role.ADMIN)) and not not_another(each, key_id, people.keys)
            for each in living.values()
        )
    ]  # fmt: skip


def nobody_stands_by(asked: PlanApproval, people: People) -> bool:
    """Whether the key that approved is worth nothing any more: its word is not either."""
    return people.actor(asked.decided_key or "") is None
