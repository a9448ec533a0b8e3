"""Work items: how far each may move, and which files of the repository its branch has to itself for a while.

draft <--> in-progress <--> review --> done --> deployed
              ^    +------------------->|
              +------ (taken up again) -+
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from codeb.model import grammar


class Status(StrEnum):
    DRAFT = "draft"
    IN_PROGRESS = "in-progress"
    REVIEW = "review"
    DONE = "done"
    DEPLOYED = "deployed"

    @property
    def open(self) -> bool:
        """Whether there is still work in it: only then does it hold files."""
        return self not in (Status.DONE, Status.DEPLOYED)


MOVES: frozenset[tuple[Status, Status]] = frozenset(
    {
        (Status.DRAFT, Status.IN_PROGRESS),
        (Status.DRAFT, Status.DONE),
        (Status.IN_PROGRESS, Status.DRAFT),
        (Status.IN_PROGRESS, Status.REVIEW),
        (Status.IN_PROGRESS, Status.DONE),
        (Status.REVIEW, Status.IN_PROGRESS),
        (Status.REVIEW, Status.DONE),
        (Status.DONE, Status.IN_PROGRESS),
        (Status.DONE, Status.DEPLOYED),
    }
)
"""DRAFT -> DONE: what was done before anybody said that it had begun. DONE -> IN_PROGRESS: taken up again."""

OPEN = tuple(status for status in Status if status.open)

LOCK_FOR = "8h"
"""unless somebody says otherwise: a day's work, so that what was forgotten is free the next morning"""
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
LEAST_LOCK, LONGEST_LOCK = timedelta(minutes=1), timedelta(days=7)
MOST_FILES = 200
"""of one task"""
MOST_LOCKS = 2000
"""of one project at one time: who needs more locks folders"""


@dataclass(frozen=True)
class Task:
    """One work item. Title, description, branch and the paths of its files are words of whoever wrote them."""

    id: str
    project: str
    title: str
    branch: str
    status: Status
    author: str
    """the member who holds the key, by name; else the key"""
    created_by: str
    created_at: datetime
    updated_at: datetime
    description: str = ""
    done_at: datetime | None = None
    deployed_at: datetime | None = None
    operation_id: str | None = None
    """the operation that brought it live"""


@dataclass(frozen=True)
class FileLock:
    """One path of one task: held until then, by the clock; None: given back. What a folder's lock covers is all below it."""

    task: str
    project: str
    branch: str
    path: str
    until: datetime | None

    def holds(self, now: datetime) -> bool:
        return self.until is not None and now < self.until


def lock_span(text: str) -> timedelta:
    """How long files are to be held. Raises `ValueError`."""
    match = grammar.DURATION.fullmatch(text)
    span = timedelta(seconds=int(match[1]) * _SECONDS[match[2]]) if match else timedelta()
    if not LEAST_LOCK <= span <= LONGEST_LOCK:
        raise ValueError("a lock holds for a span between 1m and 7d, such as 30m, 8h or 2d")
    return span


def next_of(status: Status) -> tuple[Status, ...]:
    """Where it may move from here, in the order of their lives."""
    return tuple(to for to in Status if (status, to) in MOVES)


def above(path: str) -> Iterator[str]:
    """The path and every folder it is in."""
    yield path
    while "/" in path:
        path = path.rpartition("/")[0]
        yield path


def overlap(one: str, other: str) -> bool:
    """Whether they are the same file or folder, or one is below the other."""
    return one == other or one.startswith(f"{other}/") or other.startswith(f"{one}/")


def meeting(paths: Iterable[str], locks: Iterable[FileLock]) -> list[tuple[str, FileLock]]:
    """Each path with each lock that overlaps it, in the order of the paths. Linear in what is there."""
    at, below = defaultdict[str, list[FileLock]](list), defaultdict[str, list[FileLock]](list)
    for lock in locks:
        for number, place in enumerate(above(lock.path)):
            (below if number else at)[place].append(lock)
    return [
        (path, lock)
        for path in dict.fromkeys(paths)
        for lock in (*(each for place in above(path) for each in at.get(place, ())), *below.get(path, ()))
    ]


def in_the_way(paths: Iterable[str], branch: str | None, locks: Iterable[FileLock]) -> list[tuple[str, FileLock]]:
    """What of other branches stands against editing these paths on this one; None: on none that is known."""
    return meeting(paths, [lock for lock in locks if lock.branch != branch])
