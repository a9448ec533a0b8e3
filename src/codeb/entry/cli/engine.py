"""The Docker Engine of the developer's machine, asked directly: for where there is no `docker` with buildx.

With the standard library alone, like every call of the command line.
"""

import base64
import contextlib
import http.client
import json
import os
import socket
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote, urlencode, urlsplit

from codeb.errors import StepFailed, Unavailable
from codeb.model import grammar

SILENCE_SECONDS = 900.0
"""without a word of a build: a step that compiles may say nothing for long"""
Say = Callable[[str], None]


class Engine:
    """One Engine, a connection per call. `where` is `unix:///path` or `tcp://host:port`."""

    def __init__(self, where: str = "") -> None:
        said = where or os.environ.get("CODEB_DOCKER_HOST") or os.environ.get("DOCKER_HOST") or "unix:///var/run/docker.sock"
        self.where = said
        if not said.startswith(("unix:///", "tcp://")):
            raise Unavailable(
                f"{said} is no Docker that can be asked directly.",
                hint="Install docker buildx, or unset DOCKER_HOST.",
            )

    def build(self, archive: IO[bytes], size: int, image: str, say: Say) -> None:
        """Build and tag by the Engine's own builder. Raises `StepFailed` (`build_failed`) and `Unavailable`."""
        query = urlencode({"t": image, "dockerfile": "Dockerfile", "rm": "1", "forcerm": "1", "version": "1"})
        headers = {"Content-Type": "application/x-tar", "Content-Length": str(size)}
        for said in self._stream("POST", f"/build?{query}", archive, headers):
            for line in str(said.get("stream") or said.get("status") or "").splitlines():
                if line.strip():
                    say(line)

    def push(self, image: str, say: Say) -> str:
        """Push by the tag; gives the digest of the manifest. Raises `StepFailed` and `Unavailable`."""
        name, _, tag = image.rpartition(":")
        headers = {"X-Registry-Auth": sign_in(grammar.image_host(image) or "")}
        digest, last = "", ""
        for said in self._stream("POST", f"/images/{quote(name)}/push?{urlencode({'tag': tag})}", None, headers):
            digest = str((said.get("aux") or {}).get("Digest") or digest)
            # the same words for every layer, with a bar that moves
            if (line := str(said.get("status") or "")) and line != last:
                last = line
                say(line)
        if not grammar.DIGEST.fullmatch(digest):
            raise StepFailed(f"{image} was pushed, but the Engine did not say as what.", code="push_failed")
        return digest

    def _stream(self, method: str, path: str, body: IO[bytes] | None, headers: Mapping[str, str]) -> Iterator[dict[str, Any]]:
        """Every word of a progress stream. Raises `StepFailed` for the Engine's own error."""
        line = self._connection()
        try:
            line.connect()
            # an Engine that refuses stops reading: what it answered says more than the broken pipe
            with contextlib.suppress(BrokenPipeError):
                line.request(method, path, body, dict(headers))
            answer = line.getresponse()
            if answer.status != 200:
                raise StepFailed(_message(answer.read(65_536)), code="build_failed")
            for raw in answer:
                said = json.loads(raw)
                if error := said.get("error"):
                    raise StepFailed(str(error).strip(), code="build_failed")
                yield said
        except (OSError, http.client.HTTPException, ValueError) as fault:
            raise Unavailable(
                f"Docker does not answer at {self.where}: {fault}.", hint="Start Docker, or set DOCKER_HOST."
            ) from fault
        finally:
            line.close()

    def _connection(self) -> http.client.HTTPConnection:
        parts = urlsplit(self.where)
        if parts.scheme == "tcp":
            return http.client.HTTPConnection(parts.hostname or "", parts.port or 2375, timeout=SILENCE_SECONDS)
        return _Unix(parts.path)


class _Unix(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("docker", timeout=SILENCE_SECONDS)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(SILENCE_SECONDS)
        self.sock.connect(self._path)


def _message(body: bytes) -> str:
    try:
        return str(json.loads(body)["message"])
    except (ValueError, KeyError, TypeError):
        return body.decode(errors="replace")[:500] or "it said no more"


def sign_in(host: str) -> str:
    """What the Engine has to show an image registry: what `docker login` left in this user's configuration, or nothing."""
    folder = os.environ.get("DOCKER_CONFIG")
    file = (Path(folder) if folder else Path.home() / ".docker") / "config.json"
    said: dict[str, str] = {}
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
        word = json.loads(file.read_text(encoding="utf-8"))["auths"][host]["auth"]
        user, _, password = base64.b64decode(word).decode().partition(":")
        said = {"username": user, "password": password, "serveraddress": host}
    return base64.urlsafe_b64encode(json.dumps(said).encode()).decode()
