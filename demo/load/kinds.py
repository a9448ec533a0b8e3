"""The eight kinds of traffic: what each sends, and what it takes for a right answer."""

import asyncio
import base64
import contextlib
import hashlib
import json
import os
import random
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from itertools import count

from demo.load.report import FIRST_FAILURES, Failure, Result, Sight
from demo.load.wire import BrokenError, Head, Wire

REQUESTS = ("short", "keepalive", "post", "upload", "slow", "stream")
LONG_LIVED = ("sse", "websocket")
THINK_SECONDS = 0.3
POOL = 50
UPLOAD_PIECES, UPLOAD_SECONDS = 20, 2.0
SILENCE_SECONDS = 5.0
BEAT_SECONDS = 0.2
REOPEN_SECONDS = 0.2
STREAM_CHUNKS = 20
STREAMED = b"".join(b"chunk %d\n" % index for index in range(STREAM_CHUNKS))
WS_GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
NOISE = os.urandom(65536)
Check = Callable[[Head, bytes], None]


@dataclass(frozen=True, slots=True)
class Target:
    """Where to connect, and the Host to name there."""

    port: int
    host_header: str = "localhost"
    address: str = "127.0.0.1"


class CutError(Exception):
    """A long-lived connection ended, and not by us."""


def expect(right: bool, reason: str, status: int = 200) -> None:
    """Raise `BrokenError` at stage body unless what was received is right."""
    if not right:
        raise BrokenError("body", reason, status)


class Traffic:
    """Sends one thing at a time and writes down how it ended."""

    def __init__(self, target: Target, result: Result, patience: float) -> None:
        self.target, self.result, self.patience = target, result, patience
        self._pool: deque[tuple[float, Wire]] = deque()
        self._numbers = count()
        self.ending = False

    # -- one request -------------------------------------------------------------------------------------------

    async def one(self, kind: str, due: float) -> None:
        """One request of this kind; never raises."""
        counts = self.result.kinds[kind]
        counts.sent += 1
        try:
            await getattr(self, "_" + kind)()
        except BrokenError as broken:
            self._failed(kind, broken)
        except asyncio.CancelledError:
            self._failed(kind, BrokenError("body", "unfinished at the end of the run"))
        else:
            counts.ok += 1
            counts.latencies.append(time.monotonic() - due)

    async def _short(self) -> None:
        await self._single("short", self._get("/version"), self._version)

    async def _slow(self) -> None:
        await self._single("slow", self._get(f"/slow?seconds={random.uniform(2, 5):.2f}"), None)

    async def _stream(self) -> None:
        request = self._get(f"/stream?chunks={STREAM_CHUNKS}&interval=0.1")
        await self._single("stream", request, lambda _, body: expect(body == STREAMED, "wrong chunks"))

    async def _post(self) -> None:
        body = b"%d " % next(self._numbers) + NOISE[: random.randrange(len(NOISE))]
        request = self._lines("POST /echo", f"Content-Length: {len(body)}", "Connection: close") + body
        await self._single("post", request, lambda _, answer: self._echoed(body, answer))

    async def _upload(self) -> None:
        body = b"%d " % next(self._numbers) + NOISE
        size = len(body) // UPLOAD_PIECES + 1
        async with self._connected() as wire:
            sent = time.monotonic()
            await wire.send(self._lines("POST /echo", "Transfer-Encoding: chunked", "Connection: close"))
            for start in range(0, len(body), size):
                await asyncio.sleep(UPLOAD_SECONDS / UPLOAD_PIECES)
                piece = body[start : start + size]
                await wire.send(b"%x\r\n%s\r\n" % (len(piece), piece))
            await wire.send(b"0\r\n\r\n")
            self._echoed(body, await wire.body(await self._head("upload", wire, sent)))

    async def _keepalive(self) -> None:
        wire = self._rested() or await self._open()
        kept = False
        try:
            sent = time.monotonic()
            await wire.send(self._get("/version", "keep-alive"))
            head = await self._head("keepalive", wire, sent)
            self._version(head, await wire.body(head))
            if not head.closes and len(self._pool) < POOL:
                self._pool.append((time.monotonic(), wire))
                kept = True
        finally:
            if not kept:
                wire.close()

    def _rested(self) -> Wire | None:
        """A kept connection whose user has thought long enough; those the server closed meanwhile are counted."""
        while self._pool and (len(self._pool) >= POOL or self._pool[0][0] < time.monotonic() - THINK_SECONDS):
            _, wire = self._pool.popleft()
            if not wire.gone:
                return wire
            self._stale(wire)
        return None

    def close(self) -> None:
        """Close the kept connections."""
        for _, wire in self._pool:
            if wire.gone:
                self._stale(wire)
            wire.close()
        self._pool.clear()

    def _stale(self, wire: Wire) -> None:
        self.result.kinds["keepalive"].stale += 1
        wire.close()

    async def _single(self, kind: str, request: bytes, check: Check | None) -> None:
        """A connection of its own for one request."""
        async with self._connected() as wire:
            sent = time.monotonic()
            await wire.send(request)
            head = await self._head(kind, wire, sent)
            body = await wire.body(head)
            if check:
                check(head, body)

    # -- long-lived --------------------------------------------------------------------------------------------

    async def hold(self, kind: str) -> None:
        """Keep one connection of this kind open, a new one for each that breaks.

        Ends when it is cancelled after `ending` was set; one that had broken before it heard of the end is a cut.
        """
        counts = self.result.kinds[kind]
        begin, talk = (self._subscribe, self._events) if kind == "sse" else (self._upgrade, self._beats)
        while not self.ending:
            counts.sent += 1
            opened = False
            try:
                async with self._connected() as wire:
                    due = time.monotonic()
                    head = await begin(wire, due)
                    counts.latencies.append(time.monotonic() - due)
                    opened, wire.patience = True, SILENCE_SECONDS
                    await talk(wire, head)
            except CutError as cut:
                counts.cut += 1
                self._note(Failure(kind, time.monotonic(), "body", str(cut)))
            except BrokenError as broken:
                self._failed(kind, broken)
            except asyncio.CancelledError:
                # One that was not yet open is neither: it is as if it had not been tried.
                counts.ok += opened
                counts.sent -= not opened
                return
            if not self.ending:
                await asyncio.sleep(REOPEN_SECONDS)

    async def _subscribe(self, wire: Wire, sent: float) -> Head:
        await wire.send(self._lines("GET /events", "Accept: text/event-stream"))
        return await self._head("sse", wire, sent)

    async def _events(self, wire: Wire, head: Head) -> None:
        buffer, last = b"", 0
        try:
            async for piece in wire.pieces(head):
                *events, buffer = (buffer + piece).split(b"\n\n")
                for event in events:
                    expect(event.split(b"\n")[0] == b"id: %d" % (last + 1), "an event is missing")
                    last += 1
        except BrokenError as broken:
            raise (broken if broken.reason == "an event is missing" else CutError(broken.reason)) from broken
        raise CutError("the stream was ended")

    async def _upgrade(self, wire: Wire, sent: float) -> Head:
        key = base64.b64encode(os.urandom(16)).decode()
        fields = ("Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13", f"Sec-WebSocket-Key: {key}")
        await wire.send(self._lines("GET /ws", *fields))
        head = await self._head("websocket", wire, sent, 101)
        accept = base64.b64encode(hashlib.sha1((key + WS_GUID).encode()).digest()).decode()
        if head.fields.get("sec-websocket-accept") != accept:
            raise BrokenError("headers", "wrong accept key", 101)
        return head

    async def _beats(self, wire: Wire, _: Head) -> None:
        try:
            opcode, greeting = await self._frame(wire)
            expect(opcode == 1 and b"version" in greeting, "wrong greeting", 101)
            while True:
                text = f"beat {next(self._numbers)}".encode()
                try:
                    await wire.send_frame(1, text)
                except BrokenError as broken:
                    raise CutError(broken.reason) from broken
                expect(await self._frame(wire) == (1, text), "wrong echo", 101)
                await asyncio.sleep(BEAT_SECONDS)
        except asyncio.CancelledError:
            if wire.gone:
                raise CutError("closed") from None
            with contextlib.suppress(BrokenError):
                await wire.send_frame(8, b"\x03\xe8")
            raise

    async def _frame(self, wire: Wire) -> tuple[int, bytes]:
        try:
            opcode, payload = await wire.frame()
        except BrokenError as broken:
            raise CutError(broken.reason) from broken
        if opcode == 8:
            raise CutError(f"close frame {int.from_bytes(payload[:2], 'big')}")
        return opcode, payload

    # -- parts -------------------------------------------------------------------------------------------------

    async def _open(self) -> Wire:
        return await Wire.open(self.target.address, self.target.port, self.patience)

    @contextlib.asynccontextmanager
    async def _connected(self) -> AsyncIterator[Wire]:
        wire = await self._open()
        try:
            yield wire
        finally:
            wire.close()

    async def _head(self, kind: str, wire: Wire, sent: float, status: int = 200) -> Head:
        """The head of the answer, written into the trace; any status but the right one is a failure."""
        head = await wire.head()
        slot = head.fields.get("x-codeb-slot") or head.fields.get("x-app-slot", "")
        self.result.saw(Sight(kind, sent, time.monotonic(), slot, head.fields.get("x-app-version", "")))
        if head.status != status:
            raise BrokenError("headers", f"status {head.status}", head.status)
        return head

    def _lines(self, start: str, *fields: str) -> bytes:
        return "\r\n".join([f"{start} HTTP/1.1", f"Host: {self.target.host_header}", *fields, "", ""]).encode()

    def _get(self, path: str, connection: str = "close") -> bytes:
        return self._lines(f"GET {path}", f"Connection: {connection}")

    @staticmethod
    def _version(head: Head, body: bytes) -> None:
        try:
            named = json.loads(body)["version"]
        except (ValueError, KeyError, TypeError):
            named = None
        expect(named is not None and named == head.fields.get("x-app-version", named), "wrong body")

    @staticmethod
    def _echoed(body: bytes, answer: bytes) -> None:
        try:
            digest = json.loads(answer)["sha256"]
        except (ValueError, KeyError, TypeError):
            digest = ""
        expect(digest == hashlib.sha256(body).hexdigest(), "wrong echo")

    def _failed(self, kind: str, broken: BrokenError) -> None:
        self.result.kinds[kind].failed += 1
        self._note(Failure(kind, time.monotonic(), broken.stage, broken.reason, broken.status))

    def _note(self, failure: Failure) -> None:
        if len(self.result.failures) < FIRST_FAILURES:
            self.result.failures.append(failure)
