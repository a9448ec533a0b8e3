"""P11 on real parts: the disk of the home is full. Tools fail in words, production does not notice, nothing is half written."""

import contextlib
import json
import os
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from codeb.drivers.store.mirror import verified
from tests import oracle
from tests.e2e.nursery import QuickStage
from tests.stage import Stage

pytestmark = [pytest.mark.docker, pytest.mark.proxy]

SIZE = "24m"
CLEAN = (200, 404, 409, 503)


class SmallDisk:
    """A file system of its own below the home of a stage, with the server's log outside of it."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.outside = Path(tempfile.mkdtemp(prefix="codebtest-log-"))
        self.ballast = stage.home / "ballast"

    def __enter__(self) -> "SmallDisk":
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE},mode=0750", "codebtest", str(self.stage.home)], check=True)
        (self.stage.home / "server.log").symlink_to(self.outside / "server.log")
        return self

    def __exit__(self, *_: object) -> None:
        self.stage.kill()
        self.free()
        self.stage.remove_containers()
        self.stage.stop_proxy()
        subprocess.run(["umount", "-l", str(self.stage.home)], check=True)
        shutil.rmtree(self.outside)

    def fill(self) -> None:
        """To the last byte."""
        with self.ballast.open("ab", buffering=0) as file:
            for size in (1 << 20, 4096, 1):
                with contextlib.suppress(OSError):
                    while file.write(bytes(size)):
                        pass

    def free(self) -> None:
        self.ballast.unlink(missing_ok=True)


class Visitor(threading.Thread):
    """Asks the public route all the time, and keeps every answer that was none."""

    def __init__(self, stage: Stage, host: str) -> None:
        super().__init__(daemon=True)
        self.stage, self.host = stage, host
        self.count, self.wrong, self.over = 0, list[str](), threading.Event()

    def run(self) -> None:
        while not self.over.wait(0.02):
            try:
                status = self.stage.public(self.host)[0]
            except OSError as fault:
                self.wrong.append(repr(fault))
            else:
                if status != 200:
                    self.wrong.append(str(status))
            self.count += 1


@pytest.fixture
def disk() -> Iterator[SmallDisk]:
    if os.geteuid() != 0:
        pytest.fail("a small disk is mounted by root")
    stage = QuickStage()
    try:
        with SmallDisk(stage) as made:
            yield made
    finally:
        stage.close()


def keys(home: Path) -> Any:
    return verified(home / "registry/api-keys.json")["keys"]


def say(answers: dict[str, str], what: str, status: int, body: dict[str, Any]) -> None:
    answers[what] = f"{status} {body.get('code') or (body.get('error') or {}).get('code', '')}"
    assert status in CLEAN, (what, status, body)
    assert "Traceback" not in json.dumps(body)
    if status != 200:
        assert body.get("summary") or body.get("message") or body.get("error"), body


def test_production_and_reads_go_on_and_everything_recovers(disk: SmallDisk, images: dict[str, str]) -> None:
    """P11: the tools fail cleanly, production is unaffected; with space again all works without a restart."""
    stage = disk.stage
    stage.start()
    name, where = stage.project, {"projectName": stage.project}
    stage.call("project_create", **where, healthPath="/health")
    stage.call("deploy", **where, image=images["v1"], autoPromote=True)
    stage.call("deploy", **where, image=images["v2"])
    stage.call("project_create", projectName=f"{name}-x")
    visitor = Visitor(stage, f"{name}.localhost")
    visitor.start()
    before, answers, other = keys(stage.home), dict[str, str](), f"{name}-x"
    changing: list[tuple[str, dict[str, Any]]] = [
        ("project_create", {"projectName": f"{name}-b"}), ("deploy", {**where, "image": images["v2"]}), ("promote", where),
        ("rollback", where), ("slot_cleanup", {**where, "slot": "green", "force": True}),
        ("project_create", {"projectName": f"{name}-c"}), ("project_delete", {"projectName": other, "confirm": other}),
    ]  # fmt: skip
    for round_ in range(3):
        for tool, params in changing:
            disk.fill()
            say(answers, f"{tool} {round_}", *stage.ask(tool, params))
        for tool, params in (
            ("slot_status", where),
            ("project_list", {}),
            ("health_check", {}),
            ("operation_list", {}),
            ("logs", where),
        ):
            say(answers, f"{tool} {round_}", *stage.ask(tool, params))
            assert answers[f"{tool} {round_}"].startswith("200"), answers
    print(answers)
    assert any(answer.startswith("503") for answer in answers.values()), answers
    assert stage.process is not None and stage.process.poll() is None
    disk.free()
    stage.call("project_create", projectName=f"{name}-d")
    until_mirrored(stage, f"{name}-d")
    stage.call("deploy", **where, image=images["v2"], autoPromote=True)
    assert stage.public(f"{name}.localhost")[1]["x-codeb-slot"] in ("blue", "green")
    stage.call("rollback", **where)
    visitor.over.set()
    visitor.join()
    assert visitor.count > 50 and visitor.wrong == []
    assert keys(stage.home) == before
    sound(stage)
    assert oracle.judge(stage, name) == []


def test_killed_and_started_on_a_full_disk(disk: SmallDisk, images: dict[str, str]) -> None:
    """P11, P10: it starts and reads, or refuses in words; never a new installation, and production does not notice."""
    stage = disk.stage
    stage.start()
    name, where = stage.project, {"projectName": stage.project}
    stage.call("project_create", **where, healthPath="/health")
    stage.call("deploy", **where, image=images["v1"], autoPromote=True)
    until_mirrored(stage, name)
    visitor = Visitor(stage, f"{name}.localhost")
    visitor.start()
    before, owner = keys(stage.home), stage.key
    for _ in range(2):
        disk.fill()
        stage.kill()
        disk.fill()
        stage.start(wait=False)
        if stage.until_up():
            status, body = stage.ask("slot_status", where)
            assert status == 200, body
            say({}, "promote", *stage.ask("promote", where))
        else:
            said = stage.log.splitlines()[-1]
            assert "disk" in said or "space" in said or "store" in said, stage.log[-2000:]
    assert "Traceback" not in stage.log, stage.log[-4000:]
    disk.free()
    if stage.process is None or stage.process.poll() is not None:
        stage.start()
    assert stage.key == owner
    stage.call("deploy", **where, image=images["v2"], autoPromote=True)
    visitor.over.set()
    visitor.join()
    assert visitor.count > 20 and visitor.wrong == []
    until_mirrored(stage, name)
    assert keys(stage.home) == before
    sound(stage)
    assert oracle.judge(stage, name) == []


def until_mirrored(stage: Stage, project: str) -> None:
    """It retries every five seconds."""
    end = time.monotonic() + 25
    while project not in verified(stage.home / "registry/ssot.json")["projects"]:
        assert time.monotonic() < end, "the mirror did not catch up"
        time.sleep(0.1)


def sound(stage: Stage) -> None:
    """No file of CodeB's is half written, and none was left over."""
    time.sleep(0.5)
    left = [
        str(path) for path in stage.home.rglob("*") if path.name.endswith((".tmp", ".new", ".rebuilt")) or ".damaged" in path.name
    ]
    assert left == []
    for path in (stage.home / "registry").rglob("*.json*"):
        verified(path)
    for path in (stage.home / "backups").rglob("*.json"):
        json.loads(path.read_text())
