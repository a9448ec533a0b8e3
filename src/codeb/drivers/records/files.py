"""Records for people, as files below CodeB's home."""

import asyncio
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from codeb.drivers.files import atomic_write


class FileRecords:
    def __init__(self, home: Path) -> None:
        self._home = home

    async def append(self, stream: str, entry: Mapping[str, Any], *, key: str) -> None:
        await asyncio.to_thread(self._append, self._home / "logs" / f"{stream}.jsonl", {**entry, "key": key})

    @staticmethod
    def _append(path: Path, entry: dict[str, Any]) -> None:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o750)
        with path.open("a+b") as file:
            file.seek(max(0, file.tell() - 65536))
            lines = file.read().split(b"\n")
            if any(_key(line) == entry["key"] for line in lines[-50:]):
                return
            # a line torn by a crash stays apart from the new one
            start = b"" if lines[-1] == b"" else b"\n"
            file.write(start + json.dumps(entry, ensure_ascii=False).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())

    async def keep(self, name: str, document: Mapping[str, Any]) -> str:
        path = self._home / "backups" / f"{name}.json"
        text = json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
        await asyncio.to_thread(self._keep, path, text.encode())
        return str(path)

    @staticmethod
    def _keep(path: Path, data: bytes) -> None:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        atomic_write(path, data, 0o600)


def _key(line: bytes) -> Any:
    try:
        return json.loads(line).get("key")
    except (ValueError, AttributeError):
        return None
