"""The small files by which an installation knows itself: `instance`, `server.pid` and the proxy's `probe.key`.

Each holds one word of a fixed form. What is there and is not that word is set aside, never gone on with; the word itself
comes back from where else it is known, because containers and sites bear it.
"""

import contextlib
import fcntl
import logging
import os
import re
import secrets
from collections.abc import Iterator
from pathlib import Path

from codeb.drivers.files import Unsound, atomic_write, make_way, owners_of, read_own, set_aside
from codeb.drivers.proxy.caddyfile import PROBE_HEADER, PROBE_KEY
from codeb.errors import Conflict

log = logging.getLogger("codeb")

INSTANCE = re.compile(r"[0-9a-f]{12}")


def _word(path: Path, form: re.Pattern[str]) -> str | None:
    """What the file says; None when it is not there or says nothing of this form."""
    try:
        word = read_own(path, owners_of(path.parent)).decode("ascii").strip()
    except (FileNotFoundError, Unsound, UnicodeDecodeError):
        return None
    return word if form.fullmatch(word) else None


def _keep(path: Path, word: str, form: re.Pattern[str], mode: int) -> None:
    if _word(path, form) == word:
        return
    if os.path.lexists(path):
        log.error("%s was damaged; it is kept as %s and written anew", path, set_aside(path))
    atomic_write(path, word.encode(), mode)


def recorded_instance(home: Path) -> str | None:
    """The id of this home as its file says; None when there is none, or none to believe."""
    return _word(home / "instance", INSTANCE)


def new_instance() -> str:
    return secrets.token_hex(6)


def keep_instance(home: Path, instance: str) -> None:
    """Have the file say so. Only after the store was begun: a home with the file and without a store has lost its store."""
    _keep(home / "instance", instance, INSTANCE, 0o644)


def probe_key(folder: Path) -> str:
    """The secret by which the proxy knows CodeB's own trial requests. Made once; when its file is damaged it is read back
    from the sites, which ask for it."""
    path = folder / "probe.key"
    word = _word(path, PROBE_KEY)
    if word is None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o755)
        word = _key_in(folder / "sites") or secrets.token_hex(16)
        _keep(path, word, PROBE_KEY, 0o600)
    return word


def _key_in(sites: Path) -> str | None:
    asked = re.compile(rf"{PROBE_HEADER} ({PROBE_KEY.pattern})\b")
    for site in sorted(sites.glob("[!.]*.caddy")) if sites.is_dir() else ():
        with contextlib.suppress(OSError, Unsound):
            if found := asked.search(read_own(site, owners_of(sites)).decode(errors="replace")):
                return found[1]
    return None


@contextlib.contextmanager
def only_server(home: Path) -> Iterator[None]:
    """Hold the home for this process. Raises `Conflict` (`home_in_use`) when another server has it."""
    home.mkdir(parents=True, exist_ok=True, mode=0o750)
    path = home / "server.pid"
    make_way(path)
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = os.pread(handle, 32, 0).decode(errors="replace").strip()
            raise Conflict(
                f"Another CodeB server (process {holder}) runs on {home}.", code="home_in_use", hint="Stop it with `we down`."
            ) from None
        _write_pid(handle, f"{os.getpid()}\n".encode())
        yield
        _write_pid(handle, b"")
    finally:
        os.close(handle)


def _write_pid(handle: int, text: bytes) -> None:
    """The lock is what counts; on a full disk the number for people may be missing."""
    with contextlib.suppress(OSError):
        os.ftruncate(handle, 0)
        os.pwrite(handle, text, 0)
