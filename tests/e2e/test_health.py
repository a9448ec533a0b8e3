"""Images that are not fit for traffic: each deploy ends as the spec says, when it says, and leaves nothing behind."""

import contextlib
import json
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from typing import Any

import pytest
from demo.images import Builder
from demo.load import Rates

from tests import oracle
from tests.e2e.failing import CASES, Case
from tests.e2e.nursery import QuickStage
from tests.e2e.zeroloss import LoadClient
from tests.stage import Stage

pytestmark = [pytest.mark.docker, pytest.mark.proxy]

NUMBERS = count(1)


@pytest.fixture(scope="module")
def unfit(builder: Builder) -> None:
    for case in CASES:
        case.build(builder)


Where = dict[str, str]


@pytest.fixture(scope="module")
def house() -> Iterator[Stage]:
    with QuickStage() as stage:
        yield stage


@contextlib.contextmanager
def project(stage: Stage, name: str) -> Iterator[Where]:
    """A project, judged and deleted at the end: Docker has room for some thirty networks only."""
    where = {"projectName": f"{stage.project}-{name}", "environment": "production"}
    stage.call("project_create", projectName=where["projectName"], healthPath="/health", memoryMb=128)
    yield where
    assert oracle.judge(stage, where["projectName"]) == []
    assert stage.call("project_delete", projectName=where["projectName"], confirm=where["projectName"])["deleted"]
    assert stage.call("project_delete", projectName=where["projectName"], confirm=where["projectName"], purge=True)["purged"]


@pytest.fixture
def where(house: Stage) -> Iterator[Where]:
    with project(house, f"t{next(NUMBERS)}") as made:
        yield made


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_first_deploy(case: Case, house: Stage, unfit: None, where: Where) -> None:
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
        assert not oracle.look(house, where["projectName"]).containers


def test_an_exit_is_told_with_its_code(house: Stage, unfit: None, where: Where) -> None:
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
def test_an_image_that_is_not_there(
    house: Stage, empty_registry: str, reachable: bool, expected: tuple[int, str], where: Where
) -> None:
    began = time.monotonic()
    image = f"{empty_registry if reachable else '127.0.0.1:1'}/thing:1"
    status, answer = house.ask("deploy", {**where, "image": image})
    assert time.monotonic() - began < 3
    assert (status, answer["code"]) == expected, answer
    assert answer["details"]["step"] == "pull"
    assert answer["hint"]


GRACE_CASES = {"exits": 60.0, "never-listens": 1.5}


def test_a_failed_deploy_leaves_the_grace_slot_working(house: Stage, images: dict[str, str], unfit: None, where: Where) -> None:
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
    assert (seen["total"]["failed"], seen["total"]["cut"]) == (0, 0), seen["failures"]


def test_a_deploy_over_a_grace_slot_says_that_the_way_back_is_gone(house: Stage, images: dict[str, str], where: Where) -> None:
    for version in ("v1", "v2"):
        house.call("deploy", **where, image=images[version], autoPromote=True)
    plan = house.call("deploy", **where, image=images["v1"], dryRun=True)
    assert plan["plan"]["graceEnded"] is True
    done = house.call("deploy", **where, image=images["v1"], planId=plan["planId"])
    assert (done["slot"], done["graceEnded"]) == ("blue", True)
    assert house.ask("rollback", where)[1]["code"] == "no_grace"


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


TRY = """import socket
try: print('open', socket.create_connection(('{address}', 3000), 2).close())
except OSError as fault: print('shut', fault)"""


REACH = """import os, socket
for port in {ports}:
    try: print(port, 'open', socket.create_connection(('{gateway}', port), 2).close())
    except OSError as fault: print(port, 'shut', fault)
print('sockets', [path for path in {paths} if os.path.exists(path)])"""


def test_nothing_of_the_house_is_within_a_tenants_reach(house: Stage, images: dict[str, str]) -> None:
    """S17: neither the API, nor Caddy's admin interface, nor Docker, nor another project's port, from inside a container."""
    with project(house, "reach-a") as one, project(house, "reach-b") as other, socket.create_server(("0.0.0.0", 0)) as control:
        unit, neighbour = (walls(house, where, images["v1"]) for where in (one, other))
        gateway = next(iter(unit["NetworkSettings"]["Networks"].values()))["Gateway"]
        published = [int(each["HostPort"]) for each in neighbour["HostConfig"]["PortBindings"]["3000/tcp"]]
        open_port = control.getsockname()[1]
        ports = [open_port, int(house.settings["PORT"]), 2019, 2375, 2376, *published]
        paths = ["/var/run/docker.sock", "/run/docker.sock", str(house.home), str(house.home / "caddy" / "admin.sock")]
        said = inside(house, unit["Id"], REACH.format(ports=ports, gateway=gateway, paths=paths))
        answers = {int(line.split()[0]): line.split()[1] for line in said.splitlines() if line[:1].isdigit()}
        assert answers.pop(open_port) == "open", f"the check itself has to work: {said}"
        assert answers == dict.fromkeys(ports[1:], "shut"), said
        assert "sockets []" in said


def test_hardening_and_limits_as_docker_itself_tells_them(house: Stage, images: dict[str, str]) -> None:
    with project(house, "walls-a") as one, project(house, "walls-b") as other:
        units = [walls(house, where, images["v1"]) for where in (one, other)]
        first, second = (next(iter(unit["NetworkSettings"]["Networks"].values())) for unit in units)
        assert first["NetworkID"] != second["NetworkID"]
        tries = [inside(house, units[0]["Id"], TRY.format(address=net["IPAddress"])) for net in (first, second)]
        assert tries[0].startswith("open"), "the check itself has to work"
        assert tries[1].startswith("shut"), "another project's container is out of reach"


def walls(house: Stage, where: Where, image: str) -> dict[str, Any]:
    """Deploy, and hold what Docker says of the container against what was promised of it."""
    port = house.call("deploy", **where, image=image)["port"]
    unit = inspected(house, f"{where['projectName']}-production-blue")
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
    return unit


def test_projects_deploy_side_by_side(house: Stage, images: dict[str, str], unfit: None) -> None:
    """A deploy that waits for its health holds nobody else up."""
    with project(house, "slow") as slow, project(house, "quick") as quick:
        deploy = {**slow, "image": "codebtest-unfit:hangs", "timeout": 4}
        waiting = threading.Thread(target=house.ask, args=("deploy", deploy))
        waiting.start()
        try:
            time.sleep(0.3)
            house.call("deploy", **quick, image=images["v1"], autoPromote=True)
            assert waiting.is_alive()
        finally:
            waiting.join()
