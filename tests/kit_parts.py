"""Time, proxy and health in memory, for `tests.kit`: time that tests own, effects in one list, routes that agree."""

import asyncio
import contextlib
import copy
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from codeb.drivers.health.memory import MemoryHealth
from codeb.drivers.images.memory import MemoryImageRegistry
from codeb.drivers.proxy.memory import MemoryProxy
from codeb.drivers.runtime.memory_machine import Machine
from codeb.drivers.vault.aesgcm import AesGcmVault
from codeb.drivers.vault.memory import MemoryKeyFile
from codeb.model.names import Place, Slot
from codeb.model.specs import Address, Answer, Finding, Live, Site
from tests.virtual_time import VirtualLoop

SPOILT = ("lost", "edited", "strange", "foreign", "dead", "stuck")
START = datetime(2026, 3, 1, 12, tzinfo=UTC)


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


class WatchedProxy(MemoryProxy):
    """Writes what changes into the machine's list of effects, so that their order can be told; same trap on both sides."""

    def __init__(self, machine: Machine) -> None:
        super().__init__()
        self.machine = machine

    async def _act(self, what: str, act: Awaitable[Any]) -> Any:
        if self.machine.trap:
            try:
                self.machine.trap(f"before {what}")
            except BaseException:
                if asyncio.iscoroutine(act):
                    act.close()
                raise
        done = await act
        self.machine.effects.append(what)
        if self.machine.trap:
            self.machine.trap(f"after {what}")
        return done

    async def put_site(self, site: Site) -> bool:
        if self.is_so(site):
            return False
        return bool(await self._act(f"proxy put_site {site.place.key}", super().put_site(site)))

    async def prepare(self, site: Site, live: Live) -> None:
        if site.place not in self.switch or (self.dead and not self.is_so(site)):
            await self._act(f"proxy prepare {site.place.key}", super().prepare(site, live))

    async def start(self) -> None:
        if self.dead or self.foreign:
            await self._act("proxy start", super().start())

    def spoilt(self) -> dict[str, Any]:
        """What somebody else did to it."""
        return {name: copy.copy(getattr(self, name)) for name in SPOILT}

    def spoil(self, **what: Any) -> None:
        for name, value in what.items():
            setattr(self, name, copy.copy(value))

    async def remove_site(self, place: Place) -> None:
        await self._act(f"proxy remove_site {place.key}", super().remove_site(place))

    async def set_live(self, place: Place, slot: Slot | None) -> None:
        await self._act(f"proxy live {place.key} {slot or 'nobody'}", super().set_live(place, slot))

    async def set_fallback(self, place: Place, allowed: bool) -> None:
        await self._act(f"proxy fallback {place.key} {'on' if allowed else 'off'}", super().set_fallback(place, allowed))

    async def check(self) -> Finding:
        return Finding("proxy", "pass", "in memory")


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
        return any(box.running and ("127.0.0.1", port) in box.published for box in self.machine.boxes.values())

    async def probe(self, address: Address, seconds: float) -> Answer:
        self.probed.append(address)
        if address.host_header is not None:
            return self.through(address.host_header, address.path)
        return self.machine.answer(address)


def _hosts(site: Site) -> list[str]:
    return [*site.hosts, *(host for _, host in site.preview_hosts)]
