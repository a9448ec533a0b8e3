"""Operations, their steps and their locks.

Every write that states a fence is one UPDATE that also asks whether all locks of the operation still have that fence:
no row changes, and `FenceLost` is raised, when one of them has passed on or was freed.
"""

import functools
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import ColumnElement, bindparam, func, insert, or_, select, update

from codeb.drivers.store import rows
from codeb.drivers.store.schema import operation_locks, operation_steps, operations
from codeb.drivers.store.transaction import Transaction, upsert
from codeb.errors import Conflict, FenceLost, InternalFault, NotFound
from codeb.model.conflicts import busy
from codeb.model.journal import Operation, OpState, StepRow
from codeb.model.names import Place

OPEN = tuple(state.value for state in OpState if not state.terminal)
CHANGEABLE = Operation.__dataclass_fields__.keys() - {"id", "places", "fence", "created_at", "updated_at"}

_OPS, _STEPS, _LOCKS = operations.c, operation_steps.c, operation_locks.c


def _at(places: Sequence[Place]) -> ColumnElement[bool]:
    return or_(*((_LOCKS.project == place.project) & (_LOCKS.environment == place.environment) for place in places))


def _held() -> ColumnElement[bool]:
    """The operation row `the_id`, if every place of it is still locked by it with `the_fence`."""
    mine = select(func.count()).select_from(operation_locks)
    mine = mine.where((_LOCKS.operation_id == bindparam("the_id")) & (_LOCKS.fence == bindparam("the_fence")))
    return (_OPS.id == bindparam("the_id")) & (_OPS.place_count == mine.scalar_subquery())


# Built once: every step of every operation runs these.
HELD = select(_OPS.id).where(_held())
FENCED = update(operations).where(_held())


@functools.cache
def _put_step(dialect: str) -> Any:
    return upsert(dialect, operation_steps)


@functools.cache
def _put_lock(dialect: str) -> Any:
    return upsert(dialect, operation_locks)


class SqlJournal:
    def __init__(self, tx: Transaction) -> None:
        self._tx = tx

    # locks

    async def _locks(self, places: Sequence[Place]) -> Sequence[Any]:
        statement = select(operation_locks).where(_at(places)).order_by(_LOCKS.project, _LOCKS.environment)
        return (await self._tx.read(statement)).all

    async def _lock(self, operation: Operation, fence: int, owner: str) -> None:
        now = self._tx.now()
        for place in sorted(operation.places):
            row = {
                "project": place.project, "environment": place.environment, "operation_id": operation.id,
                "fence": fence, "owner": owner, "renewed_at": now,
            }  # fmt: skip
            await self._tx.write(_put_lock(self._tx.dialect), row)

    async def open(self, operation: Operation, *, owner: str) -> Operation:
        """Raises `Busy`; then nothing was written."""
        locks = await self._locks(operation.places)
        for lock in locks:
            if lock["operation_id"] is not None:
                raise busy(await self._known(lock["operation_id"]))
        opened = replace(operation, fence=1 + max((lock["fence"] for lock in locks), default=0))
        await self._tx.claim(insert(operations), rows.operation_values(opened))
        await self._lock(opened, opened.fence, owner)
        self._tx.operations[opened.id] = opened
        return opened

    async def take_over(self, operation_id: str, *, owner: str) -> Operation:
        """Raises `NotFound`, or `Conflict` (`already_ended`)."""
        operation = await self._known(operation_id)
        if operation.state.terminal:
            raise Conflict(f"Operation {operation_id} has already {operation.state}.", code="already_ended")
        locks = await self._locks(operation.places)
        if any(lock["operation_id"] not in (operation_id, None) for lock in locks):
            raise FenceLost(f"another operation holds a place of {operation_id}")
        fence = 1 + max((lock["fence"] for lock in locks), default=0)
        taken = replace(operation, fence=fence, updated_at=self._tx.now())
        fields = {"fence": fence, "updated_at": taken.updated_at}
        await self._tx.write(update(operations).where(_OPS.id == operation_id).values(**fields))
        await self._lock(taken, fence, owner)
        self._tx.operations[operation_id] = taken
        return taken

    async def renew(self, owner: str) -> None:
        mine = (_LOCKS.owner == owner) & _LOCKS.operation_id.is_not(None)
        await self._tx.write(update(operation_locks).where(mine).values(renewed_at=self._tx.now()))

    async def abandoned(self, *, home: str, lease_seconds: float) -> Sequence[Operation]:
        """Oldest first. A stamp from the future is as suspect as an old one: nobody alive leaves either for long."""
        statement = (
            select(_LOCKS.operation_id, _LOCKS.owner, _LOCKS.renewed_at)
            .join(operations, _OPS.id == _LOCKS.operation_id)
            .where(_OPS.state.in_(OPEN))
        )
        now, gone = self._tx.now(), set()
        for lock in (await self._tx.read(statement)).all:
            age = abs((now - lock["renewed_at"]).total_seconds())
            if age > lease_seconds or (lock["owner"] or "").partition(":")[0] == home:
                gone.add(lock["operation_id"])
        return await self._select(select(operations).where(_OPS.id.in_(sorted(gone))).order_by(_OPS.id)) if gone else []

    async def holds(self, operation_id: str, fence: int) -> None:
        if not (await self._tx.read(HELD, {"the_id": operation_id, "the_fence": fence})).all:
            raise FenceLost(f"operation {operation_id} does not hold its lock with fence {fence} any more")

    # fenced writes

    async def _fenced(self, operation_id: str, fence: int, fields: dict[str, Any]) -> None:
        fields["updated_at"] = self._tx.now()
        values = {**rows.operation_fields(fields), "the_id": operation_id, "the_fence": fence}
        if not await self._tx.write(FENCED, values):
            raise FenceLost(f"operation {operation_id} does not hold its lock with fence {fence} any more")
        former = self._tx.operations.get(operation_id) or self._tx.known.get(operation_id)
        changed = replace(former, **fields) if former else await self._known(operation_id)
        self._tx.operations[operation_id] = None if changed.state.terminal else changed

    async def step(self, fence: int, row: StepRow) -> None:
        await self._fenced(row.operation_id, fence, {"step": row.name})
        await self._tx.write(_put_step(self._tx.dialect), rows.step_values(row))

    async def change(self, operation_id: str, fence: int, **fields: Any) -> None:
        if unknown := fields.keys() - CHANGEABLE:
            raise InternalFault(f"an operation has no changeable {', '.join(sorted(unknown))}")
        await self._fenced(operation_id, fence, fields)

    async def close(self, operation_id: str, fence: int, state: OpState, **fields: Any) -> None:
        if not state.terminal:
            raise InternalFault(f"an operation does not end as {state}")
        await self.change(operation_id, fence, **fields, state=state, ended_at=self._tx.now())
        freed = {"operation_id": None, "owner": None, "renewed_at": self._tx.now()}
        await self._tx.write(update(operation_locks).where(_LOCKS.operation_id == operation_id).values(**freed))

    async def ask_cancel(self, operation_id: str) -> None:
        """Without a fence: anybody who may can ask. One that has ended stays as it is."""
        asked = (_OPS.id == operation_id) & _OPS.state.in_(OPEN)
        if await self._tx.write(update(operations).where(asked).values(cancel_requested=True)):
            self._tx.operations[operation_id] = await self._known(operation_id)

    # reading

    async def _select(self, statement: Any) -> list[Operation]:
        return [rows.operation_of(row) for row in (await self._tx.read(statement)).all]

    async def _known(self, operation_id: str) -> Operation:
        found = await self.get(operation_id)
        if found is None:
            raise NotFound(f"There is no operation {operation_id}.", code="operation_not_found", hint="Call operation_list.")
        return found

    async def get(self, operation_id: str) -> Operation | None:
        found = await self._select(select(operations).where(_OPS.id == operation_id))
        return found[0] if found else None

    async def steps(self, operation_id: str) -> Sequence[StepRow]:
        """In their order."""
        mine = select(operation_steps).where(_STEPS.operation_id == operation_id).order_by(_STEPS.index)
        return [rows.step_of(row) for row in (await self._tx.read(mine)).all]

    async def running(self, place: Place) -> Operation | None:
        here = select(operations).join(operation_locks, _OPS.id == _LOCKS.operation_id).where(_at([place]))
        found = await self._select(here)
        return found[0] if found else None

    async def open_ones(self) -> Sequence[Operation]:
        """All that have not ended; for the snapshot."""
        return await self._select(select(operations).where(_OPS.state.in_(OPEN)).order_by(_OPS.id))

    async def history(
        self, *, team: str, project: str | None, environment: str | None, open_only: bool, limit: int, before: str | None
    ) -> Sequence[Operation]:
        statement = select(operations).where(_OPS.team == team)
        if project is not None:
            statement = statement.where(_OPS.project == project)
        if environment is not None:
            mark = f"/{environment} " if project is None else rows.place_mark(project, environment)
            statement = statement.where(_OPS.places.contains(mark, autoescape=True))
        if open_only:
            statement = statement.where(_OPS.state.in_(OPEN))
        if before is not None:
            statement = statement.where(_OPS.id < before)
        return await self._select(statement.order_by(_OPS.id.desc()).limit(limit))
