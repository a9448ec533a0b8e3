"""A loop on which nobody waits: when nothing is ready, time jumps to the next timer, and the clocks that follow it with it."""

import asyncio
import selectors
from collections.abc import Callable
from typing import Any, Protocol
from weakref import WeakSet

STUCK_SECONDS = 30.0
"""real seconds without any timer and any event after which a test is a deadlock"""


class Follower(Protocol):
    spent: float


class VirtualLoop(asyncio.SelectorEventLoop):
    """Time-outs of asyncio and `World.sleep` pass in no time, in the right order; a hang ends at the deadline that cuts it."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.followers: WeakSet[Any] = WeakSet()
        super().__init__(_Jumping(self))

    def time(self) -> float:
        return self.seconds

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """A planned death that nobody waits for is no news. Told when it is collected, in the midst of anything, its
        traceback would be formatted there, and within `ast.parse` CPython 3.11 does not survive that."""
        if type(context.get("exception")).__name__ != "Died":
            super().call_exception_handler(context)

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:  # type: ignore[override]
        """Here, at once: beside a thread that works, time would fly, and not twice the same."""
        done = self.create_future()
        try:
            done.set_result(func(*args))
        except Exception as fault:
            done.set_exception(fault)
        return done

    def follow(self, clock: Follower) -> None:
        """Let `clock.spent` grow with the time of this loop."""
        self.followers.add(clock)

    def jump(self, seconds: float) -> None:
        self.seconds += seconds
        for clock in self.followers:
            clock.spent += seconds


class _Jumping(selectors.DefaultSelector):
    def __init__(self, loop: VirtualLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> Any:
        ready = super().select(0)
        if ready or (timeout is not None and timeout <= 0):
            return ready
        if timeout is None:
            # a thread of a driver's own may still say something
            ready = super().select(STUCK_SECONDS)
            if not ready:
                raise RuntimeError("deadlock: everybody waits and no timer is set")
            return ready
        self._loop.jump(timeout)
        return []
