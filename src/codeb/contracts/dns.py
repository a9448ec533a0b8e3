"""What we need of the DNS server that serves names for us."""

from collections.abc import Sequence
from typing import Protocol

from codeb.model.domains import RecordSet


class Dns(Protocol):
    """Zones and their records. Names have no final dot. Every verb may be repeated with the same end.

    Raises `Unavailable` (`dns_unavailable`) when the server does not answer or does not take our key, `Conflict`
    (`dns_refused`) when it refuses a change, of which nothing was made then.
    """

    @property
    def makes_zones(self) -> bool:
        """Whether it is said which name servers a new zone has."""

    async def zone_of(self, name: str) -> str | None:
        """The zone here that holds this name, the nearest one; None when there is none."""

    async def make_zone(self, zone: str) -> None:
        """Have the zone, with SOA and NS; a new one is marked as made by us, one that is there is left as it is.

        Raises `Conflict` (`no_nameservers`) where nobody said which servers a new zone has.
        """

    async def drop_zone(self, zone: str) -> bool:
        """Remove it if it is marked as made by us and holds nothing but its own SOA and NS; whether it is gone now."""

    async def records(self, zone: str) -> Sequence[RecordSet] | None:
        """Every set in the zone, of whatever type; None when there is no such zone."""

    async def change(self, zone: str, put: Sequence[RecordSet], drop: Sequence[RecordSet]) -> None:
        """Have these sets as they are said, and none of those names and types, in one change of the zone.

        Raises `InvalidParams` (`bad_record`) for a type or value that must not be put into DNS, before anything is sent.
        """

    async def served(self, name: str, kind: str) -> tuple[str, ...]:
        """The values with which the server itself answers a real query now, sorted; empty when it has none."""
