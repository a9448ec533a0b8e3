"""P15, P2: what somebody else did to an environment is found and mended under its lock, or reported; twice changes nothing."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from codeb.model.names import Slot
from tests.kit import PROD, Process, Rig, begin

pytestmark = pytest.mark.anyio
BLUE, GREEN = "shop-production-blue", "shop-production-green"
WHERE = {"projectName": "shop", "environment": "production"}


def gone(name: str) -> Callable[[Rig], None]:
    return lambda rig: rig.machine.boxes.pop(name) and None


def stopped(name: str) -> Callable[[Rig], None]:
    return lambda rig: rig.machine.stop(rig.machine.boxes[name], 1)


def renamed(name: str, to: str) -> Callable[[Rig], None]:
    return lambda rig: rig.machine.rename(rig.machine.boxes[name], to)


def switched(**change: Any) -> Callable[[Rig], None]:
    def spoil(rig: Rig) -> None:
        rig.proxy.switch[PROD] = replace(rig.proxy.switch[PROD], **change)

    return spoil


def both(*spoils: Callable[[Rig], None]) -> Callable[[Rig], None]:
    def spoil(rig: Rig) -> None:
        for each in spoils:
            each(rig)

    return spoil


def stray(rig: Rig) -> None:
    """A container in an empty slot, of the operation that deployed the active one."""
    box = rig.machine.boxes[BLUE]
    assert box.spec
    spec = replace(box.spec, name=GREEN, slot=Slot.GREEN, deployment_id="dep_lost", host_port=4101)
    rig.machine.boxes[GREEN] = replace(box, id="stray", name=GREEN, published=(("127.0.0.1", 4101),), spec=spec)


def left_aside(rig: Rig) -> None:
    box = rig.machine.boxes[BLUE]
    assert box.spec
    spec = replace(box.spec, deployment_id="dep_former")
    rig.machine.boxes[f"{BLUE}.kept"] = replace(box, id="kept", name=f"{BLUE}.kept", status="exited", policy="no", spec=spec)


def no_folder(rig: Rig) -> None:
    """The switch of the site was deleted with everything in it."""
    del rig.proxy.switch[PROD]
    rig.proxy.held.discard(PROD)


# name -> state, what somebody does, the kinds that are found
SPOILT: dict[str, tuple[str, Callable[[Rig], None], set[str]]] = {
    "active gone": ("active", gone(BLUE), {"container_gone", "route_dead"}),
    "active gone beside a grace": ("grace", gone(GREEN), {"container_gone", "stands_in"}),
    "active stopped": ("active", stopped(BLUE), {"container_stopped", "route_dead"}),
    "active renamed": ("active", renamed(BLUE, "old-shop"), {"container_renamed"}),
    "active renamed as another slot": ("active", renamed(BLUE, "other-production-green"), {"container_renamed"}),
    "active set aside": ("active", both(stopped(BLUE), renamed(BLUE, f"{BLUE}.kept")), {"container_aside", "route_dead"}),
    "grace gone": ("grace", gone(BLUE), {"container_gone", "fallback_wrong"}),
    "grace stopped": ("grace", stopped(BLUE), {"container_stopped", "fallback_wrong"}),
    "both gone": ("grace", both(gone(BLUE), gone(GREEN)), {"container_gone", "fallback_wrong", "route_dead"}),
    "stray in an empty slot": ("active", stray, {"container_stray"}),
    "left aside": ("active", left_aside, {"container_left_aside"}),
    "switch to the unpromoted": ("ready", switched(slot=Slot.GREEN), {"switch_wrong"}),
    "switch to the grace": ("grace", switched(slot=Slot.BLUE, fallback=False), {"switch_wrong"}),
    "held": ("active", lambda rig: rig.proxy.held.add(PROD), {"switch_wrong"}),
    "released before a promote": ("deployed", lambda rig: rig.proxy.held.discard(PROD), {"switch_wrong"}),
    "fallback to the unpromoted": ("ready", switched(fallback=True), {"fallback_wrong"}),
    "fallback forbidden": ("grace", switched(fallback=False), {"fallback_missing"}),
    "switch deleted": ("grace", no_folder, {"switch_wrong"}),
    "site file deleted": ("active", lambda rig: rig.proxy.lost.add(PROD), {"site_missing"}),
    "site file edited": ("active", lambda rig: rig.proxy.edited.add(PROD), {"site_edited"}),
}


async def kinds(process: Process, **params: Any) -> set[str]:
    found = await process.ok("reconcile", fix=False, **params)
    return {each["kind"] for each in found["findings"]}


@pytest.mark.parametrize("name", SPOILT)
async def test_it_is_found_mended_and_then_nothing(name: str) -> None:
    state, spoil, expected = SPOILT[name]
    async with begin(state) as rig:
        process = rig.boot()
        wanted = rig.print()
        spoil(rig)
        spoilt = rig.print()
        assert await kinds(process) == expected
        assert rig.print() == spoilt
        rig.effects()

        body = await process.ok("reconcile")
        assert body["mended"] > 0, body
        assert rig.print() == wanted
        assert await rig.faults() == []
        assert rig.effects() != []

        assert (await process.ok("reconcile"))["findings"] == []
        assert rig.effects() == []
