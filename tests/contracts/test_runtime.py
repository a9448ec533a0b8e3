"""One suite for every runtime: containers, networks, logs, ports and images keep the same promises on each."""

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from codeb.errors import Conflict, NotFound
from codeb.model import names
from codeb.model.specs import Health, UnitSpec
from tests.contracts.runtime_rig import CrashedHere, Rig, free_port, open_rig, spec_for, until

pytestmark = pytest.mark.anyio

DRIVERS = ["memory", pytest.param("docker", marks=pytest.mark.docker)]


@pytest.fixture(params=DRIVERS)
async def rig(request: pytest.FixtureRequest) -> AsyncIterator[Rig]:
    async with open_rig(request.param) as opened:
        yield opened


async def texts(rig: Rig, name: str) -> list[str]:
    return [line.text for line in await rig.logs.tail(name, 100)]


async def said(rig: Rig, name: str, text: str) -> None:
    async def look() -> bool:
        return text in await texts(rig, name)

    await until(f"{name} says {text}", look)


# --- run ---------------------------------------------------------------------------------------------------------


async def test_run_gives_a_running_container_with_its_facts(rig: Rig) -> None:
    spec = await spec_for(rig)
    unit = await rig.runtime.run(spec)
    assert unit.running
    assert (unit.name, unit.image_id, unit.exit_code, unit.restarts) == (spec.name, spec.image_id, None, 0)
    assert (unit.project, unit.environment, unit.slot) == (spec.project, "production", "blue")
    assert (unit.deployment_id, unit.operation_id, unit.version) == ("dep_1", "op_dep_1", "1.4.2")
    assert unit.published == (("127.0.0.1", spec.host_port),)
    assert unit.address is not None
    assert await rig.runtime.look(spec.name) == unit


async def test_run_again_keeps_the_running_one(rig: Rig) -> None:
    spec = await spec_for(rig)
    first = await rig.runtime.run(spec)
    assert (await rig.runtime.run(spec)).id == first.id


async def test_run_replaces_the_ended_one_of_its_own_deployment(rig: Rig) -> None:
    spec = await spec_for(rig, "exits")
    first = await rig.runtime.run(spec)

    async def ended() -> bool:
        unit = await rig.runtime.look(spec.name)
        return unit is not None and not unit.running

    await until("the container ends", ended)
    second = await rig.runtime.run(replace(spec, image_id=await rig.image("steady")))
    assert second.running
    assert second.id != first.id


async def test_run_leaves_another_deployments_container_alone(rig: Rig) -> None:
    spec = await spec_for(rig)
    first = await rig.runtime.run(spec)
    with pytest.raises(Conflict) as refused:
        await rig.runtime.run(await spec_for(rig, deployment="dep_2"))
    assert refused.value.code == "name_taken"
    still = await rig.runtime.look(spec.name)
    assert still is not None
    assert (still.id, still.running) == (first.id, True)


@pytest.mark.parametrize("after", [1, 2, 3])
async def test_run_ends_the_same_after_a_crash(rig: Rig, after: int) -> None:
    """The network, the container, the start: a crash after each, then again."""
    spec = await spec_for(rig)
    with pytest.raises(CrashedHere):
        await rig.crashing(after).run(spec)
    unit = await rig.runtime.run(spec)
    assert unit.running
    assert [each.id for each in await rig.runtime.units()] == [unit.id]


async def test_run_refuses_a_port_in_use_and_leaves_nothing(rig: Rig) -> None:
    spec = await spec_for(rig)
    await rig.occupy(spec.host_port)
    with pytest.raises(Conflict) as refused:
        await rig.runtime.run(spec)
    assert refused.value.code == "port_taken"
    assert await rig.runtime.look(spec.name) is None


async def test_run_refuses_a_port_another_container_has(rig: Rig) -> None:
    spec = await spec_for(rig)
    await rig.foreign(f"{rig.project}-stranger", spec.host_port, True)
    with pytest.raises(Conflict) as refused:
        await rig.runtime.run(spec)
    assert refused.value.code == "port_taken"
    assert await rig.runtime.look(spec.name) is None


async def test_run_without_the_image_starts_nothing(rig: Rig) -> None:
    spec = await spec_for(rig, image_id="sha256:" + "0" * 64)
    with pytest.raises(NotFound) as refused:
        await rig.runtime.run(spec)
    assert refused.value.code == "image_not_found"
    assert await rig.runtime.look(spec.name) is None


async def test_a_container_the_runtime_refuses_to_start_is_not_left_behind(rig: Rig) -> None:
    spec = await spec_for(rig, "broken")
    with pytest.raises(Conflict) as refused:
        await rig.runtime.run(spec)
    assert refused.value.code == "start_refused"
    assert await rig.runtime.look(spec.name) is None


async def test_a_command_that_is_not_in_the_image_ends_with_127_and_says_so(rig: Rig) -> None:
    spec = await spec_for(rig, "lost")
    await rig.runtime.run(spec)

    async def ended() -> bool:
        unit = await rig.runtime.look(spec.name)
        return unit is not None and unit.exit_code == 127

    await until("exit code 127", ended)
    assert "there-is-no-such-program" in " ".join(await texts(rig, spec.name))


async def test_a_container_that_ends_shows_its_code_and_its_last_words(rig: Rig) -> None:
    spec = await spec_for(rig, "exits")
    await rig.runtime.run(spec)

    async def ended() -> bool:
        unit = await rig.runtime.look(spec.name)
        return unit is not None and unit.exit_code == 3 and not unit.running

    await until("exit code 3", ended)
    assert await texts(rig, spec.name) == ["leaving"]


@pytest.mark.parametrize(("kind", "end"), [("well", Health.HEALTHY), ("sick", Health.UNHEALTHY)])
async def test_the_images_own_health_check_is_reported(rig: Rig, kind: str, end: Health) -> None:
    spec = await spec_for(rig, kind)
    assert (await rig.runtime.run(spec)).health is Health.STARTING

    async def settled() -> bool:
        unit = await rig.runtime.look(spec.name)
        return unit is not None and unit.health is end

    await until(f"health {end}", settled)


# --- foreign containers ------------------------------------------------------------------------------------------


async def test_a_foreign_container_is_seen_but_never_touched(rig: Rig) -> None:
    spec = await spec_for(rig)
    foreign = await rig.foreign(spec.name, free_port(), True)
    for verb in (
        rig.runtime.run(spec),
        rig.runtime.keep(spec.name),
        rig.runtime.shelve(spec.name, 1),
        rig.runtime.remove(spec.name, 1),
    ):
        with pytest.raises(Conflict) as refused:
            await verb
        assert refused.value.code == "name_taken"
    unit = await rig.runtime.look(spec.name)
    assert unit is not None
    assert (unit.id, unit.running, unit.project, unit.deployment_id) == (foreign, True, "", "")
    assert await rig.runtime.units() == []
    assert await rig.logs.tail(spec.name, 10) == []


async def test_two_installations_do_not_see_each_other(rig: Rig) -> None:
    spec = await spec_for(rig)
    unit = await rig.runtime.run(spec)
    other = rig.other_instance()
    assert await other.units() == []
    with pytest.raises(Conflict):
        await other.remove(spec.name, 1)
    with pytest.raises(Conflict):
        await other.run(spec)
    assert [each.id for each in await rig.runtime.units()] == [unit.id]


async def test_a_foreign_container_under_the_kept_name_is_left_alone(rig: Rig) -> None:
    spec = await spec_for(rig)
    unit = await rig.runtime.run(spec)
    await rig.foreign(names.kept(spec.name), free_port(), False)
    for verb in (rig.runtime.shelve(spec.name, 1), rig.runtime.unshelve(spec.name, True)):
        with pytest.raises(Conflict) as refused:
            await verb
        assert refused.value.code == "name_taken"
    still = await rig.runtime.look(spec.name)
    assert still is not None
    assert (still.id, still.running) == (unit.id, True)


# --- remove and stop ---------------------------------------------------------------------------------------------


async def test_remove_is_graceful_and_repeatable(rig: Rig) -> None:
    spec = await spec_for(rig)
    await rig.runtime.run(spec)
    await rig.runtime.remove(spec.name, 5)
    await rig.runtime.remove(spec.name, 5)
    assert await rig.runtime.look(spec.name) is None
    assert await rig.runtime.units() == []


@pytest.mark.parametrize("after", [1, 2])
async def test_remove_ends_the_same_after_a_crash(rig: Rig, after: int) -> None:
    spec = await spec_for(rig)
    await rig.runtime.run(spec)
    with pytest.raises(CrashedHere):
        await rig.crashing(after).remove(spec.name, 5)
    await rig.runtime.remove(spec.name, 5)
    assert await rig.runtime.look(spec.name) is None


async def test_a_container_deaf_to_sigterm_is_killed_after_its_time(rig: Rig) -> None:
    spec = await spec_for(rig, "stubborn")
    await rig.runtime.run(spec)
    await said(rig, spec.name, "deaf")
    await rig.runtime.shelve(spec.name, 1)
    unit = await rig.runtime.look(names.kept(spec.name))
    assert unit is not None
    assert (unit.running, unit.exit_code) == (False, 137)


# --- shelve and unshelve -----------------------------------------------------------------------------------------


async def shelved(rig: Rig, name: str) -> tuple[str | None, bool]:
    unit = await rig.runtime.look(names.kept(name))
    return (unit.id, unit.running) if unit else (None, False)


async def standing(rig: Rig, name: str) -> tuple[str | None, bool]:
    unit = await rig.runtime.look(name)
    return (unit.id, unit.running) if unit else (None, False)


async def test_shelve_stops_with_sigterm_and_sets_aside(rig: Rig) -> None:
    spec = await spec_for(rig)
    unit = await rig.runtime.run(spec)
    await said(rig, spec.name, "hello")
    await rig.runtime.shelve(spec.name, 5)
    await rig.runtime.shelve(spec.name, 5)
    assert await standing(rig, spec.name) == (None, False)
    assert await shelved(rig, spec.name) == (unit.id, False)
    assert "bye" in await texts(rig, names.kept(spec.name))


async def test_shelve_and_unshelve_of_nothing_do_nothing(rig: Rig) -> None:
    spec = await spec_for(rig)
    await rig.runtime.shelve(spec.name, 1)
    await rig.runtime.unshelve(spec.name, True)
    assert await rig.runtime.units() == []
    unit = await rig.runtime.run(spec)
    await rig.runtime.unshelve(spec.name, True)
    assert await standing(rig, spec.name) == (unit.id, True)


async def test_shelve_gives_up_what_an_earlier_life_left_aside(rig: Rig) -> None:
    spec = await spec_for(rig)
    await rig.runtime.run(spec)
    await rig.runtime.shelve(spec.name, 5)
    second = await rig.runtime.run(await spec_for(rig, deployment="dep_2"))
    await rig.runtime.shelve(spec.name, 5)
    assert await shelved(rig, spec.name) == (second.id, False)
    assert [each.id for each in await rig.runtime.units()] == [second.id]


@pytest.mark.parametrize("after", [1, 2, 3])
async def test_shelve_ends_the_same_after_a_crash(rig: Rig, after: int) -> None:
    spec = await spec_for(rig)
    unit = await rig.runtime.run(spec)
    await rig.runtime.keep(spec.name)
    with pytest.raises(CrashedHere):
        await rig.crashing(after).shelve(spec.name, 5)
    await rig.runtime.shelve(spec.name, 5)
    assert await standing(rig, spec.name) == (None, False)
    assert await shelved(rig, spec.name) == (unit.id, False)


@pytest.mark.parametrize("after", [1, 2, 3])
async def test_a_crashed_shelve_can_be_undone(rig: Rig, after: int) -> None:
    spec = await spec_for(rig)
    unit = await rig.runtime.run(spec)
    with pytest.raises(CrashedHere):
        await rig.crashing(after).shelve(spec.name, 5)
    await rig.runtime.unshelve(spec.name, True)
    assert await standing(rig, spec.name) == (unit.id, True)
    assert await shelved(rig, spec.name) == (None, False)


async def with_successor(rig: Rig) -> tuple[UnitSpec, str]:
    """A container set aside and the one that took its place, on the same port."""
    spec = await spec_for(rig)
    unit = await rig.runtime.run(spec)
    await rig.runtime.shelve(spec.name, 5)
    await rig.runtime.run(await spec_for(rig, deployment="dep_2", host_port=spec.host_port))
    return spec, unit.id


async def test_unshelve_takes_the_place_of_the_successor(rig: Rig) -> None:
    spec, old = await with_successor(rig)
    await rig.runtime.unshelve(spec.name, True)
    await rig.runtime.unshelve(spec.name, True)
    assert await standing(rig, spec.name) == (old, True)
    assert [each.id for each in await rig.runtime.units()] == [old]


@pytest.mark.parametrize("after", [1, 2, 3, 4, 5])
async def test_unshelve_ends_the_same_after_a_crash(rig: Rig, after: int) -> None:
    """Stop and remove the successor, start, restart policy, rename: a crash after each, then again."""
    spec, old = await with_successor(rig)
    with pytest.raises(CrashedHere):
        await rig.crashing(after).unshelve(spec.name, True)
    await rig.runtime.unshelve(spec.name, True)
    assert await standing(rig, spec.name) == (old, True)
    assert [each.id for each in await rig.runtime.units()] == [old]


async def test_unshelve_without_start_leaves_it_stopped(rig: Rig) -> None:
    spec, old = await with_successor(rig)
    await rig.runtime.unshelve(spec.name, False)
    assert await standing(rig, spec.name) == (old, False)


async def test_unshelve_with_its_port_taken_keeps_it_aside(rig: Rig) -> None:
    spec = await spec_for(rig)
    unit = await rig.runtime.run(spec)
    await rig.runtime.shelve(spec.name, 5)
    await rig.occupy(spec.host_port)
    with pytest.raises(Conflict) as refused:
        await rig.runtime.unshelve(spec.name, True)
    assert refused.value.code == "port_taken"
    assert await shelved(rig, spec.name) == (unit.id, False)


async def test_keep_of_nothing_says_so(rig: Rig) -> None:
    with pytest.raises(NotFound) as refused:
        await rig.runtime.keep(f"{rig.project}-production-blue")
    assert refused.value.code == "container_not_found"
