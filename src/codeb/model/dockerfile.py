"""A Dockerfile as far as a deployment needs to know it: what its last stage exposes, sets, runs and is checked by.

Read as Docker reads it (comments, continued lines, here-documents, stages built on stages, `ARG` and `ENV` put in), never
run. What cannot be told is said with its line, not guessed.
"""

import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field

LONGEST = 4096
"""characters of one instruction; a longer one is not taken apart"""
MOST_STAGES = 100
"""each has a copy of what it is built on, so their number bounds the memory that a text takes"""
INSTRUCTION = re.compile(r"\s*([A-Za-z]+)(?:\s+(.*))?", re.DOTALL)
DIRECTIVE = re.compile(r"#\s*escape\s*=\s*([\\`])\s*", re.IGNORECASE)
HEREDOC = re.compile(r"<<-?\s*[\"']?([A-Za-z_][A-Za-z0-9_]{0,63})[\"']?")
VARIABLE = re.compile(r"\\?\$(?:([A-Za-z_][A-Za-z0-9_]*)|\{([A-Za-z_][A-Za-z0-9_]*)(?::([-+])([^{}]*))?\})")
NAMED = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=.*", re.DOTALL)


@dataclass(frozen=True)
class Instruction:
    line: int
    word: str
    """in capitals"""
    rest: str


@dataclass
class Stage:
    """What a stage amounts to: its own instructions, after those of the stage it is built on."""

    image: str = ""
    """the image that it is built on in the end"""
    env: dict[str, str] = field(default_factory=dict)
    args: dict[str, str] = field(default_factory=dict)
    ports: list[tuple[int, int]] = field(default_factory=list)
    """TCP ports that it exposes, each with its line"""
    entrypoint: tuple[int, list[str]] | None = None
    command: tuple[int, list[str]] | None = None
    check: tuple[int, list[str]] | None = None
    """its HEALTHCHECK"""
    port_line: int = 0
    """where ENV sets PORT; 0: nowhere"""

    def on_top(self) -> "Stage":
        """A stage built on this one: it has all of it but the ARGs, which end with their stage."""
        return Stage(
            self.image, dict(self.env), {}, list(self.ports), self.entrypoint, self.command, self.check, self.port_line
        )  # fmt: skip


@dataclass
class Dockerfile:
    """The last stage, which is the one that is built, and what of it could not be told: line, and why."""

    last: Stage = field(default_factory=Stage)
    stages: int = 0
    unread: list[tuple[int, str]] = field(default_factory=list)


def read(text: str) -> Dockerfile:
    """Any text is one, if only one that says nothing."""
    found, made, outer = Dockerfile(), dict[str, Stage](), dict[str, str]()
    for each in instructions(text):
        if len(each.rest) > LONGEST:
            if each.word in ("ARG", "ENV", "EXPOSE", "CMD", "ENTRYPOINT", "HEALTHCHECK", "FROM"):
                found.unread.append((each.line, f"{each.word} is longer than {LONGEST} characters"))
        elif each.word == "FROM":
            if found.stages == MOST_STAGES:
                found.unread.append((each.line, f"it has more than {MOST_STAGES} stages"))
                break
            found.stages += 1
            found.last = _from(each.rest, made, outer, str(found.stages - 1))
        elif each.word == "ARG" and not found.stages:
            outer |= {name: value for name, value in _pairs(each, outer, found) if value is not None}
        elif found.stages:
            _within(each, found, outer)
    return found


def instructions(text: str) -> Iterator[Instruction]:
    """Instruction by instruction, with the line each begins in; here-documents are their instruction's, and left out."""
    lines = text.removeprefix("\ufeff").splitlines()
    escape, at = "\\", 0
    if lines and (said := DIRECTIVE.fullmatch(lines[0])):
        escape = said[1]
    while at < len(lines):
        begins, parts = at, list[str]()
        while at < len(lines):
            line = lines[at]
            at += 1
            # comments and empty lines may stand between the parts of one instruction
            if line.lstrip().startswith("#") or (parts and not line.strip()):
                if not parts:
                    break
                continue
            bare = line.rstrip()
            parts.append(bare.removesuffix(escape))
            if not bare.endswith(escape):
                break
        said = INSTRUCTION.fullmatch(" ".join(parts).strip())
        if said is None:
            continue
        word, rest = said[1].upper(), said[2] or ""
        if word in ("RUN", "COPY", "ADD"):
            at = _past_heredocs(lines, at, [found[1] for found in HEREDOC.finditer(rest[:LONGEST])])
        yield Instruction(begins + 1, word, rest)


def _past_heredocs(lines: list[str], at: int, ends: list[str]) -> int:
    for end in ends:
        while at < len(lines) and lines[at].strip() != end:
            at += 1
        at += 1
    return at


def _from(rest: str, made: dict[str, Stage], outer: dict[str, str], number: str) -> Stage:
    """`made` learns of it under its number and its name."""
    words = [word for word in rest.split() if not word.startswith("--")]
    image = expanded(words[0], outer) if words else None
    known = made.get((image or "").lower())
    stage = known.on_top() if known else Stage(image=image or "")
    made[number] = stage
    if len(words) == 3 and words[1].lower() == "as":
        made[words[2].lower()] = stage
    return stage


def _within(each: Instruction, found: Dockerfile, outer: dict[str, str]) -> None:
    stage = found.last
    known = {**stage.args, **stage.env}
    match each.word:
        case "ARG":
            for name, value in _pairs(each, known, found):
                if (default := outer.get(name) if value is None else value) is not None:
                    stage.args[name] = default
        case "ENV":
            for name, value in _pairs(each, known, found):
                stage.env[name] = value or ""
                stage.port_line = each.line if name == "PORT" else stage.port_line
        case "EXPOSE":
            _expose(each, known, found)
        case "CMD":
            stage.command = each.line, _words(each, known)
        case "ENTRYPOINT":
            # an ENTRYPOINT does away with the CMD of the image it is built on
            stage.entrypoint, stage.command = (each.line, _words(each, known)), None
        case "HEALTHCHECK":
            _check(each, known, stage)


def _pairs(each: Instruction, known: dict[str, str], found: Dockerfile) -> Iterator[tuple[str, str | None]]:
    """What an ARG or ENV names; None: an ARG without a default."""
    try:
        words = shlex.split(each.rest, posix=True)
    except ValueError:
        found.unread.append((each.line, f"{each.word} has a quote that does not end"))
        return
    if each.word == "ENV" and words and not NAMED.fullmatch(words[0]):
        name, _, value = each.rest.partition(" ")
        words = [f"{name}={value.strip()}"]
    for word in words:
        name, said, value = word.partition("=")
        yield name, (expanded(value, known) or "") if said else None


def expanded(text: str, known: dict[str, str]) -> str | None:
    """With its variables put in; None where one has no value that the file says, and where it grows beyond `LONGEST`."""
    parts, at = list[str](), 0
    for found in VARIABLE.finditer(text):
        parts.append(text[at : found.start()])
        at = found.end()
        if found[0].startswith("\\"):
            parts.append(found[0][1:])
            continue
        value = known.get(found[1] or found[2])
        if found[3] == "+":
            value = found[4] if value else ""
        elif found[3] == "-":
            value = value or found[4]
        if value is None:
            return None
        parts.append(value)
        if sum(map(len, parts)) > LONGEST:
            return None
    return "".join([*parts, text[at:]])


def _expose(each: Instruction, known: dict[str, str], found: Dockerfile) -> None:
    for word in each.rest.split():
        text = expanded(word, known)
        if text is None:
            found.unread.append((each.line, f"EXPOSE {word[:100]} has no value that the file says"))
            continue
        number, _, protocol = text.partition("/")
        if protocol.lower() == "udp":
            continue
        if (port := port_number(number)) is None or protocol.lower() not in ("", "tcp"):
            found.unread.append((each.line, f"EXPOSE {word[:100]} is not one TCP port"))
        else:
            found.last.ports.append((port, each.line))


def port_number(text: str) -> int | None:
    """A TCP port as people write one, or None."""
    good = text.isascii() and text.isdecimal() and len(text) <= 5
    return int(text) if good and 0 < int(text) < 65536 else None


def _words(each: Instruction, known: dict[str, str]) -> list[str]:
    """A command's words, in either form, as far as they can be told; a variable that has no value stays as it is."""
    try:
        said = json.loads(each.rest)
    except (ValueError, RecursionError):
        said = None
    words = [word for word in said if isinstance(word, str)] if isinstance(said, list) else split(each.rest)
    return [word if (full := expanded(word, known)) is None else full for word in words]


def split(text: str) -> list[str]:
    """A line of a shell as words; by blanks alone where its quotes do not end."""
    if len(text) > LONGEST:
        return []
    try:
        return shlex.split(text)
    except ValueError:
        return text.split()


def _check(each: Instruction, known: dict[str, str], stage: Stage) -> None:
    rest = each.rest
    while rest.startswith("--"):
        rest = rest.partition(" ")[2].lstrip()
    word, _, command = rest.partition(" ")
    stage.check = (each.line, _words(Instruction(each.line, "CMD", command.strip()), known)) if word.upper() == "CMD" else None
