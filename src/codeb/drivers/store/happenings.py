"""What happened by itself: events, and what a replay could not add."""

from collections.abc import Sequence

from sqlalchemy import or_, select, update

from codeb.drivers.store import rows
from codeb.drivers.store.schema import conflicts, events
from codeb.drivers.store.transaction import Transaction
from codeb.errors import NotFound
from codeb.model.events import Event, Unreplayed


class SqlEvents:
    def __init__(self, tx: Transaction) -> None:
        self._tx = tx

    async def add(self, *happened: Event) -> None:
        """Safe to repeat: whoever heard nothing of a commit tells the same events again."""
        if happened:
            fresh = self._tx.insert(events).on_conflict_do_nothing()
            await self._tx.write(fresh, [rows.event_values(each) for each in happened])

    async def latest(self, *, team: str | None, project: str | None, limit: int, before: str | None) -> Sequence[Event]:
        statement = select(events)
        if team is not None:
            statement = statement.where(or_(events.c.team == team, events.c.team.is_(None)))
        if project is not None:
            statement = statement.where(events.c.project == project)
        if before is not None:
            statement = statement.where(events.c.id < before)
        newest = statement.order_by(events.c.id.desc()).limit(limit)
        return [rows.event_of(row) for row in (await self._tx.read(newest)).all]


class SqlConflicts:
    def __init__(self, tx: Transaction) -> None:
        self._tx = tx

    async def add(self, conflict: Unreplayed) -> None:
        fresh = self._tx.insert(conflicts).values(**rows.conflict_values(conflict))
        await self._tx.write(fresh.on_conflict_do_nothing())

    async def open_ones(self) -> Sequence[Unreplayed]:
        left = select(conflicts).where(conflicts.c.settled_at.is_(None)).order_by(conflicts.c.id)
        return [rows.conflict_of(row) for row in (await self._tx.read(left)).all]

    async def settle(self, conflict_id: str, by: str) -> None:
        this = (conflicts.c.id == conflict_id) & conflicts.c.settled_at.is_(None)
        if not await self._tx.write(update(conflicts).where(this).values(settled_at=self._tx.now(), settled_by=by)):
            raise NotFound(f"There is no open conflict {conflict_id}.", code="conflict_not_found", hint="Call conflict_list.")
