"""Project deletion: a record first, then everything goes; what failed is finished by calling again."""

import pytest

from tests.kit import begin

pytestmark = pytest.mark.anyio
CALL = {"projectName": "shop", "confirm": "shop"}


async def test_sites_go_before_containers_and_the_network_last() -> None:
    async with begin("grace") as rig:
        body = await rig.boot().ok("project_delete", **CALL)
        assert rig.effects() == [
            "proxy remove_site shop-production",
            "stop shop-production-blue",
            "remove shop-production-blue",
            "stop shop-production-green",
            "remove shop-production-green",
            "remove network codeb-shop",
        ]
        assert body["deleted"] is True
        assert body["releasedPorts"] == [4100, 4101]
        document = rig.records.documents[body["backup"].removeprefix("memory:")]
        assert {each["version"] for each in document["deployments"]} == {"1", "2"}
        assert rig.store.snapshot.projects == {}
        assert rig.store.snapshot.leases == ()


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
        await process.refused("deploy", 409, "project_deleting", projectName="shop", environment="production", image="shop:3")
        rig.machine.boxes["shop-production-blue"].instance = "memory"
        assert (await process.ok("project_delete", **CALL))["deleted"] is True
        assert rig.machine.boxes == {}
