"""The master keys of a CodeB in memory."""

from collections.abc import Sequence
from pathlib import Path

from codeb.errors import Unavailable
from codeb.model.sealed import MasterKey


class MemoryKeyFile:
    """What `KeyFile` does, without a file; outlives a process. `fault`: what reading and writing raise."""

    path = Path("/memory/master.key")

    def __init__(self) -> None:
        self.keys: tuple[MasterKey, ...] = ()
        self.fault: Unavailable | None = None

    def read(self) -> tuple[MasterKey, ...]:
        if self.fault is not None:
            raise self.fault
        return self.keys

    def write(self, keys: Sequence[MasterKey]) -> None:
        if self.fault is not None:
            raise self.fault
        self.keys = tuple(keys)
