"""The bootstrap script takes a Docker that answers as it is, says plainly what is wrong, and stops only what it started."""

import json
import socketserver
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]


class Engine(socketserver.StreamRequestHandler):
    """Answers every request as the Engine answers /version."""

    said = json.dumps({"Version": "20.10.0", "ApiVersion": "1.41"}).encode()

    def handle(self) -> None:
        self.rfile.readline()
        self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % len(self.said) + self.said)


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "docker.sock"
    with socketserver.UnixStreamServer(str(path), Engine) as server:
        turning = threading.Thread(target=server.serve_forever, args=(0.05,))
        turning.start()
        yield path
        server.shutdown()
        turning.join()


def bootstrap(*words: str, host: str = "", **more: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": "/usr/bin:/bin", "HOME": "/", "CODEB_PYTHON": sys.executable, "CODEB_DOCKER_HOST": host, **more}
    script = [str(ROOT / "scripts/bootstrap.sh"), *words]
    return subprocess.run(script, env=environment, capture_output=True, text=True, timeout=60)


def test_an_engine_that_answers_is_left_alone(engine: Path, tmp_path: Path) -> None:
    ended = bootstrap("docker", str(tmp_path / "run"), host=f"unix://{engine}")
    assert (ended.returncode, ended.stdout) == (0, "bootstrap: Docker 20.10.0 (API 1.41) is there.\n")
    assert not (tmp_path / "run").exists()


def test_what_is_not_docker_is_no_engine(engine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Engine, "said", b"{}")
    ended = bootstrap("docker", str(tmp_path / "run"), host=f"unix://{engine}")
    assert ended.returncode == 1
    assert "No Docker answers" in ended.stderr


def test_a_socket_of_ones_own_that_is_silent(tmp_path: Path) -> None:
    ended = bootstrap("docker", str(tmp_path / "run"), host=f"unix://{tmp_path}/none.sock")
    assert ended.returncode == 1
    assert f"No Docker answers on {tmp_path}/none.sock" in ended.stderr
    assert not (tmp_path / "run").exists()


def test_an_engine_over_tcp_is_refused(tmp_path: Path) -> None:
    ended = bootstrap("docker", str(tmp_path / "run"), host="tcp://127.0.0.1:2375")
    assert ended.returncode == 1
    assert "is not a unix socket" in ended.stderr


def test_a_dockerd_that_ends_at_once_is_told_with_its_log(tmp_path: Path) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "dockerd").write_text("#!/bin/sh\necho this machine cannot >&2\nexit 1\n")
    (programs / "sudo").write_text('#!/bin/sh\nshift\nexec "$@"\n')
    (programs / "sudo").chmod(0o755)
    (programs / "dockerd").chmod(0o755)
    ended = bootstrap(
        "docker",
        str(tmp_path / "run"),
        host=f"unix://{tmp_path}/none.sock",
        PATH=f"{programs}:/usr/bin:/bin",
        CODEB_DOCKERD_ARGS="--any",
    )
    assert ended.returncode == 1
    assert "this machine cannot" in ended.stderr
    assert not (tmp_path / "run/started").exists()


def test_only_the_process_that_was_started_is_stopped(tmp_path: Path) -> None:
    other = subprocess.Popen(["/bin/sleep", "60"])
    try:
        # The number is right, the time of start is not: another program has the number by now.
        (tmp_path / "started").write_text(f"{other.pid} 1\n")
        assert bootstrap("docker-stop", str(tmp_path)).returncode == 0
        assert other.poll() is None
        assert not (tmp_path / "started").exists()
    finally:
        other.kill()
        other.wait()


def test_nothing_was_started_so_nothing_is_stopped(tmp_path: Path) -> None:
    ended = bootstrap("docker-stop", str(tmp_path))
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")


@pytest.mark.parametrize("python", ["/bin/false", "/nonexistent/python3"])
def test_without_a_python_that_is_new_enough(tmp_path: Path, engine: Path, python: str) -> None:
    ended = bootstrap("docker", str(tmp_path / "run"), host=f"unix://{engine}", CODEB_PYTHON=python)
    assert ended.returncode != 0
    assert "CodeB needs Python 3.11 or newer" in ended.stderr


def test_how_it_is_used() -> None:
    ended = bootstrap("nonsense")
    assert ended.returncode == 2
    assert "scripts/bootstrap.sh docker-stop FOLDER" in ended.stderr
