"""The audit trail: one row per call, accepted or refused, chained and written in batches. The only writer of this process."""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from codeb.contracts.ledger import Ledger
from codeb.contracts.store import Registry, Store
from codeb.errors import PublicError, Unavailable
from codeb.gate.flood import Flood
from codeb.model.access import API_KEY, Actor
from codeb.model.chain import AuditRow, Head, Span, Start, after, goes_on

log = logging.getLogger("codeb.audit")

EVERY_SECONDS = 0.25
KEEP_SECONDS = 1.0
"""between two notes of where the chain ends"""
MOST_HELD = 20_000
AT_ONCE = 1_000
"""rows in one transaction"""
TELL_SECONDS = 10.0
"""between two lines in the log about the same trouble"""
LOST = "audit_lost"


def without_keys(value: Any) -> Any:
    """The same with every API key in it blotted out: a caller may put one where it does not belong."""
    if isinstance(value, str):
        return API_KEY.sub("codeb_…", value)
    if isinstance(value, dict):
        return {without_keys(name): without_keys(each) for name, each in value.items()}
    return [without_keys(each) for each in value] if isinstance(value, list) else value


class AuditLog:
    """Collects rows and writes them together: a changing call waits for its row, a reading one does not.

    A row gets its place in the chain when it is written, once: however often that is tried, it has the same number. What the
    registry does not take goes to the ledger, and from there into the registry when that is back. A failing audit never fails
    a call; only when there is no place at all is `blocked` set, and nothing may be changed until there is one.
    """

    def __init__(self, store: Store, ledger: Ledger, owner: str, clock: Callable[[], float] = time.monotonic) -> None:
        """`owner` reads `{home id}:{boot id}`."""
        self._store = store
        self._ledger = ledger
        self._home, _, self._boot = owner.partition(":")
        self._clock = clock
        self._rows: list[AuditRow] = []
        self._placed: list[AuditRow] = []
        """they have their numbers and are not written yet"""
        self._flood = Flood()
        self._writing = asyncio.Lock()
        self._end: Head | None = None
        """the newest place that was given away; None: not known yet where the chain goes on"""
        self._written: Head | None = None
        self._kept: Head | None = None
        self._kept_at = 0.0
        self._aside = False
        """rows wait in the ledger"""
        self._lost = 0
        self.blocked = ""
        """why nothing can be written at all; empty: something can"""
        self._told: dict[str, float] = {}

    # collecting

    def add(self, row: AuditRow, *, beyond: bool = False) -> None:
        """`beyond`: refused to a key that had made all its calls, of which there may be any number."""
        row = _harmless(row)
        if (row.key_id is None or beyond) and not row.ok and self._flood.takes(row, self._clock()):
            return
        self._hold(row)

    def _hold(self, row: AuditRow) -> None:
        if len(self._rows) >= MOST_HELD:
            self._lost += 1
            self._tell("held", f"{len(self._rows)} rows cannot be written; the oldest go")
            del self._rows[0]
        self._rows.append(row)

    def record_automatic(
        self, tool: str, at: datetime, correlation_id: str, summary: str, params: Mapping[str, Any], *,
        team: str | None, code: str = "", duration_ms: float = 0.0, entry: str = "timer", by: Actor | None = None,
    ) -> None:  # fmt: skip
        """What CodeB changed by itself, without anybody's key; a `code` says why it did not succeed."""
        self._hold(
            _harmless(
                AuditRow(
                    at=at, correlation_id=correlation_id, entry=entry, tool=tool, ok=not code, code=code,
                    key_id=by.key_id if by else None, team=team, role=by.role.value if by else None,
                    ip=None, duration_ms=round(duration_ms, 3), params=params, summary=summary[:500],
                )
            )
        )  # fmt: skip

    # writing

    async def flush(self, *, last: bool = False) -> None:
        """Write what is held. Never raises for a store that does not answer."""
        async with self._writing:
            for row in self._flood.due(self._clock(), at_once=last):
                self._hold(row)
            if not (self._rows or self._placed or self._aside):
                return
            start = None if self._end is not None else await self._begin()
            while True:
                if not self._placed:
                    self._place(start)
                    start = None
                if not await self._write() or not self._rows:
                    break
            if last or self._kept is None:
                await self._keep()

    async def close(self) -> None:
        """Before the store closes: everything is written, and where the chain ends is noted."""
        await self.flush(last=True)

    async def run(self) -> None:
        """Write every quarter of a second until cancelled."""
        while True:
            await asyncio.sleep(EVERY_SECONDS)
            await self.flush()
            if self._clock() - self._kept_at >= KEEP_SECONDS:
                await self._keep()

    def _place(self, start: Start | None) -> None:
        """Give the oldest rows that are held their places. Nothing waits here, so no cancellation loses a row."""
        rows, self._rows = self._rows[:AT_ONCE], self._rows[AT_ONCE:]
        if not rows:
            return
        if self._lost:
            gone = {"count": self._lost}
            rows.insert(
                0, _note(rows[0].at, LOST, "rows_lost", gone, f"{self._lost} rows could not be kept before they were written.")
            )
            self._lost = 0
        if start is not None:
            self._end = start.head
            if (opening := start.opening(rows[0].at)) is not None:
                log.error("audit: %s", opening.summary)
                rows.insert(0, opening)
        end = self._end
        assert end is not None
        for row in rows:
            placed = after(end, row)
            self._placed.append(placed)
            end = placed.head
        self._end = end

    async def _write(self) -> bool:
        """What has its place, to the registry, else to the ledger; whether it is written."""
        rows = list(self._placed)
        try:
            if self._aside:
                await self._bring_back()
            if rows:
                await self._store.append(lambda registry: registry.audit.add(rows))
        except Exception as fault:
            self._tell("store", f"{len(rows)} rows go aside: {fault}", fault)
            if not rows or not await self._put_aside(rows):
                return False
        self.blocked = ""
        del self._placed[: len(rows)]
        self._written = rows[-1].head if rows else self._written
        return True

    async def _put_aside(self, rows: list[AuditRow]) -> bool:
        try:
            await self._ledger.put(rows)
        except Exception as fault:
            self.blocked = str(fault)
            self._tell("ledger", f"{len(rows)} rows can be written nowhere: {fault}", fault)
            return False
        self._aside = True
        return True

    async def _bring_back(self) -> None:
        """From the ledger into the registry. What is there already is passed over."""
        waiting = list(await self._ledger.waiting())
        for at in range(0, len(waiting), AT_ONCE):
            some = waiting[at : at + AT_ONCE]
            await self._store.append(lambda registry, some=some: registry.audit.add(some))  # type: ignore[misc]  # a default
        self._aside = False
        try:
            await self._ledger.clear()
        except Exception as fault:
            # they stay there, and are passed over when the next process brings them back
            self._tell("ledger", f"rows that were brought back cannot be removed: {fault}", fault)

    # where the chain begins and ends

    async def _begin(self) -> Start:
        """Find out where this home's chain goes on."""
        kept = await self._ledger.head()
        if waiting := await self._ledger.waiting():
            self._aside = True
            newest = waiting[-1].head
            kept = newest if kept is None or kept.chain != newest.chain or kept.seq < newest.seq else kept

        async def look(registry: Registry) -> tuple[list[Span], bool] | None:
            if self._store.standing.degraded:
                return None
            spans = list(await registry.audit.chains())
            return spans, kept is not None and await _there(registry, kept, spans)

        try:
            if self._aside:
                await self._bring_back()
            # in a transaction that writes: one that a process before this one is still committing comes first
            seen = await self._store.append(look)
        except Exception as fault:
            self._tell("store", f"where the chain goes on cannot be read: {fault}", fault)
            seen = None
        spans, there = seen if seen is not None else (None, False)
        return goes_on(self._home, self._boot, kept, spans, there)

    async def _keep(self) -> None:
        """Note where the chain ends; what is not noted is only what an unseen cut could take."""
        self._kept_at = self._clock()
        if self._written is None or self._written == self._kept:
            return
        written = self._written
        try:
            await self._ledger.keep(written)
            self._kept = written
        except Exception as fault:
            self._tell("head", f"where the chain ends cannot be noted: {fault}", fault)

    # when nothing can be written

    async def refuse_if_blocked(self, tool: str) -> None:
        """Raises `Unavailable` (`audit_unavailable`) when nobody could tell later that something was changed."""
        if not self.blocked:
            return
        await self.flush()
        if self.blocked:
            raise Unavailable(
                f"The audit log cannot be written, so {tool} changes nothing; what runs goes on running.",
                code="audit_unavailable",
                hint="Still working: everything that reads, and dry runs. Look at the database and at the disk of the home; "
                "changes work again as soon as one of the two can be written.",
                details={"reason": self.blocked},
            )

    def _tell(self, what: str, text: str, fault: Exception | None = None) -> None:
        now = self._clock()
        if now - self._told.get(what, -TELL_SECONDS) >= TELL_SECONDS:
            self._told[what] = now
            log.warning("audit: %s", text, exc_info=fault is not None and not isinstance(fault, PublicError))


def _harmless(row: AuditRow) -> AuditRow:
    texts = (row.summary, row.correlation_id, row.tool, row.code)
    if not any("codeb_" in text for text in texts) and "codeb_" not in str(row.params):
        return row
    summary, correlation_id, tool, code = (without_keys(text) for text in texts)
    return replace(
        row, summary=summary, correlation_id=correlation_id, tool=tool, code=code, params=without_keys(dict(row.params))
    )


def _note(at: datetime, tool: str, code: str, params: Mapping[str, Any], summary: str) -> AuditRow:
    """A row about the log itself."""
    return AuditRow(at, "", "audit", tool, False, code, None, None, None, None, 0.0, params, summary)


async def _there(registry: Registry, head: Head, spans: list[Span]) -> bool:
    """Whether the registry has this very row, or had it and dropped it for its age."""
    span = next((span for span in spans if span.chain == head.chain), None)
    if span is None:
        return False
    if span.pruned is not None and head.seq <= span.pruned.seq:
        return head.seq < span.pruned.seq or head == span.pruned
    return any(row.head == head for row in await registry.audit.run(head.chain, head.seq - 1, 1))
