"""project_update and event_list (issue 3.4): what may be set, what is shown to whom (S5)."""

from datetime import timedelta
from typing import Any

import pytest

from codeb.model.access import Role
from codeb.model.events import Event, Severity
from tests.kit import Rig, add_key, begin

pytestmark = pytest.mark.anyio


async def test_the_watch_of_a_project_is_shown_and_set() -> None:
    async with begin("active") as rig:
        process = rig.boot()
        before = (await process.ok("project_get", projectName="shop"))["project"]
        assert (before["autoRollback"], before["watchSeconds"]) == (True, 60)
        body = await process.ok("project_update", projectName="shop", autoRollback=False)
        assert body["changed"] == ["set autoRollback from on to off"]
        assert (body["project"]["autoRollback"], body["project"]["watchSeconds"]) == (False, 60)
        body = await process.ok("project_update", projectName="shop", watchSeconds=0)
        assert (body["project"]["autoRollback"], body["project"]["watchSeconds"]) == (False, 0)
        assert (await process.ok("project_update", projectName="shop", watchSeconds=0))["changed"] == []
        listed = (await process.ok("project_list"))["projects"][0]
        assert (listed["autoRollback"], listed["watchSeconds"]) == (False, 0)
        created = await process.ok("project_create", projectName="other")
        assert created["project"]["autoRollback"] is True
        # a repeated create is no way to set it back
        assert (await process.ok("project_create", projectName="shop", containerPort=8080))["project"]["autoRollback"] is False


@pytest.mark.parametrize("more", [{}, {"watchSeconds": -1}, {"watchSeconds": 86401}, {"watchSeconds": "60"}, {"autoRollback": 1}])
async def test_what_cannot_be_set_is_refused(more: dict[str, Any]) -> None:
    async with begin("active") as rig:
        await rig.boot().refused("project_update", 400, "invalid_params", projectName="shop", **more)


async def test_only_members_of_the_team_may_set_it() -> None:
    async with begin("active") as rig:
        process = rig.boot()
        viewer, rival = await add_key(rig, Role.VIEWER), await add_key(rig, team="rivals")
        said = {"projectName": "shop", "autoRollback": False}
        await process.refused("project_update", 403, "forbidden", key=viewer, **said)
        await process.refused("project_update", 404, "project_not_found", key=rival, **said)
        assert rig.store.snapshot.projects["shop"].auto_rollback is True


async def test_a_plan_is_bound_to_what_was() -> None:
    async with begin("active") as rig:
        process = rig.boot()
        plan = await process.ok("project_update", projectName="shop", watchSeconds=90, dryRun=True)
        assert plan["changes"] == ["set watchSeconds from 60 to 90"]
        assert rig.store.snapshot.projects["shop"].watch_seconds == 60
        apply = plan["next"][0]["params"]
        await process.ok("project_update", projectName="shop", watchSeconds=30)
        await process.refused("project_update", 409, "stale_plan", **apply)
        await process.ok("project_update", projectName="shop", watchSeconds=60)
        assert (await process.ok("project_update", **apply))["project"]["watchSeconds"] == 90


# --- events ------------------------------------------------------------------------------------------------------


async def happened(rig: Rig, *owners: tuple[str | None, str | None]) -> None:
    """One event per (team, project), oldest first."""
    async with rig.store.write() as registry:
        for number, (team, project) in enumerate(owners):
            at = rig.clock.now() + timedelta(seconds=number)
            text = f"{number}: {team}/{project}"
            await registry.events.add(
                Event(f"ev_{number:026d}", at, "watch_alarm", Severity.ALARM, text, team, project, data={"n": number})
            )


def numbers(body: dict[str, Any]) -> list[int]:
    return [each["data"]["n"] for each in body["events"]]


async def test_events_are_newest_first_and_paged() -> None:
    async with begin("active") as rig:
        process = rig.boot()
        await happened(rig, *[("main", "shop")] * 7)
        seen, more = list[int](), {}
        while True:
            body = await process.ok("event_list", limit=3, **more)
            seen += numbers(body)
            assert body["more"] == (body["nextBefore"] is not None)
            if not body["more"]:
                break
            more = {"before": body["nextBefore"]}
        assert seen == [6, 5, 4, 3, 2, 1, 0]
        first = (await process.ok("event_list", limit=1))["events"][0]
        assert (first["kind"], first["severity"], first["projectName"], first["text"]) == (
            "watch_alarm",
            "alarm",
            "shop",
            "6: main/shop",
        )


async def test_a_caller_sees_its_own_team_and_what_concerns_everybody() -> None:
    """S5: scope comes from the key."""
    async with begin("active") as rig:
        process = rig.boot()
        rival = await add_key(rig, Role.VIEWER, team="rivals")
        narrow = await add_key(rig, projects=frozenset({"other"}))
        await happened(
            rig, ("main", "shop"), ("rivals", "their"), (None, None), (None, "shop"), ("main", None), ("main", "other")
        )
        assert numbers(await process.ok("event_list")) == [5, 4, 2, 0]
        assert numbers(await process.ok("event_list", key=rival)) == [2, 1]
        assert numbers(await process.ok("event_list", key=narrow)) == [5, 4, 2]
        assert numbers(await process.ok("event_list", projectName="shop")) == [0]
        assert numbers(await process.ok("event_list", projectName="shop", key=rival)) == []
        await process.refused("event_list", 404, "project_not_found", projectName="shop", key=narrow)


async def test_a_page_is_filled_although_most_events_are_not_the_callers() -> None:
    async with begin("active") as rig:
        process = rig.boot()
        narrow = await add_key(rig, projects=frozenset({"other"}))
        await happened(rig, ("main", "other"), *[("main", "shop")] * 6, ("main", "other"))
        body = await process.ok("event_list", limit=2, key=narrow)
        assert numbers(body) == [7, 0]


async def test_a_hostile_cursor_is_refused() -> None:
    async with begin("active") as rig:
        for before in ("", "op_00000000000000000000000001", "ev_'; drop", "ev_" + "0" * 64):
            await rig.boot().refused("event_list", 400, "invalid_params", before=before)
