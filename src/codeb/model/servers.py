"""Servers: the machines there are, what each is for, and where it is reached."""

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class ServerRole(StrEnum):
    APP = "app"
    STORAGE = "storage"
    DNS = "dns"
    STREAMING = "streaming"
    BACKUP = "backup"


@dataclass(frozen=True)
class Server:
    """One machine. The first address is the one CodeB itself uses."""

    name: str
    roles: tuple[ServerRole, ...]
    addresses: tuple[str, ...]
    docker_host: str | None = None
    """`tcp://address:port` or `unix:///path`; None: its Docker is not spoken to from here"""
    created_at: datetime | None = None
    created_by: str = ""

    def same_as(self, other: "Server | None") -> bool:
        """Whether both say the same of the machine, whoever said it."""
        return other is not None and _said(self) == _said(other)


def _said(server: Server) -> tuple[object, ...]:
    return server.name, server.roles, server.addresses, server.docker_host


def own(name: str) -> Server:
    """The machine CodeB runs on, as long as nobody said more of it: it is there from the start."""
    return Server(name, (ServerRole.APP,), ("127.0.0.1",))


def known(rows: Iterable[Server], own_name: str) -> dict[str, Server]:
    """Every server by name: the rows, and the machine CodeB runs on whether it has a row or not."""
    found = {own_name: own(own_name)} | {each.name: each for each in rows}
    return dict(sorted(found.items()))


def at(servers: Iterable[Server], host: str) -> Server | None:
    """The server that has this address; None: none, or it is a name and no address."""
    return next((each for each in servers if host in each.addresses), None)


def app_networks(servers: Iterable[Server]) -> list[str]:
    """The addresses that app servers come from, each as a network of one. Loopback is nobody's source on another machine."""
    found = set[str]()
    for server in servers:
        if ServerRole.APP in server.roles:
            parsed = (ipaddress.ip_address(each) for each in server.addresses)
            found |= {str(ipaddress.ip_network(each)) for each in parsed if not each.is_loopback}
    return sorted(found)


def reached(server: Server) -> str | None:
    """The first address that other machines, and containers on this one, reach it by; None: it has only loopback."""
    parsed = (ipaddress.ip_address(each) for each in server.addresses)
    return next((str(each) for each in parsed if not each.is_loopback and not each.is_unspecified), None)


# what a role's services are looked for by


class By(StrEnum):
    TCP = "tcp"
    HTTP = "http"


@dataclass(frozen=True)
class Look:
    """One service that a role brings, and what to do when it does not answer."""

    role: ServerRole
    what: str
    by: By
    port: int
    fix: str
    path: str = "/"


_STORAGE_FIX = "Start it, have it listen on this address, and open the port with firewall_allow."

LOOKS: tuple[Look, ...] = (
    Look(ServerRole.APP, "the proxy", By.HTTP, 80, "Start Caddy there, and let port 80 in."),
    Look(ServerRole.STORAGE, "PostgreSQL", By.TCP, 5432, _STORAGE_FIX),
    Look(ServerRole.STORAGE, "Redis", By.TCP, 6379, _STORAGE_FIX),
    Look(ServerRole.DNS, "the name server", By.TCP, 53, "Start PowerDNS there, and let port 53 in by TCP and UDP."),
    Look(ServerRole.STREAMING, "Centrifugo", By.HTTP, 8000, "Start it with its health endpoint on.", "/health"),
    Look(ServerRole.BACKUP, "SSH", By.TCP, 22, "Start sshd there, and let port 22 in from here."),
)  # fmt: skip
