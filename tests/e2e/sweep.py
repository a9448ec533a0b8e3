"""Looks for secrets wherever a server leaves anything: files, database, Docker, the proxy, processes, and all it ever said."""

import base64
import json
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from urllib.parse import quote

import httpx2
import psycopg

from tests.stage import Stage

READS = ("project_list", "operation_list", "event_list", "conflict_list", "health_check", "port_list")
ABOUT_A_PROJECT = ("project_get", "slot_status", "slot_list", "port_get", "logs", "scan")


@dataclass(frozen=True)
class Canary:
    """One secret, and what below the home is meant to hold it: patterns of paths."""

    name: str
    secret: bytes
    at_home: tuple[str, ...] = ()
    elsewhere: tuple[str, ...] = ()
    """other places that are meant to hold it"""

    @property
    def needles(self) -> set[bytes]:
        """Every form in which somebody could write it down by accident."""
        raw, text = self.secret, self.secret.decode("latin-1")
        found = {raw, raw.hex().encode(), raw.hex().upper().encode(), quote(text, "").encode(), json.dumps(text)[1:-1].encode()}
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            found.add(encode(raw).rstrip(b"="))
        if raw.startswith(b"codeb_"):
            found.add(raw.split(b"_", 3)[3][:20])
        return found


def hits(canaries: list[Canary], places: Iterator[tuple[str, bytes]]) -> list[str]:
    """`what in where`, for every canary that is somewhere it should not be."""
    found, looked = [], 0
    for where, content in places:
        looked += 1
        for canary in canaries:
            meant = any(fnmatch(where, pattern) for pattern in (*(f"home/{each}" for each in canary.at_home), *canary.elsewhere))
            if not meant and any(needle in content for needle in canary.needles):
                found.append(f"{canary.name} in {where}")
    assert looked > 50, "there was something to look through"
    return found


def running(stage: Stage) -> Iterator[tuple[str, bytes]]:
    """What others on the machine see of it, and what it answers to whoever may ask. While the server runs."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            yield f"cmdline of {process.name}", (process / "cmdline").read_bytes()
        except OSError:
            continue  # it has ended
    assert stage.proxy_pid is not None
    yield "environment of Caddy", Path(f"/proc/{stage.proxy_pid}/environ").read_bytes()
    yield from _docker(stage)
    for path in ("/health", "/api", "/api/tools", "/metrics", "/openapi.json"):
        status, body = stage.request("GET", path, None, {"X-API-Key": stage.key})
        assert status == 200, path
        yield f"GET {path}", body
    for tool in READS:
        yield tool, json.dumps(stage.call(tool)).encode()
    for each in stage.call("operation_list")["operations"]:
        said = stage.call("operation_get", operationId=each["operationId"])
        yield f"operation_get of {each['tool']}", json.dumps(said).encode()
    for tool in ABOUT_A_PROJECT:
        yield tool, json.dumps(stage.call(tool, projectName=stage.project)).encode()
    for words in (["config"], ["config", "--json"], ["doctor"], ["doctor", "--json"], ["status"]):
        yield f"we {' '.join(words)}", _we(stage, *words)


def _docker(stage: Stage) -> Iterator[tuple[str, bytes]]:
    containers = stage.containers()
    assert containers
    for each in containers:
        for view in ("json", "logs?stdout=1&stderr=1"):
            yield f"Docker, {view} of {each['Names'][0]}", stage.engine.call("GET", f"/containers/{each['Id']}/{view}")[1]
        for network in each["NetworkSettings"]["Networks"].values():
            yield "Docker, a network", stage.engine.call("GET", f"/networks/{network['NetworkID']}")[1]


def _we(stage: Stage, *words: str) -> bytes:
    command = [sys.executable, "-m", "codeb.entry.cli.main", *words]
    done = subprocess.run(command, env=stage.environment, capture_output=True, timeout=60, check=False)
    assert done.stdout, done.stderr
    return done.stdout + done.stderr


def caddy_config(stage: Stage) -> bytes:
    """What the running proxy was given, through its admin socket."""
    transport = httpx2.HTTPTransport(uds=str(stage.home / "caddy" / "admin.sock"))
    with httpx2.Client(transport=transport, headers={"Host": ""}, base_url="http://caddy") as client:
        return client.get("/config/").content


def left(stage: Stage, url: str = "") -> Iterator[tuple[str, bytes]]:
    """Every file below the home, the write-ahead logs as they are, and every row of the registry. After the server ended."""
    for path in stage.home.rglob("*"):
        if path.is_file():
            yield f"home/{path.relative_to(stage.home)}", path.read_bytes()
    yield from _rows_of_postgres(url) if url else _rows_of_sqlite(stage.home / "codeb.db")


def _rows_of_sqlite(path: Path) -> Iterator[tuple[str, bytes]]:
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as database:
        for (table,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            yield f"table {table}", repr(database.execute(f'SELECT * FROM "{table}"').fetchall()).encode()
    database.close()


def _rows_of_postgres(url: str) -> Iterator[tuple[str, bytes]]:
    with psycopg.connect(url) as connection:
        names = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
        assert names
        for (table,) in names:
            rows = connection.execute(f'SELECT t::text FROM "{table}" t'.encode()).fetchall()
            yield f"table {table}", "\n".join(row[0] for row in rows).encode()
        seen = connection.execute("SELECT coalesce(string_agg(a::text, ' '), '') FROM pg_stat_activity a").fetchone()
        yield "pg_stat_activity", str(seen).encode()
