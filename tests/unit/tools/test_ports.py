"""Port tools: every source, every conflict (P7, spec 6)."""

import pytest

from codeb.model.ports import Range, Ranges
from tests.kit import add_key, begin, resting

pytestmark = pytest.mark.anyio
STAGING = {"projectName": "shop", "environment": "staging"}


async def test_allocate_takes_the_lowest_pair_that_no_source_has() -> None:
    async with begin("active") as rig:
        rig.machine.add_foreign("someone", 4500, running=False)
        rig.machine.sockets.add(4503)
        body = await rig.boot().ok("port_allocate", **STAGING)
        assert (body["blue"], body["green"], body["created"]) == (4504, 4505, True)
        again = await rig.boot().ok("port_allocate", **STAGING)
        assert (again["blue"], again["created"]) == (4504, False)
        assert (await rig.boot().ok("port_get", **STAGING))["green"] == 4505


async def test_an_exhausted_range_says_so() -> None:
    still = await resting("active")
    async with still.again() as rig:
        object.__setattr__(rig.policy, "ranges", Ranges(staging=Range(4500, 4501)))
        try:
            process = rig.boot()
            await process.ok("port_allocate", **STAGING)
            await process.ok("project_create", projectName="blog")
            body = await process.refused("port_allocate", 409, "ports_exhausted", projectName="blog", environment="staging")
            assert "4500-4501: 2 of 2" in body["error"]
        finally:
            object.__setattr__(rig.policy, "ranges", Ranges())


async def test_register_adopts_a_pair_once() -> None:
    async with begin("active") as rig:
        process = rig.boot()
        body = await process.ok("port_register", **STAGING, blue=4700, green=4701)
        assert body["created"] is True
        assert (await process.ok("port_register", **STAGING, blue=4700, green=4701))["created"] is False
        assert (await process.ok("port_register", **STAGING, blue=4702, green=4703))["blue"] == 4702
        assert await rig.faults() == []


@pytest.mark.parametrize(("blue", "green"), [(4701, 4702), (4700, 4702), (4100, 4101), (3000, 3001), (4700, 4700)])
async def test_register_refuses_what_is_no_pair_of_the_range(blue: int, green: int) -> None:
    async with begin("active") as rig:
        await rig.boot().refused("port_register", 400, "invalid_params", **STAGING, blue=blue, green=green)


async def test_register_refuses_a_leased_a_published_and_a_used_pair() -> None:
    async with begin("active") as rig:
        process = rig.boot()
        await process.ok("project_create", projectName="blog", environments=["staging"])
        await process.refused("port_register", 409, "port_taken", **STAGING, blue=4500, green=4501)
        rig.machine.add_foreign("other-staging-blue", 4600)
        await process.refused("port_register", 409, "port_taken", **STAGING, blue=4600, green=4601)
        await process.refused(
            "port_register", 409, "pair_in_use", projectName="shop", environment="production", blue=4200, green=4201
        )
        assert await rig.faults() == []


async def test_check_tells_each_source_and_hides_other_teams() -> None:
    async with begin("active") as rig:
        process, rival = rig.boot(), await add_key(rig, team="rivals")
        rig.machine.sockets.add(4444)
        rig.machine.add_foreign("redis", 4445)
        mine = await process.ok("port_check", port=4100)
        assert (mine["free"], mine["listening"]) == (False, True)
        assert mine["leased"] == mine["runtime"] == "shop-production-blue"
        theirs = await process.ok("port_check", port=4100, key=rival)
        assert (theirs["free"], theirs["leased"], theirs["runtime"]) == (False, "another team", "another team")
        assert (await process.ok("port_check", port=4444))["listening"] is True
        assert (await process.ok("port_check", port=4445))["runtime"] == "redis"
        assert (await process.ok("port_check", port=4446))["free"] is True
        assert "shop" not in repr((await process.ok("port_list", key=rival))["ports"])


async def test_list_pages_and_filters() -> None:
    async with begin("active") as rig:
        process = rig.boot()
        await process.ok("project_create", projectName="blog")
        first = await process.ok("port_list", limit=3)
        assert ([row["port"] for row in first["ports"]], first["more"]) == ([4100, 4101, 4102], True)
        rest = await process.ok("port_list", limit=3, after=4102)
        assert ([row["port"] for row in rest["ports"]], rest["more"]) == ([4103], False)
        assert [row["port"] for row in (await process.ok("port_list", projectName="blog"))["ports"]] == [4102, 4103]
        assert first["ranges"]["production"] == "4100-4499"


async def test_release_only_what_runs_nothing() -> None:
    async with begin("active") as rig:
        process = rig.boot()
        await process.refused("port_release", 409, "pair_in_use", projectName="shop", environment="production")
        await process.ok("port_allocate", **STAGING)
        await process.ok("port_release", **STAGING)
        await process.refused("port_get", 404, "environment_not_found", **STAGING)
        assert await rig.faults() == []


async def test_release_takes_the_site_with_it() -> None:
    async with begin("deployed") as rig:
        process, where = rig.boot(), {"projectName": "shop", "environment": "production"}
        await process.ok("slot_cleanup", **where, slot="blue", force=True)
        await process.ok("port_release", **where)
        assert rig.proxy.loaded == {}


async def test_sync_reports_and_mends_only_what_is_safe() -> None:
    async with begin("active") as rig:
        process = rig.boot()
        assert (await process.ok("port_sync"))["drift"] == []
        await process.ok("port_allocate", **STAGING)
        rig.machine.sockets.add(4500)
        rig.machine.add_foreign("shop-preview-blue", 5000)
        rig.machine.boxes["shop-production-blue"].published = ()
        before = rig.print()
        found = (await process.ok("port_sync"))["drift"]
        kinds = {row["port"]: row["kind"] for row in found}
        assert (kinds.pop(4100), kinds.pop(4500), set(kinds)) == ("not_published", "used_by_other", {5000})
        assert rig.print() == before
        mended = await process.ok("port_sync", fix=True)
        assert [row["port"] for row in mended["drift"] if row["mended"]] == [4500]
        assert (await process.ok("port_get", **STAGING))["blue"] == 4502
        assert rig.effects() == []
