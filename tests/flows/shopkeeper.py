"""One CodeB in memory beside the reference model: does a call to both and looks whether they still agree."""

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from codeb.entry.reconciler import LONGEST_PAUSE, Reconciler
from codeb.entry.timer import end_graces
from codeb.gate import Answer
from codeb.model.slots import SlotRow
from tests.flows.faults import LEAK, Fault, flaky, flaky_store
from tests.flows.hands import Hands
from tests.flows.jumpy import JumpyWorld
from tests.flows.model import CHANGE_NOTHING, Ask, At, Env, Shop, Side, bound_to, expect, without_times
from tests.flows.watch import Watch
from tests.flows.wire import wire
from tests.kit import OWNER, START, Died, Process, Rig, begin

OWN = ("duration", "timestamp", "correlationId", "summary", "next", "warnings", "steps", "state")


@dataclass
class Asked:
    """A call that was made, to be repeated."""

    ask: Ask
    key: str
    said: Answer | None


class Shopkeeper:
    """Raises `AssertionError` where CodeB and the model part."""

    def __init__(self) -> None:
        self.stack = AsyncExitStack()
        self.shop = Shop({})
        self.asked: list[Asked] = []
        self.fault = Fault()
        self.number = 0
        self.offset = timedelta(0)
        """how far the wall clock had been set when this process began: what it takes for the time"""
        self.rig: Rig
        self.hands: Hands
        self.process: Process
        self.loop: Reconciler

    async def open(self) -> None:
        self.rig = await self.stack.enter_async_context(begin("empty"))
        self.rig.world_of = JumpyWorld
        self.hands = Hands(self.rig)
        for version in ("1", "2", "3"):
            self.rig.image(version)
        self.rig.image("bad", status=500, log=("no database",))
        self.rig.image("exits", exits=3)
        self.rig.image("slow", answers_after=9)
        self.boot()

    async def close(self) -> None:
        try:
            async with self.rig.store.read() as registry:
                trail = repr(await registry.audit.latest(10_000))
            assert OWNER.reveal() not in trail
            assert LEAK not in trail
        finally:
            await self.stack.aclose()

    def boot(self) -> None:
        """The next start; it takes the wall clock as it is."""
        self.offset = self.rig.clock.jumped
        self.fault = Fault()
        self.process = self.rig.boot(flaky(self.fault))
        self.loop = Reconciler(self.process.kit, self.process.engine, self.process.audit)
        self.rig.store._now = lambda: self.process.world.now()
        self.fault.limited = lambda: not self.rig.store.snapshot.running

    @property
    def now(self) -> float:
        return self.rig.clock.spent + self.offset.total_seconds()

    # calls

    async def _ask(self, ask: Ask, key: str | None, **more: Any) -> Answer | None:
        if ask.tool == "timer":
            for operation in await end_graces(self.process.kit, self.process.engine, self.process.audit, {}):
                await self.process.engine.wait(operation, 900)
            return None
        if ask.tool == "loop":
            return await self._round()
        name, params = wire(ask)
        said = await self.process.ask(name, **params, **more, idem=key)
        text = str(said.body)
        assert LEAK not in text, text
        assert said.status != 500 or said.body["code"] == "internal", text
        return said

    async def _round(self) -> None:
        """One round of the loop, long enough after the last that everything is due again."""
        self.rig.clock.spent += LONGEST_PAUSE
        try:
            await self.loop.round()
        except Exception:
            # as the loop itself does: the next round comes
            if not self.fault.on:
                raise

    def _expect(self, ask: Ask, shop: Shop | None = None) -> tuple[bool, list[Shop]]:
        return expect(shop or self.shop, ask, self.now, self._is_hurt)

    def _is_hurt(self, at: At, slot: str) -> bool:
        return f"{at[0]}-{at[1]}-{slot}" in self.hands.hurt

    def _note(self, ask: Ask, said: Answer | None, key: str) -> None:
        self.asked = [*self.asked[-4:], Asked(ask, key, said)]

    def _key(self) -> str:
        self.number += 1
        return f"call-{self.number}"

    async def call(self, ask: Ask) -> None:
        """Undisturbed: it succeeds when the model says so, and ends where the model says."""
        ok, ends = self._expect(ask)
        began, key = self.now, self._key()
        with self._watched():
            said = await self._ask(ask, key)
            await self.process.settle()
        if said is not None:
            assert said.ok == ok, (ask, said.body)
        self._note(ask, said, key)
        await self._compare(began, [ends[-1] if ok else ends[0]], ask)
        if ask.tool in CHANGE_NOTHING:
            await self._all_is_well()

    async def _all_is_well(self) -> None:
        """P15: what was done by hand is mended, but for what a person decides; and once more changes nothing."""
        assert self.hands.unmended() == set()
        self.rig.effects()
        again = await self.process.ok("reconcile")
        assert (again["mended"], self.rig.effects()) == (0, []), again

    async def disturbed(self, ask: Ask, number: int, way: str, part: str) -> None:
        """The n-th call to the outside fails: one of the right states."""
        _, ends = self._expect(ask)
        began, key = self.now, self._key()
        fault = self.fault
        fault.number, fault.way, fault.only, fault.fitting = number, way, part, True
        fault.calls, fault.hit, fault.on = [], "", True
        with self._watched(), flaky_store(self.rig, fault):
            said = await self._ask(ask, key)
            await self.process.settle()
        fault.on = False
        await self._pick_up()
        self._note(ask, said, key)
        await self._compare(began, ends, ask)

    async def both(self, one: Ask, other: Ask) -> None:
        """Two at once: those that succeed did so in one order or the other."""
        began, ends = self.now, [self.shop]
        for first, second in ((one, other), (other, one)):
            for between in self._expect(first)[1]:
                ends += [between, *self._expect(second, between)[1]]
            ends += self._expect(second)[1]
        with self._watched():
            await asyncio.gather(self._ask(one, self._key()), self._ask(other, self._key()))
            await self.process.settle()
        await self._compare(began, ends, one, other)

    async def killed(self, ask: Ask, number: int, again: int, retry: bool) -> None:
        """Dies at the n-th point; the next start too, at that point of its recovery. The client asks once more if it likes."""
        _, ends = self._expect(ask)
        began, key = self.now, self._key()
        await self._until_death(number, lambda: self._ask(ask, key))
        if self.process.world.dead:
            await self._reborn()
            await self._until_death(again, self.process.engine.resume)
            if self.process.world.dead:
                await self._reborn()
        await self._pick_up()
        if retry:
            # a new start may take the time for another one, so a grace may be over now
            ends = [*ends, *self._expect(ask)[1]]
            with self._watched():
                said = await self._ask(ask, key)
                await self.process.settle()
            self._note(ask, said, key)
        await self._compare(began, ends, ask)

    async def _until_death(self, number: int, act: Callable[[], Any]) -> None:
        process, points = self.process, 0
        with self._watched() as watch:

            def see(point: str) -> None:
                nonlocal points
                if process.world.dead:
                    raise Died("a dead process does nothing")
                watch.look(point)
                points += 1
                if points == number:
                    process.world.dead = True
                    raise Died(point)

            process.world.at_point = self.rig.machine.trap = see
            task = asyncio.ensure_future(act())
            await asyncio.wait({task}, timeout=3600)
            if process.world.dead:
                task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await process.settle()

    async def _reborn(self) -> None:
        self.rig.machine.trap = None
        await self.rig.store.refresh()
        self.boot()

    async def repeat(self, which: int) -> None:
        """P8: a call that succeeded, with its key: the same answer, nothing done again."""
        done = [each for each in self.asked if each.said is not None and each.said.ok]
        if not done:
            return
        asked = done[which % len(done)]
        there = self.rig.print()
        self.rig.effects()
        said = await self._ask(asked.ask, asked.key)
        await self.process.settle()
        assert said is not None
        assert asked.said is not None
        assert _data(said) == _data(asked.said), (asked.ask, said.body, asked.said.body)
        assert self.rig.print() == there
        assert self.rig.effects() == []

    async def planned(self, ask: Ask, between: Ask | None, hours: float) -> None:
        """A dry run changes nothing; its plan is done as long as its world did not move, and refused when it did."""
        bound, there, then = bound_to(self.shop, ask), self.rig.print(), self._expect(ask)
        self.rig.effects()
        plan = await self._ask(ask, None, dryRun=True)
        assert plan is not None
        assert self.rig.print() == there, ask
        assert self.rig.effects() == [], ask
        assert plan.ok or not self._expect(ask)[0], (ask, plan.body)
        if not plan.ok:
            return
        if hours:
            await self.wait(hours)
        if between is not None:
            await self.call(between)
        ok, ends = self._expect(ask)
        moved, began, key = bound_to(self.shop, ask) != bound, self.now, self._key()
        with self._watched():
            said = await self._ask(ask, key, planId=plan.body["planId"])
            await self.process.settle()
        assert said is not None
        if moved or not ok:
            assert not said.ok, (ask, between, said.body)
        if not said.ok and ok:
            assert said.body["code"] == "stale_plan", (ask, said.body)
            # a grace that ended meanwhile is one that the plan did not name
            is_late = ask.tool == "slot_cleanup" and self._expect(ask) != then
            assert between is not None or is_late, (ask, said.body)
        await self._compare(began, [ends[-1] if said.ok else ends[0]], ask)

    async def cancelled(self, ask: Ask, seconds: float, dies: int) -> None:
        """Begun, and given up after so long. What is called cancelled is wholly undone; the process may die over it."""
        _, ends = self._expect(ask)
        began = self.now
        with self._watched():
            said = await self._ask(ask, self._key(), wait=False)
            if said is not None and "operationId" in said.body and seconds:
                await asyncio.sleep(seconds)
        state = ""
        if said is not None and said.ok and "operationId" in said.body:
            which, key = said.body["operationId"], self._key()
            await self._until_death(dies, lambda: self.process.ask("operation_cancel", operationId=which, idem=key))
            if self.process.world.dead:
                await self._reborn()
            await self._pick_up()
            state = (await self.process.ok("operation_get", operationId=which))["operation"]["state"]
        await self.process.settle()
        if state == "cancelled":
            ends = ends[:1]
        elif state == "succeeded" and not ask.yes:
            ends = ends[-1:]
        await self._compare(began, ends, ask)

    # the world

    async def restart(self) -> None:
        await self.process.settle()
        await self._reborn()
        await self._pick_up()
        await self._compare(self.now, [self.shop])

    async def wait(self, hours: float) -> None:
        self.rig.clock.spent += hours * 3600
        await self._compare(self.now, [self.shop])

    async def jump(self, hours: float) -> None:
        """The wall clock is set; nothing CodeB believes may follow it before its next start."""
        self.rig.clock.jumped += timedelta(hours=hours)
        seen = (self.process.world.now() - START).total_seconds()
        assert abs(seen - self.now) < 1, (seen, self.now)
        await self._compare(self.now, [self.shop])

    async def by_hand(self, how: str, which: int) -> None:
        self.hands.do(how, which)
        self.shop = replace(self.shop, outside=self.hands.outside())
        await self._compare(self.now, [self.shop])

    # agreement

    def _watched(self) -> "_Watched":
        return _Watched(self)

    async def _pick_up(self) -> None:
        """What a process does every few seconds."""
        await self.process.engine.resume()
        await self.process.settle()
        await self.process.ask("project_list")
        await self.process.audit.flush()

    async def _compare(self, began: float, ends: list[Shop], *asks: Ask) -> None:
        found = self._found()
        plain = [_without_times(each) for each in ends]
        assert _without_times(found) in plain, f"{asks} left {found}\nbefore: {self.shop}\nright: {plain}"
        self._graces(began, found)
        if any(ask.tool == "undelete" for ask in asks):
            self.hands.came_back()
        self.hands.look()
        faults = [fault for fault in await self.rig.faults() if not self.hands.explains(fault)]
        assert faults == [], (asks, faults)
        ids = [row.deployment_id for pair in self.rig.store.snapshot.pairs.values() for row in pair.rows if row.deployment_id]
        assert len(ids) == len(set(ids))
        self.shop = found

    def _found(self) -> Shop:
        """The registry in the model's words."""
        snapshot = self.rig.store.snapshot
        assert {project.state for project in snapshot.projects.values()} <= {"ready", "deleted"}
        envs = {}
        for place, pair in snapshot.pairs.items():
            assert pair.green.port == pair.blue.port + 1
            envs[place.project, place.environment] = Env(pair.blue.port, _side(pair.blue), _side(pair.green))
        watches = {name: (each.auto_rollback, each.watch_seconds) for name, each in snapshot.projects.items()}
        deleted = frozenset(name for name, project in snapshot.projects.items() if project.state == "deleted")
        return Shop(envs, watches, self.hands.outside(), deleted)

    def _graces(self, began: float, found: Shop) -> None:
        """A grace that was there keeps its end to the microsecond; a new one lasts as long as was promised."""
        promised = self.rig.policy.grace_hours * 3600
        for at, env in found.envs.items():
            for slot in ("blue", "green"):
                side, former = env.side(slot), self.shop.envs[at].side(slot) if at in self.shop.envs else Side()
                if side.state != "grace":
                    continue
                assert side.ends is not None
                if former.state == "grace" and former.version == side.version and side.ends == former.ends:
                    continue
                least, most = sorted((began, self.now))
                assert least - 1 <= side.ends - promised <= most + 1, (at, slot, side, former, began, self.now)


class _Watched:
    """Looks at the traffic at every point meanwhile."""

    def __init__(self, keeper: Shopkeeper) -> None:
        self.keeper = keeper

    def __enter__(self) -> Watch:
        self.watch = Watch(self.keeper.rig)
        self.watch.hurt, self.watch.bent = self.keeper.hands.hurt, self.keeper.hands.bent
        self.watch.on(self.keeper.process)
        return self.watch

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        self.keeper.rig.machine.trap = None
        self.keeper.process.world.at_point = lambda point: None
        if kind is None:
            assert self.watch.faults == []


def _data(answer: Answer) -> dict[str, Any]:
    return {name: value for name, value in answer.body.items() if name not in OWN}


def _side(row: SlotRow) -> Side:
    ends = None if row.grace_expires_at is None else (row.grace_expires_at - START).total_seconds()
    return Side(row.state.value, row.version or "", ends)


def _without_times(shop: Shop) -> Shop:
    return replace(shop, envs={at: without_times(env) for at, env in sorted(shop.envs.items())})
