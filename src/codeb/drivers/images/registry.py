"""The image registry by its HTTP API, version 2: as the OCI distribution specification and the older Docker one have it.

What a registry says is input like any other: sizes are capped, names and digests pass the grammar, and a manifest is the one
whose digest it has.
"""

import asyncio
import contextlib
import hashlib
import ipaddress
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx2

from codeb.errors import Conflict, NotFound, Unavailable
from codeb.model import grammar
from codeb.model.images import Blob, Manifest
from codeb.model.secret import Secret

SECONDS = 20.0
"""for one request"""
PAGE = 500
MOST_PAGES = 200
MOST_BYTES = 4 * 2**20
"""of an answer: the least that a registry has to take as a manifest"""

OCI, DOCKER = "application/vnd.oci.image", "application/vnd.docker.distribution.manifest"
IMAGES = (f"{OCI}.manifest.v1+json", f"{DOCKER}.v2+json")
INDEXES = (f"{OCI}.index.v1+json", f"{DOCKER}.list.v2+json")
CONFIGS = (f"{OCI}.config.v1+json", "application/vnd.docker.container.image.v1+json")
NOBODY = "sha256:" + "0" * 64
"""the digest of nothing"""


@dataclass(frozen=True)
class _Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    def object(self) -> dict[str, Any]:
        said = json.loads(self.body)
        if not isinstance(said, dict):
            raise TypeError("no JSON object")
        return said


class HttpImageRegistry:
    """`ImageRegistry` at `host[:port][/path]`: by plain HTTP on this machine, as Docker does, else by HTTPS."""

    def __init__(self, address: str, user: str = "", password: Secret | None = None) -> None:
        host, _, prefix = address.partition("/")
        self._host, self._prefix = host, f"{prefix}/" if prefix else ""
        self._scheme = "http" if _is_here(host.rpartition(":")[0] or host) else "https"
        self._auth = httpx2.BasicAuth(user, password.reveal()) if user and password is not None else None

    @cached_property
    def _client(self) -> httpx2.AsyncClient:
        """Made when it is first used: reading this machine's certificates takes longer than the start of everything else."""
        return httpx2.AsyncClient(
            base_url=f"{self._scheme}://{self._host}/v2/", timeout=SECONDS, trust_env=False, follow_redirects=False,
            auth=self._auth, verify=self._scheme == "https",
        )  # fmt: skip

    async def close(self) -> None:
        if "_client" not in vars(self):
            return
        with contextlib.suppress(httpx2.HTTPError):
            await self._client.aclose()

    # what is there

    async def repositories(self) -> Sequence[str]:
        found = await self._pages("_catalog", "repositories", grammar.repository)
        if found is None:
            raise NotFound(f"{self._host} does not tell which repositories it has.", code="catalog_not_offered")
        return sorted(name.removeprefix(self._prefix) for name in found if name.startswith(self._prefix))

    async def tags(self, repository: str) -> Sequence[str]:
        return sorted(await self._pages(f"{self._path(repository)}/tags/list", "tags", grammar.tag) or ())

    async def digest(self, repository: str, tag: str) -> str | None:
        # not HEAD: a registry need not say the digest, and what it says need not be so
        found = await self._manifest(repository, tag)
        return found[0] if found else None

    async def look(self, repository: str, digest: str) -> Manifest | None:
        found = await self._manifest(repository, digest)
        if found is None:
            return None
        if found[0] != digest:
            raise self._nonsense(f"what it has as {digest} is {found[0]}")
        said = found[1]
        try:
            return await self._read(repository, digest, said)
        except (ValueError, TypeError, KeyError, AttributeError) as fault:
            raise self._nonsense(f"the manifest {digest} is none: {fault}") from fault

    async def _manifest(self, repository: str, reference: str) -> tuple[str, _Answer] | None:
        accept = {"Accept": ", ".join((*IMAGES, *INDEXES))}
        answer = await self._ask("GET", f"{self._path(repository)}/manifests/{reference}", headers=accept)
        if answer.status == 404:
            return None
        self._good(answer, 200)
        return f"sha256:{hashlib.sha256(answer.body).hexdigest()}", answer

    async def _read(self, repository: str, digest: str, answer: _Answer) -> Manifest:
        said, size = answer.object(), len(answer.body)
        kind = str(said.get("mediaType") or answer.headers.get("content-type", "")).partition(";")[0].strip()
        if kind in INDEXES:
            return _index(digest, size, said)
        if kind not in IMAGES:
            return Manifest(digest, size, "other")
        config = said.get("config") or {}
        blobs = [Blob(str(each["digest"]), max(0, int(each.get("size") or 0))) for each in (config, *(said.get("layers") or ()))]
        built, platform = None, ""
        if config.get("mediaType") in CONFIGS:
            built, platform = await self._built(repository, grammar.image_digest(blobs[0].digest))
        return Manifest(digest, size, "image", tuple(blobs), (), (platform,) if platform else (), built)

    async def _built(self, repository: str, digest: str) -> tuple[datetime | None, str]:
        """When and for what, as the image's configuration says; nothing where it is not given out."""
        answer = await self._ask("GET", f"{self._path(repository)}/blobs/{digest}")
        if answer.status != 200:
            return None, ""
        said = answer.object()
        try:
            at = datetime.fromisoformat(str(said.get("created")))
        except ValueError:
            return None, _platform(said)
        at = at.replace(tzinfo=at.tzinfo or UTC)
        # what no clock ever said: builders write it where a build is to be the same each time
        return (at if at.year > 1980 else None), _platform(said)

    # its end

    async def may_erase(self, repository: str) -> None:
        await self._delete(repository, NOBODY)

    async def erase(self, repository: str, digest: str) -> None:
        await self._delete(repository, digest)

    async def _delete(self, repository: str, digest: str) -> None:
        answer = await self._ask("DELETE", f"{self._path(repository)}/manifests/{digest}")
        if answer.status == 405:
            raise Conflict(
                f"{self._host} deletes nothing: that is switched off there. Nothing was deleted.", code="deletion_disabled",
                hint="Set storage.delete.enabled: true in its configuration (REGISTRY_STORAGE_DELETE_ENABLED=true), restart it.",
            )  # fmt: skip
        if answer.status != 404:
            self._good(answer, 202, 200, 204)

    # how it is asked

    def _path(self, repository: str) -> str:
        return f"{self._prefix}{repository}"

    async def _pages(self, path: str, field: str, check: Callable[[str], str]) -> list[str] | None:
        """Every page of a list; None where there is no such list. What does not pass the grammar cannot be ours."""
        found: list[str] = []
        params: dict[str, str] = {"n": str(PAGE)}
        for _ in range(MOST_PAGES):
            answer = await self._ask("GET", path, params=params)
            if answer.status in (404, 405) or (answer.status in (401, 403) and path == "_catalog"):
                return None
            self._good(answer, 200)
            try:
                said = answer.object().get(field) or []
                for each in said:
                    with contextlib.suppress(ValueError):
                        found.append(check(each if isinstance(each, str) else ""))
            except (ValueError, TypeError) as fault:
                raise self._nonsense(f"its list of {field} is none: {fault}") from fault
            onward = _next(answer.headers.get("link", ""))
            if not onward or onward.get("last") == params.get("last"):
                return found
            params = {"n": str(PAGE), **onward}
        raise self._nonsense(f"its list of {field} does not end")

    async def _ask(
        self, method: str, path: str, *, params: Mapping[str, str] | None = None, headers: Mapping[str, str] | None = None
    ) -> _Answer:
        body = bytearray()
        try:
            async with (
                asyncio.timeout(SECONDS),
                self._client.stream(method, path, params=dict(params or {}), headers=dict(headers or {})) as response,
            ):
                async for piece in response.aiter_bytes():
                    body += piece
                    if len(body) > MOST_BYTES:
                        raise self._nonsense("it sends more than any answer has")
                return _Answer(response.status_code, response.headers, bytes(body))
        except (httpx2.HTTPError, httpx2.InvalidURL, TimeoutError, OSError) as fault:
            reason = str(fault)[:200] or f"no answer within {SECONDS:g} s"
            raise Unavailable(
                f"The image registry {self._host} does not answer: {reason}.", code="image_registry_unavailable",
                hint="Check that it runs and that this server reaches it, then try again.", details={"reason": reason},
            ) from fault  # fmt: skip

    def _good(self, answer: _Answer, *wanted: int) -> None:
        if answer.status in wanted:
            return
        if answer.status in (401, 403):
            bearer = answer.headers.get("www-authenticate", "").lower().startswith("bearer")
            raise Unavailable(
                f"The image registry {self._host} wants other credentials ({answer.status}).", code="image_registry_denied",
                hint="It hands out tokens, which CodeB does not ask for: use its own tools." if bearer
                else "Set CODEB_IMAGE_REGISTRY_USER and CODEB_IMAGE_REGISTRY_PASSWORD.",
            )  # fmt: skip
        raise self._nonsense(f"it answered {answer.status}")

    def _nonsense(self, reason: str) -> Unavailable:
        return Unavailable(
            f"The image registry {self._host} gave no usable answer: {reason[:300]}.", code="image_registry_unavailable",
            hint="See its log; check that CODEB_IMAGE_REGISTRY names an image registry.", details={"reason": reason[:300]},
        )  # fmt: skip


def _is_here(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _platform(said: Mapping[str, Any]) -> str:
    parts = [str(said.get(name) or "") for name in ("os", "architecture", "variant")]
    return "/".join(part[:40] for part in parts if part)


def _index(digest: str, size: int, said: Mapping[str, Any]) -> Manifest:
    """A cache of BuildKit is an index too, of layers: those are no manifests and are not asked for as such."""
    every = [each for each in said.get("manifests") or () if grammar.DIGEST.fullmatch(str(each["digest"]))]
    parts = [each for each in every if each.get("mediaType", IMAGES[0]) in (*IMAGES, *INDEXES)]
    blobs = tuple(Blob(str(each["digest"]), max(0, int(each.get("size") or 0))) for each in every if each not in parts)
    named = {_platform(each.get("platform") or {}) for each in parts} - {"", "unknown/unknown"}
    return Manifest(digest, size, "index", blobs, tuple(str(each["digest"]) for each in parts), tuple(sorted(named)))


def _next(link: str) -> dict[str, str]:
    """Where the next page begins. Only that is taken from the link: it is asked for where the first one was."""
    target, _, rest = link.partition(">")
    if not target.startswith("<") or 'rel="next"' not in rest:
        return {}
    return {name: value for name, value in parse_qsl(urlsplit(target[1:]).query) if name == "last"}
