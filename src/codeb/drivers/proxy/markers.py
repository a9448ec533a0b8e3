"""The switch of one environment: four files whose being there is one bit each, read by Caddy on every request.

    green     there: green is live; not there: blue
    fallback  there: the other slot may answer when the live one is down
    hold      there: nobody is live, the site answers 503
    curtain   there: a maintenance page is in front of it, whoever is live

A bit has a default, so no instant exists in which a request finds no answer; each change is one create or one unlink.
"""

import contextlib
import logging
import os
import shutil
import stat
import tempfile
from pathlib import Path

from codeb.drivers.files import set_aside, sync_folder
from codeb.model.names import Slot
from codeb.model.specs import Live

log = logging.getLogger("codeb.proxy")

GREEN, FALLBACK, HOLD, CURTAIN = "green", "fallback", "hold", "curtain"


def create_held(folder: Path) -> None:
    """Have the folder; a new one appears with its `hold` already in it, a known one is left as it is."""
    create(folder, Live(None))


def create(folder: Path, live: Live) -> None:
    """Have the folder; a new one appears with these bits already in it, a known one is left as it is."""
    if folder.is_dir():
        return
    if os.path.lexists(folder):
        log.error("%s was no folder; it is kept as %s", folder, set_aside(folder))
    folder.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    # Caddy may run as another user: it must be able to look, only we may change.
    fresh.chmod(0o755)
    bits = {HOLD: live.slot is None, GREEN: live.slot is Slot.GREEN, FALLBACK: live.slot is not None and live.fallback}
    for name in (name for name, there in bits.items() if there):
        _create(fresh / name)
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
    if not folder.is_dir() or _there(folder / HOLD):
        return Live(None)
    return Live(Slot.GREEN if _there(folder / GREEN) else Slot.BLUE, _there(folder / FALLBACK))


def held(folder: Path) -> bool:
    return _there(folder / HOLD)


def _there(path: Path) -> bool:
    """As Caddy's matcher sees it: a file, also through a link; a folder of this name is no file, nor is what cannot be seen."""
    try:
        return not stat.S_ISDIR(path.stat().st_mode)
    except OSError:
        return False


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


def drawn(folder: Path) -> bool:
    return _there(folder / CURTAIN)


def draw(folder: Path, shown: bool) -> None:
    if shown:
        _create(folder / CURTAIN)
    else:
        _unlink(folder / CURTAIN)


def _create(path: Path) -> None:
    if path.is_symlink() or path.is_dir():
        _put_right(path)
        return
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644))


def _put_right(path: Path) -> None:
    """A file where a folder or a link is. What a link said goes on being said until the file is there."""
    if not path.is_symlink():
        log.error("%s was a folder; it is kept as %s", path, set_aside(path))
    fresh = path.with_name(f".{path.name}.fresh")
    fresh.unlink(missing_ok=True)
    os.close(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644))
    fresh.rename(path)


def _unlink(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        log.error("%s was a folder; it is kept as %s", path, set_aside(path))
        return
    with contextlib.suppress(FileNotFoundError):
        path.unlink()
