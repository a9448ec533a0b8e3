"""The audit log as a chain: what a row is, what its hash covers, where a chain goes on, and what is wrong with one.

Each home writes one chain, named by the home's id. When it cannot be told where that ends, a new one begins, named after it
(`{home}.{boot}`), whose first row says why and which row it follows; its `prev` is that row's hash.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

ZERO = "0" * 64
"""what the very first row follows"""
BEGUN = "audit_chain"
"""the tool of a row that begins a new chain"""
ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"))
MOST_FAULTS = 20
"""of one chain that are told; more are counted"""


@dataclass(frozen=True)
class AuditRow:
    """One accepted or refused call. `params` holds no secret."""

    at: datetime
    correlation_id: str
    entry: str
    tool: str
    ok: bool
    code: str
    key_id: str | None
    team: str | None
    role: str | None
    ip: str | None
    duration_ms: float
    params: Mapping[str, Any] = field(default_factory=dict)
    summary: str = ""
    chain: str | None = None
    seq: int | None = None
    prev: str | None = None
    hash: str | None = None

    @property
    def head(self) -> "Head":
        """Its place. Only of a row that is in a chain."""
        return Head(self.chain or "", self.seq or 0, self.hash or "")


@dataclass(frozen=True)
class Head:
    """A place in a chain: the row `seq` of it, or, at 0, its beginning; `hash` is what the next row follows."""

    chain: str
    seq: int
    hash: str


@dataclass(frozen=True)
class Span:
    """What a store has of one chain. `pruned`: the last row that went by its age. `place` grows with the order of recording."""

    chain: str
    first: int
    last: Head | None
    pruned: Head | None = None
    place: int = 0

    @property
    def end(self) -> Head:
        return self.last or self.pruned or Head(self.chain, 0, ZERO)


def plain(text: str) -> str:
    """As every database keeps it: what one of them cannot hold (NUL, half characters) is U+FFFD."""
    if text.isascii() and "\0" not in text:
        return text
    return text.replace("\0", "\ufffd").encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _plain(value: Any) -> Any:
    """The same of all texts in a JSON value: PostgreSQL refuses to look into one that holds a NUL anywhere."""
    if isinstance(value, str):
        return plain(value)
    if isinstance(value, Mapping):
        return {plain(name): _plain(each) for name, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, list | tuple) else value


def canonical(row: AuditRow) -> bytes:
    """All that a row says, and its place, in one form whatever database it was read from."""
    return _canonical(vars(row))


def _canonical(row: Mapping[str, Any]) -> bytes:
    said = [
        row["chain"], row["seq"], row["prev"], row["at"].astimezone(UTC).isoformat(timespec="microseconds"),
        row["correlation_id"], row["entry"], row["tool"], row["ok"], row["code"], row["key_id"], row["team"], row["role"],
        row["ip"], float(row["duration_ms"]), row["params"], row["summary"],
    ]  # fmt: skip
    return ENCODER.encode(said).encode()


def hash_of(row: AuditRow) -> str:
    return hashlib.sha256(canonical(row)).hexdigest()


def after(head: Head, row: AuditRow) -> AuditRow:
    """The row as the next one of the chain."""
    said: dict[str, Any] = {name: plain(each) if isinstance(each, str) else each for name, each in vars(row).items()}
    # a local copy notes a row as JSON of 15 digits
    said |= {"duration_ms": round(float(row.duration_ms), 3), "params": _plain(row.params)}
    said |= {"chain": head.chain, "seq": head.seq + 1, "prev": head.hash}
    # from the fields, so that the row is made once: every call makes one
    return AuditRow(**{**said, "hash": hashlib.sha256(_canonical(said)).hexdigest()})


# where it goes on


@dataclass(frozen=True)
class Start:
    """A process goes on after `head`. With a `reason` that is the beginning of a new chain, which follows `follows`."""

    head: Head
    reason: str = ""
    follows: Head | None = None

    def opening(self, at: datetime) -> AuditRow | None:
        """The row that says why a new chain begins; None where the old one goes on."""
        if not self.reason:
            return None
        told = {"follows": vars(self.follows)} if self.follows else {}
        return AuditRow(
            at,
            "",
            "audit",
            BEGUN,
            False,
            self.reason,
            None,
            None,
            None,
            None,
            0.0,
            told,
            f"A new chain begins: {WHY[self.reason]}",
        )


WHY = {
    "without_database": "the database did not answer at the start, so its newest row could not be read.",
    "head_lost": "the note of where the chain ended (audit.head) was gone.",
    "tail_missing": "rows that had been written were not in the registry any more.",
}


def goes_on(home: str, boot: str, kept: Head | None, spans: Sequence[Span] | None, there: bool) -> Start:
    """Where a process of this home goes on. `kept`: the end as the home's own note says; `there`: the registry has that row.

    `spans` is None when the database cannot be asked: then a number could be used twice, so a new chain begins.
    """
    own = [span for span in spans or () if span.chain == home or span.chain.startswith(f"{home}.")]
    newest = max(own, key=lambda span: span.place, default=None)
    if spans is not None and kept is None and newest is None:
        return Start(Head(home, 0, ZERO))
    if spans is not None and kept is not None and there and newest is not None:
        return Start(newest.end)
    follows = kept or (newest.end if newest else None)
    reason = "without_database" if spans is None else "tail_missing" if kept else "head_lost"
    return Start(Head(f"{home}.{boot}", 0, follows.hash if follows else ZERO), reason, follows)


def followed(row: AuditRow) -> Head | None:
    """Of the first row of a chain: the row of another that it follows. None also for what is none."""
    told = row.params.get("follows") if row.tool == BEGUN and row.seq == 1 else None
    if not isinstance(told, Mapping) or set(told) != {"chain", "seq", "hash"}:
        return None
    head = Head(told["chain"], told["seq"], told["hash"])
    sound = isinstance(head.chain, str) and type(head.seq) is int and isinstance(head.hash, str)
    return head if sound else None


# whether it is whole


@dataclass(frozen=True)
class Fault:
    """What is wrong, at which number."""

    seq: int
    problem: str


class Walk:
    """Along one chain, row by row, in the order of its numbers; then `end`. Finds what is missing, altered, put in or swapped.

    `known` are places that others have noted: the chain has to have them, also when its last rows were cut off. `team`: all
    rows are looked at, and those of this team are counted.
    """

    def __init__(self, chain: str, pruned: Head | None = None, known: Sequence[Head] = (), team: str | None = None) -> None:
        self.chain = chain
        self._team = team
        self.rows = 0
        self.more = 0
        self.faults: list[Fault] = []
        self.first: int | None = None
        self._pruned = pruned
        self._at = pruned or Head(chain, 0, "")
        self._known = {head.seq: head.hash for head in sorted(known, key=lambda each: each.seq)}

    @property
    def last(self) -> Head | None:
        return self._at if self._at.seq else None

    @property
    def whole(self) -> bool:
        return not self.faults

    def see(self, row: AuditRow) -> None:
        seq = row.seq or 0
        expected = self._at.seq + 1
        if row.chain != self.chain or seq < expected:
            self._fault(seq, "does not belong here")
            return
        self.rows += self._team in (None, row.team)
        self.first = seq if self.first is None else self.first
        if seq > expected:
            gone = f"rows {expected} to {seq - 1} are missing" if seq - expected > 1 else f"row {expected} is missing"
            self._fault(expected, gone)
        elif not self._linked(row):
            self._fault(seq, "does not follow the row before it")
        if hash_of(row) != row.hash:
            self._fault(seq, "was altered")
        elif self._known.get(seq, row.hash) != row.hash:
            self._fault(seq, "is another row than the one that was noted")
        self._at = row.head

    def _linked(self, row: AuditRow) -> bool:
        if self._at.seq:
            return row.prev == self._at.hash
        begun = followed(row)
        return row.prev == (begun.hash if begun else ZERO)

    def end(self) -> None:
        """No more rows come."""
        if self._pruned is not None and self._known.get(self._pruned.seq, self._pruned.hash) != self._pruned.hash:
            self._fault(self._pruned.seq, "is another row than the one that was noted")
        if (newest := max(self._known, default=0)) > self._at.seq:
            gone = f"rows {self._at.seq + 1} to {newest}" if newest > self._at.seq + 1 else f"row {newest}"
            self._fault(self._at.seq + 1, f"{gone} had been written, and the end of the chain is missing")

    def _fault(self, seq: int, problem: str) -> None:
        if len(self.faults) < MOST_FAULTS:
            self.faults.append(Fault(seq, problem))
        else:
            self.more += 1
