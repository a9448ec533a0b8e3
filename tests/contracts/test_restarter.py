"""One suite for every `Restarter`: another life of the same container."""

import os
import signal
from collections.abc import AsyncIterator
from typing import cast

import pytest

from codeb.contracts.runtime import Restarter
from codeb.drivers.runtime.memory_machine import Machine
from codeb.errors import Conflict, NotFound, Unavailable
from codeb.model.specs import Unit
from tests.contracts.runtime_rig import DockerRig, MemoryRig, Rig, free_port, open_rig, spec_for, until

pytestmark = pytest.mark.anyio

DRIVERS = ["memory", pytest.param("docker", marks=pytest.mark.docker)]


@pytest.fixture(params=DRIVERS)
async def rig(request: pytest.FixtureRequest) -> AsyncIterator[Rig]:
    async with open_rig(request.param) as opened:
        yield opened


def restarter(rig: Rig) -> Restarter:
    return rig.runtime


async def seen(rig: Rig, name: str) -> Unit:
    unit = await rig.runtime.look(name)
    assert unit is not None
    return unit


async def kill(rig: Rig, name: str) -> None:
    """Its process ends by a signal from outside, as `kill -9` on the machine."""
    if isinstance(rig, DockerRig):
        await rig.client.call("POST", f"containers/{name}/kill")
    else:
        machine: Machine = cast(MemoryRig, rig).machine
        machine.stop(machine.boxes[name], 0)


async def test_a_running_one_gets_another_life_as_the_same_container(rig: Rig) -> None:
    spec = await spec_for(rig)
    before = await rig.runtime.run(spec)
    await rig.runtime.keep(spec.name)
    await restarter(rig).restart(spec.name, 5)
    after = await seen(rig, spec.name)
    assert after.running
    assert (after.id, after.deployment_id, after.published) == (before.id, before.deployment_id, before.published)
    assert before.started
    assert after.started not in ("", before.started)
    assert not after.restarting

    async def greeted() -> bool:
        texts = [line.text for line in await rig.logs.tail(spec.name, 100)]
        return "bye" in texts and texts.count("hello") == 2

    await until("it was stopped gracefully and greets again", greeted)


async def test_a_stopped_one_is_started(rig: Rig) -> None:
    spec = await spec_for(rig)
    before = await rig.runtime.run(spec)
    await kill(rig, spec.name)

    async def down() -> bool:
        return not (await seen(rig, spec.name)).running

    await until("it is down", down)
    for _ in range(2):
        await restarter(rig).restart(spec.name, 5)
        assert (await seen(rig, spec.name)).running
    assert (await seen(rig, spec.name)).id == before.id


async def test_one_that_was_never_started_has_no_life(rig: Rig) -> None:
    if isinstance(rig, DockerRig):
        await rig.foreign(f"{rig.project}-idle", free_port(), False)
        assert (await seen(rig, f"{rig.project}-idle")).started == ""


async def test_one_that_is_deaf_is_killed_after_its_time(rig: Rig) -> None:
    spec = await spec_for(rig, "stubborn")
    before = await rig.runtime.run(spec)
    await restarter(rig).restart(spec.name, 1)
    after = await seen(rig, spec.name)
    assert after.running
    assert after.started != before.started


async def test_what_is_not_there_or_not_ours_is_refused(rig: Rig) -> None:
    with pytest.raises(NotFound) as gone:
        await restarter(rig).restart(f"{rig.project}-production-blue", 1)
    assert gone.value.code == "container_not_found"
    foreign = await rig.foreign(f"{rig.project}-stranger", free_port(), False)
    with pytest.raises(Conflict) as taken:
        await restarter(rig).restart(f"{rig.project}-stranger", 1)
    assert taken.value.code == "name_taken"
    still = await seen(rig, f"{rig.project}-stranger")
    assert (still.id, still.running) == (foreign, False)


async def test_a_port_that_was_taken_meanwhile_is_named(rig: Rig) -> None:
    spec = await spec_for(rig)
    await rig.runtime.run(spec)
    await kill(rig, spec.name)

    async def down() -> bool:
        return not (await seen(rig, spec.name)).running

    await until("it is down", down)
    await rig.occupy(spec.host_port)
    with pytest.raises(Conflict) as refused:
        await restarter(rig).restart(spec.name, 1)
    assert refused.value.code == "port_taken"


async def test_a_runtime_that_is_away_is_told(rig: Rig) -> None:
    with pytest.raises(Unavailable):
        await rig.unreachable().restart("codebtest-production-blue", 1)


@pytest.mark.docker
async def test_what_dies_under_a_policy_has_another_life_and_a_count() -> None:
    """What the watch counts deaths by, as Docker itself tells it."""
    async with DockerRig() as rig:
        spec = await spec_for(rig)
        first = await rig.runtime.run(spec)
        await rig.runtime.keep(spec.name)
        for number in (1, 2):
            pid = (await rig.inspect(spec.name))["State"]["Pid"]
            os.kill(pid, signal.SIGKILL)

            async def again(number: int = number) -> bool:
                unit = await seen(rig, spec.name)
                return unit.running and unit.restarts == number

            await until(f"it was restarted {number} times", again)
        after = await seen(rig, spec.name)
        assert after.id == first.id
        assert after.started != first.started
