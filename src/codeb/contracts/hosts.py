"""What we need remembered of public names: who has which, and where a maintenance page stands. Roles of `contracts.store`."""

from collections.abc import Sequence
from typing import Protocol

from codeb.model.domains import Domain, Maintenance
from codeb.model.names import Place


class Domains(Protocol):
    async def all(self) -> Sequence[Domain]:
        """Every one on record, released ones too, by name."""

    async def claim(self, *domains: Domain) -> None:
        """Add them; a released one of the same name gives way. Raises `Conflict` (`domain_taken`) when one is held, by
        whatever team: the constraint of the store says so."""

    async def put(self, *domains: Domain) -> None:
        """Have these rows as they are."""

    async def remove(self, *hosts: str) -> None:
        """As if they had never been. Safe to repeat."""


class Maintenances(Protocol):
    async def get(self, place: Place) -> Maintenance | None: ...

    async def put(self, maintenance: Maintenance) -> None:
        """Replace what the place had. Raises `Conflict` (`project_gone`)."""

    async def remove(self, place: Place) -> None:
        """Safe to repeat."""
