"""Images in the image registry: who sees them, and the end of one. What somebody needs never goes."""

from datetime import timedelta

import pytest

from codeb.model.access import Role
from tests.flows.stock import WHERE, stock, there
from tests.kit import START, add_key, begin

pytestmark = pytest.mark.anyio

REG = "reg.test:5000"


# looking


async def test_repositories_and_tags_are_shown_with_who_needs_them() -> None:
    async with begin("new") as rig:
        digests, process = stock(rig, 3), rig.boot()
        rig.image_registry.tag("shop", "stable", digests[1])
        await process.ok("deploy", **WHERE, version="v2")
        listed = await process.ok("registry_list")
        assert [(each["repository"], each["projectName"], each["tags"]) for each in listed["repositories"]] == [
            ("shop", "shop", 4)
        ]
        tags = {each["tag"]: each for each in (await process.ok("registry_tags", repository="shop"))["tags"]}
        assert tags["v2"]["otherTags"] == ["stable"]
        assert tags["v2"]["neededBy"] == "shop-production-blue is deployed"
        assert (tags["v1"]["neededBy"], tags["v1"]["digest"], tags["v1"]["bytes"]) == (None, digests[0], 1510)
        assert tags["v3"]["createdAt"] == (START - timedelta(days=97)).isoformat()


async def test_pages_of_repositories_and_tags_join_up() -> None:
    async with begin("new") as rig:
        process = rig.boot()
        rig.machine.pushed.clear()
        for name in ("shop/a", "shop/b", "shop/c"):
            stock(rig, 3, name)
        first = await process.ok("registry_list", limit=2)
        rest = await process.ok("registry_list", limit=2, after=first["repositories"][-1]["repository"])
        assert [each["repository"] for each in (*first["repositories"], *rest["repositories"])] == ["shop/a", "shop/b", "shop/c"]
        assert (first["more"], rest["more"], first["total"]) == (True, False, 3)
        tags = await process.ok("registry_tags", repository="shop/a", limit=2, after="v1")
        assert ([each["tag"] for each in tags["tags"]], tags["more"], tags["total"]) == (["v2", "v3"], False, 3)


async def test_a_registry_that_tells_no_names_is_asked_for_those_of_projects() -> None:
    async with begin("new") as rig:
        stock(rig)
        rig.machine.secretive = True
        listed = await rig.boot().ok("registry_list")
        assert [each["repository"] for each in listed["repositories"]] == ["shop"]
        assert "Only those named like a project" in listed["warnings"][0]


async def test_what_is_another_teams_or_nobodys_is_not_there() -> None:
    """S5: the same answer for a repository that is not there and for one of another team's project."""
    async with begin("new") as rig:
        stock(rig)
        stock(rig, 2, "orphan")
        process, rival = rig.boot(), await add_key(rig, team="rival")
        viewer, narrow = await add_key(rig, Role.VIEWER), await add_key(rig, projects=frozenset({"blog"}))
        assert [each["repository"] for each in (await process.ok("registry_list"))["repositories"]] == ["orphan", "shop"]
        assert [each["repository"] for each in (await process.ok("registry_list", key=viewer))["repositories"]] == ["shop"]
        for key, name in ((rival, "shop"), (viewer, "orphan"), (narrow, "shop"), (narrow, "orphan"), (viewer, "nothing")):
            body = await process.refused("registry_tags", 404, "repository_not_found", key=key, repository=name)
            assert body["error"] == f"There is no repository {name}."
        for key in (rival, narrow):
            await process.refused("registry_delete", 404, "repository_not_found", key=key, repository="shop", tag="v1")
        assert (await process.ok("registry_gc", key=rival, dryRun=False))["deleted"] == []
        assert (await process.ok("registry_gc", keep=1, dryRun=True))["plan"]["goes"][0]["repository"] == "shop"
        assert there(rig, "orphan") == {"v1", "v2"}


async def test_who_needs_it_is_not_named_to_another_team() -> None:
    async with begin("new") as rig:
        digests, process = stock(rig, 2), rig.boot()
        rival = await add_key(rig, team="rival")
        await process.ok("project_create", key=rival, projectName="secret-plan", containerPort=8080)
        await process.ok(
            "deploy", key=rival, projectName="secret-plan", environment="production", image=f"{REG}/shop@{digests[0]}"
        )
        body = await process.refused("registry_delete", 409, "image_needed", repository="shop", tag="v1")
        assert "somebody else runs it" in body["error"]
        assert "secret-plan" not in str(body)


# deleting one


async def test_one_image_goes_by_its_tag() -> None:
    async with begin("new") as rig:
        stock(rig, 2)
        said = await rig.boot().ok("registry_delete", repository="shop", tag="v1")
        assert said["tags"] == ["shop:v1"]
        assert "garbage-collect" in said["reclaim"]
        assert there(rig) == {"v2"}


async def test_a_tag_that_shares_its_image_does_not_take_the_others_along() -> None:
    async with begin("new") as rig:
        digest, process = stock(rig, 2)[0], rig.boot()
        rig.image_registry.tag("shop", "stable", digest)
        body = await process.refused("registry_delete", 409, "digest_has_other_tags", repository="shop", tag="v1")
        assert body["details"]["otherTags"] == ["stable"]
        assert there(rig) == {"v1", "v2", "stable"}
        said = await process.ok("registry_delete", repository="shop", digest=digest)
        assert said["tags"] == ["shop:stable", "shop:v1"]
        assert there(rig) == {"v2"}


@pytest.mark.parametrize("state", ["deployed", "active", "grace"])
async def test_what_a_slot_holds_is_never_deleted(state: str) -> None:
    async with begin("new") as rig:
        digests, process = stock(rig, 3), rig.boot()
        await process.ok("deploy", **WHERE, version="v1", autoPromote=state != "deployed")
        if state == "grace":
            await process.ok("deploy", **WHERE, version="v2", autoPromote=True)
        for what in ({"tag": "v1"}, {"digest": digests[0]}):
            body = await process.refused("registry_delete", 409, "image_needed", repository="shop", **what)
            assert body["details"]["neededBy"] == f"shop-production-blue is {state}"
        await process.refused("registry_delete", 409, "image_needed", repository="shop", tag="v1", dryRun=True)
        assert "v1" in there(rig)
        assert rig.machine.effects[-1] != "erase"


async def test_a_deleted_project_keeps_its_images() -> None:
    async with begin("new") as rig:
        stock(rig, 2)
        process = rig.boot()
        await process.ok("deploy", **WHERE, version="v1", autoPromote=True)
        await process.ok("project_delete", projectName="shop", confirm="shop")
        await process.refused("registry_delete", 409, "image_needed", repository="shop", tag="v1")
        assert (await process.ok("registry_gc", keep=1, dryRun=False))["deleted"] == []


async def test_a_list_and_its_parts_go_together_and_stay_together() -> None:
    async with begin("new") as rig:
        images = rig.image_registry
        rig.machine.pushed.clear()
        one, two, lone = (images.push(f"shop:{name}", START - timedelta(days=9)) for name in ("amd", "arm", "lone"))
        listed, other = images.push("shop:multi", index=(one, two)), images.push("shop:other", index=(two, lone))
        for tag in ("amd", "arm", "lone"):
            images.untag("shop", tag)
        process = rig.boot()
        body = await process.refused("registry_delete", 404, "image_not_found", repository="shop", digest="sha256:" + "1" * 64)
        assert "nothing was deleted" in body["error"]
        part = await process.refused("registry_delete", 409, "image_needed", repository="shop", digest=one)
        assert part["details"]["neededBy"] == "it is a part of multi"
        said = await process.ok("registry_delete", repository="shop", tag="multi")
        assert said["deleted"] == [f"shop@{listed}", f"shop@{one}"], "what another list has too stays"
        assert set(rig.machine.pushed["shop"][1]) == {other, two, lone}


async def test_a_list_stays_while_one_of_its_parts_runs() -> None:
    async with begin("new") as rig:
        images, process = rig.image_registry, rig.boot()
        one, two = (images.push(f"shop:{name}", START) for name in ("amd", "arm"))
        listed = images.push("shop:multi", index=(one, two))
        await process.ok("deploy", **WHERE, image=f"{REG}/shop@{one}")
        body = await process.refused("registry_delete", 409, "image_needed", repository="shop", digest=listed)
        assert body["details"]["neededBy"] == "a part of it is needed: shop-production-blue is deployed"


async def test_a_registry_that_deletes_nothing_is_said_before_anything_happens() -> None:
    async with begin("new") as rig:
        stock(rig)
        rig.machine.erases_nothing = True
        body = await rig.boot().refused("registry_delete", 409, "deletion_disabled", repository="shop", tag="v1")
        assert "Everything it had done is undone" in body["error"]
        assert len(there(rig)) == 5


async def test_either_a_tag_or_a_digest() -> None:
    async with begin("new") as rig:
        process, digest = rig.boot(), stock(rig)[0]
        await process.refused("registry_delete", 400, "invalid_params", repository="shop")
        await process.refused("registry_delete", 400, "invalid_params", repository="shop", tag="v1", digest=digest)
