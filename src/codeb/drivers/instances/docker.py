"""Containers of storage on Docker Engines: this machine's own, and those of storage servers.

Every verb looks first, and goes on from whatever an earlier try left: the volume, then the container, then its start.
"""

import io
import json
from collections.abc import Callable, Mapping
from typing import Any

from codeb.contracts.instances import data_gone
from codeb.contracts.runtime import Images
from codeb.drivers.images.docker import DockerImages
from codeb.drivers.instances import form
from codeb.drivers.runtime.docker import PORT_CLASH, STOP_MARGIN
from codeb.drivers.runtime.docker_client import DockerClient, Refused, limit
from codeb.drivers.runtime.docker_inspect import find, inspect_all
from codeb.drivers.runtime.docker_ports import DockerPorts
from codeb.errors import Conflict
from codeb.model.instances import Instance, InstanceSpec
from codeb.model.secret import Secret
from codeb.model.storage import Kind

UPLOAD_SECONDS = 15.0

Seen = Mapping[str, Any]


class DockerInstances:
    """`own` is the engine CodeB itself uses; `connect` opens another one by its address, once."""

    def __init__(
        self, own: DockerClient, instance: str, connect: Callable[[str], DockerClient], signed: Mapping[str, Secret] | None = None
    ) -> None:
        self._own = own
        self._instance = instance
        self._connect = connect
        self._signed = signed
        self._others: dict[str, DockerClient] = {}

    @property
    def _mine(self) -> dict[str, str]:
        """What narrows a list to what this installation made."""
        return {"filters": json.dumps({"label": [f"{form.INSTANCE}={self._instance}"]})}

    def _client(self, engine: str | None) -> DockerClient:
        if engine is None:
            return self._own
        if engine not in self._others:
            self._others[engine] = self._connect(engine)
        return self._others[engine]

    async def close(self) -> None:
        """Give the connections to other engines back. Safe to repeat."""
        others, self._others = self._others, {}
        for client in others.values():
            await client.close()

    async def look(self, engine: str | None, spec: InstanceSpec) -> Instance:
        client = self._client(engine)
        seen, volume = await self._container(client, spec), await self._volume(client, spec)
        return form.instance_of(spec.storage_id, spec.name, seen, volume is not None)

    async def all(self, engine: str | None) -> Mapping[str, Instance]:
        client = self._client(engine)
        listed = await client.call("GET", "containers/json", params={"all": "1", **self._mine})
        seen = {_id(each["Config"]): each for each in await inspect_all(client, [each["Id"] for each in listed])}
        volumes = {_id(each): each for each in (await client.call("GET", "volumes", params=self._mine))["Volumes"] or ()}
        return {
            known: form.instance_of(known, _name(volumes.get(known), known), seen.get(known), known in volumes)
            for known in sorted(seen.keys() | volumes.keys())
        }  # fmt: skip

    async def taken(self, engine: str | None) -> frozenset[int]:
        return frozenset(await DockerPorts(self._client(engine)).published())

    async def run(self, engine: str | None, spec: InstanceSpec, password: Secret, *, fresh: bool) -> None:
        client = self._client(engine)
        seen, volume = await self._container(client, spec), await self._volume(client, spec)
        if volume is None and not fresh:
            raise data_gone(spec)
        if seen is not None and volume is not None and seen["State"]["Status"] != "created":
            await self._again(client, spec, seen)
            return
        images: Images = DockerImages(client, self._signed)
        body = form.body_of(spec, (await images.resolve(spec.image)).id, password, self._instance)
        form.refuse_unsafe(body)
        if seen is not None:
            await self._remove(client, seen)
        if volume is None:
            made = {"Name": spec.volume, "Labels": form.labels(spec, self._instance)}
            await client.call("POST", "volumes/create", body=made)
        await self._network(client)
        container = str((await client.call("POST", "containers/create", params={"name": spec.name}, body=body))["Id"])
        if spec.kind is Kind.REDIS:
            await self._users(client, container, password)
        await self._start(client, spec, container)

    async def _again(self, client: DockerClient, spec: InstanceSpec, seen: Seen) -> None:
        """Somebody may have stopped it, and taken away that it comes back by itself."""
        policy = {"RestartPolicy": {"Name": "unless-stopped"}}
        await client.call("POST", f"containers/{seen['Id']}/update", body=policy)
        if not seen["State"]["Running"]:
            await self._start(client, spec, seen["Id"], made=False)

    async def _start(self, client: DockerClient, spec: InstanceSpec, container: str, *, made: bool = True) -> None:
        """Raises `Conflict` (`port_taken`, `start_refused`); then one that was just made is not there any more."""
        try:
            await client.call("POST", f"containers/{container}/start")
        except Refused as refused:
            if made:
                await client.call("DELETE", f"containers/{container}", params={"force": "1"})
            if any(words in refused.reason for words in (*PORT_CLASH, "cannot assign requested address")):
                raise Conflict(
                    f"{spec.name} could not be published at port {spec.port} of {spec.address}, so it was not started.",
                    code="port_taken", details={"server": spec.server, "port": spec.port},
                    hint=f"See what has that port on {spec.server}, and that the address is one of that machine (server_list).",
                ) from refused  # fmt: skip
            raise Conflict(
                f"Docker on {spec.server} refused to start {spec.name}.", code="start_refused",
                hint="`details.reason` has Docker's words.", details={"reason": refused.reason[:1000]},
            ) from refused  # fmt: skip

    async def _users(self, client: DockerClient, container: str, password: Secret) -> None:
        """Into the volume, unless it has them: those that were added since are kept."""
        folder = form.FOLDER[Kind.REDIS]
        path = f"containers/{container}/archive"
        try:
            async with client.stream(
                "GET", path, params={"path": f"{folder}/{form.USERS}"}, allowed=limit(UPLOAD_SECONDS)
            ) as said:
                await said.read()
                return
        except Refused as refused:
            if refused.status != 404:
                raise
        tar, kind = io.BytesIO(form.users_file(password)), {"Content-Type": "application/x-tar"}
        async with client.stream(
            "PUT", path, params={"path": folder}, data=tar, headers=kind, allowed=limit(UPLOAD_SECONDS)
        ) as answer:
            await answer.read()

    async def drop(self, engine: str | None, spec: InstanceSpec) -> None:
        client = self._client(engine)
        seen = await find(client, spec.name)
        if seen is not None and form.is_ours(seen, self._instance, spec.storage_id):
            await self._stop(client, seen["Id"], spec.limits.stop_seconds)
            await self._remove(client, seen)
        volume = await self._get(client, f"volumes/{spec.volume}")
        if volume is not None and form.is_ours(volume, self._instance, spec.storage_id):
            await _unless_gone(client, f"volumes/{spec.volume}")
        # the network goes with the last of them; Docker itself would take it from those that stand still, which then never start
        if await client.call("GET", "containers/json", params={"all": "1", **self._mine}):
            return
        network = await self._get(client, f"networks/{form.network_of(self._instance)}")
        if network is not None and form.is_ours(network, self._instance):
            await _unless_gone(client, f"networks/{network['Id']}", in_use=403)

    # --- one engine call each ------------------------------------------------------------------------------------

    async def _container(self, client: DockerClient, spec: InstanceSpec) -> Seen | None:
        """Raises `Conflict` (`name_taken`) when another one has its name."""
        seen = await find(client, spec.name)
        if seen is not None and not form.is_ours(seen, self._instance, spec.storage_id):
            raise _taken(spec.name, spec.server)
        return seen

    async def _volume(self, client: DockerClient, spec: InstanceSpec) -> Seen | None:
        seen = await self._get(client, f"volumes/{spec.volume}")
        if seen is not None and not form.is_ours(seen, self._instance, spec.storage_id):
            raise _taken(spec.volume, spec.server)
        return seen

    async def _network(self, client: DockerClient) -> None:
        name = form.network_of(self._instance)
        if await self._get(client, f"networks/{name}") is None:
            try:
                await client.call("POST", "networks/create", body=form.network_body(self._instance))
            except Refused as refused:
                if refused.status != 409:
                    raise

    async def _get(self, client: DockerClient, path: str) -> Seen | None:
        try:
            seen: Seen = await client.call("GET", path)
            return seen
        except Refused as refused:
            if refused.status == 404:
                return None
            raise

    async def _stop(self, client: DockerClient, container: str, seconds: int) -> None:
        try:
            path = f"containers/{container}/stop"
            await client.call("POST", path, params={"t": str(seconds)}, seconds=seconds + STOP_MARGIN)
        except Refused as refused:
            if refused.status != 404:
                raise

    async def _remove(self, client: DockerClient, seen: Seen) -> None:
        """The container; a volume with a name outlives it."""
        await _unless_gone(client, f"containers/{seen['Id']}", params={"force": "1"})


async def _unless_gone(
    client: DockerClient, path: str, *, params: Mapping[str, str] | None = None, in_use: int | None = None
) -> None:
    try:
        await client.call("DELETE", path, params=params)
    except Refused as refused:
        if refused.status not in (404, in_use):
            raise


def _id(labelled: Mapping[str, Any]) -> str:
    return str((labelled.get("Labels") or {}).get(form.STORAGE, ""))


def _name(volume: Seen | None, known: str) -> str:
    """Of the container that a volume belongs to."""
    return str(volume["Name"]).removesuffix(f".{known}") if volume is not None else known


def _taken(name: str, server: str) -> Conflict:
    return Conflict(
        f"Something named {name} is on {server} that is not this environment's; it was not touched.", code="name_taken",
        hint="Look at it there; rename or remove it by hand if it is not needed, then call this again.", details={"name": name},
    )  # fmt: skip
