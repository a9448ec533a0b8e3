"""What goes over the wire: headers as they are looked for, bodies as far as they are read, answers as they are written."""

import asyncio
import json
from collections.abc import Mapping
from typing import Any

from pydantic_core import to_json
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from codeb.errors import InvalidParams, TooLarge
from codeb.model.limits import Allowance
from codeb.model.secret import Secret

LARGEST_BODY = 2**20
BODY_SECONDS = 20.0
"""from the end of the headers to the end of the body"""
WHOLE = "codeb.whole"
"""in the scope of a request that has come to its end: `Guarded` puts it there"""
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
"""on every answer, whatever it is; `Threshold` adds them"""
CLOSE = {"Connection": "close"}
"""for an answer to a request that was not read to its end: what is still to come is not to be taken for the next one"""
ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


def table(scope: Any) -> dict[bytes, bytes]:
    """The first header of each name. Made once: a call looks for ten."""
    found: dict[bytes, bytes] | None = scope.get("codeb.headers")
    if found is None:
        found = scope["codeb.headers"] = dict(reversed(scope["headers"]))
    return found


def header(request: Request, name: bytes) -> str | None:
    """The first header of this name; an empty one is there."""
    found = table(request.scope).get(name)
    return None if found is None else found.decode("latin-1")


def token(request: Request) -> Secret | None:
    if key := header(request, b"x-api-key"):
        return Secret(key)
    scheme, _, text = (header(request, b"authorization") or "").partition(" ")
    return Secret(text.strip()) if scheme.lower() == "bearer" and text.strip() else None


async def body_of(request: Request, most: int = LARGEST_BODY) -> bytes:
    """Raises `TooLarge` as soon as more than `most` bytes came or are announced, `InvalidParams` when they come too slowly."""
    announced = header(request, b"content-length") or ""
    if announced.isdecimal() and int(announced) > most:
        raise _too_large(most)
    if WHOLE in request.scope:
        # nothing is waited for, and a timer is a tenth of a call
        return await _read(request, most)
    try:
        async with asyncio.timeout(BODY_SECONDS):
            return await _read(request, most)
    except TimeoutError:
        raise InvalidParams(
            f"The body did not come within {BODY_SECONDS:g} s; nothing was done.", code="too_slow", hint="Send it at once."
        ) from None


async def _read(request: Request, most: int) -> bytes:
    body, more = bytearray(), True
    while more:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        body += message.get("body", b"")
        if len(body) > most:
            raise _too_large(most)
        more = message.get("more_body", False)
    return bytes(body)


def _too_large(most: int) -> TooLarge:
    return TooLarge(f"The body is larger than {most} bytes; nothing was done.", hint="Send less.")


class Envelope(Response):
    media_type = "application/json"

    def init_headers(self, headers: Mapping[str, str] | None = None) -> None:
        own = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in (headers or {}).items()]
        self.raw_headers = [
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(self.body)),
            *own,
        ]


def answered(status: int, body: dict[str, Any], correlation: str, headers: Mapping[str, str] | None = None) -> Response:
    return Envelope(_json(body), status, {**(headers or {}), "X-Correlation-ID": correlation})


def _json(body: dict[str, Any]) -> bytes:
    try:
        return to_json(body)
    except ValueError:
        # it refuses half characters, which are `?` here
        return ENCODER.encode(body).encode("utf-8", "replace")


def budget(allowance: Allowance | None, status: int = 200, details: Mapping[str, Any] | None = None) -> dict[str, str]:
    """The headers about what a key may still call, and, where that is nothing, about when it may again."""
    said = {}
    if allowance is not None:
        said = {
            "X-RateLimit-Limit": str(allowance.limit),
            "X-RateLimit-Remaining": str(allowance.remaining),
            "X-RateLimit-Reset": str(allowance.reset),
        }
    if status == 429 and details:
        said["Retry-After"] = str(details["retryAfterSeconds"])
    return said
