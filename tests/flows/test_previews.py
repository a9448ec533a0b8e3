"""Previews of pull requests: one address through all versions, variables of their kind, an end, and then nothing left."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from codeb.contracts.store import Standing
from codeb.drivers.pulls.memory import MemoryPulls
from codeb.entry.preview_ends import end_previews
from codeb.entry.reconciler import Reconciler
from codeb.errors import Conflict, Unavailable
from codeb.model.access import Actor, Approval, Role
from codeb.model.names import Place
from codeb.model.previews import Preview
from codeb.model.pulls import PullState
from codeb.tools.call import Call
from codeb.tools.preview_ends import begin_end
from tests.kit import START, Process, Rig, add_key, begin

pytestmark = pytest.mark.anyio

PULL = Place("shop", "pr-7")
WHERE = {"projectName": "shop", "pullRequest": 7}


def left_of(rig: Rig, place: Place = PULL) -> list[str]:
    """Everything that says this environment's name, wherever it is."""
    printed = rig.print()
    found = [f"{part}: {each}" for part in ("slots", "boxes") for each in printed[part] if each.startswith(place.key)]
    found += [f"lease {each}" for each in printed["leases"] if each[2] == place.environment]
    found += [f"file {each}" for each in rig.env_files.files if place.environment in each]
    parts = {"site": rig.proxy.loaded, "switch": rig.proxy.switch, "pair": rig.store.snapshot.pairs}
    parts |= {"row": rig.store.snapshot.previews, "lock": rig.store.snapshot.running}
    return found + [name for name, held in parts.items() if place in held]


async def made(process: Process, image: str = "shop:1", **more: Any) -> dict[str, Any]:
    return await process.ok("preview_create", **WHERE | {"image": image} | more)


async def test_a_pull_request_gets_an_address_that_stays() -> None:
    async with begin("active") as rig:
        process = rig.boot()
        first = await made(process)
        assert (first["environment"], first["created"], first["url"]) == ("pr-7", True, "http://shop-pr-7.localhost")
        assert 5000 <= first["port"] <= 5499
        again = await made(process, "shop:2")
        assert (again["url"], again["created"], again["slot"]) == (first["url"], False, "green")
        assert rig.health.through("shop-pr-7.localhost").slot == "green"
        assert {step["name"] for step in again["steps"]} >= {"pull", "health", "record", "switch"}
        assert await rig.faults() == []


async def test_without_the_traffic_it_says_what_it_has() -> None:
    async with begin("previewed") as rig:
        rig.health.broken.add("shop-pr-7.localhost")
        refused = await rig.boot().refused("preview_create", 409, "not_proven", **WHERE, image="shop:3")
        assert refused["error"].startswith("3 runs at http://shop-pr-7-blue.preview.localhost and did not get the traffic of")
        rig.health.broken.clear()
        assert rig.health.through("shop-pr-7.localhost").slot == "green"
        assert await rig.faults() == []


async def test_nothing_is_left_of_one_that_is_removed_and_again_there_is_nothing_to_do() -> None:
    async with begin("previewed") as rig:
        process, before = rig.boot(), rig.print()
        assert left_of(rig)
        plan = await process.ok("preview_delete", **WHERE, dryRun=True)
        assert plan["touches"]["containers"] == ["shop-pr-7-blue", "shop-pr-7-green"]
        assert rig.print() == before
        gone = await process.ok("preview_delete", **WHERE, planId=plan["planId"])
        assert (gone["deleted"], gone["releasedPorts"]) == (True, [5000, 5001])
        assert left_of(rig) == []
        again = await process.ok("preview_delete", **WHERE)
        assert (again["deleted"], again["operationId"]) == (False, None)
        assert await rig.faults() == []
        said = [event["text"] for event in (await process.ok("event_list"))["events"] if event["kind"] == "preview_ended"]
        assert said == ["The preview of pull request 7 of shop is gone: it was asked for."]
        assert "codeb-shop" in rig.machine.networks, "production uses it"


async def test_the_last_environment_takes_the_network_along() -> None:
    async with begin("new") as rig:
        process = rig.boot()
        await made(process)
        await process.ok("preview_delete", **WHERE)
        assert "codeb-shop" in rig.machine.networks, "a deploy to production may be about to use it"
        await process.ok("port_release", projectName="shop")
        await made(process)
        await process.ok("preview_delete", **WHERE)
        assert "codeb-shop" not in rig.machine.networks


async def test_an_end_that_was_asked_for_twice_under_one_key_is_one() -> None:
    """P8."""
    async with begin("previewed") as rig:
        process = rig.boot()
        first = await process.ok("preview_delete", idem="closed", **WHERE)
        again = await process.ok("preview_delete", idem="closed", **WHERE)
        assert again["operationId"] == first["operationId"]


# variables


async def values(rig: Rig) -> dict[str, str]:
    spec = rig.machine.boxes[f"shop-pr-7-{rig.store.snapshot.pairs[PULL].active.slot}"].spec  # type: ignore[union-attr]
    assert spec is not None
    return {name: text for name, text in spec.env if name != "PORT" and not name.startswith("CODEB_")}


async def test_it_runs_with_the_variables_of_previews_until_it_has_its_own() -> None:
    async with begin("active") as rig:
        process, usual = rig.boot(), {"projectName": "shop", "environment": "preview"}
        await process.ok("env_set", projectName="shop", environment="production", values={"SECRET": "of production"})
        await made(process)
        assert await values(rig) == {}, "never those of production"
        await process.ok("env_set", **usual, values={"A": "1"})
        await made(process)
        assert await values(rig) == {"A": "1"}
        await process.ok("env_set", **usual, values={"A": "2"})
        await made(process)
        assert await values(rig) == {"A": "2"}
        await process.ok("env_set", projectName="shop", environment="pr-7", values={"B": "mine"})
        await process.ok("env_set", **usual, values={"A": "3"})
        await made(process)
        assert await values(rig) == {"A": "2", "B": "mine"}


async def test_a_key_for_one_pull_request_gets_no_variables_of_the_others() -> None:
    """S9: what it may not read, its image may not either."""
    async with begin("active") as rig:
        process = rig.boot()
        await process.ok("env_set", projectName="shop", environment="preview", values={"A": "1"})
        narrow = await add_key(rig, Role.MEMBER, environments=frozenset({"pr-7"}))
        await made(process, key=narrow)
        assert await values(rig) == {}
        await made(process, key=await add_key(rig, Role.MEMBER, environments=frozenset({"preview"})))
        assert await values(rig) == {"A": "1"}


# rights and limits


async def test_a_key_for_previews_makes_and_removes_them_and_reaches_nothing_else() -> None:
    """S5, S9."""
    async with begin("active") as rig:
        process = rig.boot()
        tools = frozenset({"preview_create", "preview_list", "preview_delete", "deploy"})
        key = await add_key(rig, Role.MEMBER, environments=frozenset({"preview"}), projects=frozenset({"shop"}), tools=tools)
        await made(process, key=key)
        assert (await process.ok("preview_list", key=key))["total"] == 1
        await process.refused("deploy", 403, "forbidden", key=key, projectName="shop", environment="production", version="2")
        assert (await process.ok("preview_delete", key=key, **WHERE))["deleted"]
        other = await add_key(rig, Role.MEMBER, environments=frozenset({"production", "pr-8"}))
        for tool, params in (("preview_create", {"image": "shop:2"}), ("preview_delete", {})):
            await process.refused(tool, 403, "forbidden", key=other, **WHERE, **params)
        viewer = await add_key(rig, Role.VIEWER)
        await process.refused("preview_delete", 403, "forbidden", key=viewer, **WHERE)


async def test_a_project_has_so_many_and_no_more() -> None:
    async with begin("active") as rig:
        object.__setattr__(rig.policy, "previews", 1)
        process = rig.boot()
        await made(process)
        refused = await process.refused(
            "preview_create", 409, "too_many_previews", projectName="shop", pullRequest=8, version="1"
        )
        assert refused["details"] == {"previews": ["pr-7"], "most": 1}
        await made(process, "shop:2")
        assert Place("shop", "pr-8") not in rig.store.snapshot.pairs


async def test_data_of_its_own_goes_only_with_whoever_could_remove_it() -> None:
    async with begin("previewed") as rig:
        process = rig.boot()
        await process.ok("db_create", projectName="shop", environment="pr-7")
        member = await add_key(rig, Role.MEMBER)
        refused = await process.refused("preview_delete", 409, "preview_storage", key=member, **WHERE)
        assert "db_delete" in refused["hint"]
        await process.refused("preview_delete", 409, "preview_storage", key=member, dryRun=True, **WHERE)
        bound = await add_key(rig, Role.ADMIN, approval=Approval.HUMAN)
        await process.refused("preview_delete", 409, "preview_storage", key=bound, **WHERE)
        assert (await process.ok("preview_delete", **WHERE))["deleted"]
        assert left_of(rig) == []
        assert rig.servers.databases.parts == {} and len(rig.servers.databases.dumps) == 1
        assert await rig.faults() == []


async def test_each_is_told_with_its_address_its_version_and_its_end() -> None:
    async with begin("previewed") as rig:
        process = rig.boot()
        await process.ok("deploy", projectName="shop", environment="pr-12", image="shop:3")
        by_hand, kept = sorted((await process.ok("preview_list"))["previews"], key=lambda each: each["expiresAt"] is not None)
        assert (kept["pullRequest"], kept["state"], kept["version"], kept["hoursRemaining"]) == (7, "live", "2", 72)
        assert kept["url"] == "http://shop-pr-7.localhost"
        narrow = await add_key(rig, Role.VIEWER, environments=frozenset({"pr-12"}))
        assert [each["pullRequest"] for each in (await process.ok("preview_list", key=narrow))["previews"]] == [12]
        assert (by_hand["pullRequest"], by_hand["state"], by_hand["expiresAt"]) == (12, "deployed", None)
        assert (await process.ok("preview_delete", projectName="shop", pullRequest=12))["deleted"]
        assert left_of(rig, Place("shop", "pr-12")) == []


# its end


def timed(rig: Rig, hours: float) -> None:
    rig.clock.jumped += timedelta(hours=hours)


async def ended(process: Process, later: dict[str, float] | None = None) -> int:
    return len(await end_previews(process.kit, process.engine, process.audit, {} if later is None else later))


async def audited(process: Process) -> list[Any]:
    await process.audit.flush()
    async with process.kit.store.read() as registry:
        return [row for row in await registry.audit.latest(100) if row.entry == "timer"]


async def test_it_ends_by_its_time_which_each_deploy_begins_anew() -> None:
    """P12: a clock that goes back only makes it later."""
    async with begin("active") as rig:
        process = rig.boot()
        assert (await made(process, ttlHours=2))["expiresAt"] == (START + timedelta(hours=2)).isoformat()
        timed(rig, 1.5)
        await made(process, "shop:2", ttlHours=2)
        timed(rig, 1)
        assert await ended(process) == 0
        timed(rig, -48)
        assert await ended(process) == 0
        timed(rig, 49)
        assert (await ended(process), left_of(rig)) == (1, [])
        (row,) = await audited(process)
        assert (row.tool, row.ok, row.params["pullRequest"], row.team) == ("preview_delete", True, 7, "main")
        assert await ended(process) == 0
        assert await rig.faults() == []


async def test_an_end_that_stops_half_way_is_finished_later_and_nothing_begins_meanwhile() -> None:
    async with begin("previewed") as rig:
        process, later = rig.boot(), dict[str, float]()
        timed(rig, 73)
        with pytest.MonkeyPatch.context() as patch:

            async def refuse(*_: object) -> None:
                raise Unavailable("The files cannot be written.", code="env_files")

            patch.setattr(process.kit.env_files, "remove", refuse)
            assert await ended(process, later) == 1
        (row,) = await audited(process)
        assert (row.ok, row.code) == (False, "not_all_gone")
        assert [each["state"] for each in (await process.ok("preview_list"))["previews"]] == ["ending"]
        for tool, where in (("preview_create", WHERE), ("deploy", {"projectName": "shop", "environment": "pr-7"})):
            await process.refused(tool, 409, "preview_ending", **where, version="3")
        assert await ended(process, later) == 0, "not at once"
        rig.clock.spent += 601
        assert (await ended(process, later), left_of(rig)) == (1, [])
        assert (await made(process))["created"]
        assert await rig.faults() == []


async def test_an_end_without_a_proxy_is_none_yet() -> None:
    """Whoever has the traffic keeps it until it can be taken away."""
    async with begin("previewed") as rig:
        process, before = rig.boot(), rig.print()
        with pytest.MonkeyPatch.context() as patch:

            async def refuse(*_: object) -> None:
                raise Unavailable("The proxy does not answer.", code="proxy_away")

            patch.setattr(process.kit.proxy, "remove_site", refuse)
            await process.refused("preview_delete", 503, "proxy_away", **WHERE)
        assert rig.print() == before
        assert await rig.faults() == []


async def test_a_preview_that_was_renewed_meanwhile_stays() -> None:
    async with begin("previewed") as rig:
        process = rig.boot()
        was = rig.store.snapshot.previews[PULL]
        timed(rig, 1)
        await made(process, "shop:3")
        call = Call(process.kit, process.engine, Actor("timer", "main", Role.ADMIN), "preview_delete", "corr")
        with pytest.raises(Conflict) as refused:
            await begin_end(call, PULL, "its time is over", still=was)
        assert refused.value.code == "preview_renewed"


async def test_a_deleted_project_keeps_its_previews_for_its_return() -> None:
    async with begin("previewed") as rig:
        process = rig.boot()
        await process.ok("project_delete", projectName="shop", confirm="shop")
        timed(rig, 73)
        assert await ended(process) == 0
        await process.ok("undelete", projectName="shop")
        assert (await ended(process), left_of(rig)) == (1, [])
        assert await rig.faults() == []


# its pull request


@asynccontextmanager
async def hosted() -> AsyncIterator[tuple[Rig, Process, MemoryPulls]]:
    """A preview of pull request 7, whose repository somebody can be asked about."""
    async with begin("previewed") as rig:
        async with rig.store.write() as registry:
            await registry.projects.set_repository("shop", "acme/shop")
        host = rig.servers.pulls
        host.make("acme/shop", "change")
        found = host.open("acme/shop", "change")
        host.repositories["acme/shop"].pulls = {7: replace(found, number=7)}
        yield rig, rig.boot(), host


@pytest.mark.parametrize("state", [PullState.CLOSED, PullState.MERGED])
async def test_reconcile_removes_a_preview_whose_pull_request_is_over(state: PullState) -> None:
    async with hosted() as (rig, process, host):
        pulls = host.repositories["acme/shop"].pulls
        assert (await process.ok("reconcile"))["findings"] == []
        pulls[7] = replace(pulls[7], state=state)
        assert (await process.ok("reconcile"))["findings"] == [], "it was deployed a moment ago: it may have been opened again"
        timed(rig, 1)
        seen = await process.ok("reconcile", dryRun=True)
        assert seen["changes"] == [f"Pull request 7 of shop is {state} and has a preview: it is removed"]
        assert left_of(rig)
        await Reconciler(process.kit, process.engine, process.audit).round()
        assert left_of(rig) == []
        (row,) = [each for each in await audited(process) if each.tool == "reconcile"]
        assert row.ok
        said = [event["text"] for event in (await process.ok("event_list"))["events"] if event["kind"] == "preview_ended"]
        assert said == [f"The preview of pull request 7 of shop is gone: its pull request is {state}."]
        assert await rig.faults() == []
        assert (await process.ok("reconcile"))["findings"] == []


async def test_without_the_database_none_is_removed(monkeypatch: pytest.MonkeyPatch) -> None:
    async with hosted() as (rig, process, host):
        host.close("acme/shop", 7)
        timed(rig, 1)
        monkeypatch.setattr(type(rig.store), "standing", property(lambda _: Standing(away_since=START, why="the test's")))
        (found,) = (await process.ok("reconcile"))["findings"]
        assert (found["kind"], found["mended"], "preview_delete needs it" in found["whyNot"]) == ("preview_left", False, True)
        assert left_of(rig)


@pytest.mark.parametrize("why", ["down", "no such pull request", "no such repository", "no repository"])
async def test_what_is_not_known_of_a_pull_request_removes_nothing_and_is_said(why: str) -> None:
    async with hosted() as (rig, process, host):
        host.down = why == "down"
        if why == "no such pull request":
            host.repositories["acme/shop"].pulls.clear()
        if why == "no such repository":
            host.repositories.clear()
        if why == "no repository":
            host.close("acme/shop", 7)
            async with rig.store.write() as registry:
                await registry.projects.set_repository("shop", "")
        timed(rig, 1)
        body = await process.ok("reconcile")
        assert body["findings"] == []
        assert body["warnings"] and "shop-pr-7" in body["warnings"][0] and "by their time alone" in body["warnings"][0]
        assert rig.store.snapshot.pairs[PULL].active is not None
        timed(rig, 72)
        assert (await ended(process), left_of(rig)) == (1, [])


async def test_ports_that_are_given_back_take_its_time_along() -> None:
    async with begin("previewed") as rig:
        process = rig.boot()
        await process.ok("preview_delete", **WHERE)
        await process.ok("port_allocate", projectName="shop", environment="pr-7")
        async with rig.store.write() as registry:
            await registry.previews.put(Preview(PULL, 72, START, START, "me"))
        await process.ok("port_release", projectName="shop", environment="pr-7")
        assert left_of(rig) == []


async def test_variables_of_a_preview_that_never_came_to_be_go_too() -> None:
    async with begin("active") as rig:
        process, which = rig.boot(), {"projectName": "shop", "pullRequest": 9}
        await process.ok("env_set", projectName="shop", environment="pr-9", values={"A": "b"})
        assert (await process.ok("preview_delete", **which))["deleted"] is True
        assert (await process.ok("env_get", projectName="shop", environment="pr-9"))["version"] is None
        assert (await process.ok("preview_delete", **which))["operationId"] is None
        assert await rig.faults() == []
