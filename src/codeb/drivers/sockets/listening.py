"""Which TCP ports of this machine have a listener, as the kernel says."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

from codeb.errors import Unavailable

TABLE, TABLE_6 = Path("/proc/net/tcp"), Path("/proc/net/tcp6")
LISTENS = "0A"


async def listening_ports() -> frozenset[int]:
    """Every TCP port with a listening socket, IPv4 and IPv6. Takes about a millisecond, off the event loop.

    Raises `Unavailable` (code `sockets_unreadable`) when the kernel does not say: an unknown port is not a free one.
    """
    try:
        return await asyncio.to_thread(_read)
    except (OSError, ValueError, IndexError) as error:
        raise Unavailable(
            "The listening ports of this server cannot be read; no port was given out.",
            code="sockets_unreadable",
            hint="CodeB's user needs to read /proc/net.",
        ) from error


def _read() -> frozenset[int]:
    # The kernel's own tables: psutil would also look who holds each socket, through every process there is (100 ms).
    tables = (TABLE, TABLE_6) if TABLE_6.exists() else (TABLE,)
    return frozenset(port_of(words) for table in tables for words in listeners(table))


def listeners(table: Path) -> Iterator[list[str]]:
    """The words of each line about a listening socket in a table of the kernel: local address is [1], its inode [9]."""
    for line in table.read_text("ascii").splitlines()[1:]:
        words = line.split()
        if words[3] == LISTENS:
            yield words


def port_of(words: list[str]) -> int:
    return int(words[1].rpartition(":")[2], 16)
