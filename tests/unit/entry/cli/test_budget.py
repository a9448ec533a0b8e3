"""What the command does when its key has used up its calls, and that it asks seldom enough not to get there (S30)."""

from typing import Any

import pytest

from codeb.entry.cli import exits
from tests.unit.entry.cli.conftest import Fake, We
from tests.unit.entry.cli.test_progress import ACCEPTED, DEPLOYED, got, step


@pytest.fixture(autouse=True)
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Nobody really waits."""
    naps: list[float] = []
    monkeypatch.setattr("codeb.entry.cli.main.Session", lambda url: _session(url, naps))
    return naps


def _session(url: str | None, naps: list[float]) -> Any:
    from codeb.entry.cli.session import Session

    return Session(url, sleep=naps.append)


def refusal(seconds: int, code: str = "rate_limited") -> dict[str, Any]:
    return {"success": False, "error": "Too often.", "code": code, "details": {"retryAfterSeconds": seconds}}


def test_it_waits_as_long_as_the_server_says_and_says_so(fake: Fake, we: We, slept: list[float]) -> None:
    fake.says("slot_list", refusal(17), 429)
    fake.says("slot_list", {"success": True, "slots": []})
    said = we("status", "--json")
    assert (said.code, slept, len(fake.calls)) == (0, [17], 2)
    assert "asking again in 17 s" in said.err
    assert "rate_limited" not in said.out


def test_there_is_an_end_to_waiting(fake: Fake, we: We, slept: list[float]) -> None:
    fake.says("slot_list", refusal(50), 429)
    said = we("status", "--json")
    assert (said.code, slept) == (exits.FAILED, [50, 50])


def test_a_long_time_and_a_wrong_key_are_not_waited_for(fake: Fake, we: We, slept: list[float]) -> None:
    fake.says("slot_list", refusal(3600), 429)
    assert we("status", "--json").code == exits.FAILED
    fake.answers["slot_list"] = [(429, refusal(5, "too_many_failures"))]
    assert we("status", "--json").code == exits.DENIED
    assert slept == []


def test_a_long_operation_waits_too_and_goes_on(fake: Fake, we: We, slept: list[float]) -> None:
    fake.says("deploy", ACCEPTED)
    fake.says("operation_get", got("running", [step("pull", "intent")], 1))
    fake.says("operation_get", refusal(9), 429)
    fake.says("operation_get", got("succeeded", [step("pull", "done", 1)], 2, DEPLOYED))
    fake.says("operation_list", {"operations": []})
    assert we("deploy", "2", "-p", "shop").code == 0
    assert 9 in slept


def test_where_nobody_counts_it_asks_more_and_more_seldom(fake: Fake, we: We, slept: list[float]) -> None:
    """An operation that waits for another process: thirty seconds of it are some twenty calls, not a whole budget."""
    fake.says("deploy", ACCEPTED)
    for _ in range(25):
        fake.says("operation_get", got("running", [], 0))
    fake.says("operation_get", got("succeeded", [], 1, DEPLOYED))
    fake.says("operation_list", {"operations": []})
    assert we("deploy", "2", "-p", "shop").code == 0
    assert sum(slept) > 30


def test_an_older_command_is_told_once(fake: Fake, we: We) -> None:
    old = {"versionWarning": "This client is 0.0.1, the server 9.0.0: update it."}
    fake.says("deploy", {**ACCEPTED, **old})
    fake.says("operation_get", {**got("succeeded", [], 1, DEPLOYED), **old})
    fake.says("operation_list", {"operations": [], **old})
    assert we("deploy", "2", "-p", "shop").err.count("update it") == 1
    assert all("X-Client-Version" in headers for _, _, headers in fake.calls)
