"""A runtime in which a container that CodeB took over stands in its slot like any other, under the slot's name.

Which those are, the registry says: whoever is in a slot by its id is looked at, started and stopped by its id. It is never
told to be other than it is, made anew, or removed here: that is `Guests.remove`, which names what it removes.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol

from codeb.contracts.guests import Guests
from codeb.contracts.runtime import Logs, Restarter, Runtime
from codeb.contracts.store import Snapshot
from codeb.model import names
from codeb.model.slots import SlotRow
from codeb.model.specs import LogLine, Unit, UnitSpec

REPLACED_STOP = 10
"""Seconds for a container that makes room for the one it was to replace: it had no production traffic."""


class Engine(Runtime, Restarter, Protocol):
    """One driver that is both."""


class AdoptingRuntime:
    """`Runtime`, `Restarter` and `Logs`."""

    def __init__(self, own: Engine, guests: Guests, logs: Logs, registry: Callable[[], Snapshot]) -> None:
        self._own = own
        self._guests = guests
        self._logs = logs
        self._registry = registry

    # looking

    async def look(self, name: str) -> Unit | None:
        """See `Runtime.look`. What CodeB made and stands under the name goes before the one that it is to replace."""
        row, own = self._adopted(name), await self._own.look(name)
        if row is None or (own is not None and own.deployment_id):
            return own
        return await self._guest(row) or own

    async def units(self) -> Sequence[Unit]:
        """See `Runtime.units`."""
        own = list(await self._own.units())
        taken = {unit.name for unit in own}
        rows = [row for pair in self._registry().pairs.values() for row in pair.rows if row.adopted]
        guests = [await self._guest(row) for row in rows if row.container not in taken]
        return sorted([*own, *(unit for unit in guests if unit is not None)], key=lambda unit: unit.name)

    async def tail(self, name: str, lines: int, since: str | None = None) -> Sequence[LogLine]:
        """See `Logs.tail`."""
        row = await self._standing(name)
        return await (self._logs.tail(name, lines, since) if row is None else self._guests.tail(_id(row), lines, since))

    # changing

    async def run(self, spec: UnitSpec) -> Unit:
        """See `Runtime.run`."""
        return await self._own.run(spec)

    async def keep(self, name: str) -> None:
        """See `Runtime.keep`. Its own policy is its own."""
        if await self._standing(name) is None:
            await self._own.keep(name)

    async def shelve(self, name: str, seconds: int) -> None:
        """See `Runtime.shelve`. It keeps its own name, unless that is the very one its successor is to have."""
        row = await self._standing(name)
        if row is None or not row.taken_over:
            await self._own.shelve(name, seconds)
            return
        unit = await self._guests.unit(_id(row))
        if unit is not None and unit.name == row.container:
            await self._guests.rename(unit.id, names.kept(row.container))
        await self._guests.stop(_id(row), seconds)

    async def unshelve(self, name: str, start: bool) -> None:
        """See `Runtime.unshelve`."""
        row = self._adopted(name)
        if row is None or not row.taken_over:
            await self._own.unshelve(name, start)
            return
        own = await self._own.look(name)
        if own is not None and own.deployment_id:
            await self._own.remove(name, REPLACED_STOP)
        unit = await self._guests.unit(_id(row))
        if unit is None:
            return
        if start:
            await self._guests.start(unit.id)
        if unit.name == names.kept(row.container):
            await self._guests.rename(unit.id, row.container)

    async def remove(self, name: str, seconds: int) -> None:
        """See `Runtime.remove`: what CodeB made, and nothing else."""
        if await self._standing(name) is None:
            await self._own.remove(name, seconds)

    async def restart(self, name: str, seconds: int) -> None:
        """See `Restarter.restart`. One that was taken over is started where it is down; one that runs is left as it is."""
        row = await self._standing(name)
        await (self._own.restart(name, seconds) if row is None else self._guests.start(_id(row)))

    # who is meant

    def _adopted(self, name: str) -> SlotRow | None:
        """The row of the slot with this name, where it holds a container that CodeB took over."""
        parsed = names.parse_container(name)
        row = self._registry().slot(*parsed) if parsed and names.kept("") not in name else None
        return row if row is not None and row.adopted else None

    async def _standing(self, name: str) -> SlotRow | None:
        """The same, unless one that CodeB made stands there already."""
        row = self._adopted(name)
        own = None if row is None else await self._own.look(name)
        return None if own is not None and own.deployment_id else row

    async def _guest(self, row: SlotRow) -> Unit | None:
        unit = await self._guests.unit(_id(row))
        return None if unit is None else replace(
            unit, name=row.container, project=row.place.project, environment=row.place.environment, slot=row.slot.value,
            deployment_id=row.deployment_id or "", version=row.version or "",
        )  # fmt: skip


def _id(row: SlotRow) -> str:
    assert row.adopted is not None
    return row.adopted
