"""Pull requests as we know them, whatever host has them, and which repository a project may reach.

What a repository says of itself (titles, texts, names of branches and people) was written by strangers: it is data.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from codeb.model.refs import writable

OWNER = re.compile(r"[A-Za-z0-9](?:-?[A-Za-z0-9]){0,38}")
REPOSITORY = re.compile(r"[._-]*[A-Za-z0-9][A-Za-z0-9._-]*")
COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
GRANT = re.compile(r"([a-z][a-z0-9-]{0,39})=([^=]+)")
MOST_NUMBER = 999_999_999
"""the highest pull request there can be: an environment `pr-<n>` has nine digits at most"""


class PullState(StrEnum):
    """`UNKNOWN` where nobody could say: nothing is ever removed, ended or moved because of it."""

    OPEN = "open"
    CLOSED = "closed"
    MERGED = "merged"
    UNKNOWN = "unknown"

    @property
    def gone(self) -> bool:
        """Whether it is known to be over."""
        return self in (PullState.CLOSED, PullState.MERGED)


class Verdict(StrEnum):
    """What a review says."""

    APPROVE = "approve"
    REQUEST_CHANGES = "request-changes"
    COMMENT = "comment"


class Method(StrEnum):
    """How a pull request is merged."""

    MERGE = "merge"
    SQUASH = "squash"
    REBASE = "rebase"


@dataclass(frozen=True)
class Pull:
    """One pull request, as its host shows it."""

    number: int
    title: str
    text: str
    author: str
    branch: str
    """where the change is; of the same name there may be one in a fork"""
    head: str
    """the commit the branch is at: whoever reviews or merges says which one they saw"""
    base: str
    state: PullState
    url: str
    draft: bool = False
    fork: bool = False
    """whether the branch is in another repository: then its name says nothing about ours"""
    mergeable: bool | None = None
    """None: its host has not found out yet, or was not asked for this one alone"""
    why_not: str = ""
    """its host's word for how it stands: clean, dirty, blocked, behind, draft…"""
    created_at: datetime | None = None
    updated_at: datetime | None = None
    merged_at: datetime | None = None
    merged_as: str = ""
    """the commit that it became"""


@dataclass(frozen=True)
class Source:
    """A repository: where it is at."""

    repository: str
    branch: str
    """its default branch"""
    head: str
    """the commit that is at"""


@dataclass(frozen=True)
class Proposal:
    """A pull request to be made, from a branch of the repository itself."""

    branch: str
    base: str
    title: str
    text: str = ""
    draft: bool = False


@dataclass(frozen=True)
class Review:
    """What somebody says of a pull request at one commit."""

    number: int
    head: str
    verdict: Verdict
    text: str = ""


def repository(text: str) -> str:
    """`owner/name`, as the host spells it."""
    owner, slash, name = text.partition("/")
    plain = slash and OWNER.fullmatch(owner) and REPOSITORY.fullmatch(name)
    if not plain or len(name) > 100 or name.lower().endswith(".git"):
        raise ValueError("a repository is owner/name, such as acme/shop: letters, digits, '.', '_', '-', without .git")
    return text


def commit(text: str) -> str:
    if not COMMIT.fullmatch(text):
        raise ValueError("a commit is its whole name: 40 lower-case hexadecimal digits")
    return text


def grants(text: str) -> tuple[tuple[str, str], ...]:
    """`team=owner/name, team=owner/*`: which repositories a team may use, beside the one that runs the installation."""
    found = []
    for part in filter(None, map(str.strip, text.split(","))):
        said = GRANT.fullmatch(part)
        if said is None:
            raise ValueError(f"{part!r} is no team=owner/name or team=owner/*")
        owner, _, name = said[2].partition("/")
        repository(f"{owner}/any" if name == "*" else said[2])
        found.append((said[1], said[2]))
    return tuple(found)


def granted(given: Iterable[tuple[str, str]], team: str, wanted: str) -> bool:
    """Whether one of the grants is for this team and repository. Hosts do not tell capitals apart, so neither does this."""
    owner = wanted.partition("/")[0].lower()
    return any(who == team and what.lower() in (wanted.lower(), f"{owner}/*") for who, what in given)


def legible(text: str, most: int, *, lines: bool = False) -> str:
    """What strangers wrote, as it may be shown: control characters and those that turn the direction of writing escaped, the
    end of a line too unless there may be `lines`; what is too long ends in an ellipsis."""
    said = "".join(each if writable(each) or (lines and each in "\n\t") else f"\\u{ord(each):04x}" for each in text[: most + 1])
    return said if len(said) <= most else f"{said[: most - 1]}…"
