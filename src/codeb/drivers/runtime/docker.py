"""Containers and project networks on a Docker Engine.

Every changing verb looks first and then acts on the id it saw, one engine call after the other in an order that makes
each half-way state lead to the same end when the verb is called again.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from codeb.drivers.runtime import docker_spec as form
from codeb.drivers.runtime.docker_client import DockerClient, Refused
from codeb.drivers.runtime.docker_inspect import find, inspect_all
from codeb.errors import Conflict, NotFound, PublicError, Unavailable
from codeb.model import names
from codeb.model.specs import Finding, Unit, UnitSpec

STOP_MARGIN = 15.0
"""Seconds the engine gets on top of a stop time: for the kill, the unmount and the network."""

REPLACED_STOP = 10
"""Seconds for a container that makes room for its shelved predecessor: it had no production traffic."""

DYING = "stopped container"
"""In the reason why a restart policy was refused: the process has just ended and the engine does not know it yet."""
POLICY_TRIES = 20
POLICY_PAUSE = 0.1
"""Seconds."""

PORT_CLASH = ("port is already allocated", "address already in use")
NETWORK_GONE = ("network", "not found")

Seen = Mapping[str, Any]


async def stop(client: DockerClient, seen: Seen, seconds: int) -> None:
    """Stop the container that was seen, within `seconds`. One that never ran, or is gone, is stopped. Raises `Refused`."""
    if form.never_started(seen):
        return
    try:
        path = f"containers/{seen['Id']}/stop"
        await client.call("POST", path, params={"t": str(seconds)}, seconds=seconds + STOP_MARGIN)
    except Refused as refused:
        if refused.status != 404:
            raise


class DockerRuntime:
    """`Runtime`, `Networks` and `Checked` for the containers that carry this installation's label."""

    def __init__(self, client: DockerClient, instance: str) -> None:
        self._client = client
        self._instance = instance
        self._networks: set[str] = set()

    # --- reading -------------------------------------------------------------------------------------------------

    async def look(self, name: str) -> Unit | None:
        """See `Runtime.look`."""
        seen = await find(self._client, name)
        return form.unit_of(seen, self._instance) if seen else None

    async def units(self) -> Sequence[Unit]:
        """See `Runtime.units`; by name."""
        filters = f'{{"label":["{form.INSTANCE}={self._instance}"]}}'
        listed = await self._client.call("GET", "containers/json", params={"all": "1", "filters": filters})
        seen = await inspect_all(self._client, [each["Id"] for each in listed])
        return sorted((form.unit_of(each, self._instance) for each in seen), key=lambda unit: unit.name)

    async def check(self) -> Finding:
        """See `Checked.check`."""
        try:
            version = await self._client.version()
        except PublicError as error:
            return Finding("docker", "fail", error.message, error.hint)
        except Refused as refused:
            return Finding("docker", "fail", str(refused), "Look at the Docker daemon's log.")
        text = f"Docker {version.get('Version', '?')}, API {self._client.api_version.removeprefix('v')}"
        return Finding("docker", "pass", text)

    async def close(self) -> None:
        """Give the connections back. Safe to repeat."""
        await self._client.close()

    # --- run -----------------------------------------------------------------------------------------------------

    async def run(self, spec: UnitSpec) -> Unit:
        """See `Runtime.run`. Raises also `NotFound` (`image_not_found`) and `Conflict` (`start_refused`).

        The usual path is three calls: create, start, inspect. When the start is refused nothing is left behind.
        """
        body = form.container_body(spec, self._instance)
        form.refuse_unsafe(body)
        for last in (False, True):
            await self._ensure_network(spec.network, spec.project)
            try:
                return await self._create_and_start(spec, body)
            except Refused as refused:
                if last or not all(word in refused.reason for word in NETWORK_GONE):
                    message = f"Docker refused to run {spec.name}; nothing of it is left."
                    raise _start_refused(message, refused) from refused
                # Somebody removed the network since we last made sure of it.
                self._networks.discard(spec.network)
        raise AssertionError("the second round returns or raises")

    async def _create_and_start(self, spec: UnitSpec, body: Mapping[str, Any]) -> Unit:
        made = await self._create(spec, body)
        if isinstance(made, Unit):
            return made
        try:
            await self._start(made, spec.name, spec.host_port)
        except (Refused, Conflict):
            await self._delete(made)
            raise
        return form.unit_of(await self._client.call("GET", f"containers/{made}/json"), self._instance)

    async def _create(self, spec: UnitSpec, body: Mapping[str, Any]) -> str | Unit:
        """The id of a fresh container; or the running one of this deployment that stands there already."""
        for last in (False, True):
            try:
                made = await self._client.call("POST", "containers/create", params={"name": spec.name}, body=body)
                return str(made["Id"])
            except Refused as refused:
                if refused.status == 404 and "image" in refused.reason:
                    raise _no_image(spec) from refused
                if refused.status != 409 or last:
                    raise
            kept = await self._make_room(spec)
            if kept:
                return kept
        raise AssertionError("the second round returns or raises")

    async def _make_room(self, spec: UnitSpec) -> Unit | None:
        """Remove what an earlier try of this very deployment left under the name, unless it is the wanted container."""
        seen = await find(self._client, spec.name)
        if seen is None:
            return None
        unit = form.unit_of(seen, self._instance)
        same = unit.deployment_id == spec.deployment_id or unit.operation_id == spec.operation_id
        if not form.is_ours(seen, self._instance) or not same:
            raise name_taken(spec.name)
        if unit.running and unit.deployment_id == spec.deployment_id:
            return unit
        await stop(self._client, seen, spec.limits.stop_seconds)
        await self._delete(seen["Id"])
        return None

    async def _start(self, container: str, name: str, port: int | None, stopping: int | None = None) -> None:
        """Start it; with `stopping`, stop it before if it runs, and give it so many seconds for that."""
        try:
            if stopping is None:
                await self._client.call("POST", f"containers/{container}/start")
            else:
                path, told = f"containers/{container}/restart", {"t": str(stopping)}
                await self._client.call("POST", path, params=told, seconds=stopping + STOP_MARGIN)
        except Refused as refused:
            if any(words in refused.reason for words in PORT_CLASH):
                raise Conflict(
                    f"Port {port} of this server is in use by something else, so {name} was not started."
                    if port
                    else f"A port of {name} is in use by something else, so it was not started.",
                    code="port_taken",
                    hint="Find its holder (`we port check`), free the port, then try again.",
                    details={"port": port},
                ) from refused
            raise

    # --- the other verbs -----------------------------------------------------------------------------------------

    async def keep(self, name: str) -> None:
        """See `Runtime.keep`. Raises also `NotFound` (`container_not_found`)."""
        seen = await self._ours(name)
        if seen is None:
            raise _gone(name)
        await self._restart_policy(seen["Id"], "unless-stopped")

    async def shelve(self, name: str, seconds: int) -> None:
        """See `Runtime.shelve`.

        The rename is first: from then on both a repeated `shelve` and an `unshelve` find the container under its kept
        name and finish or undo the rest. It loses its restart policy, so an engine restart does not bring it back.
        """
        aside = names.kept(name)
        seen, shelved = await self._ours(name), await self._ours(aside)
        if seen is not None:
            if shelved is not None:
                await stop(self._client, shelved, seconds)
                await self._delete(shelved["Id"])
            await self._rename(seen["Id"], aside)
            shelved = seen
        if shelved is not None:
            await self._restart_policy(shelved["Id"], "no")
            await stop(self._client, shelved, seconds)

    async def unshelve(self, name: str, start: bool) -> None:
        """See `Runtime.unshelve`. With nothing set aside nothing is done.

        The rename is last, after the start: were it first, a crash between the two would leave a repeated call nothing
        to find.
        """
        shelved = await self._ours(names.kept(name))
        if shelved is None:
            return
        standing = await self._ours(name)
        if standing is not None:
            await stop(self._client, standing, min(REPLACED_STOP, standing["Config"].get("StopTimeout") or REPLACED_STOP))
            await self._delete(standing["Id"])
        if start:
            ports = form.bindings_of(shelved)
            try:
                await self._start(shelved["Id"], name, ports[0][1] if ports else None)
            except Refused as refused:
                message = f"Docker refused to start {name} again; it is still set aside."
                raise _start_refused(message, refused) from refused
            await self._restart_policy(shelved["Id"], "unless-stopped")
        await self._rename(shelved["Id"], name)

    async def remove(self, name: str, seconds: int) -> None:
        """See `Runtime.remove`. Its anonymous volumes go with it."""
        seen = await self._ours(name)
        if seen is not None:
            await stop(self._client, seen, seconds)
            await self._delete(seen["Id"])

    async def remove_network(self, project: str) -> None:
        """See `Networks.remove_network`. Raises `Conflict` (`network_in_use`) while containers are attached."""
        name = names.network(project)
        self._networks.discard(name)
        seen = await self._network(name)
        if seen is None or not form.is_ours(seen, self._instance):
            return
        try:
            await self._client.call("DELETE", f"networks/{seen['Id']}")
        except Refused as refused:
            if refused.status == 403:
                raise Conflict(
                    f"The network {name} still has containers attached and was not removed.",
                    code="network_in_use",
                    hint="Remove the project's containers first, also those CodeB did not start.",
                ) from refused
            if refused.status != 404:
                raise

    async def restart(self, name: str, seconds: int) -> None:
        """See `Restarter.restart`. One call: the engine starts what it stopped, also when nobody waits for it any more."""
        seen = await self._ours(name)
        if seen is None:
            raise _gone(name)
        ports = form.bindings_of(seen)
        try:
            await self._start(seen["Id"], name, ports[0][1] if ports else None, stopping=seconds)
        except Refused as refused:
            raise _start_refused(f"Docker refused to start {name} again; it is stopped.", refused) from refused

    # --- one engine call each ------------------------------------------------------------------------------------

    async def _ours(self, name: str) -> Seen | None:
        """The container of this name, None when there is none. Raises `Conflict` (`name_taken`) when it is foreign."""
        seen = await find(self._client, name)
        if seen is not None and not form.is_ours(seen, self._instance):
            raise name_taken(name)
        return seen

    async def _delete(self, container: str) -> None:
        try:
            await self._client.call("DELETE", f"containers/{container}", params={"v": "1", "force": "1"})
        except Refused as refused:
            if refused.status == 409 and "already in progress" in refused.reason:
                await self._until_removed(container)
            elif refused.status != 404:
                raise

    async def _until_removed(self, container: str) -> None:
        try:
            await self._client.call("POST", f"containers/{container}/wait", params={"condition": "removed"})
        except Refused as refused:
            if refused.status != 404:
                raise

    async def _rename(self, container: str, name: str) -> None:
        try:
            await self._client.call("POST", f"containers/{container}/rename", params={"name": name})
        except Refused as refused:
            if refused.status == 409:
                raise name_taken(name) from refused
            raise

    async def _restart_policy(self, container: str, policy: str) -> None:
        body = {"RestartPolicy": {"Name": policy}}
        for left in reversed(range(POLICY_TRIES)):
            try:
                await self._client.call("POST", f"containers/{container}/update", body=body)
                return
            except Refused as refused:
                if not left or DYING not in refused.reason:
                    raise
            await asyncio.sleep(POLICY_PAUSE)

    async def _network(self, name: str) -> Seen | None:
        try:
            seen: Seen = await self._client.call("GET", f"networks/{name}")
        except Refused as refused:
            if refused.status == 404:
                return None
            raise
        # The engine also answers to the beginning of an id.
        return seen if seen["Name"] == name else None

    async def _ensure_network(self, name: str, project: str) -> None:
        if name in self._networks:
            return
        seen = await self._network(name)
        if seen is None:
            try:
                await self._client.call("POST", "networks/create", body=form.network_body(name, project, self._instance))
            except Refused as refused:
                if refused.status != 409:
                    raise _no_network(name, refused) from refused
            seen = await self._network(name)
        if seen is None or not form.is_ours(seen, self._instance):
            raise name_taken(name, "network")
        self._networks.add(name)


def name_taken(name: str, kind: str = "container") -> Conflict:
    """The one error for a name that somebody else holds."""
    return Conflict(
        f"A {kind} named {name} is there that this operation did not make; it was left as it is.",
        code="name_taken",
        hint=f"Look at it (`docker inspect {name}`); rename or remove it if it is not needed, then try again.",
        details={"name": name},
    )


def _gone(name: str) -> NotFound:
    return NotFound(f"There is no container {name}.", code="container_not_found", hint="Deploy again; somebody removed it.")


def _no_image(spec: UnitSpec) -> NotFound:
    return NotFound(
        f"The image of {spec.name} is not on this server any more, so nothing was started.",
        code="image_not_found",
        hint="Deploy again: the image is then fetched once more.",
        details={"imageId": spec.image_id},
    )


def _start_refused(message: str, refused: Refused) -> Conflict:
    return Conflict(
        message,
        code="start_refused",
        hint="Usually the image's command is missing or not executable; `details.reason` has Docker's words.",
        details={"reason": refused.reason[:1000]},
    )


def _no_network(name: str, refused: Refused) -> PublicError:
    if "address pool" in refused.reason:
        return Unavailable(
            f"Docker has no free subnet left for the network {name}; nothing was started.",
            code="network_pool_exhausted",
            hint='Give the Docker daemon more: "default-address-pools": [{"base": "10.64.0.0/12", "size": 24}].',
        )
    return Unavailable(
        f"Docker did not make the network {name}; nothing was started.",
        code="network_failed",
        hint="`details.reason` has Docker's words.",
        details={"reason": refused.reason[:1000]},
    )
