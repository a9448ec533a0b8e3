"""The registry as files an operator can read: `{home}/registry/ssot.json`, `slots/*.json`, `domains/*.json`,
`api-keys.json`, `teams.json`.

Each file is old or new, never partial, and has one copy of what it said before (`.prev`). It carries the generation of
its last change and `checksum`, the SHA-256 of the canonical JSON of everything else in it. `manifest.json`, written last,
names the files that belong together by their checksums; what it names is always there, as the file or as its `.prev`.
While the store is sound nothing here is read back as truth: a file that does not verify is set aside (`.damaged`) and
written anew. When the store is lost, `read()` gives what it is rebuilt from.
"""

import asyncio
import hashlib
import json
import logging
import os
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from codeb.contracts.store import Snapshot
from codeb.drivers.files import discard, owners_of, set_aside, sync_folder
from codeb.drivers.store import shelf
from codeb.drivers.store.migrate import HEAD
from codeb.drivers.store.mirrored import FOLDERS, KEYS, MANIFEST, Damaged, Document, canonical, checksum, documents, verified
from codeb.drivers.store.session import through
from codeb.errors import Unavailable

__all__ = ["Damaged", "Mirror", "checksum", "verified"]

log = logging.getLogger("codeb.mirror")

SECONDS = 0.1
"""how long changes are gathered before they are written"""
RETRY_SECONDS = 5.0


def _replace(path: Path, document: Document, mode: int, *, keep: bool) -> None:
    """New content in one rename; `keep` makes what was there the previous copy. At no moment is `path` absent or partial."""
    fresh = path.with_name(f".{path.name}.tmp")
    text = json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    discard(fresh)
    handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
    try:
        with os.fdopen(handle, "wb") as file:
            os.fchmod(handle, mode)
            file.write(text.encode())
            file.flush()
            os.fsync(handle)
        if keep:
            _keep(path)
        fresh.replace(path)
    except OSError:
        # a full disk is no place for half a file
        with suppress(OSError):
            fresh.unlink()
        raise
    sync_folder(path.parent)


def _keep(path: Path) -> None:
    former, previous = path.with_name(f".{path.name}.prev.tmp"), path.with_name(f"{path.name}.prev")
    discard(former)
    former.hardlink_to(path)
    if previous.is_dir():
        set_aside(previous)
    former.replace(previous)
    # A rename of one file onto itself (after a crash just here, the time before) does nothing.
    former.unlink(missing_ok=True)


class Mirror:
    """Writes what the store tells it, in the background, several changes at once. One per home."""

    def __init__(self, home: Path) -> None:
        self.folder = home / "registry"
        self.home = home
        self.fault: str | None = None
        """why the files are behind, when they are"""
        self.home_id: str | None = None
        """the id of this home, kept here too; None: as it was"""
        self._due: Snapshot | None = None
        self._written: dict[str, str] = {}
        """digest of the content each file is known to hold"""
        self._manifest: Document | None = None
        """as last written; None: not read yet"""
        self._turn = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None

    def read(self) -> shelf.Reading:
        """What the files say now. Never raises: a file that is not sound is said."""
        return shelf.read(self.folder, owners_of(self.home))

    def dirty(self, snapshot: Snapshot) -> None:
        """This is what is true now; it is in the files within a moment. Never blocks, never raises."""
        self._due = snapshot
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._soon(), name="mirror")

    async def _soon(self) -> None:
        wait = SECONDS
        while self._due is not None:
            await asyncio.sleep(wait)
            try:
                await self.flush()
            except Unavailable:
                wait = RETRY_SECONDS

    async def flush(self) -> None:
        """Return once everything told so far is in the files. Raises `Unavailable` when it cannot be."""
        async with self._turn:
            due, self._due = self._due, None
            if due is None:
                return
            try:
                await through(asyncio.to_thread(self.write, due))
            except OSError as error:
                self._due = self._due or due
                self.fault = str(error)
                log.error("mirror files not written: %s", error)
                raise Unavailable(
                    "The registry's files could not be written; the store itself is up to date.",
                    code="mirror_unavailable", hint="Look at the disk of the home.",
                ) from error  # fmt: skip
            self.fault = None

    async def close(self) -> None:
        """Write what is due, and stop. What cannot be written is in the store and is mirrored at the next start."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
            self._task = None
        with suppress(Unavailable):
            await self.flush()

    # in a thread

    def write(self, snapshot: Snapshot) -> None:
        """Bring the files to this state: only those that change, and none of places that are gone."""
        owners = owners_of(self.home)
        parts = [self.folder / part for part in FOLDERS]
        for folder in (self.folder, *parts):
            if os.path.lexists(folder) and (folder.is_symlink() or not folder.is_dir()):
                log.error("%s is not a folder; it is set aside", folder)
                set_aside(folder)
                self._written.clear()
        for part in parts:
            part.mkdir(parents=True, exist_ok=True)
        for left in self.folder.glob(".*.tmp"):  # by a crash; only one mirror works in a home
            discard(left)
        if self._manifest is None:
            self._manifest = self._last(owners)
            for former in (each for folder in (self.folder, *parts) for each in folder.glob("*.prev")):
                self._look_at(former, owners)
        wanted = documents(snapshot)
        sums = {name: self._put(name, content, snapshot.generation, owners) for name, content in wanted.items()}
        about = {
            "files": sums, "format": HEAD, "registryId": snapshot.registry_id or None, "instance": snapshot.instance or None,
            "home": self.home_id or self._manifest.get("home"),
        }  # fmt: skip
        self._finish(about, snapshot.generation, owners)
        for part in parts:
            self._tidy(part, {Path(name).name for name in wanted if name.startswith(f"{part.name}/")})

    def _look_at(self, former: Path, owners: Collection[int]) -> None:
        """A previous copy that is none is kept apart: it would be replaced unseen."""
        try:
            verified(former, owners)
        except Damaged as fault:
            log.error("%s; it is kept as %s", fault, set_aside(former))

    def _last(self, owners: Collection[int]) -> Document:
        """The manifest on disk; empty when there is none to go by."""
        try:
            return verified(self.folder / MANIFEST, owners)
        except (FileNotFoundError, Damaged):
            return {}

    def _former(self, path: Path, owners: Collection[int]) -> Document:
        """What the file says now; empty when it is not there, or could not be trusted and is set aside."""
        try:
            return verified(path, owners)
        except FileNotFoundError:
            return {}
        except Damaged as fault:
            self._aside(path, str(fault))
            return {}

    def _finish(self, about: Document, generation: int, owners: Collection[int]) -> None:
        path = self.folder / MANIFEST
        document = {**about, "generation": generation}
        document["checksum"] = checksum(document)
        former = self._former(path, owners)
        if former != document or path.stat().st_mode & 0o777 != _mode(MANIFEST):
            _replace(path, document, _mode(MANIFEST), keep=bool(former))
        self._manifest = document

    def _tidy(self, part: Path, stems: Collection[str]) -> None:
        gone = [path for path in part.iterdir() if path.name.removesuffix(".prev") not in stems and ".damaged" not in path.name]
        for path in gone:
            discard(path)
            self._written.pop(f"{part.name}/{path.name}", None)
        if gone:
            sync_folder(part)

    def _put(self, name: str, content: Document, generation: int, owners: Collection[int]) -> str:
        """Have the file say this; gives its checksum."""
        digest = hashlib.sha256(canonical(content)).hexdigest()
        path, listed = self.folder / name, (self._manifest or {}).get("files", {}).get(name)
        if listed is not None and self._written.get(name) == digest:
            return str(listed)
        former = self._former(path, owners)
        if former and _content(former) == content and path.stat().st_mode & 0o777 == _mode(name):
            self._written[name] = digest
            return str(former["checksum"])
        listing = former.get("checksum") == listed
        if former and listed is not None and not listing and former["generation"] <= (self._manifest or {})["generation"]:
            self._aside(path, f"{path} is not the copy that was written last")
            former = {}
        # what the manifest names stays readable until the next manifest is there: nothing else is kept in its place
        document = {**content, "generation": generation}
        document["checksum"] = checksum(document)
        _replace(path, document, _mode(name), keep=bool(former) and (listed is None or listing))
        self._written[name] = digest
        return str(document["checksum"])

    def _aside(self, path: Path, why: str) -> None:
        log.error("%s; it is kept as %s and written anew from the store", why, set_aside(path))


def _content(document: Document) -> Document:
    return {key: value for key, value in document.items() if key not in ("generation", "checksum")}


def _mode(name: str) -> int:
    return 0o600 if name == KEYS else 0o644
