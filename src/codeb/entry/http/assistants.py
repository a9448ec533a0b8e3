"""`/mcp`: what stands before the assistants' server, and its life. The protocol itself is `entry/mcp`."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from typing import Any, Protocol

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.types import Message, Receive, Scope, Send

from codeb.entry import strict_json
from codeb.entry.http.wire import body_of, token
from codeb.entry.mcp.caller import SCOPE, Caller
from codeb.errors import InvalidParams, PublicError, Unavailable
from codeb.wiring import House

PATH = "/mcp"
SERVING = "codeb.entry.mcp.serving"
"""imported for the first assistant, off the loop: the protocol's library takes half a second"""
MOST_BYTES = 4 * 2**20
COUNTED = frozenset(
    {"tools/list", "tools/call", "resources/list", "resources/templates/list", "resources/read", "prompts/list", "prompts/get",
     "tasks/get", "tasks/cancel"}
)  # fmt: skip
"""methods that the gate counts and records by itself"""
LISTENS = "subscriptions/listen"
ANSWERS_SECONDS = 2.0
"""how long answers to what has ended may take to be written before everything is closed"""
PARSE_ERROR = -32700
STOPPING = Unavailable("CodeB is stopping; this was given up.", code="stopping", hint="Try again in a moment.")


class Around(Protocol):
    """What this needs of the HTTP entry."""

    def correlation(self, request: Request) -> str: ...
    def failure(self, request: Request, fault: PublicError) -> Response: ...
    def let_in(self, request: Request, *, counted: bool) -> None: ...


class Assistants:
    """An endpoint of all methods, of which POST is served. Both revisions of the protocol, no sessions."""

    def __init__(self, around: Around, house: Callable[[], House]) -> None:
        self._around = around
        self._house = house
        self._starting = asyncio.Lock()
        self._manager: Any = None
        self._life: asyncio.Task[None] | None = None
        self._leave = asyncio.Event()
        self._answering: set[asyncio.Task[Any]] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        try:
            body, method = await self._admit(request)
        except PublicError as fault:
            await self._refused(request, fault)(scope, receive, send)
            return
        except ClientDisconnect:
            return
        caller = scope[SCOPE] = Caller(token(request), scope["codeb.client"].ip, self._around.correlation(request))
        me = asyncio.current_task()
        assert me is not None
        if method != LISTENS:
            self._answering.add(me)
        try:
            await self._serve(scope, self._heard(body, receive), send)
        finally:
            self._answering.discard(me)
            if method in COUNTED and not caller.asked:
                # the protocol's library refused it before it came to the gate
                with suppress(PublicError):
                    self._around.let_in(request, counted=True)

    async def _admit(self, request: Request) -> tuple[bytes, Any]:
        """The body of a request by somebody known, and the method it names. Raises `PublicError`."""
        if request.method != "POST":
            raise InvalidParams(
                "Assistants speak to this path by POST alone; there are no sessions and no stream to open.",
                code="method_not_allowed", hint="Send each message as a POST.",
            )  # fmt: skip
        self._around.let_in(request, counted=False)
        body = await body_of(request, MOST_BYTES)
        said = strict_json.loads(body)
        method = said.get("method") if isinstance(said, dict) else None
        if not isinstance(method, str) or method not in COUNTED:
            self._around.let_in(request, counted=True)
        return body, method

    def _refused(self, request: Request, fault: PublicError) -> Response:
        said = self._around.failure(request, fault)
        if fault.code == "method_not_allowed":
            said.status_code = 405
        if fault.code != "malformed":
            return said
        error = {"code": PARSE_ERROR, "message": f"{fault.message} {fault.hint}"}
        return JSONResponse({"jsonrpc": "2.0", "id": None, "error": error}, said.status_code)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; an answer that was begun is also ended, and one that was not is given."""
        state = ""

        async def told(message: Message) -> None:
            nonlocal state
            ends = message["type"] == "http.response.body" and not message.get("more_body", False)
            state = "ended" if ends else "begun"
            await send(message)

        manager = await self._served()
        await manager.handle_request(scope, receive, told)
        if state == "begun":
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        elif not state and self._leave.is_set():
            await self._around.failure(Request(scope), STOPPING)(scope, receive, send)

    def _heard(self, body: bytes, receive: Receive) -> Receive:
        """The body that was read, then whatever else comes; to the server it seems that everybody hangs up once it leaves."""
        first: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

        async def hear() -> Message:
            if first:
                return first.pop()
            more, leaves = asyncio.ensure_future(receive()), asyncio.ensure_future(self._leave.wait())
            try:
                await asyncio.wait((more, leaves), return_when=asyncio.FIRST_COMPLETED)
                return more.result() if more.done() else {"type": "http.disconnect"}
            finally:
                more.cancel()
                leaves.cancel()

        return hear

    # its life

    async def _served(self) -> Any:
        async with self._starting:
            if self._manager is None:
                serving = await asyncio.to_thread(import_module, SERVING)
                manager, ready = serving.manager(self._house()), asyncio.Event()
                self._life = asyncio.create_task(self._live(manager, ready), name="mcp")
                await ready.wait()
                self._manager = manager
        return self._manager

    async def _live(self, manager: Any, ready: asyncio.Event) -> None:
        async with manager.run():
            ready.set()
            await self._leave.wait()

    async def leave(self) -> None:
        """End what would not end by itself, such as a stream that somebody listens to; operations go on. Safe to repeat."""
        if self._answering:
            await asyncio.wait(set(self._answering), timeout=ANSWERS_SECONDS)
        self._leave.set()
        if self._life is not None:
            await self._life


def demands(fault: PublicError) -> dict[str, str]:
    """The headers of a refusal that tell a client of the protocol what to bring."""
    if fault.status == 401:
        said = f"{fault.message} {fault.hint}".encode("ascii", "replace").decode().replace("\\", "").replace('"', "'")
        return {"WWW-Authenticate": f'Bearer realm="codeb", error="invalid_token", error_description="{said}"'}
    return {"Allow": "POST"} if fault.code == "method_not_allowed" else {}
