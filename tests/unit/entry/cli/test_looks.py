"""status, ports, ops, logs as people see them."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from codeb.entry.cli import exits, show
from tests.unit.entry.cli.conftest import Fake, We

EMPTY = {
    "slot": "green", "state": "empty", "port": 4101, "version": None, "health": "none", "deployedAt": None, "deployedBy": None,
    "promotedAt": None, "promotedBy": None, "graceHoursRemaining": None, "previewUrl": None, "drift": [],
}  # fmt: skip
ACTIVE = EMPTY | {
    "slot": "blue", "state": "active", "port": 4100, "version": "1.4.2", "health": "healthy", "promotedBy": "main/owner/key_123",
    "promotedAt": "2026-11-21T08:00:00+00:00", "previewUrl": "http://blue",
}  # fmt: skip
RUNNING = {
    "operationId": "op_1",
    "tool": "deploy",
    "step": "health",
    "startedAt": "2026-11-21T08:00:00+00:00",
    "startedBy": "ci/member/key_9",
}
WHERE = {"projectName": "shop", "environment": "production", "url": "http://shop.localhost"}


def test_status_of_one_environment(fake: Fake, we: We) -> None:
    warning = "The runtime differs from the registry: blue is stopped"
    fake.says(
        "slot_status", {**WHERE, "blue": ACTIVE, "green": EMPTY, "operation": RUNNING, "drift": ["x"], "warnings": [warning]}
    )
    said = we("status", "shop")
    assert said.code == 0
    lines = said.out.splitlines()
    assert lines[0] == "shop production: http://shop.localhost"
    assert lines[1].split() == ["SLOT", "STATE", "HEALTH", "VERSION", "PORT", "GRACE", "SINCE", "BY", "PREVIEW"]
    assert lines[2].split()[:5] == ["blue", "active", "healthy", "1.4.2", "4100"]
    assert "main/owner" in lines[2]
    assert "key_123" not in said.out
    assert lines[3].split()[:4] == ["green", "empty", "none", "-"]
    assert "Running: deploy at step health" in said.out
    assert "op_1" in said.out
    assert warning in said.err


def test_status_of_everything(fake: Fake, we: We) -> None:
    row = {**WHERE, "key": "shop/production", "blue": ACTIVE | {"health": "unhealthy", "drift": ["blue is odd"]}, "green": EMPTY}
    fake.says("slot_list", {"environments": [{**row, "operation": None}], "total": 1, "more": False})
    said = we("status")
    assert said.out.splitlines()[1].split() == [
        "shop",
        "production",
        "1.4.2",
        "(active,",
        "unhealthy)",
        "-",
        "-",
        "http://shop.localhost",
    ]
    assert "blue is odd" in said.err


def test_all_and_a_project_exclude_each_other(fake: Fake, we: We) -> None:
    assert we("status", "--all", "-p", "shop").code == exits.USAGE
    assert we("status", "-e", "staging").code == exits.USAGE
    assert fake.calls == []


def test_ports(fake: Fake, we: We) -> None:
    port = {"port": 4100, "leased": "shop-production-blue", "runtime": None, "listening": True}
    fake.says("port_list", {"ports": [port], "ranges": {"production": "4100-4499"}, "server": "local", "more": False})
    said = we("ports")
    assert said.out.splitlines()[1].split() == ["4100", "shop-production-blue", "-", "yes"]
    assert "production 4100-4499" in said.out


def operation(**more: Any) -> dict[str, Any]:
    return {
        "operationId": "op_1", "tool": "deploy", "projectName": "shop", "environment": "production", "state": "running",
        "summary": "deploy 2", "step": "health", "startedAt": "2026-11-21T08:00:00+00:00", "startedBy": "ci/member/key_9",
        "endedAt": None, "warnings": [], "error": None, **more,
    }  # fmt: skip


def test_ops_lists_and_shows(fake: Fake, we: We) -> None:
    fake.says("operation_list", {"operations": [operation()], "more": False})
    assert we("ops", "--running").out.splitlines()[1].split()[:5] == ["op_1", "running", "deploy", "2", "health"]
    assert fake.asked("operation_list") == [{"running": True}]
    step = {"name": "pull", "status": "undone", "durationMs": 812, "error": None}
    failed = operation(state="failed", error={"message": "It exited.", "details": {"logs": ["boom"]}})
    fake.says("operation_get", {"operation": failed, "steps": [step], "result": None, "changes": 0, "summary": ""})
    said = we("ops", "op_1")
    assert said.code == exits.FAILED
    assert said.out.splitlines()[1].split() == ["pull", "undone", "812", "ms", "-"]
    assert "boom" in said.err


def test_log_lines_are_the_applications_text_and_nothing_else(fake: Fake, we: We) -> None:
    line = {"at": "2026-11-21T08:00:00Z", "stream": "stderr", "text": "hello \x1b]0;x\x07there"}
    fake.says("logs", {"lines": [line], "cursor": "c", "summary": "1 line"})
    assert we("logs", "-p", "shop", "--tail", "5", "--grep", "h").out == "hello there\n"
    assert fake.asked("logs") == [{"projectName": "shop", "tail": 5, "grep": "h"}]
    assert we("logs", "-p", "shop", "-t").out == "2026-11-21T08:00:00Z  hello there\n"


@pytest.mark.parametrize(
    ("back", "text"),
    [(5, "5 s ago"), (300, "5 min ago"), (7200, "2 h ago"), (3 * 86400, "3 d ago"), (-7200 - 1, "in 2 h")],
)
def test_ago(back: int, text: str) -> None:
    assert show.ago((datetime.now(UTC) - timedelta(seconds=back)).isoformat()) == text
