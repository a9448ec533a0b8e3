"""`Load`: keeps the rates whatever the answers do (open loop), and ends gracefully."""

import asyncio
import random
import time
from dataclasses import asdict, dataclass

from demo.load.kinds import LONG_LIVED, REQUESTS, Target, Traffic
from demo.load.report import KindResult, Result

__all__ = ["Load", "Rates", "Target"]


@dataclass(frozen=True, slots=True)
class Rates:
    """Requests per second for each kind; for sse and websocket how many are open at any time."""

    short: float = 60.0
    keepalive: float = 60.0
    post: float = 20.0
    upload: float = 1.0
    slow: float = 2.0
    stream: float = 2.0
    sse: int = 5
    websocket: int = 5


class Load:
    """A run of load.

        async with Load(Target(port=8080, host_header="shop.localhost")) as load:
            ...
        assert load.result.lost == 0

    Leaving the block ends it: nothing new is sent, what is in flight is waited for (at most `drain` seconds, then
    it counts as failed), long-lived connections are closed by us. `patience` bounds each wait of a request.
    """

    def __init__(self, target: Target, rates: Rates | None = None, *, patience: float = 15.0, drain: float = 30.0) -> None:
        self.rates = rates or Rates()
        kinds = {kind: KindResult() for kind in (*REQUESTS, *LONG_LIVED)}
        self.result = Result(kinds=kinds, started=time.monotonic())
        self._traffic = Traffic(target, self.result, patience)
        self._drain = drain
        self._pacers: list[asyncio.Task[None]] = []
        self._held: list[asyncio.Task[None]] = []
        self._in_flight: set[asyncio.Task[None]] = set()
        self._cpu = 0.0

    async def start(self) -> None:
        """Begin to send."""
        self.result.started, self._cpu = time.monotonic(), time.process_time()
        rates = asdict(self.rates)
        self._pacers = [asyncio.create_task(self._pace(kind, rates[kind])) for kind in REQUESTS if rates[kind] > 0]
        self._held = [asyncio.create_task(self._traffic.hold(kind)) for kind in LONG_LIVED for _ in range(rates[kind])]

    async def stop(self) -> Result:
        """End gracefully and return the result. May be called again: the same result."""
        await _end(self._pacers)
        if self._in_flight:
            await asyncio.wait(self._in_flight, timeout=self._drain)
            await _end([*self._in_flight])
        self._traffic.ending = True
        await _end(self._held)
        self._traffic.close()
        # A closed connection lets go of its socket in the next turn of the loop.
        await asyncio.sleep(0)
        if not self.result.ended:
            self.result.ended = time.monotonic()
            self.result.cpu_seconds = time.process_time() - self._cpu
        return self.result

    async def run(self, seconds: float) -> Result:
        """Start, wait, stop."""
        async with self:
            await asyncio.sleep(seconds)
        return self.result

    async def __aenter__(self) -> "Load":
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def _pace(self, kind: str, rate: float) -> None:
        due = time.monotonic() + random.random() / rate
        while True:
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            self.result.worst_lag = max(self.result.worst_lag, time.monotonic() - due)
            task = asyncio.create_task(self._traffic.one(kind, due))
            self._in_flight.add(task)
            task.add_done_callback(self._in_flight.discard)
            due += 1 / rate


async def _end(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
