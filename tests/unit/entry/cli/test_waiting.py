"""Approvals as people meet them: what waits, what they are asked to type, whom to ask."""

from typing import Any

import pytest

from codeb.entry.cli import exits
from tests.unit.entry.cli.conftest import Fake, We

ID = "ap_0123456789abcdef"
PLAN = "plan_" + "0" * 32
OK: dict[str, Any] = {"success": True, "summary": "Done.", "next": [], "warnings": []}
CALL = {"projectName": "shop", "environment": "production"}
CHANGES = ["send all traffic of shop production to 2 in green"]


def refusal(code: str, **details: Any) -> dict[str, Any]:
    touches = {"hosts": ["shop.localhost"], "containers": ["shop-production-green"], "ports": [4101]}
    return {
        "success": False, "error": "It waits.", "code": code, "hint": "See to it.", "retryable": False, "summary": "It waits.",
        "details": {"planId": PLAN, "changes": CHANGES, "touches": touches, **details},
        "next": [{"tool": "promote", "params": {**CALL, "planId": PLAN}, "why": "once it is approved"}], "warnings": [],
    }  # fmt: skip


def test_who_has_to_wait_sees_what_for_and_whom_to_ask(fake: Fake, we: We) -> None:
    details = {"approvalId": ID, "state": "waiting", "expiresAt": "2099-01-01T00:00:00+00:00"}
    fake.says("promote", refusal("approval_needed", **details), 409)
    said = we("promote", "-p", "shop")
    assert said.code == exits.FAILED
    for text in (CHANGES[0], "shop.localhost", "shop-production-green", "4101", f"we approve {ID}", "in "):
        assert text in said.err
    assert f"next: we promote -p shop -e production --plan-id {PLAN}" in said.err


def test_somebody_there_types_the_name_and_the_call_goes_on(fake: Fake, we: We, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("click.prompt", lambda *a, **k: "shop")
    fake.answers["promote"] = [(409, refusal("confirm_needed", confirm="shop")), (200, OK)]
    said = we("promote", "-p", "shop")
    assert said.code == exits.OK
    assert CHANGES[0] in said.err
    assert fake.asked("promote")[-1] == {"projectName": "shop", "wait": False, "planId": PLAN, "confirm": "shop"}


def test_a_name_is_asked_for_where_the_plan_says_so(fake: Fake, we: We, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("click.prompt", lambda *a, **k: "shop")
    apply = {"tool": "project_delete", "params": {"projectName": "shop", "confirm": "shop", "planId": PLAN}, "why": "delete it"}
    fake.answers["project_delete"] = [(200, {**OK, "planId": PLAN, "changes": CHANGES, "next": [apply]}), (200, OK)]
    assert we("project", "delete", "shop").code == exits.OK
    assert fake.asked("project_delete")[-1] == {"projectName": "shop", "planId": PLAN, "confirm": "shop", "wait": False}


def test_where_nobody_is_there_the_name_is_not_typed_by_itself(fake: Fake, we: We) -> None:
    fake.says("promote", refusal("confirm_needed", confirm="shop"), 409)
    assert we("promote", "-p", "shop").code == exits.FAILED
    assert len(fake.asked("promote")) == 1


def test_what_waits_is_listed_with_what_it_changes(fake: Fake, we: We) -> None:
    one = {
        "approvalId": ID, "state": "waiting", "tool": "promote", "projectName": "shop", "environment": "production",
        "requestedBy": "main/member/key_9", "createdAt": "2026-01-01T00:00:00+00:00", "expiresAt": "2099-01-01T00:00:00+00:00",
        "decidedBy": None, "changes": [*CHANGES, "clear \x1b]0;title\x07the screen"],
    }  # fmt: skip
    fake.says("approval_list", {**OK, "approvals": [one], "more": False})
    said = we("approvals", "-p", "shop")
    assert said.code == exits.OK
    assert fake.asked("approval_list") == [{"projectName": "shop", "waiting": True}]
    assert said.out.splitlines()[0].split() == ["ID", "STATE", "WHAT", "ASKED", "BY", "ASKED", "ENDS"]
    assert said.out.splitlines()[1].split()[:6] == [ID, "waiting", "promote", "shop", "production", "main/member"]
    assert CHANGES[0] in said.out
    assert "\x1b]" not in said.out
    fake.answers["approval_list"] = [(200, {**OK, "approvals": [], "more": False})]
    assert "Nothing waits" in we("approvals").out
    we("approvals", "--all")
    assert fake.asked("approval_list")[-1] == {}


def test_a_yes_and_a_no_in_one_line(fake: Fake, we: We) -> None:
    for verb in ("approve", "reject"):
        fake.says(verb, {**OK, "approval": {"approvalId": ID}})
    assert we("approve", ID).code == exits.OK
    assert we("reject", ID, "--reason", "not on a Friday").code == exits.OK
    assert fake.asked("approve") == [{"approvalId": ID}]
    assert fake.asked("reject") == [{"approvalId": ID, "reason": "not on a Friday"}]
