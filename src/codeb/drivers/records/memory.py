"""Records in memory, for tests."""

from collections.abc import Mapping
from typing import Any


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
