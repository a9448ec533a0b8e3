"""On real parts: a pull request's preview keeps its address under load through new versions, and then nothing is left of it."""

import json
import sqlite3
import time
from contextlib import closing

import pytest
from demo.load import Rates

from tests import oracle
from tests.e2e.zeroloss import LoadClient
from tests.stage import Stage

pytestmark = [pytest.mark.docker, pytest.mark.proxy]

RATES = Rates(short=20, keepalive=20, post=4, upload=1, slow=2, stream=2, sse=0, websocket=0)
"""what never ends by itself ends with its version, two deploys later; every request is answered"""
HISTORY = {"operations", "operation_steps", "operation_locks", "deployments", "events", "audit_logs", "answers"}
"""what is remembered of what was done"""


def left_of(stage: Stage, project: str, environment: str) -> list[str]:
    """Everything of it that Docker, the home and the registry have."""
    key = f"{project}-{environment}"
    found = [name for one in stage.containers() for name in one["Names"] if name.startswith(f"/{key}")]
    _, body = stage.engine.call("GET", "/networks")
    found += [f"network {each['Name']}" for each in json.loads(body) if each["Name"] == f"codeb-{project}"]
    # certificates are Caddy's own: it throws away those that are over
    paths = [path for path in stage.home.rglob("*") if stage.home / "caddy" / "data" not in path.parents]
    found += [str(path) for path in paths if key in path.name or environment in path.name]
    with closing(sqlite3.connect(f"file:{stage.home}/codeb.db?mode=ro", uri=True, timeout=10)) as database:
        tables = [name for (name,) in database.execute("select name from sqlite_master where type = 'table'")]
        for table in sorted(set(tables) - HISTORY):
            columns = [row[1] for row in database.execute(f"pragma table_info({table})")]
            if "environment" in columns:
                rows = database.execute(f"select * from {table} where environment = ?", (environment,))
                found += [f"{table}: {row}" for row in rows]
    return found


def test_a_preview_from_its_first_version_to_nothing(stage: Stage, images: dict[str, str]) -> None:
    project, where = stage.project, {"projectName": stage.project, "pullRequest": 12}
    stage.call("project_create", projectName=project, healthPath="/health", memoryMb=128, environments=["preview"])
    stage.call("env_set", projectName=project, environment="preview", values={"GREETING": "hello"})
    first = stage.call("preview_create", **where, image=images["v1"])
    host = f"{project}-pr-12.localhost"
    assert first["url"].split("//")[1].split(":")[0] == host
    assert oracle.judge(stage, project, "pr-12") == []

    load = LoadClient(stage.http_port, host, RATES)
    try:
        for version in ("v2", "v1"):
            again = stage.call("preview_create", **where, image=images[version])
            assert (again["url"], again["created"], again["version"]) == (first["url"], False, version)
    finally:
        said = load.result()
    total = said["total"]
    assert (total["failed"], total["cut"]) == (0, 0), said["kinds"]
    assert total["ok"] > 50, said
    assert oracle.judge(stage, project, "pr-12") == []
    assert left_of(stage, project, "pr-12")
    stage.call("port_release", projectName=project, environment="preview")

    stage.kill()
    stage.start(crash_at="preview_delete.containers.do.before")
    with pytest.raises(OSError):
        stage.ask("preview_delete", where)
    assert stage.until_dead() == -9
    stage.start()
    oracle.settle(stage)
    end = time.monotonic() + 15
    while left_of(stage, project, "pr-12") and time.monotonic() < end:
        time.sleep(0.1)  # the readable copies of the registry follow it within a moment
    assert left_of(stage, project, "pr-12") == []
    assert oracle.judge(stage, project, "pr-12") == []
    assert stage.call("preview_delete", **where)["deleted"] is False
