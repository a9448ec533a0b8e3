"""The registry as files an operator can read: `{home}/registry/ssot.json`, `slots/*.json`, `api-keys.json`, `teams.json`.

Each file is old or new, never partial, and has one copy of what it said before (`.prev`). It carries the generation of
its last change and `checksum`, the SHA-256 of the canonical JSON of everything else in it. Nothing here is read back as
truth; a file that does not verify is set aside (`.damaged`) and written anew.
"""

import asyncio
import hashlib
import json
import logging
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

from codeb.contracts.store import Snapshot
from codeb.drivers.files import sync_folder
from codeb.drivers.store.session import through
from codeb.errors import Unavailable
from codeb.model.slots import Pair, SlotRow

log = logging.getLogger("codeb.mirror")

Document = dict[str, Any]

SECONDS = 0.1
"""how long changes are gathered before they are written"""
RETRY_SECONDS = 5.0


class Damaged(ValueError):
    """The file is not what was written."""


def canonical(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def checksum(document: Mapping[str, Any]) -> str:
    """Over everything but itself."""
    return hashlib.sha256(canonical({key: value for key, value in document.items() if key != "checksum"})).hexdigest()


def verified(path: Path) -> Document:
    """The content of a mirror file. Raises `Damaged`, or `FileNotFoundError` when it is not there."""
    try:
        document = json.loads(path.read_bytes())
    except ValueError as error:
        raise Damaged(f"{path} is not JSON") from error
    if not isinstance(document, dict) or document.get("checksum") != checksum(document):
        raise Damaged(f"{path} does not match its checksum")
    return document


# what the files say


def _camel(name: str) -> str:
    head, *rest = name.split("_")
    return head + "".join(word.capitalize() for word in rest)


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, frozenset):
        return sorted(value)
    if isinstance(value, Mapping):
        return {_camel(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return value


def _slot(row: SlotRow) -> Document:
    fields = {name: getattr(row, name) for name in row.__dataclass_fields__ if name not in ("place", "slot")}
    return {**_plain(fields), "container": row.container}


def _slots(pair: Pair) -> Document:
    place = pair.place
    return {
        "project": place.project, "environment": place.environment,
        "active": pair.active.slot.value if pair.active else None,
        "blue": _slot(pair.blue), "green": _slot(pair.green),
    }  # fmt: skip


def _summary(pair: Pair) -> Document:
    return {row.slot.value: {"port": row.port, "state": row.state.value, "version": row.version} for row in pair.rows}


def documents(snapshot: Snapshot, teams: tuple[str, ...]) -> dict[str, Document]:
    """Every file below the registry folder with its content, without generation and checksum."""
    projects = {name: _plain(asdict(project)) for name, project in snapshot.projects.items()}
    for place, pair in snapshot.pairs.items():
        if place.project in projects:
            projects[place.project].setdefault("slots", {})[place.environment] = _summary(pair)
    keys = {
        key.id: {**_plain({name: getattr(key, name) for name in key.__dataclass_fields__}), "role": key.role.value}
        for key in snapshot.keys.values()
    }
    return {
        "ssot.json": {"projects": projects, "leases": [_plain(asdict(lease)) for lease in snapshot.leases]},
        "api-keys.json": {"keys": keys},
        "teams.json": {"teams": list(teams)},
        **{f"slots/{place.key}.json": _slots(pair) for place, pair in snapshot.pairs.items()},
    }


# how they are written


def _replace(path: Path, document: Document, mode: int, *, keep: bool) -> None:
    """New content in one rename; `keep` makes what was there the previous copy. At no moment is `path` absent or partial."""
    fresh = path.with_name(f".{path.name}.tmp")
    text = json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    fresh.unlink(missing_ok=True)
    handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
    with os.fdopen(handle, "wb") as file:
        os.fchmod(handle, mode)
        file.write(text.encode())
        file.flush()
        os.fsync(handle)
    if keep:
        former = path.with_name(f".{path.name}.prev.tmp")
        former.unlink(missing_ok=True)
        former.hardlink_to(path)
        former.replace(path.with_name(f"{path.name}.prev"))
        # A rename of one file onto itself (after a crash just here, the time before) does nothing.
        former.unlink(missing_ok=True)
    fresh.replace(path)
    sync_folder(path.parent)


class Mirror:
    """Writes what the store tells it, in the background, several changes at once. One per home."""

    def __init__(self, home: Path) -> None:
        self.folder = home / "registry"
        self.fault: str | None = None
        """why the files are behind, when they are"""
        self._due: tuple[Snapshot, tuple[str, ...]] | None = None
        self._written: dict[str, str] = {}
        """digest of the content each file is known to hold"""
        self._turn = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None

    def dirty(self, snapshot: Snapshot, teams: tuple[str, ...]) -> None:
        """This is what is true now; it is in the files within a moment. Never blocks, never raises."""
        self._due = (snapshot, teams)
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
                await through(asyncio.to_thread(self.write, *due))
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

    def write(self, snapshot: Snapshot, teams: tuple[str, ...]) -> None:
        """Bring the files to this state: only those that change, and none of places that are gone."""
        slots = self.folder / "slots"
        slots.mkdir(parents=True, exist_ok=True)
        for left in self.folder.glob(".*.tmp"):  # by a crash; only one mirror works in a home
            left.unlink()
        wanted = documents(snapshot, teams)
        for name, content in wanted.items():
            digest = hashlib.sha256(canonical(content)).hexdigest()
            if self._written.get(name) != digest:
                self._put(name, content, digest, snapshot.generation)
        stems = {Path(name).name for name in wanted if name.startswith("slots/")}
        gone = [path for path in slots.iterdir() if path.name.removesuffix(".prev") not in stems and ".damaged" not in path.name]
        for path in gone:
            path.unlink()
            self._written.pop(f"slots/{path.name}", None)
        if gone:
            sync_folder(slots)

    def _put(self, name: str, content: Document, digest: str, generation: int) -> None:
        path = self.folder / name
        keep = True
        try:
            former = verified(path)
        except FileNotFoundError:
            keep = False
        except Damaged as fault:
            log.error("%s; it is set aside and written anew from the store", fault)
            path.replace(path.with_name(f"{path.name}.damaged"))
            keep = False
        else:
            mode = path.stat().st_mode & 0o777
            same = {key: value for key, value in former.items() if key not in ("generation", "checksum")} == content
            if same and mode == _mode(name):
                self._written[name] = digest
                return
        document = {**content, "generation": generation}
        _replace(path, {**document, "checksum": checksum(document)}, _mode(name), keep=keep)
        self._written[name] = digest


def _mode(name: str) -> int:
    return 0o600 if name == "api-keys.json" else 0o644
