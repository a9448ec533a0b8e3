"""port_import: what is clean is leased, collisions are told and, when asked, solved; nobody's name is given away (P7, S5)."""

import json
from typing import Any

import pytest

from codeb.model.names import Place
from tests.kit import add_key, begin

pytestmark = pytest.mark.anyio


def pair(blue: int) -> dict[str, Any]:
    return {"ports": {"production": {"blue": blue, "green": blue + 1}}}


OLD = json.dumps(
    {
        "projects": {"blog": pair(4200), "wiki": pair(4202), "shop": pair(4300), "old": pair(4000)},
        "ports": {"allocated": {"4203": {"project": "news", "slot": "blue"}}},
    }
)


def by_project(body: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {each["projectName"]: each for each in body["claims"]}


async def test_clean_pairs_are_leased_and_projects_are_set_up() -> None:
    async with begin("active") as rig:
        process = rig.boot()
        body = await process.ok("port_import", content=OLD)
        found = by_project(body)
        assert {name: each["verdict"] for name, each in found.items()} == {
            "blog": "clean", "wiki": "clean", "shop": "other", "old": "conflict", "news": "conflict",
        }  # fmt: skip
        assert (body["registered"], body["conflicts"], body["created"]) == (2, 2, ["blog", "wiki"])
        assert (await process.ok("port_get", projectName="blog"))["blue"] == 4200
        assert body["next"][0]["tool"] == "port_register"
        assert await rig.faults() == []
        # it is all there now: again is harmless
        again = await process.ok("port_import", content=OLD)
        assert (again["registered"], by_project(again)["blog"]["verdict"]) == (0, "held")


async def test_fix_leases_the_proposed_pairs() -> None:
    async with begin("active") as rig:
        process = rig.boot()
        body = await process.ok("port_import", content=OLD, fix=True)
        old = by_project(body)["old"]
        assert (old["registered"], old["proposedBlue"]) == (True, 4102)
        assert (await process.ok("port_get", projectName="old"))["blue"] == 4102
        assert (await process.ok("port_get", projectName="news"))["blue"] == 4104
        assert body["next"] == []
        assert await rig.faults() == []
        # and what was set up so can be deployed to
        assert (await process.ok("deploy", projectName="old", image="shop:2"))["slot"] == "blue"


async def test_a_dry_run_changes_nothing_and_its_plan_is_bound_to_the_state() -> None:
    async with begin("active") as rig:
        process = rig.boot()
        before = rig.print()
        shown = await process.ok("port_import", content=OLD, fix=True, dryRun=True)
        assert "lease 4200 and 4201 to blog-production" in shown["changes"]
        assert rig.print() == before
        await process.ok("project_create", projectName="blog")
        await process.refused("port_import", 409, "stale_plan", content=OLD, fix=True, planId=shown["planId"])


async def test_another_teams_projects_and_ports_stay_unknown() -> None:
    async with begin("active") as rig:
        process = rig.boot()
        stranger = await add_key(rig, team="rivals")
        body = await process.ok(
            "port_import", key=stranger, content=json.dumps({"projects": {"shop": pair(4200), "blog": pair(4100)}})
        )
        found = by_project(body)
        assert found["shop"]["verdict"] == "unavailable"
        assert found["blog"]["why"] == [
            "4100 is leased to another environment", "4101 is leased to another environment",
        ]  # fmt: skip
        assert body["registered"] == 0
        mine = await process.ok("port_get", projectName="shop")
        assert mine["blue"] == 4100


async def test_a_narrowed_key_takes_over_what_it_may_touch_only() -> None:
    async with begin("active") as rig:
        process = rig.boot()
        narrow = await add_key(rig, projects=frozenset({"blog"}), environments=frozenset({"production"}))
        both = {"production": {"blue": 4200, "green": 4201}, "staging": {"blue": 4600, "green": 4601}}
        content = json.dumps({"projects": {"blog": both, "wiki": pair(4202)}})
        body = await process.ok("port_import", key=narrow, content=content)
        verdicts = {(each["projectName"], each["environment"]): each["verdict"] for each in body["claims"]}
        assert verdicts == {
            ("blog", "production"): "clean", ("blog", "staging"): "unavailable", ("wiki", "production"): "unavailable",
        }  # fmt: skip


async def test_the_container_that_runs_keeps_its_port() -> None:
    async with begin("active") as rig:
        rig.machine.add_foreign("blog-production-blue", 4200)
        both = json.dumps({"projects": {"wiki": pair(4200), "blog": pair(4200)}})
        found = by_project(await rig.boot().ok("port_import", content=both))
        assert (found["blog"]["registered"], found["wiki"]["registered"]) == (True, False)
        assert rig.store.snapshot.pairs[Place("blog", "production")].blue.port == 4200


@pytest.mark.parametrize("content", ["", "{", "[]", '{"a": {}}', '{"production": {"blue": 4100, "green": 4101}}'])
async def test_what_is_no_registry_is_refused(content: str) -> None:
    async with begin("active") as rig:
        body = await rig.boot().refused("port_import", 400, "invalid_params", content=content)
        assert body["details"]["fields"][0]["field"] == "content"


async def test_a_projects_own_file_needs_to_be_told_whose_it_is() -> None:
    async with begin("active") as rig:
        own = json.dumps({"production": {"blue": 4210, "green": 4211}})
        body = await rig.boot().ok("port_import", content=own, projectName="wiki")
        assert (body["created"], body["claims"][0]["blue"]) == (["wiki"], 4210)


async def test_more_pairs_than_a_server_has_are_refused() -> None:
    async with begin("active") as rig:
        many = json.dumps({"projects": {f"p{number}": pair(4100) for number in range(501)}})
        body = await rig.boot().refused("port_import", 400, "invalid_params", content=many)
        assert "501 pairs" in body["error"]
