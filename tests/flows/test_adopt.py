"""project_adopt: a container that somebody else made is active, untouched, until its successor has its place (spec 7)."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any, cast

import pytest

from codeb.contracts.proxy import Proxy
from codeb.drivers.runtime.memory_machine import Behaviour, Box
from codeb.model.access import Role
from codeb.model.names import Place, Slot
from codeb.model.slots import SlotRow, State
from codeb.model.specs import Site
from tests.flows.watch_scene import later
from tests.kit import PROD, Process, Rig, add_key, begin
from tests.kit_guests import SECRET, guest

pytestmark = pytest.mark.anyio

SHOP: dict[str, Any] = {"projectName": "shop", "environment": "production"}
WEB = {**SHOP, "container": "web"}


def row(rig: Rig, slot: Slot = Slot.BLUE, place: Place = PROD) -> SlotRow:
    found = rig.store.snapshot.slot(place, slot)
    assert found is not None
    return found


def leased(rig: Rig) -> list[int]:
    return sorted(each.port for each in rig.store.snapshot.leases)


def touched(rig: Rig, name: str = "web") -> list[str]:
    return [each for each in rig.effects() if name in each.split()]


def likeness(box: Box) -> tuple[Any, ...]:
    return (box.id, box.name, box.status, box.policy, box.lives, box.restarts, box.published, box.image_id)


async def test_a_running_container_becomes_the_active_version_and_nothing_of_it_changes() -> None:
    async with begin() as rig:
        box, process = guest(rig.machine), rig.boot()
        before = likeness(box)
        done = await process.ok("project_adopt", **WEB)
        assert (done["slot"], done["port"], done["containerPort"], done["version"]) == ("blue", 8080, 3000, "7")
        assert (done["container"], done["containerId"], done["envVersion"]) == ("web", box.id, None)
        assert likeness(box) == before and touched(rig) == []
        found = row(rig)
        assert (found.state, found.port, found.adopted, found.adopted_name) == (State.ACTIVE, 8080, box.id, "web")
        assert rig.store.snapshot.projects["shop"].container_port == 3000
        assert leased(rig) == [4100, 4101, 8080], "its own port as long as it is there, and a pair for what follows"
        answer = rig.health.through("shop.localhost")
        assert (answer.status, answer.slot) == (200, "blue")
        assert await rig.faults() == []
        status = await process.ok("slot_status", **SHOP)
        assert (status["blue"]["adopted"], status["blue"]["health"]) == ("web", "running")
        assert status["drift"] == ["web (taken over) is published beyond 127.0.0.1"]
        assert [each["text"] for each in (await process.ok("logs", **SHOP))["lines"]] == ["hello from outside"]


async def test_reconcile_finds_nothing_and_touches_nothing() -> None:
    """P15: not a stray, not to be made again, not without a restart policy of its own."""
    async with begin("taken") as rig:
        process = rig.boot()
        rig.machine.boxes["web"].policy = "no"
        assert list(await drift(process)) == ["published_beyond"], "and that is said until it goes"
        assert rig.effects() == []


async def test_the_next_versions_follow_it_and_come_back_to_it_until_its_end() -> None:
    async with begin("taken") as rig:
        process, box = rig.boot(), rig.machine.boxes["web"]
        before = likeness(box)
        done = await process.ok("deploy", **SHOP, image="shop:2")
        assert (done["slot"], done["port"]) == ("green", 4101)
        plan = await process.ok("promote", **SHOP, dryRun=True)
        assert "remove web (taken over) after that: CodeB stops and removes it, its volumes stay" in plan["changes"]
        await process.ok("promote", **SHOP)
        assert (row(rig).state, row(rig).adopted) == (State.GRACE, box.id)
        await process.ok("rollback", **SHOP)
        assert rig.health.through("shop.localhost").slot == "blue"
        await process.ok("promote", **SHOP)
        assert likeness(box) == before and touched(rig) == [], "until here nobody touched it"
        plan = await process.ok("slot_cleanup", **SHOP, slot="blue", force=True, dryRun=True)
        assert plan["changes"] == ["remove web (taken over) (7, grace)"]
        await process.ok("slot_cleanup", **SHOP, slot="blue", force=True)
        assert touched(rig) == ["stop web", "remove web"]
        assert (row(rig).state, row(rig).port, row(rig).adopted) == (State.EMPTY, 4100, None)
        assert leased(rig) == [4100, 4101]
        assert rig.proxy.loaded[PROD].port(Slot.BLUE) == 4100
        assert (await process.ok("slot_status", **SHOP))["drift"] == []
        assert await rig.faults() == []


async def test_a_deploy_into_its_slot_is_its_end_only_once_the_new_version_is_healthy() -> None:
    """Spec 3.3: a failed deploy brings it back as it was, in grace, with its port and its place in the site."""
    async with begin("outgrown") as rig:
        process, box = rig.boot(), rig.machine.boxes["web"]
        site = rig.proxy.loaded[PROD]
        rig.image("bad", status=500)
        said = await process.ask("deploy", **SHOP, image="shop:bad", timeout=2)
        assert not said.ok
        assert box.running and box.name == "web" and box.policy == "always"
        assert (row(rig).state, row(rig).port, row(rig).adopted) == (State.GRACE, 8080, box.id)
        assert rig.proxy.loaded[PROD] == site and leased(rig) == [4100, 4101, 8080]
        assert await rig.faults() == []
        await process.ok("rollback", **SHOP)
        await process.ok("promote", **SHOP)
        rig.effects()
        done = await process.ok("deploy", **SHOP, image="shop:3")
        assert (done["slot"], done["port"], done["graceEnded"]) == ("blue", 4100, True)
        assert "web" not in rig.machine.boxes
        assert (row(rig).state, row(rig).port, row(rig).adopted) == (State.DEPLOYED, 4100, None)
        assert leased(rig) == [4100, 4101] and await rig.faults() == []


@pytest.mark.parametrize("name", ["shop-production-blue", "shop-production-green"])
async def test_one_that_is_called_like_a_slot_stands_in_that_slot_and_makes_room_for_its_successor(name: str) -> None:
    async with begin() as rig:
        process, slot = rig.boot(), Slot(name.rpartition("-")[2])
        box = guest(rig.machine, name)
        rig.image("2"), rig.image("3"), rig.image("bad", status=500)
        await process.ok("project_adopt", **SHOP, container=name)
        assert row(rig, slot).adopted == box.id
        await process.ok("deploy", **SHOP, image="shop:2", autoPromote=True)
        assert not (await process.ask("deploy", **SHOP, image="shop:bad", timeout=2)).ok
        assert (box.name, box.running) == (name, True)
        await process.ok("deploy", **SHOP, image="shop:3")
        assert rig.machine.boxes[name].id != box.id
        assert await rig.faults() == []


@pytest.mark.parametrize(("port", "blue", "slot"), [(4106, 4106, "blue"), (4107, 4106, "green"), (4098, 4100, "blue")])
async def test_a_port_of_the_range_brings_its_pair(port: int, blue: int, slot: str) -> None:
    async with begin() as rig:
        guest(rig.machine, port=port)
        done = await rig.boot().ok("project_adopt", **WEB)
        assert (done["slot"], done["port"]) == (slot, port)
        assert leased(rig) == sorted({blue, blue + 1, port})


async def test_a_registered_pair_with_its_port_is_its_place() -> None:
    """As port_register or port_import left it."""
    async with begin("new") as rig:
        process = rig.boot()
        await process.ok("port_register", **SHOP, blue=4200, green=4201)
        guest(rig.machine, port=4201)
        done = await process.ok("project_adopt", **WEB)
        assert (done["slot"], done["port"]) == ("green", 4201) and leased(rig) == [4200, 4201]
        assert await rig.faults() == []


# what is refused


def _stopped(box: Box) -> None:
    box.status = "exited"


def _vanishes(box: Box) -> None:
    box.vanishes = True


def _unpublished(box: Box) -> None:
    box.published = ()


def _elsewhere(box: Box) -> None:
    box.published = (("192.0.2.7", 8080),)


def _anothers(box: Box) -> None:
    box.instance = "another"


@pytest.mark.parametrize(
    ("spoil", "code"),
    [
        (_stopped, "container_stopped"), (_vanishes, "container_vanishes"), (_unpublished, "not_published"),
        (_elsewhere, "not_on_loopback"), (_anothers, "container_managed"),
    ],
)  # fmt: skip
async def test_what_cannot_be_a_version_is_refused(spoil: Callable[[Box], None], code: str) -> None:
    async with begin() as rig:
        spoil(guest(rig.machine))
        before = rig.print()
        await rig.boot().refused("project_adopt", 409, code, **WEB)
        assert rig.print() == before


async def test_neither_what_is_not_there_nor_codebs_own_is_taken_over() -> None:
    async with begin("active") as rig:
        process = rig.boot()
        await process.refused("project_adopt", 404, "container_not_found", projectName="blog", container="web")
        await process.refused("project_adopt", 409, "container_ours", projectName="blog", container="shop-production-blue")


async def test_an_environment_with_versions_takes_none_over() -> None:
    async with begin("active") as rig:
        guest(rig.machine)
        await rig.boot().refused("project_adopt", 409, "environment_in_use", **WEB)


async def test_several_ports_have_to_be_told_apart() -> None:
    async with begin() as rig:
        box, process = guest(rig.machine), rig.boot()
        box.published, box.inner = (("127.0.0.1", 8080), ("127.0.0.1", 8443)), 3000
        said = await process.refused("project_adopt", 400, "invalid_params", **WEB)
        assert said["details"]["fields"][0]["field"] == "containerPort"
        await process.refused("project_adopt", 409, "not_published", **WEB, containerPort=9)


async def test_a_name_of_another_slot_is_refused() -> None:
    async with begin() as rig:
        guest(rig.machine, "blog-production-blue")
        await rig.boot().refused("project_adopt", 409, "name_reserved", **SHOP, container="blog-production-blue")


async def test_one_container_is_in_one_slot_however_it_is_named() -> None:
    """P7: by its id and, should it publish several ports, by that alone."""
    async with begin("taken") as rig:
        process, box = rig.boot(), rig.machine.boxes["web"]
        await process.refused("project_adopt", 409, "port_taken", projectName="blog", container="web")
        box.published = (*box.published, ("0.0.0.0", 8081))
        said = await process.ask("project_adopt", projectName="blog", container=box.id[:12], containerPort=3000)
        assert not said.ok
        async with rig.store.write() as registry:
            await registry.leases.remove("local", [8080])
        box.published = (("0.0.0.0", 8081),)
        await process.refused("project_adopt", 409, "adopted_already", projectName="blog", container=box.id)
        assert "blog" not in rig.store.snapshot.projects


async def test_one_that_does_not_answer_leaves_nothing_behind() -> None:
    async with begin() as rig:
        box = guest(rig.machine, behaviour=Behaviour(status=500))
        before, process = rig.print(), rig.boot()
        said = await process.ask("project_adopt", **WEB, keepEnv=True)
        assert (said.ok, said.body["details"]["step"]) == (False, "check")
        assert rig.print() == before and box.running and touched(rig) == []


async def test_only_whoever_runs_this_codeb_may() -> None:
    """It reaches any container of the machine: a team's admin, and a narrowed key, are refused before anything is told."""
    async with begin() as rig:
        guest(rig.machine)
        process = rig.boot()
        for key in (await add_key(rig, team="rivals"), await add_key(rig, projects=frozenset({"shop"}))):
            await process.refused("project_adopt", 403, "forbidden", **WEB, key=key, dryRun=True)
        await process.refused("project_adopt", 403, "forbidden", **WEB, key=await add_key(rig, Role.MEMBER))
        await process.ok("project_adopt", **WEB, key=await add_key(rig, Role.ADMIN))


# what is told, and kept


async def test_a_dry_run_tells_everything_but_values_and_binds_the_plan() -> None:
    async with begin() as rig:
        guest(rig.machine)
        process, before = rig.boot(), rig.print()
        plan = await process.ok("project_adopt", **WEB, keepEnv=True, dryRun=True)
        assert rig.print() == before and SECRET not in str(plan)
        told = plan["plan"]
        assert (told["container"], told["port"], told["slot"], told["newProject"]) == ("web", 8080, "blue", True)
        assert told["variables"] == ["CODEB_X", "PORT", "WORD"] and told["nextPorts"] == {"blue": 4100, "green": 4101}
        assert any("8080 beyond 127.0.0.1" in each for each in plan["warnings"])
        assert any("no memory limit" in each for each in plan["warnings"])
        apply = plan["next"][0]["params"]
        done = await process.ok("project_adopt", **apply)
        assert done["envVersion"] == 1


async def test_a_plan_of_another_container_is_stale() -> None:
    async with begin() as rig:
        guest(rig.machine)
        process = rig.boot()
        apply = (await process.ok("project_adopt", **WEB, dryRun=True))["next"][0]["params"]
        del rig.machine.boxes["web"]
        guest(rig.machine)
        await process.refused("project_adopt", 409, "stale_plan", **apply)


async def test_its_variables_become_the_first_version_where_that_is_asked() -> None:
    async with begin() as rig:
        guest(rig.machine)
        process = rig.boot()
        done = await process.ok("project_adopt", **WEB, keepEnv=True)
        assert done["envVersion"] == 1
        assert any("CODEB_X, PORT" in each for each in done["warnings"])
        shown = await process.ok("env_get", **SHOP, reveal=True)
        assert SECRET in str(shown) and "CODEB_X" not in str(shown)
        rig.image("2")
        await process.ok("deploy", **SHOP, image="shop:2")
        box = rig.machine.boxes["shop-production-green"]
        assert box.spec is not None and ("WORD", SECRET) in box.spec.env
        journal = await process.ok("operation_get", operationId=done["operationId"])
        assert SECRET not in str(journal)
        assert await rig.faults() == []


async def test_variables_that_are_there_are_not_overwritten() -> None:
    async with begin("new") as rig:
        guest(rig.machine)
        process = rig.boot()
        await process.ok("env_set", **SHOP, values={"A": "1"})
        await process.refused("project_adopt", 409, "env_exists", **WEB, keepEnv=True)
        await process.ok("project_adopt", **WEB)


# when it is not well


async def drift(process: Process) -> dict[str, dict[str, Any]]:
    return {each["kind"]: each for each in (await process.ok("reconcile"))["findings"]}


async def test_one_that_is_gone_is_told_and_never_made_again() -> None:
    async with begin("taken") as rig:
        process = rig.boot()
        del rig.machine.boxes["web"]
        found = (await drift(process))["adopted_gone"]
        assert "cannot make it again" in found["text"]
        assert rig.effects() == [] and "shop-production-blue" not in rig.machine.boxes
        rig.image("2")
        await process.ok("deploy", **SHOP, image="shop:2", autoPromote=True)
        assert rig.health.through("shop.localhost").slot == "green", "the way on is a version of CodeB's own"


async def test_one_that_stopped_is_started_and_nothing_else() -> None:
    async with begin("taken") as rig:
        process, box = rig.boot(), rig.machine.boxes["web"]
        box.status, box.address = "exited", None
        assert (await drift(process))["container_stopped"]["mended"]
        assert box.running and touched(rig) == ["start web"]


async def test_a_deleted_project_stops_it_and_brings_it_back() -> None:
    async with begin("abandoned") as rig:
        process, box = rig.boot(), rig.machine.boxes["web"]
        assert not box.running and await rig.faults() == []
        back = await process.ok("undelete", projectName="shop")
        assert back["environments"][0]["notAnswering"] == {}
        assert box.running and box.name == "web" and await rig.faults() == []
        await process.ok("project_delete", projectName="shop", confirm="shop")
        await process.ok("project_delete", projectName="shop", confirm="shop", purge=True)
        assert rig.machine.boxes == {} and leased(rig) == [] and await rig.faults() == []


async def test_what_is_gone_when_its_project_comes_back_is_told_and_not_made() -> None:
    async with begin("abandoned") as rig:
        process = rig.boot()
        del rig.machine.boxes["web"]
        back = await process.ok("undelete", projectName="shop")
        assert "cannot make it again" in back["environments"][0]["notAnswering"]["blue"]
        assert "shop-production-blue" not in rig.machine.boxes


async def test_the_watch_starts_it_when_it_died_and_never_stops_one_that_runs() -> None:
    async with later("taken") as at:
        box = at.rig.machine.boxes["web"]
        at.turn("web", status=500)
        await at.go(120)
        assert at.effects() == [] and await at.kinds() == ["watch_alarm"]
        at.turn("web", status=200)
        await at.go(120)
        at.stopped("web")
        await at.go(5)
        assert box.running and at.effects() == ["start web"]


@dataclass
class Meddled:
    """A proxy; while it is told of the site, somebody else does something."""

    proxy: Proxy
    meddle: Callable[[], Awaitable[object]]

    def __getattr__(self, name: str) -> Any:
        return getattr(self.proxy, name)

    async def put_site(self, site: Site) -> bool:
        await self.meddle()
        return await self.proxy.put_site(site)


async def test_variables_that_somebody_writes_meanwhile_count() -> None:
    async with begin("promised") as rig:
        other = rig.boot()

        async def meddle() -> None:
            await other.ok("env_set", **SHOP, values={"A": "1"})

        process = rig.boot(lambda kit: replace(kit, proxy=cast(Proxy, Meddled(kit.proxy, meddle))))
        done = await process.ok("project_adopt", **WEB, keepEnv=True)
        assert done["envVersion"] is None
        assert any("meanwhile" in each for each in done["warnings"])
        assert SECRET not in str(await other.ok("env_get", **SHOP, reveal=True))
