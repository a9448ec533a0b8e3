"""Two ways to take a guard out and run its tests, each time in a child of its own.

What a function does is exchanged in a process that has everything loaded and its tests collected. What a module is made of (a
constant, a default) is changed in a copy of the source, which the child then imports.
"""

import compileall
import importlib
import os
import py_compile
import resource
import shutil
import sys
import tempfile
import traceback
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import NoReturn

import pytest

from tests.mutants.guard import Guard
from tests.mutants.inplace import exchange
from tests.mutants.reach import Lines, kept, read, soonest, watching
from tests.mutants.table import SOURCE, TESTS

MOST_MEMORY = 3 * 2**30
"""bytes: a loop without its end must not take the machine with it"""
MOST_SECONDS = 600
"""of the processor, for the tests of one guard"""
PASSED, FAILED, BROKEN = 0, 1, 3
"""how a child ends, as pytest does; anything else says that the tests were not run"""


class Verdict(StrEnum):
    KILLED = "killed"
    SAME = "the same"
    """survived, as the table says it must"""
    SURVIVED = "SURVIVED"
    NOT_RUN = "NOT RUN"


Heard = Callable[[Guard, Verdict, str], None]
Say = Callable[[str], object]
Around = Callable[[str], AbstractContextManager[None]]


def verdict(guard: Guard, ended: int, said: str) -> tuple[Verdict, str]:
    if ended == PASSED:
        return (Verdict.SAME, guard.same) if guard.same else (Verdict.SURVIVED, "")
    # what cannot be collected, or has no tests, shows nothing about a guard
    return (Verdict.KILLED, said) if ended == FAILED else (Verdict.NOT_RUN, f"{ended}: {said}")


def child(act: Callable[[Say], int]) -> tuple[int, str]:
    """How it ended in a process of its own, and what it said last."""
    with tempfile.TemporaryFile() as said:
        pid = os.fork()
        if pid == 0:
            _become(act, said.fileno())
        _, status = os.waitpid(pid, 0)
        said.seek(0)
        return os.waitstatus_to_exitcode(status), said.read()[-3000:].decode(errors="replace").strip()


def _become(act: Callable[[Say], int], out: int) -> NoReturn:
    ended = BROKEN
    try:
        os.dup2(out, 1)
        os.dup2(out, 2)
        resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY, MOST_MEMORY))
        resource.setrlimit(resource.RLIMIT_CPU, (MOST_SECONDS, MOST_SECONDS))
        ended = act(lambda text: os.write(out, text.encode()))
        sys.stdout.flush()
        sys.stderr.flush()
    except BaseException:
        os.write(out, traceback.format_exc().encode())
    os._exit(ended)


def _pytest(files: tuple[str, ...], limit: float, *plugins: object) -> int:
    examples = ["-p", "tests.mutants.examples", "--hypothesis-profile=mutants"]
    words = ["-x", "-q", "-p", "no:cacheprovider", *examples, f"--timeout={limit:g}"]
    return int(pytest.main([*words, *(f"tests/{each}" for each in files)], plugins=list(plugins)))


# a copy of the source


def in_a_copy(guards: list[Guard], folder: Path, limit: float, heard: Heard) -> bool:
    """Nothing of the code may be loaded here yet. Whether the tests could show anything."""
    if not guards:
        return True
    source = folder / "src"
    shutil.copytree(SOURCE, source / "codeb", ignore=shutil.ignore_patterns("__pycache__"))
    # what is compiled is looked up by content: by time, two mutants of one length within a second would be the same
    sys.pycache_prefix, sys.dont_write_bytecode = str(folder / "compiled"), False
    compileall.compile_dir(source, quiet=2, invalidation_mode=py_compile.PycInvalidationMode.CHECKED_HASH)

    def tests(*files: str) -> tuple[int, str]:
        def act(say: Say) -> int:
            sys.path.insert(0, str(source))
            os.environ["PYTHONPATH"] = str(source)
            module = importlib.import_module("codeb")
            assert str(module.__file__).startswith(str(source)), "the tests do not import the copy of the source"
            return _pytest(files, limit)

        return child(act)

    ended, said = tests(*sorted({test for each in guards for test in each.tests}))
    if ended != PASSED:
        print(f"With all guards in place the tests do not pass, so they show nothing:\n{said}")
        return False
    for each in guards:
        path = source / "codeb" / each.file
        kept = path.read_text()
        path.write_text(each.in_place(kept))
        heard(each, *verdict(each, *tests(*each.tests)))
        path.write_text(kept)
    return True


# in place


class InPlace:
    """Takes the place of pytest's loop over the tests."""

    def __init__(self, guards: list[Guard], heard: Heard) -> None:
        self._guards = guards
        self._heard = heard
        self._reached: dict[str, Lines] = {}
        self.sound = False

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        if session.testsfailed:
            return True
        # pytest's own report would be one of all runs together
        session.config.pluginmanager.unregister(name="terminalreporter")
        with tempfile.TemporaryDirectory(prefix="codebtest-mutants-") as folder:
            path = Path(folder, "reached.json")
            ended, said = child(lambda say: self._look(session, path, say))
            if ended != PASSED:
                print(f"With all guards in place the tests do not pass, so they show nothing:\n{said}", flush=True)
                return True
            self._reached = read(path)
        self.sound = True
        for each in self._guards:
            self._heard(each, *verdict(each, *child(partial(self._without, session, each))))
        return True

    def _look(self, session: pytest.Session, path: Path, say: Say) -> int:
        """Run all tests with all guards in place, and keep which lines of the guarded files each of them runs."""
        files = {str(SOURCE / each.file): each.file for each in self._guards}
        reached: dict[str, Lines] = {}
        ended = self._tests(session, session.items, say, lambda test: watching(files, reached.setdefault(test, {})))
        kept(path, reached)
        return ended

    def _without(self, session: pytest.Session, guard: Guard, say: Say) -> int:
        path = SOURCE / guard.file
        module, source = importlib.import_module("codeb." + guard.file.removesuffix(".py").replace("/", ".")), path.read_text()
        assert module.__file__ is not None and Path(module.__file__) == path, f"{module.__file__} runs, not {path}"
        exchange(module, guard.in_place(source))
        files = [str(TESTS / each) for each in guard.tests]
        there = {item.nodeid: item for item in session.items if str(item.path) in files}
        tests = sorted(there, key=lambda each: files.index(str(there[each].path)))
        return self._tests(session, [there[each] for each in soonest(tests, guard, source, self._reached)], say)

    def _tests(self, session: pytest.Session, items: list[pytest.Item], say: Say, around: Around = nullcontext) -> int:
        """One after the other, until one fails; its name is said."""
        if not items:
            return BROKEN
        for item, after in zip(items, [*items[1:], None], strict=True):
            with around(item.nodeid):
                session.config.hook.pytest_runtest_protocol(item=item, nextitem=after)
            if session.testsfailed:
                say(item.nodeid)
                return FAILED
        return PASSED


def in_place(guards: list[Guard], limit: float, heard: Heard) -> bool:
    """Whether the tests could show anything."""
    if not guards:
        return True
    loop = InPlace(guards, heard)
    ended = _pytest(tuple(sorted({test for each in guards for test in each.tests})), limit, loop)
    return loop.sound and ended == PASSED
