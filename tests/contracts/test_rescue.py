"""P10: a registry that was damaged is set aside and rebuilt from its mirror: never a new installation, never wider rights.

Each mutation harms a copy of one home as a killed server left it (with its write-ahead log), or two of its files. Then CodeB's
own start opens it. CODEB_TEST_SIZE=full makes several of each kind at other places of the file.
"""

import os
import random
from pathlib import Path

import pytest

from codeb.errors import Unavailable
from tests.contracts.harms import (
    FULL,
    ONE,
    TWO,
    Harm,
    Past,
    everything,
    folder,
    foreign,
    garbage,
    home,
    link,
    older,
    past,
    remove,
    twice,
    zero_all,
)
from tests.stores import Clock, clock

pytestmark = pytest.mark.anyio
__all__ = ["clock", "home", "past"]


def named(case: tuple[str, Harm, int]) -> str:
    return f"{case[0].removeprefix('registry/')}-{case[1].__name__}-{case[2]}"


@pytest.mark.parametrize("case", ONE, ids=named)
async def test_one_harm_loses_nothing(past: Past, home: Path, clock: Clock, case: tuple[str, Harm, int]) -> None:
    """P10: whichever one file is harmed, in whichever way: nothing is lost, nothing is gained, and what was there is kept."""
    name, harm, seed = case
    path = home / name
    before = path.read_bytes()
    harm(path, past.old / name, random.Random(f"{name} {harm.__name__} {seed}"))
    regular = path.is_file() and not path.is_symlink()
    left = path.read_bytes() if regular else b""
    notes = await twice(home, past, clock)
    if name == "owner.key":
        assert not path.exists() if harm is remove else os.path.lexists(path), "a key that is in use is not written again"
        assert not notes
    elif harm is foreign or (regular and left != before):
        # either it was still what it had been to SQLite, or it is kept
        assert left in everything(home) or not notes
    # a former main file with the log of now is the same registry to SQLite: the log has it all
    replaced = (zero_all, garbage, remove, foreign, link, folder, *([older] if name == "codeb.db-wal" else []))
    if name in ("codeb.db", "codeb.db-wal") and harm in replaced:
        assert any("rebuilt" in note for note in notes)
        assert harm is remove or list(home.glob("codeb.db.damaged-*")), notes


@pytest.mark.parametrize("case", TWO, ids=named)
async def test_two_harms_lose_nothing_unseen(past: Past, home: Path, clock: Clock, case: tuple[str, Harm, int]) -> None:
    """P10: with the store gone as well, the rest is enough or the start is refused in words; never a new installation."""
    name, harm, seed = case
    dice = random.Random(f"two {name} {harm.__name__} {seed}")
    for file in ("codeb.db", "codeb.db-wal"):
        zero_all(home / file, home, dice)
    harm(home / name, past.old / name, dice)
    before = {str(path): path.read_bytes() for path in home.rglob("*") if path.is_file() and not path.is_symlink()}
    try:
        notes = await twice(home, past, clock)
    except Unavailable as refused:
        assert refused.code == "registry_lost" and "manifest.json" in refused.hint
        assert name not in ("instance", "owner.key") and not name.endswith(".prev"), "one sound copy is enough"
        assert {str(path): path.read_bytes() for path in home.rglob("*") if path.is_file()} == before, "nothing was changed"
    else:
        assert any("rebuilt" in note for note in notes)


def test_there_are_as_many_as_promised() -> None:
    assert len(ONE) + len(TWO) >= (250 if FULL else 150)
