"""`we audit`: read with filters, verify with an exit code, export whole or not at all (P14)."""

import json
from pathlib import Path
from typing import Any

import pytest

from codeb.entry.cli import exits
from codeb.entry.cli.client import Answer, Client, Unreachable
from tests.unit.entry.cli.conftest import Fake, We

ROW = {
    "at": "2026-03-01T12:00:00.123456+00:00", "tool": "deploy", "ok": True, "code": "", "summary": "done \x1b]0;x\x07",
    "keyId": "key_1",
    "team": "main", "role": "owner", "entry": "http", "ip": "192.0.2.1", "durationMs": 1.5, "correlationId": "c1",
    "params": {"projectName": "shop"}, "chain": "home", "seq": 1, "prev": "0", "hash": "a",
}  # fmt: skip


def test_rows_are_shown_and_older_pages_followed(fake: Fake, we: We) -> None:
    fake.says(
        "audit_list", {"success": True, "summary": "1", "rows": [ROW], "more": True, "nextBefore": 7, "next": [], "warnings": []}
    )
    fake.says(
        "audit_list",
        {"success": True, "summary": "1", "rows": [ROW], "more": False, "nextBefore": None, "next": [], "warnings": []},
    )
    said = we("audit", "--tool", "deploy", "--no-ok", "--limit", "5")
    assert said.code == exits.OK
    assert fake.asked("audit_list") == [
        {"tool": "deploy", "ok": False, "limit": 5}, {"tool": "deploy", "ok": False, "limit": 4, "before": 7},
    ]  # fmt: skip
    assert "shop" in said.out and "\x1b]" not in said.out


@pytest.mark.parametrize(("whole", "code"), [(True, exits.OK), (False, exits.FAILED)])
def test_verify_ends_with_one_when_it_is_broken(fake: Fake, we: We, whole: bool, code: int) -> None:
    faults = [] if whole else [{"seq": 3, "problem": "was altered"}]
    chain = {"chain": "home", "rows": 5, "first": 1, "last": 5, "hash": "ab" * 32, "pruned": None, "why": "", "whole": whole,
             "faults": faults, "moreFaults": 0}  # fmt: skip
    fake.says(
        "audit_verify",
        {"success": True, "summary": "so it is", "whole": whole, "rows": 5, "chains": [chain], "next": [], "warnings": []},
    )
    assert we("audit", "verify").code == code
    assert we("audit", "verify", "--json").code == code
    assert ("row 3 was altered" in we("audit", "verify").err) is not whole


def test_an_export_is_there_whole_or_not_at_all(we: We, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    line, asked = json.dumps(ROW).encode() + b"\n", []

    def lines(self: Client, path: str, query: dict[str, str]) -> tuple[Answer | None, Any]:
        asked.append((path, query))
        return None, iter([line, line])

    monkeypatch.setattr(Client, "lines", lines)
    target = tmp_path / "audit.jsonl"
    assert we("audit", "--ok", "--export", str(target)).code == exits.OK
    assert asked == [("/api/audit", {"ok": "true", "format": "jsonl"})]
    assert target.read_bytes() == line * 2
    assert target.stat().st_mode & 0o777 == 0o600

    def breaks(self: Client, path: str, query: dict[str, str]) -> tuple[Answer | None, Any]:
        def told() -> Any:
            yield line
            raise Unreachable("http://x", "it broke off", sent=True)

        return None, told()

    monkeypatch.setattr(Client, "lines", breaks)
    assert we("audit", "--export", str(target)).code == exits.UNREACHABLE
    assert target.read_bytes() == line * 2
    assert [each.name for each in tmp_path.iterdir() if each.name.endswith(".part")] == []
