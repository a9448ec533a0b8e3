"""P9, end to end: PostgreSQL shut, silent, restarted, emptied, replaced and flapping, around a real server. Also P5 and P14."""

import os
import random
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from demo.server import Failed
from sqlalchemy.engine import make_url

from tests import oracle
from tests.e2e import outages
from tests.e2e.callers import Ledger, Operator, Reader
from tests.e2e.conftest import IMAGE
from tests.e2e.seaside import Seaside, seaside
from tests.postgres import Server, postgres_server

pytestmark = [pytest.mark.docker, pytest.mark.proxy, pytest.mark.postgres]

FULL = os.environ.get("CODEB_TEST_SIZE") == "full"
DETECTED = 6.0
"""seconds within which the first call after the loss ends, over its own time: 3 are promised, the machine may be busy"""
OWN_TIME = 15.0
OPEN = ("running", "unwinding")
STEPS = ("pull", "clear", "env", "start", "health", "preview", "tidy", "check", "switch", "fallback", "log")
WRONG = {"X-API-Key": "codeb_main_owner_" + "x" * 32}


@pytest.fixture(scope="module")
def cluster() -> Iterator[Server]:
    with postgres_server() as server:
        yield server


@pytest.fixture(scope="module")
def _shore(cluster: Server, images: dict[str, str]) -> Iterator[Seaside]:
    with seaside(cluster) as shore:
        shore.start()
        shore.stage.call("project_create", projectName=shore.stage.project, healthPath="/health", memoryMb=128)
        shore.stage.call("deploy", **where(shore), image=images["v1"], autoPromote=True)
        shore.stage.call("deploy", **where(shore), image=images["v2"])
        yield shore


@pytest.fixture
def shore(_shore: Seaside) -> Iterator[Seaside]:
    """v1 and v2 there, one active; in the end the database is back, and everything agrees with everything."""
    yield _shore
    _shore.find()
    oracle.settle(_shore.stage)
    assert _shore.agreed() == []
    assert oracle.judge(_shore.stage, _shore.stage.project) == []
    assert _shore.rows("select reason from conflicts") == []


def where(shore: Seaside) -> dict[str, str]:
    return {"projectName": shore.stage.project, "environment": "production"}


def timed(shore: Seaside, tool: str, seconds: float, **params: Any) -> dict[str, Any]:
    began = time.monotonic()
    answer = shore.stage.call(tool, **{**where(shore), **params})
    assert time.monotonic() - began < seconds, f"{tool} took {time.monotonic() - began:.1f} s"
    return answer


def prepared(shore: Seaside, tool: str) -> None:
    """Bring it about that `tool` has something to do."""
    status = shore.stage.call("slot_status", **where(shore))
    states = {each["state"] for each in (status["blue"], status["green"])}
    if tool == "promote" and "deployed" not in states:
        shore.stage.call("deploy", **where(shore), image=f"{IMAGE}:v2")
    if tool == "rollback" and "grace" not in states:
        shore.stage.call("promote", **where(shore))


def params_of(tool: str) -> dict[str, str]:
    return {"image": f"{IMAGE}:v1"} if tool == "deploy" else {}


def in_the_end(shore: Seaside, answers: list[dict[str, Any]]) -> None:
    """What was answered is in the database, as somebody else reads it; each call has its one row in the audit log."""
    states = {row["id"]: row["state"] for row in shore.rows("select id, state from operations")}
    assert {states.get(each["operationId"]) for each in answers if each.get("operationId")} <= {"succeeded"}
    known = {row["id"] for row in shore.rows("select id from deployments")}
    assert {each["deploymentId"] for each in answers if "deploymentId" in each} <= known
    audited = [row["correlation_id"] for row in shore.rows("select correlation_id from audit_logs")]
    assert [audited.count(each["correlationId"]) for each in answers] == [1] * len(answers)
    assert shore.rows("select * from operation_locks where operation_id is not null") == []


@pytest.mark.parametrize("how", ["shut", "silent"])
def test_what_is_known_goes_on_and_the_rest_is_refused(shore: Seaside, how: str) -> None:
    prepared(shore, "promote")
    shore.at.set(how)
    lost = time.monotonic()
    answers = [timed(shore, "promote", OWN_TIME + DETECTED)]
    shore.until(True, max(0.1, DETECTED - (time.monotonic() - lost)))
    back = timed(shore, "rollback", OWN_TIME)
    assert next(step["durationMs"] for step in back["steps"] if step["name"] == "switch") < 2000, "P5"
    answers += [back, timed(shore, "slot_status", 5), timed(shore, "logs", 5, tail=5)]
    answers += [timed(shore, "deploy", OWN_TIME, image=f"{IMAGE}:v2"), timed(shore, "promote", OWN_TIME)]
    for tool, params in {
        "project_create": {"projectName": f"{shore.stage.project}-x"},
        "project_delete": {"projectName": shore.stage.project, "confirm": shore.stage.project},
        "port_allocate": {**where(shore), "environment": "preview"},
        "deploy": {**where(shore), "environment": "staging", "image": f"{IMAGE}:v1"},
    }.items():
        began = time.monotonic()
        status, refused = shore.stage.ask(tool, params)
        assert (status, refused["code"]) == (503, "degraded"), refused
        assert "till working" in refused["hint"] or "meanwhile" in refused["hint"]
        assert time.monotonic() - began < 3
        answers.append(refused)
    assert shore.stage.ask("slot_status", where(shore), WRONG)[0] == 401
    assert shore.stage.get("/health")[0] == 200
    line = shore.store_line()
    assert line["status"] == "fail" and "is away since" in line["text"] and "transactions wait" in line["text"]
    assert gauge(shore, "codeb_degraded") == 1 and gauge(shore, "codeb_degraded_seconds") > 0
    shore.find()
    assert shore.store_line()["status"] == "pass"
    assert gauge(shore, "codeb_degraded") == gauge(shore, "codeb_replay_pending") == 0
    assert gauge(shore, "codeb_degraded_last_seconds") > 0
    end = time.monotonic() + 5
    while not (newest := _away(shore)):
        assert time.monotonic() < end, shore.stage.call("event_list")["events"]
        time.sleep(0.1)
    assert newest[0]["data"]["replayed"] > 0 and newest[0]["data"]["conflicts"] == 0
    in_the_end(shore, answers)


def _away(shore: Seaside) -> list[dict[str, Any]]:
    """That the database was away, once it is told."""
    return [each for each in shore.stage.call("event_list")["events"] if each["kind"] == "database_away"]


def gauge(shore: Seaside, name: str) -> float:
    status, text = shore.stage.request("GET", "/metrics", None, {"X-API-Key": shore.stage.key})
    assert status == 200
    return next(float(line.rpartition(" ")[2]) for line in text.decode().splitlines() if line.startswith(f"{name} "))


@contextmanager
def at_step(shore: Seaside, step: str, act: Any) -> Iterator[None]:
    """Do it in the moment in which the running operation is at this step, as the database itself says, or just past it."""
    over, done, from_then_on = threading.Event(), threading.Event(), [*STEPS[STEPS.index(step) :]]

    def watch() -> None:
        with psycopg.connect(shore.address, autocommit=True) as connection:
            query = "select 1 from operations where state = 'running' and step = any(%s)"
            while not over.is_set() and connection.execute(query, (from_then_on,)).fetchone() is None:
                over.wait(0.002)
        if not over.is_set():
            act()
            done.set()

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(60)
    assert done.is_set()


@pytest.mark.parametrize(
    ("tool", "step", "how"),
    [
        ("deploy", "clear", "shut"), ("deploy", "start", "silent"), ("deploy", "health", "restart"),
        ("deploy", "preview", "shut"),
        ("promote", "check", "silent"), ("promote", "switch", "shut"), ("promote", "fallback", "restart"),
        ("rollback", "check", "shut"), ("rollback", "switch", "silent"), ("rollback", "log", "shut"),
    ],
)  # fmt: skip
def test_it_goes_away_in_the_middle_of(shore: Seaside, tool: str, step: str, how: str) -> None:
    """At whichever step: the call succeeds all the same, within its own time and that of one detection."""
    prepared(shore, tool)
    with at_step(shore, step, shore.restart if how == "restart" else lambda: shore.at.set(how)):
        answer = timed(shore, tool, OWN_TIME + DETECTED, **params_of(tool))
    shore.find()
    in_the_end(shore, [answer])


def test_killed_and_started_without_it(shore: Seaside) -> None:
    """P2 without the database: begun, killed and ended while it is away, and all of it is told when it is back."""
    shore.lose()
    body = shore.stage.call("deploy", **where(shore), image=f"{IMAGE}:v1", wait=False)
    shore.stage.kill()
    shore.at.set("silent")
    assert shore.start() < 20
    began = time.monotonic()
    while (state := shore.stage.call("operation_get", operationId=body["operationId"])["operation"]["state"]) in OPEN:
        assert time.monotonic() - began < 30
        time.sleep(0.1)
    answers = [timed(shore, "deploy", OWN_TIME, image=f"{IMAGE}:v2"), timed(shore, "promote", OWN_TIME)]
    shore.find()
    told = shore.rows(f"select state from operations where id = '{body['operationId']}'")
    assert [row["state"] for row in told] == [state]
    in_the_end(shore, answers)


@contextmanager
def instead(shore: Seaside, another: bool) -> Iterator[str]:
    """In the place of the database stands an empty one, or another installation's."""
    name = make_url(shore.address).database
    url = shore.server.address("postgres")

    def move(*statements: str) -> None:
        with psycopg.connect(url, autocommit=True) as connection:
            for statement in statements:
                connection.execute(
                    f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname IN ('{name}', '{name}_kept')".encode()
                )
                connection.execute(statement.encode())

    shore.at.set("shut")
    template = f" TEMPLATE {name}_kept" if another else ""
    move(f"ALTER DATABASE {name} RENAME TO {name}_kept", f"CREATE DATABASE {name}{template}")
    if another:
        with psycopg.connect(shore.address) as connection:
            connection.execute("UPDATE meta SET registry_id = 'another'")
            connection.execute("DELETE FROM api_keys")
    shore.at.set("open")
    try:
        yield shore.address
    finally:
        shore.at.set("shut")
        move(f"DROP DATABASE {name}", f"ALTER DATABASE {name}_kept RENAME TO {name}")
        shore.at.set("open")


@pytest.mark.parametrize("another", [False, True], ids=["empty", "another"])
def test_never_taken_for_a_new_installation(shore: Seaside, another: bool) -> None:
    """P10: while it runs and at its start. The key, the project and the way back are there all the while."""
    key, reason = shore.stage.key, "holds another registry" if another else "is empty"
    prepared(shore, "rollback")
    with instead(shore, another) as address:
        for anew in (False, True):
            if anew:
                assert shore.stage.stop() == 0
                shore.start()
            shore.until(True)
            end = time.monotonic() + 10
            while reason not in (line := shore.store_line())["text"]:
                assert time.monotonic() < end, line
                time.sleep(0.2)
            assert shore.stage.key == key
            assert shore.stage.project in {each["projectName"] for each in shore.stage.call("project_list")["projects"]}
        answers = [timed(shore, "rollback", OWN_TIME)]
        if not another:
            assert shore.rows("select tablename from pg_tables where schemaname = 'public'", address) == []
    shore.find()
    in_the_end(shore, answers)


def test_flapping(shore: Seaside) -> None:
    """Gone and back every 0.2 to 1 s: every call is answered as it should be, and nothing is lost or done twice."""
    ledger, over, chance = Ledger(), threading.Event(), random.Random(7)
    project = shore.stage.project
    callers = [
        Operator(shore.stage, ledger, over, random.Random(1), project),
        Reader(shore.stage, ledger, over, random.Random(2), project),
    ]
    prepared(shore, "rollback")
    shore.stage.call("rollback", **where(shore))
    for caller in callers:
        caller.start()
    end = time.monotonic() + (20 if FULL else 6)
    while time.monotonic() < end:
        shore.at.set(chance.choice(("shut", "silent")))
        time.sleep(chance.uniform(0.2, 1.0))
        shore.at.set("open")
        time.sleep(chance.uniform(0.2, 1.0))
    over.set()
    for caller in callers:
        caller.join(120)
    shore.find()
    time.sleep(1)
    assert ledger.unexcused() == []
    assert ledger.missing(shore) == []
    assert len(ledger.calls) > 10


def test_paused_and_told_nothing(shore: Seaside) -> None:
    """Stopped by SIGTERM while it is away: nothing that waited for the database is lost."""
    shore.lose()
    answer = timed(shore, "deploy", OWN_TIME, image=f"{IMAGE}:v1")
    assert shore.stage.process is not None
    shore.stage.process.send_signal(signal.SIGTERM)
    assert shore.stage.process.wait(35) == 0
    shore.at.set("open")
    shore.start()
    shore.find()
    in_the_end(shore, [answer])


def test_a_first_start_needs_it(cluster: Server) -> None:
    """There is no copy to go on from: refused in words."""
    with seaside(cluster) as shore:
        shore.at.set("shut")
        with pytest.raises(AssertionError, match="no local copy of its registry yet"):
            shore.start()


@pytest.mark.timeout(1200)
def test_outages_at_random_under_load(cluster: Server, images: dict[str, str]) -> None:
    """0 failed application requests, 0 lost writes, 0 wrong final states."""
    with seaside(cluster, pairs=60) as shore:
        report = outages.run(shore, 10 if FULL else 0.2, seed=11)
    assert report.faults == []
    assert (report.total("failed"), report.total("cut")) == (0, 0)
    assert len(report.outages) >= 2 and report.gaps


def test_the_judge_sees_what_is_missing(shore: Seaside, monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer that the database knows nothing of, a call without its audit row, one refused without an excuse."""
    ledger = Ledger()
    with pytest.raises(Failed):
        shore.stage.call("slot_status", projectName="codebtest-none")
    caller = Reader(shore.stage, ledger, threading.Event(), random.Random(1), shore.stage.project)
    call = caller._ask("slot_status", where(shore))
    time.sleep(1)
    assert (ledger.unexcused(), ledger._audit(shore)) == ([], [])
    forged = {"operationId": "op_forged", "deploymentId": "dep_forged"}
    ledger.calls.append(type(call)("deploy", 200, forged, 99.0, "nobody", 0.0, ""))
    ledger.calls.append(type(call)("rollback", 503, {"code": "degraded"}, 0.1, call.correlation_id, 0.0, ""))
    monkeypatch.setattr("tests.e2e.callers.AUDITED_SECONDS", 1.0)
    said = " ".join(ledger.missing(shore))
    assert all(each in said for each in ("operation op_forged", "dep_forged is missing", "nobody (200) has 0 audit rows"))
    assert len(ledger.unexcused()) == 2
