"""The server process: one HTTP entry, the timer, resume at boot, and a clean stop."""

import asyncio
import contextlib
import gc
import logging
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from types import FrameType
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from codeb import config
from codeb.config import Settings
from codeb.entry import timer
from codeb.entry.acting import Acting
from codeb.entry.http import Http, Rules
from codeb.entry.http.protocol import IDLE_SECONDS, guarded
from codeb.entry.watch import Watcher
from codeb.errors import PublicError
from codeb.wiring import House, build

log = logging.getLogger("codeb")

OPERATIONS_SECONDS = 18.0
"""how long operations under way may take to end on SIGTERM; the rest stop at a journaled point and are resumed later"""
DEVELOPMENT = (
    "DEVELOPMENT MODE (CODEB_ENV=development): any well-formed key is accepted, with every right of the role it names. "
    "Whoever has an account on this machine owns this server. Never for production."
)
REQUESTS_SECONDS = 5
"""how long requests that wait for no operation may then take"""


class Server(uvicorn.Server):
    """Begins no new operation from the moment the signal comes, and answers reads until those under way are over."""

    house: House | None = None
    refused: PublicError | None = None
    """why it could not start"""
    loop: asyncio.AbstractEventLoop | None = None
    leave: Callable[[], Awaitable[None]] | None = None
    """ends the streams that would never end by themselves"""
    _leaving: asyncio.Task[None] | None = None

    def serves(self, house: House) -> None:
        """Called inside the running loop, once there is something to stop in order."""
        self.house, self.loop = house, asyncio.get_running_loop()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self.house is None or self.loop is None or self.house.engine.stopping:
            # Nothing to stop in order, or asked a second time. As uvicorn has it, less the signal that it raises again after
            # a clean end: that would make the exit code one of a process that was killed.
            self.force_exit = self.should_exit and sig == signal.SIGINT
            self.should_exit = True
            return
        self.house.engine.stop()
        self.loop.call_soon_threadsafe(self._leave, self.house)

    def _leave(self, house: House) -> None:
        async def in_order() -> None:
            await house.engine.drain(OPERATIONS_SECONDS)
            if self.leave is not None:
                await self.leave()
            self.should_exit = True

        self._leaving = asyncio.create_task(in_order())


async def _forever(*jobs: Any) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(job) for job in jobs]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


background = contextlib.asynccontextmanager(_forever)


def application(settings: Settings, http: Http, server: Server | None = None) -> ASGIApp:
    """The ASGI application; its lifespan builds the house, resumes what was interrupted and ends in order."""

    @contextlib.asynccontextmanager
    async def built() -> AsyncIterator[House]:
        try:
            async with build(settings) as house:
                yield house
        except PublicError as fault:
            if server is not None:
                server.refused = fault
            raise

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with built() as house:
            if server is not None:
                server.serves(house)
                server.leave = http.assistants.leave
            http.bind(house)
            if house.kit.store.standing.leads:
                await house.engine.resume(lease_seconds=0)
            watcher = Watcher(house.kit, Acting(house.kit, house.engine, house.audit))
            jobs = (house.audit.run(), house.engine.keep_leases(), timer.run(house.kit, house.engine, house.audit), watcher.run())
            async with background(*jobs):
                # what is loaded by now stays: the collector need not look through it again and again
                gc.collect()
                gc.freeze()
                log.info("CodeB listens on http://%s:%s", settings.host, settings.port)
                if settings.development:
                    log.warning(DEVELOPMENT)
                yield
                await house.engine.drain(0)
                await http.assistants.leave()
            await house.audit.close()

    return http.app(lifespan)


def plainly(app: ASGIApp, server: Server) -> ASGIApp:
    """Without a traceback for a start that was refused in words: `serve` raises those."""

    async def said(scope: Scope, receive: Receive, send: Send) -> None:
        async def brief(message: Message) -> None:
            if server.refused is not None and message["type"] == "lifespan.startup.failed":
                message = {**message, "message": ""}
            await send(message)

        await app(scope, receive, brief if scope["type"] == "lifespan" else send)

    return said


def serve(settings: Settings) -> int:
    """Run in the foreground until SIGTERM or SIGINT; 0 after a clean stop. Raises the `PublicError` that refused the start."""
    logging.basicConfig(
        level=settings.log_level.upper(), stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    logging.getLogger("httpx2").setLevel("WARNING")
    server = Server.__new__(Server)
    http = Http(Rules(settings.hosts, settings.origins, settings.proxies))
    options = uvicorn.Config(
        plainly(application(settings, http, server), server), host=settings.host, port=settings.port, loop="uvloop",
        http=guarded(http.raw), ws="none", lifespan="on", proxy_headers=False, access_log=False, log_config=None,
        server_header=False, date_header=False, timeout_graceful_shutdown=REQUESTS_SECONDS, timeout_keep_alive=IDLE_SECONDS,
    )  # fmt: skip
    Server.__init__(server, options)
    try:
        server.run()
    except SystemExit:
        if server.refused is not None:
            raise server.refused from None
        raise
    return 0 if server.started else 1


def main() -> int:
    try:
        return serve(config.load())
    except PublicError as fault:
        sys.stderr.write(f"{fault.message} {fault.hint}\n")
        return 1


if __name__ == "__main__":
    sys.exit(main())
