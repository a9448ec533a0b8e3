"""A CodeB server as a process of its own, from outside: start, kill, call. The demo runs on it, and so do the tests."""

import http.client
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from demo.images import Engine, socket_from_environment

START_SECONDS = 30.0
LOWEST, EPHEMERAL = 20000, 32768
"""from the latter on the kernel hands ports to outgoing connections"""


def port_is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def free_block(size: int, lane: int = 0, lanes: int = 1) -> int:
    """The first of `size` ports in a row that nobody has. Raises `RuntimeError`.

    Processes that look at the same time, each in a lane of its own, cannot choose the same ports.
    """
    wide = (EPHEMERAL - LOWEST) // lanes // 2 * 2
    begin = LOWEST + lane * wide
    for _ in range(200):
        first = random.randrange(begin, begin + wide - size, 2)
        if all(port_is_free(port) for port in range(first, first + size)):
            return first
    raise RuntimeError("no free block of ports")


class Failed(AssertionError):
    """A call that had to succeed did not; `body` is the envelope."""

    def __init__(self, tool: str, status: int, body: dict[str, Any]) -> None:
        super().__init__(f"{tool}: {status} {json.dumps(body, indent=1)[:3000]}")
        self.status = status
        self.body = body


class LocalServer:
    """One server on its own home. `settings` are CODEB_* variables without the prefix."""

    def __init__(self, home: Path, settings: Mapping[str, str]) -> None:
        self.home = home
        self.settings = {"HOME": str(home), **settings}
        self.api_port = int(self.settings["PORT"])
        self.http_port = int(self.settings["HTTP_PORT"])
        self.engine = Engine(socket_from_environment())
        self.process: subprocess.Popen[bytes] | None = None

    # the process

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
        """True once it answers; False when it died first. Raises `AssertionError` when neither happens in time."""
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

    # the proxy and the containers

    @property
    def instance(self) -> str:
        path = self.home / "instance"
        return path.read_text().strip() if path.exists() else ""

    def containers(self) -> list[dict[str, Any]]:
        """This server's containers, running or not, as Docker itself lists them."""
        status, body = self.engine.call("GET", f"/containers/json?all=1&{self._ours()}")
        assert status == 200, body
        return list(json.loads(body)) if self.instance else []

    def _ours(self) -> str:
        return f"filters={quote(json.dumps({'label': [f'codeb.instance={self.instance}']}))}"

    def remove_containers(self) -> None:
        """Whatever Docker has with this server's label, networks too."""
        if not self.instance:
            return
        for one in self.containers():
            self.engine.call("DELETE", f"/containers/{one['Id']}?force=1&v=1")
        status, body = self.engine.call("GET", f"/networks?{self._ours()}")
        for network in json.loads(body) if status == 200 else []:
            self.engine.call("DELETE", f"/networks/{network['Id']}")

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
        while _alive(pid):
            time.sleep(0.01)

    # speaking to it

    @property
    def key(self) -> str:
        return (self.home / "owner.key").read_text().strip()

    def get(self, path: str) -> tuple[int, bytes]:
        return self.request("GET", path, None, {})

    def request(
        self, method: str, path: str, body: bytes | None, headers: Mapping[str, str], seconds: float = 120
    ) -> tuple[int, bytes]:
        """Status and body of one request to the API. Raises `OSError` when the server goes away."""
        connection = http.client.HTTPConnection("127.0.0.1", self.api_port, timeout=seconds)
        try:
            connection.request(method, path, body, dict(headers))
            answer = connection.getresponse()
            return answer.status, answer.read()
        except http.client.HTTPException as gone:
            raise ConnectionError(str(gone)) from gone
        finally:
            connection.close()

    def ask(self, tool: str, params: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> tuple[int, dict[str, Any]]:
        """Status and envelope, whatever they are. Raises `OSError` when the server goes away."""
        body = json.dumps({"tool": tool, "params": params}).encode()
        sent = {"Content-Type": "application/json", "X-API-Key": self.key, **(headers or {})}
        status, answer = self.request("POST", "/api/tool", body, sent)
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


def _alive(pid: int) -> bool:
    try:
        return bool(Path(f"/proc/{pid}/cmdline").read_bytes())
    except OSError:
        return False
