"""Who judges the audit log in the runs with outages sees every row that is missing, and excuses nothing else."""

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import pytest

from codeb.gate.flood import BURST, Flood
from codeb.model.chain import AuditRow
from tests.e2e.audited import unaudited
from tests.kit import START
from tests.unit.gate.test_audit import row


@dataclass(frozen=True)
class Call:
    tool: str
    status: int
    correlation_id: str

    @property
    def outcome(self) -> str:
        return str(self.status)


def written(calls: list[Call], pace: float, flush: float) -> list[dict[str, Any]]:
    """The rows CodeB makes of them, one call every `pace` seconds, a look at what was counted every `flush`."""
    flood, rows, looked = Flood(), list[AuditRow](), 0.0
    for number, call in enumerate(calls):
        now = 1e6 + number * pace
        one = row(number, correlation_id=call.correlation_id, at=START + timedelta(seconds=now))
        if call.status == 401:
            one = replace(one, ok=False, code="unauthenticated", key_id=None, ip="192.0.2.1", tool="slot_status", params={})
        if call.status != 401 or not flood.takes(one, now):
            rows.append(one)
        if now - looked >= flush:
            looked, rows = now, [*rows, *flood.due(now)]
    rows += flood.due(2e6, at_once=True)
    return [{"correlation_id": each.correlation_id, "code": each.code, "params": dict(each.params)} for each in rows]


def calls(number: int) -> list[Call]:
    return [Call("a", 401 if at % 3 else 200, f"call-{at}") for at in range(number)]


@pytest.mark.parametrize("pace", [0.2, 0.4, 3.0])
def test_all_rows_there_nothing_to_say_and_each_one_is_missed(pace: float) -> None:
    made = calls(500)
    rows = written(made, pace, 0.25)
    assert any("times" in each["params"] for each in rows) is (pace < 1), "the run has to be one that counts"
    assert unaudited(made, rows) == []
    for lost in range(len(rows)):
        assert unaudited(made, rows[:lost] + rows[lost + 1 :]), rows[lost]


def test_a_wrong_number_a_row_twice_and_a_call_that_nobody_wrote_down() -> None:
    made = calls(500)
    rows = written(made, 0.2, 0.25)
    for at, each in enumerate(rows):
        for wrong in (-1, 1) if "times" in each["params"] else ():
            off = {**each, "params": {**each["params"], "times": each["params"]["times"] + wrong}}
            assert unaudited(made, [*rows[:at], off, *rows[at + 1 :]]), each
        assert unaudited(made, [*rows, each]), each
    assert unaudited([*made, Call("late", 401, "call-late")], rows)
    assert unaudited([*made, Call("late", 200, "call-late")], rows) == ["late call-late (200) has 0 audit rows"]
    assert unaudited([*made, Call("thrown", 0, "call-late")], rows) == []
    early = Call("early", 401, "call-early")
    assert unaudited([early, *made], rows) == ["early call-early (401) has 0 audit rows"]


def test_only_refusals_without_a_key_are_counted() -> None:
    """A row that says it counts calls that were let in is no excuse, whatever a caller sent as its parameters."""
    rows = [{"correlation_id": "call-1", "code": "unauthenticated", "params": {"times": 5, "until": ""}}]
    assert unaudited([Call("a", 200, "call-1")], rows)
    sent = [{"correlation_id": "call-1", "code": "", "params": {"times": 5}}]
    assert unaudited([Call("a", 200, "call-1")], sent) == []
    assert len(written(calls(3 * BURST), 0.0, 0.25)) < 3 * BURST
