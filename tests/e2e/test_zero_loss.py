"""Zero loss: no request fails and no connection is cut while versions change, on either Caddy."""

import os
from collections.abc import Iterator

import pytest
from demo.load import Sight

from tests.e2e import zeroloss
from tests.stage import Stage

pytestmark = [pytest.mark.docker, pytest.mark.proxy, pytest.mark.quiet]

FULL = os.environ.get("CODEB_TEST_SIZE") == "full"
CYCLES = 200 if FULL else 15
REDEPLOYED = 12 if FULL else 2
CADDIES = ("embedded", "/usr/bin/caddy")
STEADY_KINDS = ("short", "keepalive", "post")


@pytest.fixture(scope="module", params=CADDIES)
def house(request: pytest.FixtureRequest, images: dict[str, str]) -> Iterator[Stage]:
    with Stage(**zeroloss.caddy_setting(request.param)) as stage:
        yield stage


@pytest.mark.timeout(120 + 3 * CYCLES)
def test_promote_and_rollback_lose_nothing(house: Stage) -> None:
    report = zeroloss.run(house, CYCLES)
    assert report.faults == []
    assert (report.total("failed"), report.total("cut"), report.backslides, report.flickers) == (0, 0, 0, 0)
    for site in report.sites.values():
        idle = [kind for kind, counts in site["kinds"].items() if not counts["ok"]]
        assert idle == [], "a kind of traffic that never ran proves nothing"
        assert len(site["kinds"]) == 8


def test_a_slot_whose_container_was_just_replaced_keeps_the_traffic(images: dict[str, str]) -> None:
    """Caddy 2.6 takes a slot for down after one look in vain: the hardest case."""
    with Stage(CADDY_BIN="/usr/bin/caddy") as stage:
        report = zeroloss.run(stage, REDEPLOYED, redeploy_every=1)
    assert report.faults == []
    assert (report.total("failed"), report.total("cut"), report.backslides) == (0, 0, 0)


def test_the_grace_slot_stands_in_for_a_dead_one(house: Stage) -> None:
    death = zeroloss.kill_active(house)
    # What the dead container was answering dies with it; what comes after it may fail only until the proxy has seen it.
    assert sum(death.failed[kind] for kind in STEADY_KINDS) <= 10, death
    assert death.back_ms < 1000, death
    assert death.last_failure_ms < 3000, death


def test_the_judge_sees_an_old_answer() -> None:
    moves = [zeroloss.Moved("promote", "green", 1.0, 1.1), zeroloss.Moved("rollback", "blue", 2.0, 2.1)]
    seen = {
        "before the call returned": Sight("short", 1.05, 1.2, "blue", "v1"),
        "right": Sight("short", 1.2, 1.3, "green", "v2"),
        "answered after the next call": Sight("slow", 1.9, 4.0, "blue", "v1"),
    }
    wrong = Sight("short", 1.2, 1.3, "blue", "v1")
    assert zeroloss.old_answers(list(seen.values()), moves) == []
    assert zeroloss.old_answers([*seen.values(), wrong], moves) == [wrong]
