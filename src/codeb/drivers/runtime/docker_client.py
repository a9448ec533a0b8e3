"""One connection to a Docker Engine: the API version agreed on, every call bounded, every failure translated."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import aiodocker
import aiohttp
from aiodocker.exceptions import DockerError

from codeb.errors import InternalFault, Unavailable

OLDEST_API = (1, 41)
"""Docker 20.10."""
NEWEST_API = (1, 52)
"""Docker 29: the newest whose changes were read against every call made here."""

CONNECT_SECONDS = 3.0
CALL_SECONDS = 15.0

NO_CONNECTION = 900
"""aiodocker's own status for an engine it cannot reach."""


class Refused(InternalFault):
    """The engine answered with an error status. Drivers turn the foreseen ones into public errors."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(f"Docker answered {status}: {reason}")
        self.status = status
        self.reason = reason


def negotiate(version: Mapping[str, Any]) -> str:
    """The API version to speak, from the engine's `/version`: its newest, but none newer than we know.

    Raises `Unavailable` (code `docker_version`) when the two ranges do not meet.
    """
    highest, lowest = _pair(version.get("ApiVersion")), _pair(version.get("MinAPIVersion") or "1.0")
    chosen = min(highest, NEWEST_API)
    if chosen < OLDEST_API or chosen < lowest:
        raise Unavailable(
            f"Docker {version.get('Version', '?')} speaks API {_text(lowest)} to {_text(highest)}, CodeB needs one of "
            f"{_text(OLDEST_API)} to {_text(NEWEST_API)}. Running containers are not affected.",
            code="docker_version",
            hint="Upgrade Docker to 20.10 or newer, or upgrade CodeB.",
        )
    return f"v{_text(chosen)}"


def _pair(text: object) -> tuple[int, int]:
    major, _, minor = str(text).partition(".")
    try:
        return int(major), int(minor)
    except ValueError:
        raise unreachable(f"its API version is unreadable: {text!r:.40}") from None


def _text(pair: tuple[int, int]) -> str:
    return f"{pair[0]}.{pair[1]}"


def unreachable(why: str) -> Unavailable:
    """The one error for an engine that does not answer."""
    return Unavailable(
        f"Docker does not answer: {why}. Containers that run keep running.",
        code="docker_unavailable",
        hint="Start the Docker daemon, see that CodeB's user may open its socket, and check CODEB_DOCKER_HOST.",
    )


def limit(total: float | None, silence: float | None = None) -> aiohttp.ClientTimeout:
    """Seconds for the whole call and between two bytes of the answer; connecting has its own limit always."""
    return aiohttp.ClientTimeout(total=total, sock_connect=CONNECT_SECONDS, sock_read=silence)


class DockerClient:
    """Speaks to one engine, by `unix://` socket or `tcp://` address. Opens itself at the first call; `close` ends it.

    Every call raises `Unavailable` (code `docker_unavailable`) when the engine cannot be reached, is silent or
    breaks off; `Refused` when it answers with an error. `permit` is asked just before every call that is more than a look,
    and raises when this process may change nothing any more: a verb of several calls stops between two of them.
    """

    def __init__(self, url: str = "unix:///var/run/docker.sock", permit: Callable[[], None] = lambda: None) -> None:
        self.url = url
        self._permit = permit
        self._docker: aiodocker.Docker | None = None
        self._opening: asyncio.Task[aiodocker.Docker] | None = None

    @property
    def api_version(self) -> str:
        """The API version agreed on, such as `v1.41`; empty before the first call."""
        return self._docker.api_version if self._docker else ""

    async def close(self) -> None:
        """Give the connections back. Safe to repeat; the next call opens again."""
        docker, self._docker = self._docker, None
        opening, self._opening = self._opening, None
        if opening is not None:
            opening.cancel()
            await asyncio.wait({opening})
            if not opening.cancelled() and opening.exception() is None:
                docker = opening.result()
        if docker is not None:
            await docker.close()

    async def version(self) -> dict[str, Any]:
        """What the engine says of itself, asked afresh."""
        docker = await self._open()
        async with _answer(docker, "GET", "version", limit(CALL_SECONDS), versioned=False) as response:
            said: dict[str, Any] = json.loads(await response.read())
            return said

    async def call(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
        seconds: float = CALL_SECONDS,
    ) -> Any:
        """One call; the decoded JSON answer, or None when there is no body (204, 304)."""
        data = None if body is None else json.dumps(body)
        async with self.stream(method, path, params=params, data=data, allowed=limit(seconds)) as response:
            raw = await response.read()
            return json.loads(raw) if raw else None

    @asynccontextmanager
    async def stream(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        data: Any = None,
        headers: Mapping[str, str] | None = None,
        allowed: aiohttp.ClientTimeout,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """The raw answer, closed on leaving the block, however that happens."""
        docker = await self._open()
        if method != "GET":
            self._permit()
        try:
            async with _answer(docker, method, path, allowed, params, data, headers) as response:
                yield response
        except Refused as refused:
            # The daemon was upgraded beneath us: agree anew at the next call.
            if refused.status == 400 and "client version" in refused.reason:
                await self.close()
                raise unreachable("it no longer speaks the API version agreed on; a retry agrees on another") from None
            raise

    async def _open(self) -> aiodocker.Docker:
        """One negotiation for everybody who asks meanwhile, so that nobody waits for the time-outs of those before."""
        if self._docker is not None:
            return self._docker
        opening = self._opening
        if opening is None:
            opening = self._opening = asyncio.create_task(self._negotiated())
            opening.add_done_callback(self._opened)
        try:
            return await asyncio.shield(opening)
        except asyncio.CancelledError:
            if opening.cancelled():
                raise unreachable("the connection was closed while it was being made") from None
            raise

    def _opened(self, opening: asyncio.Task[aiodocker.Docker]) -> None:
        if self._opening is not opening:  # closed meanwhile, which looks after it
            return
        self._opening = None
        if not opening.cancelled() and opening.exception() is None:
            self._docker = opening.result()

    async def _negotiated(self) -> aiodocker.Docker:
        docker = self._connection()
        try:
            async with _answer(docker, "GET", "version", limit(CALL_SECONDS), versioned=False) as response:
                docker.api_version = negotiate(json.loads(await response.read()))
        except BaseException:
            await docker.close()
            raise
        return docker

    def _connection(self) -> aiodocker.Docker:
        return aiodocker.Docker(url=self.url, timeout=limit(CALL_SECONDS))


@asynccontextmanager
async def _answer(
    docker: aiodocker.Docker,
    method: str,
    path: str,
    allowed: aiohttp.ClientTimeout,
    params: Mapping[str, str] | None = None,
    data: Any = None,
    headers: Mapping[str, str] | None = None,
    *,
    versioned: bool = True,
) -> AsyncIterator[aiohttp.ClientResponse]:
    response: aiohttp.ClientResponse | None = None
    try:
        # aiodocker has no public verb for update, split logs and bare versions; a contract test pins this one.
        response = await docker._do_query(
            path,
            method,
            params=None if params is None else dict(params),
            data=data,
            headers=headers,
            timeout=allowed,
            versioned_api=versioned,
        )
        yield response
    except DockerError as error:
        if error.status == NO_CONNECTION:
            raise unreachable(error.message) from error
        raise Refused(error.status, error.message) from error
    except TimeoutError as error:
        raise unreachable(f"no answer to {method} {path.partition('?')[0]} in time") from error
    except (aiohttp.ClientError, asyncio.IncompleteReadError, json.JSONDecodeError, UnicodeDecodeError) as error:
        raise unreachable(f"its answer to {method} {path} broke off ({type(error).__name__})") from error
    finally:
        if response is not None:
            # A body read to its end has already given the connection back; this ends the others.
            response.close()
