"""Files that are old or new, never half written."""

import contextlib
import os
import tempfile
from pathlib import Path


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
        left.unlink(missing_ok=True)
