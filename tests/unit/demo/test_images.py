"""Images from this machine's Python, on a real Docker Engine."""

import contextlib
import http.client
import itertools
import json
import time
import uuid
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from demo.images import HEALTHCHECK, Builder, socket_from_environment

from codeb.errors import InvalidParams, Unavailable
from tests.unit.demo.conftest import free_port


@pytest.fixture(scope="module")
def builder() -> Builder:
    return Builder()


@pytest.fixture
def tag(builder: Builder) -> Iterator[str]:
    tag = f"codebtest-demo-{uuid.uuid4().hex[:8]}:v1"
    yield tag
    builder.remove(tag)


@contextlib.contextmanager
def container(builder: Builder, image: str, port: int) -> Iterator[str]:
    spec: Mapping[str, Any] = {
        "Image": image,
        "HostConfig": {
            "PortBindings": {"3000/tcp": [{"HostIp": "127.0.0.1", "HostPort": str(port)}]},
            "ReadonlyRootfs": True,
            "CapDrop": ["ALL"],
            "SecurityOpt": ["no-new-privileges"],
        },
    }
    kind = {"Content-Type": "application/json"}
    name = f"codebtest-demo-{uuid.uuid4().hex[:8]}"
    builder.engine.send("POST", f"/containers/create?name={name}", json.dumps(spec).encode(), kind)
    try:
        assert builder.engine.call("POST", f"/containers/{name}/start")[0] == 204
        yield name
    finally:
        builder.engine.call("DELETE", f"/containers/{name}?force=true")


def state(builder: Builder, name: str) -> dict[str, Any]:
    found: dict[str, Any] = builder.engine.send("GET", f"/containers/{name}/json")["State"]
    return found


def version_of(port: int) -> dict[str, Any]:
    """What /version says; asked again until it answers, 10 s at most."""
    ends = time.monotonic() + 10
    while True:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
        try:
            connection.request("GET", "/version")
            answer: dict[str, Any] = json.loads(connection.getresponse().read())
            return answer
        except (OSError, http.client.HTTPException):
            assert time.monotonic() < ends
            time.sleep(0.01)
        finally:
            connection.close()


@pytest.mark.docker
def test_the_app_runs_hardened_in_an_image_of_this_python(builder: Builder, tag: str) -> None:
    times = [time.monotonic()]
    base = builder.base()
    times.append(time.monotonic())
    assert builder.base() == base
    times.append(time.monotonic())
    image = builder.app(tag, 'v$1 "quoted" \\', healthcheck=HEALTHCHECK, healthcheck_interval_s=0.5)
    times.append(time.monotonic())
    port = free_port()
    with container(builder, tag, port) as name:
        assert version_of(port) == {"version": 'v$1 "quoted" \\', "slot": "none", "pid": 1}
        times.append(time.monotonic())
        ends = time.monotonic() + 10
        while state(builder, name)["Health"]["Status"] != "healthy":
            assert time.monotonic() < ends
            time.sleep(0.1)
        builder.engine.call("POST", f"/containers/{name}/stop?t=5")
        assert state(builder, name)["ExitCode"] == 0
    config = builder.engine.send("GET", f"/images/{image}/json")["Config"]
    assert config["User"] == "10001"
    assert config["Labels"] == {"codeb.demo": "1", "codebtest": "1"}
    assert times[2] - times[1] < 1
    took = [round((b - a) * 1000) for a, b in itertools.pairwise(times)]
    print("base, base again, app, create+start -> first 200 (ms):", took)


@pytest.mark.docker
def test_a_failing_health_check_and_an_exit_at_once(builder: Builder, tag: str) -> None:
    builder.app(tag, "v1", {"HEALTH": "500"}, HEALTHCHECK, 0.2)
    with container(builder, tag, free_port()) as name:
        ends = time.monotonic() + 10
        while state(builder, name)["Health"]["Status"] != "unhealthy":
            assert time.monotonic() < ends
            time.sleep(0.1)
    builder.static_exit(tag, 3)
    with container(builder, tag, free_port()) as name:
        assert json.loads(builder.engine.call("POST", f"/containers/{name}/wait")[1])["StatusCode"] == 3
        assert b"cannot start: " in builder.engine.call("GET", f"/containers/{name}/logs?stderr=1")[1]


@pytest.mark.docker
def test_the_same_app_twice_is_one_image_and_removing_it_twice_is_fine(builder: Builder, tag: str) -> None:
    assert not builder.exists(tag)
    first = builder.app(tag, "v1")
    assert builder.app(tag, "v1") == first
    assert builder.app(tag, "v2") != first
    assert builder.exists(tag)
    builder.remove(tag)
    builder.remove(tag)
    assert not builder.exists(tag)


@pytest.mark.docker
def test_what_docker_refuses_is_said_with_its_own_words(builder: Builder) -> None:
    with pytest.raises(Unavailable, match="invalid reference format"):
        builder.app("codebtest-Demo:v1", "v1")
    with pytest.raises(InvalidParams):
        builder.app("codebtest-demo:v1", "v1\nUSER root")


def test_which_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CODEB_DOCKER_HOST", raising=False)
    monkeypatch.setenv("DOCKER_HOST", "unix:///run/a.sock")
    assert socket_from_environment() == "/run/a.sock"
    monkeypatch.setenv("CODEB_DOCKER_HOST", "unix:///run/b.sock")
    assert socket_from_environment() == "/run/b.sock"
    monkeypatch.setenv("CODEB_DOCKER_HOST", "tcp://127.0.0.1:2375")
    with pytest.raises(InvalidParams):
        socket_from_environment()
    with pytest.raises(Unavailable):
        Builder("/nonexistent/docker.sock").base()
