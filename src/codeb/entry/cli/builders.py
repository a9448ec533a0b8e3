"""How a source tree becomes an image in the image registry: by BuildKit where `docker buildx` is there, else by the Engine."""

import json
import os
import shutil
import tempfile
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from codeb.drivers import shell
from codeb.entry.cli import context, engine
from codeb.errors import StepFailed, Unavailable
from codeb.model import grammar

LAST_LINES = 25
THEIRS = (
    "PATH", "HOME", "LANG", "XDG_RUNTIME_DIR", "SSH_AUTH_SOCK", "DOCKER_HOST", "DOCKER_CONFIG", "DOCKER_CONTEXT",
    "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH", "BUILDX_BUILDER", "BUILDX_CONFIG", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY",
)  # fmt: skip
"""of the caller's environment, what programs that work for them need; nothing of CodeB's own"""


@dataclass
class Told:
    """What a build says: handed on as it comes, the last of it kept."""

    say: engine.Say
    last: deque[str] = field(default_factory=lambda: deque(maxlen=LAST_LINES))

    def __call__(self, line: str) -> None:
        self.last.append(line)
        self.say(line)


class Builder(Protocol):
    name: str
    cache: str
    """what is said about the cache; empty: it is in the image registry"""

    def build(self, tree: Path, image: str, say: engine.Say) -> str:
        """Build the tree's Dockerfile, push it as `image`, give the digest of what was pushed.

        Raises `StepFailed` (`build_failed`, `push_failed`), `Unavailable`.
        """


def theirs() -> dict[str, str]:
    return {name: os.environ[name] for name in THEIRS if name in os.environ}


def chosen() -> Builder:
    """Raises `Unavailable` where there is no Docker that can be asked."""
    docker = shutil.which("docker")
    if docker is not None and asked(docker, "buildx", "version")[0] == 0:
        return Buildx(docker)
    return Classic()


def asked(*arguments: str) -> tuple[int, str]:
    """The exit code of a program and what it wrote; 127 for one that is not there."""
    lines: list[str] = []
    try:
        code = shell.follow(arguments, environment=theirs(), each=lines.append)
    except Unavailable:
        return 127, ""
    return code, "\n".join(lines)


class Buildx:
    """BuildKit through the docker command: the caller's own builder, log-ins and proxies."""

    def __init__(self, docker: str) -> None:
        self._docker = docker
        self.name = "BuildKit"
        self.cache = "" if self._keeps_cache() else (
            "This builder cannot keep its cache in the image registry; its layers stay on this machine. "
            "One made by `docker buildx create --driver docker-container --driver-opt network=host --use` can."
        )  # fmt: skip

    def _keeps_cache(self) -> bool:
        """The Engine's own builder exports none, unless containerd keeps its images."""
        _, said = asked(self._docker, "buildx", "inspect")
        drivers = [line.partition(":")[2].strip() for line in said.splitlines() if line.startswith("Driver:")]
        if drivers[:1] != ["docker"]:
            return bool(drivers)
        return "io.containerd.snapshotter" in asked(self._docker, "info", "--format", "{{json .DriverStatus}}")[1]

    def build(self, tree: Path, image: str, say: engine.Say) -> str:
        with tempfile.TemporaryDirectory(prefix="codeb-") as folder:
            file = Path(folder) / "metadata.json"
            code = shell.follow(self.arguments(tree, image, file), environment=theirs(), each=say)
            if code != 0:
                raise StepFailed(f"docker buildx ended with {code}.", code="build_failed")
            return _digest(file, image)

    def arguments(self, tree: Path, image: str, metadata: Path) -> list[str]:
        """Without provenance: with it the same tree has another digest each time."""
        kept = f"type=registry,ref={image.rpartition(':')[0]}/buildcache"
        # as an image, so that who looks at the image registry can tell what it is
        cache = (
            [] if self.cache else ["--cache-from", kept, "--cache-to", f"{kept},mode=max,image-manifest=true,oci-mediatypes=true"]
        )
        return [
            self._docker, "buildx", "build", "--progress", "plain", "--provenance=false", "--push", "--tag", image,
            "--metadata-file", str(metadata), *cache, str(tree),
        ]  # fmt: skip


def _digest(metadata: Path, image: str) -> str:
    """The manifest's, not the configuration's, which `--quiet` may print: by that nothing can be fetched."""
    try:
        digest = str(json.loads(metadata.read_text(encoding="utf-8"))["containerimage.digest"])
    except (OSError, ValueError, KeyError, TypeError):
        digest = ""
    if not grammar.DIGEST.fullmatch(digest):
        raise StepFailed(f"{image} was pushed, but the builder did not say as what.", code="push_failed")
    return digest


class Classic:
    """The Engine's own builder, given the tree as an archive."""

    name = "the Engine's own builder"
    cache = "This builder keeps no cache in the image registry; its layers stay on this machine. `docker buildx` can do more."

    def __init__(self) -> None:
        self._engine = engine.Engine()

    def build(self, tree: Path, image: str, say: engine.Say) -> str:
        with tempfile.TemporaryFile() as archive:
            try:
                count, size = context.pack(tree, archive)
            except (OSError, ValueError) as fault:
                raise StepFailed(f"{tree} cannot be read: {fault}.", code="build_failed") from fault
            say(f"sending {count} files, {size / 2**20:.1f} MB")
            archive.seek(0)
            self._engine.build(archive, size, image, say)
        return self._engine.push(image, say)
