"""What the runtime suite needs around a driver, once for the machine in memory and once for a real Docker."""

import asyncio
import json
import secrets
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, Protocol

from codeb.contracts.runtime import Images, Logs, Ports
from codeb.drivers.images.docker import DockerImages
from codeb.drivers.runtime.docker import DockerRuntime
from codeb.drivers.runtime.docker_client import DockerClient, Refused
from codeb.drivers.runtime.docker_logs import DockerLogs
from codeb.drivers.runtime.docker_ports import DockerPorts
from codeb.drivers.runtime.memory import MemoryImages, MemoryLogs, MemoryPorts, MemoryRuntime
from codeb.drivers.runtime.memory_machine import Behaviour, Machine
from codeb.model import names
from codeb.model.names import Place, Slot
from codeb.model.specs import Health, Limits, UnitSpec
from tests.images import REPOSITORY, image_id, tag_of

AnyRuntime = DockerRuntime | MemoryRuntime


class CrashedHere(BaseException):
    """The process ends at this point: no `except` of the driver may see an error in it."""


class Rig(Protocol):
    project: str
    runtime: AnyRuntime
    logs: Logs
    ports: Ports
    images: Images

    async def image(self, kind: str) -> str: ...
    def reference(self, kind: str) -> str: ...
    async def foreign(self, name: str, port: int, running: bool) -> str: ...
    def other_instance(self) -> AnyRuntime: ...
    def crashing(self, after: int) -> AnyRuntime: ...
    def unreachable(self) -> AnyRuntime: ...
    async def occupy(self, port: int) -> None: ...


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def spec_for(rig: Rig, kind: str = "steady", deployment: str = "dep_1", **changes: Any) -> UnitSpec:
    place = Place(rig.project, "production")
    spec = UnitSpec(
        name=place.container(Slot.BLUE),
        project=rig.project,
        environment="production",
        slot=Slot.BLUE,
        deployment_id=deployment,
        operation_id=f"op_{deployment}",
        version="1.4.2",
        image_id=await rig.image(kind),
        host_port=free_port(),
        container_port=3000,
        network=names.network(rig.project),
        limits=Limits(stop_seconds=5),
    )
    return replace(spec, **changes)


async def until(what: str, look: Callable[[], Any], seconds: float = 10) -> Any:
    """The first true answer of an async `look`; an AssertionError naming `what` when it does not come."""
    for _ in range(int(seconds / 0.05)):
        answer = await look()
        if answer:
            return answer
        await asyncio.sleep(0.05)
    raise AssertionError(f"never seen within {seconds} s: {what}")


class MemoryRig:
    BEHAVIOURS: Mapping[str, Behaviour] = {
        "steady": Behaviour(log=("hello",), errors=("oops",), farewell="bye"),
        "exits": Behaviour(log=("leaving",), exits=3),
        "stubborn": Behaviour(log=("deaf",), ignores_term=True),
        "long": Behaviour(log=("x" * 40000, "end")),
        "web": Behaviour(),
        "sick": Behaviour(health=Health.UNHEALTHY, healthy_after=1),
        "well": Behaviour(health=Health.HEALTHY, healthy_after=1),
        "lost": Behaviour(exits=127, errors=("there-is-no-such-program: no such file",)),
        "broken": Behaviour(starts=False),
    }

    def __init__(self) -> None:
        self.project = f"codebtest-{secrets.token_hex(3)}"
        self.machine = Machine()
        self.runtime: AnyRuntime = MemoryRuntime(self.machine, "mine")
        self.logs = MemoryLogs(self.machine, "mine")
        self.ports = MemoryPorts(self.machine)
        self.images = MemoryImages(self.machine)

    async def image(self, kind: str) -> str:
        return self.machine.add_image(self.reference(kind), self.BEHAVIOURS[kind]).id

    def reference(self, kind: str) -> str:
        return f"{REPOSITORY}:{tag_of(kind)}"

    async def foreign(self, name: str, port: int, running: bool) -> str:
        return self.machine.add_foreign(name, port, running=running).id

    def other_instance(self) -> AnyRuntime:
        return MemoryRuntime(self.machine, "theirs")

    def crashing(self, after: int) -> AnyRuntime:
        seen = 0

        def trap(point: str) -> None:
            nonlocal seen
            seen += point.startswith("after ")
            if seen == after:
                self.machine.trap = None
                raise CrashedHere(point)

        self.machine.trap = trap
        return self.runtime

    def unreachable(self) -> AnyRuntime:
        machine = Machine()
        machine.down = True
        return MemoryRuntime(machine, "mine")

    async def occupy(self, port: int) -> None:
        self.machine.sockets.add(port)

    async def __aenter__(self) -> "MemoryRig":
        return self

    async def __aexit__(self, *_: object) -> None:
        return None


class CrashingClient(DockerClient):
    """Ends the process, as it were, right after the n-th changing call took effect."""

    def __init__(self, after: int) -> None:
        super().__init__()
        self._left = after

    async def call(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
        seconds: float = 15,
    ) -> Any:
        answer = await super().call(method, path, params=params, body=body, seconds=seconds)
        if method != "GET":
            self._left -= 1
            if self._left == 0:
                raise CrashedHere(f"{method} {path}")
        return answer


class DockerRig:
    def __init__(self) -> None:
        self.project = f"codebtest-{secrets.token_hex(3)}"
        self.instance = f"codebtest-{secrets.token_hex(3)}"
        self.client = DockerClient()
        self.runtime: AnyRuntime = DockerRuntime(self.client, self.instance)
        self.logs = DockerLogs(self.client, self.instance)
        self.ports = DockerPorts(self.client)
        self.images = DockerImages(self.client)
        self._clients = [self.client]
        self._sockets: list[socket.socket] = []

    async def image(self, kind: str) -> str:
        return await image_id(self.client, kind)

    def reference(self, kind: str) -> str:
        return f"{REPOSITORY}:{tag_of(kind)}"

    async def foreign(self, name: str, port: int, running: bool) -> str:
        body = {
            "Image": await self.image("steady"),
            "Labels": {"codebtest.project": self.project},
            "ExposedPorts": {"3000/tcp": {}},
            "HostConfig": {"PortBindings": {"3000/tcp": [{"HostIp": "127.0.0.1", "HostPort": str(port)}]}},
        }
        made = await self.client.call("POST", "containers/create", params={"name": name}, body=body)
        if running:
            await self.client.call("POST", f"containers/{made['Id']}/start")
        return str(made["Id"])

    def other_instance(self) -> AnyRuntime:
        return DockerRuntime(self._client(DockerClient()), f"{self.instance}-other")

    def crashing(self, after: int) -> AnyRuntime:
        return DockerRuntime(self._client(CrashingClient(after)), self.instance)

    def unreachable(self) -> AnyRuntime:
        return DockerRuntime(self._client(DockerClient("unix:///nowhere/codebtest.sock")), self.instance)

    async def occupy(self, port: int) -> None:
        listener = socket.socket()
        listener.bind(("127.0.0.1", port))
        listener.listen()
        self._sockets.append(listener)

    async def inspect(self, name: str) -> dict[str, Any]:
        seen: dict[str, Any] = await self.client.call("GET", f"containers/{name}/json")
        return seen

    def _client(self, client: DockerClient) -> DockerClient:
        self._clients.append(client)
        return client

    async def __aenter__(self) -> "DockerRig":
        return self

    async def __aexit__(self, *_: object) -> None:
        for label in (f"codeb.project={self.project}", f"codebtest.project={self.project}"):
            params = {"all": "1", "filters": json.dumps({"label": [label]})}
            for each in await self.client.call("GET", "containers/json", params=params):
                await self.client.call("DELETE", f"containers/{each['Id']}", params={"force": "1", "v": "1"})
        try:
            await self.client.call("DELETE", f"networks/{names.network(self.project)}")
        except Refused as refused:
            if refused.status != 404:
                raise
        for client in self._clients:
            await client.close()
        for listener in self._sockets:
            listener.close()


@asynccontextmanager
async def open_rig(kind: str) -> AsyncIterator[MemoryRig | DockerRig]:
    async with MemoryRig() if kind == "memory" else DockerRig() as rig:
        yield rig
