"""P2, P4, P6, P7, P8, P12, P15: any tools in any order, with faults, deaths, restarts and clock jumps, against a reference model.

CODEB_TEST_SIZE=full: 1,000 runs of 50 steps.
"""

import asyncio
import os
from collections.abc import Coroutine
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from codeb.drivers import world as system
from tests.flows.hands import HOW
from tests.flows.model import Ask, Shop
from tests.flows.shopkeeper import Shopkeeper
from tests.virtual_time import VirtualLoop

FULL = os.environ.get("CODEB_TEST_SIZE") == "full"
RUNS, STEPS = (1000, 50) if FULL else (40, 30)
PHASES = (Phase.generate, Phase.shrink) if os.environ.get("CODEB_STATEFUL_SHRINK") else (Phase.generate,)
"""shrinking what was found takes minutes: on request"""
RUNS = int(os.environ.get("CODEB_STATEFUL_RUNS", RUNS))

TOOLS = (
    "deploy", "promote", "rollback", "slot_cleanup", "port_allocate", "port_register", "port_release", "port_sync",
    "project_create", "project_update", "project_delete", "undelete", "purge",
    "reconcile", "loop", "timer",
)  # fmt: skip
CALLS = {
    "deploy": 90, "promote": 60, "rollback": 60, "slot_cleanup": 40, "project_delete": 60, "undelete": 60, "purge": 60,
    "timer": 30,
    "reconcile": 40, "loop": 40,
}  # fmt: skip
"""about so many calls to the outside a tool makes; others about 25"""
POINTS = {
    "deploy": 34, "promote": 15, "rollback": 15, "slot_cleanup": 10, "project_delete": 20, "undelete": 25, "purge": 20,
    "timer": 10,
    "reconcile": 24, "loop": 24,
}  # fmt: skip
"""and so many points it has at which the process may die; others none"""
LONG = ("deploy", "promote", "rollback", "slot_cleanup", "project_delete")
WAYS = ("refused", "time-out", "500", "full", "lost")
PARTS = ("runtime.", "proxy.", "images.", "ports.", "records.", "store.commit", "health.", "networks.")

wild = st.builds(
    Ask,
    tool=st.sampled_from(TOOLS),
    project=st.sampled_from(("shop", "blog", "nobody")),
    environment=st.sampled_from(("production", "staging")),
    version=st.sampled_from(("1", "2", "3", "slow", "bad", "exits", "absent")),
    slot=st.sampled_from((None, "blue", "green")),
    yes=st.booleans(),
    port=st.sampled_from((4100, 4102, 4104, 4498, 4500, 4502, 4101, 5000, 3000)),
)
picks = st.one_of(st.integers(0, 2**16), st.integers(0, 2**16), st.integers(0, 2**16), wild)
"""three of four calls make sense where they are made, the fourth may be anything"""


def sensible(shop: Shop) -> list[Ask]:
    """Calls that do something in this state, those that move traffic more than once."""
    found: list[Ask] = []
    for at, env in sorted(shop.envs.items()):
        if at[0] in shop.deleted:
            continue
        here = Ask("deploy", *at)
        for state, tool, times in (("deployed", "promote", 6), ("grace", "rollback", 5)):
            if slot := env.find(state):
                found += [replace(here, tool=tool)] * times + [replace(here, tool="slot_cleanup", slot=slot, yes=True)]
        if slot := env.find("active"):
            # refused, always
            found.append(replace(here, tool="slot_cleanup", slot=slot, yes=True))
        found += [replace(here, version=version, yes=yes) for version in ("1", "2") for yes in (False, True)]
        found += [replace(here, version=version) for version in ("bad", "exits")]
        if env.idle:
            found.append(replace(here, tool="port_release"))
        found.append(replace(here, tool="port_register", port=env.port + 4))
        if shop.crowded(at):
            found += [replace(here, tool="port_sync")] * 4
    for project in ("shop", "blog"):
        if project in shop.deleted:
            found += [Ask("undelete", project)] * 3 + [Ask("purge", project)]
        elif project in shop.projects:
            found += [Ask("deploy", project, environment, yes=True) for environment in ("production", "staging")]
            found += [Ask("port_allocate", project, "staging"), Ask("project_delete", project)]
            found += [Ask("port_register", project, "staging", port=4500 + 2 * len(found) % 8)]
            found += [Ask("project_update", project, version=version, yes=yes) for version, yes in (("bad", False), ("1", True))]
        else:
            found += [Ask("project_create", project, environment) for environment in ("production", "staging")] * 2
    return [*found, Ask("timer"), Ask("port_sync"), Ask("reconcile"), Ask("loop")]


class Machine(RuleBasedStateMachine):
    """Each rule ends quiescent and compared."""

    def __init__(self) -> None:
        super().__init__()
        self.former = system.datetime, system.time
        self.loop = VirtualLoop()
        asyncio.set_event_loop(self.loop)
        self.keeper = Shopkeeper()
        self.broken = False

    def ask(self, pick: int | Ask, near: Ask | None = None) -> Ask:
        """`near`: about the same environment, where there is anything to do."""
        if isinstance(pick, int):
            calls = sensible(self.keeper.shop)
            calls = [each for each in calls if near and each.at == near.at] or calls
            return calls[pick % len(calls)]
        senseless = pick.tool == "project_create" and pick.project == "nobody"
        return replace(pick, project="shop") if senseless else pick

    def do(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            self.loop.run_until_complete(work)
        except BaseException:
            self.broken = True
            raise

    @initialize(ready=st.sampled_from(("", "shop", "both")))
    def open(self, ready: str) -> None:
        self.do(self.keeper.open())
        if ready:
            self.do(self.keeper.call(Ask("project_create", "shop")))
            self.do(self.keeper.call(Ask("deploy", "shop", yes=True)))
        if ready == "both":
            self.do(self.keeper.call(Ask("deploy", "shop", version="2", yes=True)))
            self.do(self.keeper.call(Ask("project_create", "blog", "staging")))

    @rule(pick=picks)
    def call(self, pick: int | Ask) -> None:
        self.do(self.keeper.call(self.ask(pick)))

    @rule(pick=picks, number=st.integers(0, 2**16), way=st.sampled_from(WAYS))
    def call_disturbed(self, pick: int | Ask, number: int, way: str) -> None:
        ask = self.ask(pick)
        self.do(self.keeper.disturbed(ask, number % (CALLS.get(ask.tool, 25) // (4 if way == "lost" else 1)), way, ""))

    @rule(pick=picks, number=st.integers(0, 5), way=st.sampled_from(WAYS), part=st.sampled_from(PARTS))
    def part_disturbed(self, pick: int | Ask, number: int, way: str, part: str) -> None:
        self.do(self.keeper.disturbed(self.ask(pick), number, way, part))

    @rule(pick=picks, number=st.integers(0, 2**16), again=st.integers(0, 15), retry=st.booleans())
    def call_killed(self, pick: int | Ask, number: int, again: int, retry: bool) -> None:
        ask = self.ask(pick)
        self.do(self.keeper.killed(ask, 1 + number % POINTS.get(ask.tool, 1), again, retry))

    @rule(one=picks, other=picks)
    def two_calls(self, one: int | Ask, other: int | Ask) -> None:
        self.do(self.keeper.both(self.ask(one), self.ask(other)))

    @rule(which=st.integers(0, 4))
    def repeat(self, which: int) -> None:
        self.do(self.keeper.repeat(which))

    @rule(rarely=st.integers(0, 3))
    def restart(self, rarely: int) -> None:
        if rarely == 2:
            self.do(self.keeper.restart())

    @rule(hours=st.sampled_from((0.5, 20, 47.9, 49)))
    def wait(self, hours: float) -> None:
        self.do(self.keeper.wait(hours))

    @rule(hours=st.sampled_from((-200, -25, -1, 1, 25, 200)))
    def clock_jumps(self, hours: float) -> None:
        self.do(self.keeper.jump(hours))

    @rule(pick=picks, between=st.none() | st.none() | picks, hours=st.sampled_from((0, 0, 0, 20, 49)))
    def plan(self, pick: int | Ask, between: int | Ask | None, hours: float) -> None:
        ask = self.ask(pick)
        if ask.tool in ("timer", "loop"):
            self.do(self.keeper.call(ask))
        else:
            self.do(self.keeper.planned(ask, None if between is None else self.ask(between, ask), hours))

    @rule(pick=picks, seconds=st.sampled_from((0, 0.05, 0.3, 1, 6)), dies=st.integers(0, 12), slow=st.booleans())
    def cancel(self, pick: int | Ask, seconds: float, dies: int, slow: bool) -> None:
        ask = self.ask(pick)
        if ask.tool not in LONG or (ask.tool == "slot_cleanup" and not ask.slot):
            ask = replace(ask, tool="deploy")
        self.do(self.keeper.cancelled(replace(ask, version="slow") if slow and ask.tool == "deploy" else ask, seconds, dies))

    @rule(
        how=st.sampled_from(HOW),
        which=st.integers(0, 20),
        mend=st.sampled_from(("reconcile", "loop", "")),
        number=st.integers(0, 60),
        spoilt=st.sampled_from((*WAYS, "killed", "", "", "")),
    )
    def by_hand(self, how: str, which: int, mend: str, number: int, spoilt: str) -> None:
        """Somebody does something beside CodeB; it is mended, perhaps after a round that was disturbed, or stays."""
        self.do(self.keeper.by_hand(how, which))
        if mend and spoilt == "killed":
            self.do(self.keeper.killed(Ask(mend), 1 + number, number % 7, False))
        elif mend and spoilt:
            self.do(self.keeper.disturbed(Ask(mend), number, spoilt, ""))
        if mend:
            self.do(self.keeper.call(Ask(mend)))

    def teardown(self) -> None:
        try:
            if hasattr(self.keeper, "rig"):
                self.loop.run_until_complete(self.keeper.stack.aclose() if self.broken else self.keeper.close())
        finally:
            system.datetime, system.time = self.former
            asyncio.set_event_loop(None)
            self.loop.close()


@pytest.mark.timeout(0)
def test_codeb_and_the_model_agree() -> None:
    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=RUNS, stateful_step_count=STEPS, deadline=None, derandomize=not FULL, database=None,
            suppress_health_check=list(HealthCheck), print_blob=True, phases=PHASES,
        ),
    )  # fmt: skip
