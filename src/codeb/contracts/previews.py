"""What we need remembered of previews: until when each is kept. A role of `contracts.store`."""

from typing import Protocol

from codeb.model.names import Place
from codeb.model.previews import Preview


class Previews(Protocol):
    async def get(self, place: Place) -> Preview | None: ...

    async def put(self, preview: Preview) -> None:
        """Replace what the place had. Raises `Conflict` (`project_gone`)."""

    async def remove(self, place: Place) -> None:
        """Safe to repeat."""
