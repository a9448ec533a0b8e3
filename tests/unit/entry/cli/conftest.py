"""A small CodeB that answers from a list, on a real socket of this machine, and a command that speaks to it."""

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from codeb.entry.cli.main import main

LOST = (0, {})
"""an answer that is never sent: the connection breaks after the call was heard"""


@dataclass
class Fake:
    """What it is to answer, by tool, one after the other (the last one again and again), and what it was asked."""

    answers: dict[str, list[tuple[int, dict[str, Any]]]] = field(default_factory=dict)
    calls: list[tuple[str, dict[str, Any], dict[str, str]]] = field(default_factory=list)
    url: str = ""

    def says(self, tool: str, body: dict[str, Any], status: int = 200) -> None:
        self.answers.setdefault(tool, []).append((status, body))

    def breaks(self, tool: str) -> None:
        self.answers.setdefault(tool, []).append(LOST)

    def asked(self, tool: str) -> list[dict[str, Any]]:
        return [params for name, params, _ in self.calls if name == tool]

    def next(self, tool: str) -> tuple[int, dict[str, Any]]:
        queue = self.answers.get(tool, [(404, {"success": False, "error": "There is no such tool", "code": "unknown_tool"})])
        return queue.pop(0) if len(queue) > 1 else queue[0]


@pytest.fixture
def fake() -> Iterator[Fake]:
    state = Fake()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if self.path != "/api/tool":
                asked = {"tool": self.path.removeprefix("/api/").replace("/", "_"), "params": asked}
            state.calls.append((asked["tool"], asked["params"], dict(self.headers.items())))
            status, body = state.next(asked["tool"])
            if status == 0:
                self.close_connection = True
                return
            raw = json.dumps(body, ensure_ascii=False).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            if wait := body.get("details", {}).get("retryAfterSeconds"):
                self.send_header("Retry-After", str(wait))
            self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

        def log_message(self, *_: Any) -> None:
            return None

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        state.url = f"http://127.0.0.1:{server.server_port}"
        yield state
        server.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty repository to stand in, and no settings of the person who runs the tests."""
    folder = tmp_path / "repo"
    (folder / ".git").mkdir(parents=True)
    monkeypatch.chdir(folder)
    for name in ("CODEB_API_URL", "CODEB_API_KEY", "CODEB_PORT", "CODEB_HOST", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "person"))
    monkeypatch.setenv("CODEB_HOME", str(tmp_path / "home"))
    return folder


@dataclass
class Said:
    code: int
    out: str
    err: str


We = Callable[..., Said]


@pytest.fixture
def we(fake: Fake, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> We:
    """Run `we …` in this process against the fake."""
    monkeypatch.setenv("CODEB_API_URL", fake.url)
    monkeypatch.setenv("CODEB_API_KEY", "codeb_main_owner_test")

    def run(*arguments: str) -> Said:
        capsys.readouterr()
        code = main(list(arguments))
        captured = capsys.readouterr()
        return Said(code, captured.out, captured.err)

    return run
