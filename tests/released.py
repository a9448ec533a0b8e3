"""The release before this one: its source out of the history, its server on a home, and the state it leaves behind.

    python -m tests.released --write

makes `tests/fixtures/released-0001/` anew: what that release leaves in each kind of database, in the middle of a promote.
Made once; the migration tests read it and need no history.
"""

import atexit
import contextlib
import functools
import io
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psycopg
from demo.images import Builder
from psycopg.rows import dict_row

from tests.postgres import _programs, postgres_server
from tests.stage import Stage

COMMIT = "ccc8d44450e1b3668a6f2852737b84bf067c6bb5"
SCHEMA = "0001"
FIXTURES = Path(__file__).with_name("fixtures") / f"released-{SCHEMA}"
ROOT = Path(__file__).parent.parent
IMAGE = "codebtest-app"
ONCE = {"Idempotency-Key": "released-once"}
MIDST = "promote.switch.do.effect"
"""the point at which the fixture's operation died: the switch had landed, and nobody had written so"""


@functools.cache
def source() -> Path:
    """The released `src`, unpacked. Raises `RuntimeError` where the history does not reach back to it."""
    packed = subprocess.run(["git", "archive", "--format=tar", COMMIT, "src"], cwd=ROOT, capture_output=True, check=False)
    if packed.returncode:
        raise RuntimeError(
            f"The release before this one (commit {COMMIT[:7]}) is not in this clone: the exchange of one version for the next "
            f"cannot be shown. Clone with its history (git fetch --unshallow). git says: {packed.stderr.decode().strip()}"
        )
    folder = Path(tempfile.mkdtemp(prefix="codebtest-released-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    with tarfile.open(fileobj=io.BytesIO(packed.stdout)) as archive:
        archive.extractall(folder)
    return folder / "src"


class ReleasedStage(Stage):
    """A stage whose server is the former release until `exchange` is called."""

    def __init__(self, **settings: str) -> None:
        super().__init__(**settings)
        self.released: Path | None = source()

    @property
    def environment(self) -> dict[str, str]:
        return super().environment | ({"PYTHONPATH": str(self.released)} if self.released else {})

    def new(self) -> None:
        """From the next start on it is this version."""
        self.released = None

    def old(self) -> None:
        self.released = source()


def rows(stage: Stage, query: str) -> list[dict[str, Any]]:
    """What the database itself has, SQLite or PostgreSQL."""
    if url := stage.settings.get("DATABASE_URL"):
        with psycopg.connect(url, row_factory=dict_row) as database:
            return [_as_sqlite_says(row) for row in database.execute(query.encode()).fetchall()]
    with contextlib.closing(sqlite3.connect(f"file:{stage.home}/codeb.db?mode=ro", uri=True, timeout=10)) as database:
        database.row_factory = sqlite3.Row
        return [dict(row) for row in database.execute(query)]


def _as_sqlite_says(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: json.dumps(value) if isinstance(value, dict | list) else value for name, value in row.items()}


def state(stage: Stage) -> dict[str, Any]:
    """Two projects with slots in several states, and an answer that belongs to an idempotency key; gives that answer.

    `{project}-a`: version 2 live, 1 in grace; staging deployed only. `{project}-b`: 1 live, 2 deployed.
    """
    names = [f"{stage.project}-{each}" for each in "ab"]
    for name in names:
        stage.call("project_create", projectName=name, environments=["production", "staging"], healthPath="/health", memoryMb=128)
        stage.call("deploy", projectName=name, environment="production", image=f"{IMAGE}:v1", autoPromote=True)
    stage.call("deploy", projectName=names[0], environment="production", image=f"{IMAGE}:v2", autoPromote=True)
    stage.call("deploy", projectName=names[0], environment="staging", image=f"{IMAGE}:v1")
    status, answer = stage.ask("deploy", once(stage), ONCE)
    assert status == 200, answer
    return answer


def once(stage: Stage) -> dict[str, str]:
    return {"projectName": f"{stage.project}-b", "environment": "production", "image": f"{IMAGE}:v2"}


def die(stage: Stage, point: str, tool: str, params: Mapping[str, Any]) -> None:
    """The server kills itself at this journal point of this call."""
    stage.kill()
    stage.start(crash_at=point)
    with contextlib.suppress(OSError):
        answer = stage.ask(tool, params)
        raise AssertionError(f"{point} was never reached: {answer}")
    assert stage.until_dead(30) == -9, stage.log[-2000:]


# the fixture


def write() -> None:
    FIXTURES.mkdir(parents=True, exist_ok=True)
    for version in ("v1", "v2"):
        Builder().app(f"{IMAGE}:{version}", version)
    with ReleasedStage() as stage:
        _lived(stage)
        with contextlib.closing(sqlite3.connect(stage.home / "codeb.db")) as database:
            (FIXTURES / "sqlite.sql").write_text(_plain("\n".join(database.iterdump()) + "\n", stage))
    with postgres_server() as server:
        url = server.url()
        with ReleasedStage(DATABASE_URL=url) as stage:
            _lived(stage)
            command = [str(_programs() / "pg_dump"), "--inserts", "--no-owner", "--no-privileges", "--no-comments", url]
            said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
            # commands of psql, and settings of a newer server than the one that reads it
            kept = [line for line in said.splitlines() if not line.startswith(("\\", "SET ", "SELECT pg_catalog", "--")) and line]
            (FIXTURES / "postgres.sql").write_text(_plain("\n".join(kept) + "\n", stage))


def _lived(stage: Stage) -> None:
    state(stage)
    die(stage, MIDST, "promote", {"projectName": f"{stage.project}-b", "environment": "production"})


def _plain(text: str, stage: Stage) -> str:
    """Without what differs from run to run for no reason."""
    return text.replace(stage.project, "released").replace(str(stage.home), "/opt/codeb")


if __name__ == "__main__":
    if sys.argv[1:] != ["--write"]:
        sys.exit(__doc__)
    os.chdir(ROOT)
    write()
