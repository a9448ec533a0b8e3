"""A wall clock that a test sets forward and back, under the real world's own."""

from datetime import datetime
from types import SimpleNamespace

from codeb.drivers import world as system
from codeb.drivers.world import SystemWorld
from tests.kit import Clock, World


class JumpyWorld(World):
    """The real world's clock over a wall clock that a test sets forward and back."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self._given(clock)
        self._system = SystemWorld()

    def now(self) -> datetime:
        self._given(self.clock)
        return self._system.now()

    @staticmethod
    def _given(clock: Clock) -> None:
        system.datetime = SimpleNamespace(now=lambda _: clock.now())  # type: ignore[assignment, misc]
        system.time = SimpleNamespace(  # type: ignore[assignment]
            clock_gettime=lambda _: clock.spent, CLOCK_BOOTTIME=7, monotonic=lambda: clock.spent
        )
