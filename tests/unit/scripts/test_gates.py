"""The gates of `make lint` that others made fire too, with the settings of pyproject.toml."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def house(tmp_path: Path) -> Path:
    """A copy of the settings and of the sources, to plant something in."""
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    shutil.copytree(ROOT / "src", tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def run(house: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {"PYTHONPATH": str(house / "src"), "PATH": "/usr/bin:/bin"}
    return subprocess.run([sys.executable, *words], cwd=house, env=environment, capture_output=True, text=True, timeout=120)


IMPORTS = ("-c", "import sys; from importlinter.cli import lint_imports_command as c; sys.exit(c(['--no-cache']))")


@pytest.mark.parametrize(
    ("name", "line", "contract"),
    [
        ("model/planted.py", "import codeb.drivers", "The rooms: imports point down"),
        ("drivers/planted.py", "import codeb.tools", "Drivers know nothing of tools, flows and sagas"),
        ("model/planted.py", "import socket", "What is true does no I/O"),
        ("saga/planted.py", "import codeb.config", "Only wiring and entry see the settings"),
    ],
)
def test_an_import_that_points_up(house: Path, name: str, line: str, contract: str) -> None:
    (house / "src/codeb" / name).write_text(line + "\n")
    ended = run(house, *IMPORTS)
    assert ended.returncode == 1
    assert f"{contract} BROKEN" in ended.stdout


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("F401", "import os\n"),
        ("S602", "import subprocess\n\nsubprocess.run('ls', shell=True)\n"),
        ("E501", f"x = '{'a' * 130}'\n"),
    ],
)
def test_ruff(house: Path, code: str, text: str) -> None:
    (house / "src/codeb/planted.py").write_text(text)
    ended = run(house, "-m", "ruff", "check", "--no-cache", "--output-format=concise", "src/codeb/planted.py")
    assert ended.returncode == 1
    assert code in ended.stdout


def test_the_format(house: Path) -> None:
    (house / "src/codeb/planted.py").write_text("x = {  'a':1 }\n")
    assert run(house, "-m", "ruff", "format", "--no-cache", "--check", "src/codeb/planted.py").returncode == 1


def test_mypy(house: Path) -> None:
    (house / "src/codeb/planted.py").write_text("def answer(n: int):\n    if n:\n        x = 1\n    return x\n")
    ended = run(house, "-m", "mypy", "--no-incremental", "src/codeb/planted.py")
    assert ended.returncode == 1
    assert "no-untyped-def" in ended.stdout


def test_mypy_sees_what_may_be_undefined(house: Path) -> None:
    (house / "src/codeb/planted.py").write_text("def answer(n: int) -> int:\n    if n:\n        x = 1\n    return x\n")
    ended = run(house, "-m", "mypy", "--no-incremental", "src/codeb/planted.py")
    assert ended.returncode == 1
    assert "possibly-undefined" in ended.stdout
