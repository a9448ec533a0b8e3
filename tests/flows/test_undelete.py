"""Undelete: a deleted project is as it was, or the answer says what is not; after a week it is purged."""

from dataclasses import replace
from datetime import timedelta

import pytest

from codeb.entry.timer import end_graces, purge_deleted
from codeb.errors import Unavailable
from tests.kit import PROD, Process, begin

pytestmark = pytest.mark.anyio
SHOP = {"projectName": "shop"}
CALL = {"projectName": "shop", "confirm": "shop"}
WEEK = timedelta(days=7)


async def _purge(process: Process, later: dict[str, float] | None = None) -> list[str]:
    begun = await purge_deleted(process.kit, process.engine, process.audit, {} if later is None else later)
    await process.settle()
    return begun


@pytest.mark.parametrize("state", ["new", "deployed", "active", "ready", "grace", "back"])
async def test_everything_is_as_it_was(state: str) -> None:
    """S25: slots, containers, switch, site and restart policies, and a grace with its end as it was."""
    async with begin(state) as rig:
        process, before = rig.boot(), rig.print()
        await process.ok("project_delete", **CALL)
        rig.clock.jumped += timedelta(hours=30)
        body = await process.ok("undelete", **SHOP)
        assert rig.print() == before
        assert await rig.faults() == []
        (production,) = body["environments"]
        if state in ("active", "grace"):
            assert production["answers"] is True
        assert rig.store.snapshot.projects["shop"].deleted_at is None


async def test_containers_answer_before_any_traffic_reaches_them() -> None:
    async with begin("gone") as rig:
        await rig.boot().ok("undelete", **SHOP)
        happened = rig.effects()
        site = next(at for at, each in enumerate(happened) if each.startswith("proxy"))
        assert all("shop-production-" in each for each in happened[:site])
        assert [each for each in happened[site:] if not each.startswith("proxy")] == []
        assert happened[-1] == "proxy fallback shop-production on"


async def test_a_grace_that_ended_meanwhile_stays_aside_and_is_emptied() -> None:
    async with begin("gone") as rig:
        process = rig.boot()
        rig.clock.jumped += timedelta(hours=49)
        body = await process.ok("undelete", **SHOP)
        assert body["environments"][0]["answers"] is True
        assert "shop-production-blue" not in rig.machine.boxes
        assert (await rig.proxy.live(PROD)).fallback is False
        await end_graces(process.kit, process.engine, process.audit, {})
        await process.settle()
        assert await rig.faults() == []


async def test_a_version_that_does_not_come_up_is_said() -> None:
    """It says what is true: the project is back, its active version does not answer, and the older one stands in."""
    async with begin("gone") as rig:
        box = rig.machine.boxes["shop-production-green.kept"]
        box.behaviour = replace(box.behaviour, status=500)
        body = await rig.boot().ok("undelete", **SHOP)
        (production,) = body["environments"]
        assert production["answers"] is False
        assert "green" in production["notAnswering"]
        assert "not answering" in body["summary"]
        assert (await rig.proxy.live(PROD)).fallback is True
        assert body["next"][0]["tool"] == "logs"
        assert rig.store.snapshot.projects["shop"].state == "ready"


async def test_a_container_that_somebody_removed_is_made_again() -> None:
    async with begin("gone") as rig:
        rig.machine.boxes.pop("shop-production-green.kept")
        body = await rig.boot().ok("undelete", **SHOP)
        assert body["environments"][0]["answers"] is True
        assert await rig.faults() == []


async def test_when_docker_is_away_it_stays_deleted() -> None:
    async with begin("gone") as rig:
        process, before = rig.boot(), rig.print()

        async def away(*_: object) -> None:
            raise Unavailable("Docker does not answer.", code="docker_unavailable")

        process.kit.runtime.look = away  # type: ignore[method-assign,assignment]
        said = await process.ask("undelete", **SHOP)
        assert said.status >= 400
        assert rig.print() == before
        assert await rig.faults() == []
        assert (await rig.boot().ok("undelete", **SHOP))["environments"][0]["answers"] is True


async def test_only_a_deleted_project_comes_back_and_only_such_a_one_is_purged() -> None:
    async with begin("grace") as rig:
        process, before = rig.boot(), rig.print()
        await process.refused("undelete", 409, "not_deleted", **SHOP)
        await process.refused("undelete", 404, "project_not_found", projectName="blog")
        await process.refused("project_delete", 409, "not_deleted", **CALL, purge=True)
        assert rig.print() == before


async def test_a_plan_to_purge_is_stale_once_it_was_brought_back_and_deleted_again() -> None:
    async with begin("gone") as rig:
        process = rig.boot()
        plan = await process.ok("project_delete", **CALL, purge=True, dryRun=True)
        await process.ok("undelete", **SHOP)
        rig.clock.jumped += timedelta(hours=1)
        await process.ok("project_delete", **CALL)
        await process.refused("project_delete", 409, "stale_plan", **CALL, purge=True, planId=plan["planId"])


async def test_a_purge_leaves_nothing_but_the_record() -> None:
    """P16: the record of the deletion is nobody's to remove."""
    async with begin("gone") as rig:
        process, records = rig.boot(), dict(rig.records.documents)
        await process.refused("project_delete", 400, "invalid_params", **SHOP, purge=True)
        body = await process.ok("project_delete", **CALL, purge=True)
        assert (body["purged"], body["releasedPorts"]) == (True, [4100, 4101])
        found = rig.print()
        assert (found["projects"], found["slots"], found["leases"], found["boxes"], found["networks"]) == ({}, {}, [], {}, [])
        assert rig.records.documents == records
        await process.refused("undelete", 404, "project_not_found", **SHOP)
        assert (await process.ok("project_create", **SHOP))["created"] is True


async def test_after_a_week_it_is_purged_and_an_audit_row_says_so() -> None:
    """P12: by the stored time: not a second early, whatever was restarted, and not by a clock that went backwards."""
    async with begin("gone") as rig:
        before = rig.print()
        for jump in (timedelta(0), timedelta(days=-3), WEEK + timedelta(days=3) - timedelta(seconds=5)):
            rig.clock.jumped += jump
            assert await _purge(rig.boot()) == []
            assert rig.print() == before
        rig.clock.jumped += timedelta(seconds=5)
        process = rig.boot()
        (operation,) = await _purge(process)
        assert rig.store.snapshot.projects == {}
        assert rig.machine.boxes == {}
        await process.audit.flush()
        async with rig.store.read() as registry:
            (row,) = await registry.audit.latest(1)
        assert (row.entry, row.tool, row.ok, row.team, row.key_id) == ("timer", "project_delete", True, "main", None)
        assert row.correlation_id == operation
        told = {each["kind"] for each in (await process.ok("event_list"))["events"]}
        assert {"project_deleted", "project_purged"} <= told


async def test_a_purge_that_stopped_half_way_is_tried_again_and_cannot_be_undone() -> None:
    async with begin("gone") as rig:
        process = rig.boot()
        rig.machine.boxes["shop-production-blue.kept"].instance = "somebody"
        body = await process.ok("project_delete", **CALL, purge=True)
        assert (body["purged"], body["next"][0]["params"]["purge"]) == (False, True)
        assert rig.store.snapshot.projects["shop"].state == "purging"
        await process.refused("undelete", 409, "project_deleted", **SHOP)
        (finding,) = (await process.ok("reconcile"))["findings"] or [{}]
        assert finding.get("kind") == "deletion_unfinished"
        later: dict[str, float] = {}
        assert [len(await _purge(process, later)) for _ in range(3)] == [1, 0, 0]
        rig.machine.boxes["shop-production-blue.kept"].instance = "memory"
        later["shop"] = process.world.monotonic()
        assert len(await _purge(process, later)) == 1
        assert rig.store.snapshot.projects == {}


async def test_a_purge_and_an_undelete_exclude_each_other() -> None:
    """P7: whoever has the lock first wins, the other one is told."""
    async with begin("gone") as rig:
        process = rig.boot()
        await process.ok("undelete", **SHOP, wait=False)
        said = await process.ask("project_delete", **CALL, purge=True)
        assert said.status == 409
        await process.settle()
        assert rig.store.snapshot.projects["shop"].state == "ready"
        assert await rig.faults() == []
