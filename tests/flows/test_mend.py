"""P15, P2: what somebody else did to an environment is found and mended under its lock, or reported; twice changes nothing."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from codeb.model.names import Slot
from tests.kit import PROD, Process, Rig, add_key, begin

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


def unkept(name: str) -> Callable[[Rig], None]:
    def spoil(rig: Rig) -> None:
        rig.machine.boxes[name].policy = "no"

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
    "active without a restart policy": ("active", unkept(BLUE), {"container_unkept"}),
    "grace without a restart policy": ("grace", unkept(BLUE), {"container_unkept"}),
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


# what is reported, and what stands outside every environment


async def test_what_a_person_decides_is_reported_and_left() -> None:
    async with begin("ready") as rig:
        process = rig.boot()
        rig.machine.boxes[BLUE].published += (("0.0.0.0", 4100),)
        rig.machine.boxes.pop(GREEN)
        rig.machine.add_foreign("shop-preview-blue", 5000)
        rig.proxy.strange.add("ghost-production")
        before = rig.print()
        body = await process.ok("reconcile")
        found = {each["kind"]: each for each in body["findings"]}
        assert set(found) == {"published_beyond", "container_gone", "not_leased", "site_of_nobody"}
        assert all(not each["mended"] and each["policy"] == "reported" and each["whyNot"] for each in found.values())
        assert "beyond" in body["warnings"][0]
        assert rig.print() == before
        assert rig.effects() == []


async def test_a_dead_proxy_is_started_before_all_else_and_a_foreign_configuration_replaced() -> None:
    async with begin("active") as rig:
        process = rig.boot()
        rig.proxy.dead = True
        rig.machine.boxes.pop(BLUE)
        rig.effects()
        assert (await process.ok("reconcile"))["left"] == 0
        assert rig.effects()[0] == "proxy start"
        rig.proxy.foreign = True
        assert await kinds(process) == {"proxy_differs", "route_dead"}
        await process.ok("reconcile")
        assert await kinds(process) == set()


async def test_a_network_of_nobody_goes_and_one_in_use_says_why_not() -> None:
    async with begin("active") as rig:
        process = rig.boot()
        rig.machine.networks["codeb-ghost"] = ("memory", "ghost")
        assert (await process.ok("reconcile"))["mended"] == 1
        assert set(rig.machine.networks) == {"codeb-shop"}
        box = rig.machine.boxes[BLUE]
        assert box.spec
        spec = replace(box.spec, name="hand", network="codeb-ghost")
        rig.machine.networks["codeb-ghost"] = ("memory", "ghost")
        rig.machine.boxes["hand"] = replace(box, id="x", name="hand", spec=spec, published=(), instance="")
        (found,) = (await process.ok("reconcile"))["findings"]
        assert (found["mended"], "attached" in found["whyNot"]) == (False, True)


async def test_a_part_that_does_not_answer_is_a_finding_and_nothing_is_mended_on_a_guess() -> None:
    async with begin("grace") as rig:
        process, before = rig.boot(), rig.print()
        rig.machine.down = True
        body = await process.ok("reconcile")
        assert {each["kind"] for each in body["findings"]} == {"unseen"}
        assert rig.print() == before
        await process.refused("port_sync", 503, "not_looked_at")


async def test_a_grace_that_is_over_and_stopped_stays_so_and_may_not_stand_in() -> None:
    """A round that writes the site anew forbids it too, and the next one finds only what a person decides."""
    async with begin("grace") as rig:
        process = rig.boot()
        stopped(BLUE)(rig)
        rig.proxy.edited.add(PROD)
        rig.clock.spent += (rig.policy.grace_hours + 1) * 3600
        await process.ok("reconcile")
        assert not rig.machine.boxes[BLUE].running
        assert (await process.kit.proxy.live(PROD)).fallback is False
        again = await process.ok("reconcile")
        assert (again["mended"], {each["kind"] for each in again["findings"]}) == (0, {"container_stopped"})


async def test_an_environment_with_an_operation_under_way_is_left_alone() -> None:
    async with begin("active") as rig:
        process = rig.boot()
        rig.machine.boxes.pop(BLUE)
        running = process.kit.store.snapshot.running
        object.__setattr__(process.kit.store.snapshot, "running", {PROD: object()})
        assert await kinds(process) == set()
        object.__setattr__(process.kit.store.snapshot, "running", running)
        assert "container_gone" in await kinds(process)


async def test_what_cannot_be_mended_says_why() -> None:
    """A foreign container stands under the name: it is nobody's to remove."""
    async with begin("active") as rig:
        process = rig.boot()
        rig.machine.boxes.pop(BLUE)
        rig.machine.add_foreign(BLUE, 4900)
        found = {each["kind"]: each for each in (await process.ok("reconcile"))["findings"]}
        assert "was left as it is" in found["container_gone"]["whyNot"]
        assert rig.machine.boxes[BLUE].instance == ""


async def test_an_image_that_is_gone_is_fetched_again_or_it_says_so() -> None:
    async with begin("active") as rig:
        process = rig.boot()
        box = rig.machine.boxes.pop(BLUE)
        rig.machine.behaviours.pop(box.image_id)
        found = {each["kind"]: each for each in (await process.ok("reconcile"))["findings"]}
        assert (found["container_gone"]["mended"], "Image not found" in found["container_gone"]["whyNot"]) == (False, True)


async def test_it_is_scoped_like_everything_else() -> None:
    async with begin("active") as rig:
        process = rig.boot()
        rig.machine.boxes.pop(BLUE)
        rival, narrow = await add_key(rig, team="rivals"), await add_key(rig, projects=frozenset({"other"}))
        rig.proxy.strange.add("ghost-production")
        for key in (rival, narrow):
            body = await process.ok("reconcile", key=key)
            assert {each["kind"] for each in body["findings"]} <= {"site_of_nobody"}
        assert (await process.ok("reconcile", key=narrow))["findings"] == []
        await process.refused("reconcile", 400, "invalid_params", environment="production")
        await process.refused("reconcile", 404, "project_not_found", projectName="shoq")
        assert (await process.ok("reconcile", projectName="shop"))["mended"] == 1


async def test_a_stray_that_is_another_one_by_now_is_left() -> None:
    async with begin("active") as rig:
        process = rig.boot()
        stray(rig)

        def replaced(point: str) -> None:
            box = rig.machine.boxes[GREEN]
            if point == "mend.accept.do.before" and box.spec:
                box.spec = replace(box.spec, operation_id="op_of_somebody_newer")

        process.world.at_point = replaced
        await process.ok("reconcile")
        assert GREEN in rig.machine.boxes


async def test_what_moved_while_it_was_looked_at_is_no_finding() -> None:
    """An operation begins after the containers were listed: what it took away is not missing."""
    async with begin("active") as rig:
        process = rig.boot()
        rig.machine.boxes.pop(BLUE)
        networks = process.kit.upkeep.networks

        async def meanwhile() -> Sequence[str]:
            object.__setattr__(process.kit.store.snapshot, "running", {PROD: object()})
            return await networks()

        process.kit.upkeep.networks = meanwhile  # type: ignore[method-assign]
        assert await kinds(process) == set()


async def test_nothing_of_a_half_deleted_project_is_mended() -> None:
    async with begin("active") as rig:
        process = rig.boot()
        async with rig.store.write() as registry:
            await registry.projects.set_state("shop", "deleting")
        rig.machine.boxes.pop(BLUE)
        rig.effects()
        assert {each["kind"] for each in (await process.ok("reconcile"))["findings"]} == {"deletion_unfinished"}
        assert rig.effects() == []


async def test_what_could_not_be_looked_at_again_is_not_called_mended() -> None:
    async with begin("active") as rig:
        process = rig.boot()
        rig.machine.boxes.pop(BLUE)

        def away(point: str) -> None:
            rig.machine.down |= point == "mend.strays.do.effect"

        process.world.at_point = away
        found = {each["kind"]: each for each in (await process.ok("reconcile"))["findings"]}
        assert rig.machine.boxes[BLUE].running
        assert not found["container_gone"]["mended"]


async def test_a_key_for_staging_neither_sees_nor_mends_production() -> None:
    async with begin("active") as rig:
        process = rig.boot()
        rig.machine.boxes.pop(BLUE)
        key = await add_key(rig, environments=frozenset({"staging"}))
        assert (await process.ok("reconcile", key=key))["findings"] == []
        assert BLUE not in rig.machine.boxes


# scan


async def test_scan_says_what_stands_in_the_way_of_a_deploy() -> None:
    async with begin("active") as rig:
        process = rig.boot()
        well = await process.ok("scan", **WHERE)
        lines = {each["name"]: each["status"] for each in well["checks"]}
        assert list(lines) == [
            "project", "ports", "env", "image", "proxy site", "public route", "dns", "certificate", "containers", "database",
            "redis", "disk", "drift", "registry",
        ]  # fmt: skip
        assert {name for name, status in lines.items() if status != "pass"} <= {"image", "disk"}
        rig.machine.boxes.pop(BLUE)
        rig.machine.sockets.add(4101)
        rig.proxy.lost.add(PROD)
        bad = {each["name"]: each for each in (await process.ok("scan", **WHERE))["checks"]}
        assert {name: each["status"] for name, each in bad.items() if name not in ("image", "disk")} == {
            "project": "pass", "ports": "fail", "env": "pass", "proxy site": "warn", "public route": "fail", "dns": "pass",
            "certificate": "pass", "containers": "fail", "database": "pass", "redis": "pass", "drift": "warn", "registry": "pass",
        }  # fmt: skip
        assert all(each["fix"] for each in bad.values() if each["status"] != "pass")


async def test_scan_before_the_first_deploy() -> None:
    async with begin("new") as rig:
        process = rig.boot()
        body = await process.ok("scan", projectName="shop", environment="staging")
        assert (body["ready"], body["checks"][0]["status"]) == (True, "warn")
        await process.refused("scan", 404, "project_not_found", projectName="nobody")
