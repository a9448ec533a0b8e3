"""`make bench`: the speed CodeB promises, each as a ratio against a baseline of the same run.

python -m bench.run [deploy] [promote] [call] [memory] [cli]
"""

import contextlib
import http.client
import json
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import psutil
from demo.images import Builder
from demo.server import free_block
from tests.stage import Stage

IMAGE = "codebtest-bench"
ROUNDS = 15
CALLS = 4000


def median_ms(act: Callable[[], Any], rounds: int = ROUNDS) -> float:
    spent = []
    for _ in range(rounds):
        began = time.perf_counter()
        act()
        spent.append((time.perf_counter() - began) * 1000)
    return statistics.median(spent)


@contextlib.contextmanager
def project(stage: Stage) -> Iterator[dict[str, str]]:
    tag = f"{IMAGE}:v1"
    Builder().app(tag, "v1")
    stage.call("project_create", projectName=stage.project, healthPath="/health")
    yield {"projectName": stage.project, "environment": "production", "image": tag}


# (a) deploy


def plain_body() -> dict[str, Any]:
    """The least an Engine needs to run the image."""
    return {"Image": f"{IMAGE}:v1", "Env": ["PORT=3000"], "HostConfig": {}, "ExposedPorts": {"3000/tcp": {}}}


def same_body(stage: Stage) -> dict[str, Any]:
    """The very container a deploy makes (hardened, limited, in its project's network), read off a deployed one."""
    found = stage.engine.send("GET", f"/containers/{stage.project}-production-blue/json")
    host = found["HostConfig"] | {"RestartPolicy": {"Name": "no"}}
    return {"Image": found["Image"], "Env": found["Config"]["Env"], "HostConfig": host, "ExposedPorts": {"3000/tcp": {}}}


def bare_start(stage: Stage, port: int, name: str, body: dict[str, Any]) -> None:
    """Create, start, first 200: what nobody can do without."""
    body["HostConfig"]["PortBindings"] = {"3000/tcp": [{"HostIp": "127.0.0.1", "HostPort": str(port)}]}
    headers = {"Content-Type": "application/json"}
    made = stage.engine.send("POST", f"/containers/create?name={name}", json.dumps(body).encode(), headers)
    stage.engine.call("POST", f"/containers/{made['Id']}/start")
    while True:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            connection.request("GET", "/health")
            if connection.getresponse().status == 200:
                return
        except (OSError, http.client.HTTPException):
            time.sleep(0.002)
        finally:
            connection.close()


def deploy(rounds: int = ROUNDS) -> dict[str, Any]:
    """Alternating, so that all see the same machine. A deploy into the empty slot, cleaned up outside the clock."""
    bare: list[float] = []
    plain: list[float] = []
    ours: list[float] = []
    with Stage() as stage, project(stage) as where:
        port, name = free_block(2), f"{stage.project}-bare"
        stage.call("deploy", **where)
        same = same_body(stage)
        for _ in range(rounds):
            stage.call("slot_cleanup", projectName=stage.project, slot="blue", force=True)
            for body, spent in ((same, bare), (plain_body(), plain)):
                began = time.perf_counter()
                bare_start(stage, port, name, body)
                spent.append(time.perf_counter() - began)
                stage.engine.call("DELETE", f"/containers/{name}?force=1")
            began = time.perf_counter()
            stage.call("deploy", **where)
            ours.append(time.perf_counter() - began)
    ratio = statistics.median(ours) / statistics.median(bare)
    to_plain = statistics.median(ours) / statistics.median(plain)
    return {
        "ratio": round(ratio, 2), "ratio_to_unhardened": round(to_plain, 2), "deploy_ms": _ms(ours),
        "bare_ms": _ms(bare), "unhardened_ms": _ms(plain), "goal": 1.3,
    }  # fmt: skip


def _ms(spent: list[float]) -> float:
    return round(statistics.median(spent) * 1000, 1)


# (b) promote


def first_answer(stage: Stage, host: str, act: Callable[[], Any], slot: str) -> float:
    """Milliseconds from the call to the first answer of `slot` at the public route, asked for in a loop."""
    began = time.perf_counter()
    caller = threading.Thread(target=act)
    caller.start()
    while stage.public(host)[1].get("x-codeb-slot") != slot:
        pass
    spent = (time.perf_counter() - began) * 1000
    caller.join()
    return spent


def fill(stage: Stage, count: int) -> None:
    """More projects, each with a site of its own, in registry and proxy."""
    for number in range(count):
        name = f"{stage.project}-n{number}"
        stage.call("project_create", projectName=name)
    sites = stage.home / "caddy" / "sites"
    pattern = (sites / f"{stage.project}-production.caddy").read_text()
    for number in range(count):
        name = f"{stage.project}-n{number}"
        (stage.home / "caddy" / "slots" / f"{name}-production").mkdir(exist_ok=True)
        (sites / f"{name}-production.caddy").write_text(pattern.replace(stage.project, name))


def floor(stage: Stage, host: str) -> float:
    """What no promote can do without, by the same clock: one flip of the bit, one answer through the proxy."""
    folder = stage.home / "caddy" / "slots" / f"{stage.project}-production"
    marker = folder / "green"
    spent = []
    for _ in range(30):
        began = time.perf_counter()
        marker.unlink() if marker.exists() else marker.touch()
        stage.public(host)
        spent.append((time.perf_counter() - began) * 1000)
    return statistics.median(spent)


def promote(sizes: tuple[int, ...] = (1, 100, 1000), rounds: int = 15) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for size in sizes:
        with (
            Stage(pairs=max(4, size + 2), PORTS_PRODUCTION=f"20000-{20000 + 2 * size + 40}", TLS="off") as stage,
            project(stage) as where,
        ):
            stage.call("deploy", **where)
            stage.call("promote", projectName=stage.project)
            fill(stage, size - 1)
            stage.stop()
            stage.stop_proxy()
            stage.start()
            stage.call("deploy", **where)
            host = f"{stage.project}.localhost"
            base, there, back = floor(stage, host), [], []
            for _ in range(rounds):
                there.append(first_answer(stage, host, partial(stage.call, "promote", projectName=stage.project), "green"))
                back.append(first_answer(stage, host, partial(stage.call, "rollback", projectName=stage.project), "blue"))
        found[str(size)] = {
            "promote_ms": round(statistics.median(there), 2), "rollback_ms": round(statistics.median(back), 2),
            "floor_ms": round(base, 2), "ratio_to_floor": round(statistics.median(there) / base, 1),
        }  # fmt: skip
    return found


# (c) one call, (d) memory


def cpu_per_call(pid: int, port: int, key: str, body: dict[str, Any], calls: int = CALLS) -> float:
    """Milliseconds of the server's CPU per call, over one kept connection."""
    text, process = json.dumps(body).encode(), psutil.Process(pid)
    before = process.cpu_times()
    headers = {"Content-Type": "application/json", "X-API-Key": key}
    connection = http.client.HTTPConnection("127.0.0.1", port)
    for warm_up in (True, False):
        before = process.cpu_times()
        for _ in range(calls // 10 if warm_up else calls):
            connection.request("POST", "/api/tool", text, headers)
            answer = connection.getresponse()
            content = answer.read()
            if answer.status != 200:
                raise AssertionError(content)
    time.sleep(0.6)
    after = process.cpu_times()
    connection.close()
    return (after.user + after.system - before.user - before.system) / calls * 1000


def call() -> dict[str, Any]:
    rounds = []
    port = free_block(1)
    base = subprocess.Popen([sys.executable, "-m", "bench.baseline", str(port)])
    try:
        # with a limit, as by default, that these calls do not reach
        with Stage(RATE_LIMIT="100000/60") as stage, project(stage) as where:
            stage.call("deploy", **where)
            assert stage.process is not None
            body = {"tool": "slot_status", "params": {"projectName": stage.project}}
            time.sleep(1)
            for _ in range(3):
                bare = cpu_per_call(base.pid, port, "", {"tool": "slot_status", "params": body["params"]})
                rounds.append((cpu_per_call(stage.process.pid, stage.api_port, stage.key, body), bare))
    finally:
        base.terminate()
        base.wait()
    ours, bare = (statistics.median(column) for column in zip(*rounds, strict=True))
    return {
        "ratio": round(ours / bare, 2),
        "slot_status_cpu_ms": round(ours, 3),
        "bare_starlette_cpu_ms": round(bare, 3),
        "goal": 2.0,
    }


def memory() -> dict[str, Any]:
    with Stage() as stage:
        assert stage.process is not None
        stage.call("project_create", projectName=stage.project)
        for _ in range(50):
            stage.call("slot_status", projectName=stage.project)
        time.sleep(2)
        rss = psutil.Process(stage.process.pid).memory_info().rss
    return {"idle_rss_mb": round(rss / 1e6, 1), "goal": 110}


# (e) the command line


def cli() -> dict[str, Any]:
    python, we = sys.executable, str(Path(sys.executable).with_name("we"))

    def run(*command: str, env: dict[str, str] | None = None) -> Callable[[], Any]:
        return lambda: subprocess.run(command, env=env, check=True, capture_output=True)

    with Stage() as stage:
        stage.call("project_create", projectName=stage.project)
        nothing = median_ms(run(python, "-c", "pass"), 15)
        status = median_ms(run(we, "status", stage.project, env=stage.environment), 15)
        helped = median_ms(run(we, "--help", env=stage.environment), 15)
    return {
        "status_ratio": round(status / nothing, 1), "we_status_ms": round(status, 1), "we_help_ms": round(helped, 1),
        "python_c_pass_ms": round(nothing, 1),
    }  # fmt: skip


BENCHES: dict[str, Callable[[], dict[str, Any]]] = {
    "deploy": deploy,
    "promote": promote,
    "call": call,
    "memory": memory,
    "cli": cli,
}


def main(names: list[str]) -> int:
    for name in names or list(BENCHES):
        print(json.dumps({name: BENCHES[name]()}), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
