"""P13 with everything going on at once: SIGTERM under calls of all kinds and traffic, twice, too early, and with no database."""

import signal
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
from demo.images import Builder
from demo.load import Rates

from tests import oracle
from tests.e2e.failing import REPOSITORY
from tests.e2e.nursery import QuickStage
from tests.e2e.zeroloss import LoadClient
from tests.line import line
from tests.postgres import Server, postgres
from tests.stage import Stage

__all__ = ["postgres"]

pytestmark = [pytest.mark.docker, pytest.mark.proxy]

SLOW, HANGING = f"{REPOSITORY}:slow", f"{REPOSITORY}:hanging"
RATES = Rates(short=15, keepalive=15, post=4, upload=1, slow=2, stream=2, sse=2, websocket=2)
PROJECTS, CALLERS = 6, 24
VISITED = 2
Where = dict[str, str]


@pytest.fixture(scope="module", autouse=True)
def late(builder: Builder) -> None:
    """An image that is healthy after three seconds, and one that never is."""
    builder.app(SLOW, "slow", {"START_DELAY": "3"})
    builder.app(HANGING, "hanging", {"HEALTH": "hang"})


def project_of(stage: Stage, number: int) -> Where:
    name = f"{stage.project}-p{number}"
    stage.call("project_create", projectName=name, healthPath="/health", memoryMb=128)
    return {"projectName": name, "environment": "production"}


@dataclass
class Said:
    """One answer, or the lack of one; times of the monotonic clock."""

    tool: str
    asked: float
    heard: float
    status: int
    body: dict[str, Any] = field(default_factory=dict)


class Caller(threading.Thread):
    """Makes its calls again and again until the server is gone, without a pause to speak of."""

    def __init__(self, stage: Stage, calls: list[tuple[str, dict[str, Any]]]) -> None:
        super().__init__(daemon=True)
        self.stage, self.calls, self.said, self.over = stage, calls, list[Said](), threading.Event()
        self.start()

    def run(self) -> None:
        turn = 0
        while not self.over.is_set():
            tool, params = self.calls[turn % len(self.calls)]
            turn, asked = turn + 1, time.monotonic()
            try:
                status, body = self.stage.ask(tool, params)
            except OSError as gone:
                self.said.append(Said(tool, asked, time.monotonic(), 0, {"error": repr(gone)}))
                return
            self.said.append(Said(tool, asked, time.monotonic(), status, body))
            time.sleep(0.05)


def callers(stage: Stage, places: list[Where]) -> list[Caller]:
    """Twenty-four: on each project two that switch, one that deploys (one of them what never is healthy), and one that looks."""
    made = []
    for number, where in enumerate(places):
        image = HANGING if number == PROJECTS - 1 else SLOW if number % 2 else "codebtest-app:v2"
        deploys = {**where, "image": image, "autoPromote": number % 3 == 0}
        name = {"projectName": where["projectName"]}
        looks = [("slot_status", where), ("logs", {**where, "tail": 5}), ("operation_list", name), ("health_check", {})]
        # The last one is left to what hangs, or a switch would nearly always be there first.
        switches = [[("promote", where), ("rollback", where)], [("rollback", where), ("promote", where)]]
        others = [looks, looks] if number == PROJECTS - 1 else switches
        # Where there are visitors nothing is deployed over a version in grace: that ends the streams that live on it.
        work = [("deploy", {**deploys, "dryRun": True})] + ([("deploy", deploys)] if number >= VISITED else [])
        made += [Caller(stage, calls) for calls in (*others, work, looks)]
    assert len(made) == CALLERS
    return made


@pytest.mark.timeout(300)
def _hangs(stage: Stage, where: Where, asking: list[Caller]) -> None:
    """Until the deploy of what never is healthy is under way."""
    begun = f"select id from operations where tool = 'deploy' and state = 'running' and project = '{where['projectName']}'"
    end = time.monotonic() + 20
    while not oracle.rows(stage, begun):
        said = [
            each for caller in asking for each in caller.said if each.tool == "deploy" and where["projectName"] in str(each.body)
        ]
        assert time.monotonic() < end, [(each.status, each.body.get("error"), each.heard - each.asked) for each in said]
        time.sleep(0.05)


def test_sigterm_under_load(images: dict[str, str]) -> None:
    """P1, P13: exit 0 within 30 s, nothing new begun, everything begun brought to its end, not one visitor's request lost."""
    with Stage(pairs=PROJECTS + 2) as stage:
        places = [project_of(stage, number) for number in range(PROJECTS)]
        for where in places:
            stage.call("deploy", **where, image=images["v1"], autoPromote=True)
            stage.call("deploy", **where, image=images["v2"])
        loads = [LoadClient(stage.http_port, f"{where['projectName']}.localhost", RATES) for where in places[:VISITED]]
        asking = callers(stage, places)
        try:
            time.sleep(3)
            _hangs(stage, places[-1], asking)
            assert stage.process
            told = time.monotonic()
            stage.process.send_signal(signal.SIGTERM)
            told_wall = time.time()
            code = stage.until_dead(40)
            took = time.monotonic() - told
            for each in asking:
                each.over.set()
                each.join(10)
            left = oracle.rows(stage, "select id, tool, state, created_at, follows from operations")
            stage.start()
            settled = oracle.settle(stage)
            time.sleep(1)
        finally:
            seen = [load.result() for load in loads]
        said = [each for caller in asking for each in caller.said]
        open_then = [row for row in left if row["state"] not in oracle.TERMINAL]
        print(f"SIGTERM: {len(said)} calls, exit {code} after {took:.1f} s, {len(open_then)} open, settled in {settled:.1f} s")
        assert code == 0 and took < 30
        assert open_then, "one that hangs was stopped at a journaled point"
        _only_begun_before(left, told_wall)
        _every_answer_is_one(said, told)
        for result in seen:
            assert result["total"]["ok"] > 100
            assert (result["total"]["failed"], result["total"]["cut"]) == (0, 0), result["failures"]
        assert [fault for where in places for fault in oracle.judge(stage, where["projectName"])] == []


def _only_begun_before(left: list[dict[str, Any]], told: float) -> None:
    """No operation was opened after the signal, but for one in that very moment, and promotes that deploys grow into."""
    newest = max((row for row in left if row["follows"] is None), key=lambda row: str(row["created_at"]))
    at = datetime.fromisoformat(newest["created_at"]).replace(tzinfo=UTC).timestamp()
    assert at < told + 0.5, f"{newest} was begun {at - told:.2f} s after the signal"


def _every_answer_is_one(said: list[Said], told: float) -> None:
    """Whoever asked before the signal got an answer; whoever asked for work after it was told that CodeB is stopping."""
    counts = Counter((each.tool, each.status, str(each.body.get("code", ""))) for each in said)
    lost = [each for each in said if each.status == 0 and each.asked < told]
    assert not lost, (lost, counts)
    assert not [each for each in said if each.status >= 500 and each.body.get("code") not in ("stopping", "busy")], counts
    late = [each for each in said if each.asked > told + 0.3 and each.status and each.tool in ("deploy", "promote", "rollback")]
    begun = [each for each in late if each.status == 200 and not each.body.get("dryRun")]
    assert not begun, begun[:3]
    stopping = [each for each in said if each.body.get("code") == "stopping"]
    assert stopping and all(each.status == 503 and each.body["retryable"] for each in stopping), counts
    assert [each for each in said if each.asked > told + 0.3 and each.status == 200 and each.tool == "slot_status"], counts


def test_a_second_sigterm_ends_it_at_once_and_as_well(images: dict[str, str]) -> None:
    """Who asks twice does not wait; what was under way is journaled all the same, and the exit is still a clean one."""
    with Stage() as stage:
        where = project_of(stage, 1)
        stage.call("deploy", **where, image=images["v1"], autoPromote=True)
        operation = stage.call("deploy", **where, image=HANGING, timeout=300, wait=False)["operationId"]
        time.sleep(1)
        assert stage.process
        began = time.monotonic()
        stage.process.send_signal(signal.SIGTERM)
        time.sleep(1)
        assert stage.process.poll() is None, "it waits for the operation"
        stage.process.send_signal(signal.SIGTERM)
        assert stage.until_dead(15) == 0, stage.log[-2000:]
        assert time.monotonic() - began < 10
        stage.start()
        oracle.settle(stage)
        found = stage.call("operation_get", operationId=operation)["operation"]
        assert (found["state"], found["error"]["code"], found["resumed"]) == ("failed", "interrupted", 1)
        assert oracle.judge(stage, where["projectName"]) == []


@pytest.mark.timeout(300)
def test_sigterm_at_any_moment_of_the_start(images: dict[str, str]) -> None:
    """With an operation to take up again: it is brought to its end by whichever start is left alone."""
    with QuickStage() as stage:
        where = project_of(stage, 1)
        stage.call("deploy", **where, image=images["v1"], autoPromote=True)
        stage.kill()
        began = time.monotonic()
        Stage.start(stage)  # the whole of it, from the first line of Python on
        whole = time.monotonic() - began
        for part in (0.0, 0.2, 0.4, 0.6, 0.8, None):
            oracle.settle(stage)
            stage.kill()
            stage.start(crash_at="deploy.health.do.before")
            _die(stage, where)
            Stage.start(stage, wait=part is None)
            assert stage.process
            time.sleep(whole * (part or 0))
            stage.process.send_signal(signal.SIGTERM)
            code = stage.until_dead(30)
            assert code == 0 or (code == -signal.SIGTERM and part is not None), stage.log[-2000:]
            size = len(stage.log)
            stage.start()
        oracle.settle(stage)
        assert "Traceback" not in stage.log[size:]
        assert oracle.judge(stage, where["projectName"]) == []
        assert stage.public(f"{where['projectName']}.localhost")[1]["x-codeb-slot"] == "blue"


def _die(stage: Stage, where: Where) -> None:
    with pytest.raises(OSError):
        stage.ask("deploy", {**where, "image": "codebtest-app:v2"})
    assert stage.until_dead(30) == -signal.SIGKILL


@pytest.mark.postgres
@pytest.mark.timeout(300)
def test_sigterm_while_the_database_is_a_black_hole(images: dict[str, str], postgres: Server) -> None:
    """P9, P13: what waits for an answer that never comes does not keep the server from ending."""
    with line(postgres.port) as between:
        url = postgres.url()
        with Stage(DATABASE_URL=url.replace(f":{postgres.port}/", f":{between.port}/")) as stage:
            where = project_of(stage, 1)
            stage.call("deploy", **where, image=images["v1"], autoPromote=True)
            stage.call("deploy", **where, image=HANGING, timeout=300, wait=False)
            time.sleep(1)
            between.set("silent")
            callers = [Caller(stage, [(tool, where)]) for tool in ("slot_status", "promote", "operation_list")]
            time.sleep(1)
            assert stage.process
            began = time.monotonic()
            stage.process.send_signal(signal.SIGTERM)
            code = stage.until_dead(60)
            took = time.monotonic() - began
            for each in callers:
                each.over.set()
            assert stage.public(f"{where['projectName']}.localhost")[1]["x-codeb-slot"] == "blue"
            between.set("open")
            stage.start()
            _until_all_ended(stage, url, where)
            print(f"SIGTERM without a database: exit {code} after {took:.1f} s")
            assert code == 0 and took < 30
            assert stage.call("slot_status", **where)["activeSlot"] == "blue"


def _until_all_ended(stage: Stage, url: str, where: dict[str, str]) -> None:
    """In the database, and for the server: what was begun without the database is not in it before the server is back."""
    end = time.monotonic() + 30
    query = "select id, state from operations where state in ('running', 'unwinding')"
    while time.monotonic() < end:
        with psycopg.connect(url) as database:
            left = [*database.execute(query).fetchall(), stage.call("slot_status", **where)["operation"]]
            if left == [None]:
                return
        time.sleep(0.1)
    raise AssertionError(f"still open: {left}")
