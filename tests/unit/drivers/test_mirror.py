"""Mirror files: old or new, never partial, whatever happens while they are written."""

import asyncio
import contextlib
import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from codeb.contracts.store import Snapshot
from codeb.drivers.files import atomic_write
from codeb.drivers.store.mirror import Damaged, Mirror, checksum, verified
from codeb.errors import Unavailable
from codeb.model.access import Approval, Key, Member, Role, Team
from codeb.model.names import Place, Slot
from codeb.model.ports import Lease
from codeb.model.slots import Pair, SlotRow, State
from tests.stores import PROD, STAGE, START, pair, project

TEAMS = {"acme": Team("acme", created_at=START)}
NEW = TEAMS | {"new": Team("new", created_at=START)}


def snapshot(generation: int = 1, version: str = "1", places: tuple[Place, ...] = (PROD, STAGE)) -> Snapshot:
    key = Key("key_1", "a" * 64, "acme", Role.OWNER, f"label {version}", frozenset({"b", "a"}), created_at=START)
    pairs = {place: pair(place) for place in places}
    blue = replace(pair().blue, state=State.ACTIVE, version=version, promoted_at=START)
    pairs[PROD] = Pair(blue, SlotRow(PROD, Slot.GREEN, 4101))
    lease = Lease("local", 4100, "shop", "production", "blue")
    return Snapshot(generation, {"shop": project()}, pairs, {key.sha256: key}, {}, (lease,), teams=TEAMS)


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_what_an_operator_reads(tmp_path: Path) -> None:
    mirror = Mirror(tmp_path)
    mirror.write(snapshot(7))
    assert list(files(mirror.folder)) == [
        "api-keys.json", "manifest.json", "slots/shop-production.json", "slots/shop-staging.json", "ssot.json", "teams.json",
    ]  # fmt: skip
    ssot = verified(mirror.folder / "ssot.json")
    assert ssot["generation"] == 7
    assert ssot["leases"] == [{"server": "local", "port": 4100, "project": "shop", "environment": "production", "slot": "blue"}]
    shop = ssot["projects"]["shop"]
    assert shop["team"] == "acme" and shop["containerPort"] == 3000
    assert shop["slots"]["production"]["blue"] == {"port": 4100, "state": "active", "version": "1"}
    slots = verified(mirror.folder / "slots/shop-production.json")
    assert (slots["active"], slots["blue"]["version"], slots["green"]["state"]) == ("blue", "1", "empty")
    assert slots["blue"]["promotedAt"] == START.isoformat() and slots["blue"]["container"] == "shop-production-blue"
    key = verified(mirror.folder / "api-keys.json")["keys"]["key_1"]
    assert (key["sha256"], key["role"], key["tools"], key["revokedAt"]) == ("a" * 64, "owner", ["a", "b"], None)
    assert verified(mirror.folder / "teams.json")["teams"]["acme"]["approval"] == "none"
    text = (mirror.folder / "teams.json").read_text()
    assert text == json.dumps(json.loads(text), indent=2, sort_keys=True) + "\n"


def test_modes_whatever_the_umask(tmp_path: Path) -> None:
    for mask in (0o000, 0o077):
        former = os.umask(mask)
        try:
            Mirror(tmp_path / str(mask)).write(snapshot())
            Mirror(tmp_path / str(mask)).write(snapshot(2, "2"))
        finally:
            os.umask(former)
        for path in (tmp_path / str(mask) / "registry").rglob("*.json*"):
            secret = path.name.startswith("api-keys")
            assert path.stat().st_mode & 0o777 == (0o600 if secret else 0o644), path


def test_a_key_file_that_was_opened_up_is_closed_again(tmp_path: Path) -> None:
    Mirror(tmp_path).write(snapshot())
    path = tmp_path / "registry/api-keys.json"
    path.chmod(0o644)
    Mirror(tmp_path).write(snapshot())
    assert path.stat().st_mode & 0o777 == 0o600


def test_only_what_changed_is_written_and_the_previous_copy_is_kept(tmp_path: Path) -> None:
    mirror = Mirror(tmp_path)
    mirror.write(snapshot(1, "1"))
    first = files(mirror.folder)
    mirror.write(snapshot(2, "2"))
    second = files(mirror.folder)
    for name in ("ssot.json", "api-keys.json", "slots/shop-production.json"):
        assert second[name] != first[name] and second[f"{name}.prev"] == first[name]
        assert verified(mirror.folder / f"{name}.prev")["generation"] == 1
        assert verified(mirror.folder / name)["generation"] == 2
    for name in ("teams.json", "slots/shop-staging.json"):
        assert second[name] == first[name] and f"{name}.prev" not in second
    Mirror(tmp_path).write(snapshot(3, "2"))
    third = files(mirror.folder)
    assert {name for name in third if third[name] != second[name]} == {"manifest.json", "manifest.json.prev"}


def test_slot_files_of_removed_places_go(tmp_path: Path) -> None:
    mirror = Mirror(tmp_path)
    mirror.write(snapshot(1))
    mirror.write(replace(snapshot(2), pairs={PROD: snapshot().pairs[PROD]}))
    assert [path.name for path in (mirror.folder / "slots").iterdir()] == ["shop-production.json"]
    mirror.write(snapshot(3))
    assert verified(mirror.folder / "slots/shop-staging.json")["generation"] == 3


@pytest.mark.parametrize("harm", [lambda b: b[:-9], lambda b: b.replace(b'"acme"', b'"evil"'), lambda b: b"", lambda b: b"[]"])
def test_a_damaged_file_is_set_aside_and_written_anew(tmp_path: Path, harm: Callable[[bytes], bytes]) -> None:
    Mirror(tmp_path).write(snapshot(1))
    path = tmp_path / "registry/teams.json"
    good, bad = path.read_bytes(), harm(path.read_bytes())
    path.write_bytes(bad)
    with pytest.raises(Damaged):
        verified(path)
    Mirror(tmp_path).write(snapshot(1))
    assert path.read_bytes() == good
    assert path.with_name("teams.json.damaged").read_bytes() == bad
    assert not path.with_name("teams.json.prev").exists()


def test_the_checksum_covers_generation_and_content(tmp_path: Path) -> None:
    Mirror(tmp_path).write(snapshot(1))
    document = verified(tmp_path / "registry/ssot.json")
    for field in document.keys() - {"checksum"}:
        assert checksum({**document, field: "x"}) != document["checksum"]


class Crash(BaseException):
    """The process is gone: nothing after this happens."""


CALLS = ("open", "write", "fsync", "replace", "link", "unlink", "fchmod", "close", "mkdir")


def crashing(monkeypatch: pytest.MonkeyPatch, at: int) -> list[str]:
    """From the `at`-th change of the file system on, every one raises."""
    seen: list[str] = []

    def guard(name: str) -> Callable[..., Any]:
        real = getattr(os, name)

        def act(*args: Any, **kwargs: Any) -> Any:
            seen.append(name)
            if len(seen) > at:
                raise Crash
            return real(*args, **kwargs)

        return act

    for name in CALLS:
        monkeypatch.setattr(os, name, guard(name))
    return seen


@pytest.mark.parametrize("fresh", [True, False], ids=["new installation", "change"])
def test_a_crash_at_any_point_leaves_old_or_new(tmp_path: Path, fresh: bool) -> None:
    points = 0
    while True:
        home = tmp_path / str(points)
        if not fresh:
            Mirror(home).write(snapshot(1, "0"))
            Mirror(home).write(snapshot(2, "1"))
        old = files(home) if home.exists() else {}
        with pytest.MonkeyPatch.context() as monkeypatch:
            seen = crashing(monkeypatch, points)
            try:
                Mirror(home).write(replace(snapshot(3, "2"), teams=NEW))
            except Crash:
                pass
            else:
                break
        now = files(home) if home.exists() else {}
        assert fresh or {name for name in old if name.endswith(".json")} <= now.keys()
        for name in now:
            if name.endswith((".json", ".prev")):
                found = verified(home / name)
                assert found["generation"] == 3 or now[name] in old.values()
        Mirror(home).write(snapshot(4, "3"))
        assert verified(home / "registry/ssot.json")["generation"] == 4
        assert not [name for name in files(home) if name.endswith((".tmp", ".damaged"))]
        points += 1
    assert points > 20 and {"fsync", "replace"} <= set(seen)


def test_data_is_synced_before_its_rename_and_the_folder_after(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = crashing(monkeypatch, 10_000)
    Mirror(tmp_path).write(replace(snapshot(), pairs={}, projects={}))
    order = [name for name in seen if name in ("fsync", "replace")]
    assert order == ["fsync", "replace", "fsync"] * 4


@pytest.mark.anyio
async def test_changes_are_gathered_and_flush_waits_for_the_last(tmp_path: Path) -> None:
    mirror = Mirror(tmp_path)
    for number in range(1, 50):
        mirror.dirty(snapshot(number, str(number)))
    await mirror.flush()
    assert verified(mirror.folder / "ssot.json")["projects"]["shop"]["slots"]["production"]["blue"]["version"] == "49"
    assert not (mirror.folder / "ssot.json.prev").exists()
    mirror.dirty(snapshot(50, "50"))
    await asyncio.sleep(0.3)
    assert verified(mirror.folder / "slots/shop-production.json")["generation"] == 50
    mirror.dirty(snapshot(51, "51"))
    await mirror.close()
    assert verified(mirror.folder / "slots/shop-production.json")["generation"] == 51


@pytest.mark.anyio
async def test_a_full_disk_is_said_and_made_up_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mirror = Mirror(tmp_path)
    mirror.write(snapshot(1))
    before = files(mirror.folder)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr(os, "fsync", full)
        mirror.dirty(snapshot(2, "2"))
        with pytest.raises(Unavailable):
            await mirror.flush()
        assert mirror.fault is not None and "No space" in mirror.fault
        assert {name: text for name, text in files(mirror.folder).items() if ".tmp" not in name} == before
    await mirror.flush()
    assert mirror.fault is None
    assert verified(mirror.folder / "ssot.json")["generation"] == 2
    await mirror.close()


def full_at(monkeypatch: pytest.MonkeyPatch, at: int, *, for_ever: bool) -> list[str]:
    """The `at`-th change of the file system finds the disk full, or all from it on that need space."""
    seen: list[str] = []

    def guard(name: str) -> Callable[..., Any]:
        real = getattr(os, name)

        def act(*args: Any, **kwargs: Any) -> Any:
            creates = name != "open" or bool(args[1] & (os.O_CREAT | os.O_WRONLY))
            if creates:
                seen.append(name)
                if len(seen) == at + 1 or (for_ever and len(seen) > at):
                    raise OSError(28, "No space left on device")
            return real(*args, **kwargs)

        return act

    for name in ("open", "write", "fsync", "replace", "rename", "link", "fchmod", "mkdir"):
        monkeypatch.setattr(os, name, guard(name))
    return seen


@pytest.mark.parametrize("for_ever", [True, False])
def test_a_disk_that_is_full_at_any_point_leaves_old_or_new(tmp_path: Path, for_ever: bool) -> None:
    """P11, P10: no half file is left, what belongs together stays readable, and the next write makes up for it."""
    points = 0
    while True:
        home = tmp_path / str(points)
        mirror = Mirror(home)
        mirror.write(snapshot(1, "0"))
        mirror.write(snapshot(2, "1"))
        before = mirror.read().registry
        with pytest.MonkeyPatch.context() as monkeypatch:
            seen = full_at(monkeypatch, points, for_ever=for_ever)
            with contextlib.suppress(OSError):
                mirror.write(replace(snapshot(3, "2"), teams=NEW))
            if len(seen) <= points:
                break
        assert not [name for name in files(home) if name.endswith(".json.tmp")], "a full disk holds no half file"
        read = mirror.read()
        assert read.faults == () and read.registry is not None and before is not None
        assert read.registry.pairs == before.pairs or {team.id: team for team in read.registry.teams} == NEW
        mirror.write(snapshot(4, "3"))
        assert mirror.read().registry == Mirror(home).read().registry
        assert verified(home / "registry/ssot.json")["generation"] == 4
        assert not [name for name in files(home) if name.endswith((".tmp", ".damaged"))]
        points += 1
    assert points > 15


@pytest.mark.parametrize("for_ever", [True, False])
def test_an_atomic_write_on_a_full_disk(tmp_path: Path, for_ever: bool) -> None:
    """P11: whatever call of it fails: the old file or the new one, and no temporary file."""
    points = 0
    while True:
        path = tmp_path / f"{points}.txt"
        path.write_bytes(b"old")
        with pytest.MonkeyPatch.context() as monkeypatch:
            seen = full_at(monkeypatch, points, for_ever=for_ever)
            with contextlib.suppress(OSError):
                atomic_write(path, b"new", 0o600)
            if len(seen) <= points:
                break
        assert path.read_bytes() in (b"old", b"new")
        assert not list(tmp_path.glob(".*"))
        points += 1
    assert points >= 4 and path.read_bytes() == b"new" and path.stat().st_mode & 0o777 == 0o600


def test_what_is_no_file_of_ours_is_set_aside(tmp_path: Path) -> None:
    """P10: a link, a folder, somebody else's file, an older copy put back: kept, and the file written anew."""
    mirror = Mirror(tmp_path)
    mirror.write(snapshot(1, "1"))
    path = mirror.folder / "ssot.json"
    former = path.read_bytes()
    mirror.write(snapshot(2, "2"))
    good = path.read_bytes()
    harms: list[Callable[[], object]] = [
        lambda: (path.unlink(), path.symlink_to(mirror.folder / "ssot.json.prev")),
        lambda: (path.unlink(), path.mkdir()),
        lambda: path.write_bytes(former),
        *([lambda: os.chown(path, 65534, 65534)] if os.geteuid() == 0 else []),
    ]
    for number, harm in enumerate(harms, 1):
        harm()
        Mirror(tmp_path).write(snapshot(2, "2"))
        assert path.read_bytes() == good and path.stat().st_uid == os.geteuid()
        assert len(list(mirror.folder.glob("ssot.json.damaged*"))) == number
    for obstacle in (".ssot.json.tmp", ".ssot.json.prev.tmp", "ssot.json.prev"):
        (mirror.folder / obstacle).unlink(missing_ok=True)
        (mirror.folder / obstacle).mkdir()
    Mirror(tmp_path).write(snapshot(3, "3"))
    assert verified(path)["generation"] == 3 and verified(mirror.folder / "ssot.json.prev")["generation"] == 2


def test_an_end_in_any_copy_of_the_files_counts(tmp_path: Path) -> None:
    """P10: members, teams and keys come back as narrow as any sound copy says, older or newer."""
    ana = Member("mem_1", "acme", "ana", Role.ADMIN, START, "k")
    first = replace(snapshot(1), members={"mem_1": ana, "mem_2": replace(ana, id="mem_2", name="bo")})
    key = next(iter(first.keys.values()))
    then = replace(
        first, generation=2, members={"mem_1": replace(ana, removed_at=START)},
        teams={"acme": replace(TEAMS["acme"], approval=Approval.HUMAN, deleted_at=START)},
        keys={key.sha256: replace(key, expires_at=START)},
    )  # fmt: skip
    Mirror(tmp_path).write(first)
    before = verified(tmp_path / "registry/manifest.json")
    Mirror(tmp_path).write(then)
    # the manifest of before is put back, and a slot file is gone: what it names is in the copies kept beside
    (tmp_path / "registry/manifest.json").write_text(json.dumps(before))
    (tmp_path / "registry/slots/shop-production.json").unlink()
    (tmp_path / "registry/slots/shop-staging.json").unlink()
    Mirror(tmp_path / "again").write(first)
    for name in ("shop-production.json", "shop-staging.json"):
        (tmp_path / f"registry/slots/{name}.prev").write_bytes((tmp_path / f"again/registry/slots/{name}").read_bytes())
    found = Mirror(tmp_path).read().registry
    assert found is not None and found.generation == 1
    assert found.members == (replace(ana, removed_at=START),)
    assert found.teams == tuple(then.teams.values())
    assert found.keys[0].expires_at == START


def test_teams_as_an_older_version_wrote_them(tmp_path: Path) -> None:
    Mirror(tmp_path).write(snapshot(1))
    path = tmp_path / "registry/teams.json"
    old: dict[str, Any] = {"teams": ["acme"], "generation": 1}
    path.write_text(json.dumps(old | {"checksum": checksum(old)}))
    (tmp_path / "registry/manifest.json").unlink()
    found = Mirror(tmp_path).read().registry
    assert found is not None and found.teams == (Team("acme"),) and found.members == ()
