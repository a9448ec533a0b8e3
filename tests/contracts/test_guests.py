"""Containers that CodeB did not make: one suite for every runtime, and what a Docker Engine says of one."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from codeb.contracts.guests import Guests
from codeb.drivers.runtime.docker_guests import DockerGuests, guest_of
from codeb.drivers.runtime.memory_guests import MemoryGuests
from codeb.errors import Conflict, NotFound
from codeb.model.guests import Binding
from codeb.model.specs import Limits
from tests.contracts.runtime_rig import DockerRig, MemoryRig, free_port, open_rig, until

pytestmark = pytest.mark.anyio

DRIVERS = ["memory", pytest.param("docker", marks=pytest.mark.docker)]


@pytest.fixture(params=DRIVERS)
async def rig(request: pytest.FixtureRequest) -> AsyncIterator[MemoryRig | DockerRig]:
    async with open_rig(request.param) as opened:
        yield opened


def guests(rig: MemoryRig | DockerRig) -> Guests:
    return DockerGuests(rig.client, rig.instance) if isinstance(rig, DockerRig) else MemoryGuests(rig.machine, "mine")


async def test_one_is_found_by_its_name_and_by_the_beginning_of_its_id(rig: MemoryRig | DockerRig) -> None:
    name, port = f"{rig.project}-web", free_port()
    made, mine = await rig.foreign(name, port, True), guests(rig)
    for reference in (name, made, made[:12]):
        found = await mine.find(reference)
        assert found is not None
        assert (found.id, found.name, found.running, found.ours, found.managed) == (made, name, True, False, False)
        assert [each.port for each in found.bindings] == [port]
    for reference in (name[:-1], made[:11], f"{rig.project}-not"):
        assert await mine.find(reference) is None
    unit = await mine.unit(made)
    assert unit is not None
    assert (unit.id, unit.name, unit.running, unit.deployment_id) == (made, name, True, "")
    assert unit.address and port in [each for _, each in unit.published]
    assert await mine.unit(made[:12]) is None, "acted on is a whole id only"
    assert await mine.unit(name) is None


async def test_it_is_stopped_started_renamed_and_removed_by_its_id_again_and_again(rig: MemoryRig | DockerRig) -> None:
    name = f"{rig.project}-web"
    made, mine = await rig.foreign(name, free_port(), True), guests(rig)
    for _ in range(2):
        await mine.stop(made, 3)
    unit = await mine.unit(made)
    assert unit is not None and not unit.running
    for _ in range(2):
        await mine.start(made)
    for _ in range(2):
        await mine.rename(made, f"{name}-2")
    unit = await mine.unit(made)
    assert unit is not None and (unit.running, unit.name) == (True, f"{name}-2")
    other = await rig.foreign(name, free_port(), False)
    with pytest.raises(Conflict) as refused:
        await mine.rename(made, name)
    assert refused.value.code == "name_taken"
    for _ in range(2):
        await mine.remove(made, 3)
        for act in (mine.stop(made, 1), mine.start(made), mine.rename(made, "x"), mine.remove(made, 1)):
            await act
    assert await mine.unit(made) is None and await mine.unit(other) is not None
    assert await mine.tail(made, 10) == []


async def test_a_port_that_somebody_took_meanwhile_is_told(rig: MemoryRig | DockerRig) -> None:
    name, port = f"{rig.project}-web", free_port()
    made, mine = await rig.foreign(name, port, False), guests(rig)
    await rig.occupy(port)
    with pytest.raises(Conflict) as refused:
        await mine.start(made)
    assert refused.value.code == "port_taken"


# Docker


@pytest.fixture
async def docker() -> AsyncIterator[DockerRig]:
    async with open_rig("docker") as opened:
        assert isinstance(opened, DockerRig)
        yield opened


async def by_hand(rig: DockerRig, name: str, **more: Any) -> str:
    """As somebody's `docker run` makes it."""
    host = {"PortBindings": {"3000/tcp": [{"HostIp": "127.0.0.1", "HostPort": str(free_port())}]}, **more.pop("HostConfig", {})}
    body = {
        "Image": await rig.image("steady"), "Labels": {"codebtest.project": rig.project}, "ExposedPorts": {"3000/tcp": {}},
        **more, "HostConfig": host,
    }  # fmt: skip
    made = await rig.client.call("POST", "containers/create", params={"name": name}, body=body)
    await rig.client.call("POST", f"containers/{made['Id']}/start")
    return str(made["Id"])


@pytest.mark.docker
async def test_everything_that_the_next_container_would_not_have_is_seen(docker: DockerRig) -> None:
    name, limits = f"{docker.project}-web", Limits()
    await by_hand(
        docker, name, Env=["WORD=secret-4711"], Cmd=["/bin/sh", "-c", "echo mine; exec sleep 60"],
        HostConfig={
            "CapAdd": ["NET_BIND_SERVICE"], "Binds": [f"{docker.project}-data:/data"], "Memory": 64 * 2**20,
            "NanoCpus": 2_000_000_000, "AutoRemove": True,
        },
    )  # fmt: skip
    try:
        found = await guests(docker).find(name)
        assert found is not None
        assert found.env_names == ("WORD",) and "secret-4711" not in repr(found)
        assert (found.memory_mb, found.cpus, found.vanishes, found.composed) == (64, 2.0, True, None)
        said = "; ".join(found.lost)
        for words in ("NET_BIND_SERVICE", f"volume {docker.project}-data at /data", "its own command"):
            assert words in said, said
        assert limits.cpus < 2
    finally:
        await docker.client.call("DELETE", f"containers/{name}", params={"force": "1"})
        await docker.client.call("DELETE", f"volumes/{docker.project}-data", params={"force": "1"})


@pytest.mark.docker
async def test_a_volume_without_a_name_outlives_its_container(docker: DockerRig) -> None:
    made, mine = await by_hand(docker, f"{docker.project}-web", Volumes={"/data": {}}), guests(docker)
    volume = next(each["Name"] for each in (await docker.inspect(made))["Mounts"])
    await mine.remove(made, 3)
    try:
        assert (await docker.client.call("GET", f"volumes/{volume}"))["Name"] == volume
    finally:
        await docker.client.call("DELETE", f"volumes/{volume}")


@pytest.mark.docker
async def test_a_stop_outlives_a_restart_of_the_engine_and_a_start_revives_the_policy(docker: DockerRig) -> None:
    name = f"{docker.project}-web"
    made = await by_hand(docker, name, HostConfig={"RestartPolicy": {"Name": "always"}})
    await guests(docker).stop(made, 3)
    assert (await docker.inspect(made))["HostConfig"]["RestartPolicy"]["Name"] == "unless-stopped"


@pytest.mark.docker
@pytest.mark.parametrize("tty", [False, True])
async def test_what_it_prints_is_read_with_a_terminal_and_without(docker: DockerRig, tty: bool) -> None:
    made, mine = await by_hand(docker, f"{docker.project}-web", Tty=tty), guests(docker)

    async def look() -> bool:
        return len(await mine.tail(made, 10)) == 2

    await until("both lines", look)
    lines = await mine.tail(made, 10)
    assert {line.text for line in lines} == {"hello", "oops"}
    assert await mine.tail(made, 10, since=lines[0].at) == lines[1:]
    assert [line.text for line in await mine.tail(made, 1)] == [lines[-1].text]


@pytest.mark.docker
async def test_logs_that_are_kept_elsewhere_are_told(docker: DockerRig) -> None:
    made = await by_hand(docker, f"{docker.project}-web", HostConfig={"LogConfig": {"Type": "none"}})
    with pytest.raises((Conflict, NotFound)) as refused:
        await guests(docker).tail(made, 10)
    assert refused.value.code == "logs_elsewhere"


def test_a_description_without_an_image_and_with_ports_of_every_kind() -> None:
    """The engine has forgotten an image that was removed by force; publishes IPv6 and UDP; belongs to compose."""
    seen = {
        "Id": "a" * 64, "Name": "/web", "Image": "sha256:" + "b" * 64,
        "State": {"Status": "running", "Running": True, "Paused": True},
        "Config": {
            "Image": "web", "Env": ["A=1", "B=x=y"],
            "Labels": {"com.docker.compose.project": "site", "codeb.managed": "true"},
        },
        "HostConfig": {"NetworkMode": "host", "PidMode": "host", "Privileged": True, "Devices": [{"PathOnHost": "/dev/kvm"}]},
        "NetworkSettings": {
            "Ports": {
                "3000/tcp": [{"HostIp": "0.0.0.0", "HostPort": "80"}, {"HostIp": "::", "HostPort": "80"}], "9/tcp": None,
                "53/udp": [{"HostIp": "", "HostPort": "53"}],
            },
            "Networks": {"site_default": {"IPAddress": "172.30.0.9"}},
        },
    }  # fmt: skip
    found = guest_of(seen, {"Id": "sha256:" + "b" * 64}, "mine")
    assert found.bindings == (Binding("0.0.0.0", 80, 3000), Binding("::", 80, 3000))
    assert (found.running, found.managed, found.composed, found.digest) == (False, True, "site", "sha256:" + "b" * 64)
    assert [(name, text.reveal()) for name, text in found.env] == [("A", "1"), ("B", "x=y")]
    assert "the network of the machine (host)" in found.lost and "the network site_default" in found.lost
    assert {"published 53/udp", "devices /dev/kvm", "all rights on the machine (privileged)"} <= set(found.lost)
