"""An independent judge of a CodeB server: reads Docker, the proxy's files, the public route and the database itself.

It shares no code with what it judges, beyond the names of files and tables.
"""

import contextlib
import sqlite3
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from psycopg.rows import dict_row

from tests.stage import Stage

TERMINAL = {"succeeded", "failed", "cancelled"}


@dataclass(frozen=True)
class Truth:
    """What was found, source by source, for one project and environment."""

    slots: dict[str, dict[str, Any]]
    containers: dict[str, dict[str, Any]]
    markers: set[str]
    has_site: bool
    open_operations: list[str]
    locks: list[str]
    leases: set[int]
    deleted: bool = False

    @property
    def active(self) -> str | None:
        return next((slot for slot, row in self.slots.items() if row["state"] == "active"), None)


def rows(stage: Stage, query: str) -> list[dict[str, Any]]:
    """Read the database by itself: the SQLite file, or PostgreSQL past whatever is between it and the server."""
    if stage.database:
        with psycopg.connect(stage.database, row_factory=dict_row, connect_timeout=5) as connection:
            return connection.execute(query.encode()).fetchall()
    with contextlib.closing(sqlite3.connect(f"file:{stage.home}/codeb.db?mode=ro", uri=True, timeout=10)) as database:
        database.row_factory = sqlite3.Row
        return [dict(row) for row in database.execute(query)]


def look(stage: Stage, project: str, environment: str = "production") -> Truth:
    key = f"{project}-{environment}"
    caddy = stage.home / "caddy"
    folder = caddy / "slots" / key
    slots = {
        row["slot"]: row
        for row in rows(stage, "select * from project_slots")
        if (row["project"], row["environment"]) == (project, environment)
    }
    mine = [one for one in stage.containers() if any(name.startswith(f"/{key}-") for name in one["Names"])]
    return Truth(
        slots=slots,
        containers={one["Names"][0].removeprefix("/"): one for one in mine},
        markers={path.name for path in folder.iterdir()} if folder.is_dir() else set(),
        has_site=(caddy / "sites" / f"{key}.caddy").exists(),
        open_operations=[row["id"] for row in rows(stage, "select id, state from operations") if row["state"] not in TERMINAL],
        locks=[row["operation_id"] for row in rows(stage, "select * from operation_locks") if row["operation_id"]],
        leases={row["port"] for row in rows(stage, "select * from port_leases")},
        deleted=any(
            row["name"] == project and row["state"] == "deleted" for row in rows(stage, "select name, state from projects")
        ),
    )


def settle(stage: Stage, seconds: float = 30.0) -> float:
    """Wait until no operation is open; the seconds it took. Fails when that is longer than allowed."""
    began = time.monotonic()
    while time.monotonic() - began < seconds:
        if not rows(stage, "select id from operations where state in ('running', 'unwinding')"):
            return time.monotonic() - began
        time.sleep(0.05)
    raise AssertionError(f"an operation is still open after {seconds} s:\n{rows(stage, 'select * from operations')}")


def judge(stage: Stage, project: str, environment: str = "production") -> list[str]:
    """Every way in which registry, Docker, proxy files and the public route disagree. Empty: all is well."""
    truth = look(stage, project, environment)
    faults = [f"operation {each} is open" for each in truth.open_operations] + [f"lock held by {each}" for each in truth.locks]
    if truth.deleted:
        return faults + _aside(truth, f"{project}-{environment}") + _route(stage, truth, project, environment) + _leftovers(stage)
    faults += _containers(truth, f"{project}-{environment}")
    faults += _switch(truth)
    faults += _route(stage, truth, project, environment)
    faults += _leftovers(stage)
    return faults


def _containers(truth: Truth, key: str) -> list[str]:
    faults = []
    for slot, row in truth.slots.items():
        name = f"{key}-{slot}"
        there = truth.containers.get(name)
        if row["state"] == "empty":
            faults += [f"{name} exists, its slot is empty"] if there else []
            continue
        if there is None:
            faults.append(f"{name} is {row['state']} in the registry and does not exist")
            continue
        if there["State"] != "running":
            faults.append(f"{name} is {row['state']} and {there['State']}")
        if there["Labels"].get("codeb.deployment") != row["deployment_id"]:
            faults.append(f"{name} runs {there['Labels'].get('codeb.deployment')}, the registry says {row['deployment_id']}")
        if there["ImageID"] != row["image_id"]:
            faults.append(f"{name} runs another image than the registry says")
        ports = {(port.get("IP"), port.get("PublicPort")) for port in there["Ports"]}
        if there["State"] == "running" and ports != {("127.0.0.1", row["port"])}:
            faults.append(f"{name} is published as {ports}, not on 127.0.0.1:{row['port']}")
        if row["port"] not in truth.leases:
            faults.append(f"port {row['port']} has no lease")
    known = {f"{key}-{slot}" for slot in truth.slots}
    faults += [f"orphan container {name}" for name in truth.containers if name not in known]
    return faults


def _aside(truth: Truth, key: str) -> list[str]:
    """A deleted project: no site, no switch, its containers set aside and stopped, its ports leased."""
    faults = ["a deleted project has a site"] if truth.has_site or truth.markers else []
    for slot, row in truth.slots.items():
        there = truth.containers.get(f"{key}-{slot}.kept")
        if row["port"] not in truth.leases:
            faults.append(f"port {row['port']} of a deleted project has no lease")
        if row["state"] == "empty":
            continue
        if there is None or there["State"] == "running":
            faults.append(f"{key}-{slot} is {there['State'] if there else 'gone'}, not set aside")
        elif there["Labels"].get("codeb.deployment") != row["deployment_id"]:
            faults.append(f"{key}-{slot}.kept is not what was deployed")
    known = {f"{key}-{slot}.kept" for slot, row in truth.slots.items() if row["state"] != "empty"}
    return faults + [f"orphan container {name}" for name in truth.containers if name not in known]


def _switch(truth: Truth) -> list[str]:
    if not truth.slots:
        return [f"markers without an environment: {truth.markers}"] if truth.markers or truth.has_site else []
    faults = []
    if truth.active is None:
        return ["nothing is active, yet the site is not held"] if truth.has_site and "hold" not in truth.markers else []
    if "hold" in truth.markers:
        faults.append("a slot is active, yet the site is held")
    live = "green" if "green" in truth.markers else "blue"
    if live != truth.active:
        faults.append(f"the proxy serves {live}, the registry says {truth.active}")
    grace = any(row["state"] == "grace" for row in truth.slots.values())
    if grace != ("fallback" in truth.markers):
        faults.append(
            f"fallback is {'on' if 'fallback' in truth.markers else 'off'}, a slot in grace {'exists' if grace else 'does not'}"
        )
    return faults


def _route(stage: Stage, truth: Truth, project: str, environment: str) -> list[str]:
    host = f"{project}.localhost" if environment == "production" else f"{project}-{environment}.localhost"
    try:
        status, headers, _ = stage.public(host)
    except OSError as error:
        return [f"the public route is broken: {error}"]
    if truth.active is None or truth.deleted:
        expected = 503 if truth.has_site else 404
        return [] if status == expected else [f"the public route of nothing answers {status}, not {expected}"]
    faults = [] if status == 200 else [f"the public route answers {status}"]
    if headers.get("x-codeb-slot") != truth.active:
        faults.append(f"the public route is answered by {headers.get('x-codeb-slot')}, not {truth.active}")
    return faults


def _leftovers(stage: Stage) -> list[str]:
    """Temporary files that stay: one that goes within a second was somebody's write under way."""
    found = list(Path(stage.home).rglob("*.tmp"))
    if found:
        time.sleep(1.0)
    return [f"left behind: {path}" for path in found if path.exists()]
