"""Records in memory, for tests."""

from collections.abc import Mapping, Sequence
from typing import Any

from codeb.errors import Unavailable
from codeb.model.chain import AuditRow, Head


class MemoryRecords:
    def __init__(self) -> None:
        self.lines: dict[str, list[dict[str, Any]]] = {}
        self.documents: dict[str, Mapping[str, Any]] = {}

    async def append(self, stream: str, entry: Mapping[str, Any], *, key: str) -> None:
        lines = self.lines.setdefault(stream, [])
        if all(line["key"] != key for line in lines):
            lines.append({**entry, "key": key})

    async def keep(self, name: str, document: Mapping[str, Any]) -> str:
        self.documents[name] = document
        return f"memory:{name}"


class MemoryLedger:
    """A ledger that outlives a process of a test. `full`: why nothing can be put there."""

    def __init__(self) -> None:
        self.kept: Head | None = None
        self.rows: list[AuditRow] = []
        self.full = ""

    def _refuse(self) -> None:
        if self.full:
            raise Unavailable(self.full, code="audit_unavailable")

    async def head(self) -> Head | None:
        return self.kept

    async def keep(self, head: Head) -> None:
        self._refuse()
        self.kept = head

    async def waiting(self) -> Sequence[AuditRow]:
        return list(self.rows)

    async def put(self, rows: Sequence[AuditRow]) -> None:
        self._refuse()
        self.rows += rows

    async def clear(self) -> None:
        self.rows.clear()
