"""Events of what CodeB does by itself, kept until the store takes them."""

import logging

from codeb.contracts.store import Store
from codeb.errors import FenceLost, PublicError
from codeb.model.events import Event

log = logging.getLogger("codeb.events")

MOST_HELD = 1000
"""beyond it the oldest go"""


class Untold:
    def __init__(self, store: Store) -> None:
        self._store = store
        self._events: list[Event] = []

    def add(self, event: Event) -> None:
        self._events.append(event)

    async def tell(self) -> None:
        """Write what is not written yet; what cannot be, waits. Never raises for the store, or for another process that leads."""
        told, self._events = self._events, []
        if not told:
            return
        try:
            await self._store.transact(lambda registry: registry.events.add(*told))
        except BaseException as fault:
            self._events = (told + self._events)[-MOST_HELD:]
            if not isinstance(fault, FenceLost | PublicError):
                raise
            log.warning("%d events wait: %s", len(told), fault)
