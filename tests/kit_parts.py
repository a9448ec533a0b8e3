"""Time, proxy and health in memory, for `tests.kit`: time that tests own, effects in one list, routes that agree."""

import asyncio
import contextlib
import copy
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from codeb.contracts.store import Snapshot
from codeb.drivers.dns.memory import MemoryDns
from codeb.drivers.health.memory import MemoryHealth
from codeb.drivers.images.memory import MemoryImageRegistry
from codeb.drivers.proxy.memory import MemoryProxy
from codeb.drivers.runtime.memory_machine import Machine
from codeb.drivers.store.sqlite import SqliteDatabase
from codeb.drivers.vault.aesgcm import AesGcmVault
from codeb.drivers.vault.memory import MemoryKeyFile
from codeb.model.domains import RecordSet, proof_value
from codeb.model.names import Place, Slot
from codeb.model.secret import Secret
from codeb.model.specs import Address, Answer, Finding, Live, Site
from tests.kit_guests import HANDED_OVER, hand_over
from tests.kit_storage import hold
from tests.virtual_time import VirtualLoop

SPOILT = ("lost", "edited", "strange", "foreign", "dead", "stuck")
TEAM = "main"
START = datetime(2026, 3, 1, 12, tzinfo=UTC)


def inline(database: SqliteDatabase) -> SqliteDatabase:
    """The same database without a thread per connection: memory answers at once, and a thousand cells stay quick."""

    async def here(act: Callable[..., Any], *args: Any) -> Any:
        return act(*args)

    for line in database._lines:
        line._in_thread = here  # type: ignore[method-assign]
    return database


def unlocked(keys: MemoryKeyFile) -> AesGcmVault:
    """A vault with the keys that are there, or a first one."""
    vault = AesGcmVault(keys)
    if not vault.read():
        vault.begin()
    vault.shut(None)
    return vault


def pushed(images: MemoryImageRegistry) -> None:
    """Three images that nobody needs: an old one, a list of platforms with a part, a late one."""
    images.push("shop:old", START - timedelta(days=9))
    images.push("shop:multi", index=(images.push("shop:part", START - timedelta(days=8)),))
    images.untag("shop", "part")
    images.push("shop:late", START - timedelta(days=3))


class Died(BaseException):
    """The process ended here."""


class Clock:
    """One for all processes of a rig."""

    def __init__(self) -> None:
        self.spent = 0.0
        self.jumped = timedelta(0)
        """how far the wall clock was set forward or back"""
        self.ids = 0
        with contextlib.suppress(RuntimeError):
            self.follow(asyncio.get_running_loop())

    def follow(self, loop: asyncio.AbstractEventLoop) -> None:
        if isinstance(loop, VirtualLoop):
            loop.follow(self)

    def now(self) -> datetime:
        return START + timedelta(seconds=self.spent) + self.jumped


class World:
    """`contracts.world.World` of one process. `at_point` sees each journal point and may raise."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.points: list[str] = []
        self.at_point: Callable[[str], None] = lambda point: None
        self.dead = False

    def now(self) -> datetime:
        return self.clock.now()

    def monotonic(self) -> float:
        return self.clock.spent

    def new_id(self, prefix: str) -> str:
        self.clock.ids += 1
        return f"{prefix}_{self.clock.ids:026d}"

    def new_secret(self) -> Secret:
        self.clock.ids += 1
        return Secret(f"word-{self.clock.ids:027d}")

    async def sleep(self, seconds: float) -> None:
        self.alive()
        if isinstance(asyncio.get_running_loop(), VirtualLoop):
            await asyncio.sleep(seconds)
            return
        self.clock.spent += seconds
        await asyncio.sleep(0)

    async def reached(self, point: str) -> None:
        self.alive()
        self.points.append(point)
        self.pass_by(point)

    def pass_by(self, point: str) -> None:
        try:
            self.at_point(point)
        except Died:
            self.dead = True
            raise

    def alive(self) -> None:
        if self.dead:
            raise Died("a dead process does nothing")

    async def check(self) -> Finding:
        return Finding("clock", "pass", "steady")


async def acted(machine: Machine, what: str, act: Coroutine[Any, Any, Any]) -> Any:
    """Between the machine's trap before it and after it; into its list of effects."""
    if machine.trap:
        try:
            machine.trap(f"before {what}")
        except BaseException:
            act.close()
            raise
    done = await act
    machine.effects.append(what)
    if machine.trap:
        machine.trap(f"after {what}")
    return done


class WatchedProxy(MemoryProxy):
    """Writes what changes into the machine's list of effects, so that their order can be told; same trap on both sides."""

    def __init__(self, machine: Machine) -> None:
        super().__init__()
        self.machine = machine

    async def put_site(self, site: Site) -> bool:
        if self.is_so(site):
            return False
        return bool(await acted(self.machine, f"proxy put_site {site.place.key}", super().put_site(site)))

    async def prepare(self, site: Site, live: Live) -> None:
        if site.place not in self.switch or (self.dead and not self.is_so(site)):
            await acted(self.machine, f"proxy prepare {site.place.key}", super().prepare(site, live))

    async def start(self) -> None:
        if self.dead or self.foreign:
            await acted(self.machine, "proxy start", super().start())

    def spoilt(self) -> dict[str, Any]:
        """What somebody else did to it."""
        return {name: copy.copy(getattr(self, name)) for name in SPOILT}

    def spoil(self, **what: Any) -> None:
        for name, value in what.items():
            setattr(self, name, copy.copy(value))

    async def remove_site(self, place: Place) -> None:
        await acted(self.machine, f"proxy remove_site {place.key}", super().remove_site(place))

    async def set_live(self, place: Place, slot: Slot | None) -> None:
        await acted(self.machine, f"proxy live {place.key} {slot or 'nobody'}", super().set_live(place, slot))

    async def draw(self, place: Place, shown: bool) -> None:
        await acted(self.machine, f"proxy curtain {place.key} {'on' if shown else 'off'}", super().draw(place, shown))

    async def set_fallback(self, place: Place, allowed: bool) -> None:
        await acted(
            self.machine, f"proxy fallback {place.key} {'on' if allowed else 'off'}", super().set_fallback(place, allowed)
        )

    async def check(self) -> Finding:
        return Finding("proxy", "pass", "in memory")


class WatchedDns(MemoryDns):
    """Writes its changes into the machine's list of effects; same trap on both sides."""

    def __init__(self, machine: Machine) -> None:
        super().__init__()
        self.machine = machine

    async def make_zone(self, zone: str) -> None:
        if zone not in self.zones:
            await acted(self.machine, f"dns make_zone {zone}", super().make_zone(zone))

    async def drop_zone(self, zone: str) -> bool:
        if zone not in self.zones:
            return True
        return bool(await acted(self.machine, f"dns drop_zone {zone}", super().drop_zone(zone)))

    async def change(self, zone: str, put: Sequence[RecordSet], drop: Sequence[RecordSet]) -> None:
        said = [f"+{each.name} {each.type}" for each in put] + [f"-{each.name} {each.type}" for each in drop]
        if said:
            await acted(self.machine, f"dns change {zone} {' '.join(said)}", super().change(zone, put, drop))


class WiredHealth(MemoryHealth):
    """A running container answers; a host of the proxy answers with the slot that the proxy would choose."""

    def __init__(self, machine: Machine, proxy: MemoryProxy) -> None:
        super().__init__()
        self.machine, self.proxy = machine, proxy
        self.broken: set[str] = set()
        """hosts for which the proxy answers 502 whatever stands behind"""

    def through(self, host: str, path: str = "/") -> Answer:
        if host in self.broken:
            return Answer(502)
        self.proxy.down = {
            port
            for site in self.proxy.loaded.values()
            for _, port in site.ports
            if not self._running(port)
        }  # fmt: skip
        slot = self.proxy.answers(host)
        site = next((each for each in self.proxy.loaded.values() if host in _hosts(each)), None)
        if slot is None or site is None:
            return Answer(503 if site else 404)
        behind = self.machine.answer(Address("127.0.0.1", site.port(slot), path))
        return replace(behind, slot=slot.value) if behind.status else Answer(502)

    def _running(self, port: int) -> bool:
        near = {("127.0.0.1", port), ("0.0.0.0", port)}
        return any(box.running and near.intersection(box.published) for box in self.machine.boxes.values())

    async def probe(self, address: Address, seconds: float) -> Answer:
        self.probed.append(address)
        if address.host_header is not None:
            return self.through(address.host_header, address.path)
        return self.machine.answer(address)


def _hosts(site: Site) -> list[str]:
    return [*site.hosts, *(host for _, host in site.preview_hosts)]


def names_of(found: Snapshot, dns: MemoryDns) -> dict[str, Any]:
    """What is true of public names, without times."""
    return {
        "domains": {
            host: (each.team, each.place, each.state, each.redirect_to, each.zone) for host, each in found.domains.items()
        },
        "maintenances": sorted(found.maintenances),
        "previews": {place: (each.ttl_hours, each.ending) for place, each in found.previews.items()},
        "zones": {name: (zone.ours, dict(zone.sets)) for name, zone in dns.zones.items()},
    }  # fmt: skip


def names_at_odds(snapshot: Snapshot, proxy: MemoryProxy, dns: MemoryDns, foreign: set[tuple[str, str]], base: str) -> list[str]:
    """Domains, records and pages that do not agree; `foreign`: names and zones of records that somebody else put there."""
    found = [f"{each.host} is still {each.state}" for each in snapshot.domains.values() if each.state == "claimed"]
    served = {host: each for host, each in snapshot.domains.items() if each.state == "active"}
    live = {host for host, each in served.items() if snapshot.projects[each.project].state == "ready"}
    sited = {name for site in proxy.loaded.values() for name in site.names}
    found += [f"{host} is in no site" for host in sorted(live - sited)]
    own = {pair.place.host(base) for pair in snapshot.pairs.values()}
    found += [f"{host} is in a site and nobody's" for host in sorted(sited - served.keys() - own)]
    ours = {(host, domain.zone) for host, domain in served.items() if domain.zone}
    there = {(name, zone) for zone, held in dns.zones.items() for name, kind in held.sets if kind in ("A", "AAAA")} - foreign
    found += [f"{name} has a record of nobody in {zone}" for name, zone in sorted(there - ours)]
    found += [f"{name} has no record in {zone}" for name, zone in sorted(ours - there)]
    found += [f"the preview {place.key} has no slots" for place in snapshot.previews if place not in snapshot.pairs]
    shown = {page for page in snapshot.maintenances if snapshot.projects[page.project].state == "ready"}
    return found + [f"the page before {place.key} differs" for place in sorted(shown ^ proxy.curtains)]


async def shop(process: Any, at: Any, state: str) -> None:
    """Bring project shop to a named state of its production slots, by the tools alone.

    new: no version. deployed: 1 in blue. active: 1 live. ready: 1 live in blue, 2 deployed in green.
    grace: 2 live in green, 1 in grace in blue. back: rolled back to 1, 2 deployed. gone: deleted in state grace.
    sourced: active, with a repository: see `kit_pulls`.
    stored: active, with a database and a Redis user. rotated: each with a new password. left: these, deleted.
    varied: as grace, with one more version of the variables before each of these steps.
    named: active, with www.example.com and example.com that leads to it. closed: named, in maintenance.
    previewed: active; pull request 7 with 2 live and 1 in grace, and the variables of the environment preview.
    offered, promised, taken, outgrown, abandoned: see `kit_guests.hand_over`.
    """
    for number in ("1", "2", "3", "4", "5"):
        at.image(number)
    pushed(at.image_registry)
    if state in HANDED_OVER:
        await hand_over(process, at.machine, state)
        return
    await process.ok("project_create", projectName="shop", containerPort=8080)
    where = {"projectName": "shop", "environment": "production"}
    for name, tool, more in (
        ("new", "", {}), ("deployed", "deploy", {"image": "shop:1"}), ("active", "promote", {}),
        ("ready", "deploy", {"image": "shop:2"}), ("grace", "promote", {}), ("back", "rollback", {}),
    ):  # fmt: skip
        if tool:
            if state == "varied":
                await process.ok("env_set", **where, values={"A": name})
            await process.ok(tool, **where, **more)
        if name == "grace" and state in ("gone", "varied"):
            if state == "gone":
                await process.ok("project_delete", projectName="shop", confirm="shop")
            name = state
        if name == "active" and state in ("named", "closed"):
            await _name(process, at, closed=state == "closed")
            name = state
        if name == "active" and state == "previewed":
            await _preview(process)
            name = state
        if name == "active" and await hold(process, state):
            name = state
        if name == state:
            at.machine.effects.clear()
            return
    raise ValueError(state)


async def _preview(process: Any) -> None:
    await process.ok("env_set", projectName="shop", environment="preview", values={"A": "1"})
    for number in ("1", "2"):
        await process.ok("preview_create", projectName="shop", pullRequest=7, image=f"shop:{number}")


async def _name(process: Any, at: Any, *, closed: bool) -> None:
    value = proof_value(at.store.snapshot.registry_id, TEAM, "example.com")
    at.outside.names["_codeb.example.com", "TXT"] = (value,)
    where = {"projectName": "shop", "environment": "production"}
    await process.ok("domain_setup", **where, domain="www.example.com", redirect=True)
    if closed:
        await process.ok("maintenance_on", **where)


def recall(fresh: Any, of: Any) -> None:
    """What neither the store nor the machine holds."""
    fresh.ledger, fresh.servers, fresh.wall, fresh.boots = (
        copy.deepcopy(each) for each in (of.ledger, of.servers, of.wall, of.boots)
    )
    fresh.env_files.files, fresh.env_files.at = (dict(each) for each in of.env_files)
    fresh.proxy.loaded, fresh.proxy.switch, fresh.proxy.held, fresh.health.broken = (copy.copy(x) for x in of.proxy)
    fresh.proxy.spoil(**of.spoilt)
    fresh.dns.zones, fresh.proxy.curtains, fresh.foreign, fresh.outside.names, fresh.outside.silent = copy.deepcopy(of.names)
