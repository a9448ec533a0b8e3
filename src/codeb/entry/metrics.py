"""What a Prometheus server reads: counters of this process, and gauges that are read when it asks.

A key's own view, like everything: slots and drift of the projects it sees. What concerns no project is for every key.
"""

from collections import Counter as Tally
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.registry import Collector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from codeb.contracts.kit import Kit
from codeb.model.access import Actor
from codeb.model.deletion import is_deleted
from codeb.model.slots import State

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
SLOT = {State.EMPTY: 0, State.DEPLOYED: 1, State.ACTIVE: 2, State.GRACE: 3}
METHODS = {"GET", "POST"}
"""others are one: a label that a caller may choose would grow without end"""


class Metrics:
    """The counters of one process."""

    def __init__(self) -> None:
        self._counts = CollectorRegistry()
        self._requests = Counter(
            "codeb_http_requests", "Requests to the API, by method and status", ["method", "status"], registry=self._counts
        )
        self._calls = Counter(
            "codeb_tool_calls", "Calls of tools, by tool, HTTP status and the key's role", ["tool", "status", "role"],
            registry=self._counts,
        )  # fmt: skip

        self._strangers = Counter("codeb_auth_failures", "Calls without a valid key", registry=self._counts)

    def stranger(self) -> None:
        """One call came with no key, or with one that is not valid."""
        self._strangers.inc()

    def called(self, tool: str, status: int, role: str) -> None:
        """One call was answered. `tool` is one of the catalogue's, or `unknown`; `role` is `none` without a valid key."""
        self._calls.labels(tool, str(status), role).inc()

    def requested(self, method: str, status: int) -> None:
        self._requests.labels(method if method in METHODS else "other", str(status)).inc()

    def text(self, kit: Kit, actor: Actor) -> bytes:
        """The exposition format. Reads memory only, so it also answers while the database is away."""
        now = CollectorRegistry()
        now.register(_Now(kit, actor))
        return generate_latest(self._counts) + generate_latest(now)


class _Now(Collector):
    """How it stands at this moment."""

    def __init__(self, kit: Kit, actor: Actor) -> None:
        self._kit = kit
        self._actor = actor

    def describe(self) -> Iterator[Metric]:
        return iter(())

    def collect(self) -> Iterator[Metric]:
        stands = self._kit.store.standing
        away = (self._kit.world.now() - stands.away_since).total_seconds() if stands.away_since else 0.0
        yield _gauge("codeb_degraded", "1 while the database is away and the local copy stands in", float(stands.degraded))
        yield _gauge("codeb_degraded_seconds", "How long the database has been away; 0 when it is there", max(0.0, away))
        yield _gauge("codeb_degraded_last_seconds", "How long it was away the last time", stands.last_gap_seconds or 0.0)
        yield _gauge("codeb_replay_pending", "Transactions that wait for the database", stands.pending)
        yield _gauge("codeb_replay_conflicts", "Transactions it did not take that nobody has settled", stands.conflicts)
        yield _gauge("codeb_leader", "1 when this process may change things", float(stands.leads))
        yield self._slots()
        yield self._drift()

    def _sees(self, project: str) -> bool:
        found = self._kit.store.snapshot.projects.get(project)
        return found is not None and not is_deleted(found) and self._actor.sees_project(project, found.team)

    def _slots(self) -> Metric:
        told = "0 empty, 1 deployed, 2 active, 3 grace"
        family = GaugeMetricFamily("codeb_slot_status", told, labels=["project", "environment", "slot"])
        for place, pair in self._kit.store.snapshot.pairs.items():
            for row in pair.rows if self._sees(place.project) else ():
                family.add_metric([place.project, place.environment, row.slot.value], SLOT[row.state])
        return family

    def _drift(self) -> Metric:
        family = GaugeMetricFamily("codeb_drift", "What the last round left as it is, by kind", labels=["kind"])
        seen = (each for each in self._kit.drift.left if each.place is None or self._sees(each.place.project))
        for kind, number in sorted(Tally(each.kind for each in seen).items()):
            family.add_metric([kind], number)
        return family


def _gauge(name: str, about: str, value: float) -> Metric:
    return GaugeMetricFamily(name, about, value=value)


class Counted:
    """Counts every answer of the application within, one that broke down too."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        begun = False

        async def count(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                self._metrics.requested(scope["method"], message["status"])
            await send(message)

        try:
            await self._app(scope, receive, count)
        except Exception:
            if not begun:
                self._metrics.requested(scope["method"], 500)
            raise
