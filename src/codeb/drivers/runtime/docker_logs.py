"""What containers print, as a Docker Engine keeps it."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Protocol

from codeb.drivers.runtime import docker_spec as form
from codeb.drivers.runtime.docker_client import CALL_SECONDS, DockerClient, Refused, limit
from codeb.drivers.runtime.docker_inspect import find
from codeb.drivers.runtime.log_cursor import MOST_BYTES, MOST_LINES, Moment, moment, since_moment
from codeb.model.specs import LogLine

STREAMS = {1: "stdout", 2: "stderr"}


class Reader(Protocol):
    """The one thing we need of a byte stream: exactly n bytes, or `IncompleteReadError`."""

    async def readexactly(self, n: int, /) -> bytes: ...


async def frames(reader: Reader) -> AsyncIterator[tuple[int, bytes]]:
    """(stream number, payload) of Docker's multiplexed format: 1 byte stream, 3 bytes nothing, 4 bytes length, payload.

    Ends at a clean end; an end inside a frame raises `asyncio.IncompleteReadError`.
    """
    while True:
        try:
            header = await reader.readexactly(8)
        except asyncio.IncompleteReadError as end:
            if end.partial:
                raise
            return
        yield header[0], await reader.readexactly(int.from_bytes(header[4:], "big"))


async def log_lines(reader: Reader, after: Moment | None) -> AsyncIterator[LogLine]:
    """Lines later than `after`. Docker breaks a long line into frames without line end: the first stands for it."""
    within: set[int] = set()
    async for number, payload in frames(reader):
        goes_on = number in within
        if payload.endswith(b"\n"):
            within.discard(number)
        else:
            within.add(number)
        at, _, text = payload.removesuffix(b"\n").partition(b" ")
        stamp = at.decode("ascii", "replace")
        if goes_on or (after is not None and moment(stamp) <= after):
            continue
        yield LogLine(stamp, STREAMS.get(number, "stdout"), text[:MOST_BYTES].decode("utf-8", "replace"))


async def terminal_lines(chunks: AsyncIterator[bytes], after: Moment | None) -> AsyncIterator[LogLine]:
    """The lines of a container that was given a terminal: one stream, without frames. The last one may have no end."""
    held = b""
    async for chunk in chunks:
        *whole, held = (held + chunk).split(b"\n")
        for line in whole:
            at, _, text = line.removesuffix(b"\r").partition(b" ")
            stamp = at.decode("ascii", "replace")
            if after is None or moment(stamp) > after:
                yield LogLine(stamp, "stdout", text[:MOST_BYTES].decode("utf-8", "replace"))
        held = held[: 2 * MOST_BYTES]


class DockerLogs:
    """`Logs` for the containers of this installation; a foreign one has no lines for us."""

    def __init__(self, client: DockerClient, instance: str) -> None:
        self._client = client
        self._instance = instance

    async def tail(self, name: str, lines: int, since: str | None = None) -> Sequence[LogLine]:
        """See `Logs.tail`. At most 10,000 lines of at most 16 KiB. Raises `InvalidParams` for a bad `since`."""
        since_moment(since)
        seen = await find(self._client, name)
        if seen is None or not form.is_ours(seen, self._instance):
            return []
        return await tail_of(self._client, seen, lines, since)


async def tail_of(client: DockerClient, seen: Mapping[str, Any], lines: int, since: str | None) -> Sequence[LogLine]:
    """The last lines of an inspected container. See `DockerLogs.tail`."""
    after = since_moment(since)
    lines = max(0, min(lines, MOST_LINES))
    if lines == 0:
        return []
    params = {"stdout": "1", "stderr": "1", "timestamps": "1", "tail": str(lines)}
    if after is not None:
        params["since"] = f"{after[0]}.{after[1]:09d}"
    path = f"containers/{seen['Id']}/logs"
    kept: deque[LogLine] = deque(maxlen=lines)
    try:
        async with client.stream("GET", path, params=params, allowed=limit(CALL_SECONDS)) as response:
            terminal = bool((seen.get("Config") or {}).get("Tty"))
            read = terminal_lines(response.content.iter_any(), after) if terminal else log_lines(response.content, after)
            async for line in read:
                kept.append(line)
    except Refused as refused:
        if refused.status == 404:
            return []
        raise
    return list(kept)
