"""Containers that CodeB did not make, on a Docker Engine."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from codeb.drivers.images.docker import registry_digest
from codeb.drivers.runtime import docker_spec as form
from codeb.drivers.runtime.docker import PORT_CLASH, name_taken, stop
from codeb.drivers.runtime.docker_client import DockerClient, Refused
from codeb.drivers.runtime.docker_inspect import seen_as
from codeb.drivers.runtime.docker_logs import tail_of
from codeb.errors import Conflict
from codeb.model.guests import Binding, Guest
from codeb.model.secret import Secret
from codeb.model.specs import Health, LogLine, Unit

Seen = Mapping[str, Any]

SHORTEST_ID = 12
"""digits of an id that people copy from `docker ps`"""
COMPOSE = "com.docker.compose.project"
STORAGE = "codeb.storage.instance"
"""what every container of storage is labelled with, this installation's or another's"""


class DockerGuests:
    """`Guests`. It acts on whole ids only."""

    def __init__(self, client: DockerClient, instance: str) -> None:
        self._client = client
        self._instance = instance

    async def find(self, reference: str) -> Guest | None:
        """See `Guests.find`. Two calls."""
        seen = await seen_as(self._client, reference)
        if seen is None:
            return None
        begins = len(reference) >= SHORTEST_ID and str(seen["Id"]).startswith(reference)
        if form.container_name(seen) != reference and not begins:
            return None
        return guest_of(seen, await self._image(seen["Image"]), self._instance)

    async def _image(self, image: str) -> Seen:
        """What the engine says of the image; of one that was removed beneath its container it knows nothing."""
        try:
            found: Seen = await self._client.call("GET", f"images/{image}/json")
        except Refused as refused:
            if refused.status == 404:
                return {"Id": image}
            raise
        return found

    async def unit(self, container: str) -> Unit | None:
        """See `Guests.unit`."""
        seen = await self._seen(container)
        return unit_of(seen, self._instance) if seen else None

    async def stop(self, container: str, seconds: int) -> None:
        """See `Guests.stop`. The policy `always` would outlive a stop: it becomes `unless-stopped`, which a start revives."""
        seen = await self._seen(container)
        if seen is None or form.never_started(seen):
            return
        if (seen["HostConfig"].get("RestartPolicy") or {}).get("Name") == "always":
            await self._client.call("POST", f"containers/{container}/update", body={"RestartPolicy": {"Name": "unless-stopped"}})
        await stop(self._client, seen, seconds)

    async def start(self, container: str) -> None:
        """See `Guests.start`."""
        seen = await self._seen(container)
        if seen is None or seen["State"]["Running"]:
            return
        name = form.container_name(seen)
        try:
            await self._client.call("POST", f"containers/{container}/start")
        except Refused as refused:
            if any(words in refused.reason for words in PORT_CLASH):
                raise Conflict(
                    f"A port of {name} is in use by something else, so it was not started.", code="port_taken",
                    hint="Find its holder (`we port check`), free the port, then try again.",
                ) from refused  # fmt: skip
            raise Conflict(
                f"Docker refused to start {name}.", code="start_refused", hint="`details.reason` has Docker's words.",
                details={"reason": refused.reason[:1000]},
            ) from refused  # fmt: skip

    async def rename(self, container: str, name: str) -> None:
        """See `Guests.rename`."""
        seen = await self._seen(container)
        if seen is None or form.container_name(seen) == name:
            return
        try:
            await self._client.call("POST", f"containers/{container}/rename", params={"name": name})
        except Refused as refused:
            if refused.status == 409:
                raise name_taken(name) from refused
            raise

    async def remove(self, container: str, seconds: int) -> None:
        """See `Guests.remove`."""
        await self.stop(container, seconds)
        try:
            await self._client.call("DELETE", f"containers/{container}", params={"v": "0", "force": "1"})
        except Refused as refused:
            # 409: it is being removed already
            if refused.status not in (404, 409):
                raise

    async def tail(self, container: str, lines: int, since: str | None = None) -> Sequence[LogLine]:
        """See `Guests.tail`."""
        seen = await self._seen(container)
        if seen is None:
            return []
        try:
            return await tail_of(self._client, seen, lines, since)
        except Refused as refused:
            raise Conflict(
                f"What {form.container_name(seen)} prints cannot be read: {refused.reason}", code="logs_elsewhere",
                hint="Its logging driver keeps it elsewhere. The next deploy's can be read here.",
            ) from refused  # fmt: skip

    async def _seen(self, container: str) -> Seen | None:
        seen = await seen_as(self._client, container)
        # The engine also answers to a name, and to the beginning of an id.
        return seen if seen is not None and seen["Id"] == container else None


def unit_of(seen: Seen, instance: str) -> Unit:
    """As `docker_spec.unit_of`, with the first address it has: it is in no network of ours."""
    found = form.unit_of(seen, instance)
    networks = (seen.get("NetworkSettings") or {}).get("Networks") or {}
    address = next((each["IPAddress"] for _, each in sorted(networks.items()) if each.get("IPAddress")), None)
    return Unit(**{**vars(found), "address": address})


def guest_of(seen: Seen, image: Seen, instance: str) -> Guest:
    """A container as `GET /containers/{id}/json` describes it, with what is said of its image."""
    config, host, labels = seen["Config"], seen["HostConfig"], seen["Config"].get("Labels") or {}
    reference = str(config.get("Image") or seen["Image"])
    state, own = seen["State"], set((image.get("Config") or {}).get("Env") or ())
    pairs = (entry.partition("=") for entry in config.get("Env") or () if entry not in own)
    return Guest(
        id=seen["Id"], name=form.container_name(seen),
        running=bool(state["Running"]) and not state.get("Restarting", False) and not state.get("Paused", False),
        image=reference, image_id=seen["Image"], digest=registry_digest(reference, image),
        health=Health((state.get("Health") or {}).get("Status") or "none"),
        ours=form.is_ours(seen, instance), managed=labels.get("codeb.managed") == "true" or STORAGE in labels,
        vanishes=bool(host.get("AutoRemove")), bindings=tuple(_bindings(seen)),
        env=tuple((name, Secret(text)) for name, _, text in pairs),
        memory_mb=host.get("Memory", 0) // form.MIB or None, cpus=host.get("NanoCpus", 0) / 1e9 or None,
        composed=labels.get(COMPOSE), lost=tuple(_lost(seen, image)),
    )  # fmt: skip


def _bindings(seen: Seen) -> Iterator[Binding]:
    """What it publishes now; unlike a stopped one's, a running one's ports are all named."""
    for inner, bound in sorted(((seen.get("NetworkSettings") or {}).get("Ports") or {}).items()):
        number, _, protocol = inner.partition("/")
        for each in bound or ():
            if protocol == "tcp" and each.get("HostPort"):
                yield Binding(each.get("HostIp") or "0.0.0.0", int(each["HostPort"]), int(number))  # noqa: S104 - reads a binding


def _lost(seen: Seen, image: Seen) -> Iterator[str]:
    host, config, own = seen["HostConfig"], seen["Config"], image.get("Config") or {}
    if host.get("Privileged"):
        yield "all rights on the machine (privileged)"
    for field, what in (("NetworkMode", "network"), ("PidMode", "processes"), ("IpcMode", "memory")):
        if host.get(field) == "host":
            yield f"the {what} of the machine (host)"
    if added := host.get("CapAdd"):
        yield f"capabilities {', '.join(sorted(added))}"
    if devices := host.get("Devices"):
        yield f"devices {', '.join(sorted(str(each.get('PathOnHost')) for each in devices))}"
    for mount in seen.get("Mounts") or ():
        source = mount.get("Name") or mount.get("Source")
        yield f"the {mount.get('Type', 'mount')} {source} at {mount.get('Destination')}"
    networks = set((seen.get("NetworkSettings") or {}).get("Networks") or {}) - {"bridge", "host"}
    for network in sorted(networks):
        yield f"the network {network}"
    for field, what in (("Entrypoint", "entry point"), ("Cmd", "command")):
        if config.get(field) and config.get(field) != own.get(field):
            yield f"its own {what}"
    udp = [
        inner
        for inner, bound in ((seen.get("NetworkSettings") or {}).get("Ports") or {}).items()
        if bound and "/tcp" not in inner
    ]
    if udp:
        yield f"published {', '.join(sorted(udp))}"
