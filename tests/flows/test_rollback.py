"""Rollback: no pull, no build, no start; the bad version keeps no way to production (P5)."""

from dataclasses import replace
from datetime import timedelta

import pytest

from codeb.model.names import Slot
from codeb.model.slots import State
from tests.kit import PROD, begin

pytestmark = pytest.mark.anyio
WHERE = {"projectName": "shop", "environment": "production"}


async def test_it_forbids_the_fallback_then_flips_and_touches_no_container() -> None:
    async with begin("grace") as rig:
        body = await rig.boot().ok("rollback", **WHERE, reason="500s")
        assert rig.effects() == ["proxy fallback shop-production off", "proxy live shop-production blue"]
        assert (body["activeSlot"], body["version"], body["fromVersion"]) == ("blue", "1", "2")
        line = rig.records.lines["rollbacks/shop"][0]
        assert (line["from"], line["fromVersion"], line["to"], line["toVersion"], line["reason"]) == (
            "green",
            "2",
            "blue",
            "1",
            "500s",
        )
        pair = rig.store.snapshot.pairs[PROD]
        assert (pair[Slot.BLUE].state, pair[Slot.GREEN].state) == (State.ACTIVE, State.DEPLOYED)
        assert pair[Slot.BLUE].grace_expires_at is None


async def test_it_works_with_the_image_registry_down() -> None:
    async with begin("grace") as rig:
        rig.machine.registry_down = True
        rig.machine.local.clear()
        await rig.boot().ok("rollback", **WHERE)


async def test_a_switch_that_is_not_proven_restores_live_then_fallback() -> None:
    async with begin("grace") as rig:
        rig.health.broken.add("shop.localhost")
        before = rig.print()
        await rig.boot().refused("rollback", 409, "not_proven", **WHERE)
        assert rig.effects() == [
            "proxy fallback shop-production off", "proxy live shop-production blue",
            "proxy live shop-production green", "proxy fallback shop-production on",
        ]  # fmt: skip
        rig.health.broken.clear()
        assert rig.print() == before


async def test_an_unhealthy_grace_is_refused_and_the_redeploy_named() -> None:
    async with begin("grace") as rig:
        box = rig.machine.boxes["shop-production-blue"]
        box.behaviour = replace(box.behaviour, status=500)
        body = await rig.boot().refused("rollback", 409, "grace_unhealthy", **WHERE)
        call = body["details"]["redeploy"]
        assert call["tool"] == "deploy"
        assert call["params"] | {"image": ""} == {**WHERE, "version": "1", "image": ""}
        assert call["params"]["image"].startswith("shop@sha256:")
        assert rig.effects() == []


@pytest.mark.parametrize(("state", "code"), [("deployed", "nothing_active"), ("active", "no_grace"), ("back", "no_grace")])
async def test_without_a_grace_it_says_why(state: str, code: str) -> None:
    async with begin(state) as rig:
        await rig.boot().refused("rollback", 409, code, **WHERE)
        assert rig.effects() == []


async def test_an_expired_grace_is_refused() -> None:
    async with begin("grace") as rig:
        rig.clock.jumped = timedelta(hours=48)
        body = await rig.boot().refused("rollback", 409, "grace_expired", **WHERE)
        assert body["details"]["redeploy"]["params"]["version"] == "1"
