"""Plans that wait for another identity's yes, and what became of them."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import and_, delete, insert, select, update

from codeb.drivers.store import rows
from codeb.drivers.store.schema import approvals
from codeb.drivers.store.transaction import Transaction
from codeb.errors import Conflict
from codeb.model.approvals import Decision, PlanApproval

_HERE = approvals.c


class SqlApprovals:
    def __init__(self, tx: Transaction) -> None:
        self._tx = tx

    async def add(self, asked: PlanApproval) -> None:
        await self._tx.claim(insert(approvals), rows.approval_values(asked))

    async def get(self, approval_id: str) -> PlanApproval | None:
        row = (await self._tx.read(select(approvals).where(_HERE.id == approval_id))).one
        return rows.approval_of(row) if row else None

    async def of_key(self, key_id: str, limit: int, **only: str) -> Sequence[PlanApproval]:
        this = and_(_HERE.requested_key == key_id, *(_HERE[name] == value for name, value in only.items()))
        newest = select(approvals).where(this).order_by(_HERE.id.desc()).limit(limit)
        return [rows.approval_of(row) for row in (await self._tx.read(newest)).all]

    async def move(self, approval_id: str, was: Decision, to: Decision, **fields: Any) -> None:
        this = (_HERE.id == approval_id) & (_HERE.state == was.value)
        if not await self._tx.write(update(approvals).where(this).values(state=to.value, **fields)):
            raise Conflict(
                f"The approval {approval_id} is not {was} any more; nothing was done.", code="approval_moved",
                hint="See approval_get.",
            )  # fmt: skip

    async def history(
        self, *, team: str, projects: Collection[str] | None, waiting: bool, limit: int, before: str | None
    ) -> Sequence[PlanApproval]:
        statement = select(approvals).where(_HERE.team == team)
        if projects is not None:
            statement = statement.where(_HERE.project.in_(sorted(projects)))
        if waiting:
            statement = statement.where((_HERE.state == Decision.WAITING.value) & (_HERE.expires_at > self._tx.now()))
        if before is not None:
            statement = statement.where(_HERE.id < before)
        newest = statement.order_by(_HERE.id.desc()).limit(limit)
        return [rows.approval_of(row) for row in (await self._tx.read(newest)).all]

    async def prune(self, before: datetime, limit: int) -> int:
        over = _HERE.expires_at < min(before, self._tx.now())
        oldest = (await self._tx.read(select(_HERE.id).where(over).order_by(_HERE.id).limit(limit))).all
        return await self._tx.write(delete(approvals).where(_HERE.id.in_([row["id"] for row in oldest]))) if oldest else 0
