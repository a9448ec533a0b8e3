"""A real CodeB server on a real PostgreSQL that can be taken away: stopped, restarted, silenced, cut off, emptied.

Between the two is a line (`tests.line`). Whoever judges reads the database past it, by itself.
"""

import contextlib
import json
import sqlite3
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg
from demo.server import START_SECONDS
from psycopg.rows import dict_row
from sqlalchemy.engine import make_url

from tests.e2e.nursery import QuickStage
from tests.line import Line, line
from tests.postgres import Server, postgres_server
from tests.stage import Stage

COPIED = {
    "projects": "name, team, state, auto_rollback, watch_seconds",
    "project_slots": "project, environment, slot, state, version, deployment_id, image_id, port",
    "port_leases": "server, port, project, environment, slot",
    "deployments": "id, project, environment, slot, version",
    "operations": "id, tool, state",
    "operation_locks": "project, environment, operation_id",
    "api_keys": "id, sha256, team, role",
    "answers": "key_id, key, tool",
    "events": "id, kind",
}
"""what the database and its local copy must say alike, row by row"""


@dataclass
class Seaside:
    """One installation, its database, and the line to it."""

    stage: Stage
    server: Server
    at: Line
    address: str
    """of the database, past the line"""

    def rows(self, query: str, address: str = "") -> list[dict[str, Any]]:
        with psycopg.connect(address or self.address, row_factory=dict_row, connect_timeout=5) as connection:
            return connection.execute(query.encode()).fetchall()

    def local(self, query: str) -> list[dict[str, Any]]:
        with contextlib.closing(sqlite3.connect(f"file:{self.stage.home}/local.db?mode=ro", uri=True, timeout=10)) as copy:
            copy.row_factory = sqlite3.Row
            return [dict(row) for row in copy.execute(query)]

    def start(self, seconds: float = START_SECONDS) -> float:
        """Start the server, whatever the database does; the seconds it took to answer."""
        began = time.monotonic()
        self.stage.start(wait=False)
        assert self.stage.until_up(seconds), f"the server died at its start:\n{self.stage.log[-4000:]}"
        return time.monotonic() - began

    # the outages

    def stop(self, mode: str = "immediate") -> None:
        self.server.run("-m", mode, "-w", "stop")

    def restart(self) -> None:
        self.server.run("-l", str(self.server.folder / "log"), "-w", "-t", "30", "-m", "fast", "restart")

    @property
    def away(self) -> bool:
        """Whether CodeB goes on without the database, or has something that the database lacks: as its file says."""
        state = self.local("select away_since, (select count(*) from changes) as left from copy_state")[0]
        return state["away_since"] is not None or state["left"] > 0

    def until(self, away: bool, seconds: float = 15.0) -> float:
        """Wait until CodeB has noticed; the seconds it took."""
        began = time.monotonic()
        while self.away is not away:
            assert time.monotonic() - began < seconds, f"not {'away' if away else 'back'} in time:\n{self.stage.log[-3000:]}"
            time.sleep(0.02)
        return time.monotonic() - began

    def lose(self, how: str = "shut") -> None:
        self.at.set(how)
        self.until(True)

    def find(self) -> None:
        self.at.set("open")
        self.until(False)

    # who says what

    def differences(self) -> list[str]:
        """Between the database and its local copy."""
        found = []
        for table, columns in COPIED.items():
            query = f"select {columns} from {table}"
            there, here = ({tuple(row.values()) for row in rows(query)} for rows in (self.rows, self.local))
            found += [f"{table}: only the database has {row}" for row in sorted(there - here, key=str)[:5]]
            found += [f"{table}: only the copy has {row}" for row in sorted(here - there, key=str)[:5]]
        return found

    def agreed(self, seconds: float = 5.0) -> list[str]:
        """The same, once what was just written had time to be followed."""
        end = time.monotonic() + seconds
        while (found := self.differences()) and time.monotonic() < end:
            time.sleep(0.1)
        return found

    def store_line(self) -> dict[str, str]:
        """What `health_check` says of the store."""
        checks: list[dict[str, str]] = self.stage.call("health_check")["checks"]
        return next(each for each in checks if each["name"] == "store")


@contextmanager
def seaside(
    server: Server | None = None, pairs: int = 4, kind: type[Stage] = QuickStage, **settings: str
) -> Iterator[Seaside]:  # fmt: skip
    """An installation that has not been started yet; all gone at the end. Without `server` a cluster of its own."""
    with contextlib.ExitStack() as stack:
        cluster = server or stack.enter_context(postgres_server())
        address = cluster.url()
        at = stack.enter_context(line(cluster.port))
        through = make_url(address).set(port=at.port).render_as_string(hide_password=False)
        stage = kind(pairs=pairs, DATABASE_URL=through, **settings)
        stage.database = address
        stack.callback(stage.close)
        yield Seaside(stage, cluster, at, address)


def said(body: Mapping[str, Any]) -> str:
    return json.dumps(body)[:1500]
