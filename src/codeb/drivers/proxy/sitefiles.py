"""The site files and what of them is loaded: changes that come together are gathered into one reload."""

import asyncio
import contextlib
from dataclasses import dataclass

from codeb.drivers.files import atomic_write, sync_folder
from codeb.drivers.proxy.admin import Admin
from codeb.drivers.proxy.caddyfile import CaddySettings
from codeb.errors import Conflict

SUFFIX = ".caddy"


@dataclass(eq=False)
class Change:
    """One site's wanted text, None to have it gone."""

    name: str
    content: bytes | None
    done: bool = False
    error: Conflict | None = None


class SiteFiles:
    """Disk and running configuration move together: refused text never stays on disk."""

    def __init__(self, settings: CaddySettings, admin: Admin) -> None:
        self._settings = settings
        self._admin = admin
        self._lock = asyncio.Lock()
        self._pending: list[Change] = []
        # What the running Caddy was last given; None: not known (adopted with another configuration, or an
        # answer was lost), and then the next change loads whatever it is.
        self._loaded: dict[str, bytes] | None = None

    def names(self) -> list[str]:
        return sorted(path.name.removesuffix(SUFFIX) for path in self._settings.sites.glob(f"*{SUFFIX}"))

    def note_loaded(self) -> None:
        """The running configuration was found to be what is on disk now."""
        self._loaded = self._disk()

    async def load(self) -> None:
        """Load what is on disk. Raises `Conflict` (refused; the old one runs on) and `Unavailable`."""
        files = self._disk()
        try:
            await self._admin.load(self._settings.main.read_bytes())
        except Conflict:
            raise
        except BaseException:
            self._loaded = None
            raise
        self._loaded = files

    async def apply(self, name: str, content: bytes | None) -> bool:
        """Have this text on disk and loaded; False when both were so already.

        Raises `Conflict` when Caddy refuses it, `Unavailable` when it does not answer; the file is as before then.
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
        before: dict[str, bytes | None] = {}
        try:
            for change in batch:
                before.setdefault(change.name, self._read(change.name))
                self._write(change.name, change.content, keep=True)
            await self.load()
        except BaseException:
            for name, content in before.items():
                self._write(name, content, keep=False)
            raise
        for change in batch:
            change.done = True

    def _is_so(self, name: str, content: bytes | None) -> bool:
        return self._loaded is not None and self._loaded.get(name) == content == self._read(name)

    def _disk(self) -> dict[str, bytes]:
        return {name: (self._settings.sites / f"{name}{SUFFIX}").read_bytes() for name in self.names()}

    def _read(self, name: str) -> bytes | None:
        with contextlib.suppress(FileNotFoundError):
            return (self._settings.sites / f"{name}{SUFFIX}").read_bytes()
        return None

    def _write(self, name: str, content: bytes | None, *, keep: bool) -> None:
        path, spare = self._settings.sites / f"{name}{SUFFIX}", self._settings.sites / f"{name}{SUFFIX}.bak"
        old = self._read(name)
        if content == old:
            return
        if keep and old is not None:
            atomic_write(spare, old)
        if content is None:
            path.unlink(missing_ok=True)
            sync_folder(path.parent)
        else:
            atomic_write(path, content)

    def forget(self, name: str) -> None:
        """Remove what is left of a site that is gone."""
        (self._settings.sites / f"{name}{SUFFIX}.bak").unlink(missing_ok=True)
