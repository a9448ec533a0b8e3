"""`we --help` is there at once, and the generated files are those of the catalogue."""

import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[4]
HEAVY = ("pydantic", "httpx2", "rich", "starlette", "sqlalchemy", "asyncio", "http.client")


@pytest.mark.quiet
def test_help_takes_less_than_150_ms() -> None:
    def once() -> float:
        began = time.monotonic()
        subprocess.run([sys.executable, "-m", "codeb.entry.cli.main", "--help"], check=True, capture_output=True)
        return (time.monotonic() - began) * 1000

    # a round that other work on the machine slowed down says nothing about us
    assert min(statistics.median(once() for _ in range(5)) for _ in range(3)) < 150


def test_help_loads_nothing_heavy() -> None:
    program = (
        "import sys\nfrom codeb.entry.cli.main import main\nassert main(['--help']) == 0\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)"
    )
    ended = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert "Daily" in ended.stdout
    assert ended.stderr.strip() == "[]"


def test_generated_files_are_those_of_the_catalogue() -> None:
    ended = subprocess.run([sys.executable, "scripts/surface.py", "--check"], cwd=ROOT, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_version() -> None:
    command = [sys.executable, "-m", "codeb.entry.cli.main", "--version"]
    ended = subprocess.run(command, check=True, capture_output=True, text=True)
    assert ended.stdout.startswith("we, version 0.")
