"""The size check fires on what is too long, and only on that."""

from pathlib import Path

import pytest
from scripts import check_size


def planted(root: Path, name: str, text: str) -> list[str]:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return list(check_size.findings(root))


def function(lines: int) -> str:
    return "def long():\n" + "    x = 1\n" * (lines - 1)


@pytest.mark.parametrize("folder", ["src/codeb/model", "demo", "scripts", "tests/unit"])
def test_a_file_may_have_400_lines(tmp_path: Path, folder: str) -> None:
    assert planted(tmp_path, f"{folder}/a.py", "x = 1\n" * 400) == []
    assert planted(tmp_path, f"{folder}/a.py", "x = 1\n" * 401) == [f"{folder}/a.py:401: the file has 401 lines, 400 are allowed"]


@pytest.mark.parametrize("folder", ["src/codeb/model", "demo", "scripts"])
def test_a_function_may_have_50_lines(tmp_path: Path, folder: str) -> None:
    assert planted(tmp_path, f"{folder}/a.py", function(50)) == []
    assert planted(tmp_path, f"{folder}/a.py", function(51)) == [f"{folder}/a.py:1: long has 51 lines, 50 are allowed"]


def test_a_method_is_a_function(tmp_path: Path) -> None:
    body = "class A:\n    async def long(self):\n" + "        x = 1\n" * 50
    assert planted(tmp_path, "src/a.py", body) == ["src/a.py:2: long has 51 lines, 50 are allowed"]


def test_a_function_of_a_test_is_free(tmp_path: Path) -> None:
    assert planted(tmp_path, "tests/test_a.py", function(60)) == []


def test_shell_is_held_to_the_same(tmp_path: Path) -> None:
    def script(lines: int) -> str:
        return "#!/bin/bash\nlong() { # FOLDER\n" + "    true\n" * (lines - 2) + "}\n"

    assert planted(tmp_path, "scripts/a.sh", script(50)) == []
    assert planted(tmp_path, "scripts/a.sh", script(51)) == ["scripts/a.sh:2: long has 51 lines, 50 are allowed"]
    assert planted(tmp_path, "scripts/a.sh", "true\n" * 401) == ["scripts/a.sh:401: the file has 401 lines, 400 are allowed"]


def test_migrations_are_aside_and_what_stands_beside_them_is_not(tmp_path: Path) -> None:
    store = "src/codeb/drivers/store"
    assert planted(tmp_path, f"{store}/migrations/versions/0001_all.py", function(500)) == []
    assert len(planted(tmp_path, f"{store}/migrations/env.py", function(500))) == 2


def test_the_exit_code_and_what_is_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check_size.main(tmp_path) == 0
    planted(tmp_path, "src/a.py", function(51))
    assert check_size.main(tmp_path) == 1
    assert "long has 51 lines" in capsys.readouterr().out
