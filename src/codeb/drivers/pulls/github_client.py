"""One call of GitHub's API: its time, its size, its limits, and what is tried again."""

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable, Mapping
from functools import cached_property
from typing import Any

import httpx2

from codeb.drivers.pulls.github_answers import Answer, denied, limited, moved, wait_of
from codeb.errors import Unavailable
from codeb.model.secret import Secret

SECONDS = 20.0
"""for one request"""
TRIES, PAUSE = 3, 0.5
"""of what only reads; the pause doubles each time"""
MOST_BYTES = 8 * 2**20
VERSION = "2022-11-28"


class Client:
    """`permit` is asked right before each call that changes something."""

    def __init__(
        self, url: str, token: Secret, permit: Callable[[], None], *,
        sleep: Callable[[float], Awaitable[None]] | None, clock: Callable[[], float],
    ) -> None:  # fmt: skip
        self._url, self._token, self._permit = url.rstrip("/"), token, permit
        self._sleep, self._clock = sleep or asyncio.sleep, clock
        self._not_before = 0.0
        """GitHub asked us to stay away until then; who asks on is locked out"""
        self._changing = asyncio.Lock()

    @cached_property
    def _http(self) -> httpx2.AsyncClient:
        """Made when it is first used: reading this machine's certificates takes longer than the start of everything else."""
        headers = {
            "Authorization": f"Bearer {self._token.reveal()}", "Accept": "application/vnd.github+json",
            "X-GitHub-Api-Version": VERSION, "User-Agent": "codeb",
        }  # fmt: skip
        return httpx2.AsyncClient(headers=headers, timeout=SECONDS, trust_env=False, follow_redirects=False)

    async def close(self) -> None:
        if "_http" in vars(self):
            with contextlib.suppress(httpx2.HTTPError):
                await self._http.aclose()

    async def ask(
        self, method: str, path: str, *, params: Mapping[str, str] | None = None, body: Any = None, known: tuple[int, ...] = ()
    ) -> Answer:
        """What GitHub says: 2xx, or one of the numbers that the caller knows what to make of. Raises as `Pulls` does."""
        if method == "GET":
            return await self._read(path, params or {}, known)
        # GitHub asks for changes one by one
        async with self._changing:
            self._free()
            self._permit()
            return self._judged(await self._once(method, path, {}, body, told=True), known)

    async def _read(self, path: str, params: Mapping[str, str], known: tuple[int, ...]) -> Answer:
        for attempt in range(TRIES):
            self._free()
            try:
                answer = await self._once("GET", path, params, None)
                if answer.status < 500 or attempt == TRIES - 1:
                    return self._judged(answer, known)
            except Unavailable:
                if attempt == TRIES - 1:
                    raise
            await self._sleep(PAUSE * 2**attempt)
        raise AssertionError("the last try has ended")

    def _free(self) -> None:
        left = self._not_before - self._clock()
        if left > 0:
            raise limited(left)

    async def _once(self, method: str, path: str, params: Mapping[str, str], body: Any, told: bool = False) -> Answer:
        """`told`: once it is sent, it may have been done whatever comes back."""
        said = bytearray()
        try:
            async with (
                asyncio.timeout(SECONDS),
                self._http.stream(
                    method, f"{self._url}{path}", params=dict(params), content=None if body is None else json.dumps(body),
                    headers={} if body is None else {"Content-Type": "application/json"},
                ) as response,
            ):  # fmt: skip
                async for piece in response.aiter_bytes():
                    said += piece
                    if len(said) > MOST_BYTES:
                        raise _away("it sends more than any answer has", told)
                return Answer(response.status_code, response.headers, bytes(said))
        except (httpx2.HTTPError, httpx2.InvalidURL, TimeoutError, OSError) as fault:
            raise _away(str(fault)[:200] or f"no answer within {SECONDS:g} s", told) from fault

    def _judged(self, answer: Answer, known: tuple[int, ...]) -> Answer:
        if (seconds := wait_of(answer)) is not None:
            self._not_before = self._clock() + seconds
            raise limited(seconds)
        if 200 <= answer.status < 300 or answer.status in known:
            return answer
        if answer.status in (401, 403):
            raise denied(answer)
        if 300 <= answer.status < 400:
            raise moved()
        raise _away(f"status {answer.status}", answer.status >= 500)


def _away(why: str, told: bool) -> Unavailable:
    doubt = " Whether what was asked was done is not known." if told else ""
    return Unavailable(
        f"GitHub gives no usable answer: {why}.{doubt}", code="github_unavailable",
        hint="Look whether it was done, or call again: nothing is done twice." if told else "Try again in a moment.",
    )  # fmt: skip
