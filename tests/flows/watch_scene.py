"""An active slot under watch in the rig of memory: behaviours that change, time that passes, what was told."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

from codeb.entry.acting import Acting
from codeb.entry.watch import Watcher
from codeb.model.chain import AuditRow
from codeb.model.events import Event
from codeb.model.names import Place, Slot
from codeb.model.slots import State
from tests.kit import PROD, Process, Rig, begin

WHERE = {"projectName": "shop", "environment": "production"}
OLD, NEW = "shop-production-blue", "shop-production-green"


@dataclass
class Scene:
    rig: Rig
    process: Process
    watcher: Watcher

    async def go(self, seconds: float, step: float = 0.5) -> None:
        """Let time pass, looking all the while."""
        for _ in range(round(seconds / step)):
            self.rig.clock.spent += step
            await self.watcher.round()

    def turn(self, name: str, **behaviour: Any) -> None:
        box = self.rig.machine.boxes[name]
        box.behaviour = replace(box.behaviour, **behaviour)

    def stopped(self, name: str) -> None:
        """As `docker kill`: dead, and nobody starts it again."""
        self.rig.machine.stop(self.rig.machine.boxes[name], 0)

    async def kinds(self) -> list[str]:
        """Oldest first."""
        return [each.kind for each in reversed(await self.events())]

    async def events(self) -> list[Event]:
        async with self.rig.store.read() as registry:
            return list(await registry.events.latest(team=None, project=None, limit=1000, before=None))

    async def audit(self) -> list[AuditRow]:
        await self.process.audit.flush()
        async with self.rig.store.read() as registry:
            return [row for row in await registry.audit.latest(1000) if row.entry == "watch"]

    def state(self, slot: Slot, place: Place = PROD) -> State:
        return self.rig.store.snapshot.pairs[place][slot].state

    def effects(self) -> list[str]:
        return self.rig.effects()


def watching(process: Process) -> Watcher:
    return Watcher(process.kit, Acting(process.kit, process.engine, process.audit))


@asynccontextmanager
async def scene(state: str = "grace") -> AsyncIterator[Scene]:
    async with begin(state) as rig:
        process = rig.boot()
        yield Scene(rig, process, watching(process))


@asynccontextmanager
async def later(state: str = "grace") -> AsyncIterator[Scene]:
    """Long after the promote."""
    async with scene(state) as at:
        at.rig.clock.spent += 3600
        yield at
