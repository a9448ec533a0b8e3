"""Time, identity and the points at which a test may end the process."""

from datetime import datetime
from typing import Protocol

from codeb.model.secret import Secret


class World(Protocol):
    """So that tests own time."""

    def now(self) -> datetime:
        """The wall clock, aware, UTC. For records and for grace; never for time-outs."""

    def monotonic(self) -> float:
        """Seconds that only go forward. For time-outs and durations."""

    def new_id(self, prefix: str) -> str:
        """A fresh `{prefix}_{28 lower-case hex digits}`; one made a millisecond later sorts later. Not a secret."""

    def new_secret(self) -> Secret:
        """A fresh password: letters, digits, `-` and `_`, at least 144 random bits."""

    async def sleep(self, seconds: float) -> None:
        """Let `seconds` pass."""

    async def reached(self, point: str) -> None:
        """Called at every journal point, `{saga}.{step}.{do|undo}.{before|effect|record}`: nothing, except under a crash test."""
