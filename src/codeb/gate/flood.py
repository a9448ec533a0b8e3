"""Refusals of which there can be any number, of calls without a valid key or beyond its limit: past a measure they are counted.

So such callers can fill neither memory nor disk: at most `BURST` rows at once, `PER_SECOND` in the long run, and every
`EVERY_SECONDS` one row with a number for each of at most `MOST` kinds of peer, tool and code.
"""

from dataclasses import dataclass, replace

from codeb.model.chain import AuditRow

BURST = 100
PER_SECOND = 1.0
EVERY_SECONDS = 10.0
MOST = 64

Kind = tuple[str | None, str | None, str, str, str]


@dataclass
class Gathered:
    row: AuditRow
    times: int = 0
    last: str = ""

    def as_row(self) -> AuditRow:
        """The first of them, with how many more came like it, and until when."""
        more = {"times": self.times, "until": self.last}
        return replace(self.row, params=more, summary=f"{self.times} refusals like this: {self.row.summary}"[:500])


class Flood:
    """Moments are monotonic seconds."""

    def __init__(self) -> None:
        self._left = float(BURST)
        self._at = 0.0
        self._kinds: dict[Kind, Gathered] = {}
        self._since = 0.0

    def takes(self, row: AuditRow, now: float) -> bool:
        """Whether the row is counted here instead of being written by itself."""
        self._left = min(float(BURST), self._left + (now - self._at) * PER_SECOND)
        self._at = now
        if self._left >= 1:
            self._left -= 1
            return False
        kind: Kind = row.ip, row.key_id, row.entry, row.tool, row.code
        if kind not in self._kinds and len(self._kinds) >= MOST:
            kind = None, None, row.entry, "", ""
            row = replace(
                row, ip=None, key_id=None, team=None, role=None, tool="unknown", code="unauthenticated",
                summary="from other peers",
            )  # fmt: skip
        if not self._kinds:
            self._since = now
        found = self._kinds.setdefault(kind, Gathered(row))
        found.times += 1
        found.last = row.at.isoformat()
        return True

    def due(self, now: float, *, at_once: bool = False) -> list[AuditRow]:
        """What was counted, once it is time."""
        if not self._kinds or (not at_once and now - self._since < EVERY_SECONDS):
            return []
        found, self._kinds = self._kinds, {}
        return [each.as_row() for each in found.values()]
