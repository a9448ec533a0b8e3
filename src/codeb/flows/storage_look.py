"""Looking at storage: at its containers on every server, and what mends one; at what the shared servers have."""

from collections.abc import Sequence

from codeb.contracts.kit import Kit
from codeb.contracts.store import Registry
from codeb.errors import Conflict
from codeb.flows.instances import engine_of
from codeb.flows.storage import StorageInput, input_of, server_of
from codeb.model import drift_instances, drift_storage, servers
from codeb.model.deletion import READY
from codeb.model.drift import Ground, Mismatch
from codeb.model.instances import spec_of
from codeb.model.servers import ServerRole
from codeb.model.storage import Storage


async def differences(kit: Kit) -> list[Mismatch]:
    """Where containers of storage are not as the registry says. Of an environment that is worked on nothing is told."""
    held = await _held(kit)
    there = {name: await kit.instances.all(engine) for name, engine in (await _engines(kit, held)).items()}
    # what was made or ended while this looked is on record before or after
    known = {each.id for each in (*held, *await _held(kit))}
    snapshot, found = kit.store.snapshot, list[Mismatch]()
    for server, seen in sorted(there.items()):
        due = [
            each for each in held
            if each.server == server and each.ready and each.place not in snapshot.running
            and each.place.project in snapshot.projects and snapshot.projects[each.place.project].state == READY
        ]  # fmt: skip
        found += drift_instances.of_instances(due, seen) + drift_instances.of_nobody(known, server, seen)
    return found


async def shared(kit: Kit, ground: Ground) -> list[Mismatch]:
    """Where what is on record on the servers that all share is not there. It is on record in the database alone."""
    if kit.store.standing.degraded:
        return []
    every = await kit.store.consult(lambda registry: registry.storages.all())
    held = drift_storage.kept(ground, [each for each in every if each.server is None])
    return drift_storage.of_storage(held, {kind: await server_of(kit, kind).all() for kind in {each.kind for each in held}})


async def _held(kit: Kit) -> list[Storage]:
    every = await kit.store.consult(lambda registry: registry.storages.all())
    return [each for each in every if each.server is not None]


async def _engines(kit: Kit, held: Sequence[Storage]) -> dict[str, str | None]:
    """Where such containers are, or may have been left."""

    async def look(registry: Registry) -> dict[str, str | None]:
        rows = servers.known(await registry.servers.all(), kit.policy.server).values()
        stores = (each for each in rows if ServerRole.STORAGE in each.roles and each.docker_host is not None)
        return {each.name: each.docker_host if each.name != kit.policy.server else None for each in stores}

    found = await kit.store.consult(look)
    return found | {each.server: await engine_of(kit, each.server) for each in held if each.server is not None}


async def mending(registry: Registry, each: Mismatch) -> StorageInput:
    """What mends this one. Raises `Conflict` (`storage_gone`) when it is not on record any more."""
    if each.place is not None:
        for storage in await registry.storages.all(each.place.project):
            spec = spec_of(storage)
            if spec is not None and spec.name == each.where and storage.place == each.place:
                return input_of(storage)
    raise Conflict(f"{each.where} is not on record any more.", code="storage_gone", hint="See db_list.")
