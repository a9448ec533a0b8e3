"""Opening and closing: what is on record and what is in force go together, with the project, and come back together."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from codeb.contracts.kit import Kit
from codeb.entry.reconciler import Reconciler
from codeb.errors import FenceLost
from codeb.flows import firewall
from codeb.model.access import Role
from codeb.model.firewall import Opening, Transport
from codeb.model.specs import Finding
from codeb.saga.fence import fence_kit
from tests.flows.crash import Sweep
from tests.flows.scenes import ALL
from tests.kit import Process, Rig, add_key, begin

pytestmark = pytest.mark.anyio

CIDR = "192.0.2.0/24"
OPEN = {"projectName": "shop", "port": 4100, "cidr": CIDR, "purpose": "database"}
GONE = {"projectName": "shop", "confirm": "shop"}
STRANGER = Opening(Transport.TCP, 8080, "0.0.0.0/0", "codeb:ghost:web")


def wall(rig: Rig) -> dict[str, str]:
    return {str(each): each.comment for each in rig.wall.ours.values()}


async def rules(process: Process, **params: Any) -> list[tuple[Any, ...]]:
    found = (await process.ok("firewall_list", **params))["rules"]
    return [(each["port"], each["cidr"], each["projectName"], each["purpose"], each["inForce"]) for each in found]


async def test_open_list_close() -> None:
    async with begin("active") as rig:
        process = rig.boot()
        first = await process.ok("firewall_allow", **OPEN)
        assert (first["changed"], first["opened"]) == (True, [f"4100/tcp from {CIDR}"])
        assert wall(rig) == {f"4100/tcp from {CIDR}": "codeb:shop:database"}
        assert await rules(process) == [(4100, CIDR, "shop", "database", True)]
        again = await process.ok("firewall_allow", **OPEN)
        assert not again["changed"]
        closed = await process.ok("firewall_deny", projectName="shop", port=4100)
        assert (closed["closed"], wall(rig), await rules(process)) == ([f"4100/tcp from {CIDR}"], {}, [])
        assert (await process.ok("firewall_deny", projectName="shop", port=4100))["closed"] == []


async def test_an_opening_that_two_ask_for_stays_until_both_are_gone() -> None:
    async with begin("active") as rig:
        process = rig.boot()
        await process.ok("firewall_allow", **OPEN)
        await process.ok("firewall_allow", port=4100, cidr=CIDR)
        said = await process.ok("firewall_deny", projectName="shop", port=4100)
        assert not said["changed"]
        assert "another rule" in said["warnings"][0]
        assert list(wall(rig)) == [f"4100/tcp from {CIDR}"]
        await process.ok("firewall_deny", port=4100)
        assert wall(rig) == {}


async def test_a_storage_port_is_for_the_app_servers_unless_somebody_says_otherwise() -> None:
    async with begin("active") as rig:
        process = rig.boot()
        await process.refused("firewall_allow", 409, "no_app_address", projectName="shop", port=5432)
        await process.ok("server_add", server="local", roles=["app", "storage"], addresses=["192.0.2.1", "127.0.0.1"])
        await process.ok("server_add", server="app-2", roles=["app"], addresses=["2001:db8::2"])
        await process.ok("server_add", server="backup-1", roles=["backup"], addresses=["192.0.2.9"])
        said = await process.ok("firewall_allow", projectName="shop", port=5432, purpose="database")
        assert said["opened"] == ["5432/tcp from 192.0.2.1/32", "5432/tcp from 2001:db8::2/128"]
        await process.refused("firewall_allow", 400, "invalid_params", projectName="shop", port=4100)
        late = await process.ok("server_add", server="app-3", roles=["app"], addresses=["192.0.2.3"])
        assert "5432 of local" in late["warnings"][0]
        await process.ok("firewall_allow", projectName="shop", port=5432, purpose="database")
        assert (await process.ok("server_add", server="app-3", roles=["app"], addresses=["192.0.2.3"]))["warnings"] == []


async def test_rules_go_and_come_with_the_project() -> None:
    async with begin("grace") as rig:
        process = rig.boot()
        await process.ok("firewall_allow", **OPEN)
        await process.ok("firewall_allow", port=53, cidr="0.0.0.0/0", protocol="udp")
        mine, house = f"4100/tcp from {CIDR}", "53/udp from 0.0.0.0/0"
        await process.ok("project_delete", **GONE)
        assert list(wall(rig)) == [house]
        assert await rig.faults() == []
        await process.refused("firewall_allow", 409, "project_deleted", **OPEN)
        await process.ok("undelete", projectName="shop")
        assert sorted(wall(rig)) == [mine, house]
        await process.ok("project_delete", **GONE)
        await process.ok("project_delete", **GONE, purge=True)
        assert list(wall(rig)) == [house]
        assert [each[0] for each in await rules(process)] == [53]


async def test_a_project_that_goes_meanwhile_takes_its_rule_along() -> None:
    """The record looks once more, in its own transaction."""
    async with begin("active") as rig:
        process = rig.boot()
        held = await process.ok("firewall_allow", **OPEN, wait=False)
        async with rig.store.write() as registry:
            await registry.projects.set_state("shop", "deleting")
        await process.settle()
        ended = (await process.ok("operation_get", operationId=held["operationId"]))["operation"]
        assert (ended["state"], ended["error"]["code"]) == ("failed", "project_deleted")
        assert wall(rig) == {}


async def test_what_leaves_codeb_cut_off_is_taken_back() -> None:
    """The proof: what was reached before is reached after."""
    async with begin("active") as rig:

        class Docker:
            async def check(self) -> Finding:
                return Finding("docker", "fail" if rig.wall.unproven is not None else "pass", "")

        def change(kit: Kit) -> Kit:
            return replace(kit, checks={**kit.checks, "docker": Docker()})

        process = rig.boot(change)
        body = await process.refused("firewall_allow", 409, "firewall_unproven", **OPEN)
        assert body["details"]["lost"] == ["docker"]
        assert (wall(rig), await rules(process)) == ({}, [])
        assert await rig.faults() == []


async def test_what_was_down_before_proves_nothing_against_a_change() -> None:
    async with begin("active") as rig:

        class Docker:
            async def check(self) -> Finding:
                return Finding("docker", "fail", "down")

        process = rig.boot(lambda kit: replace(kit, checks={**kit.checks, "docker": Docker()}))
        assert (await process.ok("firewall_allow", **OPEN))["changed"]


async def test_what_the_firewall_refuses_is_not_on_record() -> None:
    async with begin("active") as rig:
        process = rig.boot()
        rig.wall.refused.add(4100)
        await process.refused("firewall_allow", 409, "firewall_refused", **OPEN)
        assert (wall(rig), await rules(process)) == ({}, [])


@pytest.mark.parametrize(
    ("name", "deaths", "states"),
    [
        ("firewall_allow", 46, 10), ("firewall_deny", 46, 10), ("project_delete, with what is open for it", 170, 14),
        ("undelete, with what was open for it", 700, 55),
    ],
)  # fmt: skip
async def test_a_death_anywhere(name: str, deaths: int, states: int) -> None:
    """P2: nothing or all of it, on record and in force; also in the middle of a proof, and in the recovery from a death."""
    scene = ALL[name]
    sweep = await Sweep(replace(scene, parts=({**scene.params, "dryRun": True},))).run()
    assert sweep.faults == []
    assert (sweep.deaths >= deaths, sweep.states >= states) == (True, True), (sweep.deaths, sweep.states)


async def test_the_sweep_of_deaths_can_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tuple(replace(each, undo=None) for each in firewall.SAGA.steps)
    monkeypatch.setattr(firewall, "SAGA", replace(firewall.SAGA, steps=broken))
    assert (await Sweep(ALL["firewall_allow"]).run()).faults


async def test_what_another_one_closed_meanwhile_is_open_in_the_end() -> None:
    """As the deletion of a project may, which had the same opening and did not know of the new rule yet."""
    async with begin("active") as rig:
        process = rig.boot()

        def close(point: str) -> None:
            if point == "firewall.record.do.before":
                rig.wall.ours.clear()

        process.world.at_point = close
        await process.ok("firewall_allow", **OPEN)
        assert list(wall(rig)) == [f"4100/tcp from {CIDR}"]


async def test_drift_is_told_both_ways_and_mended_when_asked() -> None:
    async with begin("active") as rig:
        process = rig.boot()
        await process.ok("firewall_allow", **OPEN)
        assert (await process.ok("firewall_sync"))["findings"] == []
        rig.wall.ours, rig.wall.edited = {STRANGER: STRANGER}, "a rule is gone"
        seen = await process.ok("firewall_sync")
        assert [each["kind"] for each in seen["findings"]] == ["firewall_edited", "firewall_missing", "firewall_stranger"]
        assert (seen["mended"], list(wall(rig))) == (0, [str(STRANGER)])
        await process.ok(**{"tool": "firewall_sync", **seen["next"][0]["params"]})
        assert (list(wall(rig)), rig.wall.edited) == ([f"4100/tcp from {CIDR}"], "")
        rig.wall.off = True
        assert [each["kind"] for each in (await process.ok("firewall_sync", fix=True))["findings"]] == ["firewall_off"]
        assert not rig.wall.off


async def test_reconcile_opens_what_is_missing_and_closes_nothing() -> None:
    """P15."""
    async with begin("active") as rig:
        process = rig.boot()
        await process.ok("firewall_allow", **OPEN)
        rig.wall.ours = {STRANGER: STRANGER}
        loop = Reconciler(process.kit, process.engine, process.audit)
        await loop.round()
        assert set(wall(rig)) == {f"4100/tcp from {CIDR}", str(STRANGER)}
        assert [each.kind for each in process.kit.drift.left] == ["firewall_stranger"]
        await process.ok("firewall_allow", port=8080, cidr="0.0.0.0/0")
        await loop.round()
        assert process.kit.drift.left == ()


async def test_a_project_that_is_gone_leaves_nothing_that_reconcile_opens_again() -> None:
    async with begin("grace") as rig:
        process = rig.boot()
        await process.ok("firewall_allow", **OPEN)
        await process.ok("project_delete", **GONE)
        await Reconciler(process.kit, process.engine, process.audit).round()
        assert (wall(rig), process.kit.drift.left) == ({}, ())


async def test_one_change_at_a_time() -> None:
    """P6."""
    async with begin("active") as rig:
        process = rig.boot()
        said = await asyncio.gather(*(process.ask("firewall_allow", **{**OPEN, "cidr": f"192.0.2.{n}/32"}) for n in range(6)))
        good = [each for each in said if each.ok]
        assert good
        assert {each.body["code"] for each in said if not each.ok} <= {"operation_in_progress"}
        assert len(wall(rig)) == len(good)
        assert await rig.faults() == []


async def test_a_stale_holder_changes_nothing() -> None:
    """P6."""
    async with begin("active") as rig:
        process = rig.boot()
        done = await process.ok("firewall_allow", **OPEN)
        stale = fence_kit(process.kit, done["operationId"], 1)
        with pytest.raises(FenceLost):
            await stale.firewall.change([STRANGER], [], firewall.trusted)
        assert list(wall(rig)) == [f"4100/tcp from {CIDR}"]


# who may


async def test_a_team_opens_the_ports_of_its_projects_alone() -> None:
    async with begin("active") as rig:
        process = rig.boot()
        await process.ok("server_add", server="local", roles=["app"], addresses=["192.0.2.1"])
        rival = await add_key(rig, Role.ADMIN, team="rivals")
        await process.ok("project_create", key=rival, projectName="theirs")
        theirs = next(each.port for each in rig.store.snapshot.leases if each.project == "theirs")
        own = {"key": rival, "projectName": "theirs"}
        await process.ok("firewall_allow", **own, port=theirs, cidr=CIDR)
        await process.ok("firewall_allow", **own, port=5432)
        for params in ({"port": 22}, {"port": 4100}, {"port": 9101}):
            await process.refused("firewall_allow", 403, "forbidden", **own, **params, cidr="0.0.0.0/0")
        await process.refused("firewall_allow", 403, "forbidden", **own, port=5432, cidr="0.0.0.0/0")
        await process.refused("firewall_allow", 403, "forbidden", key=rival, port=4100, cidr=CIDR)
        await process.refused("firewall_allow", 404, "project_not_found", key=rival, **OPEN)
        await process.refused("firewall_sync", 403, "forbidden", key=rival)
        await process.ok("firewall_allow", **OPEN)
        assert {each[2] for each in await rules(process, key=rival)} == {"theirs"}
        assert {each[2] for each in await rules(process)} == {"theirs", "shop"}


async def test_a_narrowed_key_is_no_operator() -> None:
    async with begin("active") as rig:
        process = rig.boot()
        narrow = await add_key(rig, projects=frozenset({"shop"}))
        await process.ok("firewall_allow", key=narrow, **OPEN)
        await process.refused("firewall_allow", 403, "forbidden", key=narrow, **{**OPEN, "port": 22})
        await process.refused("firewall_allow", 403, "forbidden", key=narrow, port=22, cidr=CIDR)
        staging = await add_key(rig, environments=frozenset({"staging"}))
        await process.refused("firewall_allow", 403, "forbidden", key=staging, **OPEN)


# where


async def test_without_a_firewall_it_says_so() -> None:
    async with begin("active") as rig:
        rig.wall.provider = "none"
        process = rig.boot()
        await process.refused("firewall_allow", 409, "no_firewall", **OPEN)
        assert (await process.ok("firewall_sync", fix=True))["findings"] == []
        assert (await process.ok("firewall_list"))["warnings"]
        assert await firewall.differences(process.kit) == []


async def test_a_firewall_of_this_machine_guards_no_other() -> None:
    async with begin("active") as rig:
        rig.wall.everywhere = False
        process = rig.boot()
        await process.ok("server_add", server="storage-1", roles=["storage"], addresses=["192.0.2.7"])
        await process.refused("firewall_allow", 409, "not_guarded", port=5432, cidr=CIDR, server="storage-1")
        await process.refused("firewall_allow", 404, "server_not_found", port=5432, cidr=CIDR, server="storage-2")
        await process.ok("firewall_allow", port=5432, cidr=CIDR)
