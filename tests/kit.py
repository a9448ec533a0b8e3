"""A whole CodeB in memory: store, machine, proxy, health, time; and the death and rebirth of its process.

Time moves only when somebody sleeps or a test says so. A point at which the process is to die raises `Died`, which
nothing in CodeB catches; `Rig.boot` is the next start on the same store, machine and proxy.
"""

import asyncio
import copy
import sqlite3
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from codeb.contracts.kit import Kit, Policy
from codeb.drivers.firewall.memory import MemoryFirewall
from codeb.drivers.images.memory import MemoryImageRegistry
from codeb.drivers.outside.memory import MemoryOutside
from codeb.drivers.reach.memory import MemoryReach
from codeb.drivers.records.memory import MemoryLedger, MemoryRecords
from codeb.drivers.runtime.adopting import AdoptingRuntime
from codeb.drivers.runtime.memory import MemoryImages, MemoryLogs, MemoryPorts, MemoryRuntime
from codeb.drivers.runtime.memory_guests import MemoryGuests
from codeb.drivers.runtime.memory_machine import Behaviour, Machine
from codeb.drivers.runtime.sight import CachedSight
from codeb.drivers.store.schema import operation_locks
from codeb.drivers.store.sql import SqlStore, open_store
from codeb.drivers.store.sqlite import READERS, SqliteDatabase
from codeb.drivers.vault.memory import MemoryKeyFile
from codeb.flows.catalog import sagas
from codeb.gate import Answer as Said
from codeb.gate import Asked, AuditLog, Gate
from codeb.gate.authenticate import digest
from codeb.model.access import Key, Role, key_text
from codeb.model.names import Place, kept
from codeb.model.secret import Secret
from codeb.model.specs import Live, Site
from codeb.saga.engine import Engine
from codeb.tools.catalog import BY_NAME
from codeb.tools.tool import Tool
from tests.kit_envs import WatchedEnvFiles, env_faults, env_print
from tests.kit_firewall import machines, wall_faults
from tests.kit_guests import box_of, not_deployed, ports_of
from tests.kit_parts import (
    START,
    TEAM,
    Clock,
    Died,
    WatchedDns,
    WatchedProxy,
    WiredHealth,
    World,
    inline,
    names_at_odds,
    names_of,
    recall,
    shop,
    unlocked,
)  # fmt: skip
from tests.kit_storage import Servers, storage_faults, storage_print
from tests.kit_work import work

__all__ = ["OWNER", "PROD", "STAGE", "START", "Clock", "Died", "Process", "Rig", "Still", "World"]

PUBLIC = "192.0.2.7"
"""where visitors reach the proxy"""
OWNER = key_text(TEAM, Role.OWNER, "o" * 32)
PROD = Place("shop", "production")
STAGE = Place("shop", "staging")


@dataclass
class Process:
    """One run of CodeB."""

    kit: Kit
    world: World
    engine: Engine
    audit: AuditLog
    gate: Gate

    async def ask(self, tool: str, *, key: Any = OWNER, idem: Any = None, **params: Any) -> Said:
        """A call as the owner; params by their wire names."""
        return await self.gate.call(Asked(tool, params, key, "test", f"corr-{tool}", "127.0.0.1", idem))

    async def ok(self, tool: str, **params: Any) -> dict[str, Any]:
        said = await self.ask(tool, **params)
        assert said.ok, said.body
        return said.body

    async def refused(self, tool: str, status: int, code: str, **params: Any) -> dict[str, Any]:
        said = await self.ask(tool, **params)
        assert (said.status, said.body.get("code")) == (status, code), said.body
        return said.body

    async def settle(self) -> None:
        """Until nothing runs any more, by success, failure or death."""
        while self.engine._tasks:
            await asyncio.gather(*list(self.engine._tasks.values()), return_exceptions=True)
            await asyncio.sleep(0)


@dataclass
class Rig:
    """What outlives a process."""

    store: SqlStore
    policy: Policy
    clock: Clock
    machine: Machine = field(default_factory=Machine)
    records: MemoryRecords = field(default_factory=MemoryRecords)
    keys: MemoryKeyFile = field(default_factory=MemoryKeyFile)
    ledger: MemoryLedger = field(default_factory=MemoryLedger)
    servers: Servers = field(default_factory=Servers)
    wall: MemoryFirewall = field(default_factory=MemoryFirewall)
    reach: MemoryReach = field(default_factory=MemoryReach)
    boots: int = 0
    home: str = "house"
    foreign: set[tuple[str, str]] = field(default_factory=set)
    """names and zones of records that somebody else put there"""
    world_of: Callable[[Clock], World] = World

    def __post_init__(self) -> None:
        self.proxy = WatchedProxy(self.machine)
        self.health = WiredHealth(self.machine, self.proxy)
        self.env_files = WatchedEnvFiles(self.machine)
        self.dns = WatchedDns(self.machine)
        self.outside = MemoryOutside(self.dns, self.proxy, self.health)
        self.image_registry = MemoryImageRegistry(self.machine, self.policy.image_registry)

    def boot(self, change: Callable[[Kit], Kit] = lambda kit: kit, tools: dict[str, Tool[Any]] | None = None) -> Process:
        self.boots += 1
        self.wall.take_back()
        self.wall.see = self.servers.seen_by(lambda point: self.machine.trap(point) if self.machine.trap else None)
        world, vault, guests = self.world_of(self.clock), unlocked(self.keys), MemoryGuests(self.machine)
        own = MemoryRuntime(self.machine)
        runtime = AdoptingRuntime(own, guests, MemoryLogs(self.machine), lambda: self.store.snapshot)
        kit = change(
            Kit(
                world=world, store=self.store, runtime=runtime, restarter=runtime, sight=CachedSight(runtime, world),
                networks=own, upkeep=own, proxy_upkeep=self.proxy, curtain=self.proxy,
                dns=self.dns, outside=self.outside, logs=runtime, guests=guests, image_registry=self.image_registry,
                images=MemoryImages(self.machine), ports=MemoryPorts(self.machine), proxy=self.proxy,
                health=self.health, records=self.records, ledger=self.ledger, **self.servers.kit, env_files=self.env_files,
                policy=self.policy, vault=vault, keyring=vault, firewall=self.wall, reach=self.reach,
                checks={"store": self.store, "docker": own, "proxy": self.proxy, "clock": world},
            )
        )  # fmt: skip
        engine = Engine(kit, sagas(), f"{self.home}:{self.boots}")
        audit = AuditLog(self.store, self.ledger, f"{self.home}:{self.boots}")
        return Process(kit, world, engine, audit, Gate(kit, engine, audit, tools or dict(BY_NAME)))

    def image(self, version: str, **behaviour: Any) -> str:
        """An image `shop:{version}` on the machine; returns its reference."""
        self.machine.add_image(f"shop:{version}", Behaviour(**behaviour))
        return f"shop:{version}"

    def effects(self) -> list[str]:
        """What happened outside since the last look."""
        happened = list(self.machine.effects)
        self.machine.effects.clear()
        return happened

    def print(self) -> dict[str, Any]:
        """What is true, without times and ids: equal before and after something that was wholly undone."""
        found = self.store.snapshot
        ended = lambda value: value is not None  # noqa: E731
        return {
            "teams": {each.id: (each.display_name, each.approval, ended(each.deleted_at)) for each in found.teams.values()},
            "members": sorted((each.team, each.name, each.role, ended(each.removed_at)) for each in found.members.values()),
            "keys": sorted(
                (key.team, key.role, key.label, sorted(key.tools), sorted(key.projects), sorted(key.environments),
                 key.approval, bool(key.member), ended(key.revoked_at), ended(key.expires_at)) for key in found.keys.values()
            ),
            "projects": {name: each.state for name, each in found.projects.items()},
            "said": {name: replace(each, created_at=None, deleted_at=None) for name, each in found.projects.items()},
            "slots": {
                row.container: (row.state, row.version, row.deployment_id, row.port, row.image_id, row.container_port,
                                row.health_path, row.adopted, row.grace_expires_at)
                for pair in found.pairs.values() for row in pair.rows
            },
            "leases": [(lease.port, lease.project, lease.environment, lease.slot) for lease in found.leases],
            "boxes": {
                box.name: (box.image_id, box.running, box.policy, box.spec.deployment_id if box.spec else "")
                for box in self.machine.boxes.values()
            },
            "env": env_print(self.machine, self.env_files),
            "switch": dict(self.proxy.switch), "held": set(self.proxy.held), "sites": dict(self.proxy.loaded),
            "spoilt": self.proxy.spoilt(), "curtains": set(self.proxy.curtains),
            **names_of(found, self.dns), "storage": storage_print(self), **work(self.store),
            "wall": (sorted(map(str, self.wall.ours)), self.wall.unproven is None), **machines(self.store),
            "pushed": {name: (dict(tags), sorted(manifests)) for name, (tags, manifests) in self.machine.pushed.items()},
            # a project's own may stay when its first deploy failed: the next one uses it
            "networks": sorted(name for name, (_, owner) in self.machine.networks.items() if owner not in found.projects),
        }  # fmt: skip

    async def faults(self) -> list[str]:
        """Where what is left is not as promised once nothing runs (P2)."""
        found = [f"{op.id} ({op.saga}) is still {op.state}" for op in await self._open()]
        found += [f"{place.key} is locked" for place in self.store.snapshot.running]
        found += await env_faults(self.store, self.env_files)
        async with self.store._reading() as tx:
            locks = (await tx.read(operation_locks.select())).all
        found += [f"lock of {row['project']} is held" for row in locks if row["operation_id"]] + await storage_faults(self)
        snapshot = self.store.snapshot
        names = set(self.machine.boxes)
        for pair in snapshot.pairs.values():
            found += await self._of_pair(pair, names)
        found += [f"{name} is a stray container" for name in sorted(names) if self.machine.boxes[name].instance]
        found += [f"{place.key} has a site of nobody" for place in self.proxy.loaded if place not in snapshot.pairs]
        ports = sorted(port for pair in snapshot.pairs.values() for port in ports_of(pair))
        if ports != sorted(lease.port for lease in snapshot.leases if lease.slot in ("blue", "green")):
            found.append("leases and slots differ")
        known = set(snapshot.projects)
        found += names_at_odds(snapshot, self.proxy, self.dns, self.foreign, self.policy.base_domain)
        found += [f"network {name} of nobody" for name, (_, owner) in self.machine.networks.items() if owner not in known]
        return found + await wall_faults(self.store, self.wall)

    async def _open(self) -> list[Any]:
        async with self.store.read() as registry:
            found = await registry.journal.history(
                team=TEAM, project=None, environment=None, open_only=True, limit=100, before=None
            )
            return list(found)

    def _of_deleted(self, pair: Any, names: set[str]) -> list[str]:
        """Everything is there, aside, and nothing of it runs or comes back by itself."""
        found = [f"{pair.place.key} is deleted and has a site"] if pair.place in self.proxy.loaded else []
        found += [f"{pair.place.key} is deleted and has a switch"] if pair.place in self.proxy.switch else []
        for row in pair.rows:
            box = box_of(self.machine, row, aside=True)
            if row.state == "empty":
                continue
            names.discard(kept(row.container))
            if box is None or box.running or (box.policy != "no" and not row.adopted):
                found.append(f"{row.container} is deleted but {box and (box.status, box.policy)}")
            else:
                found += not_deployed(row, box)
        return found

    async def _of_pair(self, pair: Any, names: set[str]) -> list[str]:
        found = []
        if self.store.snapshot.projects[pair.place.project].state == "deleted":
            return self._of_deleted(pair, names)
        for row in pair.rows:
            box = box_of(self.machine, row)
            if row.state == "empty":
                continue
            names.discard(row.container)
            if box is None or not box.running or (box.policy != "unless-stopped" and not row.adopted):
                found.append(f"{row.container} is {row.state} but {box and (box.status, box.policy)}")
            else:
                found += not_deployed(row, box)
        live = await self.proxy.live(pair.place)
        wanted = Live(pair.active.slot if pair.active else None, pair.grace is not None)
        if (live.slot, live.fallback) != (wanted.slot, wanted.fallback):
            found.append(f"the proxy has {live} for {pair.place.key}, the registry {wanted}")
        public = self.health.through(pair.place.host(self.policy.base_domain))
        if pair.active and public.slot != pair.active.slot:
            found.append(f"the public host of {pair.place.key} is answered by {public}, not {pair.active.slot}")
        async with self.store.read() as registry:
            past = await registry.deployments.history(pair.place, 100)
        return found + [f"{each.id} is {each.status}" for each in past if each.status == "pending"]


async def _seed(store: SqlStore) -> None:
    async with store.write() as registry:
        await registry.teams.ensure(TEAM)
        await registry.keys.add(Key("key_owner", digest(OWNER), TEAM, Role.OWNER, created_at=START))


@asynccontextmanager
async def rig(home: Path, **policy: Any) -> AsyncIterator[Rig]:
    """A new one: a team and its owner key, nothing else."""
    clock = Clock()
    store = await open_store("sqlite://", mirror=None, now=clock.now)
    assert isinstance(store._database, SqliteDatabase)
    inline(store._database)
    try:
        await _seed(store)
        more = {"public_addresses": (PUBLIC,), **policy}
        yield Rig(store, Policy(home=home, image_registry="reg.test:5000", **more), clock)
    finally:
        await store.close()


_FREE: list[SqliteDatabase] = []
"""databases whose rig is gone, with their compiled statements"""


@dataclass(frozen=True)
class Still:
    """Everything that outlives a process, at one instant; to begin from again and again."""

    data: bytes
    policy: Policy
    clock: Clock
    machine: Machine
    records: MemoryRecords
    keys: MemoryKeyFile
    ledger: MemoryLedger
    env_files: tuple[dict[str, str], dict[Place, Any]]
    servers: Servers
    proxy: tuple[dict[Place, Site], dict[Place, Live], set[Place], set[str]]
    boots: int
    spoilt: dict[str, Any]
    names: tuple[Any, ...]
    wall: MemoryFirewall

    @asynccontextmanager
    async def again(self) -> AsyncIterator[Rig]:
        clock = copy.copy(self.clock)
        clock.follow(asyncio.get_running_loop())
        database = _FREE.pop() if _FREE else inline(SqliteDatabase(None))
        database.path.write_bytes(self.data)
        store = SqlStore(database, None, clock.now)
        try:
            await store.refresh()
            fresh = Rig(store, self.policy, clock, copy.deepcopy(self.machine), copy.deepcopy(self.records), copy.copy(self.keys))
            recall(fresh, self)
            yield fresh
        finally:
            for line in database._lines:
                line._drop()
            for end in ("", "-wal", "-shm"):
                database.path.with_name(database.path.name + end).unlink(missing_ok=True)
            database._free = asyncio.Semaphore(READERS)
            _FREE.append(database)


def still(of: Rig) -> Still:
    """What a death at this instant would leave."""
    assert isinstance(of.store._database, SqliteDatabase)
    with closing(sqlite3.connect(of.store._database.path)) as source:
        data = source.serialize()
    machine, trap = of.machine, of.machine.trap
    machine.trap = None
    try:
        machine_now = copy.deepcopy(machine)
    finally:
        machine.trap = trap
    machine_now.effects.clear()
    proxy = (dict(of.proxy.loaded), dict(of.proxy.switch), set(of.proxy.held), set(of.health.broken))
    return Still(
        data,
        of.policy,
        copy.copy(of.clock),
        machine_now,
        copy.deepcopy(of.records),
        copy.copy(of.keys),
        copy.deepcopy(of.ledger),
        (dict(of.env_files.files), dict(of.env_files.at)),
        copy.deepcopy(of.servers),
        proxy,
        of.boots,
        of.proxy.spoilt(),
        copy.deepcopy((of.dns.zones, of.proxy.curtains, of.foreign, of.outside.names, of.outside.silent)),
        copy.deepcopy(of.wall),
    )


@contextmanager
def trapped(machine: Machine, see: Callable[[str], None]) -> Iterator[None]:
    machine.trap = see
    try:
        yield
    finally:
        machine.trap = None


_RESTING: dict[str, Still] = {}


async def resting(state: str) -> Still:
    """A rig in a state that `shop` knows, or `empty`; made once for all tests."""
    if state not in _RESTING:
        async with rig(Path(tempfile.gettempdir())) as made:
            if state != "empty":
                await shop(made.boot(), made, state)
            _RESTING[state] = still(made)
    return _RESTING[state]


@asynccontextmanager
async def begin(state: str = "empty") -> AsyncIterator[Rig]:
    """A rig of your own in that state."""
    async with (await resting(state)).again() as mine:
        yield mine


async def add_key(rig: Rig, role: Role = Role.OWNER, team: str = TEAM, **more: Any) -> Secret:
    """One more key; returns its text."""
    rig.clock.ids += 1
    text = key_text(team, role, f"token{rig.clock.ids:027d}")
    async with rig.store.write() as registry:
        await registry.teams.ensure(team)
        await registry.keys.add(Key(f"key_{rig.clock.ids}", digest(text), team, role, created_at=START, **more))
    return text
