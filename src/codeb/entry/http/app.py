"""The routes: turns a request into a call of the gate, and the answer into a response. Knows no tool by name."""

import json
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Lifespan

from codeb.entry import export, strict_json
from codeb.entry.http.assistants import PATH, Assistants, demands
from codeb.entry.http.threshold import ALWAYS, Rules, Threshold
from codeb.entry.http.wire import CLOSE, LARGEST_BODY, answered, body_of, budget, header, token
from codeb.entry.mcp.caller import ENTRY
from codeb.entry.metrics import CONTENT_TYPE, Counted, Metrics
from codeb.entry.surface import described, openapi
from codeb.entry.version import VERSION, older
from codeb.errors import InvalidParams, NotFound, PublicError
from codeb.gate import Asked, Entered, Gate
from codeb.gate.door import failed, internal
from codeb.gate.entrance import too_often
from codeb.gate.validate import validate
from codeb.model import grammar
from codeb.model.access import Actor, holds_key
from codeb.tools.audit import ListParams
from codeb.tools.call import Call
from codeb.wiring import House


class Http:
    """The HTTP entry over one gate, which comes with the lifespan: `bind` before the first request."""

    _gate: Gate
    _house: House

    def __init__(self, rules: Rules | None = None) -> None:
        self._rules = rules or Rules()
        self._openapi: bytes | None = None
        self._numbers = Metrics()
        self.assistants = Assistants(self, lambda: self._house)

    def bind(self, house: House) -> None:
        self._house = house
        self._gate = house.gate
        self._gate.on_answer.append(self._numbers.called)
        self._gate.entrance.on_stranger.append(self._numbers.stranger)

    def app(self, lifespan: Lifespan[Starlette] | None = None) -> ASGIApp:
        routes = [
            Route("/api/tool", self._tool, methods=["POST"]),
            Route("/health", self._health, methods=["GET"]),
            Route("/metrics", self._metrics, methods=["GET"]),
            Route("/api", self._names, methods=["GET"]),
            Route("/api/tools", self._tools, methods=["GET"]),
            Route("/api/audit", self._audit, methods=["GET"]),
            Route("/openapi.json", self._document, methods=["GET"]),
            Route(PATH, self.assistants),
            Route("/api/{name}", self._short, methods=["POST"]),
            Route("/api/{family}/{verb}", self._short, methods=["POST"]),
        ]
        handlers: dict[Any, Callable[[Request, Any], Awaitable[Response]]] = {
            HTTPException: self._no_route,
            Exception: self._fault,
        }
        app = Starlette(routes=routes, lifespan=lifespan, exception_handlers=handlers)
        # a redirect would repeat whatever Host the caller claims, without our headers
        app.router.redirect_slashes = False
        return Counted(Threshold(app, self._rules, self.failure), self._numbers)

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
        request.scope["codeb.tool"] = name
        return await self._ask(request, name, await self._json(request, self._gate.most_bytes(name, token(request))))

    async def _audit(self, request: Request) -> Response:
        return await self._guard(request, self._audit_call)

    async def _audit_call(self, request: Request) -> Response:
        """The tool `audit_list`, by its own way: as lines the call is asked about the first row, and then they follow."""
        request.scope["codeb.tool"] = "audit_list"
        params, as_lines = export.wanted(request.query_params)
        answer = await self._ask(request, "audit_list", params)
        if not as_lines or answer.status_code != 200:
            return answer
        house, asked = self._house, self._asked(request, "audit_list")

        def still() -> Actor:
            return self._gate.entrance.know(asked.token, asked.ip)

        call = Call(house.kit, house.engine, still(), "audit_list", asked.correlation_id)
        body = export.lines(call, validate(ListParams, params), still)
        return StreamingResponse(body, media_type="application/jsonl", headers={"X-Correlation-ID": asked.correlation_id})

    async def _ask(self, request: Request, tool: str, params: Any) -> Response:
        asked = self._asked(request, tool, params)
        answer = await self._gate.call(asked)
        client = header(request, b"x-client-version")
        if client is not None and older(client):
            answer.body["versionWarning"] = f"This client is {client[:20]}, the server {VERSION}: update it."
        said = budget(answer.allowance, answer.status, answer.body.get("details"))
        return answered(answer.status, answer.body, asked.correlation_id, said)

    def _asked(self, request: Request, tool: str, params: Any = None) -> Asked:
        entry = ENTRY if request.scope.get("path") == PATH else "http"
        return Asked(
            tool=tool, params=params, token=token(request), entry=entry, correlation_id=self.correlation(request),
            ip=request.scope["codeb.client"].ip, idempotency_key=header(request, b"idempotency-key"),
        )  # fmt: skip

    async def _json(self, request: Request, most: int = LARGEST_BODY) -> Any:
        kind = (header(request, b"content-type") or "").partition(";")[0].strip().lower()
        body = await body_of(request, most)
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
        body |= {"degraded": standing.degraded, "leads": standing.leads, "development": self._house.kit.policy.development}
        client = request.query_params.get("v")
        if client is not None and older(client):
            body["versionWarning"] = f"This client is {client[:20]}, the server {VERSION}: update it."
        return answered(200, body, self.correlation(request))

    async def _metrics(self, request: Request) -> Response:
        """They name projects, so they need a key, and show what that key may see."""
        entered = self._gate.enter(self._asked(request, "get_metrics"))
        if entered.actor is None:
            return self._turned_away(request, entered)
        text = self._numbers.text(self._house.kit, entered.actor)
        return Response(text, headers={"Content-Type": CONTENT_TYPE, **budget(entered.allowance)})

    async def _names(self, request: Request) -> Response:
        return self._read(request, "get_api", lambda actor: {"tools": [tool.name for tool in self._gate.offered(actor)]})

    async def _tools(self, request: Request) -> Response:
        return self._read(
            request,
            "get_tools",
            lambda actor: {"success": True, "tools": [described(tool) for tool in self._gate.offered(actor)]},
        )

    def _read(self, request: Request, name: str, body: Callable[[Actor], dict[str, Any]]) -> Response:
        entered = self._gate.enter(self._asked(request, name))
        if entered.actor is None:
            return self._turned_away(request, entered)
        return answered(200, body(entered.actor), self.correlation(request), budget(entered.allowance))

    def _turned_away(self, request: Request, entered: Entered) -> Response:
        fault = entered.fault
        assert fault is not None
        return self._before_gate(request, fault.status, failed(fault), **budget(entered.allowance, fault.status, fault.details))

    async def _document(self, request: Request) -> Response:
        if self._openapi is None:
            self._openapi = json.dumps(openapi(VERSION)).encode()
        return Response(self._openapi, media_type="application/json")

    def let_in(self, request: Request, *, counted: bool) -> None:
        """Whether somebody may speak to a path that is no tool's. Raises `Unauthenticated`, `RateLimited`."""
        asked = self._asked(request, "")
        actor = self._gate.entrance.know(asked.token, asked.ip)
        left = self._gate.entrance.count(actor) if counted else None
        if left is not None and not left.granted:
            raise too_often(left)

    # what goes wrong before the gate

    async def _guard(self, request: Request, answer: Callable[[Request], Awaitable[Response]]) -> Response:
        try:
            return await answer(request)
        except PublicError as fault:
            return self.failure(request, fault)
        except ClientDisconnect:
            self._note(request, 400, "client_gone", "The caller hung up within its body; nothing was done.")
            return Response(status_code=400)

    def failure(self, request: Request, fault: PublicError) -> Response:
        slow = CLOSE if fault.code == "too_slow" else {}
        if request.scope.get("path") == PATH:
            slow |= demands(fault)
        self._note(request, fault.status, fault.code, fault.message)
        return self._before_gate(request, fault.status, failed(fault), **slow)

    def _before_gate(self, request: Request, status: int, body: dict[str, Any], **headers: str) -> Response:
        """The same envelope as the gate's, for what never came to it."""
        correlation, now = self.correlation(request), self._house.kit.world.now()
        body = {**body, "duration": 0.0, "timestamp": now.isoformat(), "correlationId": correlation}
        return answered(status, body, correlation, headers)

    def raw(self, fault: PublicError) -> bytes:
        """A whole answer as it goes over the wire, for a connection on which no request came to be."""
        nobody: dict[str, Any] = {"type": "http", "headers": []}
        said = self._before_gate(Request(nobody), fault.status, failed(fault), **CLOSE)
        lines = [b"HTTP/1.1 %d %s" % (fault.status, HTTPStatus(fault.status).phrase.encode())]
        lines += [name + b": " + value for name, value in [*ALWAYS, *said.raw_headers]]
        return b"\r\n".join(lines) + b"\r\n\r\n" + bytes(said.body)

    def _note(self, request: Request, status: int, code: str, summary: str) -> None:
        """The audit row of what was refused before it came to the gate."""
        if request.scope.get("path", "").startswith(("/api", "/metrics", PATH)):
            self._gate.refused(self._asked(request, request.scope.get("codeb.tool", "")), status, code, summary)

    async def _no_route(self, request: Request, fault: HTTPException) -> Response:
        if fault.status_code == 405:
            wrong = InvalidParams(
                "This path does not take that method.", code="method_not_allowed", hint="Tools are called by POST."
            )
            self._note(request, 405, wrong.code, wrong.message)
            return self._before_gate(request, 405, failed(wrong), **(fault.headers or {}))
        return self.failure(
            request, NotFound("There is nothing at this path.", hint="POST /api/tool, GET /api, GET /openapi.json.")
        )

    async def _fault(self, request: Request, fault: Exception) -> Response:
        body = internal(self.correlation(request))
        self._note(request, 500, body["code"], body["summary"])
        return self._before_gate(request, 500, body)

    def correlation(self, request: Request) -> str:
        """Taken from the request when it is a sane one; the same one for the whole request."""
        known: str | None = request.scope.get("codeb.correlation")
        if known is None:
            said = header(request, b"x-correlation-id") or ""
            sane = grammar.CORRELATION_ID.fullmatch(said) and not holds_key(said)
            known = said if sane else self._house.kit.world.new_id("req")
            request.scope["codeb.correlation"] = known
        return known
