"""On real parts: a deletion beside a neighbour that is visited, a kill -9 in the middle of it and of the way back, a purge."""

import json
import time
from pathlib import Path
from typing import Any

import pytest

from tests import oracle
from tests.e2e.visitor import Visitor
from tests.stage import Stage

pytestmark = [pytest.mark.docker, pytest.mark.proxy]


def _killed(stage: Stage, at: str, tool: str, **params: Any) -> None:
    """The call, in which the server kills itself at this point; and the next start, until nothing is open."""
    stage.kill()
    stage.start(crash_at=at)
    with pytest.raises(OSError):
        stage.ask(tool, params)
    assert stage.until_dead() == -9
    stage.start()
    oracle.settle(stage)


def _answers(stage: Stage, name: str) -> tuple[int, str | None, str]:
    status, headers, body = stage.public(f"{name}.localhost")
    return status, headers.get("x-codeb-slot"), json.loads(body)["version"] if status == 200 else ""


def test_a_project_is_deleted_comes_back_and_is_purged(stage: Stage, images: dict[str, str]) -> None:
    name, neighbour = stage.project, f"{stage.project}-n"
    for each in (name, neighbour):
        stage.call("project_create", projectName=each, healthPath="/health")
        stage.call("deploy", projectName=each, environment="production", image=images["v1"], autoPromote=True)
    stage.call("deploy", projectName=name, environment="production", image=images["v2"], autoPromote=True)
    before = oracle.look(stage, name)
    assert _answers(stage, name) == (200, "green", "v2")
    visitor = Visitor(stage.http_port, f"{neighbour}.localhost")

    _killed(stage, "project_delete.containers.do.before", "project_delete", projectName=name, confirm=name)
    assert oracle.judge(stage, name) == []
    assert stage.call("project_get", projectName=name)["project"]["state"] == "deleted"
    time.sleep(1)
    stage.call("reconcile")
    assert oracle.judge(stage, name) == []

    _killed(stage, "undelete.sites.do.effect", "undelete", projectName=name)
    assert oracle.judge(stage, name) == []
    assert stage.call("project_get", projectName=name)["project"]["state"] == "deleted"
    back = stage.call("undelete", projectName=name)
    assert (back["environments"][0]["answers"], back["environments"][0]["version"]) == (True, "v2")
    assert _answers(stage, name) == (200, "green", "v2")
    assert oracle.judge(stage, name) == []
    after = oracle.look(stage, name)
    assert (after.slots, after.leases) == (before.slots, before.leases)
    assert {one["Id"] for one in after.containers.values()} == {one["Id"] for one in before.containers.values()}

    gone = stage.call("project_delete", projectName=name, confirm=name)
    _killed(stage, "project_purge.network.do.before", "project_delete", projectName=name, confirm=name, purge=True)
    assert oracle.judge(stage, name) == []
    left = oracle.look(stage, name)
    assert (left.slots, left.containers, left.markers, left.has_site) == ({}, {}, set(), False)
    assert left.leases == {row["port"] for row in oracle.look(stage, neighbour).slots.values()}
    assert stage.ask("project_get", {"projectName": name})[0] == 404
    assert json.loads(Path(gone["backup"]).read_text())["project"]["name"] == name

    # a reload may reset the connection that arrives just then: at most one each, and never an answer of somebody else
    lost = visitor.close()
    assert visitor.sent > 50
    assert visitor.slots == {"blue"}
    assert [each for each in lost if "status" in each] == []
    assert len(lost) <= 6, lost
    assert oracle.judge(stage, neighbour) == []
