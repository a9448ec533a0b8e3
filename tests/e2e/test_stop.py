"""Stops, hang-ups, repetitions and refusals: what a caller may rely on when something gets in between."""

import http.client
import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest
from demo.images import Builder
from demo.load import Rates

from tests import oracle
from tests.e2e.failing import REPOSITORY
from tests.e2e.zeroloss import LoadClient
from tests.stage import Stage

pytestmark = [pytest.mark.docker, pytest.mark.proxy]

NUMBERS = count(1)
SLOW, HANGING = f"{REPOSITORY}:slow", f"{REPOSITORY}:hanging"
Where = dict[str, str]


@pytest.fixture(scope="module")
def late(builder: Builder) -> None:
    """An image that is healthy after three seconds, and one that never is."""
    builder.app(SLOW, "slow", {"START_DELAY": "3"})
    builder.app(HANGING, "hanging", {"HEALTH": "hang"})


@pytest.fixture(scope="module")
def house() -> Iterator[Stage]:
    with Stage(pairs=24) as stage:
        yield stage


def project_of(stage: Stage, environment: str = "production") -> Where:
    name = f"{stage.project}-p{next(NUMBERS)}"
    stage.call("project_create", projectName=name, environments=[environment], healthPath="/health", memoryMb=128)
    return {"projectName": name, "environment": environment}


@pytest.fixture
def where(house: Stage) -> Iterator[Where]:
    made = project_of(house)
    yield made
    assert oracle.judge(house, made["projectName"]) == []
    house.call("project_delete", projectName=made["projectName"], confirm=made["projectName"])
    house.call("project_delete", projectName=made["projectName"], confirm=made["projectName"], purge=True)


class Asking(threading.Thread):
    """A call that somebody waits for, while the test goes on."""

    def __init__(self, stage: Stage, tool: str, params: dict[str, Any]) -> None:
        super().__init__()
        self.stage, self.tool, self.params = stage, tool, params
        self.status, self.answer = 0, dict[str, Any]()
        self.start()

    def run(self) -> None:
        self.status, self.answer = self.stage.ask(self.tool, self.params)


def until_at(stage: Stage, where: Where, step: str = "health", seconds: float = 10) -> str:
    """Wait until an operation of the place is at this step; its id."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        running = stage.call("slot_status", **where)["operation"]
        if running and running["step"] == step:
            return str(running["operationId"])
        time.sleep(0.05)
    raise AssertionError(f"no operation at {step}: {stage.call('operation_list', projectName=where['projectName'])}")


def ended(stage: Stage, operation: str) -> dict[str, Any]:
    """The operation once it is over, by long polling alone."""
    seen, end = 0, time.monotonic() + 30
    while time.monotonic() < end:
        found = stage.call("operation_get", operationId=operation, waitSeconds=10, seen=seen)
        if found["operation"]["endedAt"]:
            return found
        seen = found["changes"]
    raise AssertionError(f"{operation} does not end: {found}")


# stopping


def test_sigterm_lets_a_deploy_end_and_begins_no_other(images: dict[str, str], late: None) -> None:
    with Stage() as stage:
        where, other = project_of(stage), project_of(stage)
        caller = Asking(stage, "deploy", {**where, "image": SLOW})
        until_at(stage, where)
        began = time.monotonic()
        assert stage.process
        stage.process.send_signal(signal.SIGTERM)
        time.sleep(0.2)
        status, refused = stage.ask("deploy", {**other, "image": images["v1"]})
        assert (status, refused["code"], refused["retryable"]) == (503, "stopping", True), refused
        assert json.loads(stage.get("/health")[1])["status"] == "stopping"
        caller.join()
        assert (caller.status, caller.answer.get("slot")) == (200, "blue"), caller.answer
        assert stage.until_dead(30) == 0
        assert time.monotonic() - began < 30
        stage.start()
        assert stage.call("slot_status", **where)["blue"]["state"] == "deployed"
        assert stage.call("slot_status", **other)["blue"]["state"] == "empty"
        assert [oracle.judge(stage, each["projectName"]) for each in (where, other)] == [[], []]


def test_sigterm_does_not_wait_for_ever(images: dict[str, str], late: None) -> None:
    with Stage() as stage:
        where = project_of(stage)
        stage.call("deploy", **where, image=images["v1"], autoPromote=True)
        caller = Asking(stage, "deploy", {**where, "image": HANGING, "timeout": 300})
        operation = until_at(stage, where)
        began = time.monotonic()
        assert stage.stop(30) == 0
        assert time.monotonic() - began < 30
        caller.join()
        assert (caller.status, caller.answer["code"]) == (503, "stopping"), caller.answer
        assert caller.answer["details"]["operationId"] == operation
        assert stage.public(f"{where['projectName']}.localhost")[1]["x-codeb-slot"] == "blue"
        stage.start()
        found = ended(stage, operation)
        assert (found["operation"]["state"], found["operation"]["resumed"]) == ("failed", 1)
        assert found["operation"]["error"]["code"] == "interrupted"
        assert oracle.judge(stage, where["projectName"]) == []


def test_kill_9_leaves_the_traffic_alone(images: dict[str, str], late: None) -> None:
    with Stage() as stage:
        where = project_of(stage)
        stage.call("deploy", **where, image=images["v1"], autoPromote=True)
        load = LoadClient(stage.http_port, f"{where['projectName']}.localhost", Rates(30, 30, 10, 1, 2, 2, 3, 3))
        try:
            time.sleep(1)
            stage.call("deploy", **where, image=HANGING, timeout=300, wait=False)
            until_at(stage, where)
            stage.kill()
            time.sleep(2)
            stage.start()
            oracle.settle(stage)
        finally:
            seen = load.result()
        assert seen["total"]["ok"] > 100
        assert (seen["total"]["failed"], seen["total"]["cut"]) == (0, 0), seen["failures"]
        assert set(seen["slots"]) == {"blue"}
        assert oracle.judge(stage, where["projectName"]) == []


# callers that go away, come back, or change their mind


def send(stage: Stage, tool: str, params: dict[str, Any], headers: dict[str, str] | None = None) -> http.client.HTTPConnection:
    """Send a call and do not wait for its answer."""
    connection = http.client.HTTPConnection("127.0.0.1", stage.api_port, timeout=30)
    sent = {"Content-Type": "application/json", "X-API-Key": stage.key, **(headers or {})}
    connection.request("POST", "/api/tool", json.dumps({"tool": tool, "params": params}), sent)
    return connection


def test_a_caller_who_hangs_up_cancels_nothing(house: Stage, late: None, where: Where) -> None:
    caller = send(house, "deploy", {**where, "image": SLOW})
    operation = until_at(house, where)
    caller.close()
    found = ended(house, operation)
    assert found["operation"]["state"] == "succeeded"
    assert found["result"]["slot"] == "blue"
    assert house.call("slot_status", **where)["blue"]["state"] == "deployed"


def test_a_key_whose_first_answer_was_lost_brings_the_same_deployment(house: Stage, late: None, where: Where) -> None:
    params, key = {**where, "image": SLOW}, {"Idempotency-Key": f"lost-{where['projectName']}"}
    caller = send(house, "deploy", params, key)
    operation = until_at(house, where)
    caller.close()
    status, meanwhile = house.ask("deploy", params, key)
    assert (status, meanwhile["operationId"]) == (200, operation), meanwhile
    status, later = house.ask("deploy", params, key)
    assert (status, later["deploymentId"]) == (200, meanwhile["deploymentId"])
    listed = house.call("operation_list", projectName=where["projectName"])["operations"]
    assert [each["operationId"] for each in listed] == [operation]
    status, other = house.ask("deploy", {**params, "version": "other"}, key)
    assert (status, other["code"]) == (409, "idempotency_conflict")


def test_a_key_survives_a_restart(images: dict[str, str]) -> None:
    with Stage() as stage:
        where = project_of(stage)
        params, key = {**where, "image": images["v1"]}, {"Idempotency-Key": "once"}
        first = stage.ask("deploy", params, key)[1]
        stage.kill()
        stage.start()
        status, again = stage.ask("deploy", params, key)
        assert (status, again["deploymentId"], again["operationId"]) == (200, first["deploymentId"], first["operationId"])


def test_cancelling_before_the_commit_point_undoes(house: Stage, images: dict[str, str], late: None, where: Where) -> None:
    house.call("deploy", **where, image=images["v1"])
    house.call("promote", **where)
    house.call("deploy", **where, image=images["v2"])
    before = house.call("slot_status", **where)["green"]
    caller = Asking(house, "deploy", {**where, "image": HANGING, "timeout": 120})
    operation = until_at(house, where)
    began = time.monotonic()
    assert house.call("operation_cancel", operationId=operation)["state"] == "cancelled"
    assert time.monotonic() - began < 15
    caller.join()
    assert (caller.status, caller.answer["code"]) == (409, "cancelled"), caller.answer
    after = house.call("slot_status", **where)["green"]
    assert [after[key] for key in ("state", "version", "deploymentId")] == [
        before[key] for key in ("state", "version", "deploymentId")
    ]
    status, again = house.ask("operation_cancel", {"operationId": operation})
    assert (status, again["code"]) == (409, "already_ended")


def test_wait_false_answers_at_once_and_is_followed_step_by_step(house: Stage, late: None, where: Where) -> None:
    began = time.monotonic()
    accepted = house.call("deploy", **where, image=SLOW, wait=False)
    assert time.monotonic() - began < 1.5
    steps, seen, over = [], 0, False
    while not over:
        found = house.call("operation_get", operationId=accepted["operationId"], waitSeconds=10, seen=seen)
        assert found["changes"] > seen or found["operation"]["endedAt"], "it answers when something changed"
        steps, seen, over = [each["name"] for each in found["steps"]], found["changes"], bool(found["operation"]["endedAt"])
    assert found["operation"]["state"] == "succeeded"
    assert steps == ["validate", "slot", "record", "pull", "clear", "env", "start", "health", "preview", "commit", "tidy"]
    assert found["result"]["previewUrl"]


# refusals


def test_a_plan_of_a_world_that_moved_is_refused(house: Stage, images: dict[str, str], where: Where) -> None:
    plan = house.call("deploy", **where, image=images["v1"], dryRun=True)
    assert house.call("slot_status", **where)["blue"]["state"] == "empty"
    house.call("deploy", **where, image=images["v1"], planId=plan["planId"])
    status, stale = house.ask("deploy", {**where, "image": images["v1"], "planId": plan["planId"]})
    assert (status, stale["code"]) == (409, "stale_plan")
    plan = house.call("promote", **where, dryRun=True)
    house.call("deploy", **where, image=images["v2"])
    status, stale = house.ask("promote", {**where, "planId": plan["planId"]})
    assert (status, stale["code"]) == (409, "stale_plan")
    assert house.call("slot_status", **where)["activeSlot"] is None


def test_promote_with_nothing_deployed(house: Stage, where: Where) -> None:
    status, answer = house.ask("promote", where)
    assert (status, answer["code"], answer["hint"]) == (409, "nothing_to_promote", "Run deploy first.")


def redeployed(stage: Stage, where: Where, answer: dict[str, Any], version: str) -> None:
    """The call that a refused rollback names does bring the version back."""
    named = answer["details"]["redeploy"]
    assert named["tool"] == "deploy"
    assert named["params"]["image"] in answer["hint"]
    done = stage.call(named["tool"], **named["params"])
    assert done["version"] == version
    assert stage.call("promote", **where)["version"] == version


def test_rollback_without_a_way_back_names_the_deploy(house: Stage, images: dict[str, str], where: Where) -> None:
    status, answer = house.ask("rollback", where)
    assert (status, answer["code"]) == (409, "nothing_active")
    house.call("deploy", **where, image=images["v1"], autoPromote=True)
    status, answer = house.ask("rollback", where)
    assert (status, answer["code"]) == (409, "no_grace")
    house.call("deploy", **where, image=images["v2"], autoPromote=True)
    house.call("slot_cleanup", **where, slot="blue", force=True)
    status, answer = house.ask("rollback", where)
    assert (status, answer["code"]) == (409, "no_grace")
    redeployed(house, where, answer, "v1")


def test_rollback_to_an_unhealthy_slot_names_the_deploy(house: Stage, images: dict[str, str], where: Where) -> None:
    for version in ("v1", "v2"):
        house.call("deploy", **where, image=images[version], autoPromote=True)
    blue = f"{where['projectName']}-production-blue"
    house.engine.send("POST", f"/containers/{blue}/kill")
    status, answer = house.ask("rollback", where)
    assert (status, answer["code"]) == (409, "grace_unhealthy"), answer
    assert answer["details"]["cause"] == "container_exited"
    assert house.public(f"{where['projectName']}.localhost")[1]["x-codeb-slot"] == "green"
    redeployed(house, where, answer, "v1")


def test_a_slot_that_docker_restarted_once_is_a_way_back(house: Stage, images: dict[str, str], where: Where) -> None:
    for version in ("v1", "v2"):
        house.call("deploy", **where, image=images[version], autoPromote=True)
    blue = f"/containers/{where['projectName']}-production-blue"
    crash = house.engine.send("GET", f"{blue}/json")["State"]["Pid"]
    # Killed as its own fault would kill it: Docker restarts it.
    os.kill(crash, signal.SIGKILL)
    end = time.monotonic() + 10
    while not (seen := house.engine.send("GET", f"{blue}/json"))["RestartCount"] or not seen["State"]["Running"]:
        assert time.monotonic() < end, seen["State"]
        time.sleep(0.1)
    assert house.call("rollback", **where)["version"] == "v1"


@pytest.mark.timeout(90)
def test_a_grace_ends_by_itself(images: dict[str, str]) -> None:
    with Stage(GRACE_HOURS="0.001") as stage:
        where = project_of(stage)
        for version in ("v1", "v2"):
            stage.call("deploy", **where, image=images[version], autoPromote=True)
        ends = time.monotonic() + 3.6
        refused: dict[str, Any] = {}
        end = time.monotonic() + 25
        while stage.call("slot_status", **where)["blue"]["state"] != "empty":
            assert time.monotonic() < end, stage.call("slot_status", **where)
            if time.monotonic() > ends + 0.2 and not refused:
                status, refused = stage.ask("rollback", where)
                assert status == 409, refused
                assert refused["code"] in ("grace_expired", "no_grace", "operation_in_progress")
            time.sleep(0.2)
        assert time.monotonic() > ends - 0.5, "not before its time"
        oracle.settle(stage)
        assert oracle.judge(stage, where["projectName"]) == []
        status, answer = stage.ask("rollback", where)
        assert (status, answer["code"]) == (409, "no_grace")
        redeployed(stage, where, answer, "v1")


def test_a_pull_request_environment_has_ports_of_the_preview_range(house: Stage, images: dict[str, str]) -> None:
    where = project_of(house)
    where["environment"] = "pr-12"
    done = house.call("deploy", **where, image=images["v1"], autoPromote=True)
    first, last = (int(port) for port in house.settings["PORTS_PREVIEW"].split("-"))
    assert first <= done["port"] <= last
    assert house.public(f"{where['projectName']}-pr-12.localhost")[1]["x-codeb-slot"] == "blue"
    assert oracle.judge(house, where["projectName"], "pr-12") == []
    house.call("project_delete", projectName=where["projectName"], confirm=where["projectName"])
    house.call("project_delete", projectName=where["projectName"], confirm=where["projectName"], purge=True)
