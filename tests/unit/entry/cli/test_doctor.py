"""`we doctor` on a machine where something is wrong: each fault is really there, is named, and its repair with it."""

import contextlib
import json
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from codeb.drivers.store import migrate, sqlite
from codeb.drivers.store.mirror import checksum
from codeb.entry.cli.main import main
from codeb.entry.doctor import docker
from tests.patient import Examined, examine
from tests.ports import free_block

HOLD = "import fcntl,sys,time; f=open(sys.argv[1],'a'); fcntl.flock(f,fcntl.LOCK_EX); print('held',flush=True); time.sleep(600)"
LISTEN = (
    "import socket,sys,time; s=socket.create_server(('127.0.0.1',int(sys.argv[1]))); print('held',flush=True); time.sleep(600)"
)
Doctor = Callable[..., Examined]


@pytest.fixture
def home() -> Iterator[Path]:
    """On a disk that keeps files, as a home should be."""
    folder = Path(tempfile.mkdtemp(prefix="codebtest-doctor-", dir="/var/tmp"))
    folder.chmod(0o750)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def doctor(home: Path) -> Doctor:
    block = free_block(4)
    ports = {"PORT": str(block), "HTTP_PORT": str(block + 1), "HTTPS_PORT": str(block + 2)}

    def run(*before: str, **settings: str) -> Examined:
        return examine({"HOME": str(home), **ports, "CADDY_BIND": "127.0.0.1", **settings}, before)

    run.__dict__["ports"] = ports
    return run


@contextlib.contextmanager
def running(program: str, *arguments: str) -> Iterator[int]:
    """A process of its own that does this, once it says so."""
    with subprocess.Popen([sys.executable, "-c", program, *arguments], stdout=subprocess.PIPE) as child:
        assert child.stdout and child.stdout.readline() == b"held\n"
        try:
            yield child.pid
        finally:
            child.kill()


# settings


def test_settings_that_cannot_be_used_are_named_without_the_rest(doctor: Doctor, home: Path) -> None:
    (home / "codeb.toml").write_text("port = 'x'\nprot = 1\n")
    del (said := doctor()).checks[1:]
    said.says("settings", "fail", "prot", "codeb.toml")
    (home / "codeb.toml").write_text("port = [")
    doctor().says("settings", "fail", str(home / "codeb.toml"), "codeb.toml")


def test_a_mistyped_variable_and_a_crash_point_are_named(doctor: Doctor) -> None:
    doctor(GRACE_HUORS="1").says("settings", "warn", "CODEB_GRACE_HUORS", "unset CODEB_GRACE_HUORS")
    doctor(CRASH_AT="deploy.pull.do.before").says("settings", "fail", "CODEB_CRASH_AT", "unset CODEB_CRASH_AT")


# the home


def test_a_home_others_may_write_to(doctor: Doctor, home: Path) -> None:
    home.chmod(0o777)
    doctor().says("home", "fail", "0777", f"chmod 0750 {home}")


def test_a_home_that_cannot_be_made(doctor: Doctor) -> None:
    assert doctor(HOME="/proc/nowhere/codeb").named("home")["status"] in ("warn", "fail")
    if os.geteuid():
        doctor(HOME="/root-only/codeb").says("home", "fail", "may not make it", "sudo install -d")


@pytest.mark.parametrize("name", ["owner.key", "registry/api-keys.json", "caddy/probe.key"])
def test_a_secret_that_others_may_read(doctor: Doctor, home: Path, name: str) -> None:
    path = home / name
    path.parent.mkdir(exist_ok=True)
    path.write_text("{}")
    path.chmod(0o640)
    doctor().says("secrets", "fail", "0640", f"chmod 0600 {path}")
    path.chmod(0o600)
    assert doctor().named("secrets")["status"] == "pass"


def test_a_database_that_everybody_may_read(doctor: Doctor, home: Path) -> None:
    (home / "codeb.db").write_bytes(b"")
    (home / "codeb.db").chmod(0o644)
    assert doctor().named("secrets")["status"] == "pass", "the home keeps others out"
    home.chmod(0o755)
    doctor().says("secrets", "fail", "read by everybody", "chmod o-rwx")


def test_a_registry_file_that_was_changed(doctor: Doctor, home: Path) -> None:
    document = {"teams": ["main"], "generation": 1}
    path = home / "registry" / "teams.json"
    path.parent.mkdir()
    path.write_text(json.dumps({**document, "checksum": checksum(document)}))
    assert doctor().named("registry files")["status"] == "pass"
    path.write_text(path.read_text().replace("main", "mine"))
    doctor().says("registry files", "warn", "does not match its checksum", "we up")


IN_MEMORY = 'mount -t tmpfs -o size={size},nr_inodes=200{more} none {home} && {fill} && exec "$@"'


def mounted(home: Path, size: str, fill: str = "true", more: str = "") -> list[str]:
    """Run what follows where `home` is a file system of this size, which nobody else sees and which ends with it."""
    alone = ["unshare", "--mount"] + ([] if os.geteuid() == 0 else ["--map-root-user"])
    return [*alone, "sh", "-c", IN_MEMORY.format(size=size, home=home, fill=fill, more=more), "sh"]


def test_a_full_disk_a_disk_without_inodes_and_one_in_memory(doctor: Doctor, home: Path) -> None:
    full = doctor(*mounted(home, "2m", f"head -c 1900000 /dev/zero > {home}/full"))
    full.says("home space", "fail", "0 MiB are free", "du -xh")
    full.says("home disk", "fail", "on tmpfs", "CODEB_HOME")
    crowded = doctor(*mounted(home, "3g", f"cd {home} && touch $(seq 198)"))
    crowded.says("home space", "fail", "0% of its inodes", "Make room")


def test_a_home_that_is_mounted_read_only(doctor: Doctor, home: Path) -> None:
    said = doctor(*mounted(home, "2m", f"mount -o remount,ro {home}"))
    said.says("home disk", "fail", "read-only", f"mount -o remount,rw {home}")


# the database


def test_a_damaged_database(doctor: Doctor, home: Path) -> None:
    path = home / "codeb.db"
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.executescript("CREATE TABLE t (x); WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<5000)"
                               " INSERT INTO t SELECT hex(randomblob(50)) FROM n; CREATE INDEX i ON t (x);")  # fmt: skip
    assert doctor().named("database")["status"] == "pass"
    with path.open("r+b") as file:
        file.seek(8192)
        file.write(b"\xff" * 20_000)
    doctor().says("database", "fail", "damaged", "restore the newest backup")
    path.write_bytes(b"not a database at all" * 100)
    doctor().says("database", "fail", "damaged", "restore the newest backup")


def test_a_database_of_an_older_and_of_a_newer_version(doctor: Doctor, home: Path) -> None:
    engine = sqlite.engine(home / "codeb.db", begin="BEGIN IMMEDIATE")
    migrate.upgrade(engine)
    engine.dispose()
    assert doctor().named("schema")["status"] == "pass"
    for revision, status, word in (("0001", "warn", "migrates it"), ("9999", "fail", "newer CodeB")):
        with contextlib.closing(sqlite3.connect(home / "codeb.db")) as database:
            database.execute("UPDATE alembic_version SET version_num = ?", [revision])
            database.commit()
        doctor().says("schema", status, word, "backup")


def test_a_database_server_that_is_away_and_a_url_that_is_none(doctor: Doctor) -> None:
    port = free_block(1)
    said = doctor(DATABASE_URL=f"postgresql://codeb:geheim@127.0.0.1:{port}/codeb")
    said.says("database", "fail", "cannot be used", f"pg_isready -h 127.0.0.1 -p {port}")
    assert "geheim" not in said.lines
    doctor(DATABASE_URL="mysql://x/y").says("database", "fail", "names no database", "postgresql://")


def test_a_database_server_that_takes_the_connection_and_says_nothing(doctor: Doctor) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        began = time.monotonic()
        said = doctor(DATABASE_URL=f"postgresql://codeb@127.0.0.1:{silent.getsockname()[1]}/codeb")
        assert time.monotonic() - began < 40
    assert said.named("database")["status"] == "fail"


# Docker


def test_no_docker_a_dead_socket_and_a_silent_one(doctor: Doctor, home: Path) -> None:
    path = home / "d.sock"
    doctor(DOCKER_HOST=f"unix://{path}").says("docker", "fail", "no socket", "systemctl enable --now docker")
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
        doctor(DOCKER_HOST=f"unix://{path}").says("docker", "fail", "does not answer", "systemctl restart docker")
        dead.listen()
        began = time.monotonic()
        doctor(DOCKER_HOST=f"unix://{path}").says("docker", "fail", "does not answer", "systemctl restart docker")
        assert time.monotonic() - began < 60


def answering(path: Path, version: dict[str, str]) -> socket.socket:
    """A Docker that says of itself that it is this version, and nothing else."""
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(path))
    server.listen()

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                line, _ = server.accept()
                with line:
                    line.recv(65536)
                    body = json.dumps(version).encode()
                    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
                    head += "Connection: close\r\n\r\n"
                    line.sendall(head.encode() + body)

    threading.Thread(target=serve, daemon=True).start()
    return server


def test_a_docker_that_is_too_old(doctor: Doctor, home: Path) -> None:
    with answering(home / "d.sock", {"Version": "18.09.1", "ApiVersion": "1.39", "MinAPIVersion": "1.12"}):
        doctor(DOCKER_HOST=f"unix://{home}/d.sock").says("docker", "fail", "18.09.1", "Upgrade Docker to 20.10")


def test_what_docker_says_of_itself() -> None:
    """What no test can make a real daemon say without touching the machine's own."""
    assert docker.limits({"MemoryLimit": False, "PidsLimit": True, "CpuCfsQuota": False}).status == "fail"
    assert docker.limits({"MemoryLimit": True, "PidsLimit": True, "CpuCfsQuota": True, "SwapLimit": False}).status == "warn"
    assert docker.limits({"MemoryLimit": True, "PidsLimit": True, "CpuCfsQuota": True, "SwapLimit": True}).status == "pass"
    assert [docker.live_restore({"LiveRestoreEnabled": on}).status for on in (True, False)] == ["pass", "warn"]
    assert docker.log_driver({"Plugins": {"Log": ["journald"]}}).status == "fail"
    assert [docker.pools({}, used).status for used in (3, 28, 31, 40)] == ["pass", "warn", "fail", "fail"]
    wide = {"DefaultAddressPools": [{"Base": "10.200.0.0/16", "Size": 24}]}
    assert [docker.pools(wide, used).status for used in (200, 253, 256)] == ["pass", "warn", "fail"]


# Caddy


def test_an_old_caddy_one_that_does_not_run_and_none(doctor: Doctor, home: Path) -> None:
    old = home / "caddy-old"
    old.write_text("#!/bin/sh\necho v2.5.0 h1:x\n")
    old.chmod(0o755)
    doctor(CADDY_BIN=str(old)).says("caddy", "fail", "2.5.0", "CODEB_CADDY_BIN")
    old.write_text("#!/bin/sh\necho v2.6.2\n")
    doctor(CADDY_BIN=str(old)).says("caddy", "warn", "cuts the WebSockets of the others", "embedded")
    old.write_text("#!/bin/sh\nexit 1\n")
    doctor(CADDY_BIN=str(old)).says("caddy", "fail", "does not say which version", "CODEB_CADDY_BIN")
    doctor(CADDY_BIN="/nowhere/caddy").says("caddy", "fail", "cannot be started", "installed")


def test_sites_without_a_proxy_are_down(doctor: Doctor, home: Path) -> None:
    (home / "caddy" / "sites").mkdir(parents=True)
    (home / "caddy" / "sites" / "shop-production.caddy").write_text("")
    doctor().says("caddy running", "fail", "1 sites are down", "we up -d")


def test_a_folder_too_deep_for_a_socket(doctor: Doctor, home: Path) -> None:
    doctor(CADDY_DIR=str(home / ("x" * 100))).says("caddy admin", "fail", "longer than 107", "CODEB_CADDY_DIR")


# ports


@pytest.mark.parametrize(("name", "variable"), [("http port", "HTTP_PORT"), ("https port", "HTTPS_PORT"), ("api port", "PORT")])
def test_a_port_that_somebody_else_has(doctor: Doctor, name: str, variable: str) -> None:
    port = doctor.__dict__["ports"][variable]
    with running(LISTEN, port) as pid:
        doctor().says(name, "fail", f"(process {pid})", f"kill {pid}")
        assert doctor(**{variable: str(free_block(1))}).named(name)["status"] == "pass"


def test_an_api_beyond_loopback_is_warned_of(doctor: Doctor) -> None:
    doctor(HOST="0.0.0.0").says("api address", "warn", "without TLS", "CODEB_HOST=127.0.0.1")
    assert doctor(HOST="127.0.0.7").named("api address")["status"] == "pass"


def test_ranges_that_overlap_or_meet_the_ports_of_the_kernel(doctor: Doctor) -> None:
    said = doctor(PORTS_STAGING="4300-4700")
    said.says("port ranges", "fail", "production (4100-4499) and staging (4300-4700)", "CODEB_PORTS_STAGING")
    first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    said = doctor(PORTS_PREVIEW=f"{first + 10}-{first + 99}")
    said.says("port ranges and the kernel", "warn", "by chance", f"net.ipv4.ip_local_reserved_ports={first + 10}-{first + 99}")


# the clock and the server


def test_a_clock_behind_the_last_record(doctor: Doctor, home: Path) -> None:
    """P12: a machine that comes up in the past is told so."""
    (home / "instance").write_text("0" * 12)
    assert doctor().named("clock and records")["status"] == "pass"
    ahead = time.time() + 86_400 * 3
    os.utime(home / "instance", (ahead, ahead))
    doctor().says("clock and records", "fail", "3 days before the newest file", "timedatectl set-ntp true")


def test_two_servers_on_one_home(doctor: Doctor, home: Path) -> None:
    """The file that keeps the second one out can be removed; the doctor sees both all the same."""
    path = home / "server.pid"
    with running(HOLD, str(path)) as first:
        path.unlink()
        with running(HOLD, str(path)) as second:
            said = doctor()
            said.says("server", "fail", f"(process {first})", "kill ")
            assert f"(process {second})" in said.named("server")["text"]
        path.write_text(f"{first}")
        said = doctor()
        assert said.named("server")["status"] == "pass"
        said.says("server answers", "fail", "does not answer", "we down")


def test_too_few_open_files(doctor: Doctor) -> None:
    doctor("prlimit", "--nofile=128:128").says("open files", "fail", "128 files", "LimitNOFILE")


# the command


def test_lines_for_people(home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CODEB_HOME", str(home))
    monkeypatch.setenv("CODEB_DOCKER_HOST", f"unix://{home}/none.sock")
    home.chmod(0o777)
    assert main(["doctor"]) == 1
    said = capsys.readouterr().out
    assert "✗ home  " in said and f"→ chmod 0750 {home}" in said
    assert " checks: " in said.splitlines()[-1]
