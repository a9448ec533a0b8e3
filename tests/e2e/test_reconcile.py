"""P15, P2: real parts: what somebody does by hand is found within 60 s, mended or reported, and then there is nothing."""

import contextlib
import json
import os
import shutil
import signal
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests import oracle
from tests.e2e.nursery import QuickStage
from tests.e2e.visitor import Visitor
from tests.stage import Stage

pytestmark = [pytest.mark.docker, pytest.mark.proxy]

EVERY = 20 if os.environ.get("CODEB_TEST_SIZE") == "full" else 4
"""seconds between two rounds; the default, or fewer, so that this does not take minutes"""
WITHIN = 60.0
"""seconds, as promised"""


@pytest.fixture(scope="module")
def town(images: dict[str, str]) -> Iterator[Stage]:
    """One server; its project has v2 active in green and v1 in grace in blue."""
    with QuickStage(RECONCILE_SECONDS=str(EVERY)) as stage:
        where = {"projectName": stage.project, "environment": "production"}
        stage.call("project_create", projectName=stage.project, healthPath="/health")
        # whoever watches the active version would send traffic back to the version in grace: that is shown elsewhere
        stage.call("project_update", projectName=stage.project, autoRollback=False)
        for version in ("v1", "v2"):
            stage.call("deploy", **where, image=images[version])
            stage.call("promote", **where)
        assert oracle.judge(stage, stage.project) == []
        yield stage


class Town:
    """What a test does by hand, and what it finds afterwards."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.key = f"{stage.project}-production"
        self.blue, self.green = f"{self.key}-blue", f"{self.key}-green"
        self.caddy = stage.home / "caddy"
        self.host = f"{stage.project}.localhost"

    def docker(self, method: str, path: str, body: Any = None) -> Any:
        sent = None if body is None else json.dumps(body).encode()
        status, raw = self.stage.engine.call(method, path, sent, {"Content-Type": "application/json"} if sent else None)
        assert status < 300, (method, path, status, raw)
        return json.loads(raw) if raw else None

    def admin(self, method: str, path: str, body: bytes = b"") -> int:
        """A request to Caddy's admin API by somebody who is not CodeB."""
        with socket.socket(socket.AF_UNIX) as line:
            line.settimeout(20)
            line.connect(str(self.caddy / "admin.sock"))
            head = f"{method} {path} HTTP/1.1\r\nHost:\r\nContent-Type: text/caddyfile\r\nContent-Length: {len(body)}\r\n"
            line.sendall(head.encode() + b"Connection: close\r\n\r\n" + body)
            with line.makefile("rb") as answer:
                return int(answer.readline().split()[1])

    def events(self, kind: str) -> list[dict[str, Any]]:
        found = [each for each in oracle.rows(self.stage, "select * from events order by id") if each["kind"] == kind]
        return [json.loads(each["data"]) if isinstance(each["data"], str) else each["data"] for each in found]

    def until(self, what: str, so: Callable[[], bool]) -> float:
        began = time.monotonic()
        while time.monotonic() - began < WITHIN:
            with contextlib.suppress(OSError):
                if so():
                    return time.monotonic() - began
            time.sleep(0.25)
        raise AssertionError(f"not within {WITHIN} s: {what}\n{self.stage.log[-3000:]}")

    def until_either(self, *kinds: str) -> None:
        """Until one of them was mended once more than before and all is as it should be."""

        def so() -> bool:
            return len([1 for each in self.events("drift_mended") if each["kind"] in kinds]) > before

        before = len([1 for each in self.before if each["kind"] in kinds])
        self.until(f"mended one of {kinds}; told: {self.events('drift_found')}", so)
        self.until("the judge is content", lambda: oracle.judge(self.stage, self.stage.project) == [])

    def until_mended(self, *kinds: str, more: int = 1) -> float:
        """Until each was mended once more than before and all is as it should be."""
        before = {kind: sum(each["kind"] == kind for each in self.before) for kind in kinds}

        def so() -> bool:
            now = self.events("drift_mended")
            return all(sum(each["kind"] == kind for each in now) >= before[kind] + more for kind in kinds)

        spent = self.until(f"mended {kinds}; told: {self.events('drift_found')}", so)
        self.until("the judge is content", lambda: oracle.judge(self.stage, self.stage.project) == [])
        return spent

    @property
    def before(self) -> list[dict[str, Any]]:
        return self._before

    def __enter__(self) -> "Town":
        self._before = self.events("drift_mended")
        return self

    def __exit__(self, kind: Any, *_: object) -> None:
        if kind is None:
            self.nothing_left()

    def nothing_left(self) -> None:
        body = self.stage.call("reconcile")
        assert body["findings"] == [], body
        assert oracle.judge(self.stage, self.stage.project) == []


def test_a_clean_system_gets_no_event(town: Stage) -> None:
    with Town(town) as here:
        time.sleep(EVERY + 5)
        assert [each["kind"] for each in oracle.rows(town, "select * from events") if each["kind"].startswith("drift")] == []
        here.nothing_left()


def test_docker_rm_of_the_active_one_under_traffic_with_a_grace(town: Stage) -> None:
    with Town(town) as here:
        visitor = Visitor(town.http_port, here.host)
        time.sleep(1)
        here.docker("DELETE", f"/containers/{here.green}?force=1&v=1")
        # a round that comes in the midst of the removal finds it killed and not yet gone
        here.until_either("container_gone", "container_stopped")
        time.sleep(1)
        faults = visitor.close()
        # what was inside the killed container died with it; whoever came after was served by the version in grace
        assert len(faults) <= 1, faults
        assert visitor.slots >= {"blue", "green"}


def test_docker_stop_of_the_active_and_of_the_grace_one(town: Stage) -> None:
    with Town(town) as here:
        here.docker("POST", f"/containers/{here.blue}/stop?t=1")
        here.docker("POST", f"/containers/{here.green}/stop?t=1")
        here.until_mended("container_stopped", more=1)


def test_docker_update_of_the_restart_policy(town: Stage) -> None:
    with Town(town) as here:
        here.docker("POST", f"/containers/{here.green}/update", {"RestartPolicy": {"Name": "no"}})
        here.until_mended("container_unkept")
        assert here.docker("GET", f"/containers/{here.green}/json")["HostConfig"]["RestartPolicy"]["Name"] == "unless-stopped"


def test_docker_rename_is_not_noticed_by_visitors(town: Stage) -> None:
    with Town(town) as here:
        visitor = Visitor(town.http_port, here.host)
        here.docker("POST", f"/containers/{here.green}/rename?name={here.stage.project}-by-hand")
        here.until_mended("container_renamed")
        assert visitor.close() == []
        assert visitor.slots == {"green"}


def test_site_files_and_the_switch(town: Stage) -> None:
    """The site's file deleted, then edited; the marker removed; the whole switch deleted."""
    with Town(town) as here:
        file, folder = here.caddy / "sites" / f"{here.key}.caddy", here.caddy / "slots" / here.key
        visitor = Visitor(town.http_port, here.host)
        file.unlink()
        here.until_mended("site_missing")
        assert visitor.close() == []
    with Town(town) as here:
        text = file.read_text()
        file.write_text(text + "# by hand\n")
        (folder / "green").unlink()
        here.until_mended("site_edited", "switch_wrong")
        assert file.read_text() == text
    with Town(town) as here:
        shutil.rmtree(folder)
        here.until_mended("switch_wrong")


def test_a_foreign_configuration_in_the_proxy(town: Stage) -> None:
    with Town(town) as here:
        main = (here.caddy / "Caddyfile").read_bytes().partition(b"import ")[0]
        assert here.admin("POST", "/load", main) == 200
        told: list[int] = []
        # a load may reset a connection that comes with it
        here.until("an answer", lambda: bool(told.append(town.public(here.host)[0]) or told))
        assert told == [404]
        here.until_mended("proxy_differs")
        assert town.public(here.host)[0] == 200


def test_the_proxy_killed(town: Stage) -> None:
    with Town(town) as here:
        pid = town.proxy_pid
        assert pid
        os.kill(pid, signal.SIGKILL)
        spent = here.until_mended("proxy_dead")
        assert spent < 15, "a dead proxy is looked for more often than everything else"
        assert town.proxy_pid != pid


def test_strays(town: Stage, images: dict[str, str]) -> None:
    """A network of no project and a container of an ended operation go; a labelled one of nobody is reported and left."""
    instance = {"codeb.managed": "true", "codeb.instance": town.instance}
    operation = oracle.rows(town, "select id from operations where saga = 'deploy'")[0]["id"]
    ghost = f"{town.project}x-production-blue"
    with Town(town) as here:
        here.docker("POST", "/networks/create", {"Name": f"codeb-{town.project}x", "Labels": instance})
        place = {"codeb.project": f"{town.project}x", "codeb.environment": "production", "codeb.slot": "blue"}
        body = {"Image": images["v1"], "Labels": {**instance, **place, "codeb.operation": operation}}
        here.docker("POST", f"/containers/create?name={ghost}", body)
        here.until_mended("network_of_nobody", "container_stray")
    with Town(town) as here:
        made = here.docker("POST", f"/containers/create?name={town.project}-odd", {"Image": images["v1"], "Labels": instance})
        found = lambda: [each for each in here.events("drift_found") if each["where"] == f"{town.project}-odd"]  # noqa: E731
        here.until("the odd one is reported", lambda: bool(found()))
        (finding,) = town.call("reconcile")["findings"]
        assert (finding["kind"], finding["mended"], finding["policy"]) == ("container_stray", False, "reported")
        time.sleep(EVERY + 5)
        assert len(found()) == 1, "told once, not every round"
        here.docker("DELETE", f"/containers/{made['Id']}?force=1")


def test_it_was_all_audited_and_nothing_is_left(town: Stage) -> None:
    rows = [each for each in oracle.rows(town, "select * from audit_logs") if each["entry"] == "timer"]
    assert {each["tool"] for each in rows} == {"reconcile"}
    assert all(each["key_id"] is None for each in rows)
    Town(town).nothing_left()
