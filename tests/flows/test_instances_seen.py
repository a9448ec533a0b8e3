"""What is said of storage in containers of its own by those who look at an environment."""

import pytest

from tests.flows.test_instances import NAMES, WHERE, boxes
from tests.kit import begin

pytestmark = pytest.mark.anyio


async def test_scan_asks_the_server_that_has_it() -> None:
    async with begin("owned") as rig:
        process = rig.boot()

        async def lines() -> dict[str, tuple[str, str]]:
            found = await process.ok("scan", **WHERE)
            return {
                each["name"]: (each["status"], each["text"]) for each in found["checks"] if each["name"] in ("database", "redis")
            }

        assert await lines() == {
            "database": ("pass", "shop_production at 198.51.100.9:5432"),
            "redis": ("pass", "shop-production at 198.51.100.9:6379"),
        }
        boxes(rig)[NAMES["db"]].running = False
        status, text = (await lines())["database"]
        assert (status, "198.51.100.9" in text) == ("fail", True)
