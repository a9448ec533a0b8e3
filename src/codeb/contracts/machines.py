"""What we need of the machines: rows about them and their firewall rules, and whether they are reached."""

from collections.abc import Sequence
from typing import Protocol

from codeb.model.firewall import Rule
from codeb.model.servers import Server


class Servers(Protocol):
    """Rows of `contracts.store.Registry`. The machine CodeB runs on may have none: see `model.servers.known`."""

    async def put(self, server: Server) -> None:
        """Add it, or replace what is said of it."""

    async def all(self) -> Sequence[Server]:
        """By name."""

    async def remove(self, name: str) -> None:
        """Safe to repeat."""


class Rules(Protocol):
    """Firewall rules: rows of `contracts.store.Registry`, one per server, transport, port, network and project."""

    async def put(self, *rules: Rule) -> None:
        """Add them; one that is there keeps when and by whom, and gets the purpose. Safe to repeat."""

    async def all(self) -> Sequence[Rule]:
        """In the order of their keys."""

    async def remove(self, *rules: Rule) -> None:
        """Those of the same keys. Safe to repeat."""

    async def remove_of(self, project: str) -> None:
        """Every rule of a project. Safe to repeat."""


class Reach(Protocol):
    """Whether a service on another machine answers. Gives the empty text when it does, else why not. Never raises."""

    async def tcp(self, host: str, port: int, seconds: float) -> str:
        """Whether a connection is accepted."""

    async def docker(self, address: str, seconds: float) -> str:
        """Whether a Docker Engine answers at `tcp://host:port` or `unix:///path`."""
