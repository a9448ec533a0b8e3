"""TCP ports: which range serves which environment, and which pair is the next free one."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Range:
    """An inclusive range of ports."""

    first: int
    last: int

    def __contains__(self, port: int) -> bool:
        return self.first <= port <= self.last

    def pairs(self) -> Iterator[tuple[int, int]]:
        """Every even/odd pair that lies wholly inside, lowest first."""
        start = self.first + self.first % 2
        return ((even, even + 1) for even in range(start, self.last, 2))

    def __str__(self) -> str:
        return f"{self.first}-{self.last}"


@dataclass(frozen=True)
class Ranges:
    """The ranges of an app server, by class of environment, and of a storage server, by product."""

    production: Range = Range(4100, 4499)
    staging: Range = Range(4500, 4999)
    preview: Range = Range(5000, 5499)
    postgres: Range = Range(5432, 5499)
    redis: Range = Range(6379, 6499)

    def of(self, environment: str) -> Range:
        """production and staging have their own; preview and every pr-<n> share one."""
        match environment:
            case "production":
                return self.production
            case "staging":
                return self.staging
            case _:
                return self.preview

    def environment_of(self, port: int) -> str:
        """The class of environment a port belongs to; production for one that lies in no range."""
        named = {"staging": self.staging, "preview": self.preview}
        return next((name for name, span in named.items() if port in span), "production")


@dataclass(frozen=True)
class Lease:
    """The registry's word that (server, port) belongs to one slot, or to the storage container of an environment."""

    server: str
    port: int
    project: str
    environment: str
    slot: str
    """`blue`, `green`; or the kind of storage, `postgres`, `redis`"""


class Exhausted(ValueError):
    """Nothing is left in the range."""


def lowest_free_pair(span: Range, taken: Collection[int]) -> tuple[int, int]:
    """The lowest even/odd pair with neither port in `taken`. Raises `Exhausted`."""
    busy = frozenset(taken)
    for even, odd in span.pairs():
        if even not in busy and odd not in busy:
            return even, odd
    used = sum(1 for port in busy if port in span)
    raise Exhausted(f"no free pair of ports in {span}: {used} of {span.last - span.first + 1} ports are used")


def lowest_free(span: Range, taken: Collection[int]) -> int:
    """The lowest port that is not in `taken`. Raises `Exhausted`."""
    busy = frozenset(taken)
    for port in range(span.first, span.last + 1):
        if port not in busy:
            return port
    raise Exhausted(f"no free port in {span}: all {span.last - span.first + 1} are used")
