"""How a call ends: exit codes, what is shown, what is not."""

import json
import os
import re
import subprocess
import sys

import pytest
from hypothesis import given, strategies

from codeb.entry.cli import exits
from codeb.entry.cli.show import harmless
from tests.unit.entry.cli.conftest import Fake, We

OK = {"success": True, "summary": "Pair 4100/4101.", "next": [], "warnings": []}


def failure(code: str, **more: object) -> dict[str, object]:
    return {
        "success": False,
        "error": "It is not so.",
        "code": code,
        "hint": "Do that.",
        "details": {},
        "next": [],
        "warnings": [],
        **more,
    }


@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [
        (400, "invalid_params", exits.FAILED), (401, "unauthenticated", exits.DENIED), (403, "forbidden", exits.DENIED),
        (404, "project_not_found", exits.NOT_FOUND), (409, "conflict", exits.FAILED), (409, "operation_in_progress", exits.BUSY),
        (413, "too_large", exits.FAILED), (429, "too_many", exits.FAILED),
        (500, "internal", exits.FAULT), (503, "unavailable", exits.FAULT),
    ],
)  # fmt: skip
def test_the_exit_code_says_what_went_wrong(status: int, code: str, expected: int, fake: Fake, we: We) -> None:
    fake.says("port_get", failure(code), status)
    said = we("port", "get", "shop")
    assert (said.code, said.out) == (expected, ""), said
    assert "It is not so." in said.err
    assert "Do that." in said.err
    raw = we("port", "get", "shop", "--json")
    assert (raw.code, json.loads(raw.out), raw.err) == (expected, failure(code), "")


def test_an_operation_that_failed_in_a_waiting_call_is_a_failure_whatever_its_number(fake: Fake, we: We) -> None:
    fake.says("deploy", failure("unavailable", details={"state": "failed", "operationId": "op_1"}), 503)
    assert we("deploy", "1", "-p", "shop", "--json").code == exits.FAILED


def test_help_tells_every_exit_code(we: We) -> None:
    said = we("--help")
    for code, text in exits.WORDS:
        assert f"{code}  {text}" in said.out


def test_nobody_there(we: We, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CODEB_API_URL", "http://127.0.0.1:1")
    said = we("status")
    assert said.code == exits.UNREACHABLE
    assert "http://127.0.0.1:1" in said.err
    assert "we up" in said.err


def test_somebody_else_there(fake: Fake, we: We, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Fake, "next", lambda self, tool: (200, ["not", "an", "envelope"]))
    assert we("status").code == exits.UNREACHABLE


def test_the_key_and_the_version_go_in_headers(fake: Fake, we: We) -> None:
    fake.says("port_get", OK)
    we("port", "get", "shop")
    name, params, headers = fake.calls[0]
    assert headers["X-API-Key"] == "codeb_main_owner_test"
    assert headers["X-Client-Version"]
    assert "codeb_main" not in json.dumps([name, params])
    assert "Idempotency-Key" not in headers


def test_a_changing_call_has_a_key_of_its_own_or_the_one_it_was_given(fake: Fake, we: We) -> None:
    fake.says("port_allocate", OK)
    for more in ([], [], ["--key", "mine"]):
        assert we("port", "allocate", "shop", *more).code == 0
    keys = [headers["Idempotency-Key"] for _, _, headers in fake.calls]
    assert len(set(keys)) == 3
    assert keys[2] == "mine"
    assert all("idempotencyKey" not in params for _, params, _ in fake.calls)


def test_a_lost_answer_is_asked_for_again_under_the_same_key(fake: Fake, we: We) -> None:
    fake.breaks("port_allocate")
    fake.says("port_allocate", OK)
    said = we("port", "allocate", "shop")
    assert (said.code, len(fake.calls)) == (0, 2)
    assert len({headers["Idempotency-Key"] for _, _, headers in fake.calls}) == 1


def test_invalid_params_are_shown_field_by_field(fake: Fake, we: We) -> None:
    details = {"fields": [{"field": "projectName", "problem": "is odd"}, {"field": "environment", "problem": "is none"}]}
    fake.says("port_get", failure("invalid_params", details=details), 400)
    said = we("port", "get", "shop")
    assert "projectName: is odd" in said.err
    assert "environment: is none" in said.err


def test_warnings_and_next_are_shown(fake: Fake, we: We) -> None:
    step = {"tool": "deploy", "params": {"projectName": "shop", "version": "2"}, "why": "put it there"}
    fake.says("port_get", {**OK, "blue": 4100, "warnings": ["mind the gap"], "next": [step], "versionWarning": "too old"})
    said = we("port", "get", "shop")
    assert "Pair 4100/4101." in said.out
    for text in ("mind the gap", "too old", "we deploy -p shop --version 2", "put it there"):
        assert text in said.err


def test_what_destroys_asks_and_where_nobody_can_be_asked_does_nothing(fake: Fake, we: We) -> None:
    fake.says("port_release", OK)
    said = we("port", "release", "shop")
    assert (said.code, fake.calls) == (exits.USAGE, [])
    assert "--yes" in said.err
    assert we("port", "release", "shop", "--yes").code == 0


def test_the_question_shows_the_plan_and_binds_the_answer_to_it(fake: Fake, we: We, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("click.confirm", lambda *a, **k: answers.pop(0))
    answers = [False, True]
    plan = {**OK, "summary": "Would release.", "planId": "plan_1", "changes": ["free 4100"]}
    fake.answers["port_release"] = [(200, plan), (200, plan), (200, OK)]
    refused = we("port", "release", "shop")
    assert (refused.code, len(fake.calls)) == (exits.FAILED, 1)
    assert "free 4100" in refused.err
    assert we("port", "release", "shop").code == 0
    assert fake.asked("port_release")[-1] == {"projectName": "shop", "planId": "plan_1"}


def test_a_dry_run_is_shown_and_not_asked_about(fake: Fake, we: We) -> None:
    fake.says("port_release", {**OK, "summary": "Would release.", "planId": "plan_1", "changes": ["free 4100"]})
    said = we("port", "release", "shop", "--dry-run")
    assert said.code == 0
    assert "free 4100" in said.out
    assert "Nothing was changed" in said.out


def test_health_ends_with_1_when_something_fails(fake: Fake, we: We) -> None:
    check = {"name": "proxy", "status": "fail", "text": "does not answer", "fix": "start it"}
    fake.says("health_check", {**OK, "status": "fail", "checks": [check]})
    said = we("health")
    assert said.code == exits.FAILED
    assert "start it" in said.err
    assert we("health", "--json").code == exits.FAILED


def test_no_colour_off_a_terminal_and_none_where_it_is_forbidden(fake: Fake) -> None:
    script = "import sys; sys.stderr.isatty = lambda: True; from codeb.entry.cli.main import main; sys.exit(main(['status']))"
    environment = {**os.environ, "CODEB_API_URL": "http://127.0.0.1:1"}
    coloured = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True)
    plain = subprocess.run([sys.executable, "-c", script], env={**environment, "NO_COLOR": "1"}, capture_output=True)
    assert b"\x1b[31m" in coloured.stderr
    assert b"\x1b" not in plain.stderr


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("plain ü", "plain ü"), ("\x1b[31mred\x1b[0m", "\x1b[31mred\x1b[0m\x1b[0m"),
        ("a\x1b]0;title\x07b", "ab"), ("a\x1b[2Jb", "ab"),
        ("a\x1b[1;1Hb", "ab"), ("a\rb\bc", "abc"), ("a\tb", "a\tb"), ("a\x9b2Jb", "a2Jb"), ("a\x1bcb", "ab"), ("a\u202eb", "ab"),
    ],
)  # fmt: skip
def test_text_of_others_does_not_steer_the_terminal(text: str, left: str) -> None:
    assert harmless(text) == left


@given(
    strategies.lists(
        strategies.sampled_from(["\x1b", "[", "]", "2J", "31", ";", "m", "\x07", "\\", "\x00", "P", "a", "\x9b", "?"])
    )
)
def test_however_it_is_put_together(parts: list[str]) -> None:
    left = harmless("".join(parts))
    assert "\x1b" not in re.sub(r"\x1b\[[0-9;]*m", "", left)
    assert not re.search(r"[\x00-\x08\x7f-\x9f]", left)
