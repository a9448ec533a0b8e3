"""Projects and slots: idempotent creation, paging, and answers that fit their model (spec 3, 7)."""

import pytest

from codeb.tools.catalog import BY_NAME
from tests.kit import Rig, add_key, begin

pytestmark = pytest.mark.anyio
WHERE = {"projectName": "shop", "environment": "production"}
ENVELOPE = {"success", "summary", "next", "warnings", "duration", "timestamp", "correlationId"}


async def test_create_again_is_harmless_and_different_is_a_conflict() -> None:
    async with begin("active") as rig:
        process = rig.boot()
        same = {"projectName": "shop", "containerPort": 8080}
        assert (await process.ok("project_create", **same))["created"] is False
        more = await process.ok("project_create", **same, environments=["production", "staging"])
        assert [each["environment"] for each in more["project"]["environments"]] == ["production", "staging"]
        for other in ({"containerPort": 81}, {"memoryMb": 64}, {"cpus": 2}, {"type": "go"}, {"healthPath": "/h"}):
            await process.refused("project_create", 409, "project_exists", **(same | other))
        assert await rig.faults() == []


async def test_a_name_of_another_team_is_not_available() -> None:
    async with begin("active") as rig:
        rival = await add_key(rig, team="rivals")
        body = await rig.boot().refused("project_create", 409, "project_exists", projectName="Shop", key=rival)
        assert "main" not in repr(body["error"])


async def test_names_are_folded() -> None:
    async with begin("active") as rig:
        assert (await rig.boot().ok("project_create", projectName="My_App"))["project"]["projectName"] == "my-app"


async def test_project_list_pages() -> None:
    async with begin("empty") as rig:
        process = rig.boot()
        for name in ("c", "a", "b"):
            await process.ok("project_create", projectName=name)
        first = await process.ok("project_list", limit=2)
        assert ([each["projectName"] for each in first["projects"]], first["total"], first["more"]) == (["a", "b"], 3, True)
        last = await process.ok("project_list", limit=2, after="b")
        assert ([each["projectName"] for each in last["projects"]], last["more"]) == (["c"], False)


async def test_slot_list_pages_by_key() -> None:
    async with begin("empty") as rig:
        process = rig.boot()
        for name in ("a", "b"):
            await process.ok("project_create", projectName=name, environments=["production", "pr-1"])
        seen, after = [], {}
        while True:
            page = await process.ok("slot_list", limit=3, **after)
            seen += [row["key"] for row in page["environments"]]
            if not page["more"]:
                break
            after = {"after": seen[-1]}
        assert seen == ["a-pr-1", "a-production", "b-pr-1", "b-production"]
        assert page["total"] == 4
        assert len((await process.ok("slot_list", projectName="a"))["environments"]) == 2


@pytest.mark.parametrize("state", ["new", "deployed", "active", "ready", "grace", "back"])
@pytest.mark.parametrize("trouble", ["", "gone", "stopped", "down", "replaced", "open"])
async def test_status_always_fits_its_model(state: str, trouble: str) -> None:
    async with begin(state) as rig:
        spoil(rig, trouble)
        process = rig.boot()
        for tool, params in (("slot_status", WHERE), ("slot_list", {}), ("project_get", {"projectName": "shop"})):
            body = await process.ok(tool, **params)
            data = {key: value for key, value in body.items() if key not in ENVELOPE}
            BY_NAME[tool].result.model_validate(data, by_alias=True, by_name=False)
        body = await process.ok("slot_status", **WHERE)
        filled = state != "new"
        assert bool(body["drift"]) == (filled and trouble in ("gone", "stopped", "replaced", "open"))
        if trouble == "down":
            assert "does not answer" in body["warnings"][0]


def spoil(rig: Rig, trouble: str) -> None:
    box = rig.machine.boxes.get("shop-production-blue")
    rig.machine.down = trouble == "down"
    if box is None:
        return
    if trouble == "gone":
        del rig.machine.boxes[box.name]
    elif trouble == "stopped":
        box.status = "exited"
    elif trouble == "replaced":
        box.spec = None
    elif trouble == "open":
        box.published = (("0.0.0.0", 4100),)


async def test_status_tells_the_time_left_of_a_grace() -> None:
    async with begin("grace") as rig:
        rig.clock.spent += 3600 * 6
        body = await rig.boot().ok("slot_status", **WHERE)
        assert body["blue"]["graceHoursRemaining"] == pytest.approx(42, abs=0.01)
        assert (body["activeSlot"], body["green"]["health"]) == ("green", "running")


async def test_cleanup_by_force_needs_a_project() -> None:
    async with begin("grace") as rig:
        await rig.boot().refused("slot_cleanup", 400, "invalid_params", force=True)
        assert rig.effects() == []
