"""What the tests of two processes have in common: a project that is live on both, and how its soundness is judged."""

import time

import pytest

from tests import oracle
from tests.e2e.crash import MIGRATES
from tests.e2e.pair_of_servers import Member, Pair, until
from tests.e2e.visitor import Visitor

TAKE_OVER_SECONDS = 15.0

FIGURES: dict[str, list[float]] = {}
"""take-over times by kind"""


class Shop:
    """A project with one version live and visitors on it all the while."""

    def __init__(self, pair: Pair, images: dict[str, str]) -> None:
        self.pair, self.images = pair, images
        self.name = pair.project
        self.where = {"projectName": self.name, "environment": "production"}
        for member in pair.members:
            member.start()
        leader, _ = pair.roles()
        leader.call("project_create", projectName=self.name, healthPath="/health")
        leader.call("deploy", **self.where, image=images["v1"])
        leader.call("promote", **self.where)
        self.visitor = Visitor(pair.http_port, f"{self.name}.localhost")

    def up(self) -> tuple[Member, Member]:
        """Both run; who leads, who follows."""
        for member in self.pair.members:
            self.pair.line_of(member).set("open")
            if not member.runs:
                member.start()
            member.go_on()
        return self.pair.roles(30)

    def deployed(self, leader: Member) -> None:
        """A version waits to be promoted."""
        slots = self.slots()
        if "deployed" not in slots.values():
            leader.call("deploy", **self.where, image=self.images["v2"])

    def slots(self) -> dict[str, str]:
        rows = self.pair.query(f"SELECT slot, state FROM project_slots WHERE project = '{self.name}'")
        return {row["slot"]: row["state"] for row in rows}

    def sound(self, reloads: bool = False) -> None:
        """Nothing open, nothing that disagrees, and no visitor was turned away.

        `reloads`: the proxy was given another configuration, which resets waiting connections (design, section 4).
        """
        oracle.settle(self.pair, 30)  # type: ignore[arg-type]  # as much of a stage as it asks
        found: list[str] = []

        def well() -> bool:
            found[:] = oracle.judge(self.pair, self.name)  # type: ignore[arg-type]
            return not found

        try:
            until(well, 30, every=0.5)
        except AssertionError:
            pytest.fail(f"{found}\n{self.logs()}")
        lost = self.visitor.fresh()
        if reloads and not MIGRATES:
            lost = [each for each in lost if "ConnectionResetError" not in each and "RemoteDisconnected" not in each]
        assert lost == []

    def logs(self) -> str:
        return "\n".join(f"--- {member.home.name}\n{member.log[-4000:]}" for member in self.pair.members)

    def took_over(self, kind: str, follower: Member, since: float) -> float:
        """The seconds until the other one takes calls that change something."""
        until(lambda: follower.leads, TAKE_OVER_SECONDS + 10, self.logs, every=0.1)
        seconds = time.monotonic() - since
        FIGURES.setdefault(kind, []).append(seconds)
        assert seconds <= TAKE_OVER_SECONDS, kind
        return seconds
