"""The official conformance suite against the real server factory, with the suite's own catalogue in place of ours."""

import json
import re
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.conformance.tools import Tools
from tests.ports import free_block

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
REVISIONS = ("2025-11-25", "2026-07-28")
FOLDER = re.compile(r"server-(.+)-\d{4}-\d\d-\d\dT[\d-]+Z")
START_SECONDS, SUITE_SECONDS = 60.0, 600.0


@dataclass(frozen=True)
class Scenario:
    name: str
    passed: int
    failed: int
    faults: tuple[str, ...]


@contextmanager
def fixture_server() -> Iterator[str]:
    port = free_block(2)
    command = [sys.executable, "-m", "tests.conformance.serve", str(port)]
    with subprocess.Popen(command, cwd=ROOT) as server:
        try:
            _until_up(server, f"http://127.0.0.1:{port}")
            yield f"http://127.0.0.1:{port}/mcp"
        finally:
            server.terminate()


def _until_up(server: "subprocess.Popen[bytes]", url: str) -> None:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end and server.poll() is None:
        try:
            urllib.request.urlopen(f"{url}/health", timeout=2).close()
            return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    raise RuntimeError("the server with the suite's catalogue did not come up")


def run(tools: Tools, url: str, revision: str) -> list[Scenario]:
    """Every scenario of the revision, those of the tasks extension among the newest one's."""
    with tempfile.TemporaryDirectory(prefix="codebtest-suite-") as out:
        command = [*tools.conformance, "server", "--url", url, "--requirements", revision, "-o", out]
        subprocess.run(command, env=tools.environment, cwd=tools.root, check=False, capture_output=True, timeout=SUITE_SECONDS)
        return sorted((_read(path) for path in Path(out).glob("server-*/checks.json")), key=lambda each: each.name)


def _read(path: Path) -> Scenario:
    found = FOLDER.fullmatch(path.parent.name)
    name = found[1] if found else path.parent.name
    checks = json.loads(path.read_text())
    bad = [each for each in checks if each["status"] == "FAILURE"]
    said = tuple(f"{each['id']}: {each.get('errorMessage', '')}"[:300] for each in bad)
    return Scenario(name, sum(each["status"] == "SUCCESS" for each in checks), len(bad), said)


def judged(revision: str, found: list[Scenario]) -> list[str]:
    """What is not as `expected.json` says: a failure nobody named, one that was named and passes, and silence."""
    expected: dict[str, str] = json.loads((HERE / "expected.json").read_text())[revision]
    names = {each.name for each in found}
    faults = [f"{revision} {each.name}: {fault}" for each in found if each.name not in expected for fault in each.faults]
    faults += [
        f"{revision} {each.name}: passes; take it out of expected.json"
        for each in found
        if each.name in expected and not each.failed
    ]
    faults += [f"{revision} {name}: was not run" for name in expected if name not in names]
    if len(found) < 30:
        faults.append(f"{revision}: only {len(found)} scenarios were run")
    return faults
