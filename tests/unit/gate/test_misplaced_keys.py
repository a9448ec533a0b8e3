"""An API key where it does not belong: kept nowhere, and not repeated to whoever sent it (S11)."""

import json
from typing import Any

import pytest

from codeb.model.access import holds_key
from tests.kit import OWNER, begin

pytestmark = pytest.mark.anyio
KEY = "codeb_team-1_member_Ca9aryThatNobodyWasGiven"
WHERE = {"projectName": "shop", "environment": "production"}
MISPLACED: list[tuple[str, dict[str, Any], str]] = [
    ("rollback", {**WHERE, "reason": f"see {KEY}."}, "reason"),
    ("deploy", {**WHERE, "image": f"shop:{KEY}"}, "image"),
    ("promote", {**WHERE, "idempotencyKey": KEY}, "idempotencyKey"),
    ("promote", {**WHERE, "idem": f"x-{KEY}"}, "Idempotency-Key"),
    ("project_delete", {"projectName": "shop", "confirm": KEY}, "confirm"),
    ("rollback", {**WHERE, "reason": KEY, "dryRun": True}, "reason"),
]


@pytest.mark.parametrize(("tool", "params", "field"), MISPLACED, ids=range(len(MISPLACED)))
async def test_what_changes_something_refuses_it_before_anything_is_done(tool: str, params: dict[str, Any], field: str) -> None:
    async with begin("grace") as rig:
        process = rig.boot()
        said = await process.refused(tool, 400, "key_in_params", **params)
        assert said["details"]["fields"] == [{"field": field, "problem": "holds an API key"}]
        assert rig.effects() == []
        await process.audit.flush()
        async with process.kit.store.read() as registry:
            assert await registry.answers.find(process.gate.entrance.know(OWNER, None).key_id, KEY) is None
            (row, *_) = await registry.audit.latest(1)
        assert KEY not in f"{said} {row}"


async def test_one_that_is_looked_for_may_be_said_and_is_not_kept() -> None:
    async with begin("grace") as rig:
        process = rig.boot()
        await process.ok("logs", **WHERE, grep=KEY)
        await process.audit.flush()
        async with process.kit.store.read() as registry:
            (row, *_) = await registry.audit.latest(1)
        assert row.tool == "logs"
        assert KEY not in repr(row)


@pytest.mark.parametrize(
    "params", [{KEY: 1}, {"projectName": "shop", KEY: KEY}, {"projectName": KEY}, {"environment": {KEY: KEY}}]
)
async def test_a_refusal_does_not_repeat_it(params: dict[str, Any]) -> None:
    async with begin("grace") as rig:
        said = await rig.boot().refused("slot_status", 400, "invalid_params", **params)
        assert KEY not in json.dumps(said)


@pytest.mark.parametrize(
    ("value", "holds"),
    [
        (KEY, True), ({"a": [{"b": f"({KEY})"}]}, True), (["x", KEY], True), ("codeb_", False), ("codeb_main_owner_", False),
        ("codeb_main_guest_abc", False), (None, False), ({"codeb_1": 2}, False), ("codebtest-246e04", False),
    ],
)  # fmt: skip
def test_what_is_taken_for_a_key(value: Any, holds: bool) -> None:
    assert holds_key(value) is holds
