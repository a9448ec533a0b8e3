"""The main job on real parts: deploy, preview, promote, second version, rollback, cleanup, delete."""

import json
from pathlib import Path

import pytest

from tests import oracle
from tests.stage import Stage

pytestmark = [pytest.mark.docker, pytest.mark.proxy]


def test_the_life_of_a_project(stage: Stage, images: dict[str, str]) -> None:
    name = stage.project
    where = {"projectName": name, "environment": "production"}
    made = stage.call("project_create", projectName=name, healthPath="/health")
    pair = made["project"]["environments"][0]
    assert pair["blue"] % 2 == 0
    assert pair["green"] == pair["blue"] + 1

    first = stage.call("deploy", **where, image=images["v1"])
    assert (first["slot"], first["version"], first["healthChecked"]) == ("blue", "v1", True)
    assert [step["status"] for step in first["steps"]] == ["done"] * len(first["steps"])
    preview = first["previewUrl"].split("/")[2].partition(":")[0]
    status, headers, body = stage.public(preview)
    assert (status, headers["x-codeb-slot"], json.loads(body)["version"]) == (200, "blue", "v1")
    assert stage.public(f"{name}.localhost")[0] == 503, "an unpromoted version has no production traffic"

    assert stage.call("promote", **where)["activeSlot"] == "blue"
    assert stage.public(f"{name}.localhost")[1]["x-codeb-slot"] == "blue"
    assert oracle.judge(stage, name) == []

    assert stage.call("deploy", **where, image=images["v2"])["slot"] == "green"
    assert stage.public(f"{name}.localhost")[1]["x-codeb-slot"] == "blue"
    promoted = stage.call("promote", **where)
    assert (promoted["activeSlot"], promoted["previousSlot"]) == ("green", "blue")
    assert promoted["gracePeriod"]["hoursRemaining"] == 48
    assert oracle.judge(stage, name) == []

    back = stage.call("rollback", **where, reason="it was only a test")
    assert (back["activeSlot"], back["version"], back["fromVersion"]) == ("blue", "v1", "v2")
    line = json.loads((stage.home / "logs" / "rollbacks" / f"{name}.jsonl").read_text())
    assert (line["reason"], line["fromVersion"], line["toVersion"]) == ("it was only a test", "v2", "v1")
    assert oracle.judge(stage, name) == []

    assert stage.call("promote", **where)["activeSlot"] == "green"
    emptied = stage.call("slot_cleanup", **where, slot="blue", force=True)
    assert [each["slot"] for each in emptied["emptied"]] == ["blue"]
    assert oracle.judge(stage, name) == []

    gone = stage.call("project_delete", projectName=name, confirm=name)
    assert gone["deleted"] is True
    assert oracle.judge(stage, name) == []
    assert stage.ask("slot_status", where)[0] == 409
    assert stage.call("project_delete", projectName=name, confirm=name, purge=True)["purged"] is True
    assert stage.containers() == []
    assert oracle.judge(stage, name) == []
    assert stage.ask("slot_status", where)[0] == 404
    assert json.loads(Path(gone["backup"]).read_text())["project"]["name"] == name
