"""Files that are old or new, never half written, and that are read only when they are what we wrote there."""

import contextlib
import logging
import os
import stat
import tempfile
from collections.abc import Collection
from pathlib import Path

log = logging.getLogger("codeb.files")

MOST_ASIDE = 20
"""damaged copies of one file that are kept; a fault that repeats itself must not fill the disk"""


class Unsound(ValueError):
    """What is there is not a file of ours that can be read: it says which, and why."""


def sync_folder(folder: Path) -> None:
    """Make the names in `folder` durable: what was created, renamed or removed in it survives a power cut."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def atomic_write(path: Path, content: bytes, mode: int = 0o644) -> None:
    """Replace `path` by `content` with permissions `mode`, durably: readers see the old file or the new one.

    Temporary file beside it, fsync, rename, fsync of the folder. Raises `OSError`; the old file is then untouched
    and no temporary file is left.
    """
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as stream:
            os.fchmod(stream.fileno(), mode)
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        Path(name).replace(path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            Path(name).unlink()
        raise
    sync_folder(path.parent)


def sweep(folder: Path) -> None:
    """Remove what an `atomic_write` into `folder` left behind when its process was killed. Nobody may write there now."""
    for left in folder.glob(".*.tmp"):
        discard(left)


def discard(path: Path) -> None:
    """Have nothing at `path`, whose name is one only we use; a folder somebody put there is set aside."""
    if path.is_dir() and not path.is_symlink():
        set_aside(path)
        return
    path.unlink(missing_ok=True)


def owners_of(home: Path) -> frozenset[int]:
    """Whose files below `home` are believed: ours, and those of the home's owner."""
    return frozenset({os.geteuid(), home.stat().st_uid}) if home.exists() else frozenset({os.geteuid()})


def distrust(path: Path, owners: Collection[int]) -> str | None:
    """Why what is at `path` is not a file to believe; None when it is one. Raises `FileNotFoundError`."""
    found = path.lstat()
    if not stat.S_ISREG(found.st_mode):
        return f"{path} is not a file"
    if found.st_uid not in owners:
        return f"{path} belongs to another user ({found.st_uid})"
    return None


def read_own(path: Path, owners: Collection[int]) -> bytes:
    """The content of a file that is one, not a link, and belongs to one of `owners`.

    Raises `FileNotFoundError` when nothing is there, and `Unsound` for everything else that is no such file.
    """
    try:
        if (why := distrust(path, owners)) is not None:
            raise Unsound(why)
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        with os.fdopen(handle, "rb") as file:
            return file.read()
    except FileNotFoundError:
        raise
    except OSError as fault:
        raise Unsound(f"{path} cannot be read: {fault.strerror}") from fault


def set_aside(path: Path) -> Path:
    """Keep what is at `path`, whatever it is, as `{name}.damaged` (`.damaged-2`…) beside it; gives where it is now."""
    names = [f"{path.name}.damaged" + (f"-{number}" if number > 1 else "") for number in range(1, MOST_ASIDE + 1)]
    spares = [path.with_name(name) for name in names]
    spare = next((each for each in spares if not os.path.lexists(each)), spares[-1])
    path.rename(spare)
    sync_folder(path.parent)
    return spare


def make_way(path: Path) -> None:
    """A link or a folder where a file of ours is to be is set aside."""
    if path.is_symlink() or (path.exists() and not path.is_file()):
        log.error("%s was no file; it is kept as %s", path, set_aside(path))
