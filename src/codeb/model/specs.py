"""The values handed to drivers and got back from them: plain facts, no behaviour of any product."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from codeb.model.names import Place, Slot


@dataclass(frozen=True)
class Image:
    """An image on this machine. `id` pins what runs; `digest` is what people quote: the registry's, else the id."""

    reference: str
    id: str
    digest: str
    has_healthcheck: bool
    warning: str = ""
    """said when the image registry did not answer and the copy on this machine is used"""


@dataclass(frozen=True)
class Limits:
    """Resources and hardening of a container; each default is the hardened one."""

    memory_mb: int = 512
    cpus: float = 1.0
    pids: int = 256
    tmp_mb: int = 64
    capabilities: tuple[str, ...] = ("CHOWN", "KILL", "NET_BIND_SERVICE", "SETGID", "SETUID")
    """added back after ALL are dropped: what nginx, Apache and the like need to bind 80 and change user"""
    stop_seconds: int = 30


@dataclass(frozen=True)
class UnitSpec:
    """A container CodeB wants. Built from our own fields only."""

    name: str
    project: str
    environment: str
    slot: Slot
    deployment_id: str
    operation_id: str
    version: str
    image_id: str
    host_port: int
    container_port: int
    network: str
    limits: Limits = Limits()
    env: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    """may hold secrets: never printed"""


class Health(StrEnum):
    """What Docker's own HEALTHCHECK says."""

    NONE = "none"
    STARTING = "starting"
    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"


@dataclass(frozen=True)
class Unit:
    """A container as the runtime sees it now. The label fields are empty on one that is not ours."""

    id: str
    name: str
    running: bool
    image_id: str
    health: Health = Health.NONE
    exit_code: int | None = None
    restarts: int = 0
    """by the runtime itself, since somebody started it"""
    started: str = ""
    """when its process was started, as the runtime stamps it; another stamp is another process"""
    restarting: bool = False
    """it is down, and the runtime is about to start it again"""
    kept: bool = True
    """whether the runtime itself starts it again after its death or the machine's"""
    address: str | None = None
    """its own address in the project's network"""
    project: str = ""
    environment: str = ""
    slot: str = ""
    deployment_id: str = ""
    operation_id: str = ""
    version: str = ""
    published: tuple[tuple[str, int], ...] = ()
    """(host address, host port)"""


@dataclass(frozen=True)
class LogLine:
    at: str
    """RFC 3339 with nanoseconds, as the runtime stamped it; doubles as a cursor"""
    stream: str
    text: str


@dataclass(frozen=True)
class Site:
    """The static part of one environment's route: it changes only when hosts or ports change."""

    place: Place
    hosts: tuple[str, ...]
    preview_hosts: tuple[tuple[Slot, str], ...]
    ports: tuple[tuple[Slot, int], ...]
    health_path: str = "/"
    redirects: tuple[tuple[str, str], ...] = ()
    """names whose visitors are sent to one of the hosts"""
    own_paths: tuple[tuple[Slot, str], ...] = ()
    """of a slot that is asked at another path than the other one"""

    def port(self, slot: Slot) -> int:
        return dict(self.ports)[slot]

    def path(self, slot: Slot) -> str:
        """Where a slot is asked whether it is healthy."""
        return dict(self.own_paths).get(slot, self.health_path)

    @property
    def names(self) -> tuple[str, ...]:
        """Every public name of it; previews are none."""
        return (*self.hosts, *(name for name, _ in self.redirects))


@dataclass(frozen=True)
class Live:
    """The moving part: which slot answers, whether the other one may stand in, or nobody (`hold`)."""

    slot: Slot | None
    fallback: bool = False


@dataclass(frozen=True)
class Address:
    """One HTTP address to try. `host` is what the socket connects to; `host_header` what is asked for."""

    host: str
    port: int
    path: str = "/"
    host_header: str | None = None
    tls: bool = False
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)


@dataclass(frozen=True)
class Answer:
    """What one attempt brought: a status and the slot header, or the reason there was none."""

    status: int | None
    slot: str | None = None
    reason: str = ""

    @property
    def ok(self) -> bool:
        return self.status is not None and 200 <= self.status < 400


@dataclass(frozen=True)
class Finding:
    """One line of a health report."""

    name: str
    status: str
    """pass, warn or fail"""
    text: str
    fix: str = ""


@dataclass(frozen=True)
class Deployment:
    """The history record of one version put in one slot."""

    id: str
    place: Place
    slot: Slot
    version: str
    image: str
    status: str
    """pending, success, failed"""
    created_at: datetime
    created_by: str
    operation_id: str
    digest: str | None = None
    image_id: str | None = None
    ended_at: datetime | None = None
    promoted_at: datetime | None = None
    env_version: int | None = None
    """the version of the environment variables it runs with, for good; None: there were none"""


@dataclass(frozen=True)
class Project:
    """One application, owned by one team."""

    name: str
    team: str
    type: str = "docker"
    container_port: int = 3000
    health_path: str = "/"
    limits: Limits = Limits()
    created_at: datetime | None = None
    created_by: str = ""
    state: str = "ready"
    """see `model/deletion.py`: creating, ready, deleting, deleted, purging"""
    environments: tuple[str, ...] = field(default_factory=tuple)
    auto_rollback: bool = True
    """whether CodeB may move the traffic back by itself when the active slot stays bad"""
    watch_seconds: int = 60
    """how long after a promote the active slot is followed closely"""
    deleted_at: datetime | None = None
    """since when it is deleted, and may still be brought back"""
    repository: str = ""
    """where its source is, `owner/name`; empty: nobody said"""
