"""House rules that no other tool knows. Each rule is a function from a file to its findings; RULES is the list.

python scripts/check_house.py [FOLDER]
"""

import ast
import ipaddress
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path, PurePosixPath

Finding = tuple[int, str]
Rule = Callable[[PurePosixPath, str], Iterator[Finding]]

SAY_NOTHING = frozenset({"utils", "util", "helpers", "helper", "common", "manager", "managers", "service", "services", "base"})
SHELLS = frozenset({"sh", "bash", "dash", "/bin/sh", "/bin/bash", "/bin/dash"})
SHELL_CALLS = frozenset({"os.system", "os.popen", "subprocess.getoutput", "subprocess.getstatusoutput"})
SHELL_CALLS |= {"asyncio.create_subprocess_shell"}
SHELL_IN_TEXT = re.compile(r"\b(?:ba|da|)sh -c\b")
RE_CALLS = frozenset({"compile", "fullmatch"})
PART_CALLS = frozenset({"match", "search"})
SQL_CALLS = frozenset({"text", "execute", "exec_driver_sql", "scalar", "scalars"})
SQL_BEGINS = re.compile(
    r"\s*(?:SELECT|INSERT|UPDATE|DELETE|CREATE|ALTER|DROP|PRAGMA|LISTEN|NOTIFY|SAVEPOINT|TRUNCATE)\s.*", re.DOTALL
)
STORE = "src/codeb/drivers/store"
# What a statement may hold that no driver can bind: names of our own tables and triggers, and constants beside them. By
# file, so that each new one is looked at.
SQL_NAMES = {
    f"{STORE}/feed.py": {"table", "act", "when", "note", "values"},
    f"{STORE}/migrations/versions/0002_survival.py": {"table"},
    f"{STORE}/migrations/versions/0003_rights.py": {"table"},
    f"{STORE}/migrations/versions/0006_domains.py": {"table"},
    f"{STORE}/migrations/versions/0005_storage.py": {"table"},
    f"{STORE}/migrations/versions/0007_servers.py": {"table"},
    f"{STORE}/migrations/versions/0010_work.py": {"table"},
    f"{STORE}/schema.py": {"_state"},
    f"{STORE}/sqlite.py": {"pragma"},
    "src/codeb/entry/doctor/database.py": {"wrong"},
}
ADDRESS = re.compile(r"(?<![\w.])(?:[0-9]{1,3}\.){3}[0-9]{1,3}(?![\w]|\.[0-9])")
# In pieces, so that this file does not hold what it looks for.
HOSTS = tuple(
    ".".join(pieces)
    for pieces in (
        ("pypi", "org"), ("python" + "hosted", "org"), ("npm" + "js", "org"), ("npm" + "js", "com"), ("yarn" + "pkg", "com"),
        ("debian", "org"), ("ubuntu", "com"), ("docker", "com"), ("crates", "io"), ("golang", "org"),
    )
)  # fmt: skip
HOST = re.compile(r"(?<![\w-])(?:" + "|".join(map(re.escape, HOSTS)) + r")(?![\w-])", re.IGNORECASE)


def telling_names(path: PurePosixPath, text: str) -> Iterator[Finding]:
    """A file is named for what it decides or does."""
    if path.suffix == ".py" and path.stem in SAY_NOTHING:
        yield 1, f"{path.name} says nothing about what is in it"


def no_shell(path: PurePosixPath, text: str) -> Iterator[Finding]:
    """S1: programs are run as argument lists."""
    if not _is_source(path, "src"):
        return
    tree = ast.parse(text)
    spoken = _docstrings(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield from _shell_in_call(node)
        elif isinstance(node, ast.ImportFrom):
            for name in node.names:
                if f"{node.module}.{name.name}" in SHELL_CALLS:
                    yield node.lineno, f"{node.module}.{name.name} starts a shell"
        if isinstance(node, ast.Call | ast.List | ast.Tuple):
            words = node.args if isinstance(node, ast.Call) else node.elts
            values = [word.value if isinstance(word, ast.Constant) else None for word in words]
            if any(first in SHELLS and second == "-c" for first, second in pairwise(values)):
                yield node.lineno, "a shell with -c"
        if (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and node not in spoken
            and SHELL_IN_TEXT.search(node.value)
        ):
            yield node.lineno, "a shell with -c, in a text"


def _shell_in_call(node: ast.Call) -> Iterator[Finding]:
    name = ast.unparse(node.func)
    if name in SHELL_CALLS:
        yield node.lineno, f"{name} starts a shell"
    for keyword in node.keywords:
        if keyword.arg == "shell" and not (isinstance(keyword.value, ast.Constant) and keyword.value.value is False):
            yield node.lineno, "shell= starts a shell"


def whole_match(path: PurePosixPath, text: str) -> Iterator[Finding]:
    """S4: what decides about input looks at all of it: `fullmatch`, for `$` lets a line break pass."""
    if not _is_source(path, "src/codeb/model"):
        return
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            continue
        if node.func.attr in PART_CALLS:
            yield node.lineno, f".{node.func.attr}() looks at a part of the input: use fullmatch"
        if node.func.attr in RE_CALLS | PART_CALLS and node.args:
            pattern = node.args[0]
            value = pattern.value if isinstance(pattern, ast.Constant) else ""
            if isinstance(value, str) and (value.startswith("^") or value.endswith("$")):
                yield node.lineno, f"{value!r} is anchored: use fullmatch without anchors"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.keyword) and node.arg in ("pattern", "regex"):
            yield node.value.lineno, f"{node.arg}= is searched for, not matched whole: use a validator with fullmatch"


def no_string_sql(path: PurePosixPath, text: str) -> Iterator[Finding]:
    """A statement is one constant or built by SQLAlchemy; what varies is bound."""
    if not _is_source(path, "src"):
        return
    names = SQL_NAMES.get(str(path), set())
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Call) and node.args and ast.unparse(node.func).rpartition(".")[2] in SQL_CALLS:
            if _put_together(node.args[0]) and not _only(node.args[0], names):
                yield node.args[0].lineno, "SQL put together from pieces: bind what varies"
        elif (
            isinstance(node, ast.expr)
            and _put_together(node)
            and not _only(node, names)
            and (first := _first_word(node))
            and SQL_BEGINS.fullmatch(first)
        ):
            yield node.lineno, "a text that begins like SQL, put together from pieces: bind what varies"


def _only(node: ast.AST, names: set[str]) -> bool:
    return bool(names) and {each.id for each in ast.walk(node) if isinstance(each, ast.Name)} <= names


def _put_together(node: ast.AST) -> bool:
    """An f-string with something in it, `+` or `%` with something that is no constant, `format` or `join`."""
    match node:
        case ast.JoinedStr():
            return any(isinstance(each, ast.FormattedValue) for each in node.values)
        case ast.BinOp(op=ast.Add() | ast.Mod()):
            return not all(isinstance(each, ast.Constant) for each in (node.left, node.right))
        case ast.Call(func=ast.Attribute(attr="format" | "format_map" | "join")):
            return True
    return False


def _first_word(node: ast.AST) -> str:
    """The constant that a text put together begins with."""
    match node:
        case ast.Constant(value=str(said)):
            return said
        case ast.JoinedStr(values=[first, *_]):
            return _first_word(first)
        case ast.BinOp(left=left):
            return _first_word(left)
        case ast.Call(func=ast.Attribute(value=value)):
            return _first_word(value)
    return ""


def no_registry_hosts(path: PurePosixPath, text: str) -> Iterator[Finding]:
    """Where packages come from is the machine's business."""
    for number, line in enumerate(text.splitlines(), 1):
        if match := HOST.search(line):
            yield number, f"{match[0]} is the name of a host of packages"


def no_real_addresses(path: PurePosixPath, text: str) -> Iterator[Finding]:
    """Loopback, private and documentation addresses belong to nobody; any other is somebody's."""
    if path.parts[0] == "requirements":
        return
    for number, line in enumerate(text.splitlines(), 1):
        for match in ADDRESS.finditer(line):
            try:
                real = ipaddress.IPv4Address(match[0]).is_global
            except ValueError:
                continue
            if real:
                yield number, f"{match[0]} is somebody's address: use 192.0.2.x, 198.51.100.x or 203.0.113.x"


RULES: tuple[Rule, ...] = (telling_names, no_shell, whole_match, no_string_sql, no_registry_hosts, no_real_addresses)


def _is_source(path: PurePosixPath, folder: str) -> bool:
    return path.suffix == ".py" and path.is_relative_to(folder)


def _docstrings(tree: ast.AST) -> set[ast.expr]:
    """Text that stands alone: docstrings, of attributes too."""
    return {node.value for node in ast.walk(tree) if isinstance(node, ast.Expr)}


def tracked(root: Path) -> list[PurePosixPath]:
    """What git tracks or would track; without git all but what is hidden. Sorted."""
    # A tree of another user is looked at as well, such as one that CI has mounted.
    command = ["git", "-c", "safe.directory=*", "-C", str(root), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, capture_output=True, text=True, check=False) if (root / ".git").exists() else None
    if listed is not None and listed.returncode == 0:
        names = {name for name in listed.stdout.split("\0") if name}
    else:
        names = {str(path.relative_to(root)) for path in root.rglob("*")}
        names = {name for name in names if not name.startswith(".") or name.startswith(".ci/")}
    return sorted(PurePosixPath(name) for name in names if (root / name).is_file())


def findings(root: Path) -> Iterator[str]:
    """What breaks a rule, as `path:line: what`."""
    for path in tracked(root):
        try:
            text = (root / path).read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        for rule in RULES:
            for line, said in rule(path, text):
                yield f"{path}:{line}: {said}"


def main(root: Path) -> int:
    found = list(findings(root))
    for each in found:
        print(each)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parent.parent))
