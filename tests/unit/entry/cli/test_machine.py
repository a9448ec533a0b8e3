"""up and down: a server that comes, one that does not, one that is there already, and a stale pid file."""

import os
import socket
import sys
import textwrap
from pathlib import Path

import pytest

from codeb.entry.cli import exits, machine
from tests.unit.entry.cli.conftest import We

SERVER = """
import fcntl, os, signal, sys, threading, time
from http.server import BaseHTTPRequestHandler, HTTPServer
held = open(os.path.join(os.environ["CODEB_HOME"], "server.pid"), "w")
fcntl.flock(held, fcntl.LOCK_EX)
held.write(str(os.getpid())); held.flush()
class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers(); self.wfile.write(b'{"status": "ok"}')
    def log_message(self, *_): pass
signal.signal(signal.SIGTERM, lambda *_: (time.sleep(0.2), os._exit(0)))
print(sys.argv[1:], os.environ.get("CODEB_GRACE_HOURS"), flush=True)
HTTPServer(("127.0.0.1", int(os.environ["CODEB_PORT"])), Handler).serve_forever()
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        monkeypatch.setenv("CODEB_PORT", str(free.getsockname()[1]))
    folder = tmp_path / "home"
    folder.mkdir(exist_ok=True)
    return folder


def program(path: Path, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What `we up` takes for the Python that runs the server."""
    path.write_text(f"#!{sys.executable}\n{textwrap.dedent(text)}")
    path.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(path))


def test_up_waits_until_it_answers_and_down_until_it_is_gone(
    home: Path, we: We, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CODEB_GRACE_HOURS", "12")
    monkeypatch.setenv("NOT_OURS", "secret")
    program(tmp_path / "server", SERVER, monkeypatch)
    said = we("up", "--detach")
    try:
        assert said.code == 0, said.err
        assert f"http://127.0.0.1:{os.environ['CODEB_PORT']}" in said.out
        assert str(home / "owner.key") in said.out
        assert "['-m', 'codeb.entry.server'] 12" in (home / "logs" / "server.log").read_text()
        pid = machine.server_process(home)
        assert pid is not None
        assert b"NOT_OURS" not in Path(f"/proc/{pid}/environ").read_bytes()
        again = we("up", "--detach")
        assert (again.code, machine.server_process(home)) == (0, pid)
        assert "runs already" in again.out
    finally:
        stopped = we("down")
    assert stopped.code == 0
    assert machine.server_process(home) is None


def test_up_shows_what_a_server_that_ended_has_written_and_keeps_the_log_before(
    home: Path, we: We, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / "logs").mkdir()
    (home / "logs" / "server.log").write_text("before\n")
    program(tmp_path / "server", "print('the port is taken', flush=True); raise SystemExit(3)", monkeypatch)
    said = we("up", "--detach")
    assert said.code == exits.FAILED
    assert "│ the port is taken" in said.err
    assert (home / "logs" / "server.log.1").read_text() == "before\n"


def test_up_with_settings_that_cannot_be_used(home: Path, we: We, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CODEB_GRACE_HOURS", "many")
    said = we("up", "--detach")
    assert said.code == exits.USAGE
    assert "CODEB_GRACE_HOURS" in said.err


def test_down_does_not_believe_an_old_pid_file(home: Path, we: We) -> None:
    (home / "server.pid").write_text(f"{os.getpid()}\n")
    said = we("down")
    assert said.code == 0
    assert "No server runs" in said.out


def test_down_says_when_the_server_does_not_end(home: Path, we: We, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "STOP_SECONDS", 0.05)
    program(tmp_path / "server", SERVER, monkeypatch)
    assert we("up", "--detach").code == 0
    said = we("down")
    assert said.code == exits.FAILED
    assert "still runs" in said.err
    monkeypatch.setattr(machine, "STOP_SECONDS", 5.0)
    assert we("down").code == 0
