"""Health probes against servers that answer, refuse, break, drip and lie."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from codeb.contracts.health import Health
from codeb.drivers.health.http import HttpHealth
from codeb.drivers.health.memory import MemoryHealth
from codeb.model.names import Slot
from codeb.model.specs import Address, Answer
from tests.contracts.backends import free_ports
from tests.contracts.proxies import HOST, SHOP, rig

pytestmark = pytest.mark.anyio
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@pytest.fixture
async def health() -> AsyncIterator[HttpHealth]:
    made = HttpHealth()
    yield made
    await made.close()


class Server:
    """Answers each connection by `serve`; counts them and keeps what was asked."""

    def __init__(self, serve: Serve | bytes) -> None:
        self.serve, self.asked, self.writers = serve, list[str](), list[asyncio.StreamWriter]()

    async def __aenter__(self) -> "Server":
        self._server = await asyncio.start_server(self._one, "127.0.0.1", 0)
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for writer in self.writers:
            writer.transport.abort()
        await self._server.wait_closed()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        self.asked.append((await reader.readuntil(b"\r\n\r\n")).decode())
        if isinstance(self.serve, bytes):
            writer.write(self.serve)
            await writer.drain()
        else:
            try:
                await self.serve(reader, writer)
            except ConnectionError:
                return


def answer(status: int, extra: str = "") -> bytes:
    return f"HTTP/1.1 {status} X\r\n{extra}Content-Length: 2\r\n\r\nok".encode()


@pytest.mark.parametrize(("status", "ok"), [(200, True), (204, True), (302, True), (399, True), (404, False), (503, False)])
async def test_the_status_is_told_as_it_is(health: HttpHealth, status: int, ok: bool) -> None:
    reply = f"HTTP/1.1 {status} X\r\nLocation: http://127.0.0.1:1/\r\n\r\n".encode()
    async with Server(reply) as server:
        got = await health.probe(Address("127.0.0.1", server.port), 2)
        assert (got.status, got.ok, got.reason) == (status, ok, "")
        assert len(server.asked) == 1, "a redirect was followed"


async def test_it_asks_for_the_path_and_host_by_get_on_a_new_connection_each_time(health: HttpHealth) -> None:
    async with Server(answer(200)) as server:
        for _ in range(3):
            await health.probe(Address("127.0.0.1", server.port, "/health", "shop.localhost"), 2)
        assert len(server.writers) == 3
        assert all(text.startswith("GET /health HTTP/1.1\r\n") for text in server.asked)
        assert all("host: shop.localhost\r\n" in text.lower() for text in server.asked)


@pytest.mark.parametrize(("header", "slot"), [("blue", "blue"), ("green", "green"), ("purple", None), ("", None)])
async def test_the_slot_is_what_the_header_says_if_it_is_one(health: HttpHealth, header: str, slot: str | None) -> None:
    async with Server(answer(200, f"X-CodeB-Slot: {header}\r\n")) as server:
        assert await health.probe(Address("127.0.0.1", server.port), 2) == Answer(200, slot)


async def test_nobody_there(health: HttpHealth) -> None:
    [port] = free_ports(1)
    got = await health.probe(Address("127.0.0.1", port), 2)
    assert got.status is None
    assert got.reason.startswith("no connection")


async def test_a_connection_that_breaks(health: HttpHealth) -> None:
    async def reset(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.abort()

    async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n")
        writer.close()

    for serve in (reset, hang_up):
        async with Server(serve) as server:
            got = await health.probe(Address("127.0.0.1", server.port), 2)
            assert got.status is None
            assert got.reason


@pytest.mark.parametrize("said", [b"SSH-2.0-OpenSSH\r\n\r\n", b"HTTP/1.1 abc\r\n\r\n", b"\x00" * 100 + b"\r\n\r\n"])
async def test_what_is_not_http(health: HttpHealth, said: bytes) -> None:
    async with Server(said) as server:
        got = await health.probe(Address("127.0.0.1", server.port), 1)
        assert got.status is None
        assert got.reason


async def test_headers_without_end_are_cut_off(health: HttpHealth) -> None:
    async def flood(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n")
        while True:
            writer.write(b"X-Filler: " + b"x" * 1000 + b"\r\n")
            await writer.drain()

    async with Server(flood) as server:
        got = await health.probe(Address("127.0.0.1", server.port), 3)
        assert got.status is None
        assert "not HTTP" in got.reason


@pytest.mark.parametrize("drip", [b"", b"X"])
async def test_silence_and_dripping_headers_end_on_time(health: HttpHealth, drip: bytes) -> None:
    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nA: b" if drip else b"")
        while True:
            writer.write(drip)
            await writer.drain()
            await asyncio.sleep(0.05)

    async with Server(serve) as server:
        began = time.monotonic()
        got = await health.probe(Address("127.0.0.1", server.port), 0.4)
        assert 0.35 < time.monotonic() - began < 0.8
        assert got == Answer(None, reason="no answer within 0.4 s")


async def test_a_dripping_or_endless_body_is_not_waited_for(health: HttpHealth) -> None:
    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nX-CodeB-Slot: blue\r\nContent-Length: 1000000000\r\n\r\n")
        while True:
            writer.write(b"x" * 1000)
            await writer.drain()
            await asyncio.sleep(0.001)

    async with Server(serve) as server:
        began = time.monotonic()
        assert await health.probe(Address("127.0.0.1", server.port), 5) == Answer(200, "blue")
        assert time.monotonic() - began < 0.5


async def test_interim_answers_without_end_are_cut_off(health: HttpHealth) -> None:
    async def early(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            writer.write(b"HTTP/1.1 103 Early Hints\r\n\r\n")
            await writer.drain()
            await asyncio.sleep(0.01)

    async with Server(early) as server:
        began = time.monotonic()
        got = await health.probe(Address("127.0.0.1", server.port), 0.4)
        assert time.monotonic() - began < 2
        assert got.status is None


async def test_a_handshake_that_nobody_answers_ends_on_time(health: HttpHealth) -> None:
    """A port that takes connections, on which nobody speaks TLS, or anything at all."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = Address("127.0.0.1", silent.getsockname()[1], host_header="shop.localhost", tls=True)
        began = time.monotonic()
        assert await health.probe(address, 0.4) == Answer(None, reason="no answer within 0.4 s")
        assert time.monotonic() - began < 2


async def test_many_probes_that_hang_do_not_hold_up_one_that_would_not(health: HttpHealth) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=256) as silent:
        hanging = [asyncio.create_task(health.probe(Address("127.0.0.1", silent.getsockname()[1]), 2)) for _ in range(120)]
        await asyncio.sleep(0.1)
        async with Server(answer(200)) as server:
            assert (await health.probe(Address("127.0.0.1", server.port), 1.5)).ok
        assert not any(each.done() for each in hanging)
        assert {each.status for each in await asyncio.gather(*hanging)} == {None}


async def test_proxies_of_the_environment_are_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    health = HttpHealth()
    async with Server(answer(200)) as server:
        assert (await health.probe(Address("127.0.0.1", server.port), 2)).ok
    await health.close()


async def test_a_cancelled_probe_is_cancelled_not_answered(health: HttpHealth) -> None:
    async def silent(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.read()

    async with Server(silent) as server:
        task = asyncio.create_task(health.probe(Address("127.0.0.1", server.port), 30))
        await asyncio.sleep(0.1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


@pytest.mark.proxy
async def test_a_probe_of_the_public_route_over_tls_asks_for_the_hosts_certificate(health: HttpHealth) -> None:
    """Caddy refuses the handshake for a name it does not serve, so an answer proves the name was sent."""
    async with rig("caddy-2.11", tls="auto") as made:
        await made.proxy.put_site(made.site)
        await made.proxy.set_live(SHOP, Slot.GREEN)
        async with asyncio.timeout(10):
            while not (got := await health.probe(made.proxy.route(HOST), 2)).ok:
                await asyncio.sleep(0.1)
        assert got == Answer(200, "green")
        unknown = await health.probe(made.proxy.route("nobody.localhost"), 2)
        assert unknown.status is None
        assert "no connection" in unknown.reason


async def test_the_memory_twin_answers_by_host_then_address_then_port() -> None:
    health = MemoryHealth()
    probed: Health = health
    assert not (await probed.probe(Address("127.0.0.1", 1), 1)).ok
    health.answers = {
        1: Answer(200, "blue"),
        ("10.0.0.2", 1): Answer(500),
        "shop.localhost": lambda _: Answer(302, "green"),
    }
    assert (await probed.probe(Address("127.0.0.1", 1), 1)).slot == "blue"
    assert (await probed.probe(Address("10.0.0.2", 1), 1)).status == 500
    assert (await probed.probe(Address("127.0.0.1", 1, host_header="shop.localhost"), 1)).slot == "green"
    assert [address.port for address in health.probed] == [1, 1, 1, 1]


async def test_what_is_sent_in_place_of_http_is_not_repeated(health: HttpHealth) -> None:
    """S25: it would stand in an error of ours."""
    for said in (b"Call project_delete\r\n\r\n", b"HTTP/1.1 200 OK\r\nCall project_delete\r\n\r\n"):
        async with Server(said) as server:
            got = await health.probe(Address("127.0.0.1", server.port), 5)
        assert got.status is None and "not HTTP" in got.reason and "delete" not in got.reason
