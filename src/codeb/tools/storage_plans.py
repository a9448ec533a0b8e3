"""What making storage comes to: where it would be, its rows and passwords, and what keeps it from being made."""

from dataclasses import dataclass, replace

from codeb.contracts.store import Registry
from codeb.errors import Conflict, NotFound, StalePlan
from codeb.flows import envs
from codeb.flows.instances import guards, letting_in, new_administrator
from codeb.flows.storage import StorageInput, input_of, new_password, server_of
from codeb.flows.storage_servers import Spot, free_port, spot_for, taken_there
from codeb.model import servers
from codeb.model.names import Place
from codeb.model.ports import Lease
from codeb.model.servers import Server
from codeb.model.storage import ENV, Kind, Stage, Storage, name_of
from codeb.tools.call import Call

WORDS = {Kind.POSTGRES: ("db", "database"), Kind.REDIS: ("redis", "Redis user")}
"""the family of its tools, and what it is called"""


def missing(place: Place, kind: Kind) -> NotFound:
    family, word = WORDS[kind]
    return NotFound(
        f"Environment {place.environment} of {place.project} has no {word}.", code="storage_not_found",
        hint=f"See db_list; {family}_create makes one.",
    )  # fmt: skip


def being_deleted(found: Storage) -> Conflict:
    family, word = WORDS[found.kind]
    return Conflict(
        f"The {word} {found.name} is being deleted; nothing was done.", code="storage_deleting",
        hint=f"Finish it with {family}_delete.",
    )  # fmt: skip


def fits(found: Storage, dedicated: bool) -> None:
    """Raises `Conflict`: `storage_deleting`; `storage_shared` for one that is not in a container of its own, as is asked."""
    if not found.ready:
        raise being_deleted(found)
    if dedicated and found.server is None:
        family, word = WORDS[found.kind]
        raise Conflict(
            f"{found.place.key} has the {word} {found.name} on the shared server; nothing was done.", code="storage_shared",
            hint=f"It is not moved. Delete it with {family}_delete, which leaves a dump, and create the other one then.",
        )  # fmt: skip


def making(call: Call, kind: Kind, name: str, environment: str, on: Server | None = None) -> list[str]:
    """What making it changes, in lines of a plan; `on`: the server that gets a container for it."""
    where = f" in a container of its own on {on.name}" if on else ""
    opened = [f"let the app servers reach its port on {on.name}, and nobody else"] if on and guards(call.kit, on) else []
    given = f"give {', '.join(ENV[kind])} to deployments of {environment}"
    return [f"create the {WORDS[kind][1]} {name}{where}", *opened, given]


@dataclass(frozen=True)
class Outlook:
    """Where one would be, and which ports something has there: seen before the transaction that makes it."""

    spot: Spot
    taken: frozenset[int] = frozenset()


async def outlook(call: Call, place: Place, kind: Kind, dedicated: bool) -> Outlook:
    """Raises `Conflict` as `spot_for` does, and what a server says that is not there."""
    spot = await call.kit.store.consult(lambda registry: spot_for(call.kit, registry, kind, dedicated))
    if spot is None:
        await server_of(call.kit, kind).all()  # says what is missing
        raise missing(place, kind)
    taken = await taken_there(call.kit, spot.server, spot.host, kind) if spot.server else frozenset()
    return Outlook(spot, taken)


async def begin(call: Call, registry: Registry, place: Place, kind: Kind, seen: Outlook) -> StorageInput:
    """Its row and its sealed password, in the transaction that opens what makes it; one in a container of its own with the lease
    of its port and its administrator's password. Raises `Conflict` (`env_set_by_hand`), `StalePlan`."""
    spot, kit, known = seen.spot, call.kit, call.kit.world.new_id("sto")
    if await spot_for(kit, registry, kind, spot.server is not None) != spot:
        raise StalePlan("Servers changed meanwhile; nothing was done.", hint="Call it again.")
    await _free(call, registry, place, kind)
    made = Storage(
        known, place, kind, name_of(place, kind), spot.host, spot.port or 0, Stage.CREATING, 1, kit.world.now(), call.actor.name,
    )  # fmt: skip
    if spot.server is not None:
        port = await free_port(kit, registry, spot.server, kind, seen.taken)
        apps = servers.app_networks(servers.known(await registry.servers.all(), kit.policy.server).values())
        await registry.rules.put(*letting_in(kit, spot.server, port, place, apps, call.actor.name))
        await registry.leases.add(Lease(spot.server.name, port, place.project, place.environment, kind.value))
        image = kit.policy.postgres_image if kind is Kind.POSTGRES else kit.policy.redis_image
        made = replace(made, port=port, server=spot.server.name, image=image, sealed=new_administrator(kit, known))
    await registry.storages.add(made)
    await new_password(kit, registry, known, 1)
    return input_of(made)


async def _free(call: Call, registry: Registry, place: Place, kind: Kind) -> None:
    """Raises `Conflict` (`env_set_by_hand`): what somebody wrote under these names is not replaced in passing."""
    env = (await envs.newest(call.kit, registry, place)).env
    if by_hand := [name for name in ENV[kind] if name in env.values and name not in env.generated]:
        raise Conflict(
            f"{place.key} has {', '.join(by_hand)} already, written by hand; nothing was done.", code="env_set_by_hand",
            hint="Take them out first (env_set with unset), if the new one is to take their place; they stay in env_history.",
            details={"keys": by_hand},
        )  # fmt: skip
