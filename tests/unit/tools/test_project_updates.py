"""project_update: what its containers are like changes with the next deploy, and nothing that runs is judged by it (spec 7)."""

from dataclasses import replace
from typing import Any

import pytest

from codeb.model.names import Slot
from codeb.model.slots import SlotRow
from codeb.model.specs import Site
from tests.kit import PROD, Rig, add_key, begin

pytestmark = pytest.mark.anyio

SHOP: dict[str, Any] = {"projectName": "shop"}
WHERE = {**SHOP, "environment": "production"}
FORM = {"containerPort": 9000, "healthPath": "/up", "memoryMb": 256, "cpus": 0.5}


def row(rig: Rig, slot: Slot) -> SlotRow:
    found = rig.store.snapshot.slot(PROD, slot)
    assert found is not None
    return found


def site(rig: Rig) -> Site:
    return rig.proxy.loaded[PROD]


async def drift(process: Any) -> list[str]:
    seen = await process.ok("scan", **WHERE)
    return [each["text"] for each in seen["checks"] if each["name"] in ("proxy site", "public route", "containers", "drift")
            and each["status"] != "pass"]  # fmt: skip


async def test_it_says_what_waits_for_the_next_deploy() -> None:
    async with begin("active") as rig:
        process = rig.boot()
        body = await process.ok("project_update", **SHOP, **FORM, type="go", watchSeconds=90)
        assert body["fromNextDeploy"] == ["containerPort", "healthPath", "memoryMb", "cpus"]
        assert "set type from docker to go" in body["changed"]
        assert "set healthPath from / to /up, from the next deploy on" in body["changed"]
        assert body["summary"].endswith("What runs goes on as it was deployed.")
        project = body["project"]
        assert {name: project[name] for name in FORM} == FORM
        assert (project["type"], project["watchSeconds"]) == ("go", 90)
        again = await process.ok("project_update", **SHOP, **FORM)
        assert (again["changed"], again["fromNextDeploy"]) == ([], [])


async def test_what_runs_is_asked_as_it_was_deployed_and_the_next_one_as_it_is_now() -> None:
    """The way back too: a rollback asks the version before at its own port and path, not at the new ones."""
    async with begin("active") as rig:
        process = rig.boot()
        before = site(rig)
        await process.ok("project_update", **SHOP, **FORM)
        assert await drift(process) == []
        assert site(rig) == before, "no reload, no site that differs"
        rig.image("2")
        await process.ok("deploy", **WHERE, image="shop:2")
        fresh, old = row(rig, Slot.GREEN), row(rig, Slot.BLUE)
        assert (fresh.container_port, fresh.health_path) == (9000, "/up")
        assert (old.container_port, old.health_path) == (8080, "/")
        box = rig.machine.boxes["shop-production-green"]
        assert box.spec is not None
        assert (box.spec.container_port, box.spec.limits.memory_mb, box.spec.limits.cpus) == (9000, 256, 0.5)
        assert (site(rig).path(Slot.GREEN), site(rig).path(Slot.BLUE)) == ("/up", "/")
        await process.ok("promote", **WHERE)
        await process.ok("rollback", **WHERE)
        await process.ok("promote", **WHERE)
        assert await drift(process) == []
        await process.ok("slot_cleanup", **WHERE, slot="blue", force=True)
        assert await drift(process) == [], "the site without the old version is written by the cleanup"


async def test_a_failed_deploy_leaves_the_site_as_it_was() -> None:
    async with begin("grace") as rig:
        process = rig.boot()
        before = replace(site(rig))
        await process.ok("project_update", **SHOP, healthPath="/up", containerPort=9000)
        rig.image("4")
        rig.health.broken.add("shop-blue.preview.localhost")
        said = await process.ask("deploy", **WHERE, image="shop:4")
        assert (said.ok, said.body["details"]["step"]) == (False, "preview"), "after the site was written for it"
        assert {slot: site(rig).path(slot) for slot in Slot} == {slot: before.path(slot) for slot in Slot}
        assert rig.machine.boxes["shop-production-blue"].running, "the grace version is back, asked at its own port"
        assert await rig.faults() == []


async def test_what_was_deployed_before_slots_knew_their_own_keeps_what_the_project_said() -> None:
    """Rows of an older release say nothing: the change must not become theirs."""
    async with begin("active") as rig:
        async with rig.store.write() as registry:
            await registry.slots.put(replace(row(rig, Slot.BLUE), container_port=None, health_path=None))
        process = rig.boot()
        await process.ok("project_update", **SHOP, watchSeconds=5)
        assert row(rig, Slot.BLUE).container_port is None, "nothing to keep: the form is as it was"
        await process.ok("project_update", **SHOP, **FORM)
        assert (row(rig, Slot.BLUE).container_port, row(rig, Slot.BLUE).health_path) == (8080, "/")


@pytest.mark.parametrize(
    "more", [{"memoryMb": 1}, {"cpus": 0}, {"cpus": "1"}, {"containerPort": 0}, {"healthPath": "up"}, {"type": "cobol"}]
)
async def test_what_no_container_could_be_is_refused(more: dict[str, Any]) -> None:
    async with begin("active") as rig:
        await rig.boot().refused("project_update", 400, "invalid_params", **SHOP, **more)


async def test_a_plan_shows_all_of_it_and_is_bound_to_it() -> None:
    async with begin("active") as rig:
        process = rig.boot()
        plan = await process.ok("project_update", **SHOP, memoryMb=256, dryRun=True)
        assert plan["changes"] == ["set memoryMb from 512 to 256, from the next deploy on"]
        assert rig.store.snapshot.projects["shop"].limits.memory_mb == 512
        apply = plan["next"][0]["params"]
        await process.ok("project_update", **SHOP, cpus=2.0)
        await process.refused("project_update", 409, "stale_plan", **apply)


async def test_a_key_for_staging_changes_nothing_that_production_has_too() -> None:
    async with begin("active") as rig:
        process = rig.boot()
        narrow = await add_key(rig, environments=frozenset({"staging"}))
        before = rig.print()
        for dry in (True, False):
            said = await process.refused(
                "project_update", 403, "forbidden", key=narrow, projectName="shop", memoryMb=256, dryRun=dry
            )
            assert "production" in said["error"]
        assert rig.print() == before
        both = await add_key(rig, environments=frozenset({"staging", "production"}))
        await process.ok("project_update", key=both, projectName="shop", memoryMb=256)
