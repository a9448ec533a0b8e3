"""The sample web app of the demo and of the tests: standard library only, one process, HTTP/1.1 with keep-alive.

    GET  /            a page for people; it reloads itself when another version answers
    GET  /health      200 "ok", or what the variable HEALTH says
    GET  /version     {"version", "slot", "pid"}
    POST /echo        sha256 and length of the body (Content-Length or chunked)
    GET  /slow?seconds=2.5
    GET  /stream?chunks=20&interval=0.1      chunked: "chunk 0\\n", "chunk 1\\n", …
    GET  /events      server-sent events, ids 1, 2, 3, … every 200 ms
    GET  /ws          WebSocket: first frame names the version, then text is echoed
    POST /reset       the connection is reset (RST) without an answer

Variables: PORT (3000), CODEB_VERSION, CODEB_SLOT, START_DELAY (seconds before it listens), EXIT_CODE (say
"cannot start: …" and exit with it), HEALTH, which is one of: ok; never (the port is never opened); 500;
500-then-200:N (500 to the first N requests); redirect; drip (a header line per second, without end); hang (no answer).

SIGTERM: no new connections; requests in flight are finished (25 s at most), event streams end between two
events, WebSockets get close frame 1001, idle connections are closed; exit 0.
"""

import asyncio
import binascii
import contextlib
import hashlib
import json
import os
import signal
import socket
import struct
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable

VERSION = os.environ.get("CODEB_VERSION", "dev")
SLOT = os.environ.get("CODEB_SLOT", "none")
HEALTH = os.environ.get("HEALTH", "ok")
DRAIN_SECONDS = 25.0
# A request may already be on its way on an idle connection when SIGTERM comes: it is still answered.
IDLE_LINGER_SECONDS = 0.3
GOODBYE_SECONDS = 2.0
LONGEST_SECONDS = 60.0
WS_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
REASONS = {101: "Switching Protocols", 200: "OK", 302: "Found", 400: "Bad Request", 404: "Not Found"}
REASONS |= {405: "Method Not Allowed", 426: "Upgrade Required", 500: "Internal Server Error"}

PAGE = """<!doctype html><html lang="en"><meta charset="utf-8">
<meta name="viewport" content="width=device-width,initial-scale=1"><title>Version %(version)s</title>
<style>
body{margin:0;min-height:100vh;display:grid;place-items:center;font:16px/1.5 system-ui,sans-serif;color:#fff;
background:linear-gradient(135deg,hsl(%(hue)d 65%% 38%%),hsl(%(hue2)d 70%% 22%%))}
main{text-align:center;padding:2rem 3rem;border-radius:1rem;background:#0003}
h1{font-size:clamp(2.5rem,10vw,6rem);margin:0;line-height:1.1}p{margin:.4rem;opacity:.9}code{font-size:1.05em}
</style>
<main><p>This page is served by</p><h1>%(version)s</h1>
<p>slot <code>%(slot)s</code> · host <code>%(host)s</code></p></main>
<script>
setInterval(async()=>{try{const v=await(await fetch("/version",{cache:"no-store"})).json();
if(v.version!==%(version_js)s||v.slot!==%(slot_js)s)location.reload()}catch{}},1000)
</script></html>
"""


class MalformedError(Exception):
    """The request is not HTTP/1.1 as we speak it; the connection is closed."""


class Request:
    """One request; the body is read from the connection when it is asked for."""

    def __init__(self, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        lines = head.decode("latin-1").split("\r\n")
        try:
            self.method, target, protocol = lines[0].split(" ")
            self.headers = {k.strip().lower(): v.strip() for k, v in (line.split(":", 1) for line in lines[1:] if line)}
        except ValueError as error:
            raise MalformedError from error
        self.path, _, query = target.partition("?")
        self.query = dict(pair.partition("=")[::2] for pair in query.split("&"))
        wants = self.headers.get("connection", "").lower()
        self.keep_alive = "close" not in wants and (protocol == "HTTP/1.1" or "keep-alive" in wants)
        self.reader, self.writer = reader, writer
        self.unread = True

    async def body(self) -> AsyncIterator[bytes]:
        """The body piece by piece, once."""
        if not self.unread:
            return
        self.unread = False
        chunked = self.headers.get("transfer-encoding", "").lower() == "chunked"
        length = self.headers.get("content-length", "0")
        if not length.isdigit():
            raise MalformedError
        if self.headers.get("expect", "").lower() == "100-continue" and (chunked or int(length)):
            self.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        if not chunked:
            async for piece in self._exactly(int(length)):
                yield piece
            return
        while size := int((await self.reader.readline()).split(b";")[0], 16):
            async for piece in self._exactly(size):
                yield piece
            await self.reader.readexactly(2)
        while (await self.reader.readline()) not in (b"\r\n", b""):
            continue

    async def _exactly(self, left: int) -> AsyncIterator[bytes]:
        while left:
            piece = await self.reader.read(min(left, 65536))
            if not piece:
                raise asyncio.IncompleteReadError(b"", left)
            left -= len(piece)
            yield piece

    def number(self, name: str, default: float, most: float) -> float:
        try:
            return max(0.0, min(float(self.query.get(name, default)), most))
        except ValueError as error:
            raise MalformedError from error


class Connection:
    """One client: its requests, one after the other."""

    def __init__(self, app: "App", reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.app, self.reader, self.writer = app, reader, writer
        self.idle = True
        self.websocket = False
        self.keep_alive = True

    async def serve(self) -> None:
        with contextlib.suppress(OSError, EOFError, asyncio.LimitOverrunError, MalformedError, ValueError):
            while self.keep_alive:
                head = await self.reader.readuntil(b"\r\n\r\n")
                self.idle = False
                await self._answer(head)
                self.idle = True
        self.writer.close()

    async def _answer(self, head: bytes) -> None:
        try:
            request = Request(head[:-4], self.reader, self.writer)
            self.keep_alive = request.keep_alive
            handler = ROUTES.get(request.path)
            if handler is None:
                await self.respond(request, 404, b"not found\n")
            elif request.method not in (("POST",) if request.path in POSTS else ("GET", "HEAD")):
                await self.respond(request, 405, b"method not allowed\n")
            else:
                await handler(self, request)
        except MalformedError:
            self.keep_alive = False
            self.writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        await self.writer.drain()

    def start(self, status: int, fields: list[str]) -> None:
        """The head of an answer."""
        if self.app.stopping.is_set():
            self.keep_alive = False
        if not self.keep_alive and status != 101:
            fields = [*fields, "Connection: close"]
        lines = [f"HTTP/1.1 {status} {REASONS[status]}", f"X-App-Version: {VERSION}", f"X-App-Slot: {SLOT}", *fields]
        self.writer.write("\r\n".join([*lines, "", ""]).encode("latin-1", "replace"))

    async def respond(
        self, request: Request, status: int, body: bytes, kind: str = "text/plain; charset=utf-8", *more: str
    ) -> None:
        """A whole answer; what is left of the request's body is read first, or the next request would begin in it."""
        async for _ in request.body():
            pass
        self.start(status, [f"Content-Type: {kind}", f"Content-Length: {len(body)}", "Cache-Control: no-store", *more])
        if request.method != "HEAD":
            self.writer.write(body)

    async def chunks(self, request: Request, kind: str, pieces: AsyncIterator[bytes]) -> None:
        """A chunked answer."""
        self.start(200, [f"Content-Type: {kind}", "Transfer-Encoding: chunked", "Cache-Control: no-store"])
        if request.method == "HEAD":
            return
        async for piece in pieces:
            self.writer.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            await self.writer.drain()
        self.writer.write(b"0\r\n\r\n")

    def goodbye(self) -> None:
        """Tell a WebSocket's client that we are going away."""
        self.writer.write(frame(8, struct.pack("!H", 1001)))


async def page(at: Connection, request: Request) -> None:
    def text(value: str) -> str:
        return value.replace("&", "&amp;").replace("<", "&lt;").replace('"', "&quot;")

    hue = int.from_bytes(hashlib.sha256(VERSION.encode()).digest()[:2], "big") % 360
    facts = {"version": text(VERSION), "slot": text(SLOT), "host": text(socket.gethostname())}
    scripts = {k: json.dumps(v).replace("<", "\\u003c") for k, v in (("version_js", VERSION), ("slot_js", SLOT))}
    body = PAGE % {**facts, **scripts, "hue": hue, "hue2": (hue + 40) % 360}
    await at.respond(request, 200, body.encode(), "text/html; charset=utf-8")


async def health(at: Connection, request: Request) -> None:
    at.app.health_asked += 1
    if HEALTH == "hang":
        await at.app.pause(LONGEST_SECONDS)
        at.writer.transport.abort()
        at.keep_alive = False
    elif HEALTH == "drip":
        at.keep_alive = False
        at.writer.write(b"HTTP/1.1 200 OK\r\n")
        while not await at.app.pause(1.0):
            at.writer.write(b"X-Drip: 1\r\n")
            await at.writer.drain()
    elif HEALTH == "redirect":
        await at.respond(request, 302, b"elsewhere\n", "text/plain", "Location: /")
    elif HEALTH == "500" or (HEALTH.startswith("500-then-200:") and at.app.health_asked <= int(HEALTH[13:])):
        await at.respond(request, 500, b"not well\n")
    else:
        await at.respond(request, 200, b"ok\n")


async def version(at: Connection, request: Request) -> None:
    body = json.dumps({"version": VERSION, "slot": SLOT, "pid": os.getpid()}).encode()
    await at.respond(request, 200, body, "application/json")


async def echo(at: Connection, request: Request) -> None:
    digest, length = hashlib.sha256(), 0
    async for piece in request.body():
        digest.update(piece)
        length += len(piece)
    body = json.dumps({"sha256": digest.hexdigest(), "length": length}).encode()
    await at.respond(request, 200, body, "application/json")


async def slow(at: Connection, request: Request) -> None:
    seconds = request.number("seconds", 2.5, LONGEST_SECONDS)
    await asyncio.sleep(seconds)
    await at.respond(request, 200, f"waited {seconds:g} s\n".encode())


async def stream(at: Connection, request: Request) -> None:
    count, interval = int(request.number("chunks", 20, 10_000)), request.number("interval", 0.1, 5.0)

    async def pieces() -> AsyncIterator[bytes]:
        for index in range(count):
            if index:
                await asyncio.sleep(interval)
            yield b"chunk %d\n" % index

    await at.chunks(request, "text/plain; charset=utf-8", pieces())


async def events(at: Connection, request: Request) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        number = 1
        yield f"id: 1\ndata: {VERSION}\n\n".encode()
        while not await at.app.pause(0.2) and not at.reader.at_eof():
            number += 1
            yield f"id: {number}\ndata: {time.time():.3f}\n\n".encode()

    at.keep_alive = False
    await at.chunks(request, "text/event-stream", pieces())


def frame(opcode: int, payload: bytes) -> bytes:
    """A WebSocket frame as a server sends it: final and unmasked."""
    size = len(payload)
    if size < 126:
        return bytes((0x80 | opcode, size)) + payload
    length = struct.pack("!BH", 126, size) if size < 65536 else struct.pack("!BQ", 127, size)
    return bytes((0x80 | opcode,)) + length + payload


async def read_frame(reader: asyncio.StreamReader) -> tuple[bool, int, bytes]:
    """The next frame of a client: final, opcode, unmasked payload."""
    first, second = await reader.readexactly(2)
    size = second & 0x7F
    if size >= 126:
        size = int.from_bytes(await reader.readexactly(2 if size == 126 else 8), "big")
    if not second & 0x80 or size > 1 << 20:
        raise MalformedError
    mask = await reader.readexactly(4)
    payload = await reader.readexactly(size)
    key = int.from_bytes((mask * (size // 4 + 1))[:size], "big")
    return bool(first & 0x80), first & 0x0F, (int.from_bytes(payload, "big") ^ key).to_bytes(size, "big")


async def websocket(at: Connection, request: Request) -> None:
    key = request.headers.get("sec-websocket-key", "")
    if request.headers.get("upgrade", "").lower() != "websocket" or not key:
        await at.respond(request, 426, b"this is a WebSocket\n", "text/plain", "Upgrade: websocket")
        return
    accept = binascii.b2a_base64(hashlib.sha1(key.encode() + WS_GUID).digest(), newline=False).decode()
    at.start(101, ["Upgrade: websocket", "Connection: Upgrade", f"Sec-WebSocket-Accept: {accept}"])
    at.keep_alive, at.websocket = False, True
    at.writer.write(frame(1, json.dumps({"version": VERSION, "slot": SLOT, "pid": os.getpid()}).encode()))
    if at.app.stopping.is_set():
        at.goodbye()
    message, kind = b"", 0
    while True:
        await at.writer.drain()
        final, opcode, payload = await read_frame(at.reader)
        if opcode == 8:
            at.writer.write(frame(8, payload[:2]))
            return
        if opcode == 9:
            at.writer.write(frame(10, payload))
        elif opcode in (0, 1, 2):
            message, kind = message + payload, opcode or kind
            if final:
                at.writer.write(frame(kind, message))
                message = b""


async def reset(at: Connection, request: Request) -> None:
    async for _ in request.body():
        pass
    at.keep_alive = False
    at.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    at.writer.transport.abort()


Handler = Callable[[Connection, Request], Awaitable[None]]
ROUTES: dict[str, Handler] = {"/": page, "/health": health, "/version": version, "/echo": echo, "/slow": slow}
ROUTES |= {"/stream": stream, "/events": events, "/ws": websocket, "/reset": reset}
POSTS = frozenset({"/echo", "/reset"})


class App:
    """The listening process."""

    def __init__(self) -> None:
        self.stopping = asyncio.Event()
        self.health_asked = 0
        self.connections: dict[asyncio.Task[None], Connection] = {}

    async def pause(self, seconds: float) -> bool:
        """Wait; True, at once, when the process is stopping."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.stopping.wait(), seconds)
        return self.stopping.is_set()

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = Connection(self, reader, writer)
        task = asyncio.get_running_loop().create_task(connection.serve())
        self.connections[task] = connection
        task.add_done_callback(self.connections.pop)

    async def drain(self) -> None:
        """Let what is in flight end; close what is idle."""
        for connection in self.connections.values():
            if connection.websocket:
                connection.goodbye()
        ends = time.monotonic() + DRAIN_SECONDS
        if self.connections:
            await asyncio.wait(self.connections, timeout=IDLE_LINGER_SECONDS)
        for connection in self.connections.values():
            if connection.idle:
                connection.writer.close()
        sockets = [task for task, connection in self.connections.items() if connection.websocket]
        if sockets:
            await asyncio.wait(sockets, timeout=GOODBYE_SECONDS)
        rest = [task for task, connection in self.connections.items() if not connection.websocket]
        if rest:
            await asyncio.wait(rest, timeout=max(0.0, ends - time.monotonic()))

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stopping.set)
        if await self.pause(float(os.environ.get("START_DELAY", "0"))):
            return
        port = int(os.environ.get("PORT", "3000"))
        if HEALTH == "never":
            say(f"version {VERSION} slot {SLOT} opens no port (HEALTH=never)")
            await self.stopping.wait()
            return
        server = await asyncio.start_server(self.accept, "0.0.0.0", port, backlog=1024)
        say(f"listening on 0.0.0.0:{port} version {VERSION} slot {SLOT}")
        await self.stopping.wait()
        server.close()
        say(f"stopping: {sum(not c.idle for c in self.connections.values())} in flight")
        await self.drain()


def say(line: str) -> None:
    print(line, flush=True)


def main() -> None:
    code = os.environ.get("EXIT_CODE")
    if code:
        print(f"cannot start: EXIT_CODE is {code}", file=sys.stderr, flush=True)
        sys.exit(int(code))
    asyncio.run(App().run())
    say("stopped")


if __name__ == "__main__":
    main()
