"""What the watch does: operations as actor `watch`, and what it tells of them: events, audit rows."""

import logging
from dataclasses import dataclass, replace
from typing import Any

from codeb.contracts.kit import Kit
from codeb.contracts.store import Registry
from codeb.entry.untold import Untold
from codeb.errors import Busy, Conflict, PublicError, Unavailable
from codeb.flows import promote, restart, rollback
from codeb.gate import AuditLog
from codeb.model.access import Actor, Role
from codeb.model.deletion import READY
from codeb.model.events import Event, Severity
from codeb.model.journal import Operation
from codeb.model.slots import Pair, SlotRow
from codeb.model.specs import Project
from codeb.saga.engine import Engine, Request
from codeb.saga.step import I, Saga
from codeb.tools.call import Call

log = logging.getLogger("codeb.watch")

WAIT_SECONDS = 300.0
NOT_NOW = frozenset({"state_moved", "no_grace", "grace_expired", "nothing_active"})
"""refusals that say nothing about the slot: what was decided about is not there any more"""


@dataclass(frozen=True)
class Case:
    """The active slot a decision is about, as it was when it was looked at."""

    project: Project
    row: SlotRow


@dataclass
class Acts:
    restarts: int = 0
    rollbacks: int = 0
    rollbacks_failed: int = 0
    alarms: int = 0


class Acting:
    def __init__(self, kit: Kit, engine: Engine, audit: AuditLog) -> None:
        self.acts = Acts()
        self._kit = kit
        self._engine = engine
        self._audit = audit
        self._untold = Untold(kit.store)

    @property
    def stopping(self) -> bool:
        return self._engine.stopping

    # acts

    async def roll_back(self, case: Case, why: str) -> str:
        """Send traffic back and see it arrive. Returns why that failed; empty when it did not, or was not tried."""
        told = self._event(case, "auto_rollback", Severity.ALARM, f"{why}. Traffic goes back by itself.", reason=why)

        async def decide(registry: Registry) -> promote.SwitchInput:
            project, pair = await self._still(registry, case)
            row = rollback.way_back(pair, self._kit.world.now(), None)
            named = self._kit.store.snapshot.domains_of(pair.place)
            return replace(promote.promotion(project, pair, row, self._kit.policy, named), reason=why)

        fault = await self._operate("rollback", rollback.SAGA, case, decide, {"reason": why}, told)
        self.acts.rollbacks += fault is None
        if fault is None or _says_nothing(fault):
            return ""
        self.acts.rollbacks_failed += 1
        return fault.message

    async def restart(self, case: Case, life: str, why: str) -> bool:
        """Give its container another life. False when it was not tried."""
        told = self._event(case, "container_restarted", Severity.WARN, f"{why}: it is restarted.", reason=why, by="codeb")

        async def decide(registry: Registry) -> restart.RestartInput:
            await self._still(registry, case)
            row = case.row
            stop = min(restart.STOP_SECONDS, case.project.limits.stop_seconds)
            return restart.RestartInput(row.place, row.slot, row.deployment_id or "", row.version or "", life, why, stop)

        fault = await self._operate("restart", restart.SAGA, case, decide, {"why": why}, told)
        if fault is not None and _says_nothing(fault):
            return False
        self.acts.restarts += fault is None
        return True

    async def _operate(
        self, tool: str, saga: Saga[I], case: Case, decide: Any, said: dict[str, Any], told: Event
    ) -> PublicError | None:
        """Open it together with the event that tells of it, wait for its end, and leave an audit row."""
        kit, place = self._kit, case.row.place
        actor = Actor("watch", case.project.team, Role.ADMIN)
        call = Call(kit, self._engine, actor, tool, kit.world.new_id("watch"))
        began, fault = kit.world.monotonic(), None

        async def claim(registry: Registry, operation_id: str) -> str | None:
            await registry.events.add(replace(told, operation_id=operation_id))
            return None

        summary = told.text
        try:
            request = Request(tool, (place,), actor.team, actor.name)
            operation: Operation = await self._engine.open(saga, request, decide, claim)
            log.warning("%s: %s", place.key, told.text)
            await call.ended(operation.id, WAIT_SECONDS)
        except PublicError as refused:
            fault, summary = refused, refused.message
        if fault is not None and _says_nothing(fault):
            return fault
        spent = (kit.world.monotonic() - began) * 1000
        params = {"projectName": place.project, "environment": place.environment, "slot": case.row.slot.value, **said}
        self._audit.record_automatic(
            tool, kit.world.now(), call.correlation_id, summary, params, team=actor.team, code=fault.code if fault else "",
            duration_ms=spent, by=actor, entry="watch",
        )  # fmt: skip
        await self._audit.flush()
        return fault

    async def _still(self, registry: Registry, case: Case) -> tuple[Project, Pair]:
        """The place as this transaction sees it. Raises `Conflict` (`state_moved`) when another version is active by now."""
        pair = await registry.slots.pair(case.row.place)
        project = await registry.projects.get(case.project.name)
        if project is None or project.state != READY or pair is None or not same(pair.active, case.row):
            raise Conflict(f"{case.row.container} is not what it was when it was looked at.", code="state_moved")
        return project, pair

    # words

    def alarm(self, case: Case, text: str) -> None:
        self.acts.alarms += 1
        log.error("%s: %s", case.row.place.key, text)
        self._untold.add(self._event(case, "watch_alarm", Severity.ALARM, text))

    def recovered(self, case: Case) -> None:
        self._untold.add(self._event(case, "watch_recovered", Severity.INFO, "It has been well for a minute again."))

    def died(self, case: Case, restarts: int, deaths: int) -> None:
        """It died and the runtime, or a person, started it again."""
        text = "its container died and was started again by the container runtime"
        event = self._event(case, "container_restarted", Severity.WARN, text, by="runtime", restarts=restarts, deaths=deaths)
        self._untold.add(event)

    async def tell(self) -> None:
        """Write the events that wait. Never raises for the store."""
        await self._untold.tell()

    def _event(self, case: Case, kind: str, severity: Severity, text: str, **data: Any) -> Event:
        row, world = case.row, self._kit.world
        words = f"{row.version} ({row.slot}) of {row.place.project} {row.place.environment}: {text}"
        facts = {"slot": row.slot.value, "version": row.version, "deploymentId": row.deployment_id, **data}
        return Event(
            world.new_id("ev"), world.now(), kind, severity, words, case.project.team, row.place.project, row.place.environment,
            data=facts,
        )  # fmt: skip


def same(now: SlotRow | None, row: SlotRow) -> bool:
    """Whether the active slot is still this promote of this deployment."""
    if now is None:
        return False
    return (now.slot, now.deployment_id, now.promoted_at) == (row.slot, row.deployment_id, row.promoted_at)


def _says_nothing(fault: PublicError) -> bool:
    return isinstance(fault, Busy | Unavailable) or fault.code in NOT_NOW
