"""Caddy's admin API over its unix socket: the few calls we make of it."""

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx2

from codeb.errors import Conflict, Unavailable

LOAD_SECONDS = 30.0
"""for a whole call; a reload took 1.2 s with 5,000 sites on two shared cores, and half a promote's time is left to go back"""
ANSWER_SECONDS = 2.0
CADDYFILE = {"Content-Type": "text/caddyfile"}


class Admin:
    """One running Caddy. Raises `Unavailable` when it does not answer, `Conflict` when it refuses a configuration."""

    def __init__(self, socket: Path) -> None:
        self._client = httpx2.AsyncClient(
            transport=httpx2.AsyncHTTPTransport(uds=str(socket), limits=httpx2.Limits(max_keepalive_connections=0)),
            # The one Host that every version since 2.6 accepts on a unix socket is the empty one.
            headers={"Host": ""},
            base_url="http://caddy",
            trust_env=False,
        )

    async def answers(self) -> bool:
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                response = await self._client.get("/config/admin", timeout=None)
        except (httpx2.HTTPError, TimeoutError):
            return False
        return response.status_code == 200

    async def load(self, caddyfile: bytes) -> None:
        """Make this the running configuration; the call returns when it is. Refused: the old one goes on running."""
        response = await self._call("POST", "/load", caddyfile)
        if response.status_code != 200:
            raise Conflict(
                "The proxy refused the configuration; the previous one is still in force.",
                code="proxy_refused",
                hint="Read what Caddy says in the details; `we scan` names a site file that was changed by hand.",
                details={"caddy": _words(response)},
            )

    async def runs(self, caddyfile: bytes) -> bool:
        """Whether the running configuration is exactly what this text stands for now, imports included."""
        wanted = await self._call("POST", "/adapt", caddyfile)
        running = await self._call("GET", "/config/")
        if wanted.status_code != 200 or running.status_code != 200:
            return False
        return bool(wanted.json().get("result") == running.json())

    async def stop(self) -> None:
        await self._call("POST", "/stop")

    async def close(self) -> None:
        await self._client.aclose()

    async def _call(self, method: str, path: str, content: bytes | None = None) -> httpx2.Response:
        try:
            # The client's own limits are between two bytes: an answer that drips would never end.
            async with asyncio.timeout(LOAD_SECONDS):
                return await self._client.request(method, path, content=content, headers=CADDYFILE, timeout=None)
        except (httpx2.HTTPError, TimeoutError) as error:
            raise Unavailable(
                "The proxy's admin socket does not answer; sites that were loaded go on being served if Caddy runs.",
                hint="Look at caddy.log in the proxy's folder; `we up` starts the proxy again.",
                details={"reason": str(error) or f"{type(error).__name__} after at most {LOAD_SECONDS:g} s"},
            ) from error


def _words(response: httpx2.Response) -> str:
    """What Caddy said, as one bounded line of text."""
    try:
        said: Any = response.json()
    except json.JSONDecodeError:
        said = response.text
    text = said.get("error", said) if isinstance(said, dict) else said
    return str(text)[:2000]
