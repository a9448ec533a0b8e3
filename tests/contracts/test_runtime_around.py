"""What is read around containers, one suite for every runtime: networks, ports, logs, images, and how the runtime is."""

from collections.abc import AsyncIterator

import pytest

from codeb.errors import Conflict, InvalidParams, Unavailable
from codeb.model import names
from tests.contracts.runtime_rig import Rig, free_port, open_rig, spec_for, until

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


# --- networks, ports, logs, images -------------------------------------------------------------------------------


async def test_the_network_goes_when_nobody_is_on_it(rig: Rig) -> None:
    spec = await spec_for(rig)
    await rig.runtime.run(spec)
    with pytest.raises(Conflict) as refused:
        await rig.runtime.remove_network(rig.project)
    assert refused.value.code == "network_in_use"
    await rig.runtime.remove(spec.name, 5)
    await rig.other_instance().remove_network(rig.project)
    await rig.runtime.remove_network(rig.project)
    await rig.runtime.remove_network(rig.project)
    assert (await rig.runtime.run(spec)).running


async def test_ports_of_every_container_are_known_also_of_stopped_ones(rig: Rig) -> None:
    spec = await spec_for(rig)
    idle, busy = free_port(), free_port()
    await rig.runtime.run(spec)
    await rig.foreign(f"{rig.project}-idle", idle, False)
    await rig.foreign(f"{rig.project}-busy", busy, True)
    published = await rig.ports.published()
    assert published[spec.host_port] == spec.name
    assert published[idle] == f"{rig.project}-idle"
    assert published[busy] == f"{rig.project}-busy"
    await rig.runtime.shelve(spec.name, 5)
    assert (await rig.ports.published())[spec.host_port] == names.kept(spec.name)


async def test_listening_ports_are_those_with_a_listener(rig: Rig) -> None:
    taken, free = free_port(), free_port()
    await rig.occupy(taken)
    listening = await rig.ports.listening()
    assert taken in listening
    assert free not in listening


async def test_tail_splits_streams_and_goes_on_after_a_cursor(rig: Rig) -> None:
    spec = await spec_for(rig)
    await rig.runtime.run(spec)
    await said(rig, spec.name, "oops")
    lines = await rig.logs.tail(spec.name, 100)
    assert {(line.stream, line.text) for line in lines} == {("stdout", "hello"), ("stderr", "oops")}
    assert [line.at for line in lines] == sorted(line.at for line in lines)
    assert [line.text for line in await rig.logs.tail(spec.name, 1)] == [lines[-1].text]
    assert await rig.logs.tail(spec.name, 100, since=lines[0].at) == lines[1:]
    assert await rig.logs.tail(spec.name, 100, since=lines[-1].at) == []
    await rig.runtime.shelve(spec.name, 5)
    later = await rig.logs.tail(names.kept(spec.name), 100, since=lines[-1].at)
    assert [line.text for line in later] == ["bye"]


async def test_tail_cuts_long_lines_and_knows_no_strangers(rig: Rig) -> None:
    spec = await spec_for(rig, "long")
    await rig.runtime.run(spec)
    await said(rig, spec.name, "end")
    assert await texts(rig, spec.name) == ["x" * 16384, "end"]
    assert await rig.logs.tail(f"{spec.name}-not", 10) == []
    assert await rig.logs.tail(spec.name, 0) == []
    with pytest.raises(InvalidParams):
        await rig.logs.tail(spec.name, 10, since="yesterday")


async def test_an_image_here_is_resolved_without_an_image_registry(rig: Rig) -> None:
    plain, checked = await rig.image("steady"), await rig.image("well")
    image = await rig.images.resolve(rig.reference("steady"))
    assert (image.id, image.has_healthcheck, image.warning) == (plain, False, "")
    assert image.digest.startswith("sha256:")
    image = await rig.images.resolve(rig.reference("well"))
    assert (image.id, image.has_healthcheck) == (checked, True)


# --- the runtime itself ------------------------------------------------------------------------------------------


async def test_check_says_how_it_is(rig: Rig) -> None:
    assert (await rig.runtime.check()).status == "pass"
    finding = await rig.unreachable().check()
    assert (finding.name, finding.status) == ("docker", "fail")
    assert finding.fix


async def test_a_runtime_that_is_away_is_unavailable(rig: Rig) -> None:
    gone = rig.unreachable()
    spec = await spec_for(rig)
    for verb in (
        gone.look(spec.name), gone.units(), gone.run(spec), gone.keep(spec.name), gone.shelve(spec.name, 1),
        gone.unshelve(spec.name, True), gone.remove(spec.name, 1), gone.remove_network(rig.project),
    ):  # fmt: skip
        with pytest.raises(Unavailable) as away:
            await verb
        assert away.value.code == "docker_unavailable"
