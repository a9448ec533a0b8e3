"""The audit log from outside: the calls that were made, held against the rows of the audit log.

Most calls have one row of their own. Those with a wrong key, past a measure, are counted: a row that carries the name of the
first of them says how many came since the row before it. Here every call is looked for in one or the other, exactly.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

ROWS = "select correlation_id, code, params from audit_logs"
COUNTED = "unauthenticated"


class Call(Protocol):
    """What is asked of a call: `status` 0 says that its answer was lost on purpose, so it may have no row."""

    @property
    def tool(self) -> str: ...
    @property
    def status(self) -> int: ...
    @property
    def outcome(self) -> str: ...
    @property
    def correlation_id(self) -> str: ...


@dataclass(frozen=True)
class Row:
    times: int
    """how many calls it stands for"""
    counted: bool


def found(rows: Iterable[Mapping[str, Any]]) -> dict[str, list[Row]]:
    """The rows by the name of their call. `params` of a counted one has its number; elsewhere it is what a caller sent."""
    by_name: dict[str, list[Row]] = {}
    for row in rows:
        params = json.loads(row["params"]) if isinstance(row["params"], str) else row["params"]
        counted = row["code"] == COUNTED and "times" in params
        by_name.setdefault(row["correlation_id"], []).append(Row(int(params["times"]) if counted else 1, counted))
    return by_name


def unaudited(calls: Sequence[Call], rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """What the log lacks, has twice or counts wrongly. `calls` with a wrong key are in the order in which they were made."""
    by_name = found(rows)
    wrong_key = [call for call in calls if call.status == 401]
    others = [call for call in calls if call.status != 401]
    said = []
    for call in others:
        own = by_name.get(call.correlation_id, [])
        if len(own) > 1 or (call.status and not own) or any(row.counted for row in own):
            said.append(f"{call.tool} {call.correlation_id} ({call.outcome}) has {len(own)} audit rows")
    return said + _counted(wrong_key, by_name)


def _counted(calls: Sequence[Call], by_name: Mapping[str, list[Row]]) -> list[str]:
    said = []
    batch, told, there = "", 0, 0
    """the call whose row counts those that follow, what it says, and how many of them there were"""
    for call in calls:
        own = by_name.get(call.correlation_id, [])
        if len(own) > 1:
            said.append(f"{call.tool} {call.correlation_id} ({call.outcome}) has {len(own)} audit rows")
        elif own and not own[0].counted:
            continue
        elif own:
            said += _closed(batch, told, there)
            batch, told, there = call.correlation_id, own[0].times, 1
        elif batch:
            there += 1
        else:
            said.append(f"{call.tool} {call.correlation_id} ({call.outcome}) has 0 audit rows")
    return said + _closed(batch, told, there)


def _closed(batch: str, told: int, there: int) -> list[str]:
    return [f"the row of {batch} counts {told} calls with a wrong key, there were {there}"] if told != there else []
