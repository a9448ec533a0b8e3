"""Time as a caller, once more: every active slot is looked at, restarted when it is down, left when it stays bad.

The facts that matter (what is active since when, how long it is watched, what is allowed) are in the registry; what is
remembered here are the last looks, and losing them costs a few seconds. What is done, is done by operations: journaled,
locked and fenced like anybody's.
"""

import asyncio
import logging
import zlib
from dataclasses import dataclass, field

from codeb.contracts.kit import Kit
from codeb.entry.acting import Acting, Case, same
from codeb.errors import CodebError, PublicError
from codeb.flows.restart import life_of
from codeb.model import watch
from codeb.model.deletion import READY
from codeb.model.names import Place
from codeb.model.slots import SlotRow, grace_expired
from codeb.model.specs import Address, Health, Project
from codeb.model.watch import Act, Facts, Look, Story

log = logging.getLogger("codeb.watch")

TICK_SECONDS = 0.5
CLOSE_SECONDS = 1.0
"""between two looks inside the watch window"""
SUSPECT_SECONDS = 0.5
"""and as long as the last look was bad"""
FAR_SECONDS = 5.0
PROBE_SECONDS = 5.0
"""a pause of the application shorter than this is no failure"""
AT_ONCE = 20
WITNESSES = 3


@dataclass
class Watched:
    """One active slot under watch. `began` is the monotonic time of its promote, fixed at the first look at it."""

    row: SlotRow
    began: float
    due: float
    story: Story = field(default_factory=Story)


@dataclass
class Counts:
    looks: int = 0
    blind: int = 0
    """looks that saw nothing, or were not believed"""
    rounds_late: int = 0
    """looks that began more than a whole interval after they were due"""


class Watcher:
    """One per process. `run` is the loop; `round` is what it does, once."""

    def __init__(self, kit: Kit, acting: Acting) -> None:
        self.counts = Counts()
        self.acting = acting
        self._kit = kit
        self._watched: dict[Place, Watched] = {}
        self._tasks: dict[Place, asyncio.Task[None]] = {}
        self._turns = asyncio.Semaphore(AT_ONCE)

    async def run(self) -> None:
        """Look until cancelled; a look that takes long holds up nobody else's."""
        try:
            while True:
                await asyncio.sleep(TICK_SECONDS)
                try:
                    self.begin()
                    await self.acting.tell()
                except Exception:
                    log.exception("a round of the watch failed; the next one comes")
        finally:
            for task in list(self._tasks.values()):
                task.cancel()

    async def round(self) -> None:
        """Everything that is due now, to its end. For tests and for whoever wants to know when it is over."""
        await asyncio.gather(*self.begin())
        await self.acting.tell()

    def begin(self) -> list[asyncio.Task[None]]:
        """Start the looks that are due; those nearest to their promote first."""
        self._follow()
        now = self._kit.world.monotonic()
        if not self._kit.store.standing.leads or self.acting.stopping:
            return []
        due = [
            (self._interval(each, now), place) for place, each in self._watched.items()
            if each.due <= now and place not in self._tasks
        ]  # fmt: skip
        begun = []
        for interval, place in sorted(due):
            each = self._watched[place]
            self.counts.rounds_late += now - each.due > interval
            self._tasks[place] = task = asyncio.create_task(self._turn(place, each), name=f"watch {place.key}")
            task.add_done_callback(lambda _, place=place: self._tasks.pop(place, None))  # type: ignore[misc]  # a default argument
            begun.append(task)
        return begun

    def _follow(self) -> None:
        """What is active now, as the registry says; a new promote begins a new story."""
        snapshot, now = self._kit.store.snapshot, self._kit.world.monotonic()
        ready = {name for name, project in snapshot.projects.items() if project.state == READY}
        active = {
            place: pair.active for place, pair in snapshot.pairs.items() if pair.active is not None and place.project in ready
        }
        for place in self._watched.keys() - active.keys():
            del self._watched[place]
        for place, row in active.items():
            former = self._watched.get(place)
            if former is not None and same(row, former.row):
                continue
            age = (self._kit.world.now() - row.promoted_at).total_seconds() if row.promoted_at else watch.STABLE_SECONDS
            # a promote in the future is a clock that was set back: it is as good as just now
            self._watched[place] = fresh = Watched(row, now - max(age, 0.0), now)
            if not self._inside(fresh, now):
                fresh.due += zlib.crc32(place.key.encode()) % 1000 / 1000 * FAR_SECONDS

    def _inside(self, each: Watched, now: float) -> bool:
        """Whether its watch window is open. By the monotonic clock: setting the other one opens and closes nothing."""
        project = self._kit.store.snapshot.projects.get(each.row.place.project)
        return project is not None and now - each.began < project.watch_seconds

    def _interval(self, each: Watched, now: float) -> float:
        if each.story.failing:
            return SUSPECT_SECONDS
        return CLOSE_SECONDS if self._inside(each, now) else FAR_SECONDS

    # one look, and what follows

    async def _turn(self, place: Place, each: Watched) -> None:
        async with self._turns:
            try:
                await self._look(each)
            except PublicError as fault:
                log.warning("%s could not be looked after: %s", place.key, fault)
            except Exception:
                log.exception("looking after %s failed", place.key)
            finally:
                now = self._kit.world.monotonic()
                each.due = now + self._interval(each, now)

    async def _look(self, each: Watched) -> None:
        snapshot = self._kit.store.snapshot
        project, place = snapshot.projects.get(each.row.place.project), each.row.place
        if project is None or project.state != READY:
            return
        self.counts.looks += 1
        look = await self._observe(each.row, project)
        now = self._kit.world.monotonic()
        if look is None:
            self.counts.blind += 1
            each.story = watch.blinded(each.story, now)
            return
        former, each.story = each.story, watch.seen(each.story, look)
        case = Case(project, each.row)
        if each.story.revivals > former.revivals:
            self.acting.died(case, look.restarts, each.story.deaths)
        if former.alarmed and not each.story.alarmed:
            self.acting.recovered(case)
        # an operation began meanwhile, or the slot changed: what was seen may be its doing
        if place in self._kit.store.snapshot.running or self._watched.get(place) is not each:
            return
        await self._decide(each, case, look, now)

    async def _decide(self, each: Watched, case: Case, look: Look, now: float) -> None:
        watched = self._inside(each, now)
        ripe = watch.ripe(each.story, now, watched)
        no_way_back = await self._no_way_back(case) if ripe and case.project.auto_rollback else ""
        decision = watch.decide(each.story, Facts(now, watched, case.project.auto_rollback, no_way_back))
        if decision.act is Act.NOTHING and not decision.alarm:
            return
        if look.silent and await self._nobody_answers(case.row.place):
            # where nobody answers, it is our way to them that is broken
            self.counts.blind += 1
            each.story = watch.blinded(each.story, now)
            log.warning("no active slot answers on this machine: nothing is restarted or moved for that")
            return
        if decision.alarm:
            each.story = watch.alarmed(each.story)
            self.acting.alarm(case, decision.alarm)
        if decision.act is Act.ROLL_BACK:
            fault = await self.acting.roll_back(case, decision.why)
            if fault and not each.story.alarmed:
                self.acting.alarm(case, f"{decision.why}. Traffic could not go back by itself: {fault}")
            if fault:
                each.story = watch.returned_in_vain(each.story, self._kit.world.monotonic())
        elif decision.act is Act.RESTART and await self.acting.restart(case, look.life, decision.why):
            each.story = watch.restarted(each.story, self._kit.world.monotonic())

    async def _observe(self, row: SlotRow, project: Project) -> Look | None:
        """One look at one slot; None when the runtime does not answer."""
        kit = self._kit
        try:
            unit = await kit.runtime.look(row.container)
        except CodebError as fault:
            log.info("%s cannot be looked at: %s", row.container, fault)
            return None
        at = kit.world.monotonic()
        if unit is None:
            return Look(at, False, "its container is gone", gone=True)
        if unit.deployment_id != row.deployment_id:
            return Look(at, False, "another container stands in its place", gone=True)
        life = life_of(unit)
        if not unit.running:
            code = "" if unit.exit_code is None else f" with exit code {unit.exit_code}"
            return Look(at, False, f"its container stopped{code}", life, unit.restarts, coming=unit.restarting)
        if unit.health is Health.UNHEALTHY:
            return Look(at, True, "its own HEALTHCHECK says unhealthy", life, unit.restarts, gone=row.adopted is not None)
        path = row.health_path or project.health_path
        answer = await kit.health.probe(Address("127.0.0.1", row.port, path), PROBE_SECONDS)
        said = "" if answer.ok else f"{path} gave {answer.reason or f'status {answer.status}'}"
        # one that CodeB did not make is started where it is down, and never stopped to be started again
        spared, silent = row.adopted is not None, not answer.ok and answer.status is None
        return Look(kit.world.monotonic(), True, said, life, unit.restarts, gone=spared, silent=silent)

    async def _no_way_back(self, case: Case) -> str:
        """Why traffic could not go back, in words; empty: the slot in grace is healthy now."""
        pair = self._kit.store.snapshot.pairs.get(case.row.place)
        grace = pair.grace if pair is not None else None
        if grace is None:
            return "no slot is in grace"
        if grace_expired(grace, self._kit.world.now()):
            return "the grace of the version before is over"
        look = await self._observe(grace, case.project)
        if look is None:
            return "the version before cannot be looked at"
        return f"the version before is not well either: {look.fault}" if look.fault else ""

    async def _nobody_answers(self, place: Place) -> bool:
        """Whether others that run are as silent, those that were last well asked first. Fewer than two are no witnesses."""
        known = sorted(self._watched.items(), key=lambda each: (each[1].story.failing, each[0]))
        others = [each.row for key, each in known if key != place and each.story.last is not None and each.story.last.running]
        others = others[:WITNESSES]
        if len(others) < 2:
            return False
        paths = {name: project.health_path for name, project in self._kit.store.snapshot.projects.items()}
        addresses = [Address("127.0.0.1", row.port, row.health_path or paths.get(row.place.project, "/")) for row in others]
        answers = await asyncio.gather(*(self._kit.health.probe(each, PROBE_SECONDS) for each in addresses))
        return all(answer.status is None for answer in answers)
