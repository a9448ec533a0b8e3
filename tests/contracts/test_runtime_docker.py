"""What only a real Docker can show: the hardening seen from outside and inside, restart policies, images and faults.

Shows S19, S20.
"""

import asyncio
import contextlib
import hashlib
import socket
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from codeb.drivers.runtime.docker import DockerRuntime
from codeb.drivers.runtime.docker_client import DockerClient, Refused
from codeb.errors import Conflict, InternalFault, Unavailable
from codeb.model import names
from tests.contracts.runtime_rig import DockerRig, spec_for, until

pytestmark = [pytest.mark.anyio, pytest.mark.docker]


@pytest.fixture
async def rig() -> AsyncIterator[DockerRig]:
    async with DockerRig() as opened:
        yield opened


async def output(rig: DockerRig, name: str, last: str) -> list[str]:
    async def look() -> list[str]:
        lines = [line.text for line in await rig.logs.tail(name, 500)]
        return lines if any(last in line for line in lines) else []

    found: list[str] = await until(f"{name} prints {last}", look)
    return found


# --- hardening ---------------------------------------------------------------------------------------------------


async def test_a_container_is_hardened_as_docker_sees_it(rig: DockerRig) -> None:
    spec = await spec_for(rig)
    await rig.runtime.run(spec)
    seen = await rig.inspect(spec.name)
    host: dict[str, Any] = seen["HostConfig"]
    assert not host["Privileged"]
    assert host["NetworkMode"] == names.network(rig.project)
    assert list(seen["NetworkSettings"]["Networks"]) == [names.network(rig.project)]
    assert not host["Binds"]
    assert not seen["Mounts"]
    assert not host["Devices"]
    assert host["PidMode"] == ""
    assert host["IpcMode"] == "private"
    assert host["CapDrop"] == ["ALL"]
    assert sorted(host["CapAdd"]) == sorted(spec.limits.capabilities)
    assert host["SecurityOpt"] == ["no-new-privileges"]
    assert (host["Memory"], host["NanoCpus"], host["PidsLimit"]) == (512 * 1024 * 1024, 1_000_000_000, 256)
    assert host["RestartPolicy"]["Name"] == "no"
    assert host["LogConfig"] == {"Type": "json-file", "Config": {"max-size": "10m", "max-file": "3"}}
    assert host["Init"] is True
    assert seen["Config"]["StopTimeout"] == spec.limits.stop_seconds
    bound = [each["HostIp"] for ports in seen["NetworkSettings"]["Ports"].values() for each in ports or ()]
    assert bound == ["127.0.0.1"]


async def test_a_container_is_hardened_as_it_sees_itself(rig: DockerRig) -> None:
    mark = "quote ' double \" hash # equals = newline\nspace end "
    spec = await spec_for(rig, "facts", env=(("MARK", mark), ("EMPTY", "")))
    await rig.runtime.run(spec)
    lines = await output(rig, spec.name, " /tmp ")
    status = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
    assert status["NoNewPrivs"] == "1"
    assert status["Seccomp"] == "2"
    # CHOWN 0, KILL 5, SETGID 6, SETUID 7, NET_BIND_SERVICE 10, and no other.
    assert int(status["CapBnd"], 16) == sum(1 << bit for bit in (0, 5, 6, 7, 10))
    assert "ran-from-tmp" not in lines
    assert "tmp=126" in lines
    tmp = next(line.split()[3].split(",") for line in lines if " /tmp tmpfs " in line)
    assert {"noexec", "nosuid", "nodev"} <= set(tmp)
    assert f"{hashlib.sha256(mark.encode()).hexdigest()}  -" in lines


async def test_a_published_port_answers_on_loopback_and_nowhere_else(rig: DockerRig) -> None:
    spec = await spec_for(rig, "web")
    unit = await rig.runtime.run(spec)

    async def answers(host: str, port: int) -> bool:
        with contextlib.suppress(OSError):
            async with asyncio.timeout(2):
                reader, writer = await asyncio.open_connection(host, port)
                writer.write(b"GET / HTTP/1.0\r\n\r\n")
                first = await reader.readline()
                writer.close()
                return b"200" in first
        return False

    await until("the published port answers", lambda: answers("127.0.0.1", spec.host_port))
    assert unit.address is not None
    await until("its own address answers", lambda: answers(unit.address or "", 3000))
    gateway = (await rig.inspect(spec.name))["NetworkSettings"]["Networks"][spec.network]["Gateway"]
    assert not await answers(gateway, spec.host_port)
    assert not await answers("::1", spec.host_port)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as outward:
        outward.connect(("192.0.2.1", 9))
        own = outward.getsockname()[0]
    assert not await answers(own, spec.host_port)


async def test_labels_name_the_deployment_and_hold_no_secret(rig: DockerRig) -> None:
    spec = await spec_for(rig, env=(("TOKEN", "canary-9f3a"),))
    await rig.runtime.run(spec)
    seen = await rig.inspect(spec.name)
    assert {key: value for key, value in seen["Config"]["Labels"].items() if key.startswith("codeb.")} == {
        "codeb.managed": "true",
        "codeb.instance": rig.instance,
        "codeb.project": rig.project,
        "codeb.environment": "production",
        "codeb.slot": "blue",
        "codeb.deployment": "dep_1",
        "codeb.operation": "op_dep_1",
        "codeb.version": "1.4.2",
    }
    assert "canary-9f3a" in " ".join(seen["Config"]["Env"])


async def test_each_project_has_a_network_of_its_own(rig: DockerRig) -> None:
    async with DockerRig() as second:
        one = await rig.runtime.run(await spec_for(rig))
        two = await second.runtime.run(await spec_for(second))
        first = await rig.client.call("GET", f"networks/{names.network(rig.project)}")
        other = await rig.client.call("GET", f"networks/{names.network(second.project)}")
        assert first["Labels"]["codeb.instance"] == rig.instance
        assert first["Id"] != other["Id"]
        assert list(first["Containers"]) == [one.id]
        assert list(other["Containers"]) == [two.id]


async def test_an_unsafe_spec_never_reaches_docker(rig: DockerRig) -> None:
    spec = await spec_for(rig)
    risky = replace(spec, limits=replace(spec.limits, capabilities=("SYS_ADMIN",)))
    with pytest.raises(InternalFault, match="capability outside"):
        await rig.runtime.run(risky)
    assert await rig.runtime.look(spec.name) is None


# --- restart policies --------------------------------------------------------------------------------------------


async def policy(rig: DockerRig, name: str) -> str:
    return str((await rig.inspect(name))["HostConfig"]["RestartPolicy"]["Name"])


async def test_only_a_kept_container_is_restarted_and_a_shelved_one_is_not(rig: DockerRig) -> None:
    spec = await spec_for(rig)
    await rig.runtime.run(spec)
    assert await policy(rig, spec.name) == "no"
    await rig.runtime.keep(spec.name)
    await rig.runtime.keep(spec.name)
    assert await policy(rig, spec.name) == "unless-stopped"
    limits = (await rig.inspect(spec.name))["HostConfig"]
    assert (limits["Memory"], limits["PidsLimit"]) == (512 * 1024 * 1024, 256)
    await rig.runtime.shelve(spec.name, 5)
    assert await policy(rig, names.kept(spec.name)) == "no"
    await rig.runtime.unshelve(spec.name, True)
    assert await policy(rig, spec.name) == "unless-stopped"


async def test_a_kept_container_that_dies_comes_back(rig: DockerRig) -> None:
    spec = await spec_for(rig, "exits")
    await rig.runtime.run(spec)
    await rig.runtime.keep(spec.name)
    await rig.client.call("POST", f"containers/{spec.name}/start")

    async def restarted() -> bool:
        unit = await rig.runtime.look(spec.name)
        return unit is not None and unit.restarts >= 1

    await until("a restart", restarted)
    await rig.runtime.remove(spec.name, 1)
    assert await rig.runtime.look(spec.name) is None


class Stumbling(DockerClient):
    """Refuses the first updates as an engine does that has not yet noticed that a process ended."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self.left = times

    async def call(self, method: str, path: str, **rest: Any) -> Any:
        if path.endswith("/update") and self.left:
            self.left -= 1
            raise Refused(500, "Cannot update container 1: cannot update a stopped container: unknown")
        return await super().call(method, path, **rest)


async def test_a_restart_policy_refused_while_a_process_ends_is_set_once_it_ended(rig: DockerRig) -> None:
    spec = await spec_for(rig)
    await rig.runtime.run(spec)
    client = Stumbling(2)
    await DockerRuntime(client, rig.instance).keep(spec.name)
    await client.close()
    assert client.left == 0
    assert await policy(rig, spec.name) == "unless-stopped"


async def test_a_network_removed_behind_our_back_is_made_again(rig: DockerRig) -> None:
    spec = await spec_for(rig)
    await rig.runtime.run(spec)
    await rig.runtime.remove(spec.name, 5)
    await rig.client.call("DELETE", f"networks/{spec.network}")
    assert (await rig.runtime.run(spec)).running


async def test_a_foreign_network_of_that_name_is_not_used(rig: DockerRig) -> None:
    spec = await spec_for(rig)
    await rig.client.call("POST", "networks/create", body={"Name": spec.network, "Driver": "bridge"})
    with pytest.raises(Conflict, match="network named") as refused:
        await rig.runtime.run(spec)
    assert refused.value.code == "name_taken"
    await rig.runtime.remove_network(rig.project)
    assert (await rig.client.call("GET", f"networks/{spec.network}"))["Labels"] == {}


# --- an engine that misbehaves -----------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def engine(folder: Path, answer: bytes) -> AsyncIterator[str]:
    """Something on a socket that gives every request the same bytes and hangs up."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()
        writer.close()

    path = folder / "engine.sock"
    server = await asyncio.start_unix_server(serve, path)
    async with server:
        yield f"unix://{path}"


def http(body: str, length: int | None = None, status: str = "200 OK") -> bytes:
    size = len(body) if length is None else length
    return f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {size}\r\n\r\n{body}".encode()


OLD = '{"Version": "1.13", "ApiVersion": "1.25", "MinAPIVersion": "1.12"}'
NEW = '{"Version": "99", "ApiVersion": "1.90", "MinAPIVersion": "1.80"}'


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (b"", "docker_unavailable"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "docker_unavailable"),
        (http("{}", length=500), "docker_unavailable"),
        (http("<html>"), "docker_unavailable"),
        (http(OLD), "docker_version"),
        (http(NEW), "docker_version"),
    ],
)
async def test_an_engine_that_answers_rubbish_is_unavailable(tmp_path: Path, answer: bytes, code: str) -> None:
    async with engine(tmp_path, answer) as url:
        runtime = DockerRuntime(DockerClient(url), "codebtest")
        with pytest.raises(Unavailable) as away:
            await runtime.units()
        assert away.value.code == code
        assert (await runtime.check()).status == "fail"
        await runtime.close()
