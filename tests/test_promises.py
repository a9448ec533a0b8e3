"""Every promise has a test that names it, or says which issue brings it; every name in a test is a promise."""

import ast
import re
from pathlib import Path

from tests.promises import EVERY, LATER, PARTLY, SHOWN

HERE = Path(__file__).parent
ID = re.compile(r"\b[PS][0-9]{1,2}\b")


def _named() -> dict[str, set[str]]:
    """Ids in the docstrings of test files and of their tests -> the files."""
    found: dict[str, set[str]] = {}
    for path in sorted(HERE.rglob("test_*.py")):
        tree = ast.parse(path.read_text())
        for node in ast.walk(tree):
            if isinstance(node, ast.Module | ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                for each in ID.findall(ast.get_docstring(node) or ""):
                    found.setdefault(each, set()).add(path.relative_to(HERE).as_posix())
    return found


def test_every_promise_is_shown_or_says_when() -> None:
    assert sorted({*SHOWN, *LATER}) == sorted(EVERY)
    assert not set(SHOWN) & set(LATER)
    assert set(PARTLY) <= set(SHOWN)
    assert all(re.fullmatch(r"later: issue \d.*", said) for said in [*LATER.values(), *PARTLY.values()])


def test_what_is_listed_is_named_by_its_tests() -> None:
    named = _named()
    assert [(each, file) for each, files in SHOWN.items() for file in files if file not in named.get(each, set())] == []


def test_what_a_test_names_is_listed() -> None:
    assert sorted(each for each in _named() if each not in SHOWN) == []
