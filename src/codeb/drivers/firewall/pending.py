"""A change that is not proven yet: what was in force before it stands in a file, and whoever renames that file first decides.

`{token}.pending` becomes `{token}.kept` when the change is proven, or `{token}.reverting` when it is taken back: by the
process that made it, by the guard that it started beside itself, or by the next start.
"""

from collections.abc import Sequence
from pathlib import Path

from codeb.drivers import shell
from codeb.drivers.files import atomic_write, sync_folder
from codeb.errors import Unavailable

NFT_SECONDS = 10.0


def begin(folder: Path, token: str, former: str) -> None:
    """From now on `former` comes back unless `keep` is called."""
    atomic_write(folder / f"{token}.pending", former.encode(), 0o600)


def keep(folder: Path, token: str) -> bool:
    """The change stays. False: somebody took it back already."""
    kept = folder / f"{token}.kept"
    try:
        (folder / f"{token}.pending").rename(kept)
    except FileNotFoundError:
        return False
    kept.unlink(missing_ok=True)
    sync_folder(folder)
    return True


def forget(folder: Path, token: str) -> None:
    """Nothing was changed after all."""
    (folder / f"{token}.pending").unlink(missing_ok=True)


def left(folder: Path) -> list[str]:
    """The tokens of changes that are neither proven nor taken back, oldest first."""
    files = [each for end in ("pending", "reverting") for each in folder.glob(f"*.{end}")]
    return [each.stem for each in sorted(files, key=lambda each: each.stat().st_mtime)]


async def take_back(folder: Path, token: str, program: Sequence[str]) -> bool:
    """Bring back what was in force before. False: the change was kept, or is taken back already. Safe to repeat.

    Raises `Unavailable` when nft does not do it; the file stays, and it can be tried again.
    """
    reverting = folder / f"{token}.reverting"
    try:
        (folder / f"{token}.pending").rename(reverting)
    except FileNotFoundError:
        if not reverting.exists():
            return False
    try:
        former = reverting.read_bytes()
    except FileNotFoundError:
        return False
    ended = await shell.run([*program, "-f", "-"], home=folder, seconds=NFT_SECONDS, stdin=former)
    if ended.code:
        raise Unavailable(
            "The former firewall could not be brought back; the changed one is in force.", code="firewall_not_reverted",
            hint="See details.nft; the former rules are in details.file.",
            details={"nft": ended.err.decode("utf-8", "replace")[-1000:], "file": str(reverting)},
        )  # fmt: skip
    reverting.unlink(missing_ok=True)
    return True
