"""Log cursors: times with nanoseconds, and how much of a log is given out."""

import re
from datetime import datetime

from codeb.errors import InvalidParams

MOST_LINES = 10_000
MOST_BYTES = 16 * 1024
"""Of one line; the rest of a longer one is dropped."""

STAMP = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)", re.ASCII)

Moment = tuple[int, int]
"""Seconds since 1970 and nanoseconds; datetime holds no nanoseconds."""


def moment(stamp: str) -> Moment:
    """An RFC 3339 time with up to nine decimals. Raises `ValueError`."""
    match = STAMP.fullmatch(stamp)
    if match is None:
        raise ValueError("a time is RFC 3339, such as 2026-01-31T23:59:59.123456789Z")
    whole, fraction, zone = match.groups()
    seconds = int(datetime.fromisoformat(whole + zone.replace("Z", "+00:00")).timestamp())
    return seconds, int((fraction or "").ljust(9, "0"))


def since_moment(since: str | None) -> Moment | None:
    """The same for a caller's cursor. Raises `InvalidParams`."""
    if since is None:
        return None
    try:
        return moment(since)
    except ValueError as error:
        raise InvalidParams(
            f"`since` is not a time: {error}.",
            hint="Pass the `at` of the last line you have.",
            details={"field": "since"},
        ) from error
