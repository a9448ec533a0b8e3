"""`we doctor` on real parts: a healthy machine has nothing that fails, and each thing that is broken is named with its repair."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from demo.server import START_SECONDS

from tests.patient import Examined, examine
from tests.ports import free_block
from tests.postgres import Server, postgres
from tests.stage import Stage

__all__ = ["postgres"]

pytestmark = [pytest.mark.docker, pytest.mark.proxy]


@pytest.fixture(scope="module")
def sick() -> Iterator[Stage]:
    """A server with a deployed project, on a disk that keeps files. Each test mends what it broke."""
    former, tempfile.tempdir = tempfile.tempdir, "/var/tmp"
    try:
        with Stage() as stage:
            yield stage
    finally:
        tempfile.tempdir = former


@pytest.fixture(scope="module")
def shop(sick: Stage, images: dict[str, str]) -> str:
    where = {"projectName": sick.project, "environment": "production"}
    sick.call("project_create", projectName=sick.project, healthPath="/health", memoryMb=128)
    sick.call("deploy", **where, image=images["v1"], autoPromote=True)
    return sick.project


def doctor(stage: Stage, **more: str) -> Examined:
    return examine({**stage.settings, **more})


def asked(stage: Stage, path: str, body: object) -> None:
    stage.engine.send("POST", path, json.dumps(body).encode(), {"Content-Type": "application/json"})


def test_a_healthy_machine_has_nothing_that_fails(sick: Stage, shop: str) -> None:
    said = doctor(sick)
    assert (said.code, said.failed) == (0, [])
    assert "held by CodeB's own caddy" in said.named("http port")["text"]
    assert f"(process {sick.process and sick.process.pid})" in said.named("api port")["text"]
    for name in ("home", "secrets", "registry files", "database", "schema", "docker", "exposed ports", "caddy admin",
                 "caddy sites", "server", "server answers", "clock and records"):  # fmt: skip
        assert said.named(name)["status"] == "pass", said.named(name)
    assert sick.key not in said.lines


def test_it_changes_nothing(sick: Stage, shop: str) -> None:
    def everything() -> dict[str, tuple[int, int]]:
        fleeting = ("codeb.db", "server.log", "caddy.log")
        return {
            str(path): (path.lstat().st_mtime_ns, path.lstat().st_size)
            for path in sick.home.rglob("*")
            if path.is_file() and not path.name.startswith(fleeting)
        }

    before, containers = everything(), sick.containers()
    doctor(sick)
    assert everything() == before
    assert [one["Id"] for one in sick.containers()] == [one["Id"] for one in containers]


def test_it_works_while_the_server_is_down_or_hangs(sick: Stage, shop: str) -> None:
    assert sick.process
    os.kill(sick.process.pid, signal.SIGSTOP)
    try:
        doctor(sick).says("server answers", "fail", "does not answer", "we down && we up -d")
    finally:
        os.kill(sick.process.pid, signal.SIGCONT)
    sick.kill()
    try:
        said = doctor(sick)
        assert said.failed == []
        said.says("server", "warn", "No server runs", "we up -d")
        (sick.home / "owner.key").rename(sick.home / "owner.key.aside")
        assert doctor(sick).failed == [], "no key is needed"
    finally:
        (sick.home / "owner.key.aside").rename(sick.home / "owner.key")
        sick.start()


def test_a_managed_container_that_is_open_to_the_network(sick: Stage, shop: str, images: dict[str, str]) -> None:
    """S19: with our label and published beyond loopback it is an alarm; a stranger in our range is a warning."""
    name, port, taken = f"codebtest-open-{shop}", free_block(1), sick.settings["PORTS_STAGING"].partition("-")[0]
    stranger = f"codebtest-stranger-{shop}"
    bodies = {
        name: {"Labels": {"codeb.managed": "true", "codeb.instance": sick.instance}, "HostConfig": bound("0.0.0.0", port)},
        stranger: {"HostConfig": bound("127.0.0.1", int(taken))},
    }
    try:
        for each, more in bodies.items():
            asked(sick, f"/containers/create?name={each}", {"Image": images["v1"], "ExposedPorts": {"3000/tcp": {}}, **more})
            asked(sick, f"/containers/{each}/start", {})
        said = doctor(sick)
        said.says("exposed ports", "fail", f"{name} is published on 0.0.0.0:{port}", f"docker rm -f {name}")
        said.says("foreign ports", "warn", f"{stranger} is not CodeB's and publishes port {taken}", "docker inspect")
    finally:
        for each in bodies:
            sick.engine.call("DELETE", f"/containers/{each}?force=1")
    assert doctor(sick).failed == []


def bound(address: str, port: int) -> dict[str, object]:
    return {"PortBindings": {"3000/tcp": [{"HostIp": address, "HostPort": str(port)}]}}


def test_a_proxy_that_refuses_what_is_on_disk(sick: Stage, shop: str) -> None:
    site = sick.home / "caddy" / "sites" / f"{shop}-production.caddy"
    good = site.read_bytes()

    def doctor_with(text: bytes) -> Examined:
        """What it says while this is on disk: CodeB puts the right file back every so often."""
        for _ in range(5):
            site.write_bytes(text)
            said = doctor(sick)
            if site.read_bytes() == text:
                return said
        raise AssertionError("the file was put back before the doctor had looked, five times")

    try:
        said = doctor_with(good + b"\nnonsense {\n")
        said.says("caddy sites", "fail", "it would refuse the one on disk", "Correct or remove the file")
        said = doctor_with(good + b"\nhttp://other.localhost {\n\trespond 200\n}\n")
        said.says("caddy sites", "warn", "does not run what is on disk", "we down && we up -d")
    finally:
        site.write_bytes(good)
    assert doctor(sick).named("caddy sites")["status"] == "pass"


def test_a_proxy_steered_over_tcp_and_one_that_is_gone(images: dict[str, str]) -> None:
    """S17: its admin interface on a port is open to whoever reaches the port."""
    with Stage() as stage:
        where = {"projectName": stage.project, "environment": "production"}
        stage.call("project_create", projectName=stage.project, healthPath="/health", memoryMb=128)
        stage.call("deploy", **where, image=images["v1"], autoPromote=True)
        port, pid = free_block(1), stage.proxy_pid
        with socket.socket(socket.AF_UNIX) as line:
            line.connect(str(stage.home / "caddy" / "admin.sock"))
            body = f'"127.0.0.1:{port}"'
            head = (
                f"POST /config/admin/listen HTTP/1.1\r\nHost: \r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
            )
            line.sendall(f"{head}\r\n\r\n{body}".encode())
            line.recv(4096)
        until_listening(port)
        doctor(stage).says("caddy admin", "fail", f"listens on TCP port {port}", f"we down --all; kill {pid}")
        stage.kill()
        stage.stop_proxy()
        doctor(stage).says("caddy running", "fail", "1 sites are down", "we up -d")


def until_listening(port: int) -> None:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    raise AssertionError(f"nobody listens on {port}")


def test_the_old_caddy_of_the_distribution_is_warned_of() -> None:
    debian = Path("/usr/bin/caddy")
    assert debian.exists(), "apt-get install caddy"
    said = subprocess.run([debian, "version"], capture_output=True, text=True, check=True, timeout=20).stdout
    with Stage(CADDY_BIN=str(debian)) as stage:
        found = doctor(stage).named("caddy")
        assert found["status"] == ("warn" if said.lstrip("v").startswith("2.6.") else "pass"), found


def test_a_second_server_on_the_home(sick: Stage, shop: str) -> None:
    """Somebody removes `server.pid`, and a second server starts beside the first."""
    pid = sick.home / "server.pid"
    first, kept = sick.process, pid.read_bytes()
    pid.unlink()
    environment = sick.environment | {"CODEB_PORT": str(free_block(1))}
    second = subprocess.Popen(
        [sys.executable, "-m", "codeb.entry.server"], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        until_listening(int(environment["CODEB_PORT"]))
        said = doctor(sick)
        assert first
        said.says("server", "fail", f"(process {first.pid})", f"kill {first.pid}")
        assert f"(process {second.pid})" in said.named("server")["text"]
    finally:
        second.kill()
        second.wait()
        sick.kill()
        sick.start()
    assert pid.read_bytes() != kept
    assert doctor(sick).failed == []


@pytest.mark.postgres
def test_what_a_postgresql_is_not_fit_for(sick: Stage, postgres: Server) -> None:
    """The test cluster has `fsync` off, as no registry's may: that is said. Then it is put right."""
    url = postgres.url()
    said = doctor(sick, DATABASE_URL=url)
    said.says("database settings", "fail", "fsync is off", "ALTER SYSTEM SET fsync = on")
    assert said.named("database")["status"] == "pass" and " ms a query" in said.named("database")["text"]
    said.says("schema", "pass", "It is empty", "")
    name = url.rpartition("/")[2]
    with psycopg.connect(postgres.address("postgres"), autocommit=True) as connection:
        for setting, word, status in (("synchronous_commit", "off", "warn"), ("default_transaction_read_only", "on", "fail")):
            connection.execute(f"ALTER DATABASE {name} SET {setting} = {word}".encode())
            found = [each for each in doctor(sick, DATABASE_URL=url).checks if each["name"] == "database settings"]
            assert any(each["status"] == status and (setting in each["text"] or "no writes" in each["text"]) for each in found), (
                found
            )
        connection.execute(b"CREATE DATABASE codeb_latin ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0")
    said = doctor(sick, DATABASE_URL=postgres.address("codeb_latin"))
    assert any("LATIN1" in each["text"] and "ENCODING 'UTF8'" in each["fix"] for each in said.checks), said.checks
