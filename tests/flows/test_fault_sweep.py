"""P2, P3, P8: for every changing tool the n-th call to the outside fails, for all n, in each way it can fail.

CODEB_TEST_SIZE=full tries every cell; otherwise every k-th one of each scene.
"""

import asyncio
import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from codeb.errors import InternalFault, PublicError
from codeb.flows import envs
from codeb.gate import Answer
from codeb.model.journal import Operation
from codeb.model.names import Place
from codeb.tools.catalog import TOOLS
from tests.flows.crash import Scene, rough
from tests.flows.faults import LEAK, WAYS, Fault, flaky, flaky_store
from tests.flows.scenes import ALL, Led
from tests.flows.watch import Watch
from tests.kit import Process, Rig, begin
from tests.virtual_time import VirtualLoop

pytestmark = pytest.mark.anyio

FULL = os.environ.get("CODEB_TEST_SIZE") == "full"
CELLS = 12
"""of each scene, in the small size"""
HOUR = 3600.0
OWN = ("duration", "timestamp", "correlationId")
WORDS = ("summary", "next", "warnings", "steps")
LEAST = {
    "deploy, first": 90, "deploy, over grace": 95, "deploy and promote": 140, "promote": 60, "rollback": 55,
    "cleanup of grace": 35, "cleanup of expired": 35, "project_delete": 60, "workflow_init": 20, "port_sync": 15,
    "operation_cancel, waiting for health": 12,
}  # fmt: skip
"""calls to the outside in an undisturbed run: fewer means that they are no longer counted"""


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, Any]]:
    return "asyncio", {"loop_factory": VirtualLoop}


@dataclass
class Ends:
    """How a scene may end."""

    before: dict[str, Any]
    calls: list[str]
    right: list[dict[str, Any]] = field(default_factory=list)

    def form(self, printed: dict[str, Any]) -> dict[str, Any]:
        """A print in which new ids are all alike: how many were made on the way does not matter."""
        known = {row[2] for row in self.before["slots"].values()} | {row[3] for row in self.before["boxes"].values()}

        def alike(name: Any) -> Any:
            return name if not name or name in known else "new"

        slots = {name: (*row[:2], alike(row[2]), *row[3:]) for name, row in rough(printed)["slots"].items()}
        boxes = {name: (*row[:3], alike(row[3])) for name, row in printed["boxes"].items()}
        return printed | {"slots": slots, "boxes": boxes}


class Stage:
    """One run of a scene, with a fault somewhere."""

    def __init__(self, scene: Scene, rig: Rig, fault: Fault) -> None:
        self.scene, self.rig, self.fault = scene, rig, fault
        self.process: Process = rig.boot(flaky(fault))
        fault.limited = lambda: not rig.store.snapshot.running
        self.params: dict[str, Any] = dict(scene.params)
        scene.spoil(rig)

    async def lead(self) -> None:
        if isinstance(self.scene, Led) and self.scene.lead is not None:
            self.params |= await self.scene.lead(self.process, self.rig)

    async def call(self) -> Answer | None:
        """Ask, and pick up what nobody works on meanwhile, as a running process does. None: it never answers."""
        process, self.fault.on = self.process, True
        with flaky_store(self.rig, self.fault):
            call = asyncio.create_task(process.ask(self.scene.tool, **self.params, idem="sweep"))
            for _ in range(int(HOUR / 5)):
                if (await asyncio.wait({call}, timeout=5))[0]:
                    break
                # whoever picks up logs what stops it, foreseen or not, and comes again
                with contextlib.suppress(PublicError, InternalFault):
                    await process.engine.resume()
            await _settled(process)
        self.fault.on = False
        if not call.done():
            call.cancel()
            await asyncio.wait({call})
            return None
        # what a process does every few seconds: pick up what could not be journaled, write the audit rows and files that wait
        await process.engine.resume()
        await process.settle()
        await envs.settle(process.kit)
        await process.ask("project_list")
        await process.audit.flush()
        return call.result()


async def _settled(process: Process) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(HOUR):
            await process.settle()


async def ends_of(scene: Scene) -> Ends:
    """Run it undisturbed, and without the call, and in parts."""
    async with begin(scene.state) as rig:
        stage = Stage(scene, rig, Fault())
        ends = Ends(rig.print(), [])
        await stage.lead()
        said = await stage.call()
        assert said is not None
        ends.calls = stage.fault.calls
        ends.right += [ends.form(ends.before), ends.form(rig.print())]
    for params in scene.parts:
        async with begin(scene.state) as rig:
            await Scene(scene.state, scene.tool, params, scene.spoil).start(rig.boot(), rig)
            ends.right.append(ends.form(rig.print()))
    for other in scene.others:
        async with begin(scene.state) as rig:
            await other.start(rig.boot(), rig)
            ends.right.append(ends.form(rig.print()))
    if isinstance(scene, Led):
        async with begin(scene.state) as rig:
            stage = Stage(scene, rig, Fault())
            await stage.lead()
            await stage.process.settle()
            ends.right.append(ends.form(rig.print()))
    return ends


async def one(scene: Scene, ends: Ends, number: int, way: str) -> list[str]:
    """One cell: what was wrong in it."""
    fault = Fault(number, way)
    async with begin(scene.state) as rig:
        stage = Stage(scene, rig, fault)
        await stage.lead()
        watch = Watch(rig)
        if scene.dark:
            watch.had.clear()
        watch.on(stage.process)
        said = await stage.call()
        found = list(watch.faults)
        rig.machine.trap = None
        stage.process.world.at_point = lambda point: None
        if not fault.hit and not isinstance(scene, Led) and not scene.waits:
            # what another operation does beside the call is counted too, and how much it does by then is not the same twice
            found.append("it was not reached")
        if scene.again:
            # it acts on what it sees: what a fault kept it from, the next round does
            found += _leaks(said)
            for _ in range(2):
                await stage.process.ask(scene.tool, **stage.params)
                await stage.process.settle()
            found += await _judge(stage, ends)
        else:
            found += await _judge(stage, ends)
            found += _honest(stage, ends, said)
            if not found:
                found += await _again(stage, ends, said)
        if not found:
            found += await _next_works(rig, scene)
    return [f"{fault.hit} #{number} {way}: {each}" for each in found]


def _partly(rig: Rig) -> bool:
    shop = rig.store.snapshot.projects.get("shop")
    return (shop is not None and shop.state in ("deleting", "purging")) or bool(_ending(rig))


def _ending(rig: Rig) -> list[Place]:
    """Previews of which something is still to be removed."""
    return [place for place, each in rig.store.snapshot.previews.items() if each.ending]


def _ended(faults: list[str]) -> list[str]:
    """Partly deleted, which the answer said: only the lock and the end matter until it is called again."""
    return [fault for fault in faults if "lock" in fault or "still" in fault]


async def _judge(stage: Stage, ends: Ends) -> list[str]:
    rig = stage.rig
    past = await _past(rig)
    rig.health.broken.clear()
    faults = await rig.faults()
    if past and any("after the commit point" in text for text in past[0].warnings):
        # three tries were not enough for what is said aloud
        faults = [fault for fault in faults if not fault.startswith("the proxy has")]
        ends = Ends(ends.before, ends.calls, [*ends.right, ends.form(rig.print())])
    if _partly(rig):
        faults = _ended(faults)
    elif ends.form(rig.print()) not in ends.right:
        faults.append(f"it is neither as before nor as after: {ends.form(rig.print())}")
    faults += [f"not undone: {text}" for op in past for text in op.undo_faults]
    return faults


def _leaks(said: Answer | None) -> list[str]:
    if said is None:
        return ["the call never ended"]
    return ["the answer shows what it must not"] if LEAK in str(said.body) else []


def _honest(stage: Stage, ends: Ends, said: Answer | None) -> list[str]:
    """Whether the answer says what is so."""
    found = _leaks(said)
    if said is None:
        return found
    body, now, before = said.body, ends.form(stage.rig.print()), ends.right[0]
    waited = stage.params.get("wait", True) and stage.scene.tool != "operation_cancel"
    if said.ok and waited and body.get("purged" if stage.params.get("purge") else "deleted", True) and now not in ends.right[1:]:
        found.append("it says success and is not done")
    claims = [text for text in ("Everything it had done is undone", "othing was", "nothing of this call") if text in str(body)]
    alone = [before, *ends.right[2:]] if "promote failed" in str(body) else [before]
    if not said.ok and claims and now not in alone and waited:
        found.append(f"it says {claims} and was done")
    return found


async def _again(stage: Stage, ends: Ends, said: Answer | None) -> list[str]:
    """P8: the same call with the same key, twice: nothing is done twice, and the answers agree."""
    rig, process = stage.rig, stage.process
    begun = len(await _past(rig))
    there = ends.form(rig.print())
    first = await process.ask(stage.scene.tool, **stage.params, idem="sweep")
    await process.settle()
    found = []
    if said is not None and said.ok:
        if _data(first) != _data(said):
            found.append(f"asked again it answers {_data(first)}, not {_data(said)}")
        if ends.form(rig.print()) != there or len(await _past(rig)) != begun:
            found.append("asked again it was done again")
    there, begun = ends.form(rig.print()), len(await _past(rig))
    second = await process.ask(stage.scene.tool, **stage.params, idem="sweep")
    await process.settle()
    if first.ok and (_data(second) != _data(first) or ends.form(rig.print()) != there or len(await _past(rig)) != begun):
        found.append(f"asked a third time it answers {_data(second)}, not {_data(first)}")
    left = await rig.faults()
    return found + (_ended(left) if _partly(rig) else left)


def _data(answer: Answer) -> dict[str, Any]:
    """What an answer says, without words; how far an operation is that is not waited for may differ."""
    own = (*OWN, *WORDS, "state") if "operationId" in answer.body else (*OWN, *WORDS)
    return {name: value for name, value in answer.body.items() if name not in own}


async def _past(rig: Rig) -> list[Operation]:
    async with rig.store.read() as registry:
        return list(
            await registry.journal.history(team="main", project=None, environment=None, open_only=False, limit=50, before=None)
        )


async def _next_works(rig: Rig, scene: Scene) -> list[str]:
    process = rig.boot()
    rig.image("5")
    if "shop" not in rig.store.snapshot.projects:
        await process.ok("project_create", projectName="shop", containerPort=8080)
    state = rig.store.snapshot.projects["shop"].state
    if state in ("deleting", "purging"):
        await process.ok("project_delete", projectName="shop", confirm="shop", purge=state == "purging")
        return await rig.faults()
    for place in _ending(rig):
        await process.ok("preview_delete", projectName="shop", pullRequest=int(place.environment.removeprefix("pr-")))
    if state == "deleted":
        await process.ok("undelete", projectName="shop")
    rig.machine.boxes.pop("somebody", None)
    await process.ok("deploy", projectName="shop", environment="production", image="shop:5", autoPromote=True, confirm="shop")
    return await rig.faults()


def cells(calls: list[str]) -> Iterator[tuple[int, str]]:
    """All of them, or every k-th; k shares no factor with the number of ways, so that none is left out."""
    every = [(number, way) for number, call in enumerate(calls) for way, fits in WAYS.items() if fits(call)]
    step = 1 if FULL else max(1, len(every) // CELLS)
    while step > 1 and any(step % each == 0 for each in (2, 3, 5)):
        step += 1
    yield from every[step // 2 :: step]


def test_every_changing_tool_has_a_scene() -> None:
    played = {scene.tool for scene in ALL.values()}
    assert [f"no scene for tool {tool.name}" for tool in TOOLS if tool.changes and tool.name not in played] == []


@pytest.mark.timeout(3600 if FULL else 300)
@pytest.mark.parametrize("name", ALL)
async def test_any_one_call_may_fail(name: str) -> None:
    scene = ALL[name]
    ends = await ends_of(scene)
    assert len(ends.calls) >= LEAST.get(name, 1), len(ends.calls)
    faults: list[str] = []
    for number, way in cells(ends.calls):
        faults += await one(scene, ends, number, way)
    assert faults == [], "\n".join(faults)


@pytest.mark.timeout(3600 if FULL else 300)
@pytest.mark.parametrize("name", [name for name, scene in ALL.items() if not isinstance(scene, Led)])
async def test_a_dry_run_that_fails_changes_nothing(name: str) -> None:
    """Where nothing else runs beside it: another operation changes things by itself."""
    scene = ALL[name]
    dry = type(scene)(**{**vars(scene), "params": {**scene.params, "dryRun": True}})
    async with begin(dry.state) as rig:
        stage = Stage(dry, rig, Fault())
        await stage.call()
        calls = stage.fault.calls
    for number, way in list(cells(calls))[:: 1 if FULL else 6]:
        async with begin(dry.state) as rig:
            stage = Stage(dry, rig, Fault(number, way))
            before = rig.print()
            await stage.call()
            assert rig.print() == before, (number, way)
            assert rig.effects() == []
