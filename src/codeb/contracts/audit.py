"""What we need remembered of every call: a role of `contracts.store.Registry`."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from codeb.model.chain import AuditRow, Span


@dataclass(frozen=True)
class AuditAsk:
    """Which rows. What is None or empty does not narrow. The first four are who asks, the others what for."""

    team: str
    nobodys: bool = False
    """those of no team, too"""
    own_key: str | None = None
    """only those of this key"""
    projects: frozenset[str] = frozenset()
    """only those of these projects, and of none"""
    key_id: str | None = None
    tool: str | None = None
    project: str | None = None
    ok: bool | None = None
    since: datetime | None = None
    until: datetime | None = None
    correlation_id: str | None = None


@dataclass(frozen=True)
class AuditPage:
    """Rows with their places, newest first. What is older is beyond `before`; None: there is nothing older."""

    rows: Sequence[tuple[int, AuditRow]]
    before: int | None


class Audit(Protocol):
    """The audit log (`model/chain.py`). No statement of it takes longer the longer the log is."""

    async def add(self, rows: Sequence[AuditRow]) -> None:
        """A row whose place in its chain is taken is there already: safe to repeat."""

    async def latest(self, limit: int) -> Sequence[AuditRow]: ...

    async def page(self, ask: AuditAsk, *, before: int | None, limit: int) -> AuditPage:
        """The newest rows before this place. It looks at a stretch of the log: a page may be empty, and yet not the last."""

    async def chains(self) -> Sequence[Span]: ...

    async def unchained(self, team: str | None = None) -> int:
        """Rows from before there were chains; those of one team, or all."""

    async def run(self, chain: str, after: int, limit: int) -> Sequence[AuditRow]:
        """Rows of a chain in the order of their numbers."""

    async def prune(self, before: datetime, limit: int) -> int:
        """Of each chain drop its oldest rows from before this time, about so many in all, and remember where it begins now.
        Gives how many went."""
