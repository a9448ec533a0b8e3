"""Zero loss, measured: promote and rollback over and over under open-loop load, every request accounted for.

    python -m tests.e2e.zeroloss --cycles 200 --caddy /usr/bin/caddy --json

Two projects stand behind one proxy: one is switched, its neighbour is not. Each has its own load client, a process of
its own. A cycle is a promote and a rollback through the HTTP API. Exit code 0 when nothing was lost.
"""

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from demo.images import Builder
from demo.load import Rates, Sight, Switch, backslides

from tests import oracle
from tests.stage import Stage

IMAGE = "codebtest-app"
SLOT_OF = {"v1": "blue", "v2": "green"}
WARM_SECONDS = 2.0
DRAIN_SECONDS = 60.0
LIGHT = Rates(short=25, keepalive=25, post=8, upload=1, slow=2, stream=2, sse=3, websocket=3)


class LoadClient:
    """`python -m demo.load` on one host, until told to stop."""

    def __init__(self, port: int, host: str, rates: Rates) -> None:
        self.folder = tempfile.TemporaryDirectory(prefix="codebtest-load-")
        self.stop_file = Path(self.folder.name, "stop")
        self.output = Path(self.folder.name, "result.json")
        options = [f"--{kind}={rate}" for kind, rate in asdict(rates).items()]
        options += [f"--port={port}", f"--host-header={host}", f"--stop-file={self.stop_file}", "--json", "--trace"]
        with self.output.open("wb") as out:
            self.process = subprocess.Popen([sys.executable, "-m", "demo.load", *options], stdout=out)

    def end(self) -> None:
        """Tell it to begin nothing new."""
        self.stop_file.touch()

    def result(self) -> dict[str, Any]:
        """Its summary, once everything in flight has ended."""
        self.end()
        try:
            self.process.wait(DRAIN_SECONDS)
            return dict(json.loads(self.output.read_text()))
        finally:
            self.process.kill()
            self.process.wait()
            self.folder.cleanup()


@dataclass(frozen=True)
class Moved:
    """One promote or rollback as its caller saw it: monotonic seconds, and the slot that has traffic from then on."""

    tool: str
    to: str
    called: float
    returned: float
    switch_ms: float = 0.0


@dataclass
class Report:
    """What happened. `faults` is empty when nothing was lost and nothing was out of order."""

    caddy: str
    cycles: int
    seconds: float = 0.0
    sites: dict[str, dict[str, Any]] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    call_ms: dict[str, float] = field(default_factory=dict)
    backslides: int = 0
    """answers of the old slot to requests sent after the call had returned: a fault"""
    flickers: int = 0
    """answers of the old slot to requests sent after the new one had answered; also while the call was still under way"""

    def total(self, name: str) -> int:
        return sum(int(site["total"][name]) for site in self.sites.values())

    def summary(self) -> dict[str, Any]:
        facts = {
            "caddy": self.caddy, "cycles": self.cycles, "seconds": round(self.seconds, 1),
            "requests": self.total("sent"), "failed": self.total("failed"), "cut": self.total("cut"),
            "stale": self.total("stale"), "backslides": self.backslides, "flickers": self.flickers,
            "call_ms": self.call_ms, "faults": self.faults,
        }  # fmt: skip
        kinds = {
            name: {kind: {k: v for k, v in counts.items() if k != "latency_ms"} for kind, counts in site["kinds"].items()}
            for name, site in self.sites.items()
        }
        lag = {name: site["worst_lag_ms"] for name, site in self.sites.items()}
        return facts | {"kinds": kinds, "client_lag_ms": lag}


def ready(stage: Stage, project: str) -> dict[str, str]:
    """A project with v1 active in blue and v2 deployed in green."""
    where = {"projectName": project, "environment": "production"}
    stage.call("project_create", projectName=project, healthPath="/health", memoryMb=128)
    stage.call("deploy", **where, image=f"{IMAGE}:v1", autoPromote=True)
    stage.call("deploy", **where, image=f"{IMAGE}:v2")
    return where


def move(stage: Stage, tool: str, where: dict[str, str], faults: list[str]) -> Moved:
    """Promote to v2 or roll back to v1, and hold the answer against what it has to say."""
    version, before = ("v2", "v1") if tool == "promote" else ("v1", "v2")
    called = time.monotonic()
    status, answer = stage.ask(tool, where)
    moved = Moved(tool, SLOT_OF[version], called, time.monotonic())
    wanted = {"activeSlot": SLOT_OF[version], "previousSlot": SLOT_OF[before], "version": version, "warnings": []}
    said = {name: answer.get(name) for name in wanted}
    if status != 200 or said != wanted:
        faults.append(f"{tool} answered {status} {json.dumps(answer)[:2000]}")
        return moved
    if any(step["status"] != "done" for step in answer["steps"]):
        faults.append(f"{tool}: a step is not done: {answer['steps']}")
    if tool == "promote" and answer["gracePeriod"]["slot"] != SLOT_OF[before]:
        faults.append(f"promote: grace is {answer['gracePeriod']}")
    spent = next(step["durationMs"] for step in answer["steps"] if step["name"] == "switch")
    return replace(moved, switch_ms=spent)


def old_answers(trace: Sequence[Sight], moves: Sequence[Moved]) -> list[Sight]:
    """Answers of the old slot to requests that were sent after the call that switched away from it had returned.

    One that is answered after the next call began is not judged: that call may have switched already.
    """
    ordered = sorted(trace, key=lambda sight: sight.sent)
    wrong = []
    ends = [each.called for each in moves[1:]] + [float("inf")]
    for each, end in zip(moves, ends, strict=True):
        first = bisect_right(ordered, each.returned, key=lambda sight: sight.sent)
        last = bisect_left(ordered, end, key=lambda sight: sight.sent)
        wrong += [sight for sight in ordered[first:last] if sight.answered < end and sight.slot != each.to]
    return wrong


def accounts(report: Report, moves: Sequence[Moved], switched: str) -> None:
    """Everything that is wrong with what the load clients saw, into `report.faults`."""
    for name, site in report.sites.items():
        total = site["total"]
        if total["sent"] != total["ok"] + total["failed"] + total["cut"]:
            report.faults.append(f"{name}: {total} does not add up")
        for failure in site["failures"]:
            near = min(moves, key=lambda each: abs(each.called - failure["at"]))
            report.faults.append(
                f"{name}: {failure['kind']} {failure['stage']} {failure['reason']} (status {failure['status']}),"
                f" {(failure['at'] - near.called) * 1000:+.0f} ms from the start of a {near.tool}"
                f" that took {(near.returned - near.called) * 1000:.0f} ms"
            )
        trace = [Sight(*each) for each in site["trace"]]
        mixed = {(sight.version, sight.slot) for sight in trace} - set(SLOT_OF.items())
        if mixed:
            report.faults.append(f"{name}: version and slot header do not agree: {mixed}")
        if name != switched:
            strangers = {sight.slot for sight in trace} - {"blue"}
            report.faults += [f"{name}: was never switched, yet {each} answered" for each in strangers]
            continue
        late = old_answers(trace, moves)
        report.backslides = len(late)
        report.flickers = len(backslides(trace, [Switch(each.called, each.to) for each in moves]))
        report.faults += [f"{name}: the old slot answered a request sent after the switch: {each}" for each in late[:5]]


def run(stage: Stage, cycles: int, rates: Rates = LIGHT, redeploy_every: int = 0) -> Report:
    """Switch one of two sites back and forth under load on both. Random pauses, so that no rhythm hides a gap.

    Every so many cycles v2 is deployed anew before it is promoted (0: never).
    """
    names = [f"{stage.project}-a", f"{stage.project}-b"]
    where = ready(stage, names[0])
    ready(stage, names[1])
    report = Report(stage.settings.get("CADDY_BIN", "embedded"), cycles)
    loads = {name: LoadClient(stage.http_port, f"{name}.localhost", rates) for name in names}
    moves: list[Moved] = []
    began = time.monotonic()
    try:
        time.sleep(WARM_SECONDS)
        for cycle in range(cycles):
            if redeploy_every and cycle % redeploy_every == redeploy_every - 1:
                # The proxy may have seen the slot down while its container was replaced.
                stage.call("deploy", **where, image=f"{IMAGE}:v2")
            for tool in ("promote", "rollback"):
                moves.append(move(stage, tool, where, report.faults))
                time.sleep(random.uniform(0.05, 0.4))
    finally:
        for load in loads.values():
            load.end()
        report.sites = {name: load.result() for name, load in loads.items()}
    report.seconds = time.monotonic() - began
    accounts(report, moves, names[0])
    for name in names:
        report.faults += [f"oracle, {name}: {each}" for each in oracle.judge(stage, name)]
    report.call_ms = spread([(each.returned - each.called) * 1000 for each in moves])
    report.call_ms |= {f"switch_{k}": v for k, v in spread([each.switch_ms for each in moves]).items()}
    return report


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median, 95th percentile and greatest."""
    ordered = sorted(values)
    last = len(ordered) - 1
    marks = {"p50": 0.5, "p95": 0.95, "max": 1.0}
    return {name: round(ordered[min(last, int(len(ordered) * q))], 1) for name, q in marks.items()}


@dataclass(frozen=True)
class Death:
    """The active container killed under load with the other slot in grace."""

    requests: int
    failed: dict[str, int]
    """by kind; requests that were inside the dead container are among them"""
    back_ms: float
    """from the kill to the first answer of the slot in grace"""
    last_failure_ms: float
    """from the kill to the last request that failed"""
    reasons: list[str]


def kill_active(stage: Stage, rates: Rates = LIGHT, seconds: float = 5.0) -> Death:
    """v2 active, v1 in grace; v2's container is killed as the kernel would kill it, and stays dead."""
    where = ready(stage, stage.project)
    stage.call("promote", **where)
    load = LoadClient(stage.http_port, f"{stage.project}.localhost", rates)
    try:
        time.sleep(WARM_SECONDS + 1)
        killed = time.monotonic()
        stage.engine.call("POST", f"/containers/{stage.project}-production-green/kill")
        time.sleep(seconds)
    finally:
        result = load.result()
    answers = [Sight(*each).answered for each in result["trace"] if each[3] == "blue"]
    lost = [failure["at"] for failure in result["failures"]]
    return Death(
        requests=result["total"]["sent"],
        failed={kind: counts["failed"] + counts["cut"] for kind, counts in result["kinds"].items()},
        back_ms=round((min(answers, default=float("inf")) - killed) * 1000, 1),
        last_failure_ms=round((max(lost, default=killed) - killed) * 1000, 1),
        reasons=[f"{each['kind']} {each['stage']} {each['reason']} {each['status'] or ''}" for each in result["failures"]],
    )  # fmt: skip


def scaled(times: float) -> Rates:
    """`LIGHT`, so many times."""
    return Rates(**{kind: type(rate)(rate * times) for kind, rate in asdict(LIGHT).items()})


def caddy_setting(name: str) -> dict[str, str]:
    """The setting for a Caddy: `embedded`, or the path of a binary."""
    return {} if name == "embedded" else {"CADDY_BIN": name}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.e2e.zeroloss", description="promote and rollback under load")
    parser.add_argument("--cycles", type=int, default=200)
    parser.add_argument("--caddy", default="embedded", help="embedded, or the path of a binary")
    parser.add_argument("--redeploy-every", type=int, default=0, help="cycles; 0: the same two containers throughout")
    parser.add_argument("--load", type=float, default=1.0, help="requests per second, as a multiple of those of `make test`")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    for version in SLOT_OF:
        Builder().app(f"{IMAGE}:{version}", version)
    with Stage(**caddy_setting(options.caddy)) as stage:
        report = run(stage, options.cycles, scaled(options.load), options.redeploy_every)
        if report.faults:
            sys.stderr.write(f"the server's log ends with:\n{stage.log[-3000:]}\n")
    print(json.dumps(report.summary(), indent=None if options.json else 2))
    return 1 if report.faults else 0


if __name__ == "__main__":
    sys.exit(main())
