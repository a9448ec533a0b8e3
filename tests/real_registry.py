"""Debian's docker-registry for a test: in a folder and on a port of its own, asked for a password, always stopped again.

What is pushed to it is made here, by the same HTTP API that Docker pushes with: tiny, and without Docker.
"""

import base64
import contextlib
import hashlib
import http.client
import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from codeb.model.secret import Secret

PROGRAM = Path("/usr/bin/docker-registry")
USER, PASSWORD = "codebtest", "codebtest-pass"
# bcrypt, the only kind that it takes; of the password above
ENTRY = "codebtest:$2b$04$abcdefghijklmnopqrstuuK2sL6wTxhTa6e/OIO.sNoQaAlqzeeca\n"
OCI, DOCKER = "application/vnd.oci.image", "application/vnd.docker"
OPEN_SECONDS = 15.0


class RealRegistry:
    """One registry. `erases` says whether deletion is switched on there."""

    def __init__(self, port: int, *, locked: bool = True, erases: bool = True) -> None:
        self.folder, self.port, self.locked, self.erases = Path(tempfile.mkdtemp(prefix="codebtest-")), port, locked, erases
        self.address = f"127.0.0.1:{port}"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def sign_in(self) -> tuple[str, Secret]:
        return (USER, Secret(PASSWORD)) if self.locked else ("", Secret(""))

    @property
    def settings(self) -> dict[str, str]:
        """Of a CodeB that uses it."""
        user, password = self.sign_in
        return {
            "IMAGE_REGISTRY": self.address, "IMAGE_REGISTRY_USER": user, "IMAGE_REGISTRY_PASSWORD": password.reveal(),
        }  # fmt: skip

    @property
    def auth(self) -> str:
        """What an Engine that pushes is shown."""
        user, password = self.sign_in
        said = {"username": user, "password": password.reveal(), "serveraddress": self.address}
        return base64.urlsafe_b64encode(json.dumps(said).encode()).decode()

    def start(self) -> None:
        (self.folder / "htpasswd").write_text(ENTRY)
        lines = [
            "version: 0.1", "log: {level: warn}", "storage:", f"  filesystem: {{rootdirectory: {self.folder}/data}}",
            f"  delete: {{enabled: {str(self.erases).lower()}}}", f"http: {{addr: {self.address}}}",
            *([f"auth: {{htpasswd: {{realm: codebtest, path: {self.folder}/htpasswd}}}}"] if self.locked else []),
        ]  # fmt: skip
        (self.folder / "config.yml").write_text("\n".join(lines) + "\n")
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen([PROGRAM, "serve", self.folder / "config.yml"], stdout=log, stderr=log)
        end = time.monotonic() + OPEN_SECONDS
        while True:
            with contextlib.suppress(OSError):
                assert self.ask("GET", "/v2/")[0] == 200
                return
            assert self._process.poll() is None, (self.folder / "log").read_text()[-2000:]
            assert time.monotonic() < end, "it does not answer"
            time.sleep(0.05)

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(10)
            self._process = None

    def close(self) -> None:
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def collect(self, *more: str) -> None:
        """Its own clean-up, stopped meanwhile, as an operator runs it."""
        self.stop()
        subprocess.run(
            [PROGRAM, "garbage-collect", *more, self.folder / "config.yml"], check=True, capture_output=True, timeout=60
        )
        self.start()

    def stored(self) -> int:
        """Bytes of blobs on its disk."""
        return sum(path.stat().st_size for path in (self.folder / "data").rglob("blobs/sha256/*/*/data"))

    def ask(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, dict[str, str], bytes]:
        line = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            word = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
            line.request(method, path, body, {"Authorization": f"Basic {word}", **(headers or {})})
            answer = line.getresponse()
            return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
        finally:
            line.close()

    # what is pushed

    def blob(self, repository: str, data: bytes) -> str:
        digest = digest_of(data)
        status, headers, _ = self.ask("POST", f"/v2/{repository}/blobs/uploads/")
        assert status == 202
        where = "/" + headers["location"].partition("//")[2].partition("/")[2]
        more = "&" if "?" in where else "?"
        assert self.ask("PUT", f"{where}{more}digest={digest}", data)[0] == 201
        return digest

    def put(self, repository: str, reference: str, manifest: Mapping[str, Any]) -> str:
        data = json.dumps(manifest).encode()
        status, _, said = self.ask(
            "PUT", f"/v2/{repository}/manifests/{reference}", data, {"Content-Type": str(manifest["mediaType"])}
        )
        assert status == 201, said
        return digest_of(data)

    def image(self, name: str, built: datetime | None, *, size: int = 1000, docker: bool = False) -> str:
        """Push `{repository}:{tag}`; gives its digest."""
        repository, _, tag = name.partition(":")
        layer = (name.encode() + b" ") * (size // (len(name) + 1) + 1)
        said = {"os": "linux", "architecture": "amd64", **({"created": built.isoformat()} if built else {}), "n": name}
        config, layers = json.dumps(said).encode(), [layer[:size], b"shared"]
        kinds = (
            (
                f"{DOCKER}.distribution.manifest.v2+json",
                f"{DOCKER}.container.image.v1+json",
                f"{DOCKER}.image.rootfs.diff.tar.gzip",
            )
            if docker
            else (f"{OCI}.manifest.v1+json", f"{OCI}.config.v1+json", f"{OCI}.layer.v1.tar")
        )
        parts = [
            {"mediaType": kind, "size": len(data), "digest": self.blob(repository, data)}
            for kind, data in ((kinds[1], config), *((kinds[2], each) for each in layers))
        ]
        return self.put(repository, tag, {"schemaVersion": 2, "mediaType": kinds[0], "config": parts[0], "layers": parts[1:]})

    def index(self, name: str, digests: Sequence[str], *, docker: bool = False) -> str:
        repository, _, tag = name.partition(":")
        kinds = (
            (f"{DOCKER}.distribution.manifest.list.v2+json", f"{DOCKER}.distribution.manifest.v2+json")
            if docker
            else (f"{OCI}.index.v1+json", f"{OCI}.manifest.v1+json")
        )
        parts = [
            {"mediaType": kinds[1], "size": self._size(repository, each), "digest": each,
             "platform": {"os": "linux", "architecture": ("amd64", "arm64")[at % 2]}}
            for at, each in enumerate(digests)
        ]  # fmt: skip
        return self.put(repository, tag, {"schemaVersion": 2, "mediaType": kinds[0], "manifests": parts})

    def tag(self, repository: str, tag: str, digest: str) -> None:
        """One more tag for what is there."""
        status, headers, data = self.manifest(repository, digest)
        assert status == 200
        assert self.ask("PUT", f"/v2/{repository}/manifests/{tag}", data, {"Content-Type": headers["content-type"]})[0] == 201

    def manifest(self, repository: str, reference: str) -> tuple[int, dict[str, str], bytes]:
        kinds = f"{OCI}.manifest.v1+json, {OCI}.index.v1+json, {DOCKER}.distribution.manifest.v2+json"
        accept = f"{kinds}, {DOCKER}.distribution.manifest.list.v2+json"
        return self.ask("GET", f"/v2/{repository}/manifests/{reference}", headers={"Accept": accept})

    def _size(self, repository: str, digest: str) -> int:
        return len(self.manifest(repository, digest)[2])


def digest_of(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


@contextmanager
def serving(port: int, **how: bool) -> Iterator[RealRegistry]:
    registry = RealRegistry(port, **how)
    try:
        registry.start()
        yield registry
    finally:
        registry.close()
