"""P4, issue 3.4: an active version that turns bad or dies, with a real Docker, a real Caddy and visitors all the while."""

import http.client
import json
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, LiteralString

import psycopg
import pytest
from demo.images import Builder

from tests import oracle
from tests.postgres import postgres_server
from tests.stage import Stage

pytestmark = [pytest.mark.docker, pytest.mark.proxy, pytest.mark.quiet]

TURNING = "codebtest-turning"
PROGRAM = """
import http.server, os
bad = False
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        global bad
        bad = bad or self.path == "/turn"
        body = b"not well" if bad and self.path != "/turn" else os.environ["CODEB_VERSION"].encode()
        self.send_response(500 if body == b"not well" else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_):
        pass
http.server.ThreadingHTTPServer(("", 3000), Handler).serve_forever()
"""
"""Well until somebody asks for /turn, then 500 to everything, as long as this process lives."""


@pytest.fixture(scope="module")
def turning(builder: Builder) -> dict[str, str]:
    tags = {version: f"{TURNING}:{version}" for version in ("v1", "v2")}
    for version, tag in tags.items():
        command = json.dumps(["python3", "-S", "-u", "-c", PROGRAM])
        builder._build(tag, f"FROM {builder.base()}\nENV CODEB_VERSION={version}\nCMD {command}\n")
    return tags


class Crowd:
    """Visitors who ask again and again, each on a connection of its own, and write down what they got and when."""

    def __init__(self, stage: Stage, host: str, size: int = 4) -> None:
        self.seen: list[tuple[float, str]] = []
        """(when it was over, `200 blue` or why it failed)"""
        self._stage, self._host = stage, host
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(size)]
        for thread in self._threads:
            thread.start()

    def _run(self) -> None:
        while not self._over.wait(0.02):
            try:
                status, headers, _ = self._stage.public(self._host, "/")
                got = f"{status} {headers.get('x-codeb-slot')}"
            except (OSError, http.client.HTTPException) as fault:
                got = type(fault).__name__
            self.seen.append((time.monotonic(), got))

    def close(self) -> Counter[str]:
        self._over.set()
        for thread in self._threads:
            thread.join(15)
        return Counter(got for _, got in self.seen)


@contextmanager
def crowd(stage: Stage) -> Iterator[Crowd]:
    made = Crowd(stage, f"{stage.project}.localhost")
    try:
        time.sleep(0.5)
        yield made
    finally:
        made.close()


def where(stage: Stage) -> dict[str, str]:
    return {"projectName": stage.project, "environment": "production"}


def two_versions(stage: Stage, images: dict[str, str]) -> None:
    """v1 in grace in blue, v2 just promoted in green."""
    stage.call("project_create", projectName=stage.project, memoryMb=128)
    for version in ("v1", "v2"):
        stage.call("deploy", **where(stage), image=images[version], version=version, autoPromote=True)


def turn(stage: Stage, slot: str = "green") -> float:
    """Make one slot bad, past the proxy; when that was."""
    port = stage.call("slot_status", **where(stage))[slot]["port"]
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    connection.request("GET", "/turn")
    assert connection.getresponse().status == 200
    connection.close()
    return time.monotonic()


def until(what: str, look: Callable[[], Any], seconds: float = 20) -> Any:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := look():
            return found
        time.sleep(0.05)
    raise AssertionError(f"not seen within {seconds} s: {what}")


def active(stage: Stage) -> str | None:
    return oracle.look(stage, stage.project).active


def events(stage: Stage, kind: str | None = None) -> list[dict[str, Any]]:
    found = stage.call("event_list", projectName=stage.project)["events"]
    return [each for each in found if kind in (None, each["kind"])]


def acts(stage: Stage) -> list[dict[str, Any]]:
    """Audit rows of the watch, by themselves."""
    return oracle.rows(stage, "select * from audit_logs where entry = 'watch' order by at")


def rollbacks(stage: Stage) -> list[dict[str, Any]]:
    path = stage.home / "logs" / "rollbacks" / f"{stage.project}.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def inspect(stage: Stage, slot: str) -> dict[str, Any]:
    return dict(stage.engine.send("GET", f"/containers/{stage.project}-production-{slot}/json"))


def show(capsys: pytest.CaptureFixture[str], text: str) -> None:
    with capsys.disabled():
        print(f"\n  {text}")


def test_a_version_that_turns_bad_in_its_window_is_left_by_itself(
    stage: Stage, turning: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    two_versions(stage, turning)
    with crowd(stage) as visitors:
        time.sleep(2)
        turned = turn(stage)
        until("traffic is back on blue", lambda: active(stage) == "blue")
        time.sleep(1)
    count = Counter(got for _, got in visitors.seen)
    bad = [at for at, got in visitors.seen if got == "500 green"]
    assert set(count) == {"200 blue", "200 green", "500 green"}, "nothing is lost between the versions"
    last = max(bad) - turned
    assert last < 10, count
    show(capsys, f"turned bad: last 500 after {last:.2f} s; {dict(count)}")

    operation = until("the rollback is over", lambda: rollbacks(stage))[0]["operationId"]
    oracle.settle(stage)
    (line,) = rollbacks(stage)
    assert (line["by"], line["fromVersion"], line["toVersion"]) == ("main/admin/watch", "v2", "v1")
    assert line["reason"].startswith("health failed in the watch window: / gave status 500")
    (event,) = until("the event", lambda: events(stage, "auto_rollback"))
    assert (event["operationId"], event["severity"]) == (operation, "alarm")
    (row,) = until("the audit row", lambda: acts(stage))
    assert (row["tool"], bool(row["ok"])) == ("rollback", True)
    assert oracle.judge(stage, stage.project) == []
    # and the next one is as any other
    stage.call("deploy", **where(stage), image=turning["v2"], version="v3", autoPromote=True)
    assert (active(stage), oracle.judge(stage, stage.project)) == ("green", [])


def test_the_killed_process_of_the_active_version_comes_back(
    stage: Stage, turning: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    two_versions(stage, turning)
    with crowd(stage) as visitors:
        before = inspect(stage, "green")["State"]
        killed = time.monotonic()
        os.kill(before["Pid"], signal.SIGKILL)
        until("it was started anew", lambda: inspect(stage, "green")["State"]["StartedAt"] != before["StartedAt"])
        back = time.monotonic() - killed
        (event,) = until("the event", lambda: events(stage, "container_restarted"))
        time.sleep(3)
    assert event["data"]["by"] == "runtime"
    assert active(stage) == "green"
    assert [each["kind"] for each in events(stage)] == ["container_restarted"]
    show(capsys, f"kill -9: started anew after {back:.2f} s; {dict(Counter(got for _, got in visitors.seen))}")
    assert oracle.judge(stage, stage.project) == []


def test_a_container_that_somebody_stopped_is_started(
    stage: Stage, turning: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    """`docker kill`: the runtime takes it for a wish and leaves it down."""
    two_versions(stage, turning)
    with crowd(stage) as visitors:
        killed = time.monotonic()
        stage.engine.send("POST", f"/containers/{stage.project}-production-green/kill")
        until("it runs again", lambda: inspect(stage, "green")["State"]["Running"])
        back = time.monotonic() - killed
        time.sleep(1)
    assert back < 10
    show(capsys, f"docker kill: running after {back:.2f} s; {dict(Counter(got for _, got in visitors.seen))}")
    # by the watch, or by a round of the loop that happened to look just then
    (event,) = until("the event", lambda: events(stage, "container_restarted") or events(stage, "drift_mended"))
    if event["kind"] == "container_restarted":
        assert event["data"]["by"] == "codeb"
        (row,) = until("the audit row", lambda: acts(stage))
        assert (row["tool"], bool(row["ok"])) == ("restart", True)
    oracle.settle(stage)
    assert active(stage) == "green"
    # the version in grace stands in until the proxy's next look, at most five seconds later
    until("nothing is left to find", lambda: not oracle.judge(stage, stage.project))


def test_switched_off_it_stays_and_an_alarm_is_raised(stage: Stage, turning: dict[str, str]) -> None:
    two_versions(stage, turning)
    assert stage.call("project_update", projectName=stage.project, autoRollback=False)["project"]["autoRollback"] is False
    turn(stage)
    (alarm,) = until("the alarm", lambda: events(stage, "watch_alarm"))
    assert "autoRollback is off" in alarm["text"]
    # what helps without moving traffic is still done
    until("it is restarted", lambda: events(stage, "container_restarted"))
    host = f"{stage.project}.localhost"
    until("the proxy has seen it, too", lambda: stage.public(host, "/")[1].get("x-codeb-slot") == "green")
    oracle.settle(stage)
    assert active(stage) == "green"
    assert rollbacks(stage) == []
    assert len(events(stage, "watch_alarm")) == 1
    assert oracle.judge(stage, stage.project) == []


def test_the_window_outlives_a_killed_codeb(stage: Stage, turning: dict[str, str]) -> None:
    """P2, P4: what turned bad while nobody watched is left as soon as somebody does."""
    two_versions(stage, turning)
    stage.kill()
    connection = http.client.HTTPConnection("127.0.0.1", oracle.look(stage, stage.project).slots["green"]["port"], timeout=5)
    connection.request("GET", "/turn")
    connection.getresponse().read()
    connection.close()
    time.sleep(1)
    stage.start()
    until("traffic is back on blue", lambda: active(stage) == "blue")
    oracle.settle(stage)
    assert "watch window" in rollbacks(stage)[0]["reason"]
    assert oracle.judge(stage, stage.project) == []


def test_codeb_killed_in_the_middle_of_its_own_rollback(stage: Stage, turning: dict[str, str]) -> None:
    stage.kill()
    stage.start(crash_at="rollback.switch.do.effect")
    two_versions(stage, turning)
    turn(stage)
    assert stage.until_dead(30) == -signal.SIGKILL
    stage.start()
    until("traffic is back on blue", lambda: active(stage) == "blue")
    oracle.settle(stage)
    assert len(rollbacks(stage)) == 1
    assert len(events(stage, "auto_rollback")) == 1
    assert oracle.judge(stage, stage.project) == []


@pytest.mark.postgres
def test_it_goes_back_while_the_database_is_away(turning: dict[str, str]) -> None:
    """P4, P5, P9: on the local copy, and the database knows of it once it is back."""
    with postgres_server() as database:
        url = database.url()
        with Stage(DATABASE_URL=url) as stage:
            two_versions(stage, turning)
            database.stop()
            turn(stage)
            host = f"{stage.project}.localhost"
            until("visitors are back on blue", lambda: stage.public(host, "/")[1].get("x-codeb-slot") == "blue")
            until("the copy knows", lambda: stage.call("slot_status", **where(stage))["blue"]["state"] == "active")
            (line,) = until("the record", lambda: rollbacks(stage))
            assert line["by"] == "main/admin/watch"
            database.start()
            try:
                assert until("the database has the event", lambda: told(url), 30) == [("auto_rollback", line["operationId"])]
            except AssertionError as missing:
                raise AssertionError(f"{missing}: {stage.call('health_check')['checks']}\n{stage.log[-4000:]}") from None
            until("and the audit row", lambda: asked(url, "select tool from audit_logs where entry = 'watch' and ok"))
            assert stage.call("operation_get", operationId=line["operationId"])["operation"]["state"] == "succeeded"


def asked(url: str, query: LiteralString) -> list[tuple[Any, ...]]:
    with psycopg.connect(url) as connection:
        return connection.execute(query).fetchall()


def told(url: str) -> list[tuple[Any, ...]]:
    return asked(url, "select kind, operation_id from events where kind = 'auto_rollback'")
