"""All containers at a glance, asked for at most once a second however many callers look."""

import asyncio

from codeb.contracts.runtime import Runtime
from codeb.contracts.sight import Seen
from codeb.contracts.world import World
from codeb.errors import PublicError

FRESH_SECONDS = 1.0
LOOK_SECONDS = 10.0
"""for the whole look, however many calls it is made of"""


class CachedSight:
    """One listing serves every caller within a second; callers at the same time share one."""

    def __init__(self, runtime: Runtime, world: World) -> None:
        self._runtime = runtime
        self._world = world
        self._asking = asyncio.Lock()
        self._seen: Seen | None = None
        self._until = 0.0

    async def look(self) -> Seen:
        if self._seen is not None and self._world.monotonic() < self._until:
            return self._seen
        async with self._asking:
            if self._seen is not None and self._world.monotonic() < self._until:
                return self._seen
            at = self._world.now()
            try:
                async with asyncio.timeout(LOOK_SECONDS):
                    self._seen = Seen(at, {unit.name: unit for unit in await self._runtime.units()})
            except PublicError as fault:
                self._seen = Seen(at, fault=fault.message)
            except TimeoutError:
                self._seen = Seen(at, fault=f"Docker did not describe its containers within {LOOK_SECONDS:g} s.")
            self._until = self._world.monotonic() + FRESH_SECONDS
            return self._seen
