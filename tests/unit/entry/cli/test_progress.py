"""An operation followed to its end: the steps, a lost connection, a failure with its evidence."""

import io
import sys
from typing import Any

import pytest

from codeb.entry.cli import exits, progress
from tests.unit.entry.cli.conftest import Fake, We

ACCEPTED = {
    "success": True,
    "operationId": "op_1",
    "state": "running",
    "steps": [],
    "summary": "Begun.",
    "next": [],
    "warnings": [],
}
DEPLOYED = {"version": "2", "slot": "green", "previewUrl": "http://green"}
PROMOTED = {"version": "2", "activeSlot": "green", "url": "http://shop", "gracePeriod": {"hoursRemaining": 48.0}}


def step(name: str, status: str, ms: float | None = None, error: str | None = None) -> dict[str, Any]:
    return {"name": name, "status": status, "durationMs": ms} | ({"error": error} if error else {})


def got(state: str, steps: list[dict[str, Any]], changes: int, result: Any = None, **more: Any) -> dict[str, Any]:
    operation = {
        "operationId": "op_1", "tool": "deploy", "projectName": "shop", "environment": "production", "state": state,
        "summary": "deploy 2 to shop", "warnings": [], "error": None, **more,
    }  # fmt: skip
    return {"success": True, "operation": operation, "steps": steps, "result": result, "changes": changes, "summary": ""}


def deploys(fake: Fake) -> None:
    fake.says("deploy", ACCEPTED)
    fake.says("operation_get", got("running", [step("pull", "intent")], 1))
    fake.says("operation_get", got("running", [step("pull", "done", 812.4), step("start", "intent")], 2))
    fake.says("operation_list", {"operations": [{"operationId": "op_0", "follows": None}]})


def test_steps_are_said_as_they_end(fake: Fake, we: We) -> None:
    deploys(fake)
    fake.says("operation_get", got("succeeded", [step("pull", "done", 812.4), step("start", "done", 51)], 3, DEPLOYED))
    said = we("deploy", "2", "-p", "shop")
    assert said.code == 0
    assert said.err.count("pull: done in 812 ms") == 1
    assert said.err.index("pull: done") < said.err.index("start: done in 51 ms")
    assert "2 runs in green, healthy: http://green" in said.out
    assert "we promote -p shop -e production" in said.err
    assert fake.asked("deploy") == [{"projectName": "shop", "version": "2", "wait": False}]
    assert [params["seen"] for params in fake.asked("operation_get")] == [0, 1, 2]


def test_a_failure_brings_the_sentence_the_hint_and_the_last_lines(fake: Fake, we: We) -> None:
    deploys(fake)
    error = {
        "message": "It exited.",
        "code": "exited",
        "hint": "Look.",
        "details": {"logs": ["boom \x1b]0;x\x07here"], "container": "c"},
    }
    steps = [step("pull", "undone", 812.4), step("start", "undone", 40, "It exited.")]
    fake.says("operation_get", got("failed", steps, 3, error=error))
    said = we("deploy", "2", "-p", "shop")
    assert (said.code, said.out) == (exits.FAILED, "")
    for text in (
        "start: failed",
        "start: undone",
        "It exited. Everything it had done is undone.",
        "Look.",
        "│ boom here",
        "we ops op_1",
    ):
        assert text in said.err
    assert "pull: failed" not in said.err


def test_what_could_not_be_undone_is_not_said_to_be(fake: Fake, we: We) -> None:
    deploys(fake)
    fake.says("operation_get", got("failed", [], 3, error={"message": "No."}, warnings=["not undone: start: gone"]))
    said = we("deploy", "2", "-p", "shop")
    assert "Not everything could be undone" in said.err
    assert "not undone: start: gone" in said.err


def test_a_lost_connection_does_not_lose_the_operation(fake: Fake, we: We) -> None:
    fake.says("deploy", ACCEPTED)
    fake.says("operation_get", got("running", [step("pull", "done", 1)], 9))
    fake.breaks("operation_get")
    fake.says("operation_get", {"success": False, "error": "stopping", "code": "unavailable"}, 503)
    fake.says("operation_get", got("succeeded", [step("pull", "done", 1)], 1, DEPLOYED))
    fake.says("operation_list", {"operations": []})
    said = we("deploy", "2", "-p", "shop")
    assert said.code == 0
    assert said.err.count("The server does not answer") == 1
    # a server that was started anew counts from the beginning
    assert [params["seen"] for params in fake.asked("operation_get")] == [0, 9, 0, 0]


def test_a_server_that_stays_away_is_said_with_how_to_find_the_operation(
    fake: Fake, we: We, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("codeb.entry.cli.session.PATIENCE_SECONDS", 0.0)
    fake.says("deploy", ACCEPTED)
    fake.breaks("operation_get")
    said = we("deploy", "2", "-p", "shop")
    assert said.code == exits.UNREACHABLE
    assert "we ops op_1 --follow" in said.err


def test_a_promote_that_grew_out_of_the_deploy_is_followed_too(fake: Fake, we: We) -> None:
    fake.says("deploy", ACCEPTED)
    fake.says("operation_get", got("succeeded", [step("pull", "done", 1)], 1, DEPLOYED))
    fake.says(
        "operation_list", {"operations": [{"operationId": "op_2", "follows": "op_1"}, {"operationId": "op_1", "follows": None}]}
    )
    fake.says("operation_get", got("succeeded", [step("switch", "done", 1)], 1, PROMOTED, tool="promote", operationId="op_2"))
    said = we("deploy", "2", "-p", "shop", "--promote")
    assert said.code == 0
    assert [params["operationId"] for params in fake.asked("operation_get")] == ["op_1", "op_2"]
    assert "2 (green) has all traffic: http://shop" in said.out
    assert "we promote" not in said.err
    assert "we rollback -p shop -e production" in said.err


def test_an_answer_that_begins_no_operation_is_the_whole_of_it(fake: Fake, we: We) -> None:
    """`state` is the domain's then, not an operation's."""
    said = {**ACCEPTED, "operationId": None, "state": "pending", "summary": "Set the TXT record."}
    said["setAtRegistrar"] = [{"name": "_codeb.example.com", "type": "TXT", "value": "codeb-verify=1", "why": "proof"}]
    fake.says("domain_setup", said)
    heard = we("domain", "setup", "shop", "--domain", "example.com")
    assert (heard.code, len(fake.calls)) == (0, 1)
    assert "codeb-verify=1" in heard.out


def test_a_database_that_was_made_says_what_deployments_get(fake: Fake, we: We) -> None:
    fake.says("db_create", ACCEPTED)
    made = {"name": "shop_production", "env": ["DATABASE_URL", "POSTGRES_HOST"]}
    warned = {"tool": "db_create", "warnings": ["The storage server's address is 127.0.0.1."]}
    fake.says("operation_get", got("succeeded", [step("record", "done", 3)], 1, made, **warned))
    said = we("db", "create", "shop")
    assert said.out.strip() == "shop_production is there; deployments get DATABASE_URL, POSTGRES_HOST."
    assert "The storage server's address is 127.0.0.1." in said.err
    assert "we deploy -p shop -e production" in said.err


def test_not_waiting_names_the_operation(fake: Fake, we: We) -> None:
    fake.says("deploy", ACCEPTED)
    said = we("deploy", "2", "-p", "shop", "--no-wait")
    assert (said.code, len(fake.calls)) == (0, 1)
    assert "op_1" in said.out


def test_ctrl_c_ends_the_watching_only(fake: Fake, we: We, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: Any) -> Any:
        raise KeyboardInterrupt

    fake.says("deploy", ACCEPTED)
    monkeypatch.setattr(progress, "follow", interrupt)
    said = we("deploy", "2", "-p", "shop")
    assert said.code == exits.INTERRUPTED
    assert "The operation goes on" in said.err


def test_json_waits_and_prints_only_the_envelope(fake: Fake, we: We) -> None:
    fake.says("deploy", {"success": True, "summary": "ü"})
    said = we("deploy", "2", "-p", "shop", "--json")
    assert (said.code, said.out, said.err) == (0, '{"success": true, "summary": "ü"}\n', "")
    assert fake.asked("deploy") == [{"projectName": "shop", "version": "2"}]


def test_on_a_terminal_the_running_step_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        encoding = "utf-8"

        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    on = progress.screen()
    assert isinstance(on, progress.Live)
    with on:
        on.show([step("pull", "intent")])
        assert on._stop.wait(0.35) is False
        on.show([step("pull", "done", 812), step("start", "failed", 3), step("health", "undo_failed")])
    drawn = terminal.getvalue()
    for text in ("⠙ pull", "✓", "812 ms", "✗", "start"):
        assert text in drawn
    assert not on._thread.is_alive()


def test_logs_follow_goes_on_where_it_was_and_over_a_restart(fake: Fake, we: We, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("codeb.entry.cli.tail.SHORTEST_SECONDS", 0)
    monkeypatch.setattr("codeb.entry.cli.tail.PAUSE_SECONDS", 0)

    def lines(cursor: str | None, *texts: str) -> dict[str, Any]:
        return {"success": True, "lines": [{"at": cursor, "stream": "stdout", "text": text} for text in texts], "cursor": cursor}

    fake.says("logs", lines(None))
    fake.says("logs", lines("t1", "one"))
    fake.breaks("logs")
    fake.says("logs", lines("t2", "two"))
    fake.says("logs", {"success": False, "error": "It is empty.", "code": "slot_empty"}, 409)
    said = we("logs", "-p", "shop", "--follow", "--since", "5m")
    assert (said.code, said.out) == (exits.FAILED, "one\ntwo\n")
    said_after = [params.get("after") for params in fake.asked("logs")]
    assert said_after == [None, None, "t1", "t1", "t2"]
    assert fake.asked("logs")[1]["since"] == "5m"
    assert "since" not in fake.asked("logs")[2]


def test_ops_follow_finds_the_running_one(fake: Fake, we: We) -> None:
    fake.says("operation_list", {"operations": [{"operationId": "op_1"}]})
    fake.says("operation_get", got("succeeded", [step("switch", "done", 1)], 1, PROMOTED, tool="promote"))
    said = we("ops", "--follow")
    assert said.code == 0
    assert fake.asked("operation_list") == [{"running": True}]
    assert "has all traffic" in said.out
