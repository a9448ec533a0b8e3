"""The sample app, as a process: every endpoint, keep-alive, and an orderly end."""

import asyncio
import hashlib
import http.client
import json
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import pytest
from demo.load.wire import BrokenError, Wire

from tests.unit.demo.conftest import APP, Running, free_port

Start = Callable[..., Running]


def ask(
    port: int, path: str, method: str = "GET", body: bytes | Iterator[bytes] | None = None
) -> tuple[int, http.client.HTTPMessage, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        # An iterator has no length: http.client sends it in chunks.
        connection.request(method, path, body)
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()
    finally:
        connection.close()


def test_starts_fast(start_app: Start) -> None:
    begun = time.monotonic()
    start_app()
    # 0.1 s alone on the machine; the rest is room for a busy one.
    assert time.monotonic() - begun < 1.5


def test_page_names_version_slot_and_host_and_escapes_them(start_app: Start) -> None:
    app = start_app(CODEB_VERSION="v<2>")
    status, headers, body = ask(app.port, "/")
    page = body.decode()
    assert (status, headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert "v&lt;2>" in page and "blue" in page and socket.gethostname() in page
    assert "v<2>" not in page
    assert (headers["X-App-Version"], headers["X-App-Slot"]) == ("v<2>", "blue")


def test_the_colour_belongs_to_the_version(start_app: Start) -> None:
    one, same, other = (start_app(CODEB_VERSION=v) for v in ("v1", "v1", "v2"))
    pages = [ask(app.port, "/")[2].decode().split("hsl(")[1][:6] for app in (one, same, other)]
    assert pages[0] == pages[1] != pages[2]


def test_version_head_unknown_path_and_wrong_method(start_app: Start) -> None:
    app = start_app()
    assert json.loads(ask(app.port, "/version")[2]) == {"version": "v1", "slot": "blue", "pid": app.process.pid}
    status, headers, body = ask(app.port, "/version", "HEAD")
    assert (status, body) == (200, b"") and int(headers["Content-Length"]) > 10
    assert ask(app.port, "/nowhere")[0] == 404
    assert ask(app.port, "/echo")[0] == 405
    assert ask(app.port, "/slow?seconds=soon")[0] == 400


@pytest.mark.parametrize("chunked", [False, True])
def test_echo_reads_the_whole_body(start_app: Start, chunked: bool) -> None:
    app = start_app()
    body = bytes(range(256)) * 1000
    pieces = iter([body[:7], body[7:90_000], body[90_000:]])
    status, _, answer = ask(app.port, "/echo", "POST", pieces if chunked else body)
    assert status == 200
    assert json.loads(answer) == {"sha256": hashlib.sha256(body).hexdigest(), "length": len(body)}


def test_one_connection_carries_many_requests_even_with_unread_bodies(start_app: Start) -> None:
    app = start_app()
    connection = http.client.HTTPConnection("127.0.0.1", app.port, timeout=5)
    sockets = set()
    for method, path, body, status in (
        ("GET", "/version", None, 200),
        ("POST", "/version", b"unread", 405),
        ("HEAD", "/stream", None, 200),
        ("GET", "/stream?chunks=3&interval=0", None, 200),
        ("POST", "/echo", b"x", 200),
        ("GET", "/nowhere", None, 404),
    ):
        connection.request(method, path, body)
        answer = connection.getresponse()
        answer.read()
        assert answer.status == status, path
        assert connection.sock is not None
        sockets.add(connection.sock.getsockname())
    connection.close()
    assert len(sockets) == 1


def test_slow_waits_and_stream_sends_every_chunk(start_app: Start) -> None:
    app = start_app()
    begun = time.monotonic()
    assert ask(app.port, "/slow?seconds=0.3")[0] == 200
    assert 0.3 <= time.monotonic() - begun < 2
    _, headers, body = ask(app.port, "/stream?chunks=4&interval=0.02")
    assert (headers["Transfer-Encoding"], body) == ("chunked", b"chunk 0\nchunk 1\nchunk 2\nchunk 3\n")


@pytest.mark.parametrize(
    ("behaviour", "statuses"),
    [("ok", [200, 200]), ("500", [500, 500]), ("500-then-200:2", [500, 500, 200, 200]), ("redirect", [302])],
)
def test_health_behaves_as_told(start_app: Start, behaviour: str, statuses: list[int]) -> None:
    app = start_app(HEALTH=behaviour)
    assert [ask(app.port, "/health")[0] for _ in statuses] == statuses
    assert ask(app.port, "/version")[0] == 200


@pytest.mark.parametrize(("behaviour", "received"), [("hang", b""), ("drip", b"HTTP/1.1 200 OK\r\n")])
def test_health_that_never_ends(start_app: Start, behaviour: str, received: bytes) -> None:
    app = start_app(HEALTH=behaviour)
    with socket.create_connection(("127.0.0.1", app.port), timeout=0.4) as connection:
        connection.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        got = b""
        with pytest.raises(TimeoutError):
            while True:
                got += connection.recv(100)
    assert got == received


def test_a_port_that_is_never_opened_and_a_program_that_exits() -> None:
    port = free_port()
    env = {"PORT": str(port), "HEALTH": "never"}
    with subprocess.Popen([sys.executable, str(APP)], env=env, stdout=subprocess.PIPE, text=True) as never:
        assert never.stdout is not None
        assert "opens no port" in never.stdout.readline()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port))
        never.terminate()
        assert never.wait(5) == 0
    done = subprocess.run([sys.executable, str(APP)], env={"EXIT_CODE": "7"}, capture_output=True, text=True, timeout=10)
    assert (done.returncode, done.stdout) == (7, "")
    assert done.stderr.startswith("cannot start: ")


def test_reset_is_a_reset(start_app: Start) -> None:
    app = start_app()
    with pytest.raises(ConnectionResetError):
        ask(app.port, "/reset", "POST", b"body")


def test_sigterm_finishes_what_is_in_flight(start_app: Start) -> None:
    app = start_app()
    with socket.create_connection(("127.0.0.1", app.port), timeout=5) as idle:
        connection = http.client.HTTPConnection("127.0.0.1", app.port, timeout=5)
        connection.request("GET", "/slow?seconds=1")
        time.sleep(0.2)
        app.process.terminate()
        time.sleep(0.2)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", app.port))
        assert idle.recv(10) == b""
        answer = connection.getresponse()
        assert (answer.status, answer.read()) == (200, b"waited 1 s\n")
        assert answer.headers["Connection"] == "close"
        connection.close()
    out, _ = app.process.communicate(timeout=5)
    assert (app.process.returncode, out) == (0, "stopping: 1 in flight\nstopped\n")


@pytest.mark.anyio
async def test_websocket_echoes_pongs_and_says_goodbye(start_app: Start) -> None:
    app = start_app()
    wire = await Wire.open("127.0.0.1", app.port, 5)
    key = "dGhlIHNhbXBsZSBub25jZQ=="
    await wire.send(
        f"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: {key}\r\n\r\n".encode()
    )
    head = await wire.head()
    # The example of RFC 6455, section 1.3.
    assert (head.status, head.fields["sec-websocket-accept"]) == (101, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
    opcode, greeting = await wire.frame()
    assert opcode == 1 and json.loads(greeting)["version"] == "v1"
    await wire.send_frame(1, "grüße".encode())
    assert await wire.frame() == (1, "grüße".encode())
    await wire.send_frame(9, b"are you there")
    assert await wire.frame() == (10, b"are you there")
    app.process.terminate()
    assert await wire.frame() == (8, b"\x03\xe9")
    await wire.send_frame(8, b"\x03\xe9")
    with pytest.raises(BrokenError, match="closed"):
        while True:
            await wire.frame()
    wire.close()
    assert await asyncio.to_thread(app.process.wait, 5) == 0


@pytest.mark.anyio
async def test_events_count_up_and_end_between_two_at_sigterm(start_app: Start) -> None:
    app = start_app()
    wire = await Wire.open("127.0.0.1", app.port, 5)
    await wire.send(b"GET /events HTTP/1.1\r\nHost: x\r\n\r\n")
    head = await wire.head()
    assert head.fields["content-type"] == "text/event-stream"
    ids = []
    async for piece in wire.pieces(head):
        assert piece.endswith(b"\n\n")
        ids.append(piece.split(b"\n")[0])
        if len(ids) == 3:
            app.process.terminate()
    assert ids[:3] == [b"id: 1", b"id: 2", b"id: 3"]
    wire.close()
    assert await asyncio.to_thread(app.process.wait, 5) == 0
