"""What a shell command would run, as far as that can be told without running it.

A reader for the grammar that matters here: quotes, separators, redirections, here-documents, substitutions, variables that
are set in the command itself, `cd`. It runs nothing. What it cannot read raises `Unreadable`.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field, replace

import shell_words
from shell_words import UNKNOWN, quoted

DEEPEST = 12
LONGEST = 65_536
RESERVED = frozenset(
    (
        "if",
        "then",
        "elif",
        "else",
        "fi",
        "while",
        "until",
        "do",
        "done",
        "case",
        "esac",
        "{",
        "}",
        "!",
        "time",
        "coproc",
        "function",
    )
)
FROM_OUTSIDE = ("HOME", "CODEB_HOME", "CODEB_CADDY_DIR", "USER", "TMPDIR")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*|[0-9@*#?$!_-]")
_REDIRECT = re.compile(r"[0-9]*(?:<<<|<<-?|<>|<&|>>|>\||>&|<|>)|&>>?")
_HERE_WORD = re.compile(r"""<<-?[ \t]*(?:(['"])([^'"\n]+)\1|\\?([A-Za-z0-9_.-]+))(?<!<<<)""")
_HERE = re.compile(r"[0-9]*<<-?")


class Unreadable(Exception):
    """No shell would run it as it stands, or it is nested or long beyond reason."""


@dataclass
class Run:
    """One program with its arguments, unquoted."""

    words: list[str] = field(default_factory=list)
    writes: list[str] = field(default_factory=list)
    """files that its output goes into"""
    fed: str | None = None
    """what it reads, where the command itself says it"""
    fed_by: Run | None = None
    """the program before it in the pipe"""
    folder: str = ""
    """where it runs"""
    of_file: bool = False
    """whether it stands in a script that was there before: of that only what is plainly wrong counts"""

    @property
    def program(self) -> str:
        """Its name without folder and ending, in small letters."""
        name = self.words[0].rpartition("/")[2].lower() if self.words else ""
        return name[:-4] if name.endswith(".exe") else name

    def inner(self, words: list[str]) -> Run:
        """Another program in its place: what a wrapper such as `sudo` runs."""
        return replace(self, words=words, writes=[])


@dataclass
class Setting:
    """What is known while a command is read: variables and the folder."""

    folder: str
    variables: dict[str, str]
    depth: int = 0

    def deeper(self) -> Setting:
        if self.depth >= DEEPEST:
            raise Unreadable("it is nested too deeply")
        return Setting(self.folder, dict(self.variables), self.depth + 1)


def outside(folder: str) -> Setting:
    """Where a command begins: this folder, and the few variables that name places."""
    return Setting(folder, {name: os.environ[name] for name in FROM_OUTSIDE if name in os.environ} | {"PWD": folder, "IFS": " "})


def read(text: str, setting: Setting) -> list[Run]:
    """Every program that the command would start, those in substitutions too. Raises `Unreadable`."""
    if len(text) > LONGEST:
        raise Unreadable("it is very long")
    return Reader(text, setting).script()


class Reader:
    def __init__(self, text: str, setting: Setting) -> None:
        self.text = text
        self.at = 0
        self.setting = setting
        self.found: list[Run] = []
        self.run = Run()
        self.waiting: list[tuple[Run, str, bool]] = []
        """here-documents whose text begins on the next line: for whom, until which line, taken literally"""

    def script(self) -> list[Run]:
        while self.at < len(self.text):
            self._next()
        self._close()
        return self.found

    def _next(self) -> None:
        rest, char = self.text[self.at : self.at + 3], self.text[self.at]
        if char == "\n":
            self._close()
            self.at += 1
            self._here_documents()
        elif char in " \t\r":
            self.at += 1
        elif rest.startswith("\\\n"):
            self.at += 2
        elif char == "#":
            self.at = self._line_end()
        elif rest[:2] in ("<(", ">("):
            self._argument()
        elif match := _REDIRECT.match(self.text, self.at):
            self.at = match.end()
            self._redirect(match[0].lstrip("0123456789"))
        elif char == "|" and not rest.startswith("||"):
            self.at += 2 if rest.startswith("|&") else 1
            before = self._close()
            self.run.fed_by = before
        elif char in ";&|()":
            self.at += 1
            self._close()
        else:
            self._argument()

    def _close(self) -> Run | None:
        """The end of one program's words."""
        run, self.run = self.run, Run()
        run.folder = self.setting.folder
        if not run.words and not run.writes:
            return None
        self.found.append(run)
        if run.program in ("cd", "pushd"):
            to = next((word for word in run.words[1:] if not word.startswith("-")), self.setting.variables.get("HOME", UNKNOWN))
            self.setting.folder = os.path.normpath(os.path.join(self.setting.folder, to))
        return run

    def _argument(self) -> None:
        raw = self._word()
        if not self.run.words:
            if raw in RESERVED:
                return
            if (said := shell_words.assignment(raw)) is not None:
                self._assign(*said)
                return
        made = shell_words.words(raw)
        self.run.words += made
        first = self.run.words[0] if self.run.words else ""
        if first in ("export", "declare", "typeset", "local", "readonly") and (said := shell_words.assignment(raw)) is not None:
            self._assign(*said)
        elif first in ("for", "select") and len(self.run.words) > 3 and self.run.words[2] == "in":
            # with several values it can be any of them
            self._assign(self.run.words[1], False, made[0] if len(self.run.words) == 4 else UNKNOWN)

    def _assign(self, name: str, added: bool, value: str) -> None:
        self.setting.variables[name] = (self.setting.variables.get(name, UNKNOWN) if added else "") + value

    def _redirect(self, sign: str) -> None:
        while self.text[self.at : self.at + 1] in (" ", "\t"):
            self.at += 1
        here = _HERE.fullmatch(sign) is not None
        began = self.at
        raw = self._word()
        if here:
            literal = any(char in "'\"\\" for char in self.text[began : self.at])
            self.waiting.append((self.run, shell_words.shown(raw), literal))
        elif sign == "<<<":
            self.run.fed = shell_words.value(raw)
        elif ">" in sign and not (sign.endswith("&") and re.fullmatch(r"[0-9]+|-", raw)):
            self.run.writes += shell_words.words(raw)

    def _here_documents(self) -> None:
        for run, end, literal in self.waiting:
            lines = []
            while self.at < len(self.text):
                line = self.text[self.at : self._line_end()]
                self.at += len(line) + 1
                if line.lstrip("\t") == end:
                    break
                lines.append(line)
            body = "\n".join(lines) + "\n"
            run.fed = body if literal else shell_words.shown(self._inside(body))
        self.waiting = []

    def _word(self) -> str:
        """The next word, with what was quoted hidden from the rules for unquoted text."""
        raw = ""
        while self.at < len(self.text):
            rest, char = self.text[self.at : self.at + 3], self.text[self.at]
            if rest[:2] in ("<(", ">("):
                self.at += 2
                raw += self._substitution(")")
            elif char in " \t\r\n;&|()<>":
                break
            else:
                raw += self._piece(rest, char)
        return raw

    def _piece(self, rest: str, char: str) -> str:
        if char == "\\":
            self.at += 2
            return "" if rest[1:2] == "\n" else quoted(rest[1:2])
        if rest.startswith("$'"):
            return quoted(shell_words.escapes(self._until("'", 2, escaping=True)))
        if char == "'":
            return quoted(self._until("'", 1))
        if char == '"' or rest.startswith('$"'):
            return quoted(self._inside(self._until('"', 1 if char == '"' else 2, escaping=True, nested=True)))
        if char in "$`":
            return self._filled_in()
        self.at += 1
        return char

    def _until(self, end: str, skip: int, *, escaping: bool = False, nested: bool = False) -> str:
        """The text up to this sign, which is passed; a `$(…)` in between may hold the sign itself."""
        self.at += skip
        began = self.at
        while self.at < len(self.text):
            char = self.text[self.at]
            if escaping and char == "\\":
                self.at += 2
            elif nested and self.text.startswith("$(", self.at):
                self.at += 2
                self._matching(")")
            elif char == end:
                self.at += 1
                return self.text[began : self.at - 1]
            else:
                self.at += 1
        raise Unreadable(f"a {end} is never closed")

    def _inside(self, body: str) -> str:
        r"""What is between double quotes, or in a here-document: `$` and `` ` `` count, `\` before few signs."""
        inner, made = Reader(body, self.setting), ""
        inner.found = self.found
        while inner.at < len(body):
            char = body[inner.at]
            if char == "\\" and body[inner.at + 1 : inner.at + 2] in ("$", "`", '"', "\\", "\n"):
                made += body[inner.at + 1].replace("\n", "")
                inner.at += 2
            elif char in "$`":
                made += inner._filled_in()
            else:
                made += char
                inner.at += 1
        return made

    def _filled_in(self) -> str:
        """What stands where a `$` or a backtick begins."""
        rest = self.text[self.at : self.at + 3]
        if rest.startswith("$(("):
            self.at += 3
            self._matching("))")
            return UNKNOWN
        if rest.startswith("$("):
            self.at += 2
            return self._substitution(")")
        if rest.startswith("`"):
            script = self._until("`", 1, escaping=True)
            self._run_also(script.replace("\\`", "`"))
            return UNKNOWN
        if rest.startswith("${"):
            self.at += 2
            return self._in_braces(self._matching("}"))
        self.at += 1
        match = _NAME.match(self.text, self.at)
        if match is None:
            return "$"
        self.at = match.end()
        return self.setting.variables.get(match[0], UNKNOWN)

    def _in_braces(self, said: str) -> str:
        match = re.fullmatch(r"([A-Za-z_][A-Za-z0-9_]*)(?:(:?[-=+?])(.*))?", said, re.DOTALL)
        if match is None:
            return UNKNOWN
        known, sign, other = self.setting.variables.get(match[1]), match[2] or "", match[3] or ""
        if not sign or (known and "+" not in sign):
            return UNKNOWN if known is None else known
        return self._inside(other) if sign in (":-", "-", ":=", "=") else UNKNOWN

    def _substitution(self, end: str) -> str:
        self._run_also(self._matching(end))
        return UNKNOWN

    def _run_also(self, script: str) -> None:
        self.found += read(script, self.setting.deeper())

    def _matching(self, end: str) -> str:
        """The text up to the bracket that closes this one; what a here-document in it holds does not count."""
        began, level, opening = self.at, 1, {")": "(", "}": "{", "))": "(("}[end]
        here: list[str] = []
        while self.at < len(self.text):
            char = self.text[self.at]
            if char == "\\":
                self.at += 2
            elif end == ")" and (match := _HERE_WORD.match(self.text, self.at)):
                self.at = match.end()
                here.append(match[2] or match[3])
            elif char == "\n" and here:
                self._skip_documents(here)
            elif char in "'\"":
                self._until(char, 1, escaping=char == '"', nested=char == '"')
            elif self.text.startswith(end, self.at) or self.text.startswith(opening, self.at):
                closes = self.text.startswith(end, self.at)
                level += -1 if closes else 1
                self.at += len(end)
                if level == 0:
                    return self.text[began : self.at - len(end)]
            else:
                self.at += 1
        raise Unreadable(f"a {opening} is never closed")

    def _line_end(self) -> int:
        found = self.text.find("\n", self.at)
        return len(self.text) if found < 0 else found

    def _skip_documents(self, ends: list[str]) -> None:
        self.at += 1
        while ends and self.at < len(self.text):
            line = self.text[self.at : self._line_end()]
            if line.lstrip("\t") == ends[0]:
                ends.pop(0)
                # the line break after the last one is the command's again
                self.at += len(line) + (1 if ends else 0)
            else:
                self.at += len(line) + 1
