"""Images on a Docker Engine, and the fetching of them."""

import asyncio
import base64
import json
from collections.abc import Mapping
from typing import Any

from codeb.drivers.runtime.docker_client import DockerClient, Refused, limit
from codeb.errors import NotFound, PublicError, Unavailable
from codeb.model import grammar
from codeb.model.secret import Secret
from codeb.model.specs import Image

SILENCE_SECONDS = 60.0
"""A fetch that gets no further for so long has nobody at the other end. Repeating the same words is no progress."""
UNNAMED_SECONDS = 120.0
"""For a whole fetch of a reference that names no image registry."""

ABSENT = ("not found", "manifest unknown", "name unknown", "does not exist", "access denied", "no such image")


class Stalled(Unavailable):
    """A fetch that got no further."""


class DockerImages:
    """`Images` of one engine. The engine itself does the fetching, with what it knows of proxies and certificates."""

    def __init__(self, client: DockerClient, signed: Mapping[str, Secret] | None = None) -> None:
        self._client = client
        self.signed = signed or {}

    async def resolve(self, reference: str) -> Image:
        """See `Images.resolve`. Takes as long as the fetch does; safe to cancel: what came stays for the next try.

        A reference pinned by digest that is here already is not fetched. One without an image registry's name is
        fetched only when the machine has no copy, from where the engine's own default is, for at most 120 s.
        """
        host = grammar.image_host(reference)
        pinned = "@" in reference
        if host is None or pinned:
            here = await self._inspect(reference)
            if here is not None:
                return _image(reference, here)
        try:
            digest = await self._pull(reference, None if host else UNNAMED_SECONDS)
        except (Refused, Unavailable) as failure:
            return await self._fallback(reference, failure)
        here = await self._inspect(reference)
        if here is None:
            raise _absent(reference, "it was fetched and removed again at once")
        return _image(reference, here, digest)

    async def _fallback(self, reference: str, failure: Refused | Unavailable) -> Image:
        """The copy on this machine. An engine that is down fails here too, with its own error."""
        here = await self._inspect(reference)
        where = grammar.image_host(reference) or "The image registry"
        if here is not None:
            # a warning holds no words of somebody else's registry
            why = f"{where} did not give it out." if isinstance(failure, Refused) else failure.message
            return _image(reference, here, warning=f"The copy on this server is used: {why}")
        if isinstance(failure, Refused) and _says_absent(failure):
            raise _absent(reference, failure.reason) from failure
        what = failure.message if isinstance(failure, Stalled) else f"{where} did not give out {reference}."
        raise Unavailable(
            f"{what} There is no copy on this server. Nothing was changed.",
            code="image_registry_unavailable",
            hint="Check that the image registry runs and that this server reaches it, then try again.",
            details={"reason": _reason(failure)},
        ) from failure

    async def _inspect(self, reference: str) -> Mapping[str, Any] | None:
        try:
            seen: Mapping[str, Any] = await self._client.call("GET", f"images/{_bare(reference)}/json")
            return seen
        except Refused as refused:
            if refused.status == 404:
                return None
            raise

    async def _pull(self, reference: str, total: float | None) -> str | None:
        """Fetch; the digest the image registry gave it, when the engine says so."""
        wanted = _bare(reference)
        if "@" not in wanted and grammar.image_tag(wanted) is None:
            wanted += ":latest"  # without a tag the engine would fetch every one
        digest = None
        patience, heard = asyncio.timeout(SILENCE_SECONDS), dict[str, object]()
        # only to the host it is for
        word = self.signed.get(grammar.image_host(reference) or "")
        headers = {"X-Registry-Auth": word.reveal()} if word is not None else None
        fetch = self._client.stream(
            "POST", "images/create", params={"fromImage": wanted}, headers=headers, allowed=limit(total)
        )  # fmt: skip
        try:
            async with patience, fetch as response:
                async for line in response.content:
                    said = json.loads(line)
                    if "error" in said or "errorDetail" in said:
                        detail = said.get("errorDetail") or {}
                        raise Refused(0, str(said.get("error") or detail.get("message") or "no reason given"))
                    status, layer = str(said.get("status", "")), str(said.get("id", ""))
                    if heard.get(layer) != (news := (status, said.get("progressDetail"))):
                        heard[layer] = news
                        patience.reschedule(asyncio.get_running_loop().time() + SILENCE_SECONDS)
                    if status.startswith("Digest: "):
                        digest = status.removeprefix("Digest: ").strip()
        except TimeoutError as silent:
            where = grammar.image_host(reference) or "The image registry"
            raise Stalled(f"{where} sent nothing of {reference} for {SILENCE_SECONDS:g} s.") from silent
        return digest


def sign_in(address: str, user: str, password: Secret) -> dict[str, Secret]:
    """By host what the engine has to show the image registry there; nothing without a user."""
    if not user:
        return {}
    host = address.partition("/")[0]
    said = {"username": user, "password": password.reveal(), "serveraddress": host}
    return {host: Secret(base64.urlsafe_b64encode(json.dumps(said).encode()).decode())}


def _bare(reference: str) -> str:
    """`repo:tag@digest` without its tag: the digest decides, and the engine has the image under no such triple."""
    name, at, digest = reference.partition("@")
    if not at:
        return reference
    return f"{repository(name)}@{digest}"


def repository(reference: str) -> str:
    """The reference without tag and digest."""
    name = reference.partition("@")[0]
    head, slash, last = name.rpartition("/")
    return f"{head}{slash}{last.partition(':')[0]}"


def _familiar(name: str) -> str:
    """The engine's short form of what its default image registry holds."""
    return name.removeprefix("docker.io/").removeprefix("library/")


def _image(reference: str, seen: Mapping[str, Any], digest: str | None = None, warning: str = "") -> Image:
    test = ((seen.get("Config") or {}).get("Healthcheck") or {}).get("Test") or ["NONE"]
    return Image(reference, seen["Id"], digest or registry_digest(reference, seen), test[0] != "NONE", warning)


def registry_digest(reference: str, seen: Mapping[str, Any]) -> str:
    """The digest under which the reference's repository knows an inspected image; the image's id when none does."""
    pinned = reference.partition("@")[2]
    if pinned:
        return pinned
    wanted = _familiar(repository(reference))
    for each in seen.get("RepoDigests") or ():
        name, _, digest = str(each).partition("@")
        if _familiar(name) == wanted and digest:
            return digest
    return str(seen["Id"])


def _says_absent(refused: Refused) -> bool:
    return refused.status == 404 or any(words in refused.reason.lower() for words in ABSENT)


def _reason(failure: Refused | PublicError) -> str:
    return failure.reason[:500] if isinstance(failure, Refused) else failure.message


def _absent(reference: str, reason: str) -> NotFound:
    return NotFound(
        f"Image not found: {reference}. Nothing was changed.",
        code="image_not_found",
        hint="Check its name and tag and that it was pushed, or build it on this server, then try again.",
        details={"reason": reason[:500]},
    )
