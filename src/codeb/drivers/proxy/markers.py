"""The switch of one environment: three files whose being there is one bit each, read by Caddy on every request.

    green     there: green is live; not there: blue
    fallback  there: the other slot may answer when the live one is down
    hold      there: nobody is live, the site answers 503

A bit has a default, so no instant exists in which a request finds no answer; each change is one create or one unlink.
"""

import contextlib
import os
import shutil
import tempfile
from pathlib import Path

from codeb.drivers.files import sync_folder
from codeb.model.names import Slot
from codeb.model.specs import Live

GREEN, FALLBACK, HOLD = "green", "fallback", "hold"


def create_held(folder: Path) -> None:
    """Have the folder; a new one appears with its `hold` already in it, a known one is left as it is."""
    if folder.is_dir():
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    # Caddy may run as another user: it must be able to look, only we may change.
    fresh.chmod(0o755)
    _create(fresh / HOLD)
    sync_folder(fresh)
    try:
        fresh.rename(folder)
    except OSError:
        shutil.rmtree(fresh)
        if not folder.is_dir():
            raise
    sync_folder(folder.parent)


def remove(folder: Path) -> None:
    """Take the folder away; under a hidden name first, so that half of it is never seen under its own."""
    if not folder.is_dir():
        return
    doomed = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    folder.rename(doomed)
    sync_folder(folder.parent)
    shutil.rmtree(doomed)


def read(folder: Path) -> Live:
    """What Caddy would do with the next request."""
    if not folder.is_dir() or (folder / HOLD).exists():
        return Live(None)
    return Live(Slot.GREEN if (folder / GREEN).exists() else Slot.BLUE, (folder / FALLBACK).exists())


def held(folder: Path) -> bool:
    return (folder / HOLD).exists()


def flip(folder: Path, slot: Slot | None) -> None:
    """Make `slot` live, or nobody. One create or unlink is the switch.

    Under `hold` the slot's bit is set first, unseen; the removal of `hold` is then the switch.
    """
    if slot is None:
        _create(folder / HOLD)
        return
    if slot is Slot.GREEN:
        _create(folder / GREEN)
    else:
        _unlink(folder / GREEN)
    _unlink(folder / HOLD)


def release(folder: Path) -> None:
    """Take back a `hold`: whoever was live before it is live again."""
    _unlink(folder / HOLD)


def allow_fallback(folder: Path, allowed: bool) -> None:
    if allowed:
        _create(folder / FALLBACK)
    else:
        _unlink(folder / FALLBACK)


def _create(path: Path) -> None:
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644))


def _unlink(path: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        path.unlink()
