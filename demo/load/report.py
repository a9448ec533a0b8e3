"""What is counted, and what comes out of a run. Times are seconds of `time.monotonic()`, which all processes share."""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

FIRST_FAILURES = 50
COUNTS = ("sent", "ok", "failed", "cut", "stale")


@dataclass(frozen=True, slots=True)
class Failure:
    """One request that failed, or one long-lived connection that was cut."""

    kind: str
    at: float
    stage: str
    reason: str
    status: int | None = None


class Sight(NamedTuple):
    """One answer: when its request was sent, when its head was read, and who answered."""

    kind: str
    sent: float
    answered: float
    slot: str
    version: str


class Switch(NamedTuple):
    """From `at` on, new requests may be answered by `to` (a slot or a version)."""

    at: float
    to: str


@dataclass(slots=True)
class KindResult:
    """Counts of one kind; at the end of a run sent = ok + failed + cut.

    `stale`: idle connections that the server had closed before we took them up again; nothing was sent on them,
    so they are no failures. One that breaks under a request is a failure with the reason "stale".
    """

    sent: int = 0
    ok: int = 0
    failed: int = 0
    cut: int = 0
    stale: int = 0
    latencies: list[float] = field(default_factory=list)

    def summary(self) -> dict[str, Any]:
        """Counts, and percentiles in milliseconds measured from the moment the request was due."""
        ordered = sorted(self.latencies)
        marks = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "max": 1.0}
        last = len(ordered) - 1
        taken = {name: round(ordered[min(last, int(len(ordered) * q))] * 1000, 2) for name, q in marks.items() if ordered}
        counts = {name: int(getattr(self, name)) for name in COUNTS}
        return {**counts, "latency_ms": taken}


@dataclass(slots=True)
class Seen:
    """How many answers one slot or version gave, and when the first and the last."""

    count: int = 0
    first: float = 0.0
    last: float = 0.0


@dataclass(slots=True)
class Result:
    """The outcome of a run. `trace` holds every answer, `failures` the first fifty."""

    kinds: dict[str, KindResult]
    started: float
    ended: float = 0.0
    failures: list[Failure] = field(default_factory=list)
    slots: dict[str, Seen] = field(default_factory=dict)
    versions: dict[str, Seen] = field(default_factory=dict)
    trace: list[Sight] = field(default_factory=list)
    worst_lag: float = 0.0
    cpu_seconds: float = 0.0

    def saw(self, sight: Sight) -> None:
        """Write down who answered."""
        self.trace.append(sight)
        for label, table in ((sight.slot, self.slots), (sight.version, self.versions)):
            seen = table.get(label)
            if seen is None:
                seen = table[label] = Seen(first=sight.answered)
            seen.count += 1
            seen.first = min(seen.first, sight.answered)
            seen.last = max(seen.last, sight.answered)

    def total(self, name: str) -> int:
        """The sum of one count (sent, ok, failed, cut, stale) over all kinds."""
        return sum(int(getattr(kind, name)) for kind in self.kinds.values())

    @property
    def lost(self) -> int:
        """Requests that failed and long-lived connections that were cut."""
        return self.total("failed") + self.total("cut")

    def summary(self, trace: bool = False) -> dict[str, Any]:
        """Plain JSON values."""
        facts: dict[str, Any] = {
            "started": self.started,
            "ended": self.ended,
            "seconds": round(self.ended - self.started, 3),
            "total": {name: self.total(name) for name in COUNTS},
            "kinds": {name: kind.summary() for name, kind in self.kinds.items() if kind.sent},
            "failures": [asdict(failure) for failure in self.failures],
            "slots": {name: asdict(seen) for name, seen in self.slots.items()},
            "versions": {name: asdict(seen) for name, seen in self.versions.items()},
            "worst_lag_ms": round(self.worst_lag * 1000, 2),
            "cpu_seconds": round(self.cpu_seconds, 3),
        }
        if trace:
            facts["trace"] = [list(sight) for sight in self.trace]
        return facts


def backslides(trace: Sequence[Sight], switches: Sequence[Switch]) -> list[Sight]:
    """Answers of an old version to requests sent after the new one had answered for the first time.

    `switches` in order of time; the labels in `to` are slots or versions. An answer counts against the switch in
    whose time its request was sent and answered; one that is answered after the next switch is not judged.
    """
    ordered = sorted(trace, key=_answered)
    wrong: list[Sight] = []
    ends = [switch.at for switch in switches[1:]] + [float("inf")]
    for switch, end in zip(switches, ends, strict=True):
        span = ordered[bisect_left(ordered, switch.at, key=_answered) : bisect_left(ordered, end, key=_answered)]
        # A slow answer of `to` may be left from the time before last, when it had the traffic already.
        fresh = (sight for sight in span if sight.sent >= switch.at and switch.to in (sight.slot, sight.version))
        first = next((sight.answered for sight in fresh), end)
        wrong += [sight for sight in span if sight.sent > first and switch.to not in (sight.slot, sight.version)]
    return wrong


def _answered(sight: Sight) -> float:
    return sight.answered
