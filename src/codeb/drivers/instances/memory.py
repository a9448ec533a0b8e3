"""Containers of storage in memory, for tests: engines, volumes that outlive containers, and the servers inside."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from codeb.contracts.databases import Caches, Databases
from codeb.contracts.instances import data_gone
from codeb.drivers.databases.memory import MemoryCaches, MemoryDatabases, MemoryStorage
from codeb.errors import Conflict, NotFound, Unavailable
from codeb.model.instances import Instance, InstanceSpec
from codeb.model.secret import Secret
from codeb.model.storage import Endpoint, Kind


@dataclass
class Volume:
    """`storage` and `word` are what the first container on it made: a later one's password is not asked for."""

    storage_id: str
    storage: MemoryStorage
    word: str


@dataclass
class Box:
    spec: InstanceSpec
    running: bool = True
    kept: bool = True


@dataclass
class Engine:
    """One machine's containers and volumes. `foreign`: names and ports that somebody else has there."""

    boxes: dict[str, Box] = field(default_factory=dict)
    volumes: dict[str, Volume] = field(default_factory=dict)
    foreign: dict[str, int] = field(default_factory=dict)
    down: bool = False


class MemoryInstances:
    def __init__(self) -> None:
        self.engines: dict[str | None, Engine] = {}
        self.images = {"postgres:15", "redis:7"}
        self.see: Callable[[str], None] = lambda point: None
        """told after each change of a machine; what it raises ends the verb there, as a crash would"""

    def at(self, engine: str | None) -> Engine:
        found = self.engines.setdefault(engine, Engine())
        if found.down:
            raise Unavailable("Docker does not answer: it is switched off.", code="docker_unavailable")
        return found

    def _mine(self, machine: Engine, spec: InstanceSpec) -> Box | None:
        box = machine.boxes.get(spec.name)
        if spec.name in machine.foreign or (box is not None and box.spec.storage_id != spec.storage_id):
            raise Conflict(f"Something named {spec.name} is on {spec.server}; it was not touched.", code="name_taken")
        return box

    async def run(self, engine: str | None, spec: InstanceSpec, password: Secret, *, fresh: bool) -> None:
        machine = self.at(engine)
        box, volume = self._mine(machine, spec), machine.volumes.get(spec.volume)
        if volume is None and not fresh:
            raise data_gone(spec)
        if box is None and spec.image not in self.images:
            raise NotFound(f"Image not found: {spec.image}. Nothing was changed.", code="image_not_found")
        if volume is None:
            storage = MemoryDatabases() if spec.kind is Kind.POSTGRES else MemoryCaches()
            machine.volumes[spec.volume] = Volume(spec.storage_id, storage, password.reveal())
            self.see(f"after volume {spec.volume}")
        others = [each.spec.port for each in machine.boxes.values() if each is not box and each.running]
        if spec.port in (*others, *machine.foreign.values()):
            raise Conflict(f"Port {spec.port} of {spec.address} is in use.", code="port_taken")
        machine.boxes[spec.name] = Box(spec)
        self.see(f"after start {spec.name}")

    async def look(self, engine: str | None, spec: InstanceSpec) -> Instance:
        machine = self.at(engine)
        return _seen(spec.storage_id, spec.name, self._mine(machine, spec), spec.volume in machine.volumes)

    async def drop(self, engine: str | None, spec: InstanceSpec) -> None:
        machine = self.at(engine)
        box = machine.boxes.get(spec.name)
        if box is not None and box.spec.storage_id == spec.storage_id:
            del machine.boxes[spec.name]
            self.see(f"after remove {spec.name}")
        machine.volumes.pop(spec.volume, None)
        self.see(f"after remove {spec.volume}")

    async def all(self, engine: str | None) -> Mapping[str, Instance]:
        machine = self.at(engine)
        boxes = {box.spec.storage_id: box for box in machine.boxes.values()}
        names = {each.storage_id: name.partition(".")[0] for name, each in machine.volumes.items()}
        names |= {known: box.spec.name for known, box in boxes.items()}
        data = {each.storage_id for each in machine.volumes.values()}
        return {known: _seen(known, name, boxes.get(known), known in data) for known, name in sorted(names.items())}

    async def taken(self, engine: str | None) -> frozenset[int]:
        machine = self.at(engine)
        return frozenset({*(box.spec.port for box in machine.boxes.values()), *machine.foreign.values()})


def _seen(storage_id: str, name: str, box: Box | None, data: bool) -> Instance:
    if box is None:
        return Instance(storage_id, name, there=False, running=False, kept=False, data=data)
    published = ((box.spec.address, box.spec.port),)
    return Instance(storage_id, name, True, box.running, box.kept, data, published, None if box.running else 0)


class MemoryInside:
    """Finds who listens at an address, at the time of each call."""

    def __init__(self, instances: MemoryInstances) -> None:
        self._instances = instances

    def databases(self, at: Endpoint, password: Secret) -> Databases:
        return cast(Databases, _Within(self, at, password))

    def caches(self, at: Endpoint, password: Secret) -> Caches:
        return cast(Caches, _Within(self, at, password))

    def listening(self, at: Endpoint, password: Secret) -> MemoryStorage:
        for machine in self._instances.engines.values():
            for box in machine.boxes.values():
                volume = machine.volumes.get(box.spec.volume)
                here = box.running and not machine.down and (box.spec.address, box.spec.port) == (at.host, at.port)
                if here and volume is not None and volume.word == password.reveal():
                    return volume.storage
        raise Unavailable(f"Nothing answers at {at.host} port {at.port}.", code="storage_unavailable")


class _Within:
    def __init__(self, inside: MemoryInside, at: Endpoint, password: Secret) -> None:
        self._inside, self._at, self._password = inside, at, password

    @property
    def where(self) -> Endpoint:
        return self._at

    def __getattr__(self, name: str) -> Any:
        async def asked(*args: Any, **kwargs: Any) -> Any:
            return await getattr(self._inside.listening(self._at, self._password), name)(*args, **kwargs)

        return asked
