"""Images for the demo and the tests, built through the Engine API from what is on this machine: nothing is pulled.

The base image is this machine's Python: interpreter, standard library and the shared libraries they need, at the
same paths. It is made once per content (`codeb-base:<hash>`). An app image is the base plus `demo/app.py`.

    python -m demo.images shop:v1 v1
"""

import contextlib
import fcntl
import http.client
import io
import json
import os
import socket
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote, urlencode

from codeb.errors import InvalidParams, Unavailable
from demo.interpreter import Interpreter

APP = Path(__file__).with_name("app.py")
HEALTH_PROBE = Path(__file__).with_name("probe.py")
HEALTHCHECK = ["python3", "-S", "/app/probe.py"]
LABELS = {"codeb.demo": "1", "codebtest": "1"}
BASE = "codeb-base"
USER = "10001"
BUILD_SECONDS = 120.0
# What a Dockerfile would read as more than a character between double quotes.
LITERAL = str.maketrans({"\\": "\\\\", '"': '\\"', "$": "\\$"})


def socket_from_environment() -> str:
    """The path of the Engine's unix socket: CODEB_DOCKER_HOST, DOCKER_HOST, or Docker's own.

    Raises `InvalidParams` when the variable names anything but a unix socket.
    """
    host = os.environ.get("CODEB_DOCKER_HOST") or os.environ.get("DOCKER_HOST") or "unix:///var/run/docker.sock"
    if not host.startswith("unix:///"):
        raise InvalidParams(f"{host!r} is not a unix socket.", hint="Set CODEB_DOCKER_HOST=unix:///var/run/docker.sock.")
    return host.removeprefix("unix://")


class Engine:
    """The Docker Engine API over its unix socket, one connection per call."""

    def __init__(self, path: str) -> None:
        self.path = path

    def call(
        self, method: str, target: str, body: bytes | IO[bytes] | None = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, bytes]:
        """Status and body of one call. Raises `Unavailable` when the Engine does not answer."""
        connection = http.client.HTTPConnection("docker", timeout=BUILD_SECONDS)
        line = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            line.settimeout(BUILD_SECONDS)
            line.connect(self.path)
            connection.sock = line
            # An Engine that refuses stops reading: what it answered says more than the broken pipe.
            with contextlib.suppress(BrokenPipeError):
                connection.request(method, target, body, dict(headers or {}))
            answer = connection.getresponse()
            return answer.status, answer.read()
        except (OSError, http.client.HTTPException) as error:
            raise Unavailable(
                f"Docker did not answer on {self.path}: {error}.", hint="Start Docker, or set CODEB_DOCKER_HOST."
            ) from error
        finally:
            line.close()

    def send(
        self, method: str, target: str, body: bytes | IO[bytes] | None = None, headers: Mapping[str, str] | None = None
    ) -> Any:
        """The JSON values of one call that must succeed: one value, or the list of a progress stream.

        Raises `Unavailable` with what Docker said when it did not.
        """
        status, answer = self.call(method, target, body, headers)
        values = [json.loads(line) for line in answer.splitlines() if line.strip()]
        wrong = next((str(value["error"]) for value in values if isinstance(value, dict) and "error" in value), None)
        if status >= 300 or wrong:
            said = wrong or answer.decode("utf-8", "replace").strip()
            raise Unavailable(f"Docker refused {method} {target.partition('?')[0]}: {said}.", code="docker_refused")
        return values[0] if len(values) == 1 else values


class Builder:
    """Builds images without pulling and without the docker program. Every method may be called again."""

    def __init__(self, socket_path: str | None = None) -> None:
        self.engine = Engine(socket_path or socket_from_environment())

    def base(self) -> str:
        """Have the base image here; returns its tag. Raises `Unavailable`."""
        interpreter = Interpreter.of_this_machine()
        tag = f"{BASE}:{interpreter.fingerprint()[:12]}"
        # Of processes that need it at once one makes it: the tag must not move under what was built on it.
        with Path(tempfile.gettempdir(), f"codeb-base-{os.geteuid()}.lock").open("a") as turn:
            fcntl.flock(turn, fcntl.LOCK_EX)
            if not self.exists(tag):
                self._import(tag, interpreter)
        return tag

    def _import(self, tag: str, interpreter: Interpreter) -> None:
        changes = [f"ENV {_words(interpreter.environment())}", f"LABEL {_words(LABELS)}", f"USER {USER}"]
        changes += ["WORKDIR /app", "EXPOSE 3000", 'CMD ["python3","/app/app.py"]']
        repository, _, version = tag.partition(":")
        query = urlencode({"fromSrc": "-", "repo": repository, "tag": version, "changes": changes}, doseq=True)
        with tempfile.TemporaryFile() as file:
            with tarfile.open(fileobj=file, mode="w") as archive:
                interpreter.pack(archive)
            size = file.tell()
            file.seek(0)
            self.engine.send("POST", f"/images/create?{query}", file, _tar(size))

    def app(
        self,
        tag: str,
        version: str,
        env: Mapping[str, str] | None = None,
        healthcheck: Sequence[str] | None = None,
        healthcheck_interval_s: float = 1.0,
    ) -> str:
        """Build the sample app under this tag; returns the image's id (`sha256:…`).

        `version` becomes CODEB_VERSION, `env` further variables of `demo/app.py` (HEALTH, EXIT_CODE, START_DELAY…).
        `healthcheck` is an argument list, `HEALTHCHECK` one that works; None: the image has no health check.
        Raises `InvalidParams` for a value with a line break, `Unavailable`.
        """
        lines = [f"FROM {self.base()}", "COPY app.py probe.py /app/"]
        lines.append(f"ENV {_words({'CODEB_VERSION': version, **(env or {})})}")
        if healthcheck is not None:
            timing = f"--interval={healthcheck_interval_s:g}s --timeout=5s --retries=3"
            lines.append(f"HEALTHCHECK {timing} CMD {json.dumps(list(healthcheck))}")
        return self._build(tag, "\n".join(lines) + "\n")

    def static_exit(self, tag: str, code: int = 1) -> str:
        """An image whose container says why and exits at once with this code; returns its id."""
        return self.app(tag, "exits", {"EXIT_CODE": str(code)})

    def exists(self, tag: str) -> bool:
        """Whether the image is here. Raises `Unavailable`."""
        status, answer = self.engine.call("GET", f"/images/{quote(tag)}/json")
        if status not in (200, 404):
            raise Unavailable(f"Docker could not look up {tag}: {answer.decode('utf-8', 'replace').strip()}.")
        return status == 200

    def remove(self, tag: str) -> None:
        """Remove the tag, and the image when it was the last one. Nothing there: nothing done. Raises `Unavailable`."""
        status, answer = self.engine.call("DELETE", f"/images/{quote(tag)}?force=true")
        if status not in (200, 404):
            raise Unavailable(f"Docker did not remove {tag}: {answer.decode('utf-8', 'replace').strip()}.")

    def _build(self, tag: str, dockerfile: str) -> str:
        context = io.BytesIO()
        with tarfile.open(fileobj=context, mode="w") as archive:
            for name, content in _context(dockerfile):
                entry = tarfile.TarInfo(name)
                entry.size, entry.mode = len(content), 0o644
                archive.addfile(entry, io.BytesIO(content))
        query = urlencode({"t": tag, "version": "1", "rm": "1", "forcerm": "1", "labels": json.dumps(LABELS)})
        said = self.engine.send("POST", f"/build?{query}", context.getvalue(), _tar(len(context.getvalue())))
        ids = [value["aux"]["ID"] for value in said if isinstance(value, dict) and "ID" in value.get("aux", {})]
        return str(ids[-1] if ids else self.engine.send("GET", f"/images/{quote(tag)}/json")["Id"])


def _context(dockerfile: str) -> Iterator[tuple[str, bytes]]:
    yield "Dockerfile", dockerfile.encode()
    yield "app.py", APP.read_bytes()
    yield "probe.py", HEALTH_PROBE.read_bytes()


def _tar(size: int) -> dict[str, str]:
    return {"Content-Type": "application/x-tar", "Content-Length": str(size)}


def _words(pairs: Mapping[str, str]) -> str:
    """`A="x" B="y"` as the Dockerfile reads it, every value literal."""
    if any("\n" in value or "\r" in value for value in pairs.values()):
        raise InvalidParams("A variable of an image has a line break.", hint="Give it when the container is started.")
    return " ".join(f'{name}="{value.translate(LITERAL)}"' for name, value in pairs.items())


def main() -> int:
    if len(sys.argv) != 3:
        print("usage: python -m demo.images TAG VERSION", file=sys.stderr)
        return 2
    print(Builder().app(sys.argv[1], sys.argv[2], healthcheck=HEALTHCHECK))
    return 0


if __name__ == "__main__":
    sys.exit(main())
