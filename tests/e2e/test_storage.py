"""On real parts: a server gives out a database and a part of a Redis, and dies at every step of it (P2, S11)."""

import json
import os
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
from redis.exceptions import AuthenticationError

from codeb.drivers.vault.aesgcm import AesGcmVault
from codeb.drivers.vault.keyfile import KeyFile
from codeb.model.names import Place
from codeb.model.sealed import about_storage
from codeb.model.secret import Secret
from codeb.model.storage import Kind, Stage, Storage, generated_env
from redis import Redis
from tests import oracle
from tests.e2e.cells import BY_NAME
from tests.e2e.nursery import QuickStage
from tests.e2e.test_crash_matrix import STORAGE
from tests.postgres import Server, postgres
from tests.redis import RedisServer, redis
from tests.stage import Stage as Running

__all__ = ["postgres", "redis"]

pytestmark = [pytest.mark.docker, pytest.mark.proxy, pytest.mark.postgres, pytest.mark.redis]

ADMIN_WORD = "canary-admin-4711"


@dataclass
class Site:
    running: Running
    postgres: Server
    redis: RedisServer

    @property
    def where(self) -> dict[str, Any]:
        return {"projectName": self.running.project, "environment": "production"}

    def call(self, tool: str, **params: Any) -> Any:
        confirm = {"confirm": self.running.project} if tool.endswith("_delete") else {}
        return self.running.call(tool, **self.where, **confirm, **params)

    def rows(self) -> list[tuple[Storage, dict[int, str]]]:
        """What the registry has, with its passwords: read past the server."""
        vault = AesGcmVault(KeyFile(self.running.home, None))
        assert vault.read()
        with sqlite3.connect(f"file:{self.running.home}/codeb.db?mode=ro", uri=True) as source:
            source.row_factory = sqlite3.Row
            held = [dict(row) for row in source.execute("SELECT * FROM project_storage ORDER BY kind")]
            words = [tuple(row) for row in source.execute("SELECT * FROM storage_passwords")]
        found = []
        for row in held:
            place = Place(row.pop("project"), row.pop("environment"))
            storage = Storage(**{**row, "place": place, "kind": Kind(row["kind"]), "state": Stage(row["state"])})
            mine = [(number, text) for key, number, text in words if key == storage.id]
            opened = {number: vault.open(text, about_storage(storage.id, number)).reveal() for number, text in mine}
            found.append((storage, opened))
        return found

    def env(self) -> dict[str, str]:
        held = [(storage, Secret(words[storage.generation])) for storage, words in self.rows()]
        return {name: value.reveal() for name, value in generated_env(held).items()}

    def on_servers(self) -> dict[str, list[str]]:
        """What each server's own tools say there is of us."""
        with psycopg.connect(self.postgres.address("postgres")) as connection:
            roles = connection.execute("SELECT rolname FROM pg_roles WHERE rolname LIKE 'codebtest%' ORDER BY 1").fetchall()
            bases = connection.execute("SELECT datname FROM pg_database WHERE datname LIKE 'codebtest%' ORDER BY 1").fetchall()
        admin = self.redis.client()
        users = [each for each in admin.acl_users() if each.startswith("codebtest")]
        return {
            "roles": [row[0] for row in roles],
            "databases": [row[0] for row in bases],
            "users": users,
            "keys": admin.keys("*"),
        }

    def faults(self) -> list[str]:
        """Where registry and servers differ."""
        found, there = [], self.on_servers()
        wanted: dict[str, list[str]] = {"roles": [], "databases": [], "users": []}
        for storage, words in self.rows():
            if storage.state is not Stage.READY:
                found.append(f"{storage.name} is still {storage.state}")
            if storage.kind is Kind.POSTGRES:
                wanted["roles"] += [storage.name, *(f"{storage.name}_{number}" for number in sorted(words))]
                wanted["databases"].append(storage.name)
            else:
                wanted["users"].append(storage.name)
            shut = [number for number in words if not self.enters(storage, number, words)]
            found += [f"{storage.name} does not let password {number} in" for number in shut]
        return found + [f"{what}: {there[what]}, not {names}" for what, names in wanted.items() if there[what] != names]

    def enters(self, storage: Storage, number: int, words: dict[int, str]) -> bool:
        try:
            if storage.kind is Kind.POSTGRES:
                psycopg.connect(
                    host="127.0.0.1", port=self.postgres.port, user=f"{storage.name}_{number}", password=words[number],
                    dbname=storage.name,
                ).close()  # fmt: skip
            else:
                self.redis.client(storage.name, words[number]).ping()
        except (psycopg.OperationalError, AuthenticationError):
            return False
        return True

    def killed(self, at: str, tool: str, **params: Any) -> None:
        """The call, in which the server kills itself at this point; and the next start, until nothing is open."""
        self.running.kill()
        self._start(at)
        with pytest.raises(OSError):
            self.call(tool, **params)
        assert self.running.until_dead() == -9
        self._start(None)
        oracle.settle(self.running)

    def _start(self, crash_at: str | None) -> None:
        self.running.start(crash_at=crash_at, wait=False)
        assert self.running.until_up(120)


@pytest.fixture
def site(postgres: Server, redis: RedisServer) -> Iterator[Site]:
    with psycopg.connect(postgres.address("postgres"), autocommit=True) as admin:
        admin.execute(f"ALTER ROLE postgres PASSWORD '{ADMIN_WORD}'".encode())
    settings = {
        "STORAGE_DATABASE_URL": f"postgresql://postgres:{ADMIN_WORD}@127.0.0.1:{postgres.port}/postgres",
        "STORAGE_REDIS_URL": redis.url.reveal(),
    }
    with QuickStage(**settings) as running:
        made = Site(running, postgres, redis)
        running.call("project_create", projectName=running.project)
        yield made


def test_an_app_uses_what_it_is_told_across_a_rotation_and_the_end_leaves_a_dump(site: Site) -> None:
    for family in ("db", "redis"):
        said = site.call(f"{family}_create")
        assert said["created"]
        assert "container" in said["warnings"][0]
        assert not site.call(f"{family}_create")["created"]
    env = site.env()
    with psycopg.connect(env["DATABASE_URL"], autocommit=True) as app:
        app.execute("CREATE TABLE orders (id int)")
        app.execute("INSERT INTO orders SELECT generate_series(1, 1000)")
        cache: Any = Redis.from_url(env["REDIS_URL"], protocol=2)
        assert cache.set(f"{env['REDIS_PREFIX']}a", "1")

        site.call("db_rotate")
        site.call("redis_rotate")
        new = site.env()
        assert (new["DATABASE_URL"] != env["DATABASE_URL"], new["REDIS_URL"] != env["REDIS_URL"]) == (True, True)
        with psycopg.connect(new["DATABASE_URL"], autocommit=True) as later:
            later.execute("ALTER TABLE orders ADD COLUMN at timestamptz")
        assert app.execute("SELECT count(*) FROM orders").fetchone() == (1000,)
    # no slot holds anything, so the timer ends the former passwords
    end = time.monotonic() + 60
    while any(each["formerPassword"] for each in site.running.call("db_list")["storage"]):
        assert time.monotonic() < end
        time.sleep(1)
    assert site.faults() == []
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(env["DATABASE_URL"])

    health = {each["name"]: each["status"] for each in site.running.call("health_check")["checks"]}
    assert (health["storage"] in ("pass", "warn"), health["redis"]) == (True, "pass")
    dumps = [Path(site.call(f"{family}_delete")["backup"]) for family in ("db", "redis")]
    assert [(each.exists(), each.stat().st_mode & 0o777) for each in dumps] == [(True, 0o600)] * 2
    assert b"orders" in dumps[0].read_bytes()
    assert site.on_servers() == {"roles": [], "databases": [], "users": [], "keys": []}
    assert site.faults() == []


FULL = os.environ.get("CODEB_TEST_SIZE") == "full"
STEPS = [(saga, step.name) for saga in sorted(STORAGE) for step in BY_NAME[saga].steps]
TRIED = list(enumerate(STEPS)) if FULL else list(enumerate(STEPS))[::3]
"""in memory all of them are, in every size: `flows/test_crash_everywhere.py`"""


@pytest.mark.timeout(1200)
def test_a_death_at_every_step_leaves_servers_and_registry_agreeing(site: Site) -> None:
    """After the effect and before its record, where a step can be lost or done twice."""
    secrets = {ADMIN_WORD, "admin-word"}
    for number, (saga, step) in TRIED:
        # what both have in common is tried on one of them, in turn
        family = {"db_create": "db", "redis_create": "redis"}.get(saga, ("db", "redis")[number % 2])
        if saga not in ("db_create", "redis_create"):
            site.call(f"{family}_create")
        if saga == "storage_end":
            site.call(f"{family}_rotate")
        secrets |= {word for _, words in site.rows() for word in words.values()}
        tool = {"storage_rotate": "rotate", "storage_end": "rotate", "storage_delete": "delete"}.get(saga, "create")
        more = {"endFormer": True} if saga == "storage_end" else {}
        site.killed(f"{saga}.{step}.do.effect", f"{family}_{tool}", **more)
        assert site.faults() == [], (saga, step, family)
        secrets |= {word for _, words in site.rows() for word in words.values()}
        if site.rows():
            site.call(f"{family}_delete")
        assert site.on_servers() == {"roles": [], "databases": [], "users": [], "keys": []}, (saga, step, family)
    assert len(secrets) > 5
    site.running.kill()
    home, files = site.running.home, (site.running.home / "env", site.running.home / "env-backup")
    said = {
        path: path.read_bytes() for path in home.rglob("*")
        if path.is_file() and not any(path.is_relative_to(each) for each in files)
    }  # fmt: skip
    variables = [path for each in files for path in each.rglob("*") if path.is_file()]
    assert {path.stat().st_mode & 0o077 for path in variables} == {0}, "they hold what an app is told, for the owner alone"
    said[Path("postgres")] = (site.postgres.folder / "log").read_bytes()
    said[Path("redis")] = (site.redis.folder / "log").read_bytes()
    found = [(str(path), word) for path, text in said.items() for word in secrets if word.encode() in text]
    assert json.dumps(found) == "[]"
