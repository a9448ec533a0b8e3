"""Tiny applications and clients, in this process, for tests of the proxy and of health probes."""

import asyncio
import contextlib
import socket
from dataclasses import dataclass


def free_ports(number: int) -> list[int]:
    sockets = [socket.socket() for _ in range(number)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


class Backend:
    """One version of an application. It lies in every header that is the proxy's to set."""

    def __init__(self, slot: str, port: int) -> None:
        self.slot, self.port, self.health, self.served, self.posts = slot, port, 200, 0, 0
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._answering: set[asyncio.Task[None] | None] = set()

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, backlog=512)

    async def kill(self) -> None:
        """As SIGKILL: nobody listens, everything open is reset."""
        if self._server is not None:
            self._server.close()
            for writer in list(self._writers):
                writer.transport.abort()
            await self._server.wait_closed()
            self._server = None
            answering = [each for each in self._answering if each]
            for each in answering:
                each.cancel()
            await asyncio.gather(*answering, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._server is None:  # accepted before the kill, and begun after it
            writer.transport.abort()
            return
        self._writers.add(writer)
        self._answering.add(asyncio.current_task())
        try:
            await self._converse(reader, writer)
        finally:
            self._writers.discard(writer)
            self._answering.discard(asyncio.current_task())
            writer.close()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                method, path, _ = head.split(" ", 2)
                length = [line.split(":")[1] for line in head.split("\r\n") if line.lower().startswith("content-length")]
                await reader.readexactly(int(length[0]) if length else 0)
                if not await self._answer(method, path, reader, writer):
                    break

    async def _answer(self, method: str, path: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        if path == "/health":
            self._say(writer, self.health)
            return True
        self.served += 1
        self.posts += method == "POST"
        if path == "/reset":
            writer.transport.abort()
            return False
        if path == "/slow":
            await asyncio.sleep(0.4)
        if path in ("/sse", "/lines"):
            await self._stream(writer, "text/event-stream" if path == "/sse" else "text/plain")
        elif path == "/ws":
            writer.write(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
            while line := await reader.readline():
                writer.write(f"{self.slot}:".encode() + line)
        else:
            self._say(writer, 200)
        await writer.drain()
        return True

    def _say(self, writer: asyncio.StreamWriter, status: int) -> None:
        body = self.slot.encode() * 300
        writer.write(
            f"HTTP/1.1 {status} X\r\nContent-Type: text/plain\r\nServer: app\r\nX-CodeB-Slot: purple\r\n"
            f"X-CodeB-Project: other\r\nContent-Length: {len(body)}\r\n\r\n".encode()
            + body
        )

    async def _stream(self, writer: asyncio.StreamWriter, kind: str) -> None:
        writer.write(f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
        for number in range(40):
            text = f"data: {self.slot} {number}\n\n".encode()
            writer.write(f"{len(text):x}\r\n".encode() + text + b"\r\n")
            await writer.drain()
            await asyncio.sleep(0.05)
        writer.write(b"0\r\n\r\n")


@dataclass(frozen=True)
class Reply:
    status: int
    headers: dict[str, list[str]]
    body: bytes

    @property
    def slot(self) -> str | None:
        return ",".join(self.headers["x-codeb-slot"]) if "x-codeb-slot" in self.headers else None


class Client:
    """One connection, kept alive; every fault is an exception."""

    def __init__(self, port: int, host: str) -> None:
        self._port, self._host = port, host
        self.reader: asyncio.StreamReader
        self.writer: asyncio.StreamWriter

    async def __aenter__(self) -> "Client":
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self._port)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.writer.close()
        with contextlib.suppress(ConnectionError):
            await self.writer.wait_closed()

    async def head(self, path: str = "/", method: str = "GET", extra: str = "", body: bytes = b"") -> Reply:
        length = f"Content-Length: {len(body)}\r\n" if method == "POST" else ""
        self.writer.write(f"{method} {path} HTTP/1.1\r\nHost: {self._host}\r\n{length}{extra}\r\n".encode() + body)
        lines = (await self.reader.readuntil(b"\r\n\r\n")).decode().rstrip().split("\r\n")
        headers: dict[str, list[str]] = {}
        for line in lines[1:]:
            name, _, value = line.partition(":")
            headers.setdefault(name.lower(), []).append(value.strip())
        return Reply(int(lines[0].split()[1]), headers, b"")

    async def ask(self, path: str = "/", method: str = "GET", extra: str = "", body: bytes = b"") -> Reply:
        got = await self.head(path, method, extra, body)
        text = await self.reader.readexactly(int(got.headers.get("content-length", ["0"])[0]))
        return Reply(got.status, got.headers, text)


async def ask(port: int, host: str, path: str = "/", method: str = "GET", extra: str = "", body: bytes = b"") -> Reply:
    """One request on a connection of its own."""
    async with asyncio.timeout(20), Client(port, host) as client:
        return await client.ask(path, method, extra, body)
