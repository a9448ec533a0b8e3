"""On real Docker: every byte of a variable reaches the program, each deployment keeps its own, files follow (S11, S21, P2)."""

import json
import os
import subprocess
import sys
import time
from typing import Any

import pytest

from codeb.model import envfile
from tests import oracle
from tests.stage import Stage

pytestmark = [pytest.mark.docker, pytest.mark.proxy]

EXACT = {
    "QUOTES": "it's \"quoted\" `twice` \\ and \\n", "EQUALS": "a=b==c", "HASH": "#no comment # at all",
    "SPACES": "  both ends  ",
    "LINES": "-----BEGIN-----\nabc=\r\n\n-----END-----\n", "TAB": "a\tb", "EMPTY": "", "LARGE": "x" * 32768,
    "KOREAN": "한국어 값" * 1000,
    "EMOJI": "🎉👩‍👩‍👧",
    "SHELL": "$HOME $(id) ${PATH} %s", "CONTROL": "\x01\x1b[2J\x7f\u2028", "JSON": '{"a": ["b"]}', "_1": "underscore",
}  # fmt: skip
PROGRAM = """
import glob, sys
for path in glob.glob("/proc/[0-9]*/cmdline"):
    if open(path, "rb").read().split(b"\\0")[:2] == [b"python3", b"/app/app.py"]:
        sys.stdout.buffer.write(open(path.replace("cmdline", "environ"), "rb").read())
        break
"""


def inside(stage: Stage, slot: str) -> dict[str, str]:
    """The environment of the program itself, as the kernel has it."""
    name = f"{stage.project}-production-{slot}"
    engine, plain = stage.engine, {"Content-Type": "application/json"}
    wanted = json.dumps({"AttachStdout": True, "AttachStderr": True, "Cmd": ["python3", "-c", PROGRAM]}).encode()
    status, body = engine.call("POST", f"/containers/{name}/exec", wanted, plain)
    assert status == 201, body
    status, stream = engine.call("POST", f"/exec/{json.loads(body)['Id']}/start", b"{}", plain)
    assert status == 200, stream
    raw = b""
    while stream:
        kind, size = stream[0], int.from_bytes(stream[4:8], "big")
        assert kind == 1, stream[:2000]
        raw, stream = raw + stream[8 : 8 + size], stream[8 + size :]
    return dict(each.split("=", 1) for each in raw.decode().split("\0") if each)


def ours(found: dict[str, str]) -> dict[str, str]:
    """Without what the image, Docker and CodeB add."""
    return {name: value for name, value in found.items() if name in EXACT or name in ("WHICH", "DATABASE_URL")}


def test_every_byte_arrives_and_each_deployment_keeps_its_own(stage: Stage, images: dict[str, str]) -> None:
    where: dict[str, Any] = {"projectName": stage.project, "environment": "production"}
    stage.call("project_create", projectName=stage.project, healthPath="/health")
    stage.call("env_set", **where, values={**EXACT, "WHICH": "one", "PORT": "1"})
    first = stage.call("deploy", **where, image=images["v1"], autoPromote=True)
    assert first["envVersion"] == 1
    found = inside(stage, "blue")
    assert ours(found) == {**EXACT, "WHICH": "one"}
    assert (found["PORT"], found["CODEB_SLOT"]) == ("3000", "blue")

    text = envfile.render({**EXACT, "WHICH": "two", "DATABASE_URL": "postgres://u:p@192.0.2.1/d"})
    words = ["env", "sync", "-f", "-", "-p", stage.project, "-e", "production", "--force"]
    done = subprocess.run(
        [sys.executable, "-m", "codeb.entry.cli.main", *words],
        input=text.encode(), env=stage.environment, capture_output=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert b"blue has version 1" in done.stdout
    second = stage.call("deploy", **where, image=images["v2"], autoPromote=True)
    assert second["envVersion"] == 2
    assert ours(inside(stage, "green")) == {**EXACT, "WHICH": "two", "DATABASE_URL": "postgres://u:p@192.0.2.1/d"}

    stage.call("env_set", **where, values={"WHICH": "three"})
    stage.call("rollback", **where)
    assert ours(inside(stage, "blue"))["WHICH"] == "one"
    status = stage.call("slot_status", **where)
    assert (status["blue"]["envVersion"], status["green"]["envVersion"]) == (1, 2)

    # made anew by reconcile, as it was deployed; and after a kill -9 the files are there again
    stage.kill()
    stage.engine.call("DELETE", f"/containers/{stage.project}-production-blue?force=1")
    runtime = stage.home / "env" / stage.project / ".env.production"
    runtime.unlink()
    stage.start()
    oracle.settle(stage)
    end, said = time.monotonic() + 60, {}
    while stage.engine.call("GET", f"/containers/{stage.project}-production-blue/json")[0] != 200:
        assert time.monotonic() < end, said
        said = stage.call("reconcile")
    oracle.settle(stage)  # the container is there before the mend that made it has ended
    assert ours(inside(stage, "blue")) == {**EXACT, "WHICH": "one"}
    assert oracle.judge(stage, stage.project) == []
    _files(stage)

    stage.call("project_delete", projectName=stage.project, confirm=stage.project)
    stage.call("project_delete", projectName=stage.project, confirm=stage.project, purge=True)
    assert not (stage.home / "env" / stage.project).exists()
    assert not (stage.home / "env-backup" / stage.project).exists()


def _files(stage: Stage) -> None:
    backup = stage.home / "env-backup" / stage.project / "production"
    runtime = stage.home / "env" / stage.project / ".env.production"
    end = time.monotonic() + 40
    while not runtime.exists() and time.monotonic() < end:
        time.sleep(0.1)
    for path, which in ((runtime, "three"), (backup / "current.env", "three"), (backup / "master.env", "one")):
        said = envfile.parse(path.read_bytes().decode())
        assert said.faults == ()
        assert {name: said.values[name] for name in EXACT} == EXACT
        assert said.values["WHICH"] == which
    assert len(json.loads((backup / "backup-log.json").read_text())["versions"]) == 3
    for each in (runtime, *backup.iterdir()):
        assert each.stat().st_mode & 0o777 == 0o600, each
        assert each.stat().st_uid == os.geteuid()
