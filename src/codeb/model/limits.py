"""How many calls in how long, and what is left of it."""

import re
from dataclasses import dataclass

FORM = re.compile(r"([1-9][0-9]{0,5})/([1-9][0-9]{0,3})")
MOST_CALLS, MOST_SECONDS = 100_000, 3600
OFF = frozenset(("off", "0"))


@dataclass(frozen=True)
class Rate:
    """At most `calls` in any `seconds`."""

    calls: int
    seconds: int


@dataclass(frozen=True)
class Allowance:
    """How a caller stands after a call. `reset`: in how many seconds, rounded up, one more call fits than now."""

    limit: int
    remaining: int
    reset: int
    granted: bool
    """whether this call was let in"""


def rate(text: str) -> Rate | None:
    """`100/60` is a hundred calls in any sixty seconds; `off` is no limit: None. Raises `ValueError` in words."""
    if text in OFF:
        return None
    match = FORM.fullmatch(text)
    if not match or int(match[1]) > MOST_CALLS or int(match[2]) > MOST_SECONDS:
        raise ValueError(
            f"a rate is CALLS/SECONDS, such as 100/60, with at most {MOST_CALLS} calls and {MOST_SECONDS} seconds; or off"
        )
    return Rate(int(match[1]), int(match[2]))
