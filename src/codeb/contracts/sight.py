"""What we need to know of all containers at once, cheaply."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from codeb.model.specs import Unit


@dataclass(frozen=True)
class Seen:
    """Containers of this installation by name, as they were at `at`. `fault` says why they could not be looked at."""

    at: datetime
    units: Mapping[str, Unit] = field(default_factory=dict)
    fault: str = ""
    memo: dict[Any, Any] = field(default_factory=dict, compare=False, repr=False)
    """what readers derived from this look, kept as long as it: many ask the same within a second"""


class Sight(Protocol):
    async def look(self) -> Seen:
        """At most a second old; never raises: a runtime that does not answer is a `fault`."""
