"""The table of guards keeps up with the code: each text is there once, its tests are files. `make mutants` runs it."""

import ast
from collections import Counter

import pytest

from tests.mutants.guard import Guard
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
            mutant = each.in_place(source)
            ast.parse(mutant)
        except (LookupError, SyntaxError) as fault:
            wrong.append(f"{fault}" if isinstance(fault, LookupError) else f"{each.name}: {fault}")
            continue
        if ast.dump(ast.parse(mutant)) == ast.dump(ast.parse(source)):
            wrong.append(f"{each.name}: changes nothing")
        wrong += [f"{each.name}: there is no {test}" for test in each.tests if not (TESTS / test).is_file()]
    assert wrong == []


def test_a_guard_that_the_code_does_not_have_is_told() -> None:
    with pytest.raises(LookupError, match="0 times"):
        Guard("gate/door.py", "if nobody:", "if False:", ()).in_place("if somebody:\n    pass\n")
    with pytest.raises(LookupError, match="2 times"):
        Guard("gate/door.py", "pass", "return", ()).in_place("if one: pass\nif two: pass\n")
