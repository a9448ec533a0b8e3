"""Final dumps as files: 0600, below the backups of the home, old or new and never half written."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from codeb.drivers.files import discard, sync_folder

FOLDER = "backups/storage"


@asynccontextmanager
async def dump_file(home: Path, name: str) -> AsyncIterator[tuple[Path, Path]]:
    """Where to write, and what it is called once the block has ended well. One that ends badly leaves nothing."""
    final = home / FOLDER / name
    # a start sweeps away what bears such a name
    partly = final.with_name(f".{name}.tmp")
    await asyncio.to_thread(_begin, partly)
    try:
        yield partly, final
        await asyncio.to_thread(_end, partly, final)
    except BaseException:
        discard(partly)
        raise


def _begin(partly: Path) -> None:
    partly.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    discard(partly)
    os.close(os.open(partly, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))


def _end(partly: Path, final: Path) -> None:
    handle = os.open(partly, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
    partly.replace(final)
    sync_folder(final.parent)
