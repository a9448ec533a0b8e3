"""A real socket: what a peer can draw out, and how much it can send, has an end (S33)."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from codeb.entry.http import Http, protocol, wire
from codeb.entry.http.protocol import Guarded, guarded
from codeb.entry.http.wire import HEADERS
from codeb.wiring import House
from tests.kit import OWNER, begin

pytestmark = pytest.mark.anyio
HEAD = f"Host: 127.0.0.1\r\nX-API-Key: {OWNER.reveal()}\r\nContent-Type: application/json\r\n"
CALL = f"POST /api/slot/list HTTP/1.1\r\n{HEAD}Content-Length: 2\r\n\r\n{{}}".encode()


class Line:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def send(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def answer(self, seconds: float = 5) -> tuple[int, dict[str, str], dict[str, Any]]:
        async with asyncio.timeout(seconds):
            head = (await self._reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            headers = dict(line.lower().split(": ", 1) for line in head[1:] if line)
            body = json.loads(await self._reader.readexactly(int(headers["content-length"])))
        return int(head[0].split()[1]), headers, body

    async def ends(self, seconds: float = 5) -> bytes:
        """What still comes until the server closes; raises `TimeoutError` when it does not."""
        async with asyncio.timeout(seconds):
            try:
                return await self._reader.read()
            except ConnectionResetError:
                return b""


class Port:
    def __init__(self, port: int, kind: type[Guarded]) -> None:
        self.port, self.kind = port, kind
        self._lines: list[asyncio.StreamWriter] = []

    async def line(self) -> Line:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, limit=2**20)
        self._lines.append(writer)
        return Line(reader, writer)

    async def hang_up(self) -> None:
        for each in self._lines:
            each.close()


@pytest.fixture
async def port() -> AsyncIterator[Port]:
    async with begin("active") as rig:
        process, http = rig.boot(), Http()
        http.bind(House(process.kit, process.engine, process.gate, process.audit, Path("owner.key")))
        kind = guarded(http.raw)
        server = uvicorn.Server(
            uvicorn.Config(http.app(), port=0, http=kind, ws="none", lifespan="off", log_level="critical", timeout_keep_alive=1)
        )
        running = asyncio.create_task(server._serve())
        while not server.started:
            await asyncio.sleep(0.01)
        made = Port(server.servers[0].sockets[0].getsockname()[1], kind)
        yield made
        await made.hang_up()
        server.should_exit = True
        await running


async def test_a_line_serves_many_calls_whole_or_in_pieces(port: Port) -> None:
    line = await port.line()
    for _ in range(3):
        await line.send(CALL)
        assert (await line.answer())[0] == 200
    for each in (CALL[:10], CALL[10:-1], CALL[-1:]):
        await line.send(each)
        await asyncio.sleep(0.02)
    assert (await line.answer())[0] == 200
    await line.send(CALL * 3)
    assert [(await line.answer())[0] for _ in range(3)] == [200] * 3


async def test_the_space_round_a_header_is_no_part_of_it(port: Port) -> None:
    """RFC 9110, 5.5: before and after, spaces and tabs."""
    name, _, value = next(line for line in CALL.split(b"\r\n") if line.lower().startswith(b"x-api-key")).partition(b":")
    line = await port.line()
    for spaced in (b":" + value.strip(), b":\t " + value.strip() + b" \t", b": " + value.strip() + b"   "):
        await line.send(CALL.replace(name + b":" + value, name + spaced))
        assert (await line.answer())[0] == 200


@pytest.mark.parametrize(
    "begun", [b"", b"\r\n", b"POST /api/slot/list HT", b"POST /api/slot/list HTTP/1.1\r\nHost: 127.0.0.1\r\nX-"]
)
async def test_headers_that_do_not_come(port: Port, monkeypatch: pytest.MonkeyPatch, begun: bytes) -> None:
    monkeypatch.setattr(protocol, "HEAD_SECONDS", 0.2)
    line = await port.line()
    await line.send(begun)
    status, headers, body = await line.answer()
    assert (status, body["code"], headers["connection"]) == (400, "too_slow", "close")
    assert await line.ends() == b""


@pytest.mark.parametrize("begun", [b"\r\n", b"POST /api/slot/list HTTP/1.1\r\nHo"])
async def test_headers_of_a_later_request_that_do_not_come(port: Port, monkeypatch: pytest.MonkeyPatch, begun: bytes) -> None:
    line = await port.line()
    await line.send(CALL)
    assert (await line.answer())[0] == 200
    monkeypatch.setattr(protocol, "HEAD_SECONDS", 0.2)
    await line.send(begun)
    assert b"too_slow" in await line.ends(0.9), "sooner than an idle line is cut"


async def test_an_idle_line_is_cut(port: Port) -> None:
    line = await port.line()
    await line.send(CALL)
    assert (await line.answer())[0] == 200
    assert await line.ends(4) == b""


async def test_a_body_that_does_not_come(port: Port, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "BODY_SECONDS", 0.2)
    line = await port.line()
    await line.send(CALL[:-1])
    status, headers, body = await line.answer()
    assert (status, body["code"], headers["connection"]) == (400, "too_slow", "close")
    assert await line.ends() == b""


async def test_a_body_that_does_not_come_after_one_that_was_there(port: Port, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "BODY_SECONDS", 0.2)
    line = await port.line()
    await line.send(CALL)
    assert (await line.answer())[0] == 200
    await line.send(CALL[:-1])
    assert (await line.answer())[1]["connection"] == "close"
    assert await line.ends() == b""


async def test_for_a_body_that_is_there_no_timer_is_made(port: Port, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "BODY_SECONDS", "no number, so no timer can be made of it")
    line = await port.line()
    await line.send(CALL)
    assert (await line.answer())[0] == 200


async def test_what_was_answered_before_it_came_is_not_read_for_ever(port: Port, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "LINGER_SECONDS", 0.2)
    line = await port.line()
    await line.send(f"POST /api/slot/list HTTP/1.1\r\n{HEAD}Content-Length: 99999999\r\n\r\n".encode())
    assert (await line.answer())[0] == 413
    assert await line.ends(0.9) == b""


async def test_a_body_that_is_too_large_is_read_on_so_that_its_sender_hears_of_it(port: Port) -> None:
    line = await port.line()
    size = 2**20 + 1
    await line.send(f"POST /api/slot/list HTTP/1.1\r\n{HEAD}Content-Length: {size}\r\n\r\n".encode() + b" " * size)
    assert (await line.answer())[0] == 413
    await line.send(CALL)
    assert (await line.answer())[0] == 200


@pytest.mark.parametrize("head", [
    b"GET /health HTTP/1.1\r\n" + b"a: b\r\n" * 101, b"GET /health HTTP/1.1\r\na: " + b"b" * 70_000 + b"\r\n",
    b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n",
])  # fmt: skip
async def test_headers_that_are_too_many_or_too_long(port: Port, head: bytes) -> None:
    line = await port.line()
    await line.send(head + b"Host: 127.0.0.1\r\n\r\n")
    status, headers, body = await line.answer()
    assert (status, body["code"], headers["connection"]) == (400, "malformed", "close")


async def test_a_header_without_an_end_is_not_gathered(port: Port) -> None:
    line, sent = await port.line(), 0
    await line.send(b"GET /health HTTP/1.1\r\na: ")
    with pytest.raises(ConnectionError):
        while sent < 50 * 2**20:
            await line.send(b"b" * 65_536)
            sent += 65_536
            await asyncio.sleep(0)
    assert sent < 20 * 2**20


async def test_what_is_no_http_gets_the_same_envelope_and_headers(port: Port) -> None:
    line = await port.line()
    await line.send(b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n")
    status, headers, body = await line.answer()
    assert (status, body["success"], body["code"], headers["connection"]) == (400, False, "malformed", "close")
    assert {name: headers.get(name.lower()) for name in HEADERS} == {name: value.lower() for name, value in HEADERS.items()}
    assert body["correlationId"] == headers["x-correlation-id"]


async def test_there_is_an_end_to_connections(port: Port) -> None:
    port.kind.most = 3  # of this server alone: each has a class of its own
    held = [await port.line() for _ in range(3)]
    for line in held:
        await line.send(CALL)
        assert (await line.answer())[0] == 200
    over = await port.line()
    status, headers, body = await over.answer()
    assert (status, body["code"], body["retryable"], headers["connection"]) == (503, "busy", True, "close")
    await held[0].send(CALL)
    assert (await held[0].answer())[0] == 200


async def test_a_websocket_is_not_opened(port: Port) -> None:
    line = await port.line()
    await line.send(
        f"GET /api HTTP/1.1\r\n{HEAD}Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n".encode()
    )
    assert (await line.answer())[0] == 200
