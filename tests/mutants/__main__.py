"""`make mutants`: one guard at a time is taken out of a copy of the source, and its tests have to fail.

python -m tests.mutants [--only TEXT] [--shard 1/2] [--limit SECONDS]

Ends with 0 when every guard was found missing, or is listed as the same in words; with 1 when one survived, when a text of the
table is not in the code any more, or when the tests do not even pass with all guards in place.
"""

import argparse
import compileall
import importlib
import os
import py_compile
import resource
import shutil
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path
from typing import NoReturn

import pytest

from tests.mutants.guard import Guard
from tests.mutants.table import GUARDS, SOURCE, TESTS

ROOT = TESTS.parent
MOST_MEMORY = 3 * 2**30
"""bytes: a loop without its end must not take the machine with it"""
MOST_SECONDS = 600
"""of the processor, for the tests of one guard"""
PRELOADED = (
    "hypothesis", "sqlalchemy.ext.asyncio", "pydantic", "pydantic_settings", "starlette.applications", "uvicorn", "aiodocker",
    "httpx2", "psycopg", "alembic", "prometheus_client", "cryptography.hazmat.primitives.ciphers.aead",
)  # fmt: skip
"""libraries that the tests import, which take longer than the tests of most guards"""
PASSED, FAILED = 0, 1
"""how pytest ends; anything else says that the tests were not run"""


class Verdict(StrEnum):
    KILLED = "killed"
    SAME = "the same"
    """survived, as the table says it must"""
    SURVIVED = "SURVIVED"
    NOT_RUN = "NOT RUN"


class Copy:
    """The source in a folder of its own, where one file at a time is changed."""

    def __init__(self, folder: Path, limit: float) -> None:
        self.source, self._limit = folder / "src", limit
        shutil.copytree(SOURCE, self.source / "codeb", ignore=shutil.ignore_patterns("__pycache__"))
        # what is compiled is looked up by content: by time, two mutants of one length within a second would be the same
        sys.pycache_prefix, sys.dont_write_bytecode = str(folder / "compiled"), False
        compileall.compile_dir(self.source, quiet=2, invalidation_mode=py_compile.PycInvalidationMode.CHECKED_HASH)
        for each in PRELOADED:
            importlib.import_module(each)

    def tests(self, *files: str) -> tuple[int, str]:
        """How pytest ended, and what it said last. A test that hangs has failed."""
        with tempfile.TemporaryFile() as said:
            child = os.fork()
            if child == 0:
                self._become(said.fileno(), files)
            _, status = os.waitpid(child, 0)
            said.seek(0)
            return os.waitstatus_to_exitcode(status), said.read()[-3000:].decode(errors="replace")

    def _become(self, out: int, files: tuple[str, ...]) -> NoReturn:
        """In a child of its own, which has the libraries already and nothing of the code."""
        try:
            os.dup2(out, 1)
            os.dup2(out, 2)
            resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY, MOST_MEMORY))
            resource.setrlimit(resource.RLIMIT_CPU, (MOST_SECONDS, MOST_SECONDS))
            sys.path.insert(0, str(self.source))
            os.environ["PYTHONPATH"] = str(self.source)
            # of Hypothesis the same examples each time, and no deadline that a loaded machine could miss in a guard's place
            words = ["-x", "-q", "-p", "no:cacheprovider", "--hypothesis-profile=ci", f"--timeout={self._limit:g}"]
            # pytest would have liked to load the libraries itself
            words += ["-W", "ignore::pytest.PytestAssertRewriteWarning"]
            ended = int(pytest.main([*words, *(f"tests/{each}" for each in files)]))
            sys.stdout.flush()
            sys.stderr.flush()
        except BaseException:
            traceback.print_exc()
            ended = 3
        os._exit(ended)

    def is_used(self) -> bool:
        """Whether the tests import this copy, and not a source that is installed beside it."""
        broken = self.source / "codeb/errors.py"
        kept = broken.read_text()
        broken.write_text("raise ImportError('of the copy')\n")
        ended, said = self.tests("unit/model/test_names.py")
        broken.write_text(kept)
        return ended not in (PASSED, FAILED) and "of the copy" in said

    def without(self, guard: Guard) -> tuple[Verdict, str]:
        path = self.source / "codeb" / guard.file
        kept = path.read_text()
        try:
            path.write_text(guard.in_place(kept))
        except LookupError as fault:
            return Verdict.NOT_RUN, str(fault)
        try:
            ended, said = self.tests(*guard.tests)
        finally:
            path.write_text(kept)
        if ended == PASSED:
            return (Verdict.SAME, guard.same) if guard.same else (Verdict.SURVIVED, "")
        # what cannot even be collected, or has no tests, shows nothing about a guard
        return (Verdict.KILLED, "") if ended == FAILED else (Verdict.NOT_RUN, said)


def chosen(guards: Iterable[Guard], only: str, shard: str) -> list[Guard]:
    """Those whose name has `only` in it; of them every n-th, by `1/2` or `2/2`."""
    number, _, of = shard.partition("/")
    return [each for each in guards if only in each.name][int(number) - 1 :: int(of)]


def run(guards: list[Guard], limit: float) -> int:
    with tempfile.TemporaryDirectory(prefix="codebtest-mutants-") as folder:
        copy, count, began = Copy(Path(folder), limit), Counter[Verdict](), time.monotonic()
        if not copy.is_used():
            print("The tests do not import the copy of the source; nothing was tried.")
            return 1
        ended, said = copy.tests(*sorted({test for each in guards for test in each.tests}))
        if ended != PASSED:
            print(f"With all guards in place the tests do not pass, so they show nothing:\n{said}")
            return 1
        print(f"{len(guards)} guards; with all of them in place the tests pass ({time.monotonic() - began:.0f} s)", flush=True)
        for each in guards:
            verdict, why = copy.without(each)
            count[verdict] += 1
            if verdict is not Verdict.KILLED:
                print(f"{verdict}: {each.name}{f'  ({why})' if why else ''}", flush=True)
    print(", ".join(f"{count[each]} {each}" for each in Verdict), f"of {len(guards)} in {time.monotonic() - began:.0f} s")
    return 1 if count[Verdict.SURVIVED] or count[Verdict.NOT_RUN] else 0


def main() -> int:
    said = argparse.ArgumentParser(prog="python -m tests.mutants", description=(__doc__ or "").splitlines()[0])
    said.add_argument("--only", default="", help="guards with this in their name, such as gate/door.py")
    said.add_argument("--shard", default="1/1", help="1/2 and 2/2 are the two halves")
    said.add_argument("--limit", type=float, default=60.0, help="seconds that one test may take")
    words = said.parse_args()
    guards = chosen(GUARDS, words.only, words.shard)
    if not guards:
        said.error("no guard is called so")
    return run(guards, words.limit)


if __name__ == "__main__":
    sys.exit(main())
