"""What the suite of storage containers needs around a driver: in memory, and on a real Docker with real servers inside."""

import asyncio
import json
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from codeb.contracts.databases import Caches, Databases
from codeb.contracts.instances import Inside, Instances
from codeb.drivers.databases.inside import StorageInside
from codeb.drivers.instances.docker import DockerInstances
from codeb.drivers.instances.memory import MemoryInside, MemoryInstances
from codeb.drivers.runtime.docker_client import DockerClient
from codeb.errors import Unavailable
from codeb.model.instances import InstanceSpec
from codeb.model.names import Place
from codeb.model.secret import Secret
from codeb.model.storage import Endpoint, Kind
from tests.contracts.runtime_rig import CrashingClient
from tests.ports import free_block
from tests.storage_images import storage_image

HERE = "127.0.0.7"
"""an address of this machine that is not the one everybody tries"""
WORD = Secret("word-" + "x" * 28)


@dataclass
class Bench:
    """`kind`: what is to run; `project`: whose, a name that no other test has."""

    kind: Kind
    instances: Instances
    inside: Inside
    project: str
    image: str
    client: DockerClient | None = None
    memory: MemoryInstances | None = None
    installation: str = ""
    block: int = 6400
    _clients: list[DockerClient] = field(default_factory=list)

    def spec(self, storage_id: str = "sto_1a", offset: int = 0, **more: Any) -> InstanceSpec:
        said = {
            "storage_id": storage_id, "place": Place(self.project, "production"), "kind": self.kind, "server": "local",
            "address": HERE, "port": self.block + offset, "image": self.image,
        }  # fmt: skip
        return InstanceSpec(**{**said, **more})

    def server(self, spec: InstanceSpec, word: Secret = WORD) -> Databases | Caches:
        at = Endpoint(spec.address, spec.port)
        return self.inside.databases(at, word) if self.kind is Kind.POSTGRES else self.inside.caches(at, word)

    async def run(self, spec: InstanceSpec, *, fresh: bool = True) -> None:
        await self.instances.run(None, spec, WORD, fresh=fresh)

    async def answers(self, spec: InstanceSpec, word: Secret = WORD, seconds: float = 20) -> bool:
        end = time.monotonic() + seconds
        while True:
            try:
                await self.server(spec, word).all()
                return True
            except Unavailable:
                if time.monotonic() > end:
                    return False
            await asyncio.sleep(0.05)

    def other(self) -> Instances:
        """Another installation on the same machine."""
        if self.client is None:
            return MemoryInstances()
        return DockerInstances(self._client(DockerClient()), f"{self.installation}-other", DockerClient)

    def crashing(self, after: int) -> Instances:
        """Ends the process right after the n-th change took effect."""
        return DockerInstances(self._client(CrashingClient(after)), self.installation, DockerClient)

    def _client(self, client: DockerClient) -> DockerClient:
        self._clients.append(client)
        return client

    # what somebody does by hand

    async def by_hand(self, spec: InstanceSpec, what: str) -> None:
        """`stop` or `remove` the container."""
        if self.memory is not None:
            boxes = self.memory.at(None).boxes
            if what == "stop":
                boxes[spec.name].running = False
            else:
                del boxes[spec.name]
            return
        assert self.client is not None
        if what == "stop":
            await self.client.call("POST", f"containers/{spec.name}/kill")
        else:
            await self.client.call("DELETE", f"containers/{spec.name}", params={"force": "1", "v": "1"})

    async def left(self) -> list[str]:
        """Containers, volumes and networks of this test."""
        if self.memory is not None:
            machine = self.memory.at(None)
            return [*machine.boxes, *machine.volumes]
        assert self.client is not None
        query = {"filters": json.dumps({"label": [f"codeb.storage.instance={self.installation}"]})}
        boxes = await self.client.call("GET", "containers/json", params={"all": "1", **query})
        volumes = (await self.client.call("GET", "volumes", params=query))["Volumes"] or []
        networks = await self.client.call("GET", "networks", params=query)
        return [*(each["Names"][0][1:] for each in boxes), *(each["Name"] for each in (*volumes, *networks))]

    async def inspect(self, name: str) -> dict[str, Any]:
        assert self.client is not None
        seen: dict[str, Any] = await self.client.call("GET", f"containers/{name}/json")
        return seen

    async def close(self) -> None:
        if self.client is None:
            return
        query = {"filters": json.dumps({"label": [f"codeb.storage.instance={self.installation}"]})}
        for each in await self.client.call("GET", "containers/json", params={"all": "1", **query}):
            await self.client.call("DELETE", f"containers/{each['Id']}", params={"force": "1"})
        for each in (await self.client.call("GET", "volumes", params=query))["Volumes"] or []:
            await self.client.call("DELETE", f"volumes/{each['Name']}")
        for each in await self.client.call("GET", "networks", params=query):
            await self.client.call("DELETE", f"networks/{each['Id']}")
        for client in (*self._clients, self.client):
            await client.close()


@asynccontextmanager
async def bench(where: str, kind: Kind, home: Path) -> AsyncIterator[Bench]:
    project = f"codebtest-{secrets.token_hex(3)}"
    if where == "memory":
        memory = MemoryInstances()
        image = "postgres:15" if kind is Kind.POSTGRES else "redis:7"
        yield Bench(kind, memory, MemoryInside(memory), project, image, memory=memory)
        return
    client, installation = DockerClient(), f"codebtest-{secrets.token_hex(3)}"
    made = Bench(
        kind, DockerInstances(client, installation, DockerClient), StorageInside(home), project,
        await storage_image(client, kind.value), client=client, installation=installation, block=free_block(2),
    )  # fmt: skip
    try:
        yield made
    finally:
        await made.close()
