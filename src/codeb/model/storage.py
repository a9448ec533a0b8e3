"""What a project has on the storage server: a PostgreSQL database or a part of a Redis, its logins, and what its app is told.

A password is in force under a generation. While a rotation lasts two generations let in: the containers that run know the
old one until they are replaced, so it ends only when no slot holds a version that was deployed before the new one.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from urllib.parse import quote

from codeb.model.names import Place
from codeb.model.secret import Secret
from codeb.model.slots import Pair, State

CONNECTIONS = 20
"""that one login of a project may have open at once"""


class Kind(StrEnum):
    POSTGRES = "postgres"
    REDIS = "redis"


class Stage(StrEnum):
    CREATING = "creating"
    READY = "ready"
    DELETING = "deleting"


@dataclass(frozen=True)
class Endpoint:
    """Where a project's containers reach it."""

    host: str
    port: int

    @property
    def loopback(self) -> bool:
        """Whether a container looking there finds itself."""
        return self.host in ("localhost", "::1") or self.host.startswith("127.")


@dataclass(frozen=True)
class Holding:
    """One project's part of a server: its name there, and the mark by which it is known as this one and no namesake's."""

    name: str
    mark: str


@dataclass(frozen=True)
class Found:
    """What a server says of one holding of ours."""

    mark: str
    logins: tuple[int, ...] = ()
    """generations that may log in"""
    open: bool = True
    size: int | None = None
    """in bytes; None where the server does not say"""
    sessions: int = 0


@dataclass(frozen=True)
class Storage:
    """One row of the registry: a database or a part of a Redis, of one environment of a project."""

    id: str
    place: Place
    kind: Kind
    name: str
    host: str
    port: int
    state: Stage
    generation: int
    """of the password that is in force"""
    created_at: datetime
    created_by: str
    rotated_at: datetime | None = None
    """since when this generation is in force, where it is not the first"""
    backup: str | None = None
    """where the final dump is, once there is one"""
    server: str | None = None
    """where its container is, of one that has a container of its own; None: it is a part of what all share"""
    image: str | None = None
    """the reference of what runs in that container"""
    sealed: str | None = None
    """the password of that container's administrator, which no app is told"""

    @property
    def ready(self) -> bool:
        return self.state is Stage.READY

    @property
    def holding(self) -> Holding:
        return Holding(self.name, self.id)


@dataclass(frozen=True)
class Password:
    """One generation of a password, sealed."""

    storage_id: str
    generation: int
    sealed: str


def name_of(place: Place, kind: Kind) -> str:
    """What it is called on the server. Two places never share one: names may not end in the words that environments are.

    PostgreSQL keeps names that begin with `pg_` to itself.
    """
    if kind is Kind.REDIS:
        return place.key
    plain = place.key.replace("-", "_")
    return f"_{plain}" if plain.startswith("pg_") else plain


def prefix_of(name: str) -> str:
    """What all keys and channels of a project's part of a Redis begin with. No prefix begins another: names hold no colon."""
    return f"{name}:"


def login_of(name: str, generation: int) -> str:
    """The role of PostgreSQL that logs in with the password of this generation."""
    return f"{name}_{generation}"


def generated_env(held: Iterable[tuple[Storage, Secret]]) -> Mapping[str, Secret]:
    """What an app is told of its storage: the one place that makes environment values of it. All of them are protected.

    Each storage comes with its password in force.
    """
    made: dict[str, Secret] = {}
    for storage, password in held:
        where = f"[{storage.host}]" if ":" in storage.host else storage.host
        if storage.kind is Kind.POSTGRES:
            login = login_of(storage.name, storage.generation)
            address = f"postgresql://{login}:{quote(password.reveal(), safe='')}@{where}:{storage.port}/{storage.name}"
            made |= {
                "DATABASE_URL": Secret(address), "POSTGRES_HOST": Secret(storage.host),
                "POSTGRES_PORT": Secret(str(storage.port)), "POSTGRES_DB": Secret(storage.name),
                "POSTGRES_USER": Secret(login), "POSTGRES_PASSWORD": password,
            }  # fmt: skip
        else:
            address = f"redis://{storage.name}:{quote(password.reveal(), safe='')}@{where}:{storage.port}/0"
            made |= {"REDIS_URL": Secret(address), "REDIS_PREFIX": Secret(prefix_of(storage.name))}
    return made


ENV: Mapping[Kind, tuple[str, ...]] = {
    Kind.POSTGRES: ("DATABASE_URL", "POSTGRES_HOST", "POSTGRES_PORT", "POSTGRES_DB", "POSTGRES_USER", "POSTGRES_PASSWORD"),
    Kind.REDIS: ("REDIS_URL", "REDIS_PREFIX"),
}
"""the names that `generated_env` makes, by kind"""


def still_need(storage: Storage, pair: Pair | None) -> tuple[str, ...]:
    """The slots that may hold a container which knows only an older password: deployed before the one in force was."""
    if storage.rotated_at is None or pair is None:
        return ()
    filled = [row for row in pair.rows if row.state is not State.EMPTY]
    return tuple(row.slot.value for row in filled if row.deployed_at is None or row.deployed_at <= storage.rotated_at)
