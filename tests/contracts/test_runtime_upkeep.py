"""P15: what puts right what somebody did to containers by hand, one suite for every runtime."""

from collections.abc import AsyncIterator

import pytest

from codeb.contracts.runtime import Upkeep
from codeb.drivers.runtime.docker_client import DockerClient
from codeb.drivers.runtime.docker_upkeep import DockerUpkeep
from codeb.drivers.runtime.memory import MemoryRuntime
from codeb.errors import Conflict, Unavailable
from codeb.model import names
from tests.contracts.runtime_rig import DockerRig, Rig, free_port, open_rig, spec_for

pytestmark = pytest.mark.anyio

DRIVERS = ["memory", pytest.param("docker", marks=pytest.mark.docker)]


@pytest.fixture(params=DRIVERS)
async def rig(request: pytest.FixtureRequest) -> AsyncIterator[Rig]:
    async with open_rig(request.param) as opened:
        yield opened


def upkeep(rig: Rig) -> Upkeep:
    if isinstance(rig, DockerRig):
        return DockerUpkeep(rig.client, rig.instance)
    assert isinstance(rig.runtime, MemoryRuntime)
    return rig.runtime


async def test_a_name_is_given_back_while_it_runs(rig: Rig) -> None:
    spec = await spec_for(rig)
    unit = await rig.runtime.run(spec)
    hand, mine = f"{rig.project}-by-hand", upkeep(rig)
    await mine.name_back(spec.name, hand)
    assert await rig.runtime.look(spec.name) is None
    for _ in range(2):
        await mine.name_back(hand, spec.name)
    back = await rig.runtime.look(spec.name)
    assert back is not None
    assert (back.id, back.running, back.address) == (unit.id, True, unit.address)


async def test_a_name_that_somebody_has_is_not_taken_and_a_stranger_not_renamed(rig: Rig) -> None:
    spec, mine = await spec_for(rig), upkeep(rig)
    await rig.runtime.run(spec)
    stranger = f"{rig.project}-stranger"
    await rig.foreign(stranger, free_port(), False)
    for found, name in ((spec.name, stranger), (stranger, f"{rig.project}-other")):
        with pytest.raises(Conflict) as refused:
            await mine.name_back(found, name)
        assert refused.value.code == "name_taken"
    assert await rig.runtime.look(stranger) is not None


async def test_networks_are_those_of_this_installation(rig: Rig) -> None:
    mine = upkeep(rig)
    assert await mine.networks() == []
    spec = await spec_for(rig)
    await rig.runtime.run(spec)
    assert list(await mine.networks()) == [names.network(rig.project)]
    await rig.runtime.remove(spec.name, 1)
    await rig.runtime.remove_network(rig.project)
    assert await mine.networks() == []


async def test_nobody_at_the_other_end_is_unavailable(rig: Rig) -> None:
    away = rig.unreachable()
    mine = away if isinstance(away, MemoryRuntime) else DockerUpkeep(DockerClient("unix:///nowhere/codebtest.sock"), "x")
    for verb in (mine.networks(), mine.name_back("a", "b")):
        with pytest.raises(Unavailable):
            await verb
