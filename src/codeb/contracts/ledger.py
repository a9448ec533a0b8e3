"""What we need beside the registry to keep the audit log whole: where its chain ends, and a last place for rows."""

from collections.abc import Sequence
from typing import Protocol

from codeb.model.chain import AuditRow, Head


class Ledger(Protocol):
    """One process uses it at a time. Everything it has said it keeps survives a death of the process."""

    async def head(self) -> Head | None:
        """The newest row known to be written; None: nothing is kept, or it cannot be read."""

    async def keep(self, head: Head) -> None:
        """Raises `Unavailable`; what was kept before is then still there."""

    async def waiting(self) -> Sequence[AuditRow]:
        """Rows that were put here because the registry did not take them, oldest first; what cannot be read is left out."""

    async def put(self, rows: Sequence[AuditRow]) -> None:
        """Add them to those that wait: all, durably, or none. Raises `Unavailable`, also when it is full."""

    async def clear(self) -> None:
        """None waits any more. Safe to repeat. Raises `Unavailable`."""
