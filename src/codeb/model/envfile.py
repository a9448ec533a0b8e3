"""Lines of KEY=VALUE, as `.env` files have them: read strictly, written so that reading gives the same, byte for byte.

    # a line for people; empty lines count for nothing
    PLAIN=as it stands, up to the end of the line    (spaces at both ends are not of the value)
    SINGLE='everything literally,
    also several lines'
    DOUBLE="\\n \\r \\t \\" and \\\\ mean what they always mean, any other \\ is itself; lines may go on"
    export SHELL=1                                    (the word is passed over)

Nothing is ever put in place of `$NAME`. Where programs that read such files differ, the line is refused instead of guessed:
a `#` after a space in a plain value is a comment to some and text to others. A fault names the line, never its text.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from codeb.model import envs

MOST_FAULTS = 50
EXPORT = re.compile(r"export[ \t]+(.*)", re.DOTALL)
ESCAPES = {"n": "\n", "r": "\r", "t": "\t", '"': '"', "\\": "\\"}
BARE = re.compile(r"[A-Za-z0-9_./:@%+,=-]*")


@dataclass(frozen=True)
class Fault:
    line: int
    problem: str


@dataclass(frozen=True)
class Lines:
    """What a file says. With faults, `values` is what could be read all the same."""

    values: Mapping[str, str]
    faults: tuple[Fault, ...] = ()


class _Wrong(ValueError):
    """A line that cannot be taken; `end` is where reading goes on."""

    def __init__(self, problem: str, end: int) -> None:
        super().__init__(problem)
        self.end = end


def parse(text: str) -> Lines:
    """Never raises."""
    found: dict[str, str] = {}
    faults: list[Fault] = []
    at, number = 1 if text.startswith("\ufeff") else 0, 1
    while at < len(text):
        end = _line_end(text, at)
        try:
            pair, end = _entry(text, at, end)
            if pair is not None:
                if pair[0] in found:
                    raise _Wrong("the name stands in the file twice", end)
                found[pair[0]] = pair[1]
        except _Wrong as wrong:
            faults.append(Fault(number, str(wrong)))
            end = wrong.end
        number += text.count("\n", at, end + 1)
        at = end + 1
    try:
        envs.whole(found)
    except ValueError as much:
        faults.append(Fault(number, str(much)))
    return Lines(found, tuple(faults))


def _line_end(text: str, at: int) -> int:
    end = text.find("\n", at)
    return len(text) if end < 0 else end


def _entry(text: str, at: int, end: int) -> tuple[tuple[str, str] | None, int]:
    """One variable, or None for a line that says none; and where its last line ends."""
    line = text[at:end].strip(" \t\r")
    if not line or line.startswith("#"):
        return None, end
    equals = text.find("=", at, end)
    if equals < 0:
        raise _Wrong("is not KEY=VALUE", end)
    name = text[at:equals].strip(" \t")
    if exported := EXPORT.fullmatch(name):
        name = exported[1]
    start = equals + 1
    while start < end and text[start] in " \t":
        start += 1
    raw, end = _value(text, start, end)
    try:
        return (envs.key(name), envs.value(raw)), end
    except ValueError as wrong:
        raise _Wrong(str(wrong), end) from None


def _value(text: str, at: int, end: int) -> tuple[str, int]:
    quote = text[at : at + 1]
    if quote in ("'", '"') and at < end:
        return _quoted(text, at, quote)
    plain = text[at:end].strip(" \t\r")
    if " #" in plain or "\t#" in plain or (plain.startswith("#") and text[at - 1] in " \t"):
        raise _Wrong("a # after a space may be a comment or part of the value: put the value in quotes", end)
    if "\r" in plain:
        raise _Wrong("a carriage return inside a value has to be in quotes", end)
    return plain, end


def _quoted(text: str, at: int, quote: str) -> tuple[str, int]:
    close = text.find("'", at + 1) if quote == "'" else _double_end(text, at + 1)
    if close < 0:
        raise _Wrong("the quote is not closed", len(text))
    end = _line_end(text, close)
    rest = text[close + 1 : end].strip(" \t\r")
    if rest and not rest.startswith("#"):
        raise _Wrong("something stands after the closing quote", end)
    inside = text[at + 1 : close]
    return (inside if quote == "'" else _unescaped(inside)), end


def _double_end(text: str, at: int) -> int:
    """The closing quote, with every pair of a backslash and what it stands before passed over; -1: none."""
    while at < len(text):
        if text[at] == '"':
            return at
        at += 2 if text[at] == "\\" else 1
    return -1


def _unescaped(inside: str) -> str:
    return re.sub(r"\\(.)", lambda pair: ESCAPES.get(pair[1], pair[0]), inside, flags=re.DOTALL)


def line(name: str, value: str) -> str:
    """One variable as a line, or several. Literally wherever that is possible, so that a shell reads the same."""
    if BARE.fullmatch(value):
        return f"{name}={value}"
    if "'" not in value:
        return f"{name}='{value}'"
    text = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\r", "\\r")
    return f'{name}="{text}"'


def render(values: Mapping[str, str], *about: str) -> str:
    """All of them by name, below lines for people."""
    head = [f"# {each}" for each in about]
    return "\n".join([*head, *(line(name, text) for name, text in sorted(values.items()))]) + "\n"
