"""Containers that somebody else made, in a rig: one to take over, and what must hold of one that stands in a slot."""

from typing import Any

from codeb.drivers.runtime.memory_machine import Behaviour, Box, Machine
from codeb.model.names import kept
from codeb.model.slots import Pair, SlotRow

SECRET = "guest-word-4711"


def guest(machine: Machine, name: str = "web", port: int = 8080, inner: int = 3000, **more: Any) -> Box:
    """One that runs and answers, as `docker run -p 8080:3000 -e …` makes it."""
    image = machine.add_image("somebody/web:7", Behaviour(log=("hello from outside",)))
    box = machine.add_foreign(name, port)
    box.image_id, box.image, box.behaviour, box.inner = image.id, "somebody/web:7", machine.behaviours[image.id], inner
    box.env, box.policy, box.lives = {"WORD": SECRET, "PORT": "3000", "CODEB_X": "1"}, "always", 1
    machine.say(box, "stdout", *box.behaviour.log)
    for field, value in more.items():
        setattr(box, field, value)
    return box


def box_of(machine: Machine, row: SlotRow, aside: bool = False) -> Box | None:
    """What stands in a slot, whoever made it."""
    if row.adopted is not None:
        return next((box for box in machine.boxes.values() if box.id == row.adopted), None)
    return machine.boxes.get(kept(row.container) if aside else row.container)


def not_deployed(row: SlotRow, box: Box) -> list[str]:
    """Whether it is what the registry says."""
    made = box.id == row.adopted if row.adopted else box.spec is not None and box.spec.deployment_id == row.deployment_id
    return [] if made and box.image_id == row.image_id else [f"{row.container} is not what was deployed"]


def ports_of(pair: Pair) -> set[int]:
    """What is leased to an environment: its pair, and what an adopted container has brought."""
    return {port for row in pair.rows for port in (row.port, pair.own_port(row.slot))}


HANDED_OVER = ("offered", "promised", "taken", "outgrown", "abandoned")


async def hand_over(process: Any, machine: Machine, state: str) -> None:
    """offered: somebody's container web runs. promised: and the project is there. taken: web is live in blue.
    outgrown: 2 is live in green, web in grace in blue. abandoned: that, deleted.
    """
    where = {"projectName": "shop", "environment": "production"}
    guest(machine)
    if state == "promised":
        await process.ok("project_create", projectName="shop", containerPort=8080)
    if state in ("taken", "outgrown", "abandoned"):
        await process.ok("project_adopt", **where, container="web")
    if state in ("outgrown", "abandoned"):
        await process.ok("deploy", **where, image="shop:2")
        await process.ok("promote", **where)
    if state == "abandoned":
        await process.ok("project_delete", projectName="shop", confirm="shop")
    machine.effects.clear()
