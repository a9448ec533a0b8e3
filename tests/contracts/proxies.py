"""The proxy drivers under one roof, so that one suite runs on each."""

import contextlib
import shutil
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

from codeb.drivers.proxy import process
from codeb.drivers.proxy.caddy import CaddyProxy
from codeb.drivers.proxy.caddyfile import CaddySettings, Tls
from codeb.drivers.proxy.memory import MemoryProxy
from codeb.model.names import Place, Slot
from codeb.model.specs import Site
from tests.contracts.backends import Backend, ask, free_ports

SHOP = Place("shop", "production")
CADDIES = ("caddy-2.11", "caddy-2.6")
HOST, PREVIEW = "shop.localhost", {Slot.BLUE: "shop-blue.preview.localhost", Slot.GREEN: "shop-green.preview.localhost"}


def binary(kind: str) -> Path:
    found = process.embedded_binary() if kind == "caddy-2.11" else Path("/usr/bin/caddy")
    assert found is not None
    return found


@dataclass
class Rig:
    """One proxy with two versions of an application behind it."""

    proxy: CaddyProxy | MemoryProxy
    ports: dict[Slot, int]
    http_port: int = 0
    settings: CaddySettings | None = None
    backends: dict[Slot, Backend] = field(default_factory=dict)

    @property
    def site(self) -> Site:
        return self.other_site(SHOP, HOST, PREVIEW)

    def other_site(self, place: Place, host: str, previews: dict[Slot, str] | None = None) -> Site:
        return Site(place, (host,), tuple((previews or {}).items()), tuple(self.ports.items()), "/health")

    async def answering(self, host: str = HOST) -> Slot | None:
        """The slot that answers a request now, None for any answer that is not an application's."""
        if isinstance(self.proxy, MemoryProxy):
            return self.proxy.answers(host)
        got = await ask(self.http_port, host)
        if got.status != 200:
            return None
        assert got.slot is not None
        assert got.body == got.slot.encode() * 300, "the header names another slot than the one that answered"
        return Slot(got.slot)

    async def kill(self, slot: Slot) -> None:
        if isinstance(self.proxy, MemoryProxy):
            self.proxy.down.add(self.ports[slot])
        else:
            await self.backends[slot].kill()


@contextlib.asynccontextmanager
async def rig(kind: str, tls: Tls = "off", probe_key: str = "") -> AsyncIterator[Rig]:
    """A running proxy of this kind, in a folder of its own; nothing of it is left afterwards."""
    blue, green, http_port, https_port = free_ports(4)
    ports = {Slot.BLUE: blue, Slot.GREEN: green}
    if kind == "memory":
        yield Rig(MemoryProxy(), ports)
        return
    folder = Path(tempfile.mkdtemp(prefix="codebtest-"))
    settings = CaddySettings(folder / "caddy", binary(kind), http_port, https_port, tls, ("127.0.0.1",), probe_key)
    proxy = CaddyProxy(settings)
    backends = {slot: Backend(slot.value, port) for slot, port in ports.items()}
    try:
        await proxy.start()
        for backend in backends.values():
            await backend.start()
        yield Rig(proxy, ports, http_port, settings, backends)
    finally:
        for backend in backends.values():
            await backend.kill()
        await proxy.stop()
        await proxy.close()
        shutil.rmtree(folder)
