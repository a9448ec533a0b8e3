"""A home as a killed server left it, the ways to harm its files, and what has to be true after two starts on it."""

import asyncio
import os
import random
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from codeb.contracts.store import Snapshot
from codeb.drivers.identity import keep_instance, recorded_instance
from codeb.drivers.store.mirror import Mirror
from codeb.drivers.store.rescue import known_id, make_sound
from codeb.drivers.store.sql import SqlStore, open_store
from codeb.model.access import Approval, Key, Member, Role
from codeb.model.journal import OpState
from codeb.model.names import Place, Slot
from codeb.model.ports import Lease
from codeb.model.slots import State
from codeb.model.specs import Deployment
from tests.stores import PROD, STAGE, START, Clock, operation, pair, project

FULL = os.environ.get("CODEB_TEST_SIZE") == "full"
OWNER, LEAVER, PASSING = "1" * 64, "2" * 64, "3" * 64
NOBODY = 65534

Harm = Callable[[Path, Path, random.Random], None]


def key(id_: str, sha256: str, role: Role) -> Key:
    return Key(id_, sha256, "acme", role, "for tests", frozenset({"b", "a"}), created_at=START)


@dataclass(frozen=True)
class Past:
    """A home now, and as it was before the last changes, each with the write-ahead log that a killed server leaves."""

    now: Path
    old: Path
    truth: Snapshot


async def begin(home: Path, clock: Clock) -> tuple[SqlStore, Mirror]:
    """What a start does before it serves. Raises `Unavailable` when it is refused."""
    file, mirror = home / "codeb.db", Mirror(home)
    home.mkdir(exist_ok=True)
    rescued = await make_sound(file, home, mirror, clock)
    instance = known_id(home, mirror, file)
    store = await open_store(f"sqlite:///{file}", mirror=mirror, now=clock, instance=instance)
    keep_instance(home, instance)
    await store.flush()
    store.rescued = rescued  # type: ignore[attr-defined]  # for the tests
    return store, mirror


async def populate(store: SqlStore) -> None:
    async with store.write() as registry:
        await registry.teams.ensure("acme")
        for number, name in ((1, "ana"), (2, "bo")):
            await registry.members.add(Member(f"mem_{number}", "acme", name, Role.ADMIN, START, "acme/owner/key_1"))
        for each in (key("key_1", OWNER, Role.OWNER), key("key_2", LEAVER, Role.ADMIN), key("key_3", PASSING, Role.MEMBER)):
            await registry.keys.add(each)
        await registry.projects.add(project())
        await registry.projects.set_watch("shop", auto_rollback=False, watch_seconds=90)
        await registry.projects.set_repository("shop", "acme/shop")
        for place, port in ((PROD, 4100), (STAGE, 4500)):
            await registry.slots.add(pair(place, port))
            await registry.leases.add(*(lease(place, row.slot, row.port) for row in pair(place, port).rows))
        opened = await registry.journal.open(operation("op_1"), owner="me:1")
        await registry.journal.close("op_1", opened.fence, OpState.SUCCEEDED, summary="done")
        await registry.deployments.add(deployment("d1", "success"))


def lease(place: Place, slot: Slot, port: int) -> Lease:
    return Lease("local", port, place.project, place.environment, slot.value)


def deployment(id_: str, status: str) -> Deployment:
    return Deployment(id_, PROD, Slot.BLUE, "1", "shop:1", status, START, "acme/owner/key_1", "op_1")


async def move_on(store: SqlStore) -> None:
    """What an old copy does not know: a key is revoked, one is gone, traffic has moved, another project came."""
    async with store.write() as registry:
        blue, green = pair().rows
        active = replace(green, state=State.ACTIVE, version="2", deployment_id="d2", promoted_at=START, promoted_by="k")
        await registry.slots.put(replace(blue, state=State.GRACE, version="1", grace_expires_at=START), active)
        await registry.projects.add(project("cart"))
        place = Place("cart", "production")
        await registry.slots.add(pair(place, 4102))
        await registry.leases.add(*(lease(place, row.slot, row.port) for row in pair(place, 4102).rows))
        await registry.journal.open(operation("op_2", (place,)), owner="me:1")
    async with store.write() as registry:
        await registry.keys.revoke(START, "key_2")
        await registry.members.remove(START, "mem_2")
        await registry.teams.set("acme", display_name="Acme", approval=Approval.NAME)


async def lived(folder: Path) -> Past:
    home = folder / "home"
    store, _ = await begin(home, Clock())
    (home / "owner.key").write_text("codeb_main_owner_" + "x" * 32 + "\n")
    await populate(store)
    await store.flush()
    shutil.copytree(home, folder / "old")
    await move_on(store)
    await store.flush()
    shutil.copytree(home, folder / "now")
    truth = store.snapshot
    await store.close()
    assert (folder / "now" / "codeb.db-wal").stat().st_size > 0
    return Past(folder / "now", folder / "old", truth)


@pytest.fixture(scope="module")
def past(tmp_path_factory: pytest.TempPathFactory) -> Past:
    return asyncio.run(lived(tmp_path_factory.mktemp("past")))


# the harms


def truncate(path: Path, _: Path, dice: random.Random) -> None:
    size = path.stat().st_size
    os.truncate(path, dice.choice([0, 1, size // 2 // 4096 * 4096, size - 1, dice.randrange(size), dice.randrange(size)]))


def zero_all(path: Path, _: Path, __: random.Random) -> None:
    path.write_bytes(bytes(path.stat().st_size))


def zero_page(path: Path, _: Path, dice: random.Random) -> None:
    overwrite(path, dice.randrange(max(1, path.stat().st_size // 4096)) * 4096, lambda old: bytes(len(old)), 4096)


def flip(path: Path, _: Path, dice: random.Random) -> None:
    for _ in range(dice.choice([1, 1, 40])):
        bit = 1 << dice.randrange(8)
        overwrite(path, dice.randrange(path.stat().st_size), lambda old: bytes([old[0] ^ bit]), 1)  # noqa: B023  used at once


def overwrite(path: Path, at: int, change: Callable[[bytes], bytes], size: int) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        old = file.read(size)
        file.seek(at)
        file.write(change(old))


def garbage(path: Path, _: Path, dice: random.Random) -> None:
    path.write_bytes(dice.randbytes(dice.randrange(1, 9000)))


def older(path: Path, former: Path, _: random.Random) -> None:
    """Swapped for the copy of before; where there was none then, it goes."""
    path.unlink()
    if former.exists():
        shutil.copy(former, path)


def foreign(path: Path, _: Path, __: random.Random) -> None:
    os.chown(path, NOBODY, NOBODY)


def read_only(path: Path, _: Path, __: random.Random) -> None:
    path.chmod(0o400)


def link(path: Path, former: Path, _: random.Random) -> None:
    path.unlink()
    path.symlink_to(former)


def folder(path: Path, _: Path, __: random.Random) -> None:
    path.unlink()
    path.mkdir()
    (path / "inside").write_text("x")


def remove(path: Path, _: Path, __: random.Random) -> None:
    path.unlink()


CONTENT: list[Harm] = [truncate, zero_all, zero_page, flip, garbage, older]
HARMS: list[Harm] = [*CONTENT, *([foreign] if os.geteuid() == 0 else []), read_only, link, folder, remove]
FILES = [
    "codeb.db", "codeb.db-wal", "registry/ssot.json", "registry/api-keys.json", "registry/teams.json",
    "registry/manifest.json", "registry/slots/shop-production.json", "registry/ssot.json.prev",
    "registry/api-keys.json.prev", "registry/manifest.json.prev", "instance", "owner.key",
]  # fmt: skip
ROUNDS = {name: (8 if name.startswith("codeb.db") else 3) if FULL else 1 for name in FILES}
ONE = [
    (name, harm, seed)
    for name in FILES
    for harm in HARMS
    for seed in range(ROUNDS[name] if harm in (truncate, zero_page, flip) else 1)
]
TWO = [
    (second, harm, seed)
    for second in FILES[2:]
    for harm in (truncate, flip, older, remove)
    for seed in range(3 if FULL else 1)
]  # fmt: skip


@pytest.fixture
def home(past: Past, tmp_path: Path) -> Iterator[Path]:
    shutil.copytree(past.now, tmp_path / "home")
    yield tmp_path / "home"


def everything(home: Path) -> list[bytes]:
    return [path.read_bytes() for path in home.rglob("*") if path.is_file() and not path.is_symlink()]


def same(found: Snapshot, truth: Snapshot) -> bool:
    names = ("projects", "pairs", "keys", "leases", "teams", "members")
    return all(getattr(found, name) == getattr(truth, name) for name in names)


def narrower(found: Snapshot, truth: Snapshot) -> bool:
    """Whether no key may more than it should."""
    return all(sha in truth.keys and (key == truth.keys[sha] or key.revoked_at is not None) for sha, key in found.keys.items())


async def twice(home: Path, past: Past, clock: Clock) -> tuple[str, ...]:
    """Start, look, start again, look; gives the notes of the first start."""
    instance = recorded_instance(past.now)
    store, _ = await begin(home, clock)
    rescued = store.rescued  # type: ignore[attr-defined]
    try:
        assert same(store.snapshot, past.truth)
        assert store.snapshot.keys[LEAVER].revoked_at is not None
        assert store.snapshot.instance == instance == recorded_instance(home)
        assert store.snapshot.generation >= past.truth.generation
        assert (await store.check()).status == "pass"
        if any("rebuilt" in note for note in rescued.notes):
            assert store.snapshot.generation > past.truth.generation
        async with store.write() as registry:
            await registry.projects.set_watch("shop", auto_rollback=True, watch_seconds=90)
            await registry.projects.set_watch("shop", auto_rollback=False, watch_seconds=90)
    finally:
        await store.close()
    again, _ = await begin(home, clock)
    try:
        assert again.rescued.notes == (), "the second start is clean"  # type: ignore[attr-defined]
        assert same(again.snapshot, past.truth)
    finally:
        await again.close()
    return tuple(rescued.notes)
