"""Names built from project, environment and slot: container, network and host names, and back again."""

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from codeb.model import grammar


class Slot(StrEnum):
    """One of the two places of an environment. Blue has the even port, green the odd one above it."""

    BLUE = "blue"
    GREEN = "green"

    @property
    def other(self) -> "Slot":
        return Slot.GREEN if self is Slot.BLUE else Slot.BLUE


@dataclass(frozen=True, order=True)
class Place:
    """A project's environment: what is locked, routed and shown together."""

    project: str
    environment: str

    @property
    def key(self) -> str:
        """`{project}-{environment}`, the stem of files and folders; parses back because names may not end in these words."""
        return f"{self.project}-{self.environment}"

    def container(self, slot: Slot) -> str:
        return f"{self.key}-{slot.value}"

    def host(self, base: str) -> str:
        """The public host: `{project}.{base}` for production, `{project}-{environment}.{base}` for the others."""
        stem = self.project if self.environment == "production" else self.key
        return f"{stem}.{base}"

    def preview_host(self, slot: Slot, base: str) -> str:
        stem = self.project if self.environment == "production" else self.key
        return f"{stem}-{slot.value}.preview.{base}"


def network(project: str) -> str:
    """The Docker network that only this project's containers share."""
    return f"codeb-{project}"


def kept(container: str) -> str:
    """The name a container bears while it stands aside for its successor; a dot cannot occur in a project name."""
    return f"{container}.kept"


def parse_container(name: str) -> tuple[Place, Slot] | None:
    """The one project, environment and slot a container name stands for, or None when it is none of ours."""
    stem, _, last = name.removesuffix(".kept").rpartition("-")
    if last not in ("blue", "green"):
        return None
    place = parse_place(stem)
    return (place, Slot(last)) if place else None


def parse_place(key: str) -> Place | None:
    """The inverse of `Place.key`."""
    head, sep, number = key.rpartition("-pr-")
    if sep and number.isdigit():
        project, environment = head, f"pr-{number}"
    else:
        project, _, environment = key.rpartition("-")
    try:
        known = Place(grammar.project_name(project), grammar.environment(environment))
    except ValueError:
        return None
    return known if known.key == key else None


def closest(word: str, known: Iterable[str], most: int = 3) -> list[str]:
    """The names nearest to a misspelt one, best first (Ratcliff-Obershelp, stdlib difflib)."""
    return difflib.get_close_matches(word, list(known), n=most, cutoff=0.6)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A sentence such as `Did you mean shop, shops?`, or the empty string."""
    near = closest(word, known)
    return f"Did you mean {', '.join(near)}?" if near else ""
