"""Calls of the server over HTTP, with nothing but the standard library: a third of the start-up time of a larger client."""

import json
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from codeb.entry.cli.settings import Where
from codeb.entry.version import VERSION

if TYPE_CHECKING:
    from http.client import HTTPResponse

CONNECT_SECONDS = 5.0
LARGEST_BODY = 2**20
STREAM_SECONDS = 60.0
"""without a piece of a stream"""


class Unreachable(Exception):
    """No answer. `sent` tells whether the server may have heard the call all the same."""

    def __init__(self, url: str, reason: str, *, sent: bool) -> None:
        super().__init__(f"{url} does not answer: {reason}")
        self.url = url
        self.reason = reason
        self.sent = sent


@dataclass(frozen=True)
class Answer:
    """What came back: the HTTP number, the envelope, and the envelope as it was written."""

    status: int
    body: dict[str, Any]
    text: str
    retry_after: float = 0.0
    """seconds after which the server would hear the call; 0: it says none"""

    @property
    def ok(self) -> bool:
        return self.status < 400


class Client:
    """One server with one key. Every call is a connection of its own, so that none is ever a stale one."""

    def __init__(self, where: Where) -> None:
        self.where = where

    def call(self, tool: str, params: dict[str, Any], *, key: str | None = None, seconds: float = 30) -> Answer:
        """Call a tool; `key` makes repeating it harmless. Raises `Unreachable`."""
        headers = {"Content-Type": "application/json", "X-Client-Version": VERSION}
        if self.where.key is not None:
            headers["X-API-Key"] = self.where.key.reveal()
        if key is not None:
            headers["Idempotency-Key"] = key
        body = json.dumps({"tool": tool, "params": params}).encode()
        if len(body) > LARGEST_BODY:
            # by its own path a tool may take more than the one path for all does
            family, _, verb = tool.partition("_")
            return self._exchange("POST", f"/api/{family}/{verb}", headers, json.dumps(params).encode(), seconds)
        return self._exchange("POST", "/api/tool", headers, body, seconds)

    def health(self, seconds: float = 2) -> Answer:
        """`GET /health`, without a key. Raises `Unreachable`."""
        return self._exchange("GET", "/health", {}, None, seconds)

    def posted(self, path: str, headers: dict[str, str], body: bytes, seconds: float) -> "AbstractContextManager[HTTPResponse]":
        """A POST with the key, and what comes back as it comes; `seconds` without a byte are the end. Raises `Unreachable`."""
        key = {} if self.where.key is None else {"Authorization": f"Bearer {self.where.key.reveal()}"}
        return self._response("POST", path, {**headers, **key}, body, seconds)

    def lines(self, path: str, query: dict[str, str]) -> tuple[Answer | None, Iterator[bytes]]:
        """A stream of JSON lines, in pieces, or the answer that there is none. Raises `Unreachable`, also when it breaks off."""
        from urllib.parse import urlencode

        headers = {} if self.where.key is None else {"X-API-Key": self.where.key.reveal()}
        pieces = self._pieces(f"{path}?{urlencode(query)}", headers)
        first = next(pieces)
        if isinstance(first, Answer):
            return first, iter(())
        return None, (piece for piece in pieces if isinstance(piece, bytes))

    def _pieces(self, path: str, headers: dict[str, str]) -> Iterator[Answer | bytes]:
        """First an answer that is a refusal, or nothing; then what comes."""
        with self._response("GET", path, headers, None, STREAM_SECONDS) as response:
            if response.status != 200:
                yield self._answer(response)
                return
            yield b""
            while piece := response.read(65_536):
                yield piece

    def _exchange(self, method: str, path: str, headers: dict[str, str], body: bytes | None, seconds: float) -> Answer:
        with self._response(method, path, headers, body, seconds) as response:
            return self._answer(response)

    @contextmanager
    def _response(
        self, method: str, path: str, headers: dict[str, str], body: bytes | None, seconds: float
    ) -> "Iterator[HTTPResponse]":
        import http.client
        from urllib.parse import urlsplit

        parts = urlsplit(self.where.url)
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        connection = kind(parts.hostname or "", parts.port, timeout=min(CONNECT_SECONDS, seconds))
        sent = False
        try:
            connection.connect()
            connection.sock.settimeout(seconds)
            sent = True
            connection.request(method, parts.path + path, body, {"Accept": "application/json", "Connection": "close", **headers})
            yield connection.getresponse()
        except TimeoutError:
            said = f"no answer within {seconds:g} s" if sent else "the connection timed out"
            raise Unreachable(self.where.url, said, sent=sent) from None
        except (OSError, http.client.HTTPException) as fault:
            said = getattr(fault, "strerror", None) or str(fault) or type(fault).__name__
            raise Unreachable(self.where.url, said, sent=sent) from None
        finally:
            connection.close()

    def _answer(self, response: "HTTPResponse") -> Answer:
        status, later = response.status, response.getheader("Retry-After") or ""
        try:
            text = response.read().decode("utf-8")
            body = json.loads(text)
        except ValueError:
            body, text = None, ""
        if not isinstance(body, dict):
            raise Unreachable(self.where.url, f"what answers there ({status}) is not CodeB", sent=False)
        return Answer(status, body, text, float(later) if later.isascii() and later.isdecimal() else 0.0)
