"""A real PostgreSQL for tests: started once per session in a folder of its own, always stopped; a fresh database per test."""

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import psycopg
import pytest

NUMBERS = count(1)


class Server:
    """A running cluster. `url()` makes a new database and says where it is."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder = folder
        self.port = port

    def address(self, database: str) -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"

    def url(self) -> str:
        name = f"codeb_{next(NUMBERS)}"
        with psycopg.connect(self.address("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}".encode())
        return self.address(name)

    def run(self, *args: str) -> None:
        _run(_programs() / "pg_ctl", "-D", str(self.folder / "data"), *args)

    def start(self) -> None:
        self.run("-l", str(self.folder / "log"), "-w", "-t", "30", "start")

    def stop(self) -> None:
        self.run("-m", "immediate", "-w", "stop")


def _programs() -> Path:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
    if not found:
        raise RuntimeError("PostgreSQL is not installed (apt-get install postgresql)")
    return found[-1]


def _run(program: Path, *args: str) -> None:
    as_user = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
    subprocess.run([*as_user, str(program), *args], check=True, stdout=subprocess.DEVNULL, cwd="/", timeout=60)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def postgres_server(also: str = "", network: str = "", port: int = 0) -> Iterator[Server]:
    """`also`: one more address to listen at, and `network`: who may come there, with a password."""
    folder = Path(tempfile.mkdtemp(prefix="codebtest-pg-"))
    if os.geteuid() == 0:
        shutil.chown(folder, "postgres", "postgres")
    server = Server(folder, port or free_port())
    try:
        _run(_programs() / "initdb", "-D", str(folder / "data"), "-U", "postgres", "-A", "trust", "-N", "-E", "UTF8")
        with (folder / "data" / "postgresql.conf").open("a") as settings:
            addresses = f"127.0.0.1,{also}" if also else "127.0.0.1"
            settings.write(
                f"listen_addresses = '{addresses}'\nport = {server.port}\nunix_socket_directories = '{folder}'\n"
                "fsync = off\nshared_buffers = 32MB\nmax_connections = 60\n"
            )
        # tenants have passwords, which count; the tests themselves are let in
        (folder / "data" / "pg_hba.conf").write_text(
            "local all all trust\nhost all postgres 127.0.0.1/32 trust\nhost all all 127.0.0.1/32 scram-sha-256\n"
            + (f"host all all {network} scram-sha-256\n" if network else "")
        )
        server.start()
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


_running: list["Server"] = []


@pytest.fixture(scope="session")
def postgres() -> Iterator[Server]:
    """Import it where it is needed: however many modules do, one server runs, and it stops with the session."""
    if _running:
        yield _running[0]
        return
    with postgres_server() as server:
        _running.append(server)
        try:
            yield server
        finally:
            _running.clear()
