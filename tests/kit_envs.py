"""The files of environment variables in `tests.kit`: watched, printed, and compared with the registry."""

from typing import Any

from codeb.contracts.envs import EnvCopy
from codeb.drivers.envs.memory import MemoryEnvFiles
from codeb.drivers.runtime.memory_machine import Machine
from codeb.drivers.store.sql import SqlStore
from codeb.model.names import Place


def env_print(machine: Machine, files: MemoryEnvFiles) -> dict[str, Any]:
    """The variables of every container, and of every file for what runs; without when they were written."""
    boxes = {box.name: box.spec.env for box in machine.boxes.values() if box.spec}
    said = {path: [each for each in text.split("\n") if not each.startswith("#")] for path, text in files.files.items()}
    return {"boxes": boxes, "files": {path: lines for path, lines in said.items() if path.startswith("env/")}}


async def env_faults(store: SqlStore, files: MemoryEnvFiles) -> list[str]:
    """Where the files of variables are not what the registry says."""
    async with store.read() as registry:
        heads = await registry.envs.heads()
    found = [] if heads == files.at else [f"the env files have {files.at}, the registry {heads}"]
    return found + [f"{path} is of nobody" for path in files.files if path.split("/")[1] not in store.snapshot.projects]


class WatchedEnvFiles(MemoryEnvFiles):
    """Dies at the same trap as the rest; a write is one effect."""

    def __init__(self, machine: Machine) -> None:
        super().__init__()
        self.machine = machine

    async def keep(self, place: Place, copy: EnvCopy) -> None:
        self._see(f"before env files of {place.key}")
        await super().keep(place, copy)
        self._see(f"after env files of {place.key}")

    async def remove(self, project: str, environment: str | None = None) -> None:
        what = f"{project}-{environment}" if environment else project
        self._see(f"before removing env files of {what}")
        await super().remove(project, environment)
        self._see(f"after removing env files of {what}")

    def _see(self, point: str) -> None:
        if self.machine.trap:
            self.machine.trap(point)
