"""The storage servers of `tests.kit`: brought to a state, printed, and compared with the registry."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from codeb.contracts.kit import Kit
from codeb.drivers.databases.memory import MemoryCaches, MemoryDatabases, Part
from codeb.drivers.instances.memory import MemoryInside, MemoryInstances
from codeb.drivers.pulls.memory import MemoryPulls
from codeb.model.instances import spec_of
from codeb.model.sealed import about_storage
from codeb.model.storage import Kind, Storage
from tests.kit_pulls import pulls_print, source

ENGINE = "tcp://198.51.100.9:2375"


@dataclass
class Servers:
    databases: MemoryDatabases = field(default_factory=MemoryDatabases)
    caches: MemoryCaches = field(default_factory=MemoryCaches)
    instances: MemoryInstances = field(default_factory=MemoryInstances)
    pulls: MemoryPulls = field(default_factory=MemoryPulls)

    @property
    def kit(self) -> dict[str, Any]:
        """As a kit has them."""
        return {**vars(self), "inside": MemoryInside(self.instances)}

    def seen_by(self, see: Callable[[str], None]) -> Callable[[str], None]:
        """Tell it of every instant at which the process could die in the middle."""
        self.instances.see = self.pulls.see = see
        return see


HOME = {"server": "storage-1", "roles": ["storage"], "addresses": ["198.51.100.9"], "dockerHost": ENGINE}
"""a storage server with a Docker of its own"""

MORE = {
    "stored": (),
    "homed": (),
    "owned": (),
    "owned, left": ("project_delete",),
    "rotated": ("db_rotate", "redis_rotate"),
    "left": ("project_delete",),
}


async def hold(process: Any, state: str) -> bool:
    """Project shop's production gets both, and what the state has beyond that; False: it is no such state."""
    if state == "sourced":
        await source(process)
        return True
    if state not in MORE:
        return False
    where: dict[str, Any] = {"projectName": "shop", "environment": "production"}
    own = {"dedicated": True} if state.startswith("owned") else {}
    if state == "homed" or own:
        await process.ok("server_add", **HOME)
        await process.ok("server_add", server="local", roles=["app"], addresses=["192.0.2.7"])
    for tool in ("db_create", "redis_create") if state != "homed" else ():
        await process.ok(tool, **where, **own)
    for tool in MORE[state]:
        await process.ok(tool, **({"projectName": "shop", "confirm": "shop"} if tool == "project_delete" else where))
    return True


def words_of(server: Any, part: Part) -> Any:
    """Redis is told all passwords at once, whatever their generations."""
    return sorted(part.words) if isinstance(server, MemoryDatabases) else len(part.words)


def storage_print(rig: Any) -> dict[str, Any]:
    """What is on the servers, without marks and passwords."""
    own = {
        volume.rpartition(".")[0]: each.storage for engine in rig.servers.instances.engines.values()
        for volume, each in engine.volumes.items()
    }  # fmt: skip
    shared = {"shared": rig.servers.databases, "shared caches": rig.servers.caches}
    return {
        **{
            f"{where}: {name}": (words_of(server, part), part.open, part.data)
            for where, server in {**shared, **own}.items() for name, part in server.parts.items()
        },
        "containers": sorted(
            (name, box.running, box.spec.port) for each in rig.servers.instances.engines.values()
            for name, box in each.boxes.items()
        ),
        "volumes": sorted(own), "pulls": pulls_print(rig.servers.pulls),
    }  # fmt: skip


async def storage_faults(rig: Any) -> list[str]:
    """Where servers and registry differ."""
    async with rig.store.read() as registry:
        held = list(await registry.storages.all())
        words = {each.id: list(await registry.storages.passwords(each.id)) for each in held}
    shared = {Kind.POSTGRES: rig.servers.databases, Kind.REDIS: rig.servers.caches}
    found = []
    for kind, server in shared.items():
        mine = {each.name for each in held if each.kind is kind and each.server is None}
        found += [f"{kind} {name} of nobody" for name in server.parts if name not in mine and server.parts[name].mark]
    for each in held:
        its: Any = shared[each.kind] if each.server is None else server_in(rig, each)
        part = its.parts.get(each.name) if its is not None else None
        if each.state != "ready":
            found.append(f"{each.kind} {each.name} is still {each.state}")
        elif part is None or part.mark != each.id or not part.open or part.data is None:
            found.append(f"{each.kind} {each.name} is not as the registry says: {part and (part.open, part.data is None)}")
        elif len(part.words) != len(words[each.id]):
            found.append(f"{each.kind} {each.name} lets {len(part.words)} passwords in, on record are {len(words[each.id])}")
    return found + _instance_faults(rig, held)


def server_in(rig: Any, held: Storage) -> Any:
    """What runs in the container of this storage; None: nothing does."""
    spec = spec_of(held)
    assert spec is not None
    for engine in rig.servers.instances.engines.values():
        box = engine.boxes.get(spec.name)
        if box is not None and box.running and box.spec == spec:
            return engine.volumes[spec.volume].storage
    return None


def _instance_faults(rig: Any, held: list[Storage]) -> list[str]:
    """Containers and volumes of nobody, and leases that no container has."""
    specs = [spec for each in held if (spec := spec_of(each)) is not None]
    engines = rig.servers.instances.engines.values()
    boxes, volumes = {name for each in engines for name in each.boxes}, {name for each in engines for name in each.volumes}
    leased = {(each.server, each.port) for each in rig.store.snapshot.leases if each.slot in tuple(Kind)}
    found = [] if leased == {(each.server, each.port) for each in specs} else [f"ports of storage are leased otherwise: {leased}"]
    found += [f"container {name} of storage is nobody's" for name in sorted(boxes - {each.name for each in specs})]
    return found + [f"volume {name} is nobody's" for name in sorted(volumes - {each.volume for each in specs})]


async def word_of(kit: Kit, held: Storage, generation: int) -> str:
    async with kit.store.read() as registry:
        (found,) = [each for each in await registry.storages.passwords(held.id) if each.generation == generation]
    return kit.vault.open(found.sealed, about_storage(held.id, generation)).reveal()
