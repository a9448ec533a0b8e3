"""Storage in a container of its own: what it is called, what it may use, and what is seen of it."""

from dataclasses import dataclass

from codeb.model import names
from codeb.model.names import Place
from codeb.model.specs import Limits
from codeb.model.storage import Kind, Storage

ADMIN = "codeb"
"""who CodeB is inside: the one role, or user, that no app is told of"""
INNER: dict[Kind, int] = {Kind.POSTGRES: 5432, Kind.REDIS: 6379}
"""the port inside the container"""
LIMITS = Limits(
    memory_mb=512, cpus=1.0, pids=512, capabilities=("CHOWN", "DAC_OVERRIDE", "FOWNER", "SETGID", "SETUID"), stop_seconds=60
)
"""what images of PostgreSQL and Redis need to make their folder their own and to leave root; a clean end takes its time"""


@dataclass(frozen=True)
class InstanceSpec:
    """A container of storage that CodeB wants. Built from our own fields only."""

    storage_id: str
    place: Place
    kind: Kind
    server: str
    address: str
    """of the server: where it is published, and nowhere else"""
    port: int
    image: str
    limits: Limits = LIMITS

    @property
    def name(self) -> str:
        return f"{self.place.key}-{self.kind.value}"

    @property
    def volume(self) -> str:
        """Never a former one's: what somebody else left under the name of the container is not taken for this one's data."""
        return f"{self.name}.{self.storage_id}"


@dataclass(frozen=True)
class Instance:
    """What there is of one: its container, its data, or both."""

    storage_id: str
    name: str
    there: bool
    """whether it has a container"""
    running: bool
    kept: bool
    """whether the runtime itself starts it again after its death or the machine's"""
    data: bool
    """whether its volume is there"""
    published: tuple[tuple[str, int], ...] = ()
    """(host address, host port)"""
    exit_code: int | None = None


def spec_of(storage: Storage) -> InstanceSpec | None:
    """The container of this storage; None for one that has none of its own."""
    if storage.server is None or storage.image is None:
        return None
    return InstanceSpec(
        storage.id, storage.place, storage.kind, storage.server, storage.host, storage.port, storage.image
    )  # fmt: skip


def parse_instance(name: str) -> Place | None:
    """The environment whose storage a container name stands for, or None."""
    stem, _, last = name.rpartition("-")
    return names.parse_place(stem) if last in tuple(Kind) else None
