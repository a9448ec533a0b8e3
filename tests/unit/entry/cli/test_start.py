"""`we --help` is there at once, and the generated files are those of the catalogue."""

import resource
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[4]
HEAVY = ("pydantic", "httpx2", "rich", "starlette", "sqlalchemy", "asyncio", "http.client")


def test_help_takes_less_than_150_ms() -> None:
    """Of a processor: on a quiet machine that is what a person waits, and other work on it says nothing about us."""

    def once() -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-m", "codeb.entry.cli.main", "--help"], check=True, capture_output=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) * 1000

    assert min(once() for _ in range(10)) < 150


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
