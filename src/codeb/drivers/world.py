"""The real world: clocks that are checked against each other, random ids, and the crash points of the tests."""

import asyncio
import logging
import os
import secrets
import signal
import time
from datetime import UTC, datetime, timedelta

from codeb.model.secret import Secret
from codeb.model.specs import Finding

log = logging.getLogger("codeb.world")

STEP = timedelta(seconds=60)
"""a difference between the two clocks beyond this is a jump of the wall clock, not its drift"""
RANDOM_BYTES = 8
SECRET_BYTES = 24


class SystemWorld:
    """`now` follows the wall clock through its drift, and ignores its jumps.

    The yardstick is CLOCK_BOOTTIME, which also counts suspension. A step of the wall clock by more than a minute is
    noticed and logged; from then on time is counted from before the step, so that no grace ends early and no lease lives
    for ever. A restart takes the wall clock as it is.
    """

    def __init__(self, crash_at: str | None = None) -> None:
        self._wall = datetime.now(UTC)
        self._steady = time.clock_gettime(time.CLOCK_BOOTTIME)
        self._jump: timedelta | None = None
        self._random = b""
        point, _, nth = (crash_at or "").partition("#")
        self._crash_point = point
        self._crash_left = int(nth or 1)

    def now(self) -> datetime:
        wall, steady = datetime.now(UTC), time.clock_gettime(time.CLOCK_BOOTTIME)
        expected = self._wall + timedelta(seconds=steady - self._steady)
        if abs(wall - expected) > STEP:
            if self._jump is None:
                log.warning("the wall clock jumped by %s; CodeB goes on counting from before", wall - expected)
            self._jump = wall - expected
            return expected
        self._wall, self._steady, self._jump = wall, steady, None
        return wall

    def monotonic(self) -> float:
        return time.monotonic()

    def new_id(self, prefix: str) -> str:
        stamp = time.time_ns() // 1_000_000
        if not self._random:
            # read ahead: one system call for many ids, and an id is made for every request
            self._random = secrets.token_bytes(RANDOM_BYTES * 100)
        chance, self._random = self._random[:RANDOM_BYTES], self._random[RANDOM_BYTES:]
        return f"{prefix}_{stamp:012x}{chance.hex()}"

    def new_secret(self) -> Secret:
        return Secret(secrets.token_urlsafe(SECRET_BYTES))

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def reached(self, point: str) -> None:
        if self._crash_point != point:
            return
        self._crash_left -= 1
        if self._crash_left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
            time.sleep(60)  # noqa: ASYNC251  the signal is on its way: not one more instruction of CodeB may run

    async def check(self) -> Finding:
        self.now()
        if self._jump is None:
            return Finding("clock", "pass", "steady")
        return Finding(
            "clock", "warn", f"the wall clock jumped by {self._jump}; CodeB counts from before the jump",
            "Set the clock right (NTP), or restart CodeB when the new time is the right one.",
        )  # fmt: skip
