"""A project from nothing, in one operation: all parts, some, again, beside others, and back to nothing when one fails."""

import asyncio
from typing import Any

import pytest

from codeb.drivers.databases.memory import Part
from codeb.errors import StepFailed, Unavailable
from codeb.model.access import Role
from codeb.model.deletion import CREATING
from codeb.model.names import Place
from codeb.saga.step import Run, Step, each
from codeb.tools import domains
from tests.flows.crash import INIT, proved, two_servers
from tests.kit import PROD, Rig, add_key, begin

pytestmark = pytest.mark.anyio

SHOP = {"projectName": "shop", "containerPort": 8080}
RULES = ["5432/tcp from 192.0.2.7/32", "6379/tcp from 192.0.2.7/32"]


def everything(rig: Rig) -> tuple[Any, ...]:
    printed = rig.print()
    names = ("projects", "slots", "leases", "storage", "wall", "rules", "zones", "domains", "sites", "env")
    return tuple(printed[name] for name in names)


async def test_all_of_it_is_there_at_once() -> None:
    async with begin("empty") as rig:
        two_servers(rig)
        process = rig.boot()
        plan = await process.ok("workflow_init", **INIT, dryRun=True)
        assert everything(rig)[0] == {}
        body = await process.ok("workflow_init", **INIT, planId=plan["planId"])
        assert (body["created"], body["opened"], body["domain"]["state"]) == (True, RULES, "active")
        assert {line["kind"]: line["name"] for line in body["storage"]} == {
            "postgres": "shop_production", "redis": "shop-production"
        }  # fmt: skip
        env = await process.ok("env_get", projectName="shop", environment="production")
        assert {"DATABASE_URL", "REDIS_URL"} <= set(env["variables"])
        assert list(rig.proxy.loaded) == [PROD]
        rig.image("1")
        await process.ok("deploy", projectName="shop", environment="production", image="shop:1", autoPromote=True)
        assert await rig.faults() == []


async def test_again_makes_only_what_is_missing() -> None:
    async with begin("empty") as rig:
        two_servers(rig)
        process = rig.boot()
        await process.ok("workflow_init", **SHOP, database=True)
        marks = {name: part.mark for name, part in rig.servers.databases.parts.items()}
        (first,) = (await process.ok("operation_list"))["operations"]
        steps = (await process.ok("operation_get", operationId=first["operationId"]))["steps"]
        names = ["project", "ports", "role", "database", "firewall", "record", "settle", "files"]
        assert [step["name"] for step in steps] == names, "what had nothing to do is not told as done"
        there = await process.ok("workflow_init", **SHOP, database=True)
        assert (there["created"], there["operationId"]) == (False, None)
        more = await process.ok("workflow_init", **INIT, environments=["production", "staging"])
        assert (more["created"], more["opened"]) == (False, RULES[1:])
        assert {name: part.mark for name, part in rig.servers.databases.parts.items() if name in marks} == marks
        assert sorted(rig.servers.databases.parts) == ["shop_production", "shop_staging"]
        assert sorted(rig.servers.caches.parts) == ["shop-production", "shop-staging"]
        assert await rig.faults() == []


async def test_what_is_not_said_is_as_it_is_and_what_is_said_otherwise_is_refused() -> None:
    async with begin("active") as rig:
        process = rig.boot()
        await process.ok("workflow_init", projectName="shop")
        body = await process.refused("workflow_init", 409, "project_exists", projectName="shop", containerPort=3000, cpus=1.0)
        assert body["details"]["differs"] == ["containerPort"]


async def test_a_domain_that_is_not_proved_is_left_out_and_follows_later() -> None:
    async with begin("empty") as rig:
        process = rig.boot()
        plan = await process.ok("workflow_init", **INIT, dryRun=True)
        assert plan["plan"]["domain"]["state"] == "pending"
        body = await process.ok("workflow_init", **INIT)
        assert (body["created"], body["domain"]["state"]) == (True, "pending")
        assert body["domain"]["setAtRegistrar"][0]["type"] == "TXT"
        assert body["next"][0]["tool"] == "domain_setup"
        assert rig.store.snapshot.domains == {}
        proved(rig)
        body = await process.ok("workflow_init", **INIT)
        assert (body["created"], body["domain"]["state"], body["domain"]["certificate"]) == (False, "active", "shown")
        assert await rig.faults() == []


async def test_nothing_is_left_when_a_part_cannot_be_had() -> None:
    async with begin("empty") as rig:
        two_servers(rig)
        process, before = rig.boot(), everything(rig)
        rig.servers.caches.parts["shop-production"] = Part("somebody")
        body = await process.refused("workflow_init", 409, "name_taken", **INIT)
        assert body["details"]["steps"][-1]["name"] == "redis"
        del rig.servers.caches.parts["shop-production"]
        assert everything(rig) == before
        await process.ok("workflow_init", **INIT)


async def test_a_part_that_is_not_there_at_all_is_told_before_anything_is_done() -> None:
    async with begin("empty") as rig:
        process = rig.boot()
        rig.wall.refused.add(5432)
        two_servers(rig)
        await process.refused("workflow_init", 409, "firewall_refused", **SHOP, database=True)
        assert (rig.servers.databases.parts, everything(rig)[0]) == ({}, {})
        await process.ok("workflow_init", **SHOP, database=True, firewall=False)


async def test_where_codeb_does_not_guard_the_storage_it_says_so() -> None:
    async with begin("empty") as rig:
        process = rig.boot()
        body = await process.ok("workflow_init", **SHOP, database=True)
        assert "No server of server_list has the address 198.51.100.7" in body["warnings"][0]
        two_servers(rig)
        rig.wall.everywhere = False
        body = await process.ok("workflow_init", **SHOP, redis=True)
        assert "see to it on storage-1 yourself" in body["warnings"][0]
        rig.wall.provider = "none"
        assert "CODEB_FIREWALL is none" in (await process.ok("workflow_init", projectName="blog", redis=True))["warnings"][0]
        assert rig.wall.ours == {}


async def test_a_key_for_staging_sets_up_nothing_in_production() -> None:
    async with begin("empty") as rig:
        process, before = rig.boot(), everything(rig)
        narrow = await add_key(rig, role=Role.MEMBER, environments=frozenset({"staging"}))
        for wanted in (["production"], ["staging", "production"]):
            await process.refused("workflow_init", 403, "forbidden", key=narrow, **{**INIT, "environments": wanted})
        assert everything(rig) == before
        await process.ok("workflow_init", key=narrow, projectName="shop", environments=["staging"])


async def test_its_other_name_is_the_same_tool() -> None:
    async with begin("empty") as rig:
        process = rig.boot()
        old, other = await add_key(rig, tools=frozenset({"project_create"})), await add_key(rig, tools=frozenset({"deploy"}))
        assert (await process.ok("project_create", key=old, projectName="shop"))["created"]
        await process.ok("workflow_init", key=old, projectName="shop")
        await process.refused("project_create", 403, "forbidden", key=other, projectName="shop")
        rows = (await process.ok("audit_list", projectName="shop"))["rows"]
        assert {row["tool"] for row in rows} == {"workflow_init"}


async def test_while_it_is_being_set_up_it_is_nobody_elses() -> None:
    async with begin("empty") as rig:
        two_servers(rig)
        process = rig.boot()
        rig.image("1")
        begun = await process.ok("workflow_init", **INIT, wait=False)
        assert rig.store.snapshot.projects["shop"].state == CREATING
        await process.refused(
            "deploy", 409, "project_creating", projectName="shop", environment="staging", image="shop:1"
        )  # fmt: skip
        same = await process.ok("workflow_init", **INIT)
        assert (same["created"], same["operationId"]) == (False, None)
        assert (await process.ok("operation_get", operationId=begun["operationId"]))["operation"]["state"] == "succeeded"
        assert rig.store.snapshot.projects["shop"].state == "ready"


async def test_one_that_was_left_half_set_up_is_set_up_by_the_next_call() -> None:
    """The registry was rebuilt from its files in the midst of it: nobody works on it any more."""
    async with begin("new") as rig:
        process = rig.boot()
        async with rig.store.write() as registry:
            await registry.projects.set_state("shop", CREATING)
        body = await process.refused(
            "deploy", 409, "project_creating", projectName="shop", image="shop:1", environment="production"
        )
        assert "workflow_init" in body["hint"]
        # and nothing that is said of it calls for its deletion
        (told,) = (await process.ok("reconcile", fix=False))["findings"]
        assert (told["kind"], told["repair"]) == ("setup_unfinished", "call workflow_init again")
        line = (await process.ok("scan", projectName="shop", environment="production"))["checks"][0]
        assert (line["status"], line["text"]) == ("fail", "Project shop is being set up")
        assert "workflow_init" in line["fix"]
        assert (await process.ok("workflow_init", projectName="shop", containerPort=8080, database=True))["created"]
        assert await rig.faults() == []


async def test_many_at_once_are_all_set_up() -> None:
    """The firewall is changed by one after the other."""
    async with begin("empty") as rig:
        two_servers(rig)
        process = rig.boot()
        calls = [process.ok("workflow_init", projectName=name, database=True, redis=True) for name in ("a", "b", "c", "a")]
        said = await asyncio.gather(*calls)
        assert sorted(body["created"] for body in said) == [False, True, True, True]
        assert await rig.faults() == []
        for name in ("a", "b", "c"):
            assert rig.store.snapshot.pair_of(Place(name, "production")) is not None


async def test_one_part_that_cannot_be_undone_keeps_none_of_the_others() -> None:
    undone: list[str] = []

    async def do(run: Run[str]) -> None:
        pass

    async def undo(run: Run[str]) -> None:
        undone.append(run.input)
        if run.input == "b":
            raise StepFailed("it does not go", code="stuck")

    step: Step[list[str]] = each(Step("part", "of it", do=do, undo=undo), lambda value: value)
    assert step.undo is not None
    with pytest.raises(StepFailed, match="does not go"):
        await step.undo(Run(None, None, ["a", "b", "c"]))  # type: ignore[arg-type]  # looked at by no part
    assert undone == ["c", "b", "a"]


async def test_containers_of_their_own_are_a_part_of_it() -> None:
    async with begin("empty") as rig:
        two_servers(rig)
        process = rig.boot()
        body = await process.ok("workflow_init", **INIT, dedicated=True, environments=["production", "staging"])
        ports = {line["port"] for line in body["storage"]}
        assert len(ports) == 4
        assert {(each.port, each.cidr, each.comment) for each in rig.wall.ours.values()} == {
            (port, "192.0.2.7/32", "codeb:shop:storage") for port in ports
        }  # fmt: skip
        assert await rig.faults() == []
        for tool in ({}, {"purge": True}):
            await process.ok("project_delete", projectName="shop", confirm="shop", **tool)
        assert rig.wall.ours == {}
        assert await rig.faults() == []


async def test_what_a_project_that_is_being_set_up_has_open_is_no_stranger() -> None:
    """An administrator who has the firewall mended meanwhile does not close what nobody would open again."""
    async with begin("homed") as rig:
        process, turn, go, run = rig.boot(), asyncio.Event(), asyncio.Event(), rig.servers.instances.run

        async def slow(*where: Any, fresh: bool) -> None:
            turn.set()
            await go.wait()
            await run(*where, fresh=fresh)

        rig.servers.instances.run = slow  # type: ignore[method-assign]
        making = asyncio.create_task(process.ok("workflow_init", projectName="blog", database=True, dedicated=True))
        await turn.wait()
        assert (await process.ok("firewall_sync", fix=True))["findings"] == []
        go.set()
        assert (await making)["created"]
        assert [(each.port, each.comment) for each in rig.wall.ours] == [(5432, "codeb:blog:storage")]
        assert await rig.faults() == []


async def test_what_is_done_is_told_whoever_does_not_answer_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    """The name servers of a domain are asked for the answer alone."""
    async with begin("empty") as rig:
        two_servers(rig)
        proved(rig)

        async def away(*_: Any) -> None:
            raise Unavailable("PowerDNS does not answer.")

        monkeypatch.setattr(domains, "leads_here", away)
        body = await rig.boot().ok("workflow_init", **INIT)
        assert (body["created"], body["domain"]) == (True, None)
        assert "PowerDNS does not answer" in body["warnings"][-1]
        assert await rig.faults() == []
