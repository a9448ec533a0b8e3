"""Which tests run a statement: no other can miss what is taken out of it, and who runs what few run misses it soonest."""

import ast
import json
import sys
import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from tests.mutants.guard import Guard

Lines = dict[str, set[int]]
"""by file below src/codeb"""


@contextmanager
def watching(files: Mapping[str, str], into: Lines) -> Iterator[None]:
    """Note the lines that run of these files, by the names of their code objects."""

    def called(frame: FrameType, event: str, arg: Any) -> Any:
        if (file := files.get(frame.f_code.co_filename)) is None:
            return None
        seen = into.setdefault(file, set())

        def line(frame: FrameType, event: str, arg: Any) -> Any:
            seen.add(frame.f_lineno)
            return line

        return line

    before = sys.gettrace()
    threading.settrace(called)
    sys.settrace(called)
    try:
        yield
    finally:
        sys.settrace(before)
        threading.settrace(before)


def kept(path: Path, reached: Mapping[str, Lines]) -> None:
    path.write_text(json.dumps({test: {file: sorted(each) for file, each in lines.items()} for test, lines in reached.items()}))


def read(path: Path) -> dict[str, Lines]:
    return {test: {file: set(each) for file, each in lines.items()} for test, lines in json.loads(path.read_text()).items()}


def lines_of(guard: Guard, source: str) -> set[int]:
    """Of the statements that its text is in; of an `if` what it guards too."""
    at = source.index(guard.text)
    first, last = source.count("\n", 0, at) + 1, source.count("\n", 0, at + len(guard.text.rstrip())) + 1
    found = set(range(first, last + 1))
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.If):
            head = node.test.end_lineno or node.lineno
        elif isinstance(node, ast.stmt) and not hasattr(node, "body"):
            head = node.end_lineno or node.lineno
        else:
            continue
        if node.lineno <= last and head >= first:
            found |= set(range(node.lineno, (node.end_lineno or head) + 1))
    return found


def soonest(tests: Iterable[str], guard: Guard, source: str, reached: Mapping[str, Lines]) -> list[str]:
    """Those that run a line of the guard, who runs the rarest first. All as they come where none was seen to."""
    lines, tests = lines_of(guard, source), list(tests)
    runs = {test: reached.get(test, {}).get(guard.file, set()) & lines for test in tests}
    times = Counter(line for each in runs.values() for line in each)
    return sorted((test for test in tests if runs[test]), key=lambda test: min(times[line] for line in runs[test])) or tests
