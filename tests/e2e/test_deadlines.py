"""P3: whatever hangs, an operation ends by its deadline and what its undoing may take, and the next one can start.

The house has short deadlines and its own door to Docker. A visitor asks the active version of another project all the
time: production loses nothing while Caddy lives (P1). `TIMES` is printed at the end: from the call to its answer.
"""

import contextlib
import os
import signal
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from demo.images import Builder

from tests import oracle
from tests.docker_door import DockerDoor
from tests.e2e.crash import MIGRATES
from tests.e2e.failing import CASES
from tests.e2e.visitor import Visitor
from tests.stage import Stage

pytestmark = [pytest.mark.docker, pytest.mark.proxy]

DEPLOY, SWITCH, UNDO = 5.0, 6.0, 3.0
SLACK = 6.0
"""for a machine that does other things"""
NUMBERS = count(1)
TIMES: list[str] = []

Where = dict[str, str]


class House(Stage):
    def __init__(self, door: DockerDoor) -> None:
        super().__init__(
            pairs=12, DOCKER_HOST=door.url, DEPLOY_TIMEOUT=str(DEPLOY), SWITCH_TIMEOUT=str(SWITCH), UNDO_TIMEOUT=str(UNDO)
        )
        self.door = door

    def timed(self, what: str, tool: str, params: dict[str, Any], limit: float) -> dict[str, Any]:
        """A call that is to fail, within this limit; its envelope."""
        began = time.monotonic()
        status, body = self.ask(tool, params)
        spent = time.monotonic() - began
        TIMES.append(f"{what}: {spent:.1f} s of {limit:g} s, {body.get('code')}")
        assert status >= 400, body
        assert spent <= limit + SLACK, (what, spent, body)
        return body


@pytest.fixture(scope="module")
def house(builder: Builder) -> Iterator[House]:
    for case in CASES:
        if case.name in ("hangs", "drips"):
            case.build(builder)
    with tempfile.TemporaryDirectory(prefix="codebtest-") as folder:
        door = DockerDoor(Path(folder, "docker.sock"))
        try:
            with House(door) as stage:
                yield stage
        finally:
            door.close()
    print("\n" + "\n".join(TIMES))


@pytest.fixture(scope="module")
def shop(house: House, images: dict[str, str]) -> Where:
    """A project with an active version and one in grace."""
    where = new_project(house)
    for version in ("v1", "v2"):
        house.call("deploy", **where, image=images[version], autoPromote=True)
    return where


@pytest.fixture
def visited(house: House, shop: Where) -> Iterator[None]:
    visitor = Visitor(house.http_port, f"{shop['projectName']}.localhost")
    time.sleep(0.3)
    yield
    lost = visitor.close()
    if not MIGRATES:
        # A site that came or went reloaded the proxy, and this kernel resets what waits at that moment to be accepted.
        lost = [each for each in lost if "ConnectionResetError" not in each and "RemoteDisconnected" not in each]
    assert lost == []
    assert visitor.sent > 5


def new_project(house: House) -> Where:
    where = {"projectName": f"{house.project}-d{next(NUMBERS)}", "environment": "production"}
    house.call("project_create", projectName=where["projectName"], healthPath="/health", memoryMb=128)
    return where


def the_next_one_works(house: House, where: Where, image: str) -> None:
    """On the same project, at once, and nothing of the one that failed is left. Only what mends it may come before."""
    end = time.monotonic() + 15
    while True:
        status, body = house.ask("deploy", {**where, "image": image})
        if body.get("code") != "operation_in_progress" or time.monotonic() > end:
            break
        assert body["details"]["tool"] not in ("deploy", "promote"), body
        time.sleep(0.2)
    assert status == 200, body
    assert oracle.judge(house, where["projectName"]) == []


def ended(house: House, answer: dict[str, Any]) -> dict[str, Any]:
    """The operation of that answer is over, its lock free."""
    found = dict(house.call("operation_get", operationId=answer["details"]["operationId"])["operation"])
    assert found["state"] == "failed", found
    assert not [row for row in oracle.rows(house, "select * from operation_locks") if row["operation_id"] == found["operationId"]]
    return found


# --- image registry and health endpoint --------------------------------------------------------------------------


@contextlib.contextmanager
def stubborn_registry(drip: bool) -> Iterator[str]:
    """Takes connections and says nothing; or answers a byte a second, once it was found to be an image registry."""
    over = threading.Event()

    def serve(line: socket.socket) -> None:
        with line, contextlib.suppress(OSError):
            first = line.recv(4096)
            if first[:1] == b"\x16":  # Docker tries TLS first; unanswered, it would wait for ten seconds
                return
            if drip and b" /v2/ " in first:
                line.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
            elif drip:
                line.sendall(b"HTTP/1.1 200 OK\r\nDocker-Content-Digest: sha256:")
                while not over.wait(1):
                    line.sendall(b"0")
            over.wait()

    with socket.create_server(("127.0.0.1", 0)) as listener:

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        yield f"127.0.0.1:{listener.getsockname()[1]}"
        over.set()
        listener.shutdown(socket.SHUT_RDWR)


def test_image_registries_and_health_endpoints_that_hang(house: House, images: dict[str, str], visited: None) -> None:
    """All at once, each on a project of its own: they do not wait for each other either."""
    with stubborn_registry(drip=False) as silent, stubborn_registry(drip=True) as dripping, ThreadPoolExecutor() as pool:
        cases = {
            "image registry silent": (f"{silent}/thing:1", "pull"),
            "image registry drips": (f"{dripping}/thing:1", "pull"),
            "health endpoint drips": ("codebtest-unfit:drips", "health"),
            "health endpoint silent": ("codebtest-unfit:hangs", "health"),
        }
        wheres = {name: new_project(house) for name in cases}

        def one(name: str) -> dict[str, Any]:
            return house.timed(name, "deploy", {**wheres[name], "image": cases[name][0], "timeout": 60}, DEPLOY + UNDO)

        answers = dict(zip(cases, pool.map(one, cases), strict=True))
    for name, answer in answers.items():
        assert (answer["code"], answer["details"]["step"]) == ("deadline", cases[name][1]), answer
        assert "undoFaults" not in answer["details"], answer
        ended(house, answer)
        the_next_one_works(house, wheres[name], images["v1"])


# --- Docker ------------------------------------------------------------------------------------------------------


def under_way(house: House, where: Where, step: str) -> str:
    """The id of the operation once it is at this step."""
    end = time.monotonic() + 20
    while time.monotonic() < end:
        for each in house.call("operation_list", projectName=where["projectName"], running=True)["operations"]:
            if each["step"] == step:
                return str(each["operationId"])
        time.sleep(0.05)
    raise AssertionError(f"{where} never came to {step}")


@pytest.mark.parametrize("way", ["silent", "shut"])
def test_docker_goes_away_in_the_middle(way: str, house: House, images: dict[str, str], shop: Where, visited: None) -> None:
    """It ends, says what it could not undo, and answers everything else meanwhile; once Docker is back the next one works."""
    where = new_project(house)
    with ThreadPoolExecutor() as pool:
        params = {**where, "image": "codebtest-unfit:hangs", "timeout": 60}
        waiting = pool.submit(house.timed, f"Docker {way} during health", "deploy", params, DEPLOY + UNDO)
        operation = under_way(house, where, "health")
        house.door.set(way)
        try:
            look = answers_within(1, lambda: house.call("operation_get", operationId=operation))
            assert look["operation"]["state"] in ("running", "unwinding")
            checks = {each["name"]: each["status"] for each in answers_within(5, lambda: house.call("health_check"))["checks"]}
            assert checks["docker"] == "fail"
            answer = waiting.result()
        finally:
            house.door.set("open")
    assert answer["code"] in ("docker_unavailable", "deadline"), answer
    assert [fault.partition(":")[0] for fault in answer["details"]["undoFaults"]] == ["start", "clear"], answer
    assert "Not everything could be undone" in answer["error"]
    assert any(text.startswith("not undone: start") for text in ended(house, answer)["warnings"])
    the_next_one_works(house, where, images["v1"])


def answers_within(seconds: float, call: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    began = time.monotonic()
    body = call()
    assert time.monotonic() - began < seconds + SLACK / 2, body
    return body


def test_docker_does_as_told_and_its_answer_is_lost(house: House, images: dict[str, str], visited: None) -> None:
    """The container runs and nobody was told: it is undone all the same."""
    where = new_project(house)
    house.door.set("deaf", "/start ")
    try:
        answer = house.timed("Docker's answer to a start is lost", "deploy", {**where, "image": images["v1"]}, DEPLOY + UNDO)
    finally:
        house.door.set("open")
    assert (answer["code"], answer["details"]["step"]) == ("deadline", "start"), answer
    assert house.door.asked[-1].endswith("/start HTTP/1.1")
    assert "undoFaults" not in answer["details"], answer
    assert not oracle.look(house, where["projectName"]).containers
    ended(house, answer)
    the_next_one_works(house, where, images["v1"])


def test_docker_silent_before_a_promote_and_many_who_ask(
    house: House, images: dict[str, str], shop: Where, visited: None
) -> None:
    """Nobody waits for the time-outs of those who asked before; production stays where it is, and then moves."""
    house.call("deploy", **shop, image=images["v1"])
    house.door.set("silent")
    try:
        with ThreadPoolExecutor(8) as pool:
            looks = [pool.submit(answers_within, 12, lambda: house.call("slot_status", **shop)) for _ in range(6)]
            answer = house.timed("Docker silent at promote", "promote", shop, SWITCH + UNDO)
            for each in looks:
                each.result()
    finally:
        house.door.set("open")
    assert (answer["code"], answer["details"]["step"]) == ("deadline", "check"), answer
    assert "undoFaults" not in answer["details"], answer
    ended(house, answer)
    assert house.call("promote", **shop)["activeSlot"] == "blue"
    assert oracle.judge(house, shop["projectName"]) == []


# --- Caddy -------------------------------------------------------------------------------------------------------


def test_caddy_hangs(house: House, images: dict[str, str], shop: Where) -> None:
    """The site that could not be taken away is named, everything else undone; production answers when Caddy does again."""
    where, pid = new_project(house), house.proxy_pid
    assert pid is not None
    live = house.call("slot_status", **shop)["activeSlot"]
    house.call("deploy", **shop, image=images["v2"])
    os.kill(pid, signal.SIGSTOP)
    try:
        with ThreadPoolExecutor() as pool:
            params = {**where, "image": images["v1"]}
            deploy = pool.submit(house.timed, "Caddy hangs at a first deploy", "deploy", params, DEPLOY + UNDO)
            switch = house.timed("Caddy hangs at promote", "promote", shop, SWITCH + UNDO)
            first = deploy.result()
        assert [fault.partition(":")[0] for fault in first["details"]["undoFaults"]] == ["preview"], first
        assert not oracle.look(house, where["projectName"]).containers
    finally:
        os.kill(pid, signal.SIGCONT)
    assert switch["code"] in ("deadline", "not_proven"), switch
    assert "undoFaults" not in switch["details"], switch
    assert house.public(f"{shop['projectName']}.localhost")[1]["x-codeb-slot"] == live
    ended(house, first)
    ended(house, switch)
    the_next_one_works(house, where, images["v1"])
    assert house.call("promote", **shop)["activeSlot"] != live


def answering(house: House, where: Where) -> str:
    """The slot that answers in public, once Caddy runs again."""
    end = time.monotonic() + 15
    while True:
        try:
            return house.public(f"{where['projectName']}.localhost")[1]["x-codeb-slot"]
        except ConnectionError:
            if time.monotonic() > end:
                raise AssertionError(house.log[-3000:]) from None
            time.sleep(0.1)


@contextlib.contextmanager
def down_for_good(house: House) -> Iterator[None]:
    """Caddy is killed, and cannot be started while somebody else has its port and says nothing."""
    for _ in range(20):
        house.stop_proxy()
        try:
            squatter = socket.create_server(("127.0.0.1", house.http_port))
        except OSError:
            time.sleep(0.2)  # one was just being started
            continue
        with squatter:
            yield
        return
    raise AssertionError("Caddy was always there first")


def test_caddy_is_down(house: House, images: dict[str, str], shop: Where) -> None:
    """Nothing waits for it, and nothing is left to undo; the registry says what is still true."""
    where, before = new_project(house), house.call("slot_status", **shop)
    slot, other = before["activeSlot"], {"blue": "green", "green": "blue"}[before["activeSlot"]]
    house.call("deploy", **shop, image=images["v1"])
    with down_for_good(house):
        first = house.timed("Caddy down at a first deploy", "deploy", {**where, "image": images["v1"]}, DEPLOY + UNDO)
        switch = house.timed("Caddy down at promote", "promote", shop, SWITCH + UNDO)
        again = house.timed("Caddy down at a later deploy", "deploy", {**shop, "image": images["v2"]}, DEPLOY + UNDO)
    for answer in (first, switch, again):
        assert "undoFaults" not in answer["details"], answer
        assert answer["hint"]
        ended(house, answer)
    assert {switch["code"], again["code"]} <= {"unavailable", "not_proven"}
    assert not oracle.look(house, where["projectName"]).containers
    now = house.call("slot_status", **shop)
    assert (now["activeSlot"], now[other]["state"], now[other]["version"]) == (slot, "deployed", "v1")
    house.stop()
    house.start()
    assert answering(house, shop) == slot
    assert house.call("promote", **shop)["activeSlot"] == other
    assert oracle.judge(house, shop["projectName"]) == []
    the_next_one_works(house, where, images["v1"])
