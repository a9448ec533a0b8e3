"""What we need kept in files for people, beside the registry."""

from collections.abc import Mapping
from typing import Any, Protocol


class Records(Protocol):
    async def append(self, stream: str, entry: Mapping[str, Any], *, key: str) -> None:
        """Add one JSON line to `logs/{stream}.jsonl`, once: a last line that bears this `key` already is not repeated."""

    async def keep(self, name: str, document: Mapping[str, Any]) -> str:
        """Write `backups/{name}.json` (0600, whole or not at all) and return its path."""
