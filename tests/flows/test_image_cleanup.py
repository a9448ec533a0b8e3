"""The clean-up of the image registry, and a deploy beside it: one that begins meanwhile never loses its image.

Shows P8.
"""

import asyncio
from typing import Any

import pytest

from codeb.flows import image_needs
from codeb.model import grammar
from codeb.model.access import Approval
from tests.flows.stock import WHERE, plan, stock, there
from tests.kit import add_key, begin

pytestmark = pytest.mark.anyio


# all that nobody needs


async def test_a_clean_up_is_a_plan_until_its_plan_is_given() -> None:
    async with begin("new") as rig:
        process, digests = rig.boot(), stock(rig, 5)
        shown = await plan(process, keep=2)
        assert [(each["digest"], each["tags"], each["bytes"]) for each in shown["plan"]["goes"]] == [
            (digests[0], ["v1"], 1510), (digests[1], ["v2"], 1510), (digests[2], ["v3"], 1510),
        ]  # fmt: skip
        assert {each["tags"][0]: each["why"] for each in shown["plan"]["stays"]} == dict.fromkeys(
            ("v4", "v5"), "it is one of the newest 2"
        )
        assert shown["plan"]["freeableBytes"] == 3 * 1010, "what a layer that stays shares is not given back"
        assert len(there(rig)) == 5
        said = await plan(process, keep=2, planId=shown["planId"])
        assert (said["tags"], said["left"]) == (["shop:v1", "shop:v2", "shop:v3"], [])
        assert there(rig) == {"v4", "v5"}


async def test_what_moved_since_the_plan_makes_it_stale() -> None:
    async with begin("new") as rig:
        process = rig.boot()
        stock(rig, 5)
        shown = await plan(process, keep=2)
        await process.ok("deploy", **WHERE, version="v1")
        await process.refused("registry_gc", 409, "stale_plan", projectName="shop", keep=2, planId=shown["planId"])
        await process.refused("registry_gc", 409, "stale_plan", projectName="shop", keep=3, planId=shown["planId"])
        assert len(there(rig)) == 5


async def test_what_does_not_go_leaves_a_plan_as_it_is() -> None:
    async with begin("new") as rig:
        process = rig.boot()
        stock(rig, 5)
        shown = await plan(process, keep=2)
        await process.ok("deploy", **WHERE, version="v5")
        assert len((await plan(process, keep=2, planId=shown["planId"]))["deleted"]) == 3


async def test_the_kept_history_stays_and_what_is_beyond_it_goes() -> None:
    async with begin("new") as rig:
        object.__setattr__(rig.policy, "image_history", 3)
        process = rig.boot()
        stock(rig, 9)
        for number in range(1, 8):
            await process.ok("deploy", **WHERE, version=f"v{number}", autoPromote=True)
        shown = await plan(process, keep=1)
        assert [each["tags"] for each in shown["plan"]["goes"]] == [["v1"], ["v2"], ["v3"], ["v4"], ["v8"]]
        why = {each["tags"][0]: each["why"] for each in shown["plan"]["stays"]}
        assert why["v5"].startswith("shop production ran v5")
        assert (why["v6"], why["v7"]) == ("shop-production-green is grace", "shop-production-blue is active")


async def test_what_a_rollback_would_name_stays_however_long_ago_it_was() -> None:
    async with begin("new") as rig:
        object.__setattr__(rig.policy, "image_history", 1)
        process = rig.boot()
        stock(rig, 9)
        await process.ok("deploy", **WHERE, version="v1", autoPromote=True)
        await process.ok("deploy", **WHERE, version="v2", autoPromote=True)
        for number in range(3, 8):
            await process.ok("deploy", **WHERE, version=f"v{number}")
        named = await process.refused("rollback", 409, "no_grace", **WHERE)
        assert named["details"]["redeploy"]["params"]["image"].endswith(rig.machine.pushed["shop"][0]["v1"])
        goes = [tag for each in (await plan(process, keep=1))["plan"]["goes"] for tag in each["tags"]]
        assert goes == ["v3", "v4", "v5", "v6", "v8"]


async def test_an_image_that_does_not_say_how_old_it_is_stays() -> None:
    async with begin("new") as rig:
        stock(rig, 2)
        rig.image_registry.push("shop:dateless")
        stays = (await plan(rig.boot(), keep=1))["plan"]["stays"]
        assert [each["why"] for each in stays if each["tags"] == ["dateless"]] == ["it does not say when it was built"]


# a deploy beside it


async def test_while_a_deploy_fetches_by_a_tag_nothing_of_its_repository_goes() -> None:
    """The tag may move between the fetch and its record: then nobody but the deploy knows what it got."""
    async with begin("new") as rig:
        process = rig.boot()
        stock(rig, 5)
        fetched, go_on = asyncio.Event(), asyncio.Event()
        whole = process.kit.images.resolve

        async def slow(reference: str) -> Any:
            image = await whole(reference)
            fetched.set()
            await go_on.wait()
            return image

        object.__setattr__(process.kit.images, "resolve", slow)
        deploying = asyncio.create_task(process.ask("deploy", **WHERE, version="v1"))
        await fetched.wait()
        rig.image_registry.tag("shop", "old-name", rig.machine.pushed["shop"][0]["v1"])
        rig.image_registry.untag("shop", "v1")
        shown = await plan(process, keep=1)
        assert shown["plan"]["goes"] == []
        assert "is fetching from it" in str(shown["plan"]["stays"])
        await process.refused("registry_delete", 409, "image_needed", repository="shop", tag="old-name")
        go_on.set()
        assert (await deploying).ok
        await process.refused("registry_delete", 409, "image_needed", repository="shop", tag="old-name")
        assert len((await plan(process, keep=1, dryRun=False))["deleted"]) == 3


async def test_a_deploy_that_begins_during_a_deletion_waits_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """At no instant is an image fetched by a deploy from where something is being deleted."""
    async with begin("new") as rig:
        process = rig.boot()
        stock(rig, 5)
        reached, go_on = asyncio.Event(), asyncio.Event()
        whole = rig.image_registry.erase

        async def slow(repository: str, digest: str) -> None:
            reached.set()
            await go_on.wait()
            await whole(repository, digest)

        monkeypatch.setattr(rig.image_registry, "erase", slow)
        deleting = asyncio.create_task(process.ask("registry_delete", repository="shop", tag="v1"))
        await reached.wait()
        doomed, other = (asyncio.create_task(process.ask("deploy", **WHERE, version=each)) for each in ("v1", "v2"))
        for _ in range(50):
            await asyncio.sleep(0)
        assert not doomed.done()
        assert not other.done()
        async with rig.store.read() as registry:
            assert await registry.deployments.wanted(10) == []
        go_on.set()
        assert (await deleting).ok
        said = [await doomed, await other]
        # one of the two has the place; the doomed one is told that its image is gone, before anything was touched
        assert {each.body.get("code") for each in said} <= {None, "image_not_found", "operation_in_progress"}
        assert not said[0].ok
        if not said[1].ok:
            assert (await process.ask("deploy", **WHERE, version="v2")).ok
        assert await rig.faults() == []


async def test_a_deploy_decided_first_keeps_its_image_from_a_plan_that_was_made_before() -> None:
    async with begin("new") as rig:
        process = rig.boot()
        stock(rig, 3)
        body = None
        whole = process.kit.store.transact
        began = False

        async def first_the_deploy(act: Any) -> Any:
            """Between the reading of the image registry and the transaction that decides."""
            nonlocal began
            if not began:
                began = True
                await process.ok("deploy", **WHERE, version="v1")
            return await whole(act)

        object.__setattr__(process.kit.store, "transact", first_the_deploy)
        try:
            body = await process.ask("registry_delete", repository="shop", tag="v1")
        finally:
            object.__setattr__(process.kit.store, "transact", whole)
        assert began
        assert (body.status, body.body["code"]) == (409, "image_needed")
        assert "v1" in there(rig)


async def test_a_push_between_the_plan_and_the_deletion_stops_it() -> None:
    async with begin("new") as rig:
        process, digest = rig.boot(), stock(rig, 3)[0]
        process.world.at_point = lambda point: (
            rig.image_registry.tag("shop", "fresh", digest) if point == "image_delete.look.do.before" else None
        )
        await process.refused("registry_delete", 409, "state_moved", repository="shop", tag="v1")
        assert there(rig) == {"v1", "v2", "v3", "fresh"}


async def test_a_registry_that_goes_away_half_way_leaves_what_it_did_not_delete_and_says_so() -> None:
    async with begin("new") as rig:
        process = rig.boot()
        stock(rig, 5)
        rig.machine.trap = lambda what: setattr(rig.machine, "registry_down", True) if what.startswith("after erase") else None
        said = await plan(process, keep=2, dryRun=False)
        assert (len(said["deleted"]), len(said["left"])) == (1, 2)
        assert "does not answer" in said["warnings"][0]
        rig.machine.trap, rig.machine.registry_down = None, False
        assert len((await plan(process, keep=2, dryRun=False))["deleted"]) == 2
        assert there(rig) == {"v4", "v5"}


async def test_the_name_of_the_project_is_typed_where_a_policy_asks_for_it() -> None:
    async with begin("new") as rig:
        process, bound = rig.boot(), await add_key(rig, approval=Approval.NAME)
        stock(rig, 3)
        shown = await plan(process, key=bound, keep=1)
        said = {"projectName": "shop", "keep": 1, "planId": shown["planId"]}
        for wrong in ({}, {"confirm": "registry_gc"}):
            await process.refused("registry_gc", 409, "confirm_needed", key=bound, **said, **wrong)
        assert len(there(rig)) == 3
        assert len((await process.ok("registry_gc", key=bound, **said, confirm="shop"))["deleted"]) == 2


async def test_the_same_key_and_body_have_one_effect_and_one_answer() -> None:
    async with begin("new") as rig:
        process = rig.boot()
        stock(rig, 3)
        first = await plan(process, keep=2, dryRun=False, idem="once")
        rig.image_registry.push("shop:v9")
        second = await plan(process, keep=2, dryRun=False, idem="once")
        assert (first["deleted"], first["operationId"]) == (second["deleted"], second["operationId"])
        assert there(rig) == {"v2", "v3", "v9"}


async def test_a_clean_up_waits_for_anothers_yes_where_a_policy_asks_for_it() -> None:
    async with begin("new") as rig:
        process, bound = rig.boot(), await add_key(rig, approval=Approval.HUMAN)
        stock(rig, 3)
        shown = await plan(process, key=bound, keep=1)
        said = {"projectName": "shop", "keep": 1, "planId": shown["planId"]}
        body = await process.refused("registry_gc", 409, "approval_needed", key=bound, **said)
        await process.ok("approve", approvalId=body["details"]["approvalId"])
        assert len((await process.ok("registry_gc", key=bound, **said))["deleted"]) == 2


def test_the_lock_of_a_repository_is_no_environment() -> None:
    assert image_needs.lock_of("shop/web") == image_needs.lock_of("shop")
    with pytest.raises(ValueError, match="an environment is"):
        grammar.environment(image_needs.lock_of("shop").environment)
