"""One connection: how long its headers may take, how large they may be, and how many connections there may be."""

import asyncio
import resource
from collections.abc import Callable
from typing import ClassVar

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from codeb.entry.http.wire import LARGEST_BODY, WHOLE
from codeb.errors import InvalidParams, PublicError, Unavailable

HEAD_SECONDS = 10.0
"""from the opening of a connection, or the first byte of a later request, to the end of its headers"""
IDLE_SECONDS = 30
"""between two requests of a connection"""
LINGER_SECONDS = 5.0
MOST_HEAD = 65_536
MOST_HEADERS = 100
MOST_MESSAGE = 8 * LARGEST_BODY
"""bytes of one request in all: a body in chunks of one byte is six times as long on the wire"""
MOST_CONNECTIONS = 1024


def most_connections() -> int:
    """Half of the files this process may open, so that connections never take those of the store and of Docker."""
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return MOST_CONNECTIONS if soft == resource.RLIM_INFINITY else min(MOST_CONNECTIONS, max(32, soft // 2))


class Guarded(HttpToolsProtocol):
    """uvicorn's own, with an end to everything that a peer could draw out."""

    most: ClassVar[int] = MOST_CONNECTIONS

    _timer: asyncio.TimerHandle | None = None
    _bytes = 0
    """since the message began"""
    _head = _count = 0
    _head_read = False
    _whole = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        super().connection_made(transport)
        if len(self.connections) > self.most:
            text = f"{self.most} connections are open; this one was closed."
            self._end(Unavailable(text, code="busy", hint="Repeat the call in a few seconds."))
        else:
            self._until(HEAD_SECONDS, self._too_slow)

    def connection_lost(self, exc: Exception | None) -> None:
        self._no_hurry()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._bytes += len(data)
        super().data_received(data)
        if self.transport.is_closing():
            return
        if self._bytes > (MOST_MESSAGE if self._head_read else MOST_HEAD):
            self._end(_too_long("request" if self._head_read else "headers"))
        elif self._waits_for_a_head and self._timer is None and self.timeout_keep_alive_task is None:
            self._until(HEAD_SECONDS, self._too_slow)

    @property
    def _waits_for_a_head(self) -> bool:
        """Also after an empty line, which is sent before a request by some and to hold a connection by others."""
        return not self._head_read or (self._whole and self.cycle.response_complete)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._bytes = self._head = self._count = 0
        self._head_read = self._whole = False

    def on_url(self, url: bytes) -> None:
        self._grow(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count += 1
        self._grow(len(name) + len(value))
        # the space round a value is no part of it (RFC 9110, 5.5), and not all of it is taken away before
        super().on_header(name, value.strip(b" \t"))

    def _grow(self, size: int) -> None:
        self._head += size
        if self._head > MOST_HEAD or self._count > MOST_HEADERS:
            raise ValueError("the headers are too long")

    def on_headers_complete(self) -> None:
        self._no_hurry()
        self._head_read = True
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._no_hurry()
        self._whole = True
        self.scope[WHOLE] = True  # type: ignore[literal-required]  # a key of our own
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """What was answered before it was read to its end is read on, so that its sender hears the answer; but not for long."""
        super().on_response_complete()
        if self._head_read and not self._whole and self.cycle.response_complete and not self.transport.is_closing():
            self._until(LINGER_SECONDS, self.transport.close)

    def send_400_response(self, msg: str) -> None:
        if self._head > MOST_HEAD or self._count > MOST_HEADERS:
            self._end(_too_long("headers"))
        else:
            self._end(InvalidParams("That is not HTTP/1.1; nothing was done.", code="malformed", hint="Send a POST of JSON."))

    def _until(self, seconds: float, then: Callable[[], None]) -> None:
        self._no_hurry()
        self._timer = self.loop.call_later(seconds, then)

    def _no_hurry(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _too_slow(self) -> None:
        self._timer = None
        text = f"The headers did not come within {HEAD_SECONDS:g} s; nothing was done."
        self._end(InvalidParams(text, code="too_slow", hint="Send them at once."))

    def told(self, fault: PublicError) -> bytes:
        """A whole answer, for what never becomes a request."""
        raise NotImplementedError

    def _end(self, fault: PublicError) -> None:
        """Say why, unless an answer has begun, and close."""
        self._no_hurry()
        if self.transport.is_closing():
            return
        if self.cycle is None or self.cycle.response_complete or not self.cycle.response_started:
            self.transport.write(self.told(fault))
        self.transport.close()


def _too_long(what: str) -> InvalidParams:
    return InvalidParams(f"The {what} are longer than this server reads; nothing was done.", code="malformed", hint="Send less.")


def guarded(say: Callable[[PublicError], bytes]) -> type[Guarded]:
    """The protocol of one server; `say` writes its answers to what never becomes a request."""

    class Here(Guarded):
        most = most_connections()

        def told(self, fault: PublicError) -> bytes:
            return say(fault)

    return Here
