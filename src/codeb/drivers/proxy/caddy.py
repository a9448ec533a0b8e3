"""Caddy as the proxy: static site files, marker files for what moves, a process of its own."""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path

from codeb.drivers.files import atomic_write, sync_folder
from codeb.drivers.proxy import markers, process
from codeb.drivers.proxy.admin import Admin
from codeb.drivers.proxy.caddyfile import (
    PASS_HEADER,
    PROBE_HEADER,
    STREAMS_SURVIVE_RELOAD,
    CaddySettings,
    Version,
    render_main,
    render_site,
)
from codeb.drivers.proxy.sitefiles import SiteFiles
from codeb.errors import Conflict, FenceLost, NotFound, Unavailable
from codeb.model import names
from codeb.model.drift import Configured
from codeb.model.names import Place, Slot
from codeb.model.specs import Address, Finding, Live, Site

OLDEST: Version = (2, 6, 0)
MIGRATE = Path("/proc/sys/net/ipv4/tcp_migrate_req")
LOOPBACK, EVERYWHERE = "127.0.0.1", ("127.0.0.1", "0.0.0.0", "::")  # noqa: S104 - compared with, not bound to


class CaddyProxy:
    """`Proxy`, `ProxyUpkeep` and `Curtain` on Caddy 2.6 or newer. `start()` first; one CodeB process at a time may change sites.

    The switch itself (`live`, `set_live`, `set_fallback`) is files and works whether or not Caddy or `start()` ran.
    `permit` is asked after every wait and before what changes something, and raises when this process may not any more.
    """

    def __init__(self, settings: CaddySettings, permit: Callable[[], None] = lambda: None) -> None:
        self._settings = settings
        self._permit = permit
        self._admin = Admin(settings.admin)
        self._files = SiteFiles(settings, self._admin, permit)
        self._version: Version | None = None
        self._refused = ""
        self._rendered: dict[Place, tuple[Site, bytes]] = {}

    async def start(self) -> None:
        """Have Caddy running on our configuration: adopt the one that answers, else start one that outlives us.

        An adopted one whose configuration is not the one on disk is given that (a crash between the two); when it
        refuses, it keeps its own and `check()` says so. Raises `Unavailable` with Caddy's last lines when it cannot
        be started. Safe to repeat.
        """
        settings = self._settings
        process.check_socket_path(settings.admin)
        for folder in (settings.dir, settings.sites, settings.slots):
            folder.mkdir(parents=True, exist_ok=True, mode=0o755)
        async with process.only_one(settings.dir):
            self._permit()
            self._files.tidy()
            pid = process.find(settings.admin)
            self._version = await process.version(process.running_binary(pid, settings.binary), settings.dir)
            if self._version < OLDEST:
                raise Unavailable(
                    f"Caddy {_dotted(self._version)} is too old; CodeB needs 2.6 or newer.",
                    hint="Point CODEB_CADDY_BIN at a newer one, or remove it to use the embedded one.",
                )
            self._permit()
            self._files.main = text = render_main(settings, self._version)
            if not settings.main.exists() or settings.main.read_bytes() != text:
                atomic_write(settings.main, text)
            if pid is None:
                await process.start(settings, self._admin)
                self._files.note_loaded()
            else:
                await self._adopt(text)

    async def take_over(self) -> None:
        """`start()`, where another process may have been stopped in the middle of a change: it may not finish it."""
        await process.free(self._settings.dir)
        await self.start()

    async def _adopt(self, text: bytes) -> None:
        if await self._admin.runs(text):
            self._files.note_loaded()
            return
        try:
            await self._files.load()
        except Conflict as refused:
            self._refused = str(refused.details.get("caddy", refused.message))

    async def stop(self) -> None:
        """End the proxy process, if one runs: all sites go down. Waits for it, at most 15 s."""
        pid = process.find(self._settings.admin)
        if pid is not None:
            await process.end(pid)
        (self._settings.dir / "caddy.pid").unlink(missing_ok=True)

    async def close(self) -> None:
        """Let go of the admin connection; the proxy runs on."""
        await self._admin.close()

    async def check(self) -> Finding:
        """The line about the proxy in a health report."""
        if self._version is None or not await self._admin.answers():
            return Finding("proxy", "fail", "Caddy does not answer on its admin socket.", "Start it: we up")
        text = f"Caddy {_dotted(self._version)} runs with {len(self._files.names())} sites."
        if self._refused:
            fix = f"Correct the file it names, or set the site up again: {self._refused}"
            return Finding("proxy", "warn", f"{text} It refused the configuration on disk and runs an older one.", fix)
        migrate = "" if _migrates() else "Let a reload keep waiting connections: sysctl -w net.ipv4.tcp_migrate_req=1"
        if self._version < STREAMS_SURVIVE_RELOAD:
            text += " Adding or removing a site cuts the WebSockets of the others; a promote does not."
            return Finding("proxy", "warn", text, f"Use the embedded Caddy or 2.7 and newer. {migrate}".strip())
        return Finding("proxy", "pass", text, migrate)

    async def put_site(self, site: Site) -> bool:
        """Have this site configured and loaded, held (503) until a slot is made live.

        Raises `InvalidParams` for a value that may not reach Caddy, besides what the contract says.
        """
        text = render_site(site, self._settings, self._started())
        folder = self._folder(site.place)
        known = folder.is_dir()
        markers.create_held(folder)
        try:
            reloaded = await self._files.apply(site.place.key, text)
        except Conflict:
            if not known and site.place.key not in self._files.names():
                markers.remove(folder)
            raise
        if reloaded:
            self._refused = ""
        return reloaded

    async def remove_site(self, place: Place) -> None:
        folder = self._folder(place)
        if self._version is None and not folder.is_dir() and place.key not in self._files.names():
            # never set up, so a deploy that failed for want of a proxy is undone without one
            return
        self._started()
        known, was_held = folder.is_dir(), markers.held(folder)
        if known:
            # Whatever interrupts us: a leftover folder must never make a later site of this name live.
            markers.flip(folder, None)
        try:
            await self._files.apply(place.key, None)
        except FenceLost:
            raise
        except BaseException:
            if known and not was_held:
                markers.release(folder)
            raise
        self._permit()
        self._files.forget(place.key)
        self._rendered.pop(place, None)
        markers.remove(folder)

    async def sites(self) -> Sequence[Place]:
        found = (names.parse_place(name) for name in self._files.names())
        return sorted(place for place in found if place is not None)

    async def live(self, place: Place) -> Live:
        return markers.read(self._folder(place))

    async def set_live(self, place: Place, slot: Slot | None) -> None:
        """Raises `NotFound` (code `no_site`) for a slot where there is no site; None is then so already."""
        folder = self._folder(place)
        try:
            markers.flip(folder, slot)
        except (FileNotFoundError, NotADirectoryError) as error:
            if slot is not None:
                raise _no_site(place) from error
            return
        if slot is not None and not folder.is_dir():
            raise _no_site(place)
        await asyncio.to_thread(_settle, folder)

    async def set_fallback(self, place: Place, allowed: bool) -> None:
        """Raises `NotFound` (code `no_site`) when it is to be allowed where there is no site."""
        folder = self._folder(place)
        try:
            markers.allow_fallback(folder, allowed)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise _no_site(place) from error
        await asyncio.to_thread(_settle, folder)

    async def drawn(self, place: Place) -> bool:
        return markers.drawn(self._folder(place))

    async def draw(self, place: Place, shown: bool) -> None:
        folder = self._folder(place)
        try:
            markers.draw(folder, shown)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise _no_site(place) from error
        await asyncio.to_thread(_settle, folder)

    async def runs(self) -> bool:
        return not await asyncio.to_thread(process.is_down, self._settings)

    async def configured(self, sites: Sequence[Site]) -> Configured:
        """Under the lock of whoever changes sites: between a load and its files the two differ on purpose.

        Raises `Unavailable` when another process changes them for too long.
        """
        if self._version is None:
            # `start()` never came to its end: nothing is known of what runs, and it is to be tried again.
            return Configured(await self.runs(), loaded=False)
        wanted = {site.place.key: (site.place, self._render(site, self._version)) for site in sites}
        async with process.only_one(self._settings.dir):
            disk = {name: self._files.read(name) for name in self._files.names()}
            runs = await self.runs()
            loaded = await self._admin.runs(self._files.main) if runs and await self._admin.answers() else None
        return Configured(
            runs, loaded,
            missing=frozenset(place for name, (place, _) in wanted.items() if disk.get(name) is None),
            edited=frozenset(place for name, (place, text) in wanted.items() if disk.get(name) not in (None, text)),
            strange=tuple(name for name in disk if name not in wanted),
        )  # fmt: skip

    def _render(self, site: Site, version: Version) -> bytes:
        """Once per site and version of it: every round of reconciliation asks for all of them."""
        known = self._rendered.get(site.place)
        if known is None or known[0] != site:
            known = self._rendered[site.place] = (site, render_site(site, self._settings, version))
        return known[1]

    async def prepare(self, site: Site, live: Live) -> None:
        text = render_site(site, self._settings, self._started())
        await asyncio.to_thread(markers.create, self._folder(site.place), live)
        if not await self.runs():
            async with process.only_one(self._settings.dir):
                self._permit()
                self._files.write(site.place.key, text)

    def route(self, host: str, *, standing_in: bool = False) -> Address:
        bind, tls = self._settings.bind, self._settings.tls == "auto"
        entry = LOOPBACK if not bind or any(address in EVERYWHERE for address in bind) else bind[0]
        port = self._settings.https_port if tls else self._settings.http_port
        key = self._settings.probe_key
        ours = (PASS_HEADER, PROBE_HEADER) if standing_in else (PASS_HEADER,)
        headers = tuple((name, key) for name in ours if key)
        return Address(entry, port, host_header=host, tls=tls, headers=headers)

    def _started(self) -> Version:
        if self._version is None:
            raise Unavailable("The proxy has not been started; nothing was changed.", hint="Start it: we up")
        return self._version

    def _folder(self, place: Place) -> Path:
        if names.parse_place(place.key) != place:
            raise _no_site(place)
        return self._settings.slots / place.key


def _settle(folder: Path) -> None:
    """The switch is visible; now make it survive a power cut. In a thread: a disk may take its time."""
    if folder.is_dir():
        sync_folder(folder)


def _no_site(place: Place) -> NotFound:
    return NotFound(
        f"The proxy has no site for {place.key[:100]}; nothing was switched.",
        code="no_site",
        hint="Set the site up first: domain_setup, or deploy, which does it.",
    )


def _dotted(version: Version) -> str:
    return ".".join(str(part) for part in version)


def _migrates() -> bool:
    try:
        return MIGRATE.read_text().strip() == "1"
    except OSError:
        return True
