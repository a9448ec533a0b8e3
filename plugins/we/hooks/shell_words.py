"""One word of a shell command: quotes taken off, variables filled in where they are known.

What the shell would only find out when it runs (an unknown variable, the output of another command, the names that a
`*` stands for) becomes `UNKNOWN` or, for names of files, `NAMES`: each may stand for any text.
"""

from __future__ import annotations

import os
import re

UNKNOWN, NAMES = "\x00", "\x01"
_QUOTABLE = "{},*?[]~ \t\n="
_OPEN = re.compile("[\x00\x01]")
_HIDDEN = {char: chr(0xE000 + at) for at, char in enumerate(_QUOTABLE)}
_SHOWN = {hidden: char for char, hidden in _HIDDEN.items()}
_HIDE, _SHOW = str.maketrans(_HIDDEN), str.maketrans(_SHOWN)
_BRACES = re.compile(r"\{([^{}]*,[^{}]*)\}")
_PATTERN = re.compile(r"\[[^\]]+\]|[*?]")
_ASSIGNED = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)(\+?)=(.*)", re.DOTALL)
_ESCAPE = re.compile(r"\\(x[0-9A-Fa-f]{1,2}|u[0-9A-Fa-f]{1,4}|[0-7]{1,3}|.)", re.DOTALL)
_PLAIN = {"n": "\n", "t": "\t", "r": "\r", "e": "\x1b", "E": "\x1b", "a": "\a", "b": "\b", "f": "\f", "v": "\v"}
MOST_WORDS = 256
"""that braces may make of one"""


def quoted(text: str) -> str:
    """Text that no rule of unquoted words touches any more; `shown` undoes it."""
    return text.translate(_HIDE)


def shown(text: str) -> str:
    return text.translate(_SHOW)


def escapes(text: str) -> str:
    r"""What `$'…'`, `printf` and `echo -e` make of `\x64`, `\144`, `\n`."""

    def one(match: re.Match[str]) -> str:
        said = match[1]
        if said[0] in "xu":
            return chr(int(said[1:], 16))
        return chr(int(said, 8) % 256) if said[0] in "01234567" else _PLAIN.get(said, said)

    return _ESCAPE.sub(one, text)


def assignment(raw: str) -> tuple[str, bool, str] | None:
    """Name, whether it is added to, and value of `NAME=value`; None for any other word."""
    match = _ASSIGNED.fullmatch(raw)
    return (match[1], bool(match[2]), value(match[3])) if match else None


def value(raw: str) -> str:
    """A word as one text, where the shell neither splits it nor looks for files."""
    return shown(home_of(raw))


def words(raw: str) -> list[str]:
    """The words that the shell makes of one written word: braces, then spaces of variables, `~`, and names of files."""
    found = []
    for braced in _unbraced(raw):
        for word in braced.split() or ([""] if braced == "" and raw == "" else []):
            found.append(shown(_PATTERN.sub(NAMES, home_of(word))))
    return found


def _unbraced(raw: str) -> list[str]:
    done: list[str] = []
    open_ = [raw]
    while open_ and len(done) + len(open_) <= MOST_WORDS:
        word = open_.pop(0)
        match = _BRACES.search(word)
        if match is None:
            done.append(word)
            continue
        open_ = [word[: match.start()] + choice + word[match.end() :] for choice in match[1].split(",")] + open_
    return done + [UNKNOWN for _ in open_]


def home_of(word: str) -> str:
    """A path with the folder that its `~` stands for."""
    if not word.startswith("~"):
        return word
    user, slash, rest = word.partition("/")
    if UNKNOWN in user:
        return word
    return os.path.expanduser(user) + slash + rest


def unsure(word: str) -> bool:
    """Whether only the shell knows all of it."""
    return UNKNOWN in word or NAMES in word


def told(word: str) -> str:
    """As a person reads it."""
    return word.replace(UNKNOWN, "…").replace(NAMES, "*")


def may_be(word: str, name: str) -> bool:
    """Whether this word could be that one, once the shell has filled it in."""
    if not unsure(word):
        return word == name
    return re.fullmatch(".*".join(map(re.escape, _OPEN.split(word))), name, re.DOTALL) is not None
