"""Which server storage is on: where apps reach the shared ones, and where one of an environment's own is put."""

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass

from codeb.contracts.kit import Kit
from codeb.contracts.store import Registry
from codeb.errors import Conflict
from codeb.flows.instances import engine_on
from codeb.flows.storage import server_of
from codeb.model import ports, servers
from codeb.model.ports import Range
from codeb.model.servers import Server, ServerRole
from codeb.model.storage import Endpoint, Kind

SETTING = {Kind.POSTGRES: "CODEB_STORAGE_DATABASE_URL", Kind.REDIS: "CODEB_STORAGE_REDIS_URL"}
PROBE_SECONDS = 1.0


def _ip(host: str) -> str | None:
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        return None


def _named(said: Endpoint, stores: Mapping[str, Server], own: str) -> Server | None:
    """The storage server that a setting names: this machine, one by its address, or by a name the only one there is."""
    if said.loopback:
        return stores.get(own)
    address = _ip(said.host)
    if address is not None:
        return next((each for each in stores.values() if address in each.addresses), None)
    return next(iter(stores.values())) if len(stores) == 1 else None


async def _stores(kit: Kit, registry: Registry) -> tuple[dict[str, Server], dict[str, Server]]:
    """Every server, and those whose role is storage."""
    known = servers.known(await registry.servers.all(), kit.policy.server)
    return known, {name: each for name, each in known.items() if ServerRole.STORAGE in each.roles}


def _those(stores: Mapping[str, Server]) -> str:
    return "; ".join(f"{each.name}: {', '.join(each.addresses)}" for each in stores.values())


async def shared_at(kit: Kit, registry: Registry, kind: Kind) -> Endpoint | None:
    """Where apps reach the server that the settings name: at the address of its row, where servers have the role storage.

    None: there is no such setting. Raises `Conflict` (`storage_server_unknown`) when the setting names none of those servers,
    and (`no_storage_address`).
    """
    said, (_, stores) = server_of(kit, kind).where, await _stores(kit, registry)
    if said is None or not stores:
        return said
    found = _named(said, stores, kit.policy.server)
    if found is None:
        raise Conflict(
            f"{SETTING[kind]} names {said.host}, and it cannot be told which storage server that is ({_those(stores)}); "
            "nothing was done.", code="storage_server_unknown",
            hint="Name it there by one of these addresses, or say that server's address and role with server_add.",
        )  # fmt: skip
    return said if _ip(said.host) and not said.loopback else Endpoint(_address(found), said.port)


def _address(server: Server) -> str:
    """Raises `Conflict` (`no_storage_address`)."""
    if found := servers.reached(server):
        return found
    raise Conflict(
        f"Server {server.name} has no address that a container reaches: {', '.join(server.addresses)}. Nothing was done.",
        code="no_storage_address", hint="Say one with server_add, also for this machine: one that app servers reach.",
    )  # fmt: skip


async def home_for(kit: Kit, registry: Registry, kind: Kind) -> tuple[Server, str]:
    """The server that gets a container of storage, and the address it is published at.

    The only one with the role storage; of several the one that the setting names; without any this machine, where it is the
    only one. Raises `Conflict`: `no_storage_server`, `storage_ambiguous`, `no_storage_address`, `no_docker_host`.
    """
    known, stores = await _stores(kit, registry)
    stores = stores or (known if len(known) == 1 else {})
    if not stores:
        raise Conflict(
            "None of the servers has the role storage, so it cannot be told where this belongs; nothing was done.",
            code="no_storage_server", hint="Give one the role with server_add, also this machine.",
        )  # fmt: skip
    said = server_of(kit, kind).where
    found = next(iter(stores.values())) if len(stores) == 1 else _named(said, stores, kit.policy.server) if said else None
    if found is None:
        raise Conflict(
            f"Several servers have the role storage ({_those(stores)}), and nothing says which is meant; nothing was done.",
            code="storage_ambiguous", hint=f"Name one by its address in {SETTING[kind]}, or leave the role to one.",
        )  # fmt: skip
    engine_on(kit, found)
    return found, _address(found)


@dataclass(frozen=True)
class Spot:
    """Where one more is to be: a part of the shared server, or on this server in a container of its own."""

    host: str
    port: int | None
    """None: the lowest free one of the range"""
    server: Server | None = None

    @property
    def name(self) -> str | None:
        return self.server.name if self.server else None


async def spot_for(kit: Kit, registry: Registry, kind: Kind, dedicated: bool) -> Spot | None:
    """None: there is no shared server. Raises as `shared_at` and `home_for` do."""
    if dedicated:
        server, address = await home_for(kit, registry, kind)
        return Spot(address, None, server)
    at = await shared_at(kit, registry, kind)
    return Spot(at.host, at.port) if at else None


def span_of(kit: Kit, kind: Kind) -> Range:
    return kit.policy.ranges.postgres if kind is Kind.POSTGRES else kit.policy.ranges.redis


async def taken_there(kit: Kit, server: Server, address: str, kind: Kind) -> frozenset[int]:
    """Ports of the range that containers or programs have there: read before the transaction that leases one.

    Nobody tells what listens on another machine, so the ports that would be next are tried.
    """
    if server.name == kit.policy.server:
        return frozenset(await kit.ports.published()) | await kit.ports.listening()
    found = set(await kit.instances.taken(engine_on(kit, server)))
    held = await kit.store.consult(lambda registry: _held(registry, server))
    for port in range(span_of(kit, kind).first, span_of(kit, kind).last + 1):
        if port not in found | held:
            if await kit.reach.tcp(address, port, PROBE_SECONDS):
                break
            found.add(port)
    return frozenset(found)


async def _held(registry: Registry, server: Server) -> set[int]:
    """Leased ports, and those that somebody opened, for this project too: what is made now is for the app servers alone."""
    leased = {each.port for each in await registry.leases.all(server.name)}
    return leased | {each.port for each in await registry.rules.all() if each.server == server.name}


async def free_port(kit: Kit, registry: Registry, server: Server, kind: Kind, outside: frozenset[int]) -> int:
    """The lowest port of the range that nobody has. Raises `Conflict` (`ports_exhausted`)."""
    try:
        return ports.lowest_free(span_of(kit, kind), outside | await _held(registry, server))
    except ports.Exhausted as fault:
        raise Conflict(
            f"There is no port for it on {server.name}: {fault}.", code="ports_exhausted",
            hint="Delete storage that is no longer used (db_list), or widen the range in the configuration.",
        ) from fault  # fmt: skip
