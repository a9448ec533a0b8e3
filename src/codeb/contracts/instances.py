"""What we need of containers of storage: one environment's own PostgreSQL or Redis, on a volume that outlives its container.

`engine` is the Docker host of the server it is on; None: the one CodeB itself uses.
"""

from collections.abc import Mapping
from typing import Protocol

from codeb.contracts.databases import Caches, Databases
from codeb.errors import NotFound
from codeb.model.instances import Instance, InstanceSpec
from codeb.model.secret import Secret
from codeb.model.storage import Endpoint


def data_gone(spec: InstanceSpec) -> NotFound:
    """The answer about a container of storage whose data somebody removed."""
    return NotFound(
        f"The volume {spec.volume} of {spec.name} is gone from {spec.server}, and with it the data.", code="storage_data_gone",
        hint="Nothing empty is put in its place. Delete it, create it again, and restore from a backup.",
    )  # fmt: skip


class Instances(Protocol):
    """Every verb may be repeated. Raises `Unavailable` (`docker_unavailable`) when the engine does not answer; `Conflict`
    (`name_taken`) when something that is not this storage's stands under a name; what takes away lets a namesake be."""

    async def run(self, engine: str | None, spec: InstanceSpec, password: Secret, *, fresh: bool) -> None:
        """Have it running, published at its address and port alone, started again by the runtime itself.

        `password` is its administrator's. Only with `fresh` an empty volume is made; else one that is not there is
        `NotFound` (`storage_data_gone`). Raises `NotFound` (`image_not_found`), `Conflict` (`port_taken`, `start_refused`).
        """

    async def look(self, engine: str | None, spec: InstanceSpec) -> Instance:
        """What there is of it now."""

    async def drop(self, engine: str | None, spec: InstanceSpec) -> None:
        """Its container and its data are gone."""

    async def all(self, engine: str | None) -> Mapping[str, Instance]:
        """Everything of this installation there, by the id of the storage."""

    async def taken(self, engine: str | None) -> frozenset[int]:
        """Ports that any container there publishes, or would when started."""


class Inside(Protocol):
    """The server in such a container, spoken to as its administrator. Made anew each time: it holds no connection."""

    def databases(self, at: Endpoint, password: Secret) -> Databases: ...

    def caches(self, at: Endpoint, password: Secret) -> Caches: ...
