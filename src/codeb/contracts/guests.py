"""What we need for containers that CodeB did not make, once it is to answer for one."""

from collections.abc import Sequence
from typing import Protocol

from codeb.model.guests import Guest
from codeb.model.specs import LogLine, Unit


class Guests(Protocol):
    """By id, which nobody can give to another container. Only `find` takes a name. Nothing here ever makes one.

    Every verb may be called again after a crash, with the same end; one that is gone is nothing to do. Raises `Unavailable`
    when the runtime does not answer, `Conflict` (`port_taken`, `start_refused`, `name_taken`) where it says no.
    """

    async def find(self, reference: str) -> Guest | None:
        """The container of exactly this name, or whose id begins so (12 digits or more), with all that is to be known."""

    async def unit(self, container: str) -> Unit | None:
        """It as it is now, under its own name, with an address of its own in whatever network it has."""

    async def stop(self, container: str, seconds: int) -> None:
        """Gracefully (`seconds` before the kill), and so that no restart of the runtime brings it back."""

    async def start(self, container: str) -> None:
        """Have it running."""

    async def rename(self, container: str, name: str) -> None: ...

    async def remove(self, container: str, seconds: int) -> None:
        """Stop it gracefully and remove it. Its volumes stay, those without a name too."""

    async def tail(self, container: str, lines: int, since: str | None = None) -> Sequence[LogLine]:
        """As `Logs.tail`."""
