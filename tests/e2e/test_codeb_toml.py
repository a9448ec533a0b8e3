"""A source tree, from nothing to a project and on: `we init`, `we plan`, `we apply` on a real server, PostgreSQL, Redis."""

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest

from codeb.entry.cli import exits
from tests.e2e.nursery import QuickStage
from tests.postgres import Server, postgres
from tests.redis import RedisServer, redis
from tests.stage import Stage

__all__ = ["postgres", "redis"]

pytestmark = [pytest.mark.docker, pytest.mark.proxy, pytest.mark.postgres, pytest.mark.redis]


@dataclass
class Desk:
    """A developer's machine: a tree, a home without settings, and the command."""

    stage: Stage
    tree: Path
    home: Path

    def we(self, *words: str) -> subprocess.CompletedProcess[str]:
        mine = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
        where = {"CODEB_API_URL": f"http://127.0.0.1:{self.stage.api_port}", "CODEB_API_KEY": self.stage.key}
        return subprocess.run(
            [sys.executable, "-m", "codeb.entry.cli.main", *words], cwd=self.tree, stdin=subprocess.DEVNULL,
            env={**mine, **where, "HOME": str(self.home)}, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip

    def ends(self, code: int, *words: str) -> str:
        said = self.we(*words)
        assert said.returncode == code, f"{words}: {said.returncode}\n{said.stdout}\n{said.stderr}"
        return said.stdout + said.stderr

    def edit(self, old: str, new: str) -> None:
        file = self.tree / "codeb.toml"
        text = file.read_text()
        assert old in text
        file.write_text(text.replace(old, new))

    def parts(self) -> set[tuple[str, str]]:
        rows = self.stage.call("db_list", projectName=self.stage.project)["storage"]
        assert all(row["state"] == "ready" and row["onServer"] for row in rows)
        return {(row["kind"], row["environment"]) for row in rows}

    def project(self) -> dict[str, Any]:
        return dict(self.stage.call("project_get", projectName=self.stage.project)["project"])


@pytest.fixture
def desk(postgres: Server, redis: RedisServer, tmp_path: Path) -> Iterator[Desk]:
    settings = {"STORAGE_DATABASE_URL": postgres.address("postgres"), "STORAGE_REDIS_URL": redis.url.reveal()}
    with QuickStage(**settings) as running:
        made = Desk(running, tmp_path / "tree", tmp_path / "person")
        made.tree.mkdir()
        made.home.mkdir()
        (made.tree / "Dockerfile").write_text("FROM scratch\nEXPOSE 3001\n")
        (made.tree / "package.json").write_text('{"name": "x", "scripts": {"start": "node server.js"}}')
        (made.tree / "server.js").write_text("app.get('/healthz', ok)\n")
        yield made
        # the servers are shared with the tests that come after
        for purge in (False, True):
            running.ask("project_delete", {"projectName": running.project, "confirm": running.project, "purge": purge})
        with psycopg.connect(postgres.address("postgres")) as admin:
            mine = running.project.replace("-", "_") + "%"
            assert admin.execute("SELECT datname FROM pg_database WHERE datname LIKE %s", [mine]).fetchall() == []


def test_a_tree_is_set_up_compared_and_made_so(desk: Desk, postgres: Server) -> None:
    name = desk.stage.project
    seen = desk.ends(exits.OK, "workflow", "scan")
    assert all(line in seen for line in ("port         3001 (Dockerfile line 2: EXPOSE 3001)", "next: we init  (set it up)")), (
        seen
    )

    desk.ends(exits.OK, "init", name, "--database", "--domain", f"{name}.localhost")
    project = desk.project()
    assert (project["type"], project["containerPort"], project["healthPath"]) == ("nodejs", 3001, "/healthz")
    assert desk.parts() == {("postgres", "production")}
    assert desk.stage.public(f"{name}.localhost")[0] == 503, "the proxy has its site, which says that nothing is live yet"
    assert "is as codeb.toml says" in desk.ends(exits.OK, "plan")
    desk.ends(exits.OK, "init")
    assert desk.project() == project

    # edited: more of everything
    desk.edit('environments = ["production"]', 'memory_mb = 256\nwatch_seconds = 90\nenvironments = ["production", "staging"]')
    desk.edit("[database]", "[redis]\n\n[database]")
    shown = desk.ends(exits.DIFFERS, "plan")
    wanted = ("~ memory_mb: 512 -> 256", "+ environment staging", "+ database of staging", "+ redis of production")
    assert all(line in shown for line in wanted), shown
    assert "say --yes" in desk.ends(exits.USAGE, "apply")
    assert desk.project() == project, "nothing was done yet"
    desk.ends(exits.OK, "apply", "--yes")
    project = desk.project()
    assert (project["memoryMb"], project["watchSeconds"]) == (256, 90)
    assert [each["environment"] for each in project["environments"]] == ["production", "staging"]
    assert desk.parts() == {(kind, each) for kind in ("postgres", "redis") for each in ("production", "staging")}
    desk.ends(exits.OK, "plan")
    assert "+" not in desk.ends(exits.OK, "apply", "--yes"), "and nothing is left to apply"

    # edited: less, of which nothing is done
    desk.edit("[redis]\n", "[redis]\nenvironments = []\n")
    told = desk.ends(exits.DIFFERS, "apply", "--yes")
    assert f"we redis delete -p {name} -e production" in told
    assert len(desk.parts()) == 4
    with psycopg.connect(postgres.address("postgres")) as admin:
        mine = name.replace("-", "_") + "%"
        held = admin.execute("SELECT count(*) FROM pg_database WHERE datname LIKE %s", [mine]).fetchone()
    assert held == (2,)
