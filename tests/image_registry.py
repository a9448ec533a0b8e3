"""A read-only stand-in for an image registry (distribution API v2) with one image in it, for tests without a real one."""

import asyncio
import contextlib
import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import AsyncIterator

MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"


def digest_of(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def layer(text: str) -> bytes:
    """A tar with one file."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        info = tarfile.TarInfo("codebtest")
        info.size = len(text)
        tar.addfile(info, io.BytesIO(text.encode()))
    return buffer.getvalue()


class StandIn:
    """Serves `repository:tag`. `host` is where; `mute` makes it accept connections and say nothing."""

    def __init__(self, repository: str, tag: str, text: str) -> None:
        plain = layer(text)
        packed = gzip.compress(plain, mtime=0)
        config = json.dumps(
            {
                "architecture": "amd64",
                "os": "linux",
                "config": {"Cmd": ["/codebtest"], "Healthcheck": {"Test": ["CMD", "/bin/true"]}},
                "rootfs": {"type": "layers", "diff_ids": [digest_of(plain)]},
            }
        ).encode()
        self.manifest = json.dumps(
            {
                "schemaVersion": 2,
                "mediaType": MANIFEST,
                "config": _descriptor("application/vnd.docker.container.image.v1+json", config),
                "layers": [_descriptor("application/vnd.docker.image.rootfs.diff.tar.gzip", packed)],
            }
        ).encode()
        self.digest = digest_of(self.manifest)
        self.image_id = digest_of(config)
        self.blobs = {digest_of(each): each for each in (config, packed)}
        self.repository, self.tag = repository, tag
        self.host = ""
        self.mute = False
        self.asked: list[str] = []

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator["StandIn"]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.host = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        try:
            yield self
        finally:
            server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            first = await reader.readexactly(1)
            if first == b"\x16":  # Docker tries TLS first; unanswered, it would wait for ten seconds
                return
            head = first + await reader.readuntil(b"\r\n\r\n")
            method, path, _ = head.decode("latin-1").split(" ", 2)
            self.asked.append(path)
            if self.mute:
                await reader.read()
                return
            status, kind, body = self._find(path)
            writer.write(
                f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n"
                f"Docker-Content-Digest: {digest_of(body)}\r\n\r\n".encode()
            )
            if method != "HEAD":
                writer.write(body)
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            writer.close()

    def _find(self, path: str) -> tuple[str, str, bytes]:
        stem = f"/v2/{self.repository}"
        if path == "/v2/":
            return "200 OK", "application/json", b"{}"
        if path in (f"{stem}/manifests/{self.tag}", f"{stem}/manifests/{self.digest}"):
            return "200 OK", MANIFEST, self.manifest
        blob = self.blobs.get(path.removeprefix(f"{stem}/blobs/"))
        if blob is not None:
            return "200 OK", "application/octet-stream", blob
        fault = {"errors": [{"code": "MANIFEST_UNKNOWN", "message": "manifest unknown"}]}
        return "404 Not Found", "application/json", json.dumps(fault).encode()


def _descriptor(kind: str, data: bytes) -> dict[str, object]:
    return {"mediaType": kind, "size": len(data), "digest": digest_of(data)}
