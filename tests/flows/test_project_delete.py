"""Project deletion: a record first, traffic ends, containers stand aside; what failed is finished by calling again."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from codeb.entry.timer import end_graces
from codeb.flows import project_delete
from codeb.model.access import Role
from tests.flows.watch_scene import watching
from tests.kit import PROD, Died, add_key, begin

pytestmark = pytest.mark.anyio
CALL = {"projectName": "shop", "confirm": "shop"}
WHERE = {"projectName": "shop", "environment": "production"}


async def test_sites_go_first_and_containers_stand_aside() -> None:
    """S25, P16: ports, name, rows and the final record stay; nothing comes back with a reboot."""
    async with begin("grace") as rig:
        before = rig.print()
        body = await rig.boot().ok("project_delete", **CALL)
        assert rig.effects() == [
            "proxy remove_site shop-production",
            "rename shop-production-blue shop-production-blue.kept",
            "policy shop-production-blue.kept no",
            "stop shop-production-blue.kept",
            "rename shop-production-green shop-production-green.kept",
            "policy shop-production-green.kept no",
            "stop shop-production-green.kept",
        ]
        assert (body["deleted"], body["purged"], body["releasedPorts"]) == (True, False, [])
        assert body["next"][0]["tool"] == "undelete"
        document = rig.records.documents[body["backup"].removeprefix("memory:")]
        assert {each["version"] for each in document["deployments"]} == {"1", "2"}
        shop = rig.store.snapshot.projects["shop"]
        assert (shop.state, shop.deleted_at) == ("deleted", rig.clock.now())
        assert (rig.print()["slots"], rig.print()["leases"]) == (before["slots"], before["leases"])
        assert await rig.faults() == []


async def test_what_stands_in_an_empty_slot_goes_and_is_not_kept() -> None:
    async with begin("active") as rig:
        blue, green = "shop-production-blue", "shop-production-green"
        rig.machine.boxes[green] = replace(
            rig.machine.boxes[blue], id="stray", name=green, spec=replace(rig.machine.boxes[blue].spec, name=green)
        )
        await rig.boot().ok("project_delete", **CALL)
        assert sorted(rig.machine.boxes) == [f"{blue}.kept"]


async def test_without_the_name_typed_nothing_goes() -> None:
    async with begin("grace") as rig:
        before = rig.print()
        await rig.boot().refused("project_delete", 400, "invalid_params", projectName="shop", confirm="Shop")
        assert rig.print() == before


async def test_what_could_not_go_is_said_and_finished_by_calling_again() -> None:
    async with begin("grace") as rig:
        rig.machine.boxes["shop-production-blue"].instance = "somebody"
        process = rig.boot()
        body = await process.ok("project_delete", **CALL)
        assert body["deleted"] is False
        assert body["warnings"]
        assert rig.store.snapshot.projects["shop"].state == "deleting"
        await process.refused("deploy", 409, "project_deleting", **WHERE, image="shop:3")
        await process.refused("undelete", 409, "project_deleting", projectName="shop")
        rig.machine.boxes["shop-production-blue"].instance = "memory"
        assert (await process.ok("project_delete", **CALL))["deleted"] is True
        assert await rig.faults() == []


async def test_a_deletion_that_a_former_version_began_is_handed_over_and_finished_by_calling_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As a former CodeB left it when it died: past its commit point, its first container gone for good."""
    async with begin("grace") as rig:
        with monkeypatch.context() as former:
            former.setattr(project_delete, "SAGA", replace(project_delete.SAGA, version=1))
            process = rig.boot()
            process.world.at_point = _die_before_containers
            begun = await process.ok("project_delete", **CALL, wait=False)
            await process.settle()
        rig.machine.boxes.pop("shop-production-blue")
        process = rig.boot()
        await process.engine.resume()
        await process.settle()
        handed = await process.ok("operation_get", operationId=begun["operationId"])
        assert (handed["operation"]["state"], handed["operation"]["error"]["code"]) == ("failed", "unknown_saga_version")
        assert rig.store.snapshot.projects["shop"].state == "deleting"
        assert (await process.ok("project_delete", **CALL))["deleted"] is True
        back = await process.ok("undelete", projectName="shop")
        assert back["environments"][0]["answers"] is True
        assert await rig.faults() == []


def _die_before_containers(point: str) -> None:
    if point == "project_delete.containers.do.before":
        raise Died(point)


REFUSED = {
    "deploy": {**WHERE, "image": "shop:3"}, "promote": WHERE, "rollback": WHERE, "slot_cleanup": {**WHERE, "slot": "blue"},
    "slot_status": WHERE, "logs": WHERE, "scan": WHERE, "port_allocate": {**WHERE, "environment": "staging"},
    "port_release": WHERE, "project_update": {"projectName": "shop", "watchSeconds": 5},
    "project_create": {"projectName": "shop", "containerPort": 8080}, "project_delete": CALL,
    "reconcile": {"projectName": "shop"},
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
async def test_whatever_is_asked_of_it_is_answered_with_the_way_back(name: str) -> None:
    async with begin("gone") as rig:
        before = rig.print()
        body = await rig.boot().refused(name, 409, "project_deleted", **REFUSED[name])
        assert body["details"]["undelete"]["params"] == {"projectName": "shop"}
        assert rig.print() == before


async def test_it_is_hidden_until_asked_for() -> None:
    async with begin("gone") as rig:
        process = rig.boot()
        assert (await process.ok("project_list"))["projects"] == []
        (shop,) = (await process.ok("project_list", deleted=True))["projects"]
        assert (shop["state"], shop["purgeAt"]) == ("deleted", (rig.clock.now() + timedelta(days=7)).isoformat())
        shown = await process.ok("project_get", projectName="shop")
        assert shown["project"]["deletedAt"] == rig.clock.now().isoformat()
        assert {each["health"] for each in shown["slots"]["production"]} == {"stopped"}
        assert shown["next"][0]["tool"] == "undelete"
        assert (await process.ok("slot_list"))["environments"] == []
        missed = await process.refused(
            "deploy", 404, "project_not_found", projectName="shpo", environment="production", image="a"
        )
        assert "shop" not in missed["hint"]
        foreign = await add_key(rig, Role.OWNER, team="rivals")
        assert (await process.ask("project_get", projectName="shop", key=foreign)).status == 404
        assert (await process.ask("undelete", projectName="shop", key=foreign)).status == 404
        taken = await process.ask("project_create", projectName="shop", key=foreign)
        assert (taken.status, taken.body["code"]) == (409, "project_exists")


async def test_nobody_mends_it_and_nobody_has_its_ports() -> None:
    """P7: neither rounds of reconciliation, nor the watch, nor the end of its grace touch it."""
    async with begin("gone") as rig:
        process, before = rig.boot(), rig.print()
        assert (await process.ok("reconcile"))["findings"] == []
        assert (await process.ok("port_sync"))["drift"] == []
        assert (await process.ok("health_check"))["success"]
        watcher = watching(process)
        await watcher.round()
        assert watcher.counts.looks == 0
        rig.clock.jumped += timedelta(days=3)
        assert await end_graces(process.kit, process.engine, process.audit, {}) == []
        assert rig.print() == before
        assert rig.effects() == []
        other = await process.ok("project_create", projectName="blog")
        assert other["project"]["environments"][0]["blue"] == 4102


async def test_an_environment_made_meanwhile_is_not_forgotten() -> None:
    """What is locked is what is deleted: an environment that came between the look and the lock is a reason to ask again."""
    async with begin("grace") as rig:
        process = rig.boot()
        plan = await process.ok("project_delete", **CALL, dryRun=True)
        await process.ok("port_allocate", projectName="shop", environment="staging")
        await process.refused("project_delete", 409, "stale_plan", **CALL, planId=plan["planId"])
        assert rig.store.snapshot.pair_of(replace(PROD, environment="staging")) is not None


async def test_an_environment_that_comes_meanwhile_is_not_left_behind() -> None:
    """The deletion does not hold its lock: it gives up before anything goes, and the next one takes it along."""
    async with begin("grace") as rig:
        process = rig.boot()
        keep = rig.records.keep

        async def while_staging_comes(name: str, document: Any) -> str:
            await process.ok("workflow_init", projectName="shop", environments=["staging"])
            return await keep(name, document)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(rig.records, "keep", while_staging_comes)
            body = await process.refused("project_delete", 409, "state_moved", **CALL)
        assert "staging" in body["error"]
        assert rig.store.snapshot.projects["shop"].state == "ready"
        assert await rig.faults() == []
        assert (await process.ok("project_delete", **CALL))["deleted"] is True
        assert not any("shop" in each and ".kept" not in each for each in rig.machine.boxes)
