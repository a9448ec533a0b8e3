"""A storage server in memory, for tests: it outlives a process, knows who may enter, and keeps what was written."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from codeb.contracts.databases import gone, taken
from codeb.errors import StepFailed
from codeb.model.secret import Secret
from codeb.model.storage import Endpoint, Found, Holding


@dataclass
class Part:
    """What one holding has there. `data`: what its tenant wrote, None before there is a database."""

    mark: str
    words: dict[int, str] = field(default_factory=dict)
    open: bool = True
    data: dict[str, Any] | None = None


class MemoryStorage:
    """The server of both kinds. `broken_dump`: what a dump fails with."""

    def __init__(self, host: str = "198.51.100.7", port: int = 5432) -> None:
        self.where = Endpoint(host, port)
        self.parts: dict[str, Part] = {}
        self.dumps: dict[str, dict[str, Any]] = {}
        self.broken_dump = ""

    def enter(self, name: str, word: str) -> dict[str, Any]:
        """What a tenant with this password sees. Raises `KeyError` when it is not let in."""
        part = self.parts.get(name)
        if part is None or not part.open or word not in part.words.values() or part.data is None:
            raise KeyError(name)
        return part.data

    def _mine(self, what: Holding) -> Part | None:
        part = self.parts.get(what.name)
        return part if part is not None and part.mark == what.mark else None

    def _own(self, what: Holding) -> Part:
        part = self.parts.setdefault(what.name, Part(what.mark))
        if part.mark != what.mark:
            raise taken(what.name)
        return part

    async def allow(self, what: Holding, entry: bool) -> None:
        if part := self._mine(what):
            part.open = entry

    async def drop(self, what: Holding) -> None:
        if self._mine(what):
            del self.parts[what.name]

    async def dump(self, what: Holding, stem: str) -> str:
        part = self._mine(what)
        if part is None or part.data is None:
            raise gone(what.name)
        if self.broken_dump:
            raise StepFailed(self.broken_dump, code="dump_failed")
        self.dumps[stem] = dict(part.data)
        return f"memory:{stem}"

    async def all(self) -> Mapping[str, Found]:
        return {
            name: Found(part.mark, tuple(sorted(part.words)), part.open, None if part.data is None else len(part.data))
            for name, part in self.parts.items() if part.mark
        }  # fmt: skip


class MemoryDatabases(MemoryStorage):
    async def admit(self, what: Holding, generation: int, password: Secret) -> None:
        self._own(what).words[generation] = password.reveal()

    async def make(self, what: Holding) -> None:
        part = self._own(what)
        part.data = {} if part.data is None else part.data

    async def keep(self, what: Holding, generations: Collection[int]) -> None:
        if part := self._mine(what):
            part.words = {number: word for number, word in part.words.items() if number in generations}


class MemoryCaches(MemoryStorage):
    def __init__(self) -> None:
        super().__init__(port=6379)

    async def admit(self, what: Holding, passwords: Mapping[int, Secret]) -> None:
        part = self._own(what)
        part.words = {number: word.reveal() for number, word in passwords.items()}
        part.open, part.data = True, {} if part.data is None else part.data
