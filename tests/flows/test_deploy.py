"""Deploy: what happens outside, in its order, and what is left when it fails (P2, P4)."""

import pytest

from codeb.model.names import Slot
from codeb.model.slots import State
from tests.kit import PROD, STAGE, begin

pytestmark = pytest.mark.anyio
WHERE = {"projectName": "shop", "environment": "production"}
GREEN, BLUE = "shop-production-green", "shop-production-blue"


async def test_first_deploy_starts_keeps_and_routes_without_going_live() -> None:
    async with begin("new") as rig:
        body = await rig.boot().ok("deploy", **WHERE, image="shop:1")
        assert rig.effects() == [
            "create network codeb-shop", f"create {BLUE}", f"start {BLUE}", f"policy {BLUE} unless-stopped",
            "proxy put_site shop-production",
        ]  # fmt: skip
        assert (body["slot"], body["version"], body["graceEnded"]) == ("blue", "1", False)
        assert rig.health.through("shop.localhost").status == 503
        assert rig.health.through("shop-blue.preview.localhost").slot == "blue"


async def test_beside_an_active_slot_the_site_is_not_touched() -> None:
    async with begin("active") as rig:
        await rig.boot().ok("deploy", **WHERE, image="shop:2")
        assert rig.effects() == [f"create {GREEN}", f"start {GREEN}", f"policy {GREEN} unless-stopped"]


async def test_over_grace_the_fallback_is_forbidden_before_its_container_is_touched() -> None:
    async with begin("grace") as rig:
        body = await rig.boot().ok("deploy", **WHERE, image="shop:3")
        assert rig.effects() == [
            "proxy fallback shop-production off",
            f"rename {BLUE} {BLUE}.kept", f"policy {BLUE}.kept no", f"stop {BLUE}.kept",
            f"create {BLUE}", f"start {BLUE}", f"policy {BLUE} unless-stopped", f"remove {BLUE}.kept",
        ]  # fmt: skip
        assert body["graceEnded"] is True
        assert rig.store.snapshot.slot(PROD, Slot.BLUE).state is State.DEPLOYED  # type: ignore[union-attr]


async def test_over_grace_a_failure_brings_the_grace_back_before_it_is_a_fallback_again() -> None:
    async with begin("grace") as rig:
        rig.image("bad", exits=3, log=("no database",))
        before = rig.print()
        said = await rig.boot().ask("deploy", **WHERE, image="shop:bad")
        assert (said.status, said.body["code"]) == (409, "container_exited")
        assert said.body["details"]["logs"] == ["no database"]
        assert said.body["details"]["exitCode"] == 3
        assert rig.effects()[-5:] == [
            f"remove {BLUE}", f"start {BLUE}.kept", f"policy {BLUE}.kept unless-stopped",
            f"rename {BLUE}.kept {BLUE}", "proxy fallback shop-production on",
        ]  # fmt: skip
        assert rig.print() == before
        assert await rig.faults() == []


FAILS = {
    "pull": ("image_not_found", 404, lambda rig: rig.machine.local.pop("shop:bad")),
    "start": ("start_refused", 409, lambda rig: rig.image("bad", starts=False)),
    "health": ("health_failed", 409, lambda rig: rig.image("bad", status=500)),
    "preview": ("not_proven", 409, lambda rig: rig.health.broken.update(
        f"{stem}.preview.localhost" for stem in ("shop-blue", "shop-green", "shop-staging-blue"))),
}  # fmt: skip


@pytest.mark.parametrize("step", FAILS)
@pytest.mark.parametrize(
    ("state", "environment"), [("new", "production"), ("ready", "production"), ("grace", "production"), ("active", "staging")]
)
async def test_a_failure_at_each_step_leaves_all_as_it_was(step: str, state: str, environment: str) -> None:
    code, status, spoil = FAILS[step]
    async with begin(state) as rig:
        rig.image("bad")
        spoil(rig)
        before, process = rig.print(), rig.boot()
        said = await process.ask("deploy", projectName="shop", environment=environment, image="shop:bad", timeout=2)
        assert (said.status, said.body["code"]) == (status, code)
        assert [each["name"] for each in said.body["details"]["steps"] if each["status"] == "failed"] in ([step], [])
        rig.health.broken.clear()
        assert rig.print() == before
        assert await rig.faults() == []
        await process.ok("deploy", projectName="shop", environment=environment, image="shop:4")


async def test_auto_promote_goes_on_in_an_operation_of_its_own() -> None:
    async with begin("active") as rig:
        process = rig.boot()
        body = await process.ok("deploy", **WHERE, image="shop:2", autoPromote=True)
        assert body["promoted"]["activeSlot"] == "green"
        follower = await process.ok("operation_get", operationId=body["promoted"]["operationId"])
        assert follower["operation"]["follows"] == body["operationId"]
        assert await rig.faults() == []


async def test_a_new_environment_that_fails_gives_back_its_ports() -> None:
    async with begin("active") as rig:
        rig.image("bad", exits=1)
        assert not (await rig.boot().ask("deploy", projectName="shop", environment="staging", image="shop:bad")).ok
        assert STAGE not in rig.store.snapshot.pairs
        assert {lease.environment for lease in rig.store.snapshot.leases} == {"production"}
