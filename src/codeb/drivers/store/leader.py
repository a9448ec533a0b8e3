"""Which of several CodeB processes on one database leads: a lease in the database, and its number in a file beside the proxy.

The lease decides who may lead, by the database's own clock. The file is what a leader that cannot reach the database asks
before it acts: whoever takes over writes the new number there before anything else. So a leader that was cut off, or paused
and woken, finds out before it touches the containers and the proxy of this machine.
"""

import asyncio
import contextlib
import json
import logging
import math
import stat
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import text

from codeb.drivers.files import atomic_write, make_way
from codeb.drivers.store.postgres import PostgresDatabase
from codeb.drivers.store.transaction import Transaction, writing
from codeb.errors import CodebError, FenceLost, Unavailable

log = logging.getLogger("codeb.leader")

LEASE_SECONDS = 10.0
"""how long a leader that says nothing still leads"""
RENEW_SECONDS = 2.0
DEBT_SECONDS = 3600.0
"""how long what a cut-off leader did is waited for before the registry is taken at its word"""
AGAIN_SECONDS = 1.0
LEFT_SECONDS = 1e8
"""a leader that says goodbye leaves a stamp that is older than this"""
MOST_BYTES, MOST_TERM = 4096, 2**48
"""of the file, and of the number in it: what is beyond is not ours, and would be no number for the database"""

SEAT = text("SELECT term, owner, address, extract(epoch FROM clock_timestamp() - renewed_at)::float8 AS silent FROM leadership")
HOLDS = text(
    "SELECT set_config('codeb.written', :written, true), (SELECT term FROM leadership) AS term, "
    "(SELECT registry_id FROM meta) AS registry_id"
)
TAKE = text(
    "INSERT INTO leadership (id, term, owner, address, acquired_at, renewed_at) "
    "VALUES (1, :term, :owner, :address, clock_timestamp(), clock_timestamp()) "
    "ON CONFLICT (id) DO UPDATE SET term = excluded.term, owner = excluded.owner, address = excluded.address, "
    "acquired_at = excluded.acquired_at, renewed_at = excluded.renewed_at"
)
RENEW = text("UPDATE leadership SET renewed_at = clock_timestamp() WHERE term = :term")
LEAVE = text("UPDATE leadership SET renewed_at = 'epoch' WHERE term = :term")


@dataclass(frozen=True)
class Seat:
    """Who has the lease, and for how many seconds nothing was heard of them."""

    term: int
    owner: str
    address: str
    silent: float


def home_of(owner: str) -> str:
    """Of `{home id}:{boot id}` what outlives a start."""
    return owner.partition(":")[0]


class Leadership:
    """This process's part in it. `owner` reads `{home id}:{boot id}`."""

    def __init__(self, owner: str, address: str, fence: Path) -> None:
        self.owner = owner
        self.address = address
        self.term = 0
        """the number under which this process leads or led; 0: never"""
        self.other = ""
        """where the leader is reached, when it is another process"""
        self._fence = fence
        self._renewed = 0.0
        self._read: tuple[tuple[int, int], dict[str, Any]] = ((0, 0), {})
        self._debts = fence.with_name(f"{fence.name}.owes")
        self._owes = False
        self.owed = ""
        """the home that did things without the database which it does not have yet, where that is not this one"""
        self._looked = 0.0
        self._silent = 0.0
        """for how long the leader had been silent at that look, while the database answered"""
        self._heard_since = -math.inf
        """since when (monotonic) its silence counts: what it could not say while the database was away does not"""

    @property
    def mine(self) -> bool:
        """Whether this process may act now: it has a number, and nobody wrote a newer one."""
        return self.term > 0 and self._written() == {"term": self.term, "owner": self.owner}

    def _written(self) -> dict[str, Any]:
        """What the file says; nothing, when it is not there or not as one of us writes it."""
        try:
            found = self._fence.lstat()
            # Every writing is a new file; the time alone has the grain of the kernel's tick.
            stamp = found.st_mtime_ns, found.st_ino
            if stamp != self._read[0]:
                small = stat.S_ISREG(found.st_mode) and found.st_size <= MOST_BYTES
                self._read = stamp, _believed(self._fence.read_bytes() if small else b"")
        except OSError:
            return {}
        return self._read[1]

    def refuse_unless_mine(self) -> None:
        """Raises `FenceLost`."""
        if not self.mine:
            raise FenceLost(f"{self.owner} does not lead")

    def refuse_in_doubt(self, silent: Unavailable) -> None:
        """A commit brought no answer. Whoever leads may do it on the copy; for anybody else it came too late to count.

        Raises `Unavailable`.
        """
        if not self.mine:
            raise Unavailable(
                "Another process took over while this was being committed; whether it counts is not known here.",
                code="not_leader", hint="Look at what is there, or repeat the call with its idempotency key where it leads.",
            ) from silent  # fmt: skip

    def _sign(self, term: int) -> None:
        self._fence.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
        if self._written().get("term", 0) > term:
            # This process was stopped between the database and the file, and another one has both by now.
            raise FenceLost(f"{self.owner} was overtaken before it began to lead")
        make_way(self._fence)
        atomic_write(self._fence, json.dumps({"term": term, "owner": self.owner}).encode())
        self.term, self.other = term, ""
        self._read = (0, 0), {}

    def claim_without_database(self) -> None:
        """At a start without the database: whoever led on this machine goes on doing so, if it was this home."""
        written = self._written()
        if home_of(str(written.get("owner", ""))) == self._home and written.get("term"):
            self._sign(int(written["term"]))

    def owe(self) -> None:
        """Leave word beside the proxy that this home does things the database does not know of. Never raises."""
        if not self._owes:
            with contextlib.suppress(OSError):
                self._debts.mkdir(exist_ok=True, mode=0o755)
                (self._debts / self._home).touch()
            self._owes = True

    def owe_nothing(self) -> None:
        """The database has it all."""
        with contextlib.suppress(OSError):
            (self._debts / self._home).unlink(missing_ok=True)
        self._owes = False

    def see_debts(self) -> None:
        """Whether another home left such word. Old word is of one that will not come back."""
        self.owed = ""
        with contextlib.suppress(OSError):
            for each in self._debts.iterdir():
                if each.name != self._home and time.time() - each.stat().st_mtime < DEBT_SECONDS:
                    self.owed = each.name

    @property
    def _home(self) -> str:
        return home_of(self.owner)

    async def holds(self, tx: Transaction, see_whose: Callable[[str | None], None]) -> None:
        """At the start of each write: name it for the feed, see whose registry this is, and that nobody else leads.

        Raises what `see_whose` raises, and `FenceLost`.
        """
        found = (await tx.read(HOLDS, {"written": tx.written})).all[0]
        see_whose(found["registry_id"])
        if self.term == 0 or found["term"] != self.term:
            raise FenceLost(f"{self.owner} does not lead any more")

    async def look(self, tx: Transaction) -> Seat | None:
        row = (await tx.read(SEAT)).one
        seat = Seat(row["term"], row["owner"], row["address"], row["silent"]) if row else None
        self._looked = time.monotonic()
        self._silent = self._counts(seat) if seat else 0.0
        return seat

    def _counts(self, seat: Seat) -> float:
        """Of the leader's silence what it cannot blame on the database."""
        return min(seat.silent, time.monotonic() - self._heard_since)

    def may_take(self, seat: Seat | None) -> bool:
        """Nobody has it, its holder fell silent, or it was this very home before it was started anew."""
        if seat is None or seat.silent > LEFT_SECONDS:
            return True
        if self._counts(seat) > LEASE_SECONDS:
            return True
        return home_of(seat.owner) == self._home

    def see(self, seat: Seat | None) -> None:
        """What the database says of it. Somebody else's newer number ends ours, also where the file is not shared."""
        self.other = seat.address if seat and not self.is_mine(seat) else ""
        if seat and seat.owner != self.owner and seat.term > self.term:
            self.term = 0

    def is_mine(self, seat: Seat | None) -> bool:
        return seat is not None and seat.owner == self.owner and seat.term == self.term

    async def take(self, tx: Transaction) -> int:
        """In a transaction that excludes other writers: lead from now on, if one may. The number; 0 when one may not."""
        seat = await self.look(tx)
        if not self.may_take(seat):
            return 0
        # A number from the file counts too: the database may have been restored from before it.
        term = 1 + max(seat.term if seat else 0, int(self._written().get("term", 0)), self.term)
        await tx.write(TAKE, {"term": term, "owner": self.owner, "address": self.address})
        return term

    async def attend(self, database: PostgresDatabase, now: Callable[[], datetime]) -> bool:
        """Renew the lease, or take it when it is free; whether it was taken. Raises `Unavailable`, and `OSError`: not signed."""
        async with writing(database, now) as tx:
            seat = await self.look(tx)
            mine = self.is_mine(seat) and self.mine
            term = 0 if mine else await self.take(tx)
            if mine:
                await tx.write(RENEW, {"term": self.term})
        self._renewed = time.monotonic()
        if term:
            self._sign(term)
            log.warning("this process leads now (term %d)", term)
        return bool(term)

    async def keep(self, database: PostgresDatabase, now: Callable[[], datetime]) -> None:
        """Renew the lease if nobody else has it, before anything else is done after an absence, and while that takes long."""
        if not self.mine or time.monotonic() - self._renewed < RENEW_SECONDS:
            return
        async with writing(database, now) as tx:
            if self.is_mine(await self.look(tx)):
                await tx.write(RENEW, {"term": self.term})
                self._renewed = time.monotonic()

    def returned(self) -> None:
        """The database answers again.

        While it was away its leader could say nothing: it has what was left of its lease to come back, with what it did. After
        a moment without the database the lease itself leaves time enough.
        """
        if time.monotonic() - self._looked > LEASE_SECONDS / 2:
            self._heard_since = time.monotonic() - self._silent
            self._looked = time.monotonic()

    def due(self, seat: Seat | None) -> bool:
        """Whether there is something to renew or to take."""
        return self.may_take(seat) and not (self.mine and time.monotonic() - self._renewed < RENEW_SECONDS)

    async def leave(self, database: PostgresDatabase, now: Callable[[], datetime]) -> None:
        """So that another one need not wait for the lease to run out."""
        async with writing(database, now) as tx:
            await tx.write(LEAVE, {"term": self.term})


class Duties:
    """What is done when this process begins to lead, apart from the renewing of its lease: that goes on meanwhile."""

    def __init__(self, lead: Leadership, acts: list[Callable[[], Awaitable[None]]]) -> None:
        self._lead = lead
        self._acts = acts
        self._task: asyncio.Task[None] | None = None

    async def begin(self) -> None:
        await self.end()
        self._task = asyncio.create_task(self._all(), name="beginning to lead")

    async def _all(self) -> None:
        """Each until it succeeds, or somebody else leads."""
        for act in self._acts:
            while self._lead.mine:
                try:
                    await act()
                    break
                except FenceLost as lost:
                    log.warning("%s", lost)
                except CodebError as fault:
                    log.error("beginning to lead: %s", fault)
                except Exception:
                    log.exception("beginning to lead failed; it is tried again")
                await asyncio.sleep(AGAIN_SECONDS)

    async def end(self) -> None:
        """Safe to repeat."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None


def _believed(text: bytes) -> dict[str, Any]:
    """What one of us wrote; nothing, when it was somebody else, or the disk."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    if not isinstance(found, dict):
        return {}
    term, owner = found.get("term"), found.get("owner")
    sound = type(term) is int and 0 < term < MOST_TERM and isinstance(owner, str)
    return {"term": term, "owner": owner} if sound else {}
