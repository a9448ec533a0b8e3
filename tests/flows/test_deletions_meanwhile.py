"""What became true between the look in memory and the transaction that begins a deletion: the transaction is what counts."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from sqlalchemy import update

from codeb.drivers.store.schema import project_slots, projects
from codeb.tools.call import Call
from tests.kit import Process, Rig, add_key, begin

pytestmark = pytest.mark.anyio
SHOP = {"projectName": "shop"}
CALL = {"projectName": "shop", "confirm": "shop"}


async def _another_team(process: Process, rig: Rig) -> None:
    await add_key(rig, team="rivals")
    async with rig.store.write() as registry:
        await registry.projects._tx.write(update(projects).values(team="rivals"))  # type: ignore[attr-defined]


async def _another_environment(process: Process, rig: Rig) -> None:
    await process.ok("port_allocate", **SHOP, environment="staging")


async def _deleted(process: Process, rig: Rig) -> None:
    await process.ok("project_delete", **CALL)


async def _rolled_back(process: Process, rig: Rig) -> None:
    await process.ok("rollback", **SHOP, environment="production")


async def _back(process: Process, rig: Rig) -> None:
    await process.ok("undelete", **SHOP)


async def _back_and_deleted(process: Process, rig: Rig) -> None:
    await _back(process, rig)
    await _deleted(process, rig)


async def _a_slot_emptied(process: Process, rig: Rig) -> None:
    async with rig.store.write() as registry:
        await registry.slots._tx.write(update(project_slots).values(deployment_id="dep_other"))  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("state", "tool", "more", "meanwhile", "status", "code"),
    [
        ("grace", "project_delete", CALL, _another_team, 404, "project_not_found"),
        ("grace", "project_delete", CALL, _another_environment, 409, "state_moved"),
        ("grace", "project_delete", CALL, _deleted, 409, "project_deleted"),
        ("grace", "project_delete", {**CALL, "planned": True}, _rolled_back, 409, "stale_plan"),
        ("gone", "project_delete", {**CALL, "purge": True}, _back, 409, "not_deleted"),
        ("gone", "project_delete", {**CALL, "purge": True}, _back_and_deleted, 409, "state_moved"),
        ("gone", "project_delete", {**CALL, "purge": True, "planned": True}, _a_slot_emptied, 409, "stale_plan"),
        ("gone", "undelete", SHOP, _another_team, 404, "project_not_found"),
        ("gone", "undelete", SHOP, _back, 409, "not_deleted"),
    ],
)
async def test_the_transaction_looks_once_more(
    state: str, tool: str, more: dict[str, Any], meanwhile: Callable[[Process, Rig], Awaitable[None]], status: int, code: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    async with begin(state) as rig:
        process, opens, left = rig.boot(), Call.open, list[Any]()
        said = {name: value for name, value in more.items() if name != "planned"}
        if "planned" in more:
            said["planId"] = (await process.ok(tool, **said, dryRun=True))["planId"]

        async def later(call: Call, *words: Any) -> Any:
            monkeypatch.setattr(Call, "open", opens)
            rig.clock.spent += 1
            await meanwhile(process, rig)
            left.append(rig.print())
            return await opens(call, *words)

        monkeypatch.setattr(Call, "open", later)
        await process.refused(tool, status, code, **said)
        assert rig.print() == left[0]


async def test_a_rehearsal_of_the_wrong_end_is_refused_and_one_that_is_purged_has_only_that_end() -> None:
    async with begin("gone") as rig:
        process = rig.boot()
        await process.refused("project_delete", 409, "project_deleted", **CALL, dryRun=True)
        await process.ok("undelete", **SHOP)
        await process.refused("project_delete", 409, "not_deleted", **CALL, purge=True, dryRun=True)
        await process.refused("undelete", 409, "not_deleted", **SHOP, dryRun=True)
        await process.ok("project_delete", **CALL)
        rig.machine.boxes["shop-production-blue.kept"].instance = "somebody"
        await process.ok("project_delete", **CALL, purge=True)
        assert (await process.ok("project_delete", **CALL, dryRun=True))["plan"]["purge"] is True
