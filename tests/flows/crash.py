"""Death at every point of an operation, and what has to be true after the next start."""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from codeb.model.journal import OpState
from codeb.model.slots import State
from tests.kit import PROD, STAGE, Died, Process, Rig, Still, resting, trapped

SITE = "shop.localhost"
WHERE = {"projectName": "shop", "environment": "production"}


@dataclass(frozen=True)
class Scene:
    """An operation to be interrupted: the state it begins in, the call, and what makes it fail, if it is to fail."""

    state: str
    tool: str
    params: dict[str, Any]
    saga: str = ""
    spoil: Callable[[Rig], None] = lambda rig: None
    parts: tuple[dict[str, Any], ...] = ()
    """params that lead to other right ends, when it is an operation with a follow-up"""

    async def start(self, process: Process, rig: Rig) -> None:
        self.spoil(rig)
        with contextlib.suppress(Died):
            await process.ask(self.tool, **self.params)
        await process.settle()


def _bad(rig: Rig) -> None:
    rig.image("bad", status=500, log=("no database",))


def _exits(rig: Rig) -> None:
    rig.image("bad", exits=3, log=("no database",))


def _dark(rig: Rig) -> None:
    rig.health.broken.add(SITE)


def _deploy(image: str, **more: Any) -> dict[str, Any]:
    return {**WHERE, "image": f"shop:{image}", **more}


SCENES: dict[str, Scene] = {
    "deploy, first": Scene("new", "deploy", _deploy("1")),
    "deploy, new environment": Scene("active", "deploy", _deploy("1", environment="staging")),
    "deploy, beside active": Scene("active", "deploy", _deploy("2")),
    "deploy, over deployed": Scene("ready", "deploy", _deploy("3")),
    "deploy, over grace": Scene("grace", "deploy", _deploy("3")),
    "deploy, over grace, unhealthy": Scene("grace", "deploy", _deploy("bad", timeout=1), spoil=_bad),
    "deploy, over deployed, exits": Scene("ready", "deploy", _deploy("bad"), spoil=_exits),
    "deploy, new environment, exits": Scene("active", "deploy", _deploy("bad", environment="staging"), spoil=_exits),
    "deploy and promote": Scene("active", "deploy", _deploy("2", autoPromote=True), parts=(_deploy("2"),)),
    "promote, first": Scene("deployed", "promote", WHERE),
    "promote": Scene("ready", "promote", WHERE),
    "promote, never proven": Scene("ready", "promote", WHERE, spoil=_dark),
    "rollback": Scene("grace", "rollback", WHERE),
    "rollback, never proven": Scene("grace", "rollback", WHERE, spoil=_dark),
    "cleanup of grace": Scene("grace", "slot_cleanup", {**WHERE, "slot": "blue", "force": True}),
    "cleanup of deployed": Scene("ready", "slot_cleanup", {**WHERE, "slot": "green", "force": True}),
    "project_delete": Scene("grace", "project_delete", {"projectName": "shop", "confirm": "shop"}),
}


def rough(printed: dict[str, Any]) -> dict[str, Any]:
    """A print without the end of graces: a second try of a step may have moved it."""
    slots = {name: (*row[:-1], row[-1] is not None) for name, row in printed["slots"].items()}
    return {**printed, "slots": slots}


class Watch:
    """Looks at the public route at every point: an environment that had a version keeps answering, with a promoted one."""

    def __init__(self, rig: Rig, scene: Scene) -> None:
        self.rig = rig
        self.faults: list[str] = []
        pair = rig.store.snapshot.pair_of(PROD)
        self.had = bool(pair and pair.active) and scene.tool != "project_delete" and not rig.health.broken

    def look(self, point: str) -> None:
        if self.had and not self.rig.health.broken:
            answer = self.rig.health.through(SITE)
            if not answer.ok:
                self.faults.append(f"at {point} the public host answers {answer}")
        for place in (PROD, STAGE):
            live, pair = self.rig.proxy.switch.get(place), self.rig.store.snapshot.pair_of(place)
            if live and live.slot and live.fallback and (pair is None or pair[live.slot.other].state is not State.GRACE):
                self.faults.append(f"at {point} {live.slot.other} may stand in without being in grace")


@dataclass
class Deaths:
    """How a run went: its points, in the order in which they were passed, and where it ended."""

    points: list[str] = field(default_factory=list)
    died: str | None = None


def arm(process: Process, rig: Rig, watch: Watch, at: int | None, *, inside: bool) -> Deaths:
    """Have the process die at the point of this number; `inside` counts the effects on machine and proxy too."""
    deaths = Deaths()

    def see(point: str) -> None:
        watch.look(point)
        deaths.points.append(point)
        if len(deaths.points) - 1 == at:
            deaths.died = point
            raise Died(point)

    process.world.at_point = see
    rig.machine.trap = process.world.pass_by if inside else None
    return deaths


async def recover(rig: Rig, watch: Watch, at: int | None, *, inside: bool = False) -> Deaths:
    """Start again and bring everything to an end, or die once more."""
    before = rig.store.snapshot
    await rig.store.refresh()
    if rig.store.snapshot != before:
        watch.faults.append("the registry in memory was not what is stored")
    process = rig.boot()
    deaths = arm(process, rig, watch, at, inside=inside)
    await process.engine.resume()
    await process.settle()
    rig.machine.trap = None
    return deaths


@dataclass
class Sweep:
    """Every death of one scene, and what was wrong after each."""

    scene: Scene
    cells: int = 0
    faults: list[str] = field(default_factory=list)
    ends: list[dict[str, Any]] = field(default_factory=list)

    async def prepare(self) -> list[str]:
        """The points of an undisturbed run; notes the right ends."""
        still = await resting(self.scene.state)
        points: list[str] = []
        for params in (self.scene.params, *self.scene.parts):
            async with still.again() as rig:
                self.ends.append(rough(rig.print()))
                scene = Scene(self.scene.state, self.scene.tool, params, spoil=self.scene.spoil)
                process = rig.boot()
                watch = Watch(rig, scene)
                seen = arm(process, rig, watch, None, inside=False)
                await scene.start(process, rig)
                self.ends.append(rough(rig.print()))
                points = points or seen.points
                rig.health.broken.clear()
                self.faults += [f"undisturbed: {fault}" for fault in watch.faults + await rig.faults()]
        return points

    async def journal(self) -> int:
        """Death at every journal point, and again at every journal point of the recovery. The number of points."""
        points = await self.prepare()
        for first in range(len(points)):
            recovery = await self._cell(first, None, inside=False)
            for second in range(len(recovery)):
                await self._cell(first, second, inside=False)
        return len(points)

    async def inside(self) -> int:
        """Death before and after every single effect on the machine and the proxy. The number of points."""
        await self.prepare()
        at = 0
        while await self._cell(at, None, inside=True, all_of_it=True):
            at += 1
        return at

    async def _cell(self, first: int, second: int | None, *, inside: bool, all_of_it: bool = False) -> list[str]:
        """One death, or two; returns the points of the recovery, or with `all_of_it` whether the first death came."""
        still: Still = await resting(self.scene.state)
        async with still.again() as rig:
            watch = Watch(rig, self.scene)
            process = rig.boot()
            deaths = arm(process, rig, watch, first, inside=inside)
            await self.scene.start(process, rig)
            rig.machine.trap = None
            if deaths.died is None:
                if not all_of_it:
                    self.faults.append(f"the process did not die at point {first}")
                return []
            recovery = await recover(rig, watch, second)
            name = deaths.died
            if second is not None:
                name += f" then {recovery.died}"
                if recovery.died is None:
                    self.faults.append(f"the second death after {name} did not come")
                await recover(rig, watch, None)
            self.cells += 1
            await self._judge(rig, watch, name)
            return recovery.points or [deaths.died] if all_of_it else recovery.points

    async def _judge(self, rig: Rig, watch: Watch, name: str) -> None:
        rig.health.broken.clear()
        found = watch.faults + await rig.faults() + await undo_faults(rig)
        if not found and rough(rig.print()) not in self.ends:
            found = [f"it is neither as before nor as after: {rough(rig.print())}"]
        self.faults += [f"{name}: {fault}" for fault in found]


async def undo_faults(rig: Rig) -> list[str]:
    async with rig.store.read() as registry:
        past = await registry.journal.history(
            team="main", project=None, environment=None, open_only=False, limit=100, before=None
        )
    bad = [f"{op.id} could not undo {fault}" for op in past for fault in op.undo_faults]
    return bad + [f"{op.id} is {op.state}" for op in past if op.state in (OpState.RUNNING, OpState.UNWINDING)]


__all__ = ["SCENES", "Scene", "Sweep", "arm", "recover", "trapped"]
