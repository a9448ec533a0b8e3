"""project_adopt: containers that CodeB itself needs are no projects (S6)."""

from dataclasses import replace

import pytest

from codeb.model.storage import Endpoint
from tests.kit import begin
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
