"""The lock check fires when pyproject.toml and requirements/*.txt do not fit."""

from pathlib import Path

import pytest
from scripts import check_locks

PROJECT = """
[build-system]
requires = ["builder>=1"]
[project]
dependencies = ["One.Two>=2,<3"]
[project.optional-dependencies]
server = ["web[fast]>=4"]
dev = ["tester>=5"]
"""
HASH = f"    --hash=sha256:{'0' * 64}\n"


def lock(*pins: str) -> str:
    return "".join(f"{pin} \\\n{HASH}" for pin in pins)


SERVER = ("builder==1.0", "one-two==2.5", "web==4.0 ; sys_platform == 'linux'")
DEV = (*SERVER, "tester==5.1")


def found(root: Path, server: str, dev: str) -> list[str]:
    (root / "pyproject.toml").write_text(PROJECT)
    (root / "requirements").mkdir(exist_ok=True)
    (root / "requirements/server.txt").write_text(server)
    (root / "requirements/dev.txt").write_text(dev)
    return list(check_locks.findings(root))


def test_what_fits(tmp_path: Path) -> None:
    assert found(tmp_path, lock(*SERVER), lock(*DEV)) == []


def test_a_package_is_missing(tmp_path: Path) -> None:
    assert found(tmp_path, lock(*SERVER), lock(*SERVER)) == ["requirements/dev.txt: tester is missing (make lock)"]
    assert found(tmp_path, lock(*SERVER[1:]), lock(*DEV)) == ["requirements/server.txt: builder is missing (make lock)"]


def test_a_version_that_is_not_allowed(tmp_path: Path) -> None:
    old = lock(*SERVER, "tester==4.9")
    assert found(tmp_path, lock(*SERVER), old) == ["requirements/dev.txt: tester 4.9 is not >=5 (make lock)"]


def test_two_versions(tmp_path: Path) -> None:
    server = lock("builder==1.1", *SERVER[1:])
    assert found(tmp_path, server, lock(*DEV)) == ["requirements/dev.txt: builder is not 1.1 as in server.txt (make lock)"]


@pytest.mark.parametrize("line", ["extra==1.0\n", "--index-url https://192.0.2.1/\n", "-e .\n", "loose>=1 \\\n" + HASH])
def test_a_line_that_pins_nothing(tmp_path: Path, line: str) -> None:
    said = f"requirements/dev.txt: not a pin with hashes: {line.splitlines()[0]}"
    assert found(tmp_path, lock(*SERVER), lock(*DEV) + line) == [said]


def test_the_exit_code_and_what_is_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert found(tmp_path, lock(*SERVER), lock(*DEV)) == []
    assert check_locks.main(tmp_path) == 0
    (tmp_path / "requirements/dev.txt").write_text(lock(*SERVER))
    assert check_locks.main(tmp_path) == 1
    assert capsys.readouterr().out == "requirements/dev.txt: tester is missing (make lock)\n"
