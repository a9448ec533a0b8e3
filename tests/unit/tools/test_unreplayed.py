"""P9: what could not be added to the database is told to those it concerns, until somebody settles it."""

from typing import Any

import pytest

from codeb.model.access import Role
from codeb.model.events import Unreplayed
from tests.kit import START, Rig, add_key, begin

pytestmark = pytest.mark.anyio

ID = "cf_" + "0" * 28
ROWS: tuple[dict[str, Any], ...] = (
    {"table": "projects", "act": "UPDATE", "before": {"name": "shop"}, "after": {"name": "shop", "watch_seconds": 5}},
    {"table": "project_slots", "act": "UPDATE", "before": None, "after": {"project": "theirs", "slot": "blue"}},
    {"table": "meta", "act": "UPDATE", "before": {"id": 1}, "after": {"id": 1}},
)


async def lay(rig: Rig, rows: tuple[dict[str, Any], ...] = ROWS) -> None:
    conflict = Unreplayed(ID, START, "w1", "projects shop was changed", "op_1", rows)
    async with rig.store.write() as registry:
        await registry.conflicts.add(conflict)
        await registry.conflicts.add(conflict)


async def test_it_is_listed_with_the_rows_that_concern_the_caller_and_settled_once() -> None:
    async with begin("active") as rig:
        process = rig.boot()
        assert (await process.ok("conflict_list"))["conflicts"] == []
        await lay(rig)
        told = await process.ok("conflict_list")
        assert [(each["conflictId"], each["reason"], each["others"]) for each in told["conflicts"]] == [
            (ID, "projects shop was changed", 2)
        ]
        assert [row["after"] for row in told["conflicts"][0]["rows"]] == [{"name": "shop", "watch_seconds": 5}]
        assert told["next"][0]["params"] == {"conflictId": ID}
        plan = await process.ok("conflict_settle", conflictId=ID, dryRun=True)
        assert len((await process.ok("conflict_list"))["conflicts"]) == 1
        await process.ok("conflict_settle", conflictId=ID, planId=plan["planId"])
        assert (await process.ok("conflict_list"))["conflicts"] == []
        await process.refused("conflict_settle", 404, "conflict_not_found", conflictId=ID)


async def test_another_team_sees_and_settles_nothing_of_it() -> None:
    async with begin("active") as rig:
        process = rig.boot()
        await lay(rig)
        stranger = await add_key(rig, Role.OWNER, team="strangers")
        assert (await process.ok("conflict_list", key=stranger))["conflicts"] == []
        await process.refused("conflict_settle", 404, "conflict_not_found", conflictId=ID, key=stranger)
        assert len((await process.ok("conflict_list"))["conflicts"]) == 1
