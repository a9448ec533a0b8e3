"""HTTP: turns a request into a call of the gate, and the answer into a response. Knows no tool by name."""

import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, ClassVar

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Lifespan

from codeb.entry import strict_json
from codeb.entry.metrics import CONTENT_TYPE, Counted, Metrics
from codeb.entry.surface import described, openapi
from codeb.entry.version import VERSION, older
from codeb.errors import InvalidParams, NotFound, PublicError, TooLarge
from codeb.gate import Asked, Gate
from codeb.gate.door import failed, internal
from codeb.model import grammar
from codeb.model.access import holds_key
from codeb.model.secret import Secret
from codeb.wiring import House

LARGEST_BODY = 2**20
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


class Http:
    """The HTTP entry over one gate, which comes with the lifespan: `bind` before the first request."""

    _gate: Gate
    _house: House

    def __init__(self) -> None:
        self._openapi: bytes | None = None
        self._numbers = Metrics()

    def bind(self, house: House) -> None:
        self._house = house
        self._gate = house.gate
        self._gate.on_answer.append(self._numbers.called)

    def app(self, lifespan: Lifespan[Starlette] | None = None) -> Starlette:
        routes = [
            Route("/api/tool", self._tool, methods=["POST"]),
            Route("/health", self._health, methods=["GET"]),
            Route("/metrics", self._metrics, methods=["GET"]),
            Route("/api", self._names, methods=["GET"]),
            Route("/api/tools", self._tools, methods=["GET"]),
            Route("/openapi.json", self._document, methods=["GET"]),
            Route("/api/{name}", self._short, methods=["POST"]),
            Route("/api/{family}/{verb}", self._short, methods=["POST"]),
        ]
        handlers: dict[Any, Callable[[Request, Any], Awaitable[Response]]] = {
            HTTPException: self._no_route,
            Exception: self._fault,
        }
        counted = [Middleware(Counted, metrics=self._numbers)]
        app = Starlette(routes=routes, lifespan=lifespan, exception_handlers=handlers, middleware=counted)
        # a redirect would repeat whatever Host the caller claims, without our headers
        app.router.redirect_slashes = False
        return app

    # calls of tools

    async def _tool(self, request: Request) -> Response:
        return await self._guard(request, self._tool_call)

    async def _tool_call(self, request: Request) -> Response:
        body = await self._json(request)
        if not isinstance(body, dict) or set(body) - {"tool", "params"} or not isinstance(body.get("tool"), str):
            raise InvalidParams(
                'The body has to be {"tool": "name", "params": {…}}; nothing was done.',
                code="malformed", hint="GET /api lists the names of tools.",
            )  # fmt: skip
        return await self._ask(request, body["tool"], body.get("params", {}))

    async def _short(self, request: Request) -> Response:
        return await self._guard(request, self._short_call)

    async def _short_call(self, request: Request) -> Response:
        path = request.path_params
        name = path["name"] if "name" in path else f"{path['family']}_{path['verb']}"
        return await self._ask(request, name, await self._json(request))

    async def _ask(self, request: Request, tool: str, params: Any) -> Response:
        asked = Asked(
            tool=tool, params=params, token=_token(request), entry="http", correlation_id=self._correlation(request),
            ip=request.client.host if request.client else None, idempotency_key=_header(request, b"idempotency-key"),
        )  # fmt: skip
        answer = await self._gate.call(asked)
        client = _header(request, b"x-client-version")
        if client is not None and older(client):
            answer.body["versionWarning"] = f"This client is {client[:20]}, the server {VERSION}: update it."
        return _json(answer.status, answer.body, asked.correlation_id)

    async def _json(self, request: Request) -> Any:
        kind = (_header(request, b"content-type") or "").partition(";")[0].strip().lower()
        body = await _body(request)
        if not body and not kind:
            return {}
        if kind != "application/json":
            raise InvalidParams(
                "Only application/json is understood; nothing was done.", code="malformed", hint="Set Content-Type."
            )
        return strict_json.loads(body)

    # what is read without a tool

    async def _health(self, request: Request) -> Response:
        standing = self._house.kit.store.standing
        body: dict[str, Any] = {"status": "stopping" if self._house.engine.stopping else "ok", "version": VERSION}
        body |= {"degraded": standing.degraded, "leads": standing.leads}
        client = request.query_params.get("v")
        if client is not None and older(client):
            body["versionWarning"] = f"This client is {client[:20]}, the server {VERSION}: update it."
        return _json(200, body, self._correlation(request))

    async def _metrics(self, request: Request) -> Response:
        """They name projects, so they need a key, and show what that key may see."""

        async def answer(request: Request) -> Response:
            text = self._numbers.text(self._house.kit, self._gate.actor(_token(request)))
            return Response(text, headers={**HEADERS, "Content-Type": CONTENT_TYPE})

        return await self._guard(request, answer)

    async def _names(self, request: Request) -> Response:
        async def answer(request: Request) -> Response:
            actor = self._gate.actor(_token(request))
            return _json(200, {"tools": [tool.name for tool in self._gate.offered(actor)]}, self._correlation(request))

        return await self._guard(request, answer)

    async def _tools(self, request: Request) -> Response:
        async def answer(request: Request) -> Response:
            actor = self._gate.actor(_token(request))
            body = {"success": True, "tools": [described(tool) for tool in self._gate.offered(actor)]}
            return _json(200, body, self._correlation(request))

        return await self._guard(request, answer)

    async def _document(self, request: Request) -> Response:
        if self._openapi is None:
            self._openapi = json.dumps(openapi(VERSION)).encode()
        return Response(self._openapi, media_type="application/json", headers=HEADERS)

    # what goes wrong before the gate

    async def _guard(self, request: Request, answer: Callable[[Request], Awaitable[Response]]) -> Response:
        try:
            return await answer(request)
        except PublicError as fault:
            return self._failure(request, fault)
        except ClientDisconnect:
            return Response(status_code=400)

    def _failure(self, request: Request, fault: PublicError) -> Response:
        return self._before_gate(request, fault.status, failed(fault))

    def _before_gate(self, request: Request, status: int, body: dict[str, Any], **headers: str) -> Response:
        """The same envelope as the gate's, for what never came to it."""
        correlation, now = self._correlation(request), self._house.kit.world.now()
        return _json(
            status, {**body, "duration": 0.0, "timestamp": now.isoformat(), "correlationId": correlation}, correlation, headers
        )

    async def _no_route(self, request: Request, fault: HTTPException) -> Response:
        if fault.status_code == 405:
            wrong = InvalidParams(
                "This path does not take that method.", code="method_not_allowed", hint="Tools are called by POST."
            )
            return self._before_gate(request, 405, failed(wrong), **(fault.headers or {}))
        return self._failure(
            request, NotFound("There is nothing at this path.", hint="POST /api/tool, GET /api, GET /openapi.json.")
        )

    async def _fault(self, request: Request, fault: Exception) -> Response:
        return self._before_gate(request, 500, internal(self._correlation(request)))

    def _correlation(self, request: Request) -> str:
        """Taken from the request when it is a sane one; the same one for the whole request."""
        known: str | None = request.scope.get("codeb.correlation")
        if known is None:
            said = _header(request, b"x-correlation-id") or ""
            sane = grammar.CORRELATION_ID.fullmatch(said) and not holds_key(said)
            known = said if sane else self._house.kit.world.new_id("req")
            request.scope["codeb.correlation"] = known
        return known


def _header(request: Request, name: bytes) -> str | None:
    """The first header of this name; an empty one is there. They are put into a table once: a call looks for six."""
    table: dict[bytes, bytes] | None = request.scope.get("codeb.headers")
    if table is None:
        table = request.scope["codeb.headers"] = dict(reversed(request.scope["headers"]))
    found = table.get(name)
    return None if found is None else found.decode("latin-1")


def _token(request: Request) -> Secret | None:
    if key := _header(request, b"x-api-key"):
        return Secret(key)
    scheme, _, text = (_header(request, b"authorization") or "").partition(" ")
    return Secret(text.strip()) if scheme.lower() == "bearer" and text.strip() else None


async def _body(request: Request) -> bytes:
    """Raises `TooLarge` as soon as more than a mebibyte has come or is announced."""
    announced = _header(request, b"content-length") or ""
    too_large = TooLarge(f"The body is larger than {LARGEST_BODY} bytes; nothing was done.", hint="Send less.")
    if announced.isdecimal() and int(announced) > LARGEST_BODY:
        raise too_large
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > LARGEST_BODY:
            raise too_large
    return bytes(body)


class _Envelope(Response):
    """JSON with the headers that every answer has, encoded once."""

    media_type = "application/json"
    always: ClassVar[list[tuple[bytes, bytes]]] = [
        (name.lower().encode(), value.encode()) for name, value in (HEADERS | {"Content-Type": media_type}).items()
    ]

    def init_headers(self, headers: Mapping[str, str] | None = None) -> None:
        own = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in (headers or {}).items()]
        self.raw_headers = [*self.always, (b"content-length", b"%d" % len(self.body)), *own]


def _json(status: int, body: dict[str, Any], correlation: str, headers: Mapping[str, str] | None = None) -> Response:
    text = ENCODER.encode(body).encode("utf-8", "replace")
    return _Envelope(text, status, {**(headers or {}), "X-Correlation-ID": correlation})
