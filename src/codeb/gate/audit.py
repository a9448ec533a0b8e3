"""The audit trail: one row per call, accepted or refused, written in batches."""

import asyncio
import logging
import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from codeb.contracts.store import AuditRow, Store
from codeb.errors import PublicError
from codeb.model.access import API_KEY, Actor

log = logging.getLogger("codeb.audit")

EVERY_SECONDS = 0.25
MOST_HELD = 20_000
TELL_SECONDS = 10.0
"""between two lines in the log about rows that wait"""


def without_keys(value: Any) -> Any:
    """The same with every API key in it blotted out: a caller may put one where it does not belong."""
    if isinstance(value, str):
        return API_KEY.sub("codeb_…", value)
    if isinstance(value, dict):
        return {without_keys(name): without_keys(each) for name, each in value.items()}
    return [without_keys(each) for each in value] if isinstance(value, list) else value


class AuditLog:
    """Collects rows and writes them together: a changing call waits for its row, a reading one does not.

    A row that cannot be written is kept and tried again; a failing audit never fails a call.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._rows: list[AuditRow] = []
        self._writing = asyncio.Lock()
        self._told = -TELL_SECONDS

    def add(self, row: AuditRow) -> None:
        if len(self._rows) >= MOST_HELD:
            log.error("audit: %d rows cannot be written; the oldest goes", len(self._rows))
            del self._rows[0]
        if "codeb_" in row.summary or "codeb_" in str(row.params):
            row = replace(row, summary=without_keys(row.summary), params=without_keys(dict(row.params)))
        self._rows.append(row)

    def record_automatic(
        self, tool: str, at: datetime, correlation_id: str, summary: str, params: Mapping[str, Any], *,
        team: str | None, code: str = "", duration_ms: float = 0.0, entry: str = "timer", by: Actor | None = None,
    ) -> None:  # fmt: skip
        """What CodeB changed by itself, without anybody's key; a `code` says why it did not succeed."""
        self.add(
            AuditRow(
                at=at, correlation_id=correlation_id, entry=entry, tool=tool, ok=not code, code=code,
                key_id=by.key_id if by else None, team=team, role=by.role.value if by else None,
                ip=None, duration_ms=round(duration_ms, 3), params=params, summary=summary[:500],
            )
        )  # fmt: skip

    async def flush(self) -> None:
        """Write what is held. Never raises for a store that does not answer."""
        async with self._writing:
            rows, self._rows = self._rows, []
            if not rows:
                return
            try:
                await self._store.append(lambda registry: registry.audit.add(rows))
            except Exception as fault:
                if time.monotonic() - self._told > TELL_SECONDS:
                    self._told = time.monotonic()
                    log.warning("audit: %d rows wait: %s", len(rows), fault, exc_info=not isinstance(fault, PublicError))
                self._rows = rows + self._rows

    async def run(self) -> None:
        """Write every quarter of a second until cancelled."""
        while True:
            await asyncio.sleep(EVERY_SECONDS)
            await self.flush()
