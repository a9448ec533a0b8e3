"""A real CodeB server for a test: its own home, ports, Caddy and containers, started as a process and always cleaned up."""

import http.client
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

from demo.images import Engine, socket_from_environment

START_SECONDS = 30.0


def free_block(size: int) -> int:
    """The first of `size` ports in a row that nobody has, below the kernel's ephemeral range (32768)."""
    for _ in range(200):
        first = random.randrange(20000, 32000 - size, 2)
        if all(_free(port) for port in range(first, first + size)):
            return first
    raise RuntimeError("no free block of ports")


def _free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


class Failed(AssertionError):
    """A call that had to succeed did not; `body` is the envelope."""

    def __init__(self, tool: str, status: int, body: dict[str, Any]) -> None:
        super().__init__(f"{tool}: {status} {json.dumps(body, indent=1)[:3000]}")
        self.status = status
        self.body = body


class Stage:
    """`start`, `kill`, `stop` the server; `call` its tools; `close` leaves nothing behind.

    `project` is a name no other test uses. Settings are given as CODEB_* variables without the prefix.
    """

    def __init__(self, pairs: int = 4, **settings: str) -> None:
        self.home = Path(tempfile.mkdtemp(prefix="codebtest-"))
        block = free_block(4 + 2 * pairs * 3)
        spans = [block + 4 + index * 2 * pairs for index in range(3)]
        self.api_port, self.http_port, self.https_port = block, block + 1, block + 2
        self.settings = {
            "HOME": str(self.home), "PORT": str(self.api_port), "HTTP_PORT": str(self.http_port),
            "HTTPS_PORT": str(self.https_port), "CADDY_BIND": "127.0.0.1",
            **{
                f"PORTS_{name}": f"{first}-{first + 2 * pairs - 1}"
                for name, first in zip(("PRODUCTION", "STAGING", "PREVIEW"), spans, strict=True)
            },
            **settings,
        }  # fmt: skip
        self.project = f"codebtest-{random.randrange(16**6):06x}"
        self.engine = Engine(socket_from_environment())
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "Stage":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # the server

    @property
    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("CODEB_")}
        docker = os.environ.get("CODEB_DOCKER_HOST")
        return kept | ({"CODEB_DOCKER_HOST": docker} if docker else {}) | {f"CODEB_{k}": v for k, v in self.settings.items()}

    @property
    def log(self) -> str:
        path = self.home / "server.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def start(self, crash_at: str | None = None, wait: bool = True) -> None:
        """Start the server; with `crash_at` it kills itself at that journal point. `wait` until it answers or has died."""
        environment = self.environment | ({"CODEB_CRASH_AT": crash_at} if crash_at else {})
        with (self.home / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "codeb.entry.server"], env=environment, stdout=log, stderr=log, start_new_session=True
            )
        if wait:
            self.until_up()

    def until_up(self, seconds: float = START_SECONDS) -> bool:
        """True once it answers; False when it died first. Raises when neither happens in time."""
        assert self.process is not None
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self.process.poll() is not None:
                return False
            try:
                if self.get("/health")[0] == 200:
                    return True
            except OSError:
                time.sleep(0.03)
        raise AssertionError(f"the server did not come up:\n{self.log[-3000:]}")

    def until_dead(self, seconds: float = 60.0) -> int:
        assert self.process is not None
        return self.process.wait(seconds)

    def kill(self) -> None:
        """`kill -9`."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()

    def stop(self, seconds: float = 35.0) -> int:
        """SIGTERM; the exit code."""
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(seconds)

    def close(self) -> None:
        self.kill()
        for one in self.containers():
            self.engine.call("DELETE", f"/containers/{one['Id']}?force=1&v=1")
        filters = json.dumps({"label": [f"codeb.instance={self.instance}"]})
        for network in self.engine.send("GET", f"/networks?filters={_quoted(filters)}") if self.instance else []:
            self.engine.call("DELETE", f"/networks/{network['Id']}")
        self.stop_proxy()
        shutil.rmtree(self.home, ignore_errors=True)

    # the proxy

    @property
    def proxy_pid(self) -> int | None:
        path = self.home / "caddy" / "caddy.pid"
        return int(path.read_text()) if path.exists() else None

    def stop_proxy(self) -> None:
        pid = self.proxy_pid
        if pid is None:
            return
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            return
        while Path(f"/proc/{pid}/cmdline").exists() and Path(f"/proc/{pid}/cmdline").read_bytes():
            time.sleep(0.01)

    # speaking to it

    @property
    def key(self) -> str:
        return (self.home / "owner.key").read_text().strip()

    @property
    def instance(self) -> str:
        path = self.home / "instance"
        return path.read_text().strip() if path.exists() else ""

    def get(self, path: str) -> tuple[int, bytes]:
        return self.request("GET", path, None, {})

    def request(
        self, method: str, path: str, body: bytes | None, headers: dict[str, str], seconds: float = 120
    ) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.api_port, timeout=seconds)
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def ask(self, tool: str, params: dict[str, Any], headers: dict[str, str] | None = None) -> tuple[int, dict[str, Any]]:
        """Status and envelope, whatever they are. Raises `OSError` when the server goes away."""
        body = json.dumps({"tool": tool, "params": params}).encode()
        sent = {"Content-Type": "application/json", "X-API-Key": self.key, **(headers or {})}
        try:
            status, answer = self.request("POST", "/api/tool", body, sent)
        except http.client.HTTPException as gone:
            raise ConnectionError(str(gone)) from gone
        return status, json.loads(answer)

    def call(self, tool: str, **params: Any) -> dict[str, Any]:
        """A call that has to succeed. Raises `Failed`."""
        status, body = self.ask(tool, params)
        if status != 200:
            raise Failed(tool, status, body)
        return body

    def public(self, host: str, path: str = "/version") -> tuple[int, dict[str, str], bytes]:
        """One request through the proxy, as a visitor makes it: status, headers (lower case), body."""
        connection = http.client.HTTPConnection("127.0.0.1", self.http_port, timeout=10)
        try:
            connection.request("GET", path, headers={"Host": host, "Connection": "close"})
            answer = connection.getresponse()
            return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
        finally:
            connection.close()

    def containers(self) -> list[dict[str, Any]]:
        """This server's containers, running or not, as Docker itself lists them."""
        if not self.instance:
            return []
        filters = json.dumps({"label": [f"codeb.instance={self.instance}"]})
        status, body = self.engine.call("GET", f"/containers/json?all=1&filters={_quoted(filters)}")
        assert status == 200, body
        return list(json.loads(body))


def _quoted(text: str) -> str:
    return quote(text)
