"""The audit trail: one row per call, accepted or refused, written in batches."""

import asyncio
import logging

from codeb.contracts.store import AuditRow, Store
from codeb.errors import PublicError

log = logging.getLogger("codeb.audit")

EVERY_SECONDS = 0.25
MOST_HELD = 20_000


class AuditLog:
    """Collects rows and writes them together: a changing call waits for its row, a reading one does not.

    A row that cannot be written is kept and tried again; a failing audit never fails a call.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._rows: list[AuditRow] = []
        self._writing = asyncio.Lock()

    def add(self, row: AuditRow) -> None:
        if len(self._rows) >= MOST_HELD:
            log.error("audit: %d rows cannot be written; the oldest goes", len(self._rows))
            del self._rows[0]
        self._rows.append(row)

    async def flush(self) -> None:
        """Write what is held. Never raises for a store that does not answer."""
        async with self._writing:
            rows, self._rows = self._rows, []
            if not rows:
                return
            try:
                async with self._store.write() as registry:
                    await registry.audit.add(rows)
            except PublicError as fault:
                log.warning("audit: %d rows wait: %s", len(rows), fault)
                self._rows = rows + self._rows

    async def run(self) -> None:
        """Write every quarter of a second until cancelled."""
        while True:
            await asyncio.sleep(EVERY_SECONDS)
            await self.flush()
