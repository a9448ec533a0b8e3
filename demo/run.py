"""`make demo`: the main job on this machine, with real containers, a real proxy and live traffic.

Ends non-zero if a single request or connection is lost.

python -m demo.run          run it; a server stays up
python -m demo.run clean    remove every trace
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from codeb.errors import PublicError
from demo.images import Builder
from demo.server import Failed, LocalServer, free_block, port_is_free

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / ".demo"
PROJECT = "hello"
WHERE = {"projectName": PROJECT, "environment": "production"}
IMAGE = "codeb-demo"
VERSIONS = ("v1", "v2", "v3")
LONGEST_HOME = 80
"""a unix socket's path may be 107 bytes long, and the proxy's lies below the home"""

T = TypeVar("T")


class Report:
    """Prints each step with its time as it ends."""

    def __init__(self) -> None:
        self.began = time.monotonic()

    def step(self, about: str, act: Callable[[], T], said: Callable[[T], str] = lambda _: "") -> T:
        began = time.monotonic()
        if sys.stdout.isatty():
            sys.stdout.write(f"  … {about}\r")
            sys.stdout.flush()
        done = act()
        spent = time.monotonic() - began
        text = said(done)
        sys.stdout.write(f"  ✓ {about:<58}{spent * 1000:>8.0f} ms{'   ' + text if text else ''}\n")
        sys.stdout.flush()
        return done


def home() -> Path:
    """The demo's home: below the repository, or in /tmp where that path is too long for a socket."""
    wanted = FOLDER / "home"
    return wanted if len(str(wanted)) <= LONGEST_HOME else Path(f"/tmp/codeb-demo-{os.getuid()}")


def settings() -> dict[str, str]:
    """The ports of the run before, else the usual ones, else free ones. Kept, so that a second run has the same."""
    path = FOLDER / "settings.json"
    if path.exists():
        return dict(json.loads(path.read_text()))
    usual = (9101, 8080, 8443)
    first = free_block(4)
    api, plain, secure = usual if all(port_is_free(port) for port in usual) else (first, first + 1, first + 2)
    found = {"PORT": str(api), "HTTP_PORT": str(plain), "HTTPS_PORT": str(secure)}
    FOLDER.mkdir(exist_ok=True)
    path.write_text(json.dumps(found))
    return found


class Traffic:
    """The load client as a process of its own, on the project's public host."""

    def __init__(self, port: int) -> None:
        command = [
            sys.executable, "-m", "demo.load", "--host-header", f"{PROJECT}.localhost", "--port", str(port),
            "--json", "--until-stdin-closes",
        ]  # fmt: skip
        self.process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def end(self) -> dict[str, Any]:
        """Stop gracefully; the summary."""
        out, _ = self.process.communicate(timeout=60)
        return dict(json.loads(out))

    def __enter__(self) -> "Traffic":
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


class Demo:
    def __init__(self) -> None:
        self.server = LocalServer(home(), settings())
        self.report = Report()
        self.builder = Builder()
        self.wrong: list[str] = []

    def run(self) -> int:
        self.report.step("build the sample app, three versions, no image pulled", self.images)
        self.report.step("start CodeB (SQLite, its own Caddy)", self.start)
        call, step = self.server.call, self.report.step
        step("create project hello", lambda: call("project_create", projectName=PROJECT, healthPath="/health"))
        first = step("deploy v1 into the idle slot", lambda: self.deploy("v1"), lambda it: f"{it['slot']} {it['previewUrl']}")
        step("its preview answers, production does not yet", lambda: self.preview(first))
        step("promote v1", lambda: call("promote", **WHERE), lambda it: f"{it['activeSlot']} {it['url']}")
        with Traffic(self.server.http_port) as traffic:
            sys.stdout.write("    live traffic begins: short, keep-alive, POST, upload, slow, streaming, SSE, WebSocket\n")
            time.sleep(1.5)
            self.under_traffic()
            time.sleep(1.5)
            summary = step("end the traffic, let what is in flight finish", traffic.end)
        return self.verdict(summary)

    def under_traffic(self) -> None:
        call, step = self.server.call, self.report.step
        step("deploy v2 beside it", lambda: self.deploy("v2"), lambda it: f"{it['slot']} {it['previewUrl']}")
        step("promote v2: all traffic at once", lambda: self.serving(call("promote", **WHERE), "v2"), self.switched)
        time.sleep(1)
        step("roll back to v1", lambda: self.serving(call("rollback", **WHERE, reason="demo"), "v1"), self.switched)
        time.sleep(1)
        step("promote v2 again", lambda: self.serving(call("promote", **WHERE), "v2"), self.switched)
        time.sleep(1)
        step(
            "and back to v1: v2 stays deployed in the idle slot",
            lambda: self.serving(call("rollback", **WHERE), "v1"),
            self.switched,
        )
        before = self.slots()
        step("begin to deploy v3 there, and kill -9 CodeB in the middle", self.crash)
        step("start CodeB again: it undoes the half-done deploy", self.recover, lambda it: it)
        if self.slots() != before:
            self.wrong.append(f"the slots differ after the crash: {before} -> {self.slots()}")
        step("v2 is back in its slot: promote it", lambda: self.serving(call("promote", **WHERE), "v2"), self.switched)

    # steps

    def images(self) -> None:
        for version in VERSIONS:
            self.builder.app(f"{IMAGE}:{version}", version, {"START_DELAY": "2"} if version == "v3" else {})

    def start(self) -> None:
        """A server of a run before goes first: the project begins anew."""
        stop_server(self.server)
        self.server.home.mkdir(parents=True, exist_ok=True)
        if not self.up():
            raise AssertionError(f"CodeB did not start:\n{self.server.log[-3000:]}")
        status, found = self.server.ask("project_get", {"projectName": PROJECT})
        if status == 200 and found["project"]["state"] not in ("deleted", "purging"):
            self.server.call("project_delete", projectName=PROJECT, confirm=PROJECT)
        if status == 200:
            self.server.call("project_delete", projectName=PROJECT, confirm=PROJECT, purge=True)

    def up(self) -> bool:
        self.server.start(wait=False)
        return self.server.until_up()

    def deploy(self, version: str) -> dict[str, Any]:
        return self.server.call("deploy", **WHERE, image=f"{IMAGE}:{version}")

    def preview(self, deployed: dict[str, Any]) -> None:
        host = deployed["previewUrl"].split("/")[2].partition(":")[0]
        status, headers, body = self.server.public(host)
        if (status, headers.get("x-codeb-slot"), json.loads(body)["version"]) != (200, deployed["slot"], "v1"):
            self.wrong.append(f"the preview answered {status} {body!r}")
        if self.server.public(f"{PROJECT}.localhost")[0] != 503:
            self.wrong.append("an unpromoted version was reachable at the production host")

    def serving(self, answer: dict[str, Any], version: str) -> dict[str, Any]:
        body = json.loads(self.server.public(f"{PROJECT}.localhost")[2])
        if body["version"] != version:
            self.wrong.append(f"after the switch {body['version']} answered, not {version}")
        return answer

    @staticmethod
    def switched(answer: dict[str, Any]) -> str:
        switch = next(step["durationMs"] for step in answer["steps"] if step["name"] == "switch")
        return f"{answer['activeSlot']}, the switch with its proof took {switch} ms"

    def slots(self) -> dict[str, Any]:
        status = self.server.call("slot_status", **WHERE)
        keys = ("state", "version", "deploymentId", "graceExpiresAt")
        return {slot: {key: status[slot][key] for key in keys} for slot in ("blue", "green")}

    def crash(self) -> None:
        begun = self.server.call("deploy", **WHERE, image=f"{IMAGE}:v3", wait=False)
        self.operation = begun["operationId"]
        seen = 0
        for _ in range(20):
            found = self.server.call("operation_get", operationId=self.operation, waitSeconds=5, seen=seen)
            if found["operation"]["step"] == "health":
                break
            seen = found["changes"]
        self.server.kill()

    def recover(self) -> str:
        self.up()
        for _ in range(60):
            operation = self.server.call("operation_get", operationId=self.operation, waitSeconds=1)["operation"]
            if operation["state"] in ("succeeded", "failed", "cancelled"):
                return f"operation {operation['state']}: {(operation['error'] or {}).get('code', '')}"
            time.sleep(0.5)
        self.wrong.append("the interrupted deploy never ended")
        return "still running"

    # the end

    def verdict(self, summary: dict[str, Any]) -> int:
        total, kinds = summary["total"], summary["kinds"]
        out = ["", f"  {'traffic':<12}{'sent':>8}{'failed':>8}{'cut':>6}{'p50 ms':>10}{'p99 ms':>10}"]
        for name, kind in kinds.items():
            latency = kind["latency_ms"]
            marks = f"{latency['p50']:>10}{latency['p99']:>10}" if latency else ""
            out.append(f"  {name:<12}{kind['sent']:>8}{kind['failed']:>8}{kind['cut']:>6}{marks}")
        out.append(f"  {'all':<12}{total['sent']:>8}{total['failed']:>8}{total['cut']:>6}")
        for failure in summary["failures"]:
            out.append(f"    {failure['kind']} {failure['stage']}: {failure['reason']}")
        lost = total["failed"] + total["cut"]
        if lost:
            self.wrong.append(f"{lost} requests or connections were lost")
        cut = kinds.get("websocket", {}).get("cut", 0)
        spent = time.monotonic() - self.report.began
        out += ["", f"  requests sent {total['sent']}, failed {total['failed']}; WebSockets cut {cut}; all in {spent:.1f} s"]
        out += [f"  WRONG: {each}" for each in self.wrong]
        sys.stdout.write("\n".join(out) + "\n")
        if not self.wrong:
            sys.stdout.write(self.what_next())
        return 1 if self.wrong else 0

    def what_next(self) -> str:
        server = self.server
        we = f"CODEB_HOME={server.home} CODEB_PORT={server.api_port} {ROOT / '.venv/bin/we'}"
        return f"""
  CodeB runs on http://127.0.0.1:{server.api_port} (the key is in {server.home}/owner.key).
  The application: http://{PROJECT}.localhost:{server.http_port}  (curl -H 'Host: {PROJECT}.localhost' http://127.0.0.1:{server.http_port})

  Try next:
    alias we='{we}'
    we status {PROJECT}
    we rollback -p {PROJECT}
    we deploy {IMAGE}:v1 -p {PROJECT} --promote
    we logs -p {PROJECT} -f
  Stop and remove everything: make demo-clean
"""


def stop_server(server: LocalServer) -> None:
    """End the server of a run before, if it runs; its proxy and containers stay."""
    path = server.home / "server.pid"
    text = path.read_text().strip() if path.exists() else ""
    if not text or b"codeb.entry.server" not in _command(int(text)):
        return
    os.kill(int(text), signal.SIGTERM)
    end = time.monotonic() + 35
    while _command(int(text)):
        if time.monotonic() > end:
            os.kill(int(text), signal.SIGKILL)
        time.sleep(0.02)


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def clean() -> int:
    """Server, proxy, containers, network, images and files of the demo go."""
    if (FOLDER / "settings.json").exists():
        server = LocalServer(home(), settings())
        stop_server(server)
        server.remove_containers()
        server.stop_proxy()
        shutil.rmtree(server.home, ignore_errors=True)
        builder = Builder()
        for version in VERSIONS:
            builder.remove(f"{IMAGE}:{version}")
        builder.remove(builder.base())
    shutil.rmtree(FOLDER, ignore_errors=True)
    sys.stdout.write("The demo is gone: server, proxy, containers, images, files.\n")
    return 0


def main(arguments: list[str]) -> int:
    if arguments == ["clean"]:
        return clean()
    sys.stdout.write("CodeB demo: two slots, one switch, nothing lost\n\n")
    try:
        return Demo().run()
    except (Failed, PublicError, AssertionError, OSError) as fault:
        sys.stdout.write(f"\n  The demo could not go on: {fault}\n")
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
