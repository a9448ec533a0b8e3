"""P10 on real parts: state files are harmed while the server is dead, and it is started on them as they are."""

import contextlib
import hashlib
import os
import shutil
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from codeb.drivers.store.mirror import verified
from tests import oracle
from tests.e2e.nursery import QuickStage
from tests.postgres import Server, postgres
from tests.stage import Stage

pytestmark = [pytest.mark.docker, pytest.mark.proxy]
__all__ = ["postgres"]

LEAVER = "codeb_main_admin_" + "l" * 32


def add_revoked_key(home: Path) -> None:
    """As an administrator's key that was made and taken back; there is no tool for it yet. Only while no server runs."""
    digest = hashlib.sha256(LEAVER.encode()).hexdigest()
    with contextlib.closing(sqlite3.connect(home / "codeb.db")) as database:
        database.execute(
            "INSERT INTO api_keys (id, sha256, team, role, label, tools, projects, environments, created_at, revoked_at) VALUES "
            "('key_leaver', ?, 'main', 'admin', '', '[]', '[]', '[]', '2026-01-01 00:00:00.000000', NULL)", [digest],
        )  # fmt: skip
        database.execute("UPDATE meta SET generation = generation + 1")
        database.commit()


def revoke(home: Path) -> None:
    with contextlib.closing(sqlite3.connect(home / "codeb.db")) as database:
        database.execute("UPDATE api_keys SET revoked_at = '2026-02-01 00:00:00.000000' WHERE id = 'key_leaver'")
        database.execute("UPDATE meta SET generation = generation + 1")
        database.commit()


def zero(path: Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


def store_files(home: Path) -> list[Path]:
    return [path for path in (home / "codeb.db", home / "codeb.db-wal", home / "codeb.db-shm") if path.exists()]


def swapped(home: Path, old: Path) -> None:
    for path in store_files(home):
        path.unlink()
    for path in store_files(old):
        shutil.copy(path, home / path.name)


def gone(home: Path, _: Path) -> None:
    for path in store_files(home):
        path.unlink()


def zeroed(home: Path, _: Path) -> None:
    zero(home / "codeb.db")


def log_torn(home: Path, _: Path) -> None:
    os.truncate(home / "codeb.db-wal", (home / "codeb.db-wal").stat().st_size // 3)


def small_files(home: Path, _: Path) -> None:
    zero(home / "instance")
    zero(home / "caddy" / "probe.key")
    (home / "registry" / "ssot.json").write_bytes(b"\0\0\0")
    os.truncate(home / "registry" / "api-keys.json", 40)
    (home / "registry" / "teams.json").unlink()
    (home / "registry" / "teams.json").mkdir()
    (home / "server.pid").write_bytes(b"\xff\0garbage")


def wrong_kind(home: Path, _: Path) -> None:
    moved = home.parent / f"{home.name}-elsewhere.db"
    shutil.copy(home / "codeb.db", moved)
    (home / "codeb.db").unlink()
    (home / "codeb.db").symlink_to(moved)
    if os.geteuid() == 0:
        os.chown(home / "registry" / "manifest.json.prev", 65534, 65534)


REBUILT: list[Callable[[Path, Path], None]] = [swapped, gone, zeroed, log_torn, wrong_kind]


def facts(stage: Stage) -> dict[str, Any]:
    tables = ("api_keys", "projects", "project_slots", "port_leases", "teams")
    found: dict[str, Any] = {name: sorted(map(str, oracle.rows(stage, f"SELECT * FROM {name}"))) for name in tables}
    found["teams"] = sorted(row["id"] for row in oracle.rows(stage, "SELECT id FROM teams"))
    return {**found, "containers": sorted(one["Id"] for one in stage.containers())}


@pytest.fixture
def lived(stage: Stage, images: dict[str, str], tmp_path: Path) -> Path:
    """Two versions were promoted and a key was revoked; the copy is of before that. The server was killed."""
    name = stage.project
    stage.call("project_create", projectName=name, healthPath="/health")
    stage.call("deploy", projectName=name, image=images["v1"], autoPromote=True)
    assert stage.stop() == 0
    add_revoked_key(stage.home)
    stage.start()
    assert stage.ask("project_list", {}, {"X-API-Key": LEAVER})[0] == 200
    assert stage.stop() == 0
    old = tmp_path / "old"
    old.mkdir()
    for path in store_files(stage.home):
        shutil.copy(path, old / path.name)
    revoke(stage.home)
    stage.start()
    stage.call("deploy", projectName=name, image=images["v2"], autoPromote=True)
    wait_for_mirror(stage)
    stage.kill()
    return old


def wait_for_mirror(stage: Stage) -> None:
    end = time.monotonic() + 20
    while oracle.rows(stage, "SELECT generation FROM meta")[0]["generation"] != generation(stage):
        assert time.monotonic() < end
        time.sleep(0.05)


def generation(stage: Stage) -> int:
    return int(verified(stage.home / "registry" / "manifest.json")["generation"])


@pytest.mark.parametrize("harm", [*REBUILT, small_files], ids=lambda harm: harm.__name__)
def test_the_server_starts_with_all_it_had(stage: Stage, lived: Path, harm: Callable[[Path, Path], None]) -> None:
    """P10: no new installation, no wider rights, what was harmed is kept, people are told, and the work goes on."""
    name, key, instance = stage.project, stage.key, stage.instance
    before = facts(stage)
    harm(stage.home, lived)
    assert stage.public(f"{name}.localhost")[0] == 200, "production does not need the registry"
    stage.start()
    assert stage.public(f"{name}.localhost")[0] == 200
    assert stage.instance == instance and stage.key == key
    assert facts(stage) == before
    assert stage.ask("project_list", {}, {"X-API-Key": LEAVER})[0] == 401, "revoked stays revoked"
    told = [each["text"] for each in stage.call("event_list")["events"] if each["kind"] == "registry_rescued"]
    assert len(told) == 1 and "registry" in told[0]
    assert list(stage.home.rglob("*.damaged*")) or harm is gone
    assert ("rebuilt" in told[0]) == (harm is not small_files), told
    assert "Traceback" not in stage.log
    assert stage.call("rollback", projectName=name)["success"]
    assert stage.call("promote", projectName=name)["success"]
    assert oracle.judge(stage, name) == []
    stage.kill()
    stage.start()
    again = [each for each in stage.call("event_list")["events"] if each["kind"] == "registry_rescued"]
    assert len(again) == 1, "the second start is clean"


def test_a_start_that_cannot_know_is_refused_in_words(stage: Stage, lived: Path) -> None:
    """P10: with the store and its files gone there is no new installation; production runs on, and a restored copy starts."""
    name, key = stage.project, stage.key
    kept = stage.home.parent / f"{stage.home.name}-kept"
    shutil.copytree(stage.home / "registry", kept)
    before = facts(stage)
    try:
        gone(stage.home, lived)
        zero(stage.home / "registry" / "ssot.json")
        stage.start(wait=False)
        assert not stage.until_up()
        assert stage.process is not None and stage.process.returncode == 1
        said = stage.log.splitlines()[-1]
        assert "The registry is lost" in said and "ssot.json" in stage.log and "Restore a backup" in said
        assert "Traceback" not in stage.log
        assert not (stage.home / "codeb.db").exists() and stage.key == key
        assert stage.public(f"{name}.localhost")[0] == 200
        shutil.copy(kept / "ssot.json", stage.home / "registry" / "ssot.json")
        stage.start()
        assert facts(stage) == before
        assert stage.call("rollback", projectName=name)["success"]
    finally:
        shutil.rmtree(kept)


@pytest.mark.postgres
def test_a_local_copy_that_was_harmed_still_stands_in(postgres: Server) -> None:
    """P10, P9: with the database away the copy comes back from the mirror files; with it there it is made anew from it."""
    url = postgres.url()
    stage = QuickStage(DATABASE_URL=url)
    stage.database = url
    with stage:
        name, key = stage.project, stage.key
        stage.call("project_create", projectName=name)
        wait_for_mirror(stage)
        stage.kill()
        zero(stage.home / "local.db")
        stage.settings["DATABASE_URL"] = "postgresql://u:p@127.0.0.1:1/d"
        stage.start()
        assert name in str(stage.call("project_list")["projects"])
        assert stage.key == key and list(stage.home.glob("local.db.damaged-*"))
        status, body = stage.ask("project_create", {"projectName": f"{name}-b"})
        assert (status, body["code"]) == (503, "degraded")
        stage.kill()
        stage.settings["DATABASE_URL"] = url
        for harm in (False, True):
            if harm:
                zero(stage.home / "local.db")
            stage.start()
            stage.call("project_create", projectName=f"{name}-{int(harm)}")
            wait_for_mirror(stage)
            stage.kill()
        assert [row["name"] for row in oracle.rows(stage, "SELECT name FROM projects ORDER BY name")] == [
            name, f"{name}-0", f"{name}-1",
        ]  # fmt: skip
        assert len(oracle.rows(stage, "SELECT id FROM api_keys")) == 1
        assert "Traceback" not in stage.log
