"""P1: the old version stands in for the new one only when that is down, and not because the proxy has not looked again."""

import threading

import pytest
from demo.images import Builder

from tests import oracle
from tests.stage import Stage

pytestmark = [pytest.mark.docker, pytest.mark.proxy]

SLOW = "codebtest-app:slow"
BOOT_SECONDS = 11
"""longer than two looks of the proxy, five seconds apart: it takes the slot for down"""


class Watch(threading.Thread):
    """Who answers, and how long in a row."""

    def __init__(self, stage: Stage, host: str) -> None:
        super().__init__(daemon=True)
        self.stage, self.host = stage, host
        self.seen: list[tuple[int, str | None]] = []
        self.over = threading.Event()

    def run(self) -> None:
        while not self.over.wait(0.05):
            status, headers, _ = self.stage.public(self.host)
            self.seen.append((status, headers.get("x-codeb-slot")))


def test_a_version_that_took_long_to_start_keeps_the_traffic_it_was_given(
    stage: Stage, builder: Builder, images: dict[str, str]
) -> None:
    """Over a grace slot and promoted at once: once the call has answered, every request goes to the new version."""
    builder.app(SLOW, "slow", {"START_DELAY": str(BOOT_SECONDS)})
    name = stage.project
    where = {"projectName": name, "environment": "production"}
    stage.call("project_create", projectName=name, healthPath="/health")
    for version in ("v1", "v2"):
        stage.call("deploy", **where, image=images[version])
        stage.call("promote", **where)

    assert stage.call("deploy", **where, image=SLOW, autoPromote=True)["promoted"]["activeSlot"] == "blue"
    watch = Watch(stage, f"{name}.localhost")
    watch.start()
    watch.join(6)
    watch.over.set()
    watch.join()

    assert set(watch.seen) == {(200, "blue")}, watch.seen
    assert oracle.judge(stage, name) == []
