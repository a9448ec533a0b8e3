"""Small pieces: no file over 400 lines, no function over 50. Migrations aside; there is no list of exemptions.

python scripts/check_size.py [FOLDER]
"""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

FILE_LINES = 400
FUNCTION_LINES = 50
# Functions of tests are free: a table of cases is one long function.
FOLDERS = {"src": True, "demo": True, "scripts": True, "plugins": True, "tests": False}
SHELL_FUNCTION = re.compile(r"(\w+)\(\) [{(]( .*)?")


def functions_of_python(text: str) -> Iterator[tuple[str, int, int]]:
    """Name, first line and number of lines of each function, nested ones too."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name, node.lineno, (node.end_lineno or node.lineno) - node.lineno + 1


def functions_of_shell(text: str) -> Iterator[tuple[str, int, int]]:
    """The same of functions that begin and end at the margin."""
    begun: tuple[str, int] | None = None
    for number, line in enumerate(text.splitlines(), 1):
        if match := SHELL_FUNCTION.fullmatch(line):
            begun = match[1], number
        if begun and line[:1] in ("}", ")"):
            yield begun[0], begun[1], number - begun[1] + 1
            begun = None


def _is_migration(path: Path) -> bool:
    return path.parent.name == "versions" and path.parent.parent.name == "migrations"


def findings(root: Path) -> Iterator[str]:
    """What is too long below this folder, as `path:line: what`."""
    for folder, with_functions in FOLDERS.items():
        for path in sorted((root / folder).rglob("*")):
            if path.suffix not in (".py", ".sh") or _is_migration(path):
                continue
            name, text = path.relative_to(root), path.read_text(encoding="utf-8")
            if (lines := len(text.splitlines())) > FILE_LINES:
                yield f"{name}:{lines}: the file has {lines} lines, {FILE_LINES} are allowed"
            each = functions_of_python if path.suffix == ".py" else functions_of_shell
            for function, line, length in each(text) if with_functions else ():
                if length > FUNCTION_LINES:
                    yield f"{name}:{line}: {function} has {length} lines, {FUNCTION_LINES} are allowed"


def main(root: Path) -> int:
    found = list(findings(root))
    for each in found:
        print(each)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parent.parent))
