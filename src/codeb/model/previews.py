"""Previews: the environment of a pull request, `pr-<n>`, and how long it is kept."""

from dataclasses import dataclass
from datetime import datetime

from codeb.model.grammar import PULL_REQUEST
from codeb.model.names import Place

HOURS, MOST_HOURS = 72, 24 * 30
"""how long one is kept after its last deploy, where nobody says, and at the most"""


@dataclass(frozen=True)
class Preview:
    """What is remembered of one beside its slots."""

    place: Place
    ttl_hours: int
    expires_at: datetime
    created_at: datetime
    created_by: str
    ending: bool = False
    """its removal has begun, and goes on until nothing is left"""


def environment_of(number: int) -> str:
    return f"pr-{number}"


def number_of(environment: str) -> int | None:
    """Of the pull request that an environment belongs to; None for one that is nobody's preview."""
    return int(environment.removeprefix("pr-")) if PULL_REQUEST.fullmatch(environment) else None


def is_over(preview: Preview, now: datetime) -> bool:
    """Whether the stored time has passed, or its removal has begun. A clock that went backwards never ends it."""
    return preview.ending or now >= preview.expires_at
