"""The level-triggered loop: every few seconds the world is compared with the registry, mended, and what changed is told once."""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from codeb.contracts.kit import Kit
from codeb.entry.untold import Untold
from codeb.flows.observers import survey
from codeb.gate import AuditLog
from codeb.model.access import Actor, Role
from codeb.model.drift import Mismatch
from codeb.model.events import Event, Severity
from codeb.model.names import Place
from codeb.saga.engine import Engine
from codeb.tools.call import Call
from codeb.tools.mending import Tried, mend_all

log = logging.getLogger("codeb.drift")

GLANCE_SECONDS = 2.0
"""between two looks whether the proxy's process is there: without it no site is served"""
FIRST_PAUSE, LONGEST_PAUSE = 5.0, 600.0
"""after a try that did not mend: doubled each time"""
OFTEN = 5
"""mends of the same thing in a row after which somebody else is taken to undo them: then it is left for a while too"""
FORGET_SECONDS = 600.0


@dataclass
class Tries:
    """How often one mismatch was mended and how often not, and when the next try is due (monotonic)."""

    failed: int = 0
    mended: int = 0
    due: float = 0.0
    last: float = 0.0


class Reconciler:
    """One per process. `round()` acts on what it sees; what it remembers is only what was told and when to try again."""

    def __init__(self, kit: Kit, engine: Engine, audit: AuditLog) -> None:
        self._kit = kit
        self._engine = engine
        self._audit = audit
        self._tries: dict[str, Tries] = {}
        self._told: dict[str, Mismatch] = {}
        self._untold = Untold(kit.store)

    async def run(self) -> None:
        """At once, and then for ever."""
        while True:
            try:
                await self.round()
            except Exception:
                log.exception("a round of reconciliation failed; the next one comes")
            await self._pause()

    async def _pause(self) -> None:
        """Until the next round is due, or the proxy is dead and a try to start it is."""
        kit = self._kit
        end = kit.world.monotonic() + kit.policy.reconcile_seconds
        while (left := end - kit.world.monotonic()) > 0:
            await kit.world.sleep(min(GLANCE_SECONDS, left))
            if not await kit.proxy_upkeep.runs() and self._is_due("proxy_dead proxy"):
                return

    async def round(self) -> None:
        """Look at everything, mend what is due, tell what is new. Only the process that leads does any of it."""
        if not self._kit.store.standing.leads or self._engine.stopping:
            return
        seen = await survey(self._kit)
        found = seen.found
        self._tell_found(found)
        due = [each for each in found if each.mendable and self._is_due(each.key)]
        began = self._kit.world.monotonic()
        tried = await mend_all(self._kit, seen, due, self._call_for)
        for each in due:
            self._note(each, tried, (self._kit.world.monotonic() - began) * 1000)
        left = found if tried.again is None else tried.again.found
        self._tell_gone({each.key for each in (*found, *left)})
        self._forget()
        self._kit.drift.at, self._kit.drift.left = self._kit.world.now(), tuple(left)
        await self._untold.tell()
        await self._audit.flush()

    def _call_for(self, place: Place | None) -> Call:
        project = self._kit.store.snapshot.projects.get(place.project) if place else None
        actor = Actor("timer", project.team if project else "", Role.ADMIN)
        return Call(self._kit, self._engine, actor, "reconcile", self._kit.world.new_id("timer"))

    # when to try again

    def _is_due(self, key: str) -> bool:
        tries = self._tries.get(key)
        return tries is None or self._kit.world.monotonic() >= tries.due

    def _note(self, each: Mismatch, tried: Tried, spent_ms: float) -> None:
        now = self._kit.world.monotonic()
        tries = self._tries.setdefault(each.key, Tries())
        tries.last, why_not = now, tried.why_not.get(each.key, "")
        if tried.mended(each):
            tries.failed, tries.mended = 0, tries.mended + 1
            tries.due = now + (0 if tries.mended < OFTEN else LONGEST_PAUSE / 2)
            self._tell(each, "drift_mended", Severity.INFO, f"{each.text}: mended.", tried)
            self._told.pop(each.key, None)
        else:
            tries.failed += 1
            tries.due = now + min(FIRST_PAUSE * 2 ** (tries.failed - 1), LONGEST_PAUSE)
            log.warning("%s: not mended: %s", each.text, why_not)
            if tries.failed == 1:
                self._tell(each, "drift_not_mended", Severity.WARN, f"{each.text}: not mended: {why_not}", tried)
        params = {"kind": each.kind, "where": each.where, **_place(each)}
        code = "" if tried.mended(each) else "not_mended"
        self._audit.record_automatic(
            "reconcile", self._kit.world.now(), tried.operations.get(each.key, self._kit.world.new_id("timer")),
            f"{each.text}: {'mended' if not code else why_not}", params, team=self._team(each), code=code, duration_ms=spent_ms,
        )  # fmt: skip

    def _forget(self) -> None:
        now = self._kit.world.monotonic()
        for key, tries in list(self._tries.items()):
            if now - max(tries.last, tries.due) > FORGET_SECONDS and key not in self._told:
                del self._tries[key]

    # what is told, once

    def _tell_found(self, found: Sequence[Mismatch]) -> None:
        for each in found:
            if each.key not in self._told:
                self._told[each.key] = each
                log.warning("found: %s; %s", each.text, each.repair)
                self._tell(each, "drift_found", each.severity, f"{each.text}. {each.repair.capitalize()}.")

    def _tell_gone(self, there: Iterable[str]) -> None:
        for key in self._told.keys() - set(there):
            each = self._told.pop(key)
            self._tell(each, "drift_gone", Severity.INFO, f"No longer so: {each.text}.")

    def _tell(self, each: Mismatch, kind: str, severity: Severity, text: str, tried: Tried | None = None) -> None:
        place = each.place
        data = {"kind": each.kind, "where": each.where, "policy": each.policy.value, **_place(each)}
        self._untold.add(
            Event(
                id=self._kit.world.new_id("ev"), at=self._kit.world.now(), kind=kind, severity=severity, text=text,
                team=self._team(each), project=place.project if place else None,
                environment=place.environment if place else None,
                operation_id=tried.operations.get(each.key) if tried else None, data=data,
            )
        )  # fmt: skip

    def _team(self, each: Mismatch) -> str | None:
        project = self._kit.store.snapshot.projects.get(each.place.project) if each.place else None
        return project.team if project else None


def _place(each: Mismatch) -> dict[str, str]:
    found = {"slot": each.slot.value} if each.slot else {}
    if each.place is not None:
        found |= {"projectName": each.place.project, "environment": each.place.environment}
    return found
