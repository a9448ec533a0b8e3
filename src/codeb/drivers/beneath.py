"""Files below a folder of ours, reached name by name from an open folder to the next, so that no link leads elsewhere (S21)."""

import contextlib
import os
import secrets
import stat
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from codeb.drivers.files import MOST_ASIDE, Unsound

OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC


def _plain(name: str) -> str:
    if name in ("", ".", "..") or "/" in name or "\0" in name:
        raise Unsound("a name that is a path")
    return name


@contextmanager
def folder(root: Path, *names: str, make: bool = False) -> Iterator[int]:
    """A folder below `root`, open. With `make` what is missing is made, 0700.

    Raises `FileNotFoundError`, and `OSError` where a link or something else stands in the way.
    """
    at = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for name in names:
            if make:
                with contextlib.suppress(FileExistsError):
                    os.mkdir(_plain(name), 0o700, dir_fd=at)
                    os.fsync(at)
            below = os.open(_plain(name), OPEN | os.O_DIRECTORY, dir_fd=at)
            os.close(at)
            at = below
        yield at
    finally:
        os.close(at)


def read(at: int, name: str, owners: Collection[int]) -> bytes:
    """Raises `FileNotFoundError`, and `Unsound` for what is no file of one of `owners`."""
    try:
        # a pipe that somebody put there is not waited for
        handle = os.open(_plain(name), OPEN | os.O_NONBLOCK, dir_fd=at)
    except FileNotFoundError:
        raise
    except OSError as fault:
        raise Unsound(f"{name} cannot be read: {fault.strerror}") from fault
    found = os.fstat(handle)
    if not stat.S_ISREG(found.st_mode) or found.st_uid not in owners:
        os.close(handle)
        raise Unsound(f"{name} is not a file of ours")
    with os.fdopen(handle, "rb") as file:
        return file.read()


def replace(at: int, name: str, content: bytes) -> None:
    """Old or new, never partly, and durable; 0600. What is there and no file is set aside. Raises `OSError`."""
    part = f".{_plain(name)}.{secrets.token_hex(6)}.tmp"
    handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=at)
    try:
        with os.fdopen(handle, "wb") as file:
            os.fchmod(handle, 0o600)
            file.write(content)
            file.flush()
            os.fsync(handle)
        if _is_no_file(at, name):
            set_aside(at, name)
        os.rename(part, name, src_dir_fd=at, dst_dir_fd=at)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(part, dir_fd=at)
        raise
    os.fsync(at)


def _is_no_file(at: int, name: str) -> bool:
    try:
        return not stat.S_ISREG(os.stat(name, dir_fd=at, follow_symlinks=False).st_mode)
    except FileNotFoundError:
        return False


def set_aside(at: int, name: str) -> str:
    """Keep what is there, whatever it is, as `{name}.damaged` (`.damaged-2`…) beside it; gives that name."""
    there = set(os.listdir(at))
    names = [f"{_plain(name)}.damaged" + (f"-{number}" if number > 1 else "") for number in range(1, MOST_ASIDE + 1)]
    spare = next((each for each in names if each not in there), names[-1])
    os.rename(name, spare, src_dir_fd=at, dst_dir_fd=at)
    os.fsync(at)
    return spare


def sweep(at: int) -> None:
    """Remove what a `replace` left behind when its process was killed. Nobody may write there now."""
    for name in os.listdir(at):
        if name.startswith(".") and name.endswith(".tmp"):
            os.unlink(name, dir_fd=at)


def remove(at: int, name: str) -> None:
    """Have nothing of this name: a folder goes with everything in it, a link alone. Safe to repeat. Raises `OSError`."""
    try:
        below = os.open(_plain(name), OPEN | os.O_DIRECTORY, dir_fd=at)
    except FileNotFoundError:
        return
    except OSError:
        os.unlink(name, dir_fd=at)
    else:
        try:
            for each in os.listdir(below):  # noqa: PTH208  an open folder, not a path
                remove(below, each)
        finally:
            os.close(below)
        os.rmdir(name, dir_fd=at)
    os.fsync(at)
