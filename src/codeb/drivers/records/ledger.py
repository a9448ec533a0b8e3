"""The audit log's own files in the home: `audit.head`, and `audit.pending` for rows that the registry does not take."""

import asyncio
import contextlib
import json
import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from codeb.drivers.files import Unsound, atomic_write, make_way, owners_of, read_own, set_aside, sync_folder
from codeb.errors import Unavailable
from codeb.model.chain import AuditRow, Head

log = logging.getLogger("codeb.audit")

MOST_BYTES = 16 * 2**20
"""of rows that wait"""
HEAD, PENDING = "audit.head", "audit.pending"


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, Unsound) as fault:
        why = getattr(fault, "strerror", None) or str(fault)
        raise Unavailable(
            f"{path} cannot be written: {why}.", code="audit_unavailable", hint="Look at the disk of the home and its rights."
        ) from fault


class FileLedger:
    """See `contracts.ledger.Ledger`."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._head = home / HEAD
        self._pending = home / PENDING

    async def head(self) -> Head | None:
        return await asyncio.to_thread(self._read_head)

    def _read_head(self) -> Head | None:
        try:
            said = json.loads(read_own(self._head, owners_of(self._home)))
            head = Head(said["chain"], said["seq"], said["hash"])
            if not (isinstance(head.chain, str) and type(head.seq) is int and isinstance(head.hash, str)):
                raise ValueError("it does not name a row")
        except FileNotFoundError:
            return None
        except (Unsound, ValueError, KeyError, TypeError) as fault:
            with contextlib.suppress(OSError):
                log.error("%s cannot be read (%s); it is kept as %s", self._head, fault, set_aside(self._head))
            return None
        return head

    async def keep(self, head: Head) -> None:
        await asyncio.to_thread(self._keep, head)

    def _keep(self, head: Head) -> None:
        with _translated(self._head):
            make_way(self._head)
            atomic_write(self._head, json.dumps(vars(head)).encode() + b"\n", 0o600)

    async def waiting(self) -> Sequence[AuditRow]:
        return await asyncio.to_thread(self._waiting)

    def _waiting(self) -> list[AuditRow]:
        try:
            text = read_own(self._pending, owners_of(self._home))
        except FileNotFoundError:
            return []
        except Unsound as fault:
            log.error("rows of the audit log that waited cannot be read: %s", fault)
            return []
        lines = [line for line in text.split(b"\n") if line]
        rows = [row for line in lines if (row := _row(line)) is not None]
        if len(rows) < len(lines):
            log.error("%s: %d lines are no rows of the audit log", self._pending, len(lines) - len(rows))
        return rows

    async def put(self, rows: Sequence[AuditRow]) -> None:
        text = b"".join(json.dumps({**vars(row), "at": row.at.isoformat()}).encode() + b"\n" for row in rows)
        await asyncio.to_thread(self._put, text)

    def _put(self, text: bytes) -> None:
        with _translated(self._pending):
            make_way(self._pending)
            handle = os.open(self._pending, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            try:
                size = os.fstat(handle).st_size
                if size + len(text) > MOST_BYTES:
                    raise Unsound(f"{MOST_BYTES // 2**20} MiB of rows wait in it already")
                try:
                    # an empty line sets what a death tore apart from what is whole
                    whole = memoryview((b"\n" if size else b"") + text)
                    while whole:
                        whole = whole[os.write(handle, whole) :]
                    os.fsync(handle)
                except OSError:
                    os.ftruncate(handle, size)
                    raise
            finally:
                os.close(handle)
            sync_folder(self._home)

    async def clear(self) -> None:
        await asyncio.to_thread(self._clear)

    def _clear(self) -> None:
        with _translated(self._pending):
            self._pending.unlink(missing_ok=True)
            sync_folder(self._home)


def _row(line: bytes) -> AuditRow | None:
    try:
        said: dict[str, Any] = json.loads(line)
        row = AuditRow(**{**said, "at": datetime.fromisoformat(said["at"])})
        sound = row.at.tzinfo is not None and isinstance(row.params, dict) and type(row.seq) is int and type(row.ok) is bool
        texts = (row.chain, row.prev, row.hash, row.correlation_id, row.entry, row.tool, row.code, row.summary)
        maybe = (row.key_id, row.team, row.role, row.ip)
        sound = sound and all(isinstance(text, str) for text in texts) and isinstance(row.duration_ms, int | float)
        return row if sound and all(text is None or isinstance(text, str) for text in maybe) else None
    except (ValueError, TypeError, KeyError):
        return None
