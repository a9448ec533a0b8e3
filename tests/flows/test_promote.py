"""Promote: one flip, proven, then the fallback; never a reload (P1, P4)."""

from dataclasses import replace

import pytest

from codeb.model.names import Slot
from codeb.model.slots import State
from tests.kit import PROD, begin

pytestmark = pytest.mark.anyio
WHERE = {"projectName": "shop", "environment": "production"}


async def test_it_flips_then_allows_the_fallback_and_never_reloads() -> None:
    async with begin("ready") as rig:
        reloads = rig.proxy.reloads
        body = await rig.boot().ok("promote", **WHERE)
        assert rig.effects() == ["proxy live shop-production green", "proxy fallback shop-production on"]
        assert rig.proxy.reloads == reloads
        assert (body["activeSlot"], body["previousSlot"]) == ("green", "blue")
        assert body["gracePeriod"]["hoursRemaining"] == 48
        assert rig.health.through("shop.localhost").slot == "green"


async def test_the_first_promote_leaves_no_fallback() -> None:
    async with begin("deployed") as rig:
        body = await rig.boot().ok("promote", **WHERE)
        assert rig.effects() == ["proxy fallback shop-production off", "proxy live shop-production blue"]
        assert body["gracePeriod"] is None


async def test_a_fallback_that_somebody_allowed_while_nobody_was_live_is_gone_before_the_first_flip() -> None:
    """P4: it is out of sight until then, and the slot it lets in was never promoted. Found by the stateful model."""
    async with begin("deployed") as rig:
        process, seen = rig.boot(), list[str]()
        rig.proxy.switch[PROD] = replace(rig.proxy.switch[PROD], fallback=True)

        def look(point: str) -> None:
            if PROD not in rig.proxy.held and rig.proxy.switch[PROD].fallback:
                seen.append(point)

        rig.machine.trap = process.world.at_point = look
        await process.ok("promote", **WHERE)
        assert seen == []


async def test_a_switch_that_is_not_proven_is_taken_back() -> None:
    async with begin("ready") as rig:
        rig.health.broken.add("shop.localhost")
        before = rig.print()
        await rig.boot().refused("promote", 409, "not_proven", **WHERE)
        assert rig.effects() == ["proxy live shop-production green", "proxy live shop-production blue"]
        rig.health.broken.clear()
        assert rig.print() == before


async def test_an_unhealthy_version_gets_no_traffic() -> None:
    async with begin("ready") as rig:
        box = rig.machine.boxes["shop-production-green"]
        box.behaviour = replace(box.behaviour, status=500)
        await rig.boot().refused("promote", 409, "health_failed", **WHERE)
        assert rig.effects() == []


@pytest.mark.parametrize("what", ["image", "deployment"])
async def test_a_container_that_is_not_what_was_deployed_gets_no_traffic(what: str) -> None:
    async with begin("ready") as rig:
        box = rig.machine.boxes["shop-production-green"]
        assert box.spec is not None
        if what == "image":
            box.image_id = "sha256:" + "0" * 64
        else:
            box.spec = replace(box.spec, deployment_id="dep_other")
        await rig.boot().refused("promote", 409, "not_what_was_deployed", **WHERE)
        assert rig.effects() == []


async def test_a_container_that_is_gone_gets_no_traffic() -> None:
    async with begin("ready") as rig:
        del rig.machine.boxes["shop-production-green"]
        await rig.boot().refused("promote", 409, "container_gone", **WHERE)
        assert rig.effects() == []


async def test_a_previous_version_that_does_not_run_is_no_fallback() -> None:
    async with begin("ready") as rig:
        rig.machine.boxes["shop-production-blue"].status = "exited"
        body = await rig.boot().ok("promote", **WHERE)
        assert rig.effects() == ["proxy live shop-production green"]
        assert "no way back" in body["warnings"][0]


@pytest.mark.parametrize(
    ("state", "slot", "code"),
    [("new", None, "nothing_to_promote"), ("active", None, "nothing_to_promote"), ("active", "blue", "already_active"),
     ("grace", "blue", "nothing_to_promote"), ("ready", "blue", "already_active")],
)  # fmt: skip
async def test_only_a_deployed_slot_is_promoted(state: str, slot: str | None, code: str) -> None:
    async with begin(state) as rig:
        more = {"slot": slot} if slot else {}
        await rig.boot().refused("promote", 409, code, **WHERE, **more)
        assert rig.effects() == []


async def test_the_registry_says_who_promoted_what_and_when_grace_ends() -> None:
    async with begin("ready") as rig:
        await rig.boot().ok("promote", **WHERE)
        pair = rig.store.snapshot.pairs[PROD]
        assert pair[Slot.GREEN].promoted_by == "main/owner/key_owner"
        grace = pair[Slot.BLUE]
        assert grace.state is State.GRACE
        assert grace.grace_expires_at is not None
        assert (grace.grace_expires_at - rig.clock.now()).total_seconds() == pytest.approx(48 * 3600, abs=5)
