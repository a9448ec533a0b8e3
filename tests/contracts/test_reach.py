"""Whether another machine's services answer: never an exception, never longer than it may take."""

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from codeb.drivers.reach.sockets import SocketReach

pytestmark = pytest.mark.anyio


@contextlib.asynccontextmanager
async def answering(text: bytes, path: str | None = None) -> AsyncIterator[int]:
    """Says `text` to whatever it is asked."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            asked = await reader.readuntil(b"\r\n\r\n")
            assert asked.startswith(b"GET /_ping ")
            writer.write(text)
            await writer.drain()
        writer.close()

    server = await (asyncio.start_unix_server(serve, path) if path else asyncio.start_server(serve, "127.0.0.1", 0))
    try:
        yield 0 if path else server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await server.wait_closed()


PONG = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nOK"


async def test_a_connection_is_accepted_or_not() -> None:
    reach = SocketReach()
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert await reach.tcp("127.0.0.1", port, 2) == ""
    assert "refused" in await reach.tcp("127.0.0.1", port, 2)


async def test_a_silent_one_is_given_up() -> None:
    """P3. A full backlog answers nothing."""
    server = socket.create_server(("127.0.0.1", 0), backlog=0)
    port = server.getsockname()[1]
    waiting = []
    for _ in range(4):
        line = socket.socket()
        line.setblocking(False)
        line.connect_ex(("127.0.0.1", port))
        waiting.append(line)
    began = time.monotonic()
    assert "no answer within 0.3 s" in await SocketReach().tcp("127.0.0.1", port, 0.3)
    assert time.monotonic() - began < 3
    for each in (*waiting, server):
        each.close()


async def test_an_engine_by_tcp_and_by_its_socket(tmp_path: Path) -> None:
    reach, path = SocketReach(), str(tmp_path / "docker.sock")
    async with answering(PONG) as port:
        assert await reach.docker(f"tcp://127.0.0.1:{port}", 2) == ""
    assert await reach.docker(f"tcp://127.0.0.1:{port}", 2) != ""
    async with answering(PONG, path):
        assert await reach.docker(f"unix://{path}", 2) == ""
    assert await reach.docker(f"unix://{path}", 2) != ""


@pytest.mark.parametrize(
    "text", [PONG.replace(b"OK", b"NO"), b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", b"SSH-2.0-x\r\n"]
)
async def test_what_is_no_engine(text: bytes) -> None:
    async with answering(text) as port:
        assert await SocketReach().docker(f"tcp://127.0.0.1:{port}", 2) != ""
