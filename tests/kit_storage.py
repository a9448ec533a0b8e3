"""The storage servers of `tests.kit`: brought to a state, printed, and compared with the registry."""

from dataclasses import dataclass, field
from typing import Any

from codeb.contracts.kit import Kit
from codeb.drivers.databases.memory import MemoryCaches, MemoryDatabases
from codeb.model.sealed import about_storage
from codeb.model.storage import Kind, Storage


@dataclass
class Servers:
    databases: MemoryDatabases = field(default_factory=MemoryDatabases)
    caches: MemoryCaches = field(default_factory=MemoryCaches)


MORE = {"stored": (), "rotated": ("db_rotate", "redis_rotate"), "left": ("project_delete",)}


async def hold(process: Any, state: str) -> bool:
    """Project shop's production gets both, and what the state has beyond that; False: it is no such state."""
    if state not in MORE:
        return False
    for tool in ("db_create", "redis_create", *MORE[state]):
        confirm = {"projectName": "shop", "confirm": "shop"}
        await process.ok(tool, **(confirm if tool == "project_delete" else {"projectName": "shop", "environment": "production"}))
    return True


def storage_print(rig: Any) -> dict[str, Any]:
    """What is on the servers, without marks and passwords."""
    return {
        name: (sorted(part.words) if name in rig.servers.databases.parts else len(part.words), part.open, part.data)
        for server in (rig.servers.databases, rig.servers.caches) for name, part in server.parts.items()
    }  # fmt: skip


async def storage_faults(rig: Any) -> list[str]:
    """Where servers and registry differ."""
    async with rig.store.read() as registry:
        held = list(await registry.storages.all())
        words = {each.id: list(await registry.storages.passwords(each.id)) for each in held}
    found = []
    for kind, server in ((Kind.POSTGRES, rig.servers.databases), (Kind.REDIS, rig.servers.caches)):
        mine = {each.name: each for each in held if each.kind is kind}
        found += [f"{kind} {name} of nobody" for name in server.parts if name not in mine and server.parts[name].mark]
        for name, each in mine.items():
            if each.state != "ready":
                found.append(f"{kind} {name} is still {each.state}")
            elif (part := server.parts.get(name)) is None or part.mark != each.id or not part.open or part.data is None:
                found.append(f"{kind} {name} is not as the registry says: {part and (part.open, part.data is None)}")
            elif len(part.words) != len(words[each.id]):
                found.append(f"{kind} {name} lets {len(part.words)} passwords in, on record are {len(words[each.id])}")
    return found


async def word_of(kit: Kit, held: Storage, generation: int) -> str:
    async with kit.store.read() as registry:
        (found,) = [each for each in await registry.storages.passwords(held.id) if each.generation == generation]
    return kit.vault.open(found.sealed, about_storage(held.id, generation)).reveal()
