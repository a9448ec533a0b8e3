"""The memory twins of runtime, networks, logs, ports and images: the same promises, kept in a `Machine`."""

from collections.abc import Sequence

from codeb.drivers.runtime.log_cursor import MOST_BYTES, MOST_LINES, moment, since_moment
from codeb.drivers.runtime.memory_machine import Box, Machine, name_taken
from codeb.errors import Conflict, NotFound, PublicError, Unavailable
from codeb.model import grammar, names
from codeb.model.specs import Finding, Health, Image, LogLine, Unit, UnitSpec

REPLACED_STOP = 10


class MemoryRuntime:
    """`Runtime`, `Networks` and `Checked`. Several may share one machine, each with an instance of its own."""

    def __init__(self, machine: Machine, instance: str = "memory") -> None:
        self.machine = machine
        self._instance = instance

    async def look(self, name: str) -> Unit | None:
        await self.machine.awake()
        box = self.machine.boxes.get(name)
        return self._unit(box) if box else None

    async def units(self) -> Sequence[Unit]:
        await self.machine.awake()
        ours = [box for box in self.machine.boxes.values() if box.instance == self._instance]
        return [self._unit(box) for box in sorted(ours, key=lambda box: box.name)]

    async def check(self) -> Finding:
        try:
            await self.machine.awake()
        except PublicError as error:
            return Finding("docker", "fail", error.message, error.hint)
        return Finding("docker", "pass", "containers in memory")

    async def close(self) -> None:
        """Nothing to give back."""

    async def run(self, spec: UnitSpec) -> Unit:
        machine = self.machine
        await machine.awake()
        await self._ensure_network(spec)
        standing = machine.boxes.get(spec.name)
        if standing is not None:
            unit = self._unit(standing)
            same = unit.deployment_id == spec.deployment_id or unit.operation_id == spec.operation_id
            if standing.instance != self._instance or not same:
                raise name_taken(spec.name)
            if unit.running and unit.deployment_id == spec.deployment_id:
                return unit
            await self._stop(standing, spec.limits.stop_seconds)
            await self._delete(standing)
        if spec.image_id not in machine.behaviours:
            raise NotFound(
                f"The image of {spec.name} is not on this server any more, so nothing was started.",
                code="image_not_found",
                hint="Deploy again: the image is then fetched once more.",
            )
        box = Box(
            machine.fresh("box"), spec.name, spec.image_id, (("127.0.0.1", spec.host_port),),
            machine.behaviours[spec.image_id], self._instance, spec,
        )  # fmt: skip
        await machine.act(f"create {spec.name}", lambda: machine.boxes.update({spec.name: box}))
        try:
            await machine.act(f"start {spec.name}", lambda: machine.start(box))
        except Conflict:
            await self._delete(box)
            raise
        return self._unit(box)

    async def keep(self, name: str) -> None:
        await self.machine.awake()
        box = self._ours(name)
        if box is None:
            raise NotFound(
                f"There is no container {name}.", code="container_not_found", hint="Deploy again; somebody removed it."
            )
        await self._policy(box, "unless-stopped")

    async def shelve(self, name: str, seconds: int) -> None:
        await self.machine.awake()
        aside = names.kept(name)
        seen, shelved = self._ours(name), self._ours(aside)
        if seen is not None:
            if shelved is not None:
                await self._stop(shelved, seconds)
                await self._delete(shelved)
            await self._rename(seen, aside)
            shelved = seen
        if shelved is not None:
            await self._policy(shelved, "no")
            await self._stop(shelved, seconds)

    async def unshelve(self, name: str, start: bool) -> None:
        await self.machine.awake()
        shelved = self._ours(names.kept(name))
        if shelved is None:
            return
        standing = self._ours(name)
        if standing is not None:
            await self._stop(standing, REPLACED_STOP)
            await self._delete(standing)
        if start:
            await self.machine.act(f"start {shelved.name}", lambda: self.machine.start(shelved))
            await self._policy(shelved, "unless-stopped")
        await self._rename(shelved, name)

    async def remove(self, name: str, seconds: int) -> None:
        await self.machine.awake()
        box = self._ours(name)
        if box is not None:
            await self._stop(box, seconds)
            await self._delete(box)

    async def restart(self, name: str, seconds: int) -> None:
        await self.machine.awake()
        box = self._ours(name)
        if box is None:
            raise _gone(name)
        await self._stop(box, seconds)
        await self.machine.act(f"start {name}", lambda: self.machine.start(box))

    async def name_back(self, found: str, name: str) -> None:
        await self.machine.awake()
        box = self._ours(found)
        if box is not None:
            await self._rename(box, name)

    async def networks(self) -> Sequence[str]:
        await self.machine.awake()
        return sorted(name for name, (owner, _) in self.machine.networks.items() if owner == self._instance)

    async def remove_network(self, project: str) -> None:
        await self.machine.awake()
        name = names.network(project)
        if self.machine.networks.get(name, ("", ""))[0] != self._instance:
            return
        if any(box.spec and box.spec.network == name for box in self.machine.boxes.values()):
            raise Conflict(
                f"The network {name} still has containers attached and was not removed.",
                code="network_in_use",
                hint="Remove the project's containers first, also those CodeB did not start.",
            )
        await self.machine.act(f"remove network {name}", lambda: self.machine.networks.pop(name, None))

    async def _ensure_network(self, spec: UnitSpec) -> None:
        networks = self.machine.networks
        if spec.network not in networks:
            owner = (self._instance, spec.project)
            await self.machine.act(f"create network {spec.network}", lambda: networks.update({spec.network: owner}))
        if networks[spec.network][0] != self._instance:
            raise name_taken(spec.network, "network")

    def _ours(self, name: str) -> Box | None:
        box = self.machine.boxes.get(name)
        if box is not None and box.instance != self._instance:
            raise name_taken(name)
        return box

    async def _stop(self, box: Box, seconds: int) -> None:
        if box.running:
            await self.machine.act(f"stop {box.name}", lambda: self.machine.stop(box, seconds))

    async def _delete(self, box: Box) -> None:
        await self.machine.act(f"remove {box.name}", lambda: self.machine.boxes.pop(box.name, None))

    async def _rename(self, box: Box, name: str) -> None:
        await self.machine.act(f"rename {box.name} {name}", lambda: self.machine.rename(box, name))

    async def _policy(self, box: Box, policy: str) -> None:
        def change() -> None:
            box.policy = policy

        await self.machine.act(f"policy {box.name} {policy}", change)

    def _unit(self, box: Box) -> Unit:
        spec = box.spec if box.instance == self._instance else None
        return Unit(
            id=box.id,
            name=box.name,
            running=box.running,
            image_id=box.image_id,
            health=_health(box),
            exit_code=None if box.status in ("running", "created") else box.exit_code,
            restarts=box.restarts,
            started=str(box.lives) if box.lives else "",
            restarting=box.status == "restarting",
            kept=box.policy != "no",
            address=box.address if spec else None,
            project=spec.project if spec else "",
            environment=spec.environment if spec else "",
            slot=spec.slot.value if spec else "",
            deployment_id=spec.deployment_id if spec else "",
            operation_id=spec.operation_id if spec else "",
            version=spec.version if spec else "",
            published=box.published,
        )


def _gone(name: str) -> NotFound:
    return NotFound(f"There is no container {name}.", code="container_not_found", hint="Deploy again; somebody removed it.")


def _health(box: Box) -> Health:
    if box.behaviour.health is Health.NONE:
        return Health.NONE
    box.looks += 1
    return Health.STARTING if box.looks <= box.behaviour.healthy_after else box.behaviour.health


class MemoryLogs:
    """`Logs`."""

    def __init__(self, machine: Machine, instance: str = "memory") -> None:
        self._machine = machine
        self._instance = instance

    async def tail(self, name: str, lines: int, since: str | None = None) -> Sequence[LogLine]:
        after = since_moment(since)
        await self._machine.awake()
        box = self._machine.boxes.get(name)
        lines = max(0, min(lines, MOST_LINES))
        if box is None or lines == 0 or box.instance != self._instance:
            return []
        return [
            LogLine(line.at, line.stream, line.text.encode()[:MOST_BYTES].decode("utf-8", "replace"))
            for line in box.log[-lines:]
            if after is None or moment(line.at) > after
        ]


class MemoryPorts:
    """`Ports`."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine

    async def published(self) -> dict[int, str]:
        await self._machine.awake()
        idle_first = sorted(self._machine.boxes.values(), key=lambda box: box.running)
        return {port: box.name for box in idle_first for _, port in box.published}

    async def listening(self) -> frozenset[int]:
        running = [box for box in self._machine.boxes.values() if box.running]
        return frozenset(self._machine.sockets) | {port for box in running for _, port in box.published}


class MemoryImages:
    """`Images`."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine

    async def resolve(self, reference: str) -> Image:
        await self._machine.awake()
        machine = self._machine
        host = grammar.image_host(reference)
        here = machine.local.get(reference)
        if here is not None and (host is None or "@" in reference):
            return here
        if host is not None and not machine.registry_down and reference in machine.registry:
            machine.local[reference] = machine.registry[reference]
            return machine.local[reference]
        reason = "it does not answer" if machine.registry_down else "it does not have it"
        if here is not None:
            return Image(here.reference, here.id, here.digest, here.has_healthcheck, f"The copy on this server is used: {reason}")
        if machine.registry_down:
            raise Unavailable(
                f"{host or 'The image registry'} did not give out {reference}, and there is no copy on this server. "
                "Nothing was changed.",
                code="image_registry_unavailable",
                hint="Check that the image registry runs and that this server reaches it, then try again.",
            )
        raise NotFound(
            f"Image not found: {reference}. Nothing was changed.",
            code="image_not_found",
            hint="Check its name and tag and that it was pushed, or build it on this server, then try again.",
        )
