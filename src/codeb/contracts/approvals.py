"""What we need remembered of plans that wait for another identity's yes: a role of `contracts.store.Registry`."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, Protocol

from codeb.model.approvals import Decision, PlanApproval


class Approvals(Protocol):
    """Plans that wait for another identity's yes."""

    async def add(self, asked: PlanApproval) -> None:
        """Raises `Conflict` (code `approval_waiting`) when the same call of the same key waits already."""

    async def get(self, approval_id: str) -> PlanApproval | None: ...

    async def of_key(self, key_id: str, limit: int, **only: str) -> Sequence[PlanApproval]:
        """What one key asked for, newest first; `only` one `body_sha256`, `plan_id` or `state`."""

    async def move(self, approval_id: str, was: Decision, to: Decision, **fields: Any) -> None:
        """Raises `Conflict` (code `approval_moved`) when its state is not `was`: of many that move it one succeeds."""

    async def history(
        self, *, team: str, projects: Collection[str] | None, waiting: bool, limit: int, before: str | None
    ) -> Sequence[PlanApproval]:
        """Newest first. `projects` None: all of the team, those of no project too. `waiting`: can still be decided."""

    async def prune(self, before: datetime, limit: int) -> int:
        """Drop those that were over before this time, the oldest first, so many at the most; never one that is still to be
        decided or used. Gives how many went."""
