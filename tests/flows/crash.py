"""Death at every point of an operation, and at every point of each recovery, until there is nothing new to die in.

A death leaves what is stored and what is outside; two deaths that leave the same are one. So each point of a run is
kept as what a death there would leave, and every such state that was not seen before is started from, its own points
kept in turn. That covers deaths in the recovery from deaths, to any depth.
"""

import contextlib
import json
import sqlite3
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from codeb.drivers.dns.memory import Zone
from codeb.model.domains import RecordSet, proof_value
from codeb.model.names import Place, Slot
from codeb.model.slots import State
from tests.kit import PROD, STAGE, Process, Rig, Still, resting, still
from tests.kit_pulls import PULL
from tests.kit_storage import ENGINE

SITE = "shop.localhost"
WHERE = {"projectName": "shop", "environment": "production"}
OWN = {**WHERE, "dedicated": True}


@dataclass(frozen=True)
class Scene:
    """An operation to be interrupted: the state it begins in, the call, and what makes it fail, if it is to fail."""

    state: str
    tool: str
    params: dict[str, Any]
    spoil: Callable[[Rig], None] = lambda rig: None
    parts: tuple[dict[str, Any], ...] = ()
    """params that lead to other right ends, when it is an operation with a follow-up"""
    dark: bool = False
    """what is spoilt takes the site down until it is mended"""
    others: "tuple[Scene, ...]" = ()
    """scenes with other right ends, likewise"""
    again: bool = False
    """acts on what it sees: after a death the next round does the rest"""
    waits: bool = False
    """asks again and again until its time is over: how often is not the same twice"""

    async def start(self, process: Process, rig: Rig) -> None:
        self.spoil(rig)
        await process.ask(self.tool, **self.params)
        await process.settle()


def _bad(rig: Rig) -> None:
    rig.image("bad", status=500, log=("no database",))


def _exits(rig: Rig) -> None:
    rig.image("bad", exits=3, log=("no database",))


def _dark(rig: Rig) -> None:
    rig.health.broken.add(SITE)


def _no_grace(rig: Rig) -> None:
    """The container of the version in grace is gone, the active one stopped."""
    rig.machine.boxes.pop("shop-production-blue")
    rig.machine.stop(rig.machine.boxes["shop-production-green"], 1)


def _no_active(rig: Rig) -> None:
    """The active container is gone; the site's file was edited, and the former one set aside and forgotten."""
    rig.machine.boxes.pop("shop-production-green")
    rig.proxy.edited.add(PROD)


def _aside(rig: Rig) -> None:
    """The active container stands aside, as after an undo that never ended; the switch was deleted."""
    rig.machine.stop(rig.machine.boxes["shop-production-blue"], 1)
    rig.machine.rename(rig.machine.boxes["shop-production-blue"], "shop-production-blue.kept")
    rig.proxy.held.add(PROD)
    rig.proxy.lost.add(PROD)


ADOPT = {**WHERE, "container": "web"}
DOMAIN = {**WHERE, "domain": "www.example.com", "redirect": True}


def proved(rig: Rig) -> None:
    """The owner of example.com said in DNS that it is the first team's."""
    value = proof_value(rig.store.snapshot.registry_id, "main", "example.com")
    rig.outside.names["_codeb.example.com", "TXT"] = (value,)


def _uncertain(rig: Rig) -> None:
    """The last step before the record fails: everything is taken back."""
    proved(rig)
    rig.outside.silent.add("example.com")


def beside(rig: Rig) -> None:
    """A zone of somebody else, with a record that is nobody's business here."""
    proved(rig)
    rig.dns.zones["example.com"] = Zone(sets={("mail.example.com", "A"): RecordSet("mail.example.com", "A", ("192.0.2.9",))})
    rig.foreign.add(("mail.example.com", "example.com"))


INIT = {
    "projectName": "shop", "containerPort": 8080, "database": True, "redis": True, "domain": "www.example.com", "redirect": True,
}  # fmt: skip


def two_servers(rig: Rig) -> None:
    """The storage server is another machine than the one of the apps, and has a Docker; the domain is proved."""
    proved(rig)
    with contextlib.closing(sqlite3.connect(rig.store._database.path)) as database:  # type: ignore[attr-defined]
        storage = rig.servers.databases.where.host
        for name, role, address, engine in (("local", "app", "192.0.2.7", None), ("storage-1", "storage", storage, ENGINE)):
            columns = "name, roles, addresses, docker_host, created_at, created_by"
            values = (
                name,
                json.dumps([role]),
                json.dumps([address]),
                engine,
                "2026-01-01 00:00:00.000000",
                "main/owner/key_owner",
            )
            database.execute(f"INSERT INTO servers ({columns}) VALUES (?, ?, ?, ?, ?, ?)", values)
        database.commit()


def _not_certified(rig: Rig) -> None:
    two_servers(rig)
    rig.outside.silent.add("example.com")


def _lost_names(rig: Rig) -> None:
    """A record is deleted, one changed, the maintenance page taken away by hand."""
    zone = rig.dns.zones["example.com"].sets
    del zone["www.example.com", "A"]
    zone["example.com", "A"] = RecordSet("example.com", "A", ("192.0.2.66",))
    rig.proxy.curtains.clear()


def _stray(rig: Rig) -> None:
    """A container in an empty slot, of an operation that is over; another configuration in a proxy that died."""
    box = rig.machine.boxes["shop-production-blue"]
    assert box.spec is not None
    spec = replace(box.spec, name="shop-production-green", slot=Slot.GREEN, deployment_id="dep_lost", host_port=4101)
    rig.machine.boxes[spec.name] = replace(box, id="stray", name=spec.name, published=(("127.0.0.1", 4101),), spec=spec)
    rig.machine.networks["codeb-nobody"] = ("memory", "nobody")
    rig.proxy.dead = True


def _no_image(rig: Rig) -> None:
    rig.servers.instances.images.clear()


def _storage_down(rig: Rig) -> None:
    """One container is stopped, one removed; their data is there."""
    boxes = rig.servers.instances.engines[ENGINE].boxes
    boxes["shop-production-postgres"].running = False
    del boxes["shop-production-redis"]


def _no_dump(rig: Rig) -> None:
    rig.servers.databases.broken_dump = "pg_dump failed: no space left"


def _deploy(image: str, **more: Any) -> dict[str, Any]:
    return {**WHERE, "image": f"shop:{image}", **more}


SCENES: dict[str, Scene] = {
    "deploy, first": Scene("new", "deploy", _deploy("1")),
    "deploy, new environment": Scene("active", "deploy", _deploy("1", environment="staging")),
    "deploy, beside active": Scene("active", "deploy", _deploy("2")),
    "deploy, over deployed": Scene("ready", "deploy", _deploy("3")),
    "deploy, over grace": Scene("grace", "deploy", _deploy("3")),
    "deploy, over grace, unhealthy": Scene("grace", "deploy", _deploy("bad", timeout=1), spoil=_bad),
    "deploy, over deployed, exits": Scene("ready", "deploy", _deploy("bad"), spoil=_exits),
    "deploy, new environment, exits": Scene("active", "deploy", _deploy("bad", environment="staging"), spoil=_exits),
    "deploy and promote": Scene("active", "deploy", _deploy("2", autoPromote=True), parts=(_deploy("2"),)),
    "promote, first": Scene("deployed", "promote", WHERE),
    "promote": Scene("ready", "promote", WHERE),
    "promote, never proven": Scene("ready", "promote", WHERE, spoil=_dark),
    "rollback": Scene("grace", "rollback", WHERE),
    "rollback, never proven": Scene("grace", "rollback", WHERE, spoil=_dark),
    "cleanup of grace": Scene("grace", "slot_cleanup", {**WHERE, "slot": "blue", "force": True}),
    "cleanup of deployed": Scene("ready", "slot_cleanup", {**WHERE, "slot": "green", "force": True}),
    "project_delete": Scene("grace", "project_delete", {"projectName": "shop", "confirm": "shop"}),
    "undelete": Scene("gone", "undelete", {"projectName": "shop"}),
    "undelete, never proven": Scene("gone", "undelete", {"projectName": "shop"}, spoil=_dark, waits=True),
    "project_delete, purge": Scene("gone", "project_delete", {"projectName": "shop", "confirm": "shop", "purge": True}),
    "deploy, with variables": Scene("varied", "deploy", _deploy("3")),
    "mend, with variables": Scene("varied", "reconcile", {}, spoil=_no_active, again=True),
    "project_adopt": Scene("offered", "project_adopt", ADOPT),
    "project_adopt, into a project, with its variables": Scene("promised", "project_adopt", {**ADOPT, "keepEnv": True}),
    "deploy over an adopted container": Scene("outgrown", "deploy", _deploy("3")),
    "deploy over an adopted container, fails": Scene("outgrown", "deploy", _deploy("bad", timeout=1), spoil=_bad),
    "cleanup of an adopted container": Scene("outgrown", "slot_cleanup", {**WHERE, "slot": "blue", "force": True}),
    "purge an adopted container": Scene("abandoned", "project_delete", {"projectName": "shop", "confirm": "shop", "purge": True}),
    "domain_setup": Scene("active", "domain_setup", DOMAIN, spoil=proved),
    "domain_setup, before the first deploy": Scene("new", "domain_setup", {**WHERE, "domain": SITE}),
    "domain_setup, no certificate": Scene("active", "domain_setup", DOMAIN, spoil=_uncertain),
    "domain_delete": Scene("named", "domain_delete", {"domain": "www.example.com"}),
    "maintenance_on": Scene("active", "maintenance_on", WHERE),
    "maintenance_on, before the first deploy": Scene("new", "maintenance_on", WHERE),
    "maintenance_off": Scene("closed", "maintenance_off", WHERE),
    "mend names and a page": Scene("closed", "reconcile", {}, spoil=_lost_names, again=True, dark=True),
    "workflow_init, whole": Scene("empty", "workflow_init", INIT, spoil=two_servers, parts=({**INIT, "dryRun": True},)),
    "workflow_init, no certificate": Scene("empty", "workflow_init", INIT, spoil=_not_certified),
    "db_create": Scene("active", "db_create", WHERE),
    "redis_create": Scene("active", "redis_create", WHERE),
    "db_rotate": Scene("stored", "db_rotate", WHERE),
    "redis_rotate": Scene("stored", "redis_rotate", WHERE),
    "db_rotate, the end of the former": Scene("rotated", "db_rotate", {**WHERE, "endFormer": True}),
    "redis_rotate, the end of the former": Scene("rotated", "redis_rotate", {**WHERE, "endFormer": True}),
    "db_delete": Scene("stored", "db_delete", {**WHERE, "confirm": "shop"}),
    "redis_delete": Scene("stored", "redis_delete", {**WHERE, "confirm": "shop"}),
    "db_delete, not dumped": Scene("stored", "db_delete", {**WHERE, "confirm": "shop"}, spoil=_no_dump),
    "project_delete, purge with storage": Scene(
        "left", "project_delete", {"projectName": "shop", "confirm": "shop", "purge": True}
    ),
    "db_create, in a container": Scene("homed", "db_create", OWN),
    "redis_create, in a container": Scene("homed", "redis_create", OWN),
    "db_create, in a container, no image": Scene("homed", "db_create", OWN, spoil=_no_image),
    "db_rotate, in a container": Scene("owned", "db_rotate", WHERE),
    "db_delete, in a container": Scene("owned", "db_delete", {**WHERE, "confirm": "shop"}),
    "redis_delete, in a container": Scene("owned", "redis_delete", {**WHERE, "confirm": "shop"}),
    "project_delete, purge with containers of storage": Scene(
        "owned, left", "project_delete", {"projectName": "shop", "confirm": "shop", "purge": True}
    ),
    "mend containers of storage": Scene("owned", "reconcile", {}, spoil=_storage_down, again=True),
    "pr_create": Scene("sourced", "pr_create", {"projectName": "shop", "branch": "other", "title": "Pay by invoice"}),
    "pr_review": Scene("sourced", "pr_review", {**PULL, "verdict": "approve"}),
    "pr_merge": Scene("sourced", "pr_merge", PULL),
    "registry_gc": Scene("active", "registry_gc", {"projectName": "shop", "keep": 1, "dryRun": False}),
    "mend beside a grace": Scene("grace", "reconcile", {}, spoil=_no_active, again=True),
    "mend with nobody left": Scene("grace", "reconcile", {}, spoil=_no_grace, dark=True, again=True),
    "mend what stands aside": Scene("active", "reconcile", {}, spoil=_aside, dark=True, again=True),
    "mend a stray and a dead proxy": Scene("active", "reconcile", {}, spoil=_stray, dark=True, again=True),
}


PULL = Place("shop", "pr-7")
PULL_SITE = "shop-pr-7.localhost"


def _never_promoted(rig: Rig) -> None:
    rig.health.broken.add(PULL_SITE)


def _preview(number: int, image: str, **more: Any) -> dict[str, Any]:
    return {"projectName": "shop", "pullRequest": number, "image": f"shop:{image}", **more}


def _previewing(state: str, image: str) -> Scene:
    """Its promote is an operation of its own: a death in it may leave the version deployed."""
    deployed = Scene(state, "preview_create", _preview(7, image), spoil=_never_promoted)
    return Scene(state, "preview_create", _preview(7, image), others=(deployed,))


SCENES |= {
    "preview_create": _previewing("active", "2"),
    "preview_create, again": _previewing("previewed", "3"),
    "preview_create, exits": Scene("previewed", "preview_create", _preview(8, "bad"), spoil=_exits),
    "preview_delete": Scene("previewed", "preview_delete", {"projectName": "shop", "pullRequest": 7}),
}


def rough(printed: dict[str, Any]) -> dict[str, Any]:
    """A print without the end of graces: a second try of a step may have moved it."""
    slots = {name: (*row[:-1], row[-1] is not None) for name, row in printed["slots"].items()}
    return {**printed, "slots": slots}


class Watch:
    """Looks at the public route at every point: what had a version keeps answering, and only grace may stand in."""

    def __init__(self, rig: Rig, scene: Scene) -> None:
        self.rig = rig
        pair, pull = rig.store.snapshot.pair_of(PROD), rig.store.snapshot.pair_of(PULL)
        self.had = bool(pair and pair.active) and scene.tool not in ("project_delete", "undelete") and not scene.dark
        self.hosts = [SITE, *([PULL_SITE] if scene.tool == "preview_create" and pull and pull.active else [])]

    def look(self, point: str) -> list[str]:
        found = []
        for host in self.hosts if self.had and not self.rig.health.broken else ():
            if not (answer := self.rig.health.through(host)).ok:
                found.append(f"at {point} {host} answers {answer}")
        for place in (PROD, STAGE, PULL):
            live, pair = self.rig.proxy.switch.get(place), self.rig.store.snapshot.pair_of(place)
            if live and live.slot and live.fallback and (pair is None or pair[live.slot.other].state is not State.GRACE):
                found.append(f"at {point} {live.slot.other} may stand in without being in grace")
        return found


KEY = (
    "select id, state, step, cancel_requested, error, warnings, undo_faults, follows from operations order by 1",
    'select operation_id, "index", state, attempt, output from operation_steps order by 1, 2',
    "select id, status from deployments order by 1",
    "select project, environment, operation_id from operation_locks order by 1, 2",
    "select id, state, generation, backup from project_storage order by 1",
    "select storage_id, generation from storage_passwords order by 1, 2",
)


def key(rig: Rig) -> str:
    """Equal for two instants after which a new process does the same: what is stored and outside, without times."""
    with contextlib.closing(sqlite3.connect(rig.store._database.path)) as source:  # type: ignore[attr-defined]
        stored = [source.execute(each).fetchall() for each in KEY]
    return repr((stored, sorted(rough(rig.print()).items(), key=str), vars(rig.records)))


@dataclass
class Sweep:
    """All deaths of one scene, and what was wrong after them."""

    scene: Scene
    deaths: int = 0
    """points at which a process could die, in all runs"""
    states: int = 0
    """different states they left, each of them recovered from"""
    faults: list[str] = field(default_factory=list)
    ends: list[dict[str, Any]] = field(default_factory=list)
    _seen: set[str] = field(default_factory=set)
    _todo: deque[tuple[str, Still]] = field(default_factory=deque)

    async def run(self) -> "Sweep":
        start = await resting(self.scene.state)
        for params in self.scene.parts:
            async with start.again() as rig:
                await Scene(self.scene.state, self.scene.tool, params, self.scene.spoil).start(rig.boot(), rig)
                self.ends.append(rough(rig.print()))
        for other in self.scene.others:
            async with start.again() as rig:
                await other.start(rig.boot(), rig)
                self.ends.append(rough(rig.print()))
        async with start.again() as rig:
            self.ends.append(rough(rig.print()))
            process = rig.boot()
            self._watch(process, rig, "")
            await self.scene.start(process, rig)
            rig.machine.trap = None
            if not self.scene.again:
                self.ends.append(rough(rig.print()))
            await self._judge(rig, "undisturbed")
        while self._todo and len(self.faults) < 20:
            name, left = self._todo.popleft()
            async with left.again() as rig:
                self.states += 1
                process = rig.boot()
                self._watch(process, rig, name + " > ")
                await process.engine.resume()
                await process.settle()
                if self.scene.again:
                    await process.ok("reconcile")
                rig.machine.trap = None
                await self._judge(rig, name)
        return self

    def _watch(self, process: Process, rig: Rig, name: str) -> None:
        watch = Watch(rig, self.scene)

        def see(point: str) -> None:
            self.faults += [f"{name}{fault}" for fault in watch.look(point)]
            self.deaths += 1
            mark = key(rig)
            if mark not in self._seen:
                self._seen.add(mark)
                self._todo.append((name + point, still(rig)))

        process.world.at_point = see
        rig.machine.trap = see

    async def _judge(self, rig: Rig, name: str) -> None:
        rig.health.broken.clear()
        found = await rig.faults() + await undo_faults(rig)
        if not found and rough(rig.print()) not in self.ends:
            found = [f"it is neither as before nor as after: {rough(rig.print())}"]
        self.faults += [f"{name}: {fault}" for fault in found]


async def undo_faults(rig: Rig) -> list[str]:
    async with rig.store.read() as registry:
        past = await registry.journal.history(
            team="main", project=None, environment=None, open_only=False, limit=100, before=None
        )
    return [f"{op.id} could not undo {fault}" for op in past for fault in op.undo_faults]
