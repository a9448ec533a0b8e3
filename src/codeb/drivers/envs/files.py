"""Environment variables as files below the home, for people and for what runs beside CodeB. They hold plain values, 0600."""

import asyncio
import contextlib
import hashlib
import json
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from codeb.contracts.envs import EnvCopy
from codeb.drivers import beneath
from codeb.drivers.files import Unsound, owners_of
from codeb.errors import Unavailable
from codeb.model.envs import stamp
from codeb.model.names import Place

log = logging.getLogger("codeb.envs")

RUNTIME, BACKUP = "env", "env-backup"
LOG, PREV = "backup-log.json", "backup-log.json.prev"
MASTER, CURRENT = "master.env", "current.env"

Log = dict[str, Any]
T = TypeVar("T")


def _sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _checksum(said: Log) -> str:
    rest = {name: value for name, value in said.items() if name != "checksum"}
    return _sha(json.dumps(rest, sort_keys=True).encode())


@contextmanager
def _translated(place: str) -> Iterator[None]:
    try:
        yield
    except (OSError, Unsound) as fault:
        why = getattr(fault, "strerror", None) or str(fault)
        raise Unavailable(
            f"The env files of {place} cannot be read or written: {why}. The registry has the variables.", code="env_files",
            hint="Look at the disk of the home, and at its folders env and env-backup.",
        ) from fault  # fmt: skip


class FileEnvs:
    """See `contracts.envs.EnvFiles`. `backup-log.json` says which versions there are, with their checksums, and which is current.

    A version is in the log before it is in the files it replaces: what is found there after a death is known as our own.
    """

    def __init__(self, home: Path) -> None:
        self._home = home
        self._turn = asyncio.Lock()

    async def current(self, place: Place) -> datetime | None:
        return await self._do(place.key, lambda: self._current(place))

    async def keep(self, place: Place, copy: EnvCopy) -> None:
        await self._do(place.key, lambda: self._keep(place, copy))

    async def remove(self, project: str, environment: str | None = None) -> None:
        if environment is None:
            await self._do(project, lambda: self._remove(project))
        else:
            await self._do(Place(project, environment).key, lambda: self._remove_one(project, environment))

    async def _do(self, about: str, act: Callable[[], T]) -> T:
        async with self._turn:
            with _translated(about):
                return await asyncio.to_thread(act)

    def _remove(self, project: str) -> None:
        for name in (RUNTIME, BACKUP):
            with contextlib.suppress(FileNotFoundError), beneath.folder(self._home, name) as at:
                beneath.remove(at, project)

    def _remove_one(self, project: str, environment: str) -> None:
        with contextlib.suppress(FileNotFoundError), beneath.folder(self._home, RUNTIME, project) as at:
            beneath.sweep(at)
            ours = f".env.{environment}"
            for name in [each for each in os.listdir(at) if each == ours or each.startswith(f"{ours}.damaged")]:  # noqa: PTH208
                beneath.remove(at, name)
        with contextlib.suppress(FileNotFoundError), beneath.folder(self._home, BACKUP, project) as at:
            beneath.remove(at, environment)

    # looking

    def _current(self, place: Place) -> datetime | None:
        try:
            with self._folders(place) as (runtime, backup):
                said = self._log(backup)
                newest = said["versions"].get(said["current"])
                known = {each["sha256"] for each in said["versions"].values()}
                wanted = [(runtime, f".env.{place.environment}"), (backup, CURRENT), (backup, f"{said['current']}.env")]
                sound = [self._is(at, name, newest and newest["sha256"], known) for at, name in wanted]
                sound.append(self._is(backup, MASTER, said["master"], known))
                return datetime.fromisoformat(newest["at"]) if newest and all(sound) else None
        except FileNotFoundError:
            return None

    @contextmanager
    def _folders(self, place: Place, *, make: bool = False) -> Iterator[tuple[int, int]]:
        with (
            beneath.folder(self._home, RUNTIME, place.project, make=make) as runtime,
            beneath.folder(self._home, BACKUP, place.project, place.environment, make=make) as backup,
        ):
            for each in (runtime, backup):
                beneath.sweep(each)
            yield runtime, backup

    def _log(self, backup: int) -> Log:
        """An empty one where there is none that can be believed."""
        for name in (LOG, PREV):
            try:
                said = json.loads(beneath.read(backup, name, owners_of(self._home)))
                if isinstance(said, dict) and said["checksum"] == _checksum(said):
                    return said
                raise Unsound("it does not match its checksum")
            except FileNotFoundError:
                continue
            except (Unsound, ValueError, KeyError, RecursionError) as fault:
                log.error(
                    "%s of env backups cannot be believed (%s); it is kept as %s", name, fault, beneath.set_aside(backup, name)
                )
        return {"generation": 0, "current": "", "master": "", "versions": {}}

    def _is(self, at: int, name: str, wanted: str | None, known: set[str]) -> bool:
        """Whether a file is as written. One that nobody of us wrote is kept beside: somebody may have meant it."""
        try:
            sha = _sha(beneath.read(at, name, owners_of(self._home)))
        except FileNotFoundError:
            return False
        except Unsound:
            sha = ""
        if sha == wanted:
            return True
        if sha not in known:
            log.error("the env file %s is not as CodeB wrote it; it is kept as %s", name, beneath.set_aside(at, name))
        return False

    # writing

    def _keep(self, place: Place, copy: EnvCopy) -> None:
        content, version = copy.text.reveal().encode(), copy.version
        mark = stamp(version.created_at)
        with self._folders(place, make=True) as (runtime, backup):
            said = self._log(backup)
            entry: Log = {
                "version": version.number, "file": f"{mark}.env", "at": version.created_at.isoformat(), "by": version.created_by,
                "action": version.action, "count": version.count, "sha256": _sha(content),
                **{name: list(names) for name, names in vars(version.difference).items()},
            }  # fmt: skip
            if said["versions"].get(mark) != entry:
                said["versions"][mark] = entry
                self._write_log(backup, said)
            known = {each["sha256"] for each in said["versions"].values()}
            if not self._is(backup, f"{mark}.env", entry["sha256"], known):
                beneath.replace(backup, f"{mark}.env", content)
            if copy.first and not (said["master"] and self._is(backup, MASTER, said["master"], known)):
                said["master"] = entry["sha256"]
                beneath.replace(backup, MASTER, content)
                self._write_log(backup, said)
            if mark < said["current"]:
                return
            for at, name in ((backup, CURRENT), (runtime, f".env.{place.environment}")):
                if not self._is(at, name, entry["sha256"], known):
                    beneath.replace(at, name, content)
            if said["current"] != mark:
                said["current"] = mark
                self._write_log(backup, said)

    def _write_log(self, backup: int, said: Log) -> None:
        with contextlib.suppress(FileNotFoundError, Unsound):
            beneath.replace(backup, PREV, beneath.read(backup, LOG, owners_of(self._home)))
        said["generation"] += 1
        said["checksum"] = _checksum(said)
        beneath.replace(backup, LOG, json.dumps(said, indent=2, ensure_ascii=False).encode() + b"\n")
