"""What only a real Docker can show of containers of storage: hardening, deaths between two calls, secrets, who reaches whom.

Shows S7, S11, S19, S20.
"""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError
from redis.retry import Retry

from codeb.drivers.instances import form
from codeb.drivers.runtime.docker_client import DockerClient
from codeb.errors import InternalFault
from codeb.model.instances import LIMITS
from codeb.model.storage import Kind
from redis import Redis
from tests.contracts.instance_rig import HERE, WORD, Bench, bench
from tests.contracts.runtime_rig import CrashedHere
from tests.images import image_id

pytestmark = [pytest.mark.anyio, pytest.mark.docker, pytest.mark.redis]


@pytest.fixture
async def real(tmp_path: Path) -> AsyncIterator[Bench]:
    async with bench("docker", Kind.REDIS, tmp_path) as made:
        yield made


async def test_it_is_hardened_as_docker_sees_it(real: Bench) -> None:
    spec = real.spec()
    await real.run(spec)
    seen = await real.inspect(spec.name)
    host: dict[str, Any] = seen["HostConfig"]
    assert not (host["Privileged"] or host["Binds"] or host["Devices"] or host["PidMode"])
    assert host["IpcMode"] == "private"
    assert (host["CapDrop"], sorted(host["CapAdd"])) == (["ALL"], sorted(LIMITS.capabilities))
    assert host["SecurityOpt"] == ["no-new-privileges"]
    assert (host["Memory"], host["MemorySwap"], host["NanoCpus"]) == (512 * 1024 * 1024, 512 * 1024 * 1024, 1_000_000_000)
    assert (host["PidsLimit"], host["RestartPolicy"]["Name"]) == (LIMITS.pids, "unless-stopped")
    assert host["PortBindings"] == {"6379/tcp": [{"HostIp": HERE, "HostPort": str(spec.port)}]}
    assert [(each["Type"], each["Name"], each["Destination"]) for each in seen["Mounts"]] == [("volume", spec.volume, "/data")]
    assert list(seen["NetworkSettings"]["Networks"]) == [form.network_of(real.installation)]


async def test_one_that_would_be_open_to_everybody_is_not_made(real: Bench) -> None:
    with pytest.raises(InternalFault):
        await real.run(real.spec(address="0.0.0.0"))
    assert await real.left() == []


async def test_no_password_is_among_what_docker_shows_and_nobody_enters_without_one(real: Bench) -> None:
    spec = real.spec()
    await real.run(spec)
    assert await real.answers(spec)
    assert WORD.reveal() not in json.dumps(await real.inspect(spec.name))
    with pytest.raises(AuthenticationError):
        Redis(host=HERE, port=spec.port, protocol=2, retry=Retry(NoBackoff(), 0)).ping()


async def test_a_container_beside_it_does_not_reach_it(real: Bench) -> None:
    """Not even one on its own network: only its published port does."""
    spec = real.spec()
    await real.run(spec)
    assert await real.answers(spec)
    address = (await real.inspect(spec.name))["NetworkSettings"]["Networks"][form.network_of(real.installation)]["IPAddress"]
    assert real.client is not None
    assert await asked(real.client, "busybox", ["nc", "-w", "1", address, "6379"], real.installation) != 0


async def asked(client: DockerClient, name: str, command: list[str], installation: str) -> int:
    """What a container on the network of storage ends with."""
    body = {
        "Image": await image_id(client, "steady"), "Cmd": command, "Labels": {form.INSTANCE: installation},
        "HostConfig": {"NetworkMode": form.network_of(installation)},
    }  # fmt: skip
    made = (await client.call("POST", "containers/create", params={"name": f"{installation}-{name}"}, body=body))["Id"]
    await client.call("POST", f"containers/{made}/start")
    return int((await client.call("POST", f"containers/{made}/wait"))["StatusCode"])


@pytest.mark.parametrize("after", [1, 2, 3])
async def test_a_death_after_any_call_is_gone_on_from_and_taken_back(real: Bench, after: int) -> None:
    """After the volume, the network, the container."""
    spec = real.spec()
    with pytest.raises(CrashedHere):
        await real.crashing(after).run(None, spec, WORD, fresh=True)
    await real.run(spec)
    assert await real.answers(spec)
    await real.instances.drop(None, spec)
    assert await real.left() == []
    with pytest.raises(CrashedHere):
        await real.crashing(after).run(None, spec, WORD, fresh=True)
    await real.instances.drop(None, spec)
    assert await real.left() == []


@pytest.mark.parametrize("after", [1, 2, 3])
async def test_a_death_while_it_is_taken_away_is_gone_on_from(real: Bench, after: int) -> None:
    spec = real.spec()
    await real.run(spec)
    with pytest.raises(CrashedHere):
        await real.crashing(after).drop(None, spec)
    await real.instances.drop(None, spec)
    assert await real.left() == []
