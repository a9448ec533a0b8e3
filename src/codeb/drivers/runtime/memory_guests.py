"""The memory twin of `Guests`: the boxes of a `Machine` that CodeB did not make."""

from collections.abc import Sequence

from codeb.drivers.runtime.log_cursor import MOST_LINES, moment, since_moment
from codeb.drivers.runtime.memory_machine import Box, Machine
from codeb.model.guests import Binding, Guest
from codeb.model.secret import Secret
from codeb.model.specs import LogLine, Unit

SHORTEST_ID = 12


class MemoryGuests:
    """`Guests`. See `Box` for what a test may say of one."""

    def __init__(self, machine: Machine, instance: str = "memory") -> None:
        self._machine = machine
        self._instance = instance

    async def find(self, reference: str) -> Guest | None:
        await self._machine.awake()
        found = self._machine.boxes.get(reference)
        if found is None and len(reference) >= SHORTEST_ID:
            found = next((box for box in self._machine.boxes.values() if box.id.startswith(reference)), None)
        return self._guest(found) if found else None

    async def unit(self, container: str) -> Unit | None:
        await self._machine.awake()
        box = self._box(container)
        return None if box is None else Unit(
            id=box.id, name=box.name, running=box.running, image_id=box.image_id, health=box.behaviour.health,
            exit_code=None if box.running else box.exit_code, restarts=box.restarts, started=str(box.lives) if box.lives else "",
            restarting=box.status == "restarting", kept=box.policy != "no", address=box.address, published=box.published,
        )  # fmt: skip

    async def stop(self, container: str, seconds: int) -> None:
        await self._machine.awake()
        box = self._box(container)
        if box is not None and box.running:
            await self._machine.act(f"stop {box.name}", lambda: self._machine.stop(box, seconds))

    async def start(self, container: str) -> None:
        await self._machine.awake()
        box = self._box(container)
        if box is not None and not box.running:
            await self._machine.act(f"start {box.name}", lambda: self._machine.start(box))

    async def rename(self, container: str, name: str) -> None:
        await self._machine.awake()
        box = self._box(container)
        if box is not None and box.name != name:
            await self._machine.act(f"rename {box.name} {name}", lambda: self._machine.rename(box, name))

    async def remove(self, container: str, seconds: int) -> None:
        await self.stop(container, seconds)
        box = self._box(container)
        if box is not None:
            await self._machine.act(f"remove {box.name}", lambda: self._machine.boxes.pop(box.name, None))

    async def tail(self, container: str, lines: int, since: str | None = None) -> Sequence[LogLine]:
        after = since_moment(since)
        await self._machine.awake()
        box, lines = self._box(container), max(0, min(lines, MOST_LINES))
        if box is None or lines == 0:
            return []
        return [line for line in box.log[-lines:] if after is None or moment(line.at) > after]

    def _box(self, container: str) -> Box | None:
        return next((box for box in self._machine.boxes.values() if box.id == container), None)

    def _guest(self, box: Box) -> Guest:
        inner = box.inner or (box.published[0][1] if box.published else 0)
        return Guest(
            id=box.id, name=box.name, running=box.running, image=box.image, image_id=box.image_id, digest=box.image_id,
            health=box.behaviour.health, ours=box.instance == self._instance, managed=bool(box.instance), vanishes=box.vanishes,
            bindings=tuple(Binding(host, port, inner) for host, port in box.published),
            env=tuple((name, Secret(text)) for name, text in box.env.items()),
        )  # fmt: skip
