"""How one cell of the crash matrix is lived through, on real parts.

A cell is a situation, a call (or what somebody did by hand), and the journal point at which the server kills itself; perhaps
a second point at which the restarted server kills itself while it recovers.
"""

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tests import oracle
from tests.e2e.by_hand import Hand, died
from tests.e2e.cells import BY_HAND, CALLS, SITUATIONS, Cell
from tests.e2e.nursery import QuickStage
from tests.e2e.visitor import Visitor

RECOVERY_SECONDS = 30.0
MIGRATES = Path("/proc/sys/net/ipv4/tcp_migrate_req").read_text().strip() == "1"


@dataclass(frozen=True)
class Facts:
    """Everything of an environment that has to be as before when an operation did not happen."""

    slots: dict[str, dict[str, Any]]
    containers: dict[str, tuple[str, str, str]]
    """name -> id, state, restart policy"""
    markers: frozenset[str]
    site: str | None
    leases: frozenset[int]
    networks: frozenset[str]

    @property
    def active(self) -> str | None:
        return next((slot for slot, row in self.slots.items() if row["state"] == "active"), None)

    @property
    def grace(self) -> str | None:
        return next((slot for slot, row in self.slots.items() if row["state"] == "grace"), None)

    @property
    def states(self) -> frozenset[str]:
        return frozenset(row["state"] for row in self.slots.values())

    def differences(self, after: "Facts") -> list[str]:
        # The network is the project's, made with its first container and removed with the project.
        mine, theirs = asdict(self), asdict(after)
        return [
            f"{name} was {mine[name]} and is {theirs[name]}" for name in mine if name != "networks" and mine[name] != theirs[name]
        ]


def facts(stage: QuickStage, project: str, environment: str) -> Facts:
    truth = oracle.look(stage, project, environment)
    inspected = {
        name: json.loads(stage.engine.call("GET", f"/containers/{one['Id']}/json")[1]) for name, one in truth.containers.items()
    }
    site = stage.home / "caddy" / "sites" / f"{project}-{environment}.caddy"
    return Facts(
        slots=truth.slots,
        containers={
            name: (one["Id"], one["State"]["Status"], one["HostConfig"]["RestartPolicy"]["Name"])
            for name, one in inspected.items()
        },
        markers=frozenset(truth.markers), site=site.read_text() if site.exists() else None,
        leases=frozenset(truth.leases), networks=frozenset(networks(stage)),
    )  # fmt: skip


def networks(stage: QuickStage) -> list[str]:
    filters = json.dumps({"label": [f"codeb.instance={stage.instance}"]})
    status, body = stage.engine.call("GET", "/networks?filters=" + quote(filters))
    assert status == 200, body
    return [each["Name"] for each in json.loads(body)]


@dataclass
class Outcome:
    cell: str
    faults: list[str] = field(default_factory=list)
    seconds: float = 0.0
    recovery_seconds: float = 0.0
    resets: list[str] = field(default_factory=list)
    """connections that a reload of the proxy reset: known, and cured by net.ipv4.tcp_migrate_req=1 (design, section 4)"""


class Matrix:
    """Lives through cells on one stage, with visitors on the site under test and on a neighbour all the while.

    `also` judges what only this stage has; it is asked once the rest is as it should be.
    """

    def __init__(self, stage: QuickStage, images: dict[str, str], also: Callable[[], list[str]] = list) -> None:
        self.stage = stage
        self.images = images
        self.also = also
        self.outcomes: list[Outcome] = []
        self._count = 0
        self.neighbour = f"{stage.project}-n"
        self.project = ""
        self._visitor: Visitor | None = None
        stage.start()
        where = self._create(self.neighbour)
        self._must("deploy", **where, image=images["v1"])
        self._must("promote", **where)
        self._neighbour_visitor = Visitor(stage.http_port, f"{self.neighbour}.localhost")

    def close(self) -> None:
        self._neighbour_visitor.close()

    # bringing about a situation

    def _must(self, tool: str, **params: Any) -> dict[str, Any]:
        return self.stage.call(tool, **params)

    def _create(self, name: str) -> dict[str, str]:
        self._must("project_create", projectName=name, healthPath="/health")
        return {"projectName": name, "environment": "production"}

    def _where(self, environment: str) -> dict[str, str]:
        return {"projectName": self.project, "environment": environment}

    def fresh(self) -> None:
        """A new project instead of the former one."""
        if self.project:
            for purge in (False, True):
                self.stage.ask("project_delete", {"projectName": self.project, "confirm": self.project, "purge": purge})
        self._count += 1
        self.project = f"{self.stage.project}-{self._count}"
        self._create(self.project)

    def environment_of(self, situation: str) -> str:
        return "staging" if situation == "new environment" else "production"

    def bring(self, situation: str) -> None:
        """Bring the project into the situation by ordinary calls; a situation of the beginning needs a new project."""
        environment, wanted = self.environment_of(situation), SITUATIONS[situation]
        where = self._where(environment)
        if not self.project or not self._exists(self.project):
            self.fresh()
            where = self._where(environment)
        for _ in range(8):
            states = facts(self.stage, self.project, environment).states or None
            if states == wanted:
                return
            if wanted is None or ("active" not in wanted and states != frozenset({"empty"})):
                self.fresh()
                where = self._where(environment)
            elif states == frozenset({"active", "grace"}):
                self._must("rollback", **where)
            elif states == frozenset({"active", "deployed"}) or (states == frozenset({"deployed", "empty"})):
                self._must("promote", **where)
            else:
                self._must("deploy", **where, image=self.images["v1"])
        raise AssertionError(f"could not bring about: {situation}")

    def _exists(self, project: str) -> bool:
        return any(
            (row["name"], row["state"]) == (project, "ready")
            for row in oracle.rows(self.stage, "select name, state from projects")
        )

    # one cell

    def params(self, cell: Cell, before: Facts) -> dict[str, Any]:
        where: dict[str, Any] = self._where(self.environment_of(cell.situation))
        match cell.what:
            case "deploy" | "deploy and promote":
                return where | {"image": self.images["v2"], "autoPromote": cell.what != "deploy"}
            case "deploy of a broken image":
                return where | {"image": self.images["broken"]}
            case "cleanup":
                slot = next(slot for slot, row in before.slots.items() if row["state"] in ("grace", "deployed"))
                return where | {"slot": slot, "force": True}
            case "project_delete":
                return {"projectName": self.project, "confirm": self.project}
        return where

    def live(self, cell: Cell, again: bool) -> Outcome:
        """One cell, from its situation to its judgement; `again` makes the same call once more afterwards."""
        began = time.monotonic()
        outcome = Outcome(str(cell))
        try:
            self._live(cell, again, outcome)
        except Exception as fault:  # a cell that cannot be judged has not survived, and the others go on
            outcome.faults.append(f"{type(fault).__name__}: {fault}"[:3000])
            self._recover()
        if outcome.faults:
            self._abandon()
        outcome.seconds = round(time.monotonic() - began, 2)
        self.outcomes.append(outcome)
        return outcome

    def _recover(self) -> None:
        self.stage.kill()
        self.stage.start()

    def _abandon(self) -> None:
        """What a fallen cell left is no place to begin from, and holds ports and a network."""
        if self.project:
            for purge in (False, True):
                self.stage.ask("project_delete", {"projectName": self.project, "confirm": self.project, "purge": purge})
        self.project = ""

    def _live(self, cell: Cell, again: bool, outcome: Outcome) -> None:
        stage, environment = self.stage, self.environment_of(cell.situation)
        if stage.process is None or stage.process.poll() is not None:
            stage.start()
        self.bring(cell.situation)
        before = facts(stage, self.project, environment)
        if cell.by_hand:
            # whoever watches is not to send traffic back for it: that is another operation
            stage.call("project_update", projectName=self.project, autoRollback=False)
        known = {row["id"] for row in oracle.rows(stage, "select id from operations")}
        served = before.active is not None and cell.what not in ("project_delete", *BY_HAND)
        self._visitor = self._visit() if served else None
        self._neighbour_visitor.fresh()
        try:
            outcome.faults += self._crash(cell, before)
            outcome.recovery_seconds = self._restart()
            outcome.faults += self._reconciled() if cell.by_hand else []
        finally:
            visitor = self._visitor
            lost = visitor.close() if visitor else []
        after = facts(stage, self.project, environment)
        begun = [row for row in oracle.rows(stage, "select * from operations order by id") if row["id"] not in known]
        outcome.faults += self._as_expected(cell, before, after, begun)
        outcome.faults += oracle.judge(stage, self.project, environment) + self._nothing_left(environment)
        lost += self._neighbour_visitor.fresh()
        if cell.reloads and not MIGRATES:
            outcome.resets = [each for each in lost if "ConnectionResetError" in each or "RemoteDisconnected" in each]
        outcome.faults += [each for each in lost if each not in outcome.resets]
        if visitor and not visitor.slots <= {before.active, after.active, before.grace if cell.by_hand else None}:
            outcome.faults.append(f"answered by {visitor.slots}, active was {before.active} and is {after.active}")
        if again and not outcome.faults and not cell.by_hand:
            outcome.faults += self._again(cell)
        if not outcome.faults:
            outcome.faults += self.also()

    def _visit(self) -> Visitor:
        return Visitor(self.stage.http_port, f"{self.project}.localhost")

    def _crash(self, cell: Cell, before: Facts) -> list[str]:
        stage = self.stage
        stage.kill()
        reached = self._by_hand if cell.by_hand else self._called
        if (otherwise := reached(cell, before)) is not None:
            stage.kill()
            return [f"{cell.point} was never reached: {otherwise}"]
        if (code := stage.until_dead()) != -9:
            return [f"the server ended with {code}, not by its own kill -9: {stage.log[-500:]}"]
        if cell.second is None:
            return []
        stage.start(crash_at=cell.second)
        try:
            stage.until_dead(RECOVERY_SECONDS)
        except Exception:
            stage.kill()
            return [f"{cell.second} was never reached during recovery"]
        return []

    def _called(self, cell: Cell, before: Facts) -> str | None:
        """Call it; what came instead of a death."""
        self.stage.start(crash_at=cell.point)
        try:
            status, body = self.stage.ask(CALLS[cell.what], self.params(cell, before))
        except OSError:
            return None
        return f"{status} {json.dumps(body)[:500]}"

    def _by_hand(self, cell: Cell, before: Facts) -> str | None:
        """Do it by hand and let CodeB find it; what came instead of a death."""
        stage, active, grace = self.stage, before.active, before.grace
        assert active is not None and grace is not None
        hand = Hand(stage, f"{self.project}-{self.environment_of(cell.situation)}", self.images["v1"])
        if cell.what == "restart":
            stage.start(crash_at=cell.point)
            gone = hand.stop_until_dead(active)
            self._visitor = self._visit()
            return None if gone else stage.log[-1000:]
        if cell.what == "mend of everything":
            hand.everything(active, grace)
        else:
            hand.remove(active)
            self._visitor = self._visit()
        stage.start(crash_at=cell.point)
        return None if died(stage) else stage.log[-1000:]

    def _reconciled(self) -> list[str]:
        """What is still different once the loop has come by; it is asked as often as a proxy's own look takes."""
        end = time.monotonic() + RECOVERY_SECONDS
        while found := self.stage.call("reconcile", projectName=self.project)["findings"]:
            if time.monotonic() > end:
                return [f"still different: {found}"]
            time.sleep(0.3)
        oracle.settle(self.stage, RECOVERY_SECONDS)
        return []

    def _restart(self) -> float:
        began = time.monotonic()
        self.stage.start()
        oracle.settle(self.stage, RECOVERY_SECONDS - (time.monotonic() - began))
        return round(time.monotonic() - began, 2)

    def _as_expected(self, cell: Cell, before: Facts, after: Facts, begun: list[dict[str, Any]]) -> list[str]:
        """The operation ended as it must, and the world is as it was or as it was asked to be."""
        ended = [(row["saga"], row["state"]) for row in begun]
        followed = cell.what == "deploy and promote"
        wanted = [(cell.saga.name, "succeeded" if cell.committed else "failed")]
        if followed and cell.saga.name == "promote":
            wanted.insert(0, ("deploy", "succeeded"))
        elif followed and cell.committed:
            handed_over = cell.point == "deploy.tidy.do.record" or (cell.second or "").startswith("deploy.tidy.do.record")
            wanted.append(("promote", "failed" if handed_over else "succeeded"))
        if ended != wanted:
            return [f"operations ended as {ended}, not {wanted}: {begun}"]
        faults = [f"undo faults: {row['undo_faults']}" for row in begun if _plain(row["undo_faults"])]
        if cell.by_hand:
            return faults + self._as_before(before, after)
        if not cell.committed and not (followed and cell.saga.name == "promote"):
            return faults + before.differences(after)
        restarting = {name: policy for name, (_, _, policy) in after.containers.items() if policy != "unless-stopped"}
        faults += [f"the runtime would not restart {restarting}"] if restarting else []
        return faults + self._arrived(cell, before, after, wanted)

    def _as_before(self, before: Facts, after: Facts) -> list[str]:
        """All of it as it was before somebody's hand, in containers that may be others."""

        def run(facts: Facts) -> Facts:
            return replace(facts, containers={name: ("", *rest) for name, (_, *rest) in facts.containers.items()})

        return run(before).differences(run(after))

    def _arrived(self, cell: Cell, before: Facts, after: Facts, ended: list[tuple[str, str]]) -> list[str]:
        states = {
            "deploy": {"active", "deployed"} if before.active else {"deployed", "empty"},
            "promote": {"active", "grace"} if before.active else {"active", "empty"},
            "rollback": {"active", "deployed"},
            "cleanup": {"active", "empty"},
            "project_delete": set(before.states),
        }[next(saga for saga, state in reversed(ended) if state == "succeeded")]
        faults = [] if after.states == states else [f"the slots are {set(after.states)}, not {states}"]
        if cell.what in ("promote", "rollback") and after.active == before.active:
            faults.append(f"{after.active} is active, as before")
        if cell.what == "project_delete":
            faults += [f"{self.project} is still there"] if self._exists(self.project) else []
            faults += [f"not aside: {name}" for name, (_, state, policy) in after.containers.items()
                       if not name.endswith(".kept") or state == "running" or policy != "no"]  # fmt: skip
        return faults

    def _nothing_left(self, environment: str) -> list[str]:
        """What the oracle does not look for: half-made folders, pending deployments, orphan networks, stale files for people."""
        stage = self.stage
        faults = [f"left behind: {path}" for path in (stage.home / "caddy" / "slots").glob(".*")]
        pending = oracle.rows(stage, "select id from deployments where status not in ('success', 'failed')")
        faults += [f"deployment {row['id']} is neither success nor failed" for row in pending]
        known = {row["name"] for row in oracle.rows(stage, "select name from projects")}
        faults += [f"orphan network {name}" for name in networks(stage) if not any(name.endswith(each) for each in known)]
        return faults + self._mirrored(environment)

    def _mirrored(self, environment: str) -> list[str]:
        path = self.stage.home / "registry" / "slots" / f"{self.project}-{environment}.json"
        end = time.monotonic() + 3
        while True:
            slots = oracle.look(self.stage, self.project, environment).slots
            said = json.loads(path.read_text()) if path.exists() else {}
            wrong = [slot for slot, row in slots.items() if said.get(slot, {}).get("state") != row["state"]]
            if not wrong and bool(said) == bool(slots):
                return []
            if time.monotonic() > end:
                return [f"{path.name} is behind for {wrong or 'an environment that is gone'}"]
            time.sleep(0.05)

    def _again(self, cell: Cell) -> list[str]:
        """The same call once more, by an ordinary server."""
        self.bring(cell.situation)
        environment = self.environment_of(cell.situation)
        asked = self.params(cell, facts(self.stage, self.project, environment))
        status, body = self.stage.ask(CALLS[cell.what], asked)
        wanted = 409 if cell.what == "deploy of a broken image" else 200
        faults = [] if status == wanted else [f"the next {cell.what} answered {status}: {json.dumps(body)[:1000]}"]
        return faults + oracle.judge(self.stage, self.project, environment)


def _plain(column: Any) -> Any:
    """What a column of JSON holds: SQLite has it as text."""
    return json.loads(column) if isinstance(column, str) else column
