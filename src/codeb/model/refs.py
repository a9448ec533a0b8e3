"""The grammar of what a repository knows: branches, paths in it, and tasks named in a commit message.

Each function gives the value to keep or raises `ValueError` with a sentence for a person. Linear time.
"""

import re
import unicodedata

BRANCH = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/+#-]{0,199}")
TASK_ID = re.compile(r"task_[0-9a-f]{20,40}")
_NAMED = re.compile(r"(?<![A-Za-z0-9_])task_[0-9a-f]{20,40}(?![A-Za-z0-9_])")

MOST_BYTES = 1024
"""of one path, as UTF-8"""
MOST_NAMED = 50
"""tasks of one commit message"""
_TURNS = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""characters that turn the direction of writing: a path would be shown as another"""


def branch(text: str) -> str:
    """A branch of git, as far as we take them."""
    parts = text.split("/")
    bad = ".." in text or text.endswith(".") or any(not part or part[0] == "." or part.endswith(".lock") for part in parts)
    if not BRANCH.fullmatch(text) or bad:
        raise ValueError(
            "a branch is up to 200 letters, digits, '.', '_', '/', '+', '#', '-', starting with a letter or digit, "
            "by the rules of git"
        )
    return text


def task_id(text: str) -> str:
    if not TASK_ID.fullmatch(text):
        raise ValueError("a task's id looks like task_… as task_create and task_list give it")
    return text


_PLAIN = "no control characters, and none that turn the direction of writing"


def writable(char: str) -> bool:
    return char not in _TURNS and unicodedata.category(char) not in ("Cc", "Cs", "Zl", "Zp")


def heading(text: str, limit: int) -> str:
    """One line for people: something in it, no control characters."""
    if len(text) > limit or not text.strip() or not all(map(writable, text)):
        raise ValueError(f"one line of 1 to {limit} characters, {_PLAIN}")
    return text


def prose(text: str, limit: int) -> str:
    """Lines for people: of control characters only the end of a line and the tabulator."""
    if len(text) > limit or not all(char in "\n\t" or writable(char) for char in text):
        raise ValueError(f"at most {limit} characters, {_PLAIN}")
    return text


def file_path(text: str) -> str:
    """A file or folder of a repository, relative to its root, in its one canonical form: composed characters, no `.` parts,
    no doubled or final `/`. Taken literally: `*` is only a star."""
    path = "/".join(part for part in unicodedata.normalize("NFC", text).split("/") if part not in ("", "."))
    if text.startswith("/") or ".." in path.split("/"):
        raise ValueError("a path is relative to the root of the repository, without '..'")
    if not path or path[0] == "-":
        raise ValueError("a path names a file or folder in the repository, not starting with '-'")
    if not all(map(writable, path)):
        raise ValueError(f"a path has {_PLAIN}")
    if len(path.encode()) > MOST_BYTES:
        raise ValueError(f"a path has at most {MOST_BYTES} bytes")
    return path


def named_tasks(message: str) -> tuple[str, ...]:
    """The ids of tasks in a commit message, wherever they stand as whole words, each once, the first `MOST_NAMED`."""
    return tuple(dict.fromkeys(_NAMED.findall(message)))[:MOST_NAMED]
