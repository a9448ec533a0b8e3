"""The database stopped, silenced and cut off at random, under mixed calls and real load: what is lost, and for how long.

    python -m tests.e2e.outages --minutes 10 --json

Three projects behind one proxy, each with a load client and an operator who deploys, promotes and rolls back; others read,
create and delete. Every call and every request is accounted for. Exit code 0 when nothing was lost and all agree in the end.
"""

import argparse
import json
import random
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import quantiles
from typing import Any

from demo.images import Builder

from tests import oracle
from tests.e2e.callers import Caller, Ledger, Maker, Operator, Reader
from tests.e2e.seaside import Seaside, seaside
from tests.e2e.zeroloss import IMAGE, LoadClient, scaled

PAUSE = (5.0, 40.0)
HASTE = (0.5, 3.0)
"""seconds between two outages, in a long run and in a short one"""
LENGTH = (0.0, 2.0)
QUIET_SECONDS = 3.0
"""so long it has to be back before the next outage, to be called back"""
CONVERGE_SECONDS = 30.0


@dataclass(frozen=True)
class Outage:
    """One absence of the database, and how long after its end CodeB still went on without it, or had something to add."""

    kind: str
    seconds: float
    converged: float


@dataclass
class Report:
    minutes: float
    seed: int
    outages: list[Outage] = field(default_factory=list)
    calls: list[Any] = field(default_factory=list)
    load: dict[str, dict[str, Any]] = field(default_factory=dict)
    gaps: list[float] = field(default_factory=list)
    """as CodeB's own events tell them"""
    refused: list[str] = field(default_factory=list)
    """answers that the state of the database does not excuse"""
    lost: list[str] = field(default_factory=list)
    """calls answered with success that the database does not have in the end, or has twice"""
    wrong: list[str] = field(default_factory=list)
    """sources that disagree in the end"""

    def total(self, name: str) -> int:
        return sum(int(each["total"][name]) for each in self.load.values())

    @property
    def failures(self) -> list[str]:
        return [
            f"{name}: {each['kind']} {each['stage']} {each['reason']} {each['status'] or ''}"
            for name, one in self.load.items()
            for each in one["failures"]
        ]

    @property
    def faults(self) -> list[str]:
        return [*self.failures, *self.refused, *self.lost, *self.wrong]

    def summary(self) -> dict[str, Any]:
        by_tool: dict[str, Counter[str]] = {}
        longest: dict[str, float] = {}
        for call in self.calls:
            by_tool.setdefault(call.tool, Counter())[call.outcome] += 1
            longest[call.tool] = max(longest.get(call.tool, 0.0), round(call.seconds, 3))
        return {
            "minutes": self.minutes, "seed": self.seed, "requests": self.total("sent"), "failed": self.total("failed"),
            "cut": self.total("cut"), "calls": len(self.calls), "answers": {k: dict(v) for k, v in sorted(by_tool.items())},
            "longest_call_seconds": dict(sorted(longest.items())), "outages": dict(Counter(each.kind for each in self.outages)),
            "away_seconds": spread([each.seconds for each in self.outages]),
            "converged_seconds": spread([each.converged for each in self.outages]),
            "gaps_told": len(self.gaps), "gap_seconds": spread(self.gaps), "unexcused_answers": len(self.refused),
            "lost_writes": len(self.lost), "wrong_states": len(self.wrong), "faults": self.faults[:40],
        }  # fmt: skip


def spread(values: Sequence[float]) -> dict[str, float]:
    if len(values) < 2:
        return {"max": round(max(values, default=0.0), 3)}
    cuts = quantiles(values, n=20, method="inclusive")
    return {"p50": round(cuts[9], 3), "p95": round(cuts[18], 3), "max": round(max(values), 3)}


class Weather:
    """Takes the database away and brings it back, at random."""

    def __init__(self, shore: Seaside, chance: random.Random) -> None:
        self._shore = shore
        self._chance = chance
        self._kinds: dict[str, Callable[[float], None]] = {
            "stopped at once": lambda seconds: self._stopped("immediate", seconds),
            "stopped fast": lambda seconds: self._stopped("fast", seconds),
            "silent": lambda seconds: self._line("silent", seconds),
            "refused": lambda seconds: self._line("shut", seconds),
            "cut": lambda _: self._shore.at.cut(),
        }
        self._next: list[str] = []

    def _stopped(self, mode: str, seconds: float) -> None:
        self._shore.stop(mode)
        time.sleep(seconds)
        self._shore.server.start()

    def _line(self, state: str, seconds: float) -> None:
        self._shore.at.set(state)
        time.sleep(seconds)
        self._shore.at.set("open")

    def strike(self) -> Outage:
        """One outage, and the wait until CodeB has converged. All kinds come equally often."""
        if not self._next:
            self._next = self._chance.sample(list(self._kinds), len(self._kinds))
        kind = self._next.pop()
        began = time.monotonic()
        self._kinds[kind](self._chance.uniform(*LENGTH))
        back = last = time.monotonic()
        while time.monotonic() - last < QUIET_SECONDS and time.monotonic() - back < CONVERGE_SECONDS:
            if self._shore.away:
                last = time.monotonic()
            time.sleep(0.05)
        return Outage(kind, back - began, last - back)


def prepare(shore: Seaside, projects: Sequence[str]) -> None:
    for name in projects:
        shore.stage.call("project_create", projectName=name, healthPath="/health", memoryMb=128)
        where = {"projectName": name, "environment": "production"}
        shore.stage.call("deploy", **where, image=f"{IMAGE}:v1", autoPromote=True)
        shore.stage.call("deploy", **where, image=f"{IMAGE}:v2")


def run(shore: Seaside, minutes: float, seed: int, load: float = 0.4) -> Report:
    """`load`: requests per second on each project, as a multiple of `zeroloss.LIGHT`."""
    report, ledger, chance = Report(minutes, seed), Ledger(), random.Random(seed)
    projects = [f"{shore.stage.project}-{letter}" for letter in "abc"]
    shore.start()
    prepare(shore, projects)
    loads = {name: LoadClient(shore.stage.http_port, f"{name}.localhost", scaled(load)) for name in projects}
    over = threading.Event()
    callers: list[Caller] = [
        *(Operator(shore.stage, ledger, over, random.Random(seed + at), name) for at, name in enumerate(projects)),
        Reader(shore.stage, ledger, over, random.Random(seed + 10), projects[0]),
        Maker(shore.stage, ledger, over, random.Random(seed + 11), f"{shore.stage.project}-m"),
    ]
    try:
        time.sleep(2)
        end = time.monotonic() + minutes * 60
        for caller in callers:
            caller.start()
        weather = Weather(shore, chance)
        while time.monotonic() < end:
            time.sleep(chance.uniform(*(PAUSE if minutes > 2 else HASTE)))
            report.outages.append(weather.strike())
    finally:
        over.set()
        for caller in callers:
            caller.join(150)
        for client in loads.values():
            client.end()
        report.load = {name: client.result() for name, client in loads.items()}
    assert not any(caller.is_alive() for caller in callers), "a call hangs"
    judge(shore, projects, ledger, report)
    return report


def judge(shore: Seaside, projects: Sequence[str], ledger: Ledger, report: Report) -> None:
    """Hold everything that was answered against what the database has in the end, and all sources against each other."""
    shore.until(False, CONVERGE_SECONDS)
    oracle.settle(shore.stage)
    time.sleep(1)
    report.calls, report.refused = ledger.calls, ledger.unexcused()
    report.lost = ledger.missing(shore)
    report.wrong = shore.agreed()
    for name in projects:
        report.wrong += [f"{name}: {fault}" for fault in oracle.judge(shore.stage, name)]
    report.wrong += [f"conflict: {each['reason']}" for each in shore.rows("select reason from conflicts")]
    report.wrong += [f"traceback: {line}" for line in shore.stage.log.splitlines() if line.startswith("Traceback")][:5]
    report.gaps = [each["data"]["seconds"] for each in shore.rows("select data from events where kind = 'database_away'")]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.e2e.outages", description="a database that comes and goes")
    parser.add_argument("--minutes", type=float, default=2 / 3)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--load", type=float, default=0.4, help="requests per second, as a multiple of those of zeroloss")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    for version in ("v1", "v2"):
        Builder().app(f"{IMAGE}:{version}", version)
    with seaside(pairs=60) as shore:
        report = run(shore, options.minutes, options.seed, options.load)
        if report.faults:
            sys.stderr.write(f"the server's log ends with:\n{shore.stage.log[-6000:]}\n")
    print(json.dumps(report.summary(), indent=None if options.json else 2))
    return 1 if report.faults else 0


if __name__ == "__main__":
    sys.exit(main())
