"""project_adopt: containers that are nobody's to take over, or were not taken over in the end (S6)."""

from dataclasses import replace

import pytest

from codeb.model.names import Slot
from codeb.model.storage import Endpoint
from tests.kit import PROD, begin
from tests.kit_guests import guest

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("port", "what"), [(5000, "image registry"), (443, "proxy"), (5432, "database server"), (6379, "Redis"), (8080, "")]
)  # fmt: skip
async def test_what_codeb_itself_needs_is_not_taken_over(port: int, what: str) -> None:
    """Its end would come with the first version that takes its place, for every team."""
    async with begin() as rig:
        rig.servers.databases.where, rig.servers.caches.where = Endpoint("127.0.0.1", 5432), Endpoint("localhost", 6379)
        process = rig.boot(lambda kit: replace(kit, policy=replace(kit.policy, image_registry="localhost:5000")))
        guest(rig.machine, port=port)
        where = {"projectName": "shop", "environment": "production", "container": "web"}
        if what:
            assert what in (await process.refused("project_adopt", 409, "container_needed", **where))["error"]
        else:
            await process.ok("project_adopt", **where)


@pytest.mark.parametrize("end", ["deploy", "purge"])
async def test_one_that_was_only_claimed_is_still_somebody_elses(end: str) -> None:
    """The registry was rebuilt from its files in the midst of an adoption: nobody ends that any more, and the claim stays."""
    async with begin("promised") as rig:
        process = rig.boot()
        await process.ok("port_allocate", projectName="shop", environment="production")
        box = rig.machine.boxes["web"]
        async with rig.store.write() as registry:
            pair = await registry.slots.pair(PROD)
            assert pair is not None
            await registry.slots.put(replace(pair[Slot.BLUE], port=8080, adopted=box.id, adopted_name="web"))
        if end == "deploy":
            rig.image("1")
            await process.ok("deploy", projectName="shop", environment="production", image="shop:1")
            found = rig.store.snapshot.slot(PROD, Slot.BLUE)
            assert found is not None and (found.adopted, found.port) == (None, 4100)
        else:
            for more in ({}, {"purge": True}):
                await process.ok("project_delete", projectName="shop", confirm="shop", **more)
        assert rig.machine.boxes.get("web") is box and box.running
        assert [each for each in rig.effects() if "web" in each.split()] == []
