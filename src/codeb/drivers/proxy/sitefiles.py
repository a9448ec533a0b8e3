"""The site files and what of them is loaded: changes that come together are gathered into one reload."""

import asyncio
import contextlib
import shutil
from collections.abc import Callable, Container, Iterable
from dataclasses import dataclass
from pathlib import Path

from codeb.drivers.files import atomic_write, discard, make_way, sync_folder
from codeb.drivers.proxy import process
from codeb.drivers.proxy.admin import Admin
from codeb.drivers.proxy.caddyfile import CaddySettings
from codeb.errors import Conflict, FenceLost

SUFFIX = ".caddy"
MODE = 0o600
"""the probe key is in them"""


@dataclass(eq=False)
class Change:
    """One site's wanted text, None to have it gone."""

    name: str
    content: bytes | None
    done: bool = False
    error: Conflict | None = None


class SiteFiles:
    """Disk and running configuration move together; text bears a site's name only once Caddy has taken it.

    A change is loaded from a file beside (`.shop-production.caddy.new`) and renamed into place afterwards. So whatever
    interrupts it, what is on disk is something a Caddy can be started on.
    """

    main = b""
    """the main Caddyfile, as the driver's `start()` rendered it; it imports all sites in one line"""

    def __init__(self, settings: CaddySettings, admin: Admin, permit: Callable[[], None] = lambda: None) -> None:
        self._settings = settings
        self._permit = permit
        self._admin = admin
        self._lock = asyncio.Lock()
        self._pending: list[Change] = []
        # What the running Caddy was last given; None: not known (adopted with another configuration, or an
        # answer was lost), and then the next change loads whatever it is.
        self._loaded: dict[str, bytes] | None = None

    def names(self) -> list[str]:
        """The sites on disk, in the order in which Caddy's import takes their files."""
        return [path.name.removesuffix(SUFFIX) for path in sorted(self._settings.sites.glob(f"[!.]*{SUFFIX}"))]

    def note_loaded(self) -> None:
        """The running configuration was found to be what is on disk now."""
        self._loaded = self._disk()

    async def load(self) -> None:
        """Load what is on disk. Raises `Conflict` (refused; the old one runs on) and `Unavailable`."""
        await self._load(self.main, self._disk())

    async def _load(self, text: bytes, files: dict[str, bytes]) -> None:
        try:
            await self._admin.load(text)
        except Conflict:
            raise
        except BaseException:
            self._loaded = None
            raise
        self._loaded = files

    async def apply(self, name: str, content: bytes | None) -> bool:
        """Have this text on disk and loaded; False when both were so already.

        Raises `Conflict` when Caddy refuses it, `Unavailable` when it does not answer; the file is as before then. Taking
        a site away needs no Caddy when none runs: it is started on what is on disk.
        """
        if not self._pending and not self._lock.locked() and self._is_so(name, content):
            return False
        change = Change(name, content)
        self._pending.append(change)
        async with self._lock:
            if not change.done:
                await self._drain(change)
        if change.error is not None:
            raise change.error
        return True

    async def _drain(self, own: Change) -> None:
        """Commit everything that waits, in one reload; when that is refused, each alone, to know whose fault it is."""
        batch, self._pending = self._pending, []
        try:
            try:
                await self._commit(batch)
            except Conflict as refused:
                if len(batch) == 1:
                    own.done, own.error = True, refused
                    return
                await self._one_by_one(batch)
        except BaseException:
            # The others did nothing wrong: one of them takes their turn next.
            self._pending = [change for change in batch if change is not own and not change.done] + self._pending
            raise

    async def _one_by_one(self, batch: list[Change]) -> None:
        for change in batch:
            try:
                await self._commit([change])
            except Conflict as refused:
                change.done, change.error = True, refused

    async def _commit(self, batch: list[Change]) -> None:
        # Against another CodeB process, and against the tidying of one that starts.
        async with process.only_one(self._settings.dir):
            self._permit()
            await self._replace(batch)

    async def _replace(self, batch: list[Change]) -> None:
        wanted = {change.name: change.content for change in batch}
        disk = self._disk()
        try:
            for name, content in wanted.items():
                if content is not None:
                    atomic_write(self._fresh(name), content, MODE)
            files = {name: text for name, text in (disk | wanted).items() if text is not None}
            if any(content is not None for content in wanted.values()) or not process.is_down(self._settings):
                await self._load(self._importing(files, wanted), files)
            else:
                self._loaded = None
            self._permit()
        except FenceLost:
            # by now these may be another process's
            self._loaded = None
            raise
        except BaseException:
            for name in wanted:
                self._fresh(name).unlink(missing_ok=True)
            raise
        for name, content in wanted.items():
            self._settle(name, content, disk.get(name))
        sync_folder(self._settings.sites)
        for change in batch:
            change.done = True

    def _importing(self, files: Iterable[str], fresh: Container[str]) -> bytes:
        """The main Caddyfile with each file by its name, in the order of the one line that imports them all."""
        ordered = sorted(files, key=lambda name: name + SUFFIX)
        paths = [self._fresh(name) if name in fresh else self._file(name) for name in ordered]
        line = f"import {self._settings.sites}/*{SUFFIX}\n"
        return self.main.replace(line.encode(), "".join(f"import {path}\n" for path in paths).encode())

    def _settle(self, name: str, content: bytes | None, old: bytes | None) -> None:
        if old is not None and old != content:
            atomic_write(self._spare(name), old, MODE)
        if content is None:
            self._file(name).unlink(missing_ok=True)
        else:
            self._fresh(name).replace(self._file(name))

    def write(self, name: str, content: bytes) -> None:
        """Have this text on disk although nobody can load it now. Only under `process.only_one`, while no Caddy runs."""
        old = self.read(name)
        if old == content:
            return
        if old is not None:
            atomic_write(self._spare(name), old, MODE)
        atomic_write(self._file(name), content, MODE)
        self._loaded = None

    def _is_so(self, name: str, content: bytes | None) -> bool:
        return self._loaded is not None and self._loaded.get(name) == content == self.read(name)

    def _disk(self) -> dict[str, bytes]:
        return {name: self._file(name).read_bytes() for name in self.names()}

    def read(self, name: str) -> bytes | None:
        with contextlib.suppress(FileNotFoundError):
            return self._file(name).read_bytes()
        return None

    def _file(self, name: str) -> Path:
        return self._settings.sites / f"{name}{SUFFIX}"

    def _fresh(self, name: str) -> Path:
        return self._settings.sites / f".{name}{SUFFIX}.new"

    def _spare(self, name: str) -> Path:
        return self._settings.sites / f"{name}{SUFFIX}.bak"

    def tidy(self) -> None:
        """Remove what a CodeB that was killed left half done. Only under `process.only_one`."""
        for folder in (self._settings.dir, self._settings.sites):
            for pattern in (".*.new", ".*.tmp"):
                for file in folder.glob(pattern):
                    discard(file)
        for folder in self._settings.slots.glob(".*"):
            if folder.is_dir() and not folder.is_symlink():
                shutil.rmtree(folder)
            else:
                folder.unlink()
        # Caddy imports whatever bears this ending, and refuses everything when it cannot read it.
        for site in self._settings.sites.glob(f"[!.]*{SUFFIX}"):
            make_way(site)
        make_way(self._settings.main)

    def forget(self, name: str) -> None:
        """Remove what is left of a site that is gone."""
        self._spare(name).unlink(missing_ok=True)
