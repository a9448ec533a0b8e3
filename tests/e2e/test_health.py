"""Images that are not fit for traffic: each deploy ends as the spec says, when it says, and leaves nothing behind."""

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from demo.images import Builder
from demo.load import Rates

from tests import oracle
from tests.e2e.failing import CASES, Case
from tests.e2e.zeroloss import LoadClient
from tests.stage import Stage

pytestmark = [pytest.mark.docker, pytest.mark.proxy]


@pytest.fixture(scope="module")
def unfit(builder: Builder) -> None:
    for case in CASES:
        case.build(builder)


@pytest.fixture(scope="module")
def house() -> Iterator[Stage]:
    with Stage(pairs=len(CASES) + 12) as stage:
        yield stage


def project_of(stage: Stage, name: str) -> dict[str, str]:
    project = f"{stage.project}-{name}"
    stage.call("project_create", projectName=project, healthPath="/health", memoryMb=128)
    return {"projectName": project, "environment": "production"}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_first_deploy(case: Case, house: Stage, unfit: None) -> None:
    where = project_of(house, case.name)
    began = time.monotonic()
    status, answer = house.ask("deploy", {**where, "image": case.tag, "timeout": case.timeout})
    spent = time.monotonic() - began
    assert case.soonest <= spent <= case.latest, f"took {spent:.1f} s: {json.dumps(answer)[:1500]}"
    slots = house.call("slot_status", **where)
    if not case.code:
        assert (status, answer["healthChecked"], slots["blue"]["state"]) == (200, True, "deployed"), answer
    else:
        assert (status, answer["code"], answer["details"]["step"]) == (409, case.code, "health"), answer
        assert case.says in answer["error"] + "\n".join(answer["details"]["logs"]), answer
        assert answer["hint"]
        assert [step["name"] for step in answer["details"]["steps"]][-1] == "health"
        assert "undoFaults" not in answer["details"]
        assert (slots["blue"]["state"], slots["green"]["state"]) == ("empty", "empty")
        assert not [name for name in oracle.look(house, where["projectName"]).containers]
    assert oracle.judge(house, where["projectName"]) == []


def test_an_exit_is_told_with_its_code(house: Stage, unfit: None) -> None:
    where = project_of(house, "code")
    _, answer = house.ask("deploy", {**where, "image": "codebtest-unfit:exits"})
    assert answer["details"]["exitCode"] == 7


class EmptyRegistry(BaseHTTPRequestHandler):
    """An image registry that answers and has nothing."""

    def do_GET(self) -> None:
        there = self.path == "/v2/"
        body = b"{}" if there else b'{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}'
        self.send_response(200 if there else 404)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body if self.command == "GET" else b"")

    do_HEAD = do_GET

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def empty_registry() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), EmptyRegistry) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("reachable", "expected"), [(True, (404, "image_not_found")), (False, (503, "image_registry_unavailable"))]
)
def test_an_image_that_is_not_there(house: Stage, empty_registry: str, reachable: bool, expected: tuple[int, str]) -> None:
    where = project_of(house, f"none-{reachable}".lower())
    began = time.monotonic()
    image = f"{empty_registry if reachable else '127.0.0.1:1'}/thing:1"
    status, answer = house.ask("deploy", {**where, "image": image})
    assert time.monotonic() - began < 3
    assert (status, answer["code"]) == expected, answer
    assert answer["details"]["step"] == "pull"
    assert answer["hint"]
    assert oracle.judge(house, where["projectName"]) == []


GRACE_CASES = {"exits": 60.0, "never-listens": 1.5}


def test_a_failed_deploy_leaves_the_grace_slot_working(house: Stage, images: dict[str, str], unfit: None) -> None:
    where = project_of(house, "grace")
    host = f"{where['projectName']}.localhost"
    house.call("deploy", **where, image=images["v1"], autoPromote=True)
    house.call("deploy", **where, image=images["v2"], autoPromote=True)
    before = house.call("slot_status", **where)["blue"]
    load = LoadClient(house.http_port, host, Rates(20, 20, 5, 0.5, 1, 1, 2, 2))
    try:
        for name, timeout in GRACE_CASES.items():
            status, answer = house.ask("deploy", {**where, "image": f"codebtest-unfit:{name}", "timeout": timeout})
            assert status == 409, answer
            assert "undoFaults" not in answer["details"], answer
            after = house.call("slot_status", **where)["blue"]
            kept = ("state", "version", "deploymentId", "graceExpiresAt", "port")
            assert {key: after[key] for key in kept} == {key: before[key] for key in kept}
            assert oracle.judge(house, where["projectName"]) == []
        back = house.call("rollback", **where)
    finally:
        seen = load.result()
    assert (back["activeSlot"], back["version"]) == ("blue", "v1")
    assert json.loads(house.public(host)[2])["version"] == "v1"
    assert oracle.judge(house, where["projectName"]) == []
    assert (seen["total"]["failed"], seen["total"]["cut"]) == (0, 0), seen["failures"]


def test_a_deploy_over_a_grace_slot_says_that_the_way_back_is_gone(house: Stage, images: dict[str, str]) -> None:
    where = project_of(house, "over")
    for version in ("v1", "v2"):
        house.call("deploy", **where, image=images[version], autoPromote=True)
    plan = house.call("deploy", **where, image=images["v1"], dryRun=True)
    assert plan["plan"]["graceEnded"] is True
    done = house.call("deploy", **where, image=images["v1"], planId=plan["planId"])
    assert (done["slot"], done["graceEnded"]) == ("blue", True)
    assert house.ask("rollback", where)[1]["code"] == "no_grace"
    assert oracle.judge(house, where["projectName"]) == []


def inspected(stage: Stage, name: str) -> dict[str, Any]:
    return dict(stage.engine.send("GET", f"/containers/{name}/json"))


def inside(stage: Stage, container: str, program: str) -> str:
    """What a Python program prints inside a container."""
    told = {"AttachStdout": True, "AttachStderr": True, "Tty": True, "Cmd": ["python3", "-S", "-c", program]}
    headers = {"Content-Type": "application/json"}
    made = stage.engine.send("POST", f"/containers/{container}/exec", json.dumps(told).encode(), headers)
    start = json.dumps({"Detach": False, "Tty": True}).encode()
    status, said = stage.engine.call("POST", f"/exec/{made['Id']}/start", start, headers)
    assert status == 200, said
    return said.decode()


TRY = "import socket\ntry:\n socket.create_connection(('{address}', {port}), 2).close(); print('open')\nexcept OSError as e: print('shut', e)"


def test_hardening_and_limits_as_docker_itself_tells_them(house: Stage, images: dict[str, str]) -> None:
    units = []
    for name in ("walls-a", "walls-b"):
        where = project_of(house, name)
        port = house.call("deploy", **where, image=images["v1"])["port"]
        unit = inspected(house, f"{where['projectName']}-production-blue")
        units.append(unit)
        host = unit["HostConfig"]
        assert (host["Memory"], host["MemorySwap"], host["NanoCpus"], host["PidsLimit"]) == (128 << 20, 128 << 20, 10**9, 256)
        assert (host["CapDrop"], host["SecurityOpt"], host["Privileged"]) == (["ALL"], ["no-new-privileges"], False)
        assert not {"SYS_ADMIN", "NET_RAW", "NET_ADMIN", "SYS_PTRACE"} & {cap.removeprefix("CAP_") for cap in host["CapAdd"]}
        assert {"noexec", "nosuid"} <= set(host["Tmpfs"]["/tmp"].split(","))
        assert host["RestartPolicy"]["Name"] == "unless-stopped"
        assert not host["Binds"]
        assert unit["NetworkSettings"]["Ports"] == {"3000/tcp": [{"HostIp": "127.0.0.1", "HostPort": str(port)}]}
        assert unit["Image"].startswith("sha256:")
        assert list(unit["NetworkSettings"]["Networks"]) == [f"codeb-{where['projectName']}"]
    first, second = (next(iter(unit["NetworkSettings"]["Networks"].values())) for unit in units)
    assert first["NetworkID"] != second["NetworkID"]
    own = TRY.format(address=first["IPAddress"], port=3000)
    assert inside(house, units[0]["Id"], own).strip() == "open", "the check itself has to work"


def test_projects_deploy_side_by_side(house: Stage, images: dict[str, str], unfit: None) -> None:
    """A deploy that waits for its health holds nobody else up."""
    slow, quick = project_of(house, "slow"), project_of(house, "quick")
    waiting = threading.Thread(target=house.ask, args=("deploy", {**slow, "image": "codebtest-unfit:hangs", "timeout": 4}))
    waiting.start()
    try:
        time.sleep(0.3)
        house.call("deploy", **quick, image=images["v1"], autoPromote=True)
        assert waiting.is_alive()
    finally:
        waiting.join()
    assert oracle.judge(house, slow["projectName"]) == []
