"""A page in front of one site: shown at once, in no deploy's way, and as long as the registry says so (P15)."""

import pytest

from tests.flows.crash import SITE, WHERE
from tests.kit import PROD, begin

pytestmark = pytest.mark.anyio


async def test_on_and_off_without_a_reload() -> None:
    async with begin("named") as rig:
        process, reloads = rig.boot(), rig.proxy.reloads
        body = await process.ok("maintenance_on", **WHERE)
        assert (body["maintenance"], body["changed"], rig.effects()) == (True, True, ["proxy curtain shop-production on"])
        assert (await process.ok("maintenance_on", **WHERE))["changed"] is False
        status = await process.ok("slot_status", **WHERE)
        shown = (await process.ok("project_get", projectName="shop"))["project"]["environments"][0]
        assert status["maintenanceSince"] == body["since"] == shown["maintenanceSince"]
        assert (await process.ok("maintenance_off", **WHERE))["maintenance"] is False
        assert (await process.ok("slot_status", **WHERE))["maintenanceSince"] is None
        assert (rig.proxy.reloads, rig.proxy.curtains, await rig.faults()) == (reloads, set(), [])


async def test_a_promote_and_a_rollback_go_on_behind_it_and_say_so() -> None:
    async with begin("closed") as rig:
        process = rig.boot()
        await process.ok("deploy", **WHERE, image="shop:2")
        for tool in ("promote", "rollback"):
            body = await process.ok(tool, **WHERE)
            assert any("maintenance" in each for each in body["warnings"])
            assert rig.proxy.curtains == {PROD}
        assert rig.health.through(SITE).slot == "blue" and await rig.faults() == []


async def test_what_somebody_else_does_to_it_is_put_right() -> None:
    async with begin("closed") as rig:
        process = rig.boot()
        rig.proxy.curtains.clear()
        assert (await process.ok("reconcile"))["findings"][0]["kind"] == "maintenance_wrong"
        assert rig.proxy.curtains == {PROD}
        await process.ok("maintenance_off", **WHERE)
        rig.proxy.curtains.add(PROD)
        assert (await process.ok("reconcile"))["mended"] == 1
        assert rig.proxy.curtains == set()


async def test_it_is_as_before_after_a_deletion_and_an_undelete() -> None:
    async with begin("closed") as rig:
        process = rig.boot()
        await process.ok("project_delete", projectName="shop", confirm="shop")
        await process.ok("undelete", projectName="shop")
        assert rig.proxy.curtains == {PROD} and await rig.faults() == []


async def test_before_the_first_deploy_the_page_is_there_too() -> None:
    async with begin("new") as rig:
        process = rig.boot()
        await process.ok("maintenance_on", **WHERE)
        assert rig.proxy.curtains == {PROD}
        rig.proxy.loaded.clear()
        rig.proxy.switch.clear()
        rig.proxy.curtains.clear()
        await process.ok("reconcile")
        assert (set(rig.proxy.loaded), rig.proxy.curtains) == ({PROD}, {PROD})
