"""The table of guards keeps up with the code: each text is there once, its tests are files. `make mutants` runs it."""

import ast
import importlib
from collections import Counter
from pathlib import Path

import pytest

from tests.mutants.guard import Guard
from tests.mutants.inplace import exchange, only_in_functions
from tests.mutants.table import GUARDS, SOURCE, TESTS, WATCHED


def test_every_watched_file_has_guards() -> None:
    assert sorted({each.file for each in GUARDS}) == sorted(WATCHED)


def test_no_guard_is_listed_twice() -> None:
    assert [name for name, times in Counter((each.file, each.text, each.becomes) for each in GUARDS).items() if times > 1] == []


@pytest.mark.parametrize("file", WATCHED)
def test_every_guard_is_in_the_code_and_can_be_taken_out_of_it(file: str) -> None:
    source, wrong = (SOURCE / file).read_text(), []
    for each in (guard for guard in GUARDS if guard.file == file):
        try:
            ast.parse(each.in_place(source))
        except (LookupError, SyntaxError) as fault:
            wrong.append(f"{each.name}: {fault}")
        if each.text == each.becomes:
            wrong.append(f"{each.name}: changes nothing")
        wrong += [f"{each.name}: there is no {test}" for test in each.tests if not (TESTS / test).is_file()]
    assert wrong == []


def test_the_code_of_functions_is_exchanged_for_all_who_hold_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = """
import contextlib, functools
LIMIT = 3
class Door:
    def opens(self, age): return age >= LIMIT
    @property
    def shut(self): return [each for each in (True, False)]
    @staticmethod
    def asked(word): return word == "please"
@contextlib.contextmanager
def held(): yield 1
@functools.cache
def known(name): return name == "ana"
"""
    (tmp_path / "doors.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    doors = importlib.import_module("doors")
    opens, asked, held, known = doors.Door().opens, doors.Door.asked, doors.held, doors.known
    mutant = source.replace("age >= LIMIT", "True").replace("(True, False)", "()").replace('word == "please"', "True")
    mutant = mutant.replace("yield 1", "yield 2").replace('name == "ana"', "True")
    assert not opens(1) and doors.Door().shut and not asked("x")
    assert only_in_functions(source, mutant) and not only_in_functions(source, source.replace("LIMIT = 3", "LIMIT = 4"))
    exchange(doors, mutant)
    with held() as value:
        assert (opens(1), doors.Door().shut, asked("x"), value, known("x")) == (True, [], True, 2, True)


def test_a_guard_that_the_code_does_not_have_is_told() -> None:
    with pytest.raises(LookupError, match="0 times"):
        Guard("gate/door.py", "if nobody:", "if False:", ()).in_place("if somebody:\n    pass\n")
    with pytest.raises(LookupError, match="2 times"):
        Guard("gate/door.py", "pass", "return", ()).in_place("if one: pass\nif two: pass\n")
