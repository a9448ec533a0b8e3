"""What every request passes before any route is looked for: how many are inside, the Host, the Origin, no key in the address.

And what every answer gets on its way out: the headers that tell a browser to keep its hands off (S12, S24, S30).
"""

import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from codeb.entry.http.peers import Client, Network, client_of
from codeb.entry.http.wire import HEADERS, table
from codeb.errors import Forbidden, InvalidParams, Misdirected, PublicError, Unavailable

MOST_INSIDE = 512
"""requests under way at once: callers who wait for their operations among them"""
MOST_REMEMBERED = 256
HOST = re.compile(r"(?P<name>[a-z0-9._-]{1,255}|\[[0-9a-f:.]{2,45}\])(?::(?P<port>[0-9]{1,5}))?")
KEY = re.compile(r"codeb_[a-z0-9-]+_(owner|admin|member|viewer)_", re.IGNORECASE)
KEY_NAMES = frozenset(("key", "apikey", "token", "accesstoken", "authorization", "xapikey", "bearer"))
ALWAYS = [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]
HSTS = (b"strict-transport-security", b"max-age=31536000")
PREFLIGHT = {
    "Access-Control-Allow-Methods": "GET, POST",
    "Access-Control-Allow-Headers": "Authorization, Content-Type, Idempotency-Key, Mcp-Method, Mcp-Name, "
    "Mcp-Protocol-Version, X-API-Key, X-Client-Version, X-Correlation-ID",
    "Access-Control-Max-Age": "600",
}
EXPOSED = b"Retry-After, X-Correlation-ID, X-RateLimit-Limit, X-RateLimit-Remaining, X-RateLimit-Reset"


@dataclass(frozen=True)
class Rules:
    """Whom this server serves under which names. Loopback and the address a connection came to are always names of it."""

    hosts: frozenset[str] = field(default_factory=frozenset)
    """`name` for any port, or `name:port`; in lower case, IPv6 in brackets"""
    origins: frozenset[str] = field(default_factory=frozenset)
    """pages that may call from a browser; none: no page may"""
    proxies: tuple[Network, ...] = ()

    def names(self, host: str, server: tuple[str, int | None] | None) -> bool:
        """Whether `host`, as a caller says it, is a name of ours.

        An address needs no list to be safe: a page of somebody else can have its own name lead to us, not its own address.
        Which port is said does not matter, tunnels change it.
        """
        match = HOST.fullmatch(host.lower())
        if match is None:
            return False
        name = match["name"]
        if name == "localhost" or name in self.hosts or match[0] in self.hosts:
            return True
        try:
            address = ipaddress.ip_address(name.strip("[]"))
            return address.is_loopback or (server is not None and address == ipaddress.ip_address(server[0]))
        except ValueError:
            return False


class Threshold:
    """Stands before the whole application, so that no answer leaves without its headers, not even one of a breakdown."""

    def __init__(self, app: ASGIApp, rules: Rules, refuse: Callable[[Request, PublicError], Response]) -> None:
        self._app = app
        self._rules = rules
        self._refuse = refuse
        self._inside = 0
        self._known: set[tuple[bytes, Any]] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        peer = scope["client"][0] if scope.get("client") else None
        client = client_of(peer, scope["headers"], self._rules.proxies) if self._rules.proxies else Client(peer)
        scope["codeb.client"] = client
        origin = table(scope).get(b"origin")
        welcome = origin is not None and origin.decode("latin-1") in self._rules.origins
        more = [*ALWAYS, *([HSTS] if client.https else ()), *(_shared(origin) if welcome and origin else ())]

        async def dressed(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*more, *message.get("headers", ())]
            await send(message)

        fault = self._look(scope, refused_origin=origin is not None and not welcome)
        if fault is not None:
            await self._refuse(Request(scope), fault)(scope, receive, dressed)
            return
        if welcome and scope["method"] == "OPTIONS" and b"access-control-request-method" in table(scope):
            await Response(status_code=204, headers=PREFLIGHT)(scope, receive, dressed)
            return
        self._inside += 1
        try:
            await self._app(scope, receive, dressed)
        finally:
            self._inside -= 1

    def _look(self, scope: Scope, *, refused_origin: bool) -> PublicError | None:
        """What speaks against letting this request in."""
        probe = scope["method"] == "GET" and scope["path"] == "/health"
        if self._inside >= MOST_INSIDE and not probe:
            text = f"{MOST_INSIDE} requests are under way; this one was not begun."
            return Unavailable(text, code="busy", hint="Repeat it in a few seconds.")
        if not self._ours(scope):
            kind = Misdirected if scope["path"] == "/mcp" else InvalidParams
            return kind(
                "This server does not go by that name; nothing was done.", code="host_not_allowed",
                hint="Call it by its address, or have its owner name the host in CODEB_ALLOWED_HOSTS.",
            )  # fmt: skip
        if refused_origin and not probe:
            return Forbidden(
                "Pages of that origin may not call this server; nothing was done.", code="origin_not_allowed",
                hint="Its owner can name the origin in CODEB_ALLOWED_ORIGINS.",
            )  # fmt: skip
        if holds_key(scope["path"], scope["query_string"]):
            return InvalidParams(
                "An API key stands in the address; nothing was done.", code="key_in_url",
                hint="Send it as X-API-Key or Authorization: Bearer. Addresses end in logs: revoke this key.",
            )  # fmt: skip
        return None

    def _ours(self, scope: Scope) -> bool:
        said = table(scope).get(b"host")
        if said is None or (len(table(scope)) < len(scope["headers"]) and _times(scope, b"host") > 1):
            return False
        seen = (said, scope.get("server"))
        if seen in self._known:
            return True
        if not self._rules.names(said.decode("latin-1"), scope.get("server")):
            return False
        if len(self._known) >= MOST_REMEMBERED:
            self._known.clear()
        self._known.add(seen)
        return True


def holds_key(path: str, query: bytes) -> bool:
    """Whether an address carries an API key, or a parameter that is there to carry one; however it is encoded."""
    if KEY.search(unquote(path) if "%" in path else path):
        return True
    if not query:
        return False
    text = unquote(unquote(query.decode("latin-1").replace("+", " ")))
    names = (re.sub(r"[^a-z]", "", part.partition("=")[0].lower()) for part in re.split("[&;]", text))
    return KEY.search(text) is not None or any(name in KEY_NAMES for name in names)


def _times(scope: Scope, name: bytes) -> int:
    return sum(key == name for key, _ in scope["headers"])


def _shared(origin: bytes) -> list[tuple[bytes, bytes]]:
    """For a page that may call. No credentials: keys come in headers, and there are no cookies."""
    return [(b"access-control-allow-origin", origin), (b"access-control-expose-headers", EXPOSED), (b"vary", b"Origin")]
