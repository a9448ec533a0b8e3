"""The first start and bad starts: the owner's key, one server per home, settings, and parts that are not there."""

import asyncio
import hashlib
import json
import os
import re
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
import uvloop
from psycopg.rows import dict_row

from codeb import config
from codeb.drivers import shell
from codeb.errors import InvalidParams
from tests import oracle
from tests.e2e import test_spine
from tests.postgres import Server, postgres
from tests.stage import Stage

pytestmark = [pytest.mark.docker, pytest.mark.proxy]

__all__ = ["postgres"]


@pytest.fixture
def stage() -> Iterator[Stage]:
    """Not started yet."""
    made = Stage()
    yield made
    made.close()


def start(stage: Stage, **settings: str) -> subprocess.CompletedProcess[str]:
    """One more server in the foreground, which is expected to end by itself."""
    environment = stage.environment | {f"CODEB_{name}": value for name, value in settings.items()}
    return subprocess.run(
        [sys.executable, "-m", "codeb.entry.server"], env=environment, capture_output=True, text=True, timeout=30, check=False
    )


def stored_keys(home: Path) -> list[tuple[str, ...]]:
    with sqlite3.connect(f"file:{home}/codeb.db?mode=ro", uri=True) as database:
        rows = database.execute("SELECT sha256, team, role FROM api_keys").fetchall()
    database.close()
    return rows


# --- the owner's key ---------------------------------------------------------------------------------------------


def test_the_owner_key_is_made_once_and_for_its_owner_alone(stage: Stage) -> None:
    stage.start()
    path = stage.home / "owner.key"
    text = path.read_text()
    assert re.fullmatch(r"codeb_main_owner_[A-Za-z0-9_-]{32}\n", text), "192 random bits"
    assert path.stat().st_mode & 0o777 == 0o600
    assert stored_keys(stage.home) == [(hashlib.sha256(text.strip().encode()).hexdigest(), "main", "owner")]
    made = path.stat().st_mtime_ns
    assert stage.stop() == 0
    stage.start()
    assert (path.read_text(), path.stat().st_mtime_ns) == (text, made)
    assert stage.call("project_list")["total"] == 0
    assert stage.stop() == 0
    path.unlink()
    stage.start()
    assert not path.exists(), "a key that its owner put elsewhere is not replaced by a new one"
    assert len(stored_keys(stage.home)) == 1


def test_a_file_that_stands_in_the_way_of_the_first_key_widens_no_rights(stage: Stage) -> None:
    """Left by somebody else, readable by all: what the first start writes is readable by its owner alone."""
    path = stage.home / "owner.key"
    path.write_text("codeb_main_owner_planted\n")
    path.chmod(0o666)
    stage.start()
    assert path.stat().st_mode & 0o777 == 0o600
    assert stage.key != "codeb_main_owner_planted"
    assert stage.ask("project_list", {}, {"X-API-Key": "codeb_main_owner_planted"})[0] == 401
    assert stage.ask("project_list", {})[0] == 200


def test_the_owner_key_is_nowhere_but_in_its_file(stage: Stage, images: dict[str, str]) -> None:
    stage.start()
    name, key = stage.project, stage.key
    where = {"projectName": name}
    stage.call("project_create", **where, healthPath="/health")
    stage.call("deploy", **where, image=images["v1"], autoPromote=True)
    stage.call("deploy", **where, image=images["v2"], autoPromote=True)
    # where a caller may put it by mistake
    stage.call("slot_status", **where)
    for params in ({key: 1}, {"projectName": key}, {**where, "environment": key}, {**where, "apiKey": key}, {**where, key: key}):
        status, said = stage.ask("slot_status", params)
        assert status == 400
        assert key not in json.dumps(said["details"]) or key in params
    stage.ask(key, {})
    stage.call("logs", **where, grep=key)
    stage.get(f"/api?key={key}")
    stage.request("POST", f"/api/{key}", b"{}", {"X-API-Key": key, "X-Correlation-ID": key[:40]})
    stage.call("health_check")
    running = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if _there(path)]
    boxes = [stage.engine.call("GET", f"/containers/{each['Id']}/json")[1] for each in stage.containers()]
    assert len(boxes) == 2
    assert stage.stop() == 0, "with the last audit rows written"
    needles = [key.encode(), key.split("_", 3)[3][:20].encode(), json.dumps(key).encode()]
    files = [path for path in stage.home.rglob("*") if path.is_file() and path.name != "owner.key"]
    assert {"server.log", "codeb.db"} <= {path.name for path in files}
    found = [str(path) for path in files if any(needle in path.read_bytes() for needle in needles)]
    assert found == []
    for text in (*running, *boxes):
        assert not any(needle in text for needle in needles)
    environment = Path(f"/proc/{stage.proxy_pid}/environ").read_bytes()
    assert b"CODEB_" not in environment
    assert not any(needle in environment for needle in needles)


def _there(path: Path) -> bool:
    try:
        return bool(path.read_bytes())
    except OSError:
        return False


# --- one server per home, and its settings -----------------------------------------------------------------------


def test_a_second_server_on_the_same_home_is_refused(stage: Stage) -> None:
    stage.start()
    assert stage.process is not None
    second = start(stage)
    assert second.returncode == 1
    assert f"Another CodeB server (process {stage.process.pid}) runs on {stage.home}." in second.stderr
    assert "Traceback" not in second.stderr
    assert stage.get("/health")[0] == 200
    assert (stage.home / "server.pid").read_text().strip() == str(stage.process.pid)
    stage.kill()
    stage.start()
    assert stage.get("/health")[0] == 200, "the lock went with its process, however that ended"


def test_wrong_settings_are_refused_with_every_fault_named(stage: Stage) -> None:
    bad = {
        "HOME": "not/absolute", "PORT": "0", "PORTS_PRODUCTION": "4499-4100", "PORTS_STAGING": "80-90", "PORTS_PREVIEW": "5000",
        "BASE_DOMAIN": "Exa_mple.com", "TLS": "maybe", "GRACE_HOURS": "0", "IMAGE_REGISTRY": "http://x", "LOG_LEVEL": "loud",
    }  # fmt: skip
    refused = start(stage, **bad)
    assert refused.returncode == 1
    for name in bad:
        assert f"CODEB_{name}: " in refused.stderr, name
    assert "Traceback" not in refused.stderr
    assert len(refused.stderr.strip().splitlines()) == 1
    assert not (stage.home / "codeb.db").exists()


@pytest.mark.parametrize("base", [
    "com", "", ".", "a..b", "a.b.", "-a.com", "a.com:80", "*.a.com", "192.0.2.4", "ex ample.com", "a.com\n", "ｅxample.com",
    "a.local", "{env.X}", "a.com; import x", "Example.com", "a." * 130 + "com",
])  # fmt: skip
def test_a_base_domain_that_is_none_is_refused(base: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CODEB_HOME", str(tmp_path))
    monkeypatch.setenv("CODEB_BASE_DOMAIN", base)
    with pytest.raises(InvalidParams, match="CODEB_BASE_DOMAIN: "):
        config.load()


def test_the_file_of_settings_is_held_to_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("CODEB_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("CODEB_HOME", str(tmp_path))
    file = tmp_path / "codeb.toml"
    file.write_text('prot = 80\nport = "x"\nports_preview = "9-1"\nshell = "sh"\n')
    with pytest.raises(InvalidParams) as refused:
        config.load()
    for words in ("prot, shell", "CODEB_PORT: ", "CODEB_PORTS_PREVIEW: "):
        assert words in refused.value.message
    for text in (b"port = ", b"\xff\xfe", b"[port]\nx = 1\n"):
        file.write_bytes(text)
        with pytest.raises(InvalidParams):
            config.load()
    file.write_text('port = 9000\ngrace_hours = 1\ndatabase_url = "postgresql://u:hidden-4711@h/d"\n')
    monkeypatch.setenv("CODEB_PORT", "9001")
    said = {row["variable"]: (row["value"], row["from"]) for row in config.explained(config.load())}
    assert said["CODEB_PORT"] == ("9001", "environment")
    assert said["CODEB_GRACE_HOURS"] == ("1.0", "codeb.toml")
    assert said["CODEB_BASE_DOMAIN"] == ("localhost", "default")
    assert said["CODEB_TLS"] == ("internal", "default")
    assert "hidden-4711" not in repr(said)


@pytest.mark.parametrize("url", ["nonsense", "mysql://u:hidden-4711@127.0.0.1/d", "postgresql://u:hidden-4711@127.0.0.1:1/d"])
def test_a_store_that_cannot_be_opened_is_said_in_words(stage: Stage, url: str) -> None:
    refused = start(stage, DATABASE_URL=url)
    assert refused.returncode == 1, refused.stderr
    assert "Traceback" not in refused.stderr
    assert "hidden-4711" not in refused.stderr


# --- parts that are not there ------------------------------------------------------------------------------------


def checks(stage: Stage) -> dict[str, dict[str, Any]]:
    said = stage.call("health_check")
    assert said["status"] == "fail"
    return {each["name"]: each for each in said["checks"]}


def test_docker_is_down(stage: Stage, images: dict[str, str]) -> None:
    stage.start()
    name = stage.project
    stage.call("project_create", projectName=name)
    assert stage.stop() == 0
    stage.settings["DOCKER_HOST"] = f"unix://{stage.home}/none.sock"
    stage.start()
    found = checks(stage)
    assert (found["docker"]["status"], found["proxy"]["status"], found["store"]["status"]) == ("fail", "pass", "pass")
    assert found["docker"]["fix"]
    began = time.monotonic()
    status, said = stage.ask("deploy", {"projectName": name, "image": images["v1"]})
    assert (status, said["code"]) == (503, "docker_unavailable")
    assert time.monotonic() - began < 5
    assert said["hint"]
    status, said = stage.ask("slot_status", {"projectName": name})
    assert status == 200
    assert said["blue"]["state"] == "empty"
    assert "Traceback" not in stage.log
    assert stage.stop() == 0
    del stage.settings["DOCKER_HOST"]
    stage.start()
    assert stage.call("deploy", projectName=name, image=images["v1"])["slot"] == "blue", "nothing was left behind"


@pytest.mark.parametrize("binary", ["/bin/false", "/nowhere/caddy"])
def test_the_proxy_cannot_be_started(stage: Stage, images: dict[str, str], binary: str) -> None:
    caddy = {"CADDY_BIN": binary}
    stage.settings |= caddy
    stage.start()
    found = checks(stage)
    assert (found["proxy"]["status"], found["docker"]["status"], found["store"]["status"]) == ("fail", "pass", "pass")
    assert found["proxy"]["fix"]
    stage.call("project_create", projectName=stage.project, healthPath="/health")
    began = time.monotonic()
    status, said = stage.ask("deploy", {"projectName": stage.project, "image": images["v1"]})
    assert (status, said["details"]["step"]) == (503, "preview")
    assert "undoFaults" not in said["details"]
    assert time.monotonic() - began < 20
    assert stage.containers() == [], "what the deploy had made is undone"
    assert "Traceback" not in stage.log
    assert stage.stop() == 0
    del stage.settings["CADDY_BIN"]
    stage.start()
    assert stage.call("deploy", projectName=stage.project, image=images["v1"])["slot"] == "blue"


def test_a_program_that_ends_at_once_is_only_an_exit_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the server's own loop, where one that is gone before anything is written to it once kept CodeB from starting."""
    begin = asyncio.create_subprocess_exec

    async def busy(*arguments: str, **how: Any) -> Any:
        child = await begin(*arguments, **how)
        await asyncio.sleep(0.3)
        return child

    monkeypatch.setattr(asyncio, "create_subprocess_exec", busy)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(shell.run(["/bin/false"], home=tmp_path, seconds=20)).code == 1


# --- PostgreSQL as the store -------------------------------------------------------------------------------------


@pytest.fixture
def on_postgres(postgres: Server) -> Iterator[tuple[Stage, str]]:
    url = postgres.url()
    with Stage(DATABASE_URL=url) as stage:
        yield stage, url


@pytest.mark.postgres
def test_the_life_of_a_project_on_postgres(
    on_postgres: tuple[Stage, str], images: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    stage, url = on_postgres

    def rows(stage: Stage, query: str) -> list[dict[str, Any]]:
        with psycopg.connect(url, row_factory=dict_row) as connection:
            return connection.execute(query.encode()).fetchall()

    monkeypatch.setattr(oracle, "rows", rows)
    test_spine.test_the_life_of_a_project(stage, images)
    assert not (stage.home / "codeb.db").exists()
    with psycopg.connect(url) as connection:
        found = connection.execute("SELECT tool FROM operations ORDER BY id").fetchall()
    assert [tool for (tool,) in found] == [
        "deploy", "promote", "deploy", "promote", "rollback", "promote", "slot_cleanup", "project_delete", "project_delete",
    ]  # fmt: skip


@pytest.mark.postgres
def test_what_postgres_cannot_hold_is_refused_or_escaped(on_postgres: tuple[Stage, str]) -> None:
    """NUL and half characters in every field that takes words: no 5xx, and the audit goes on."""
    stage, url = on_postgres
    name = stage.project
    stage.call("project_create", projectName=name)
    calls = 1
    for text in (
        "a\0b",
        "\0",
        "\ud800",
        "a\udfff",
        "\x01\x1f",
        "\ufffe",
        "\U0001f4a5",
        "'; DROP TABLE audit_logs; --",
        "\\u0000",
        "x" * 60,
    ):
        for tool, field in (("slot_list", "after"), ("project_delete", "confirm"), ("rollback", "reason"), ("logs", "grep")):
            params: dict[str, Any] = {field: text} | ({} if tool == "slot_list" else {"projectName": name})
            status, said = stage.ask(tool, params)
            assert status in (200, 400, 409), said
            calls += 1
        for unknown in ({text: 1}, {"projectName": name, text: text}):
            assert stage.ask("slot_status", unknown)[0] == 400
            calls += 1
        assert stage.ask(text, {})[0] == 404
        calls += 1
    assert stage.stop() == 0
    with psycopg.connect(url) as connection:
        row = connection.execute("SELECT count(*) FROM audit_logs").fetchone()
    assert row == (calls,)
    assert "Traceback" not in stage.log
