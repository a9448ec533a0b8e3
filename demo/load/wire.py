"""One TCP connection that speaks HTTP/1.1 and WebSocket, and says exactly at which stage what broke."""

import asyncio
import contextlib
import os
import struct
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Literal

Stage = Literal["connect", "send", "headers", "body"]


class BrokenError(Exception):
    """An exchange did not end as it should: at which stage, why, and the status if one was received."""

    def __init__(self, stage: Stage, reason: str, status: int | None = None) -> None:
        super().__init__(f"{stage}: {reason}")
        self.stage: Stage = stage
        self.reason = reason
        self.status = status


@dataclass(frozen=True, slots=True)
class Head:
    """Status and header fields (names in lower case) of an answer."""

    status: int
    fields: dict[str, str]

    @property
    def closes(self) -> bool:
        """The server closes the connection after this answer."""
        return "close" in self.fields.get("connection", "").lower()


def reason_of(error: BaseException) -> str:
    """One or two words for what the socket said."""
    match error:
        case TimeoutError():
            return "timeout"
        case ConnectionRefusedError():
            return "refused"
        case ConnectionResetError() | BrokenPipeError():
            return "reset"
        case asyncio.IncompleteReadError():
            return "truncated" if error.partial else "closed"
        case OSError():
            return error.strerror or type(error).__name__
        case _:
            return f"malformed ({type(error).__name__})"


WIRE_ERRORS = (OSError, EOFError, ValueError, asyncio.LimitOverrunError)


@contextlib.contextmanager
def stage(name: Stage, status: int | None = None) -> Iterator[None]:
    """Everything that breaks inside is broken at this stage."""
    try:
        yield
    except WIRE_ERRORS as error:
        raise BrokenError(name, reason_of(error), status) from error


class Wire:
    """A connection. No single wait is longer than `patience` seconds; then it is broken with the reason "timeout"."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, patience: float) -> None:
        self._reader, self._writer = reader, writer
        self.patience = patience
        self.used = False

    @classmethod
    async def open(cls, host: str, port: int, patience: float) -> "Wire":
        """Connect. Raises `BrokenError` at stage connect."""
        with stage("connect"):
            async with asyncio.timeout(patience):
                return cls(*await asyncio.open_connection(host, port), patience)

    @property
    def gone(self) -> bool:
        """The other side has closed it, as far as we have been told."""
        return self._reader.at_eof() or self._writer.transport.is_closing()

    def close(self) -> None:
        self._writer.close()

    def abort(self) -> None:
        self._writer.transport.abort()

    async def send(self, data: bytes) -> None:
        """Write. Raises `BrokenError` at stage send."""
        with stage("send"):
            self._writer.write(data)
            async with asyncio.timeout(self.patience):
                await self._writer.drain()

    async def head(self) -> Head:
        """The head of the next answer.

        Raises `BrokenError` at stage headers; with reason "stale" when a connection that has carried an answer
        before was closed or reset before the first byte of this one.
        """
        try:
            with stage("headers"):
                async with asyncio.timeout(self.patience):
                    block = await self._reader.readuntil(b"\r\n\r\n")
                lines = block[:-4].decode("latin-1").split("\r\n")
                protocol, number = lines[0].split(" ", 2)[:2]
                if not protocol.startswith("HTTP/1."):
                    raise ValueError(protocol)
                fields = {k.lower(): v.strip() for k, v in (line.split(":", 1) for line in lines[1:])}
                return Head(int(number), fields)
        except BrokenError as broken:
            if self.used and broken.reason in ("closed", "reset"):
                raise BrokenError("headers", "stale") from broken
            raise

    async def pieces(self, head: Head) -> AsyncIterator[bytes]:
        """The body as it arrives. Raises `BrokenError` at stage body when it ends before its end."""
        with stage("body", head.status):
            if head.fields.get("transfer-encoding", "").lower() == "chunked":
                while piece := await self._chunk():
                    yield piece
            elif "content-length" in head.fields:
                async with asyncio.timeout(self.patience):
                    piece = await self._reader.readexactly(int(head.fields["content-length"]))
                yield piece
            else:
                # No length and no chunks: a cut could not be told from the end.
                raise ValueError("an answer without length")

    async def _chunk(self) -> bytes:
        async with asyncio.timeout(self.patience):
            size = int((await self._reader.readuntil(b"\r\n")).split(b";")[0], 16)
            return (await self._reader.readexactly(size + 2))[:-2]

    async def body(self, head: Head) -> bytes:
        """The whole body. Raises `BrokenError` at stage body."""
        whole = b"".join([piece async for piece in self.pieces(head)])
        self.used = True
        return whole

    async def send_frame(self, opcode: int, payload: bytes = b"") -> None:
        """A masked WebSocket frame, shorter than 126 bytes. Raises `BrokenError` at stage send."""
        mask = os.urandom(4)
        hidden = bytes(byte ^ mask[i & 3] for i, byte in enumerate(payload))
        await self.send(struct.pack("!BB", 0x80 | opcode, 0x80 | len(payload)) + mask + hidden)

    async def frame(self) -> tuple[int, bytes]:
        """Opcode and payload of the next WebSocket frame. Raises `BrokenError` at stage body."""
        with stage("body", 101):
            async with asyncio.timeout(self.patience):
                first, size = await self._reader.readexactly(2)
                if size >= 126:
                    size = int.from_bytes(await self._reader.readexactly(2 if size == 126 else 8), "big")
                return first & 0x0F, await self._reader.readexactly(size)
