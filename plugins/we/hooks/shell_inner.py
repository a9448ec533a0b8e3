"""Programs that run another one (`sudo`, `env`, `xargs`, `sh -c`, `ssh`, `docker exec`, `python -c`): that is looked at too."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Iterator

import places
import shell_text
import shell_words
from shell_text import Run, Setting
from shell_words import UNKNOWN
from verdict import Verdict, ask

# Wrappers, with the options whose value is the next word. What follows the options is the program.
WRAPPERS = {
    "sudo": "-u -g -h -p -C -r -t -T -U -D -R --user --group --host --chdir --chroot",
    "doas": "-u -C",
    "env": "-u -C --unset --chdir",
    "nice": "-n --adjustment",
    "ionice": "-c -n -p --class --classdata",
    "nohup": "",
    "uv": "",
    "poetry": "",
    "pipenv": "",
    "hatch": "",
    "setsid": "",
    "time": "-f -o",
    "stdbuf": "-i -o -e",
    "timeout": "-s -k --signal --kill-after",
    "xargs": "-I -n -P -d -L -s -a -E --max-args --max-procs --delimiter --arg-file",
    "exec": "-a",
    "command": "",
    "builtin": "",
    "busybox": "",
    "toybox": "",
    "chroot": "--userspec --groups",
    "unshare": "",
    "nsenter": "-t",
    "strace": "-e -o -p -s -u",
    "watch": "-n --interval",
    "flock": "-w -E --timeout",
    "parallel": "-j -a --jobs",
    "caffeinate": "-t -w",
    "runuser": "-u -g -G",
    "proot": "-r -b -w",
    "chrt": "-p",
    "taskset": "",
    "systemd-run": "-p -u --unit --property",
    "dumb-init": "",
    "tini": "",
    "gosu": "",
    "setpriv": "",
    "cgexec": "-g",
    "prlimit": "",
    "trap": "",
    "entr": "",
    "then": "",
    "else": "",
    "do": "",
}
TAKES_FIRST = {
    "uv": 1,
    "poetry": 1,
    "pipenv": 1,
    "hatch": 1,
    "timeout": 1,
    "chroot": 1,
    "flock": 1,
    "taskset": 1,
    "gosu": 1,
    "chrt": 1,
}
"""how many words stand before the program"""
SHELLS = frozenset(("sh", "bash", "dash", "zsh", "ksh", "mksh", "ash", "fish", "rbash"))
INTERPRETERS = re.compile(r"python[0-9.]*|pypy[0-9.]*|perl|ruby|node|nodejs|deno|bun|php|lua|awk|gawk|mawk|osascript")
JOINED = {"su": ("-c", "--command"), "script": ("-c", "--command"), "runuser": ("-c", "--command"), "flock": ("-c", "--command")}
LISTENS = frozenset(("sudo", "su", "at", "batch"))
"""with nothing but options they run what they read"""
SSH_VALUES = frozenset("-b -c -D -E -e -F -I -i -J -L -l -m -O -o -p -Q -R -S -W -w".split())
CONTAINERS = frozenset(("docker", "podman", "nerdctl", "docker-compose", "podman-compose", "kubectl"))
SHELL_SCRIPT = re.compile(rb"#!\s*\S*?(?:/env\s+)?(?:\S*/)?(?:sh|bash|dash|zsh|ksh)\b")
TOKEN = re.compile(r"[^\s'\"\[\](){},;+`]+")
MOST_TOKENS = 4_000
MOST_RUNS = 2_000


@dataclass(frozen=True)
class Code:
    """A program in another language: not read, but its words are looked at, in their order."""

    tokens: tuple[str, ...]
    run: Run


def every(text: str, setting: Setting) -> Iterator[Run | Code | Verdict]:
    """Every program the command runs, wrappers and what they wrap. Raises `Unreadable`."""
    files: dict[str, str] = {}
    waiting: list[tuple[Run, int]] = [(run, 0) for run in shell_text.read(text, setting)]
    for count in range(MOST_RUNS):
        if count >= len(waiting):
            return
        run, depth = waiting[count]
        yield run
        if run.writes and (said := written_by(run)) is not None:
            files.update({places.whole(path, run.folder): said for path in run.writes})
        if depth > shell_text.DEEPEST:
            raise shell_text.Unreadable("it is nested too deeply")
        for inner in (*_inside(run, setting), *_script_of(run, setting, files)):
            if isinstance(inner, Run):
                inner.of_file = inner.of_file or run.of_file
                waiting.append((inner, depth + 1))
            elif not run.of_file:
                yield inner
    raise shell_text.Unreadable("it starts very many programs")


def _inside(run: Run, setting: Setting) -> Iterator[Run | Code | Verdict]:
    program, rest = run.program, run.words[1:]
    if program in WRAPPERS:
        yield from _wrapped(run, program, setting)
    if program in LISTENS and not any(word[:1] != "-" for word in rest if word not in ("root", "now")):
        yield from _scripts(run.fed if run.fed is not None else written_by(run.fed_by), run, setting)
    if program in JOINED:
        yield from _scripts(_value_of(rest, JOINED[program]), run, setting)
    if program in SHELLS:
        yield from _shell(run, setting)
    elif program == "eval":
        yield from _scripts(" ".join(rest), run, setting)
    elif program == "ssh":
        yield from _ssh(run, setting)
    elif program == "find":
        yield from _find(run)
    elif program in CONTAINERS:
        yield from _in_container(run)
    elif INTERPRETERS.fullmatch(program):
        yield from _code(run)
    elif program == shell_words.UNKNOWN and len(rest) > 1:
        # a program that only the shell knows: what stands after it tells enough
        yield run.inner(["docker", *rest])


def _script_of(run: Run, setting: Setting, files: dict[str, str]) -> list[Run]:
    """The file that a shell runs, or that is a program itself: written in this very command, or there already."""
    words = [word for word in run.words[1:] if word[:1] not in ("-", "+")]
    if run.program in SHELLS or run.program in ("source", "."):
        name = words[0] if words else ""
    else:
        name = run.words[0] if run.words and "/" in run.words[0] else ""
    if not name or shell_words.unsure(name):
        return []
    path = places.whole(name, run.folder)
    if path in files:
        return list(_scripts(files[path], run, setting))
    try:
        with open(path, "rb") as file:
            raw = file.read(shell_text.LONGEST)
        if run.program not in SHELLS and not SHELL_SCRIPT.match(raw):
            return []
        found = list(_scripts(raw.decode("utf-8", "replace"), run, setting))
    except (OSError, ValueError, shell_text.Unreadable):
        return []
    for each in found:
        each.of_file = True
    return found


def _scripts(text: str | None, run: Run, setting: Setting) -> Iterator[Run]:
    if text:
        yield from shell_text.read(
            text, Setting(run.folder or setting.folder, dict(setting.variables), setting.depth + 1).deeper()
        )


def _wrapped(run: Run, program: str, setting: Setting) -> Iterator[Run]:
    with_value, rest = WRAPPERS[program].split(), run.words[1:]
    skip = TAKES_FIRST.get(program, 0)
    while rest:
        word = rest[0]
        if program == "env" and word in ("-S", "--split-string") and len(rest) > 1:
            yield from _scripts(" ".join(rest[1:]), run, setting)
            return
        if word.startswith("-") and len(word) > 1:
            rest = rest[2:] if word in with_value else rest[1:]
        elif shell_words.assignment(word) is not None:
            rest = rest[1:]
        elif skip:
            skip, rest = skip - 1, rest[1:]
        else:
            break
    if not rest:
        return
    if program in ("watch", "parallel", "trap"):
        yield from _scripts(" ".join(rest), run, setting)
    if program in ("xargs", "parallel"):
        said = written_by(run.fed_by)
        rest = [UNKNOWN if "{}" in word else word for word in rest] + (said.split() if said is not None else [UNKNOWN])
    yield run.inner(rest)


def _value_of(rest: list[str], names: tuple[str, ...]) -> str | None:
    for at, word in enumerate(rest):
        if word in names or ("-c" in names and re.fullmatch(r"-[a-z]*c", word)):
            return rest[at + 1] if at + 1 < len(rest) else None
        if word.startswith("--") and word.partition("=")[0] in names:
            return word.partition("=")[2]
    return None


def written_by(run: Run | None) -> str | None:
    """What a program writes into the pipe, where the command itself says it."""
    if run is None:
        return None
    if run.program == "cat" and run.fed is not None:
        return run.fed
    if run.program in ("echo", "printf"):
        text = " ".join(word for word in run.words[1:] if word not in ("-e", "-n", "-en", "-ne", "%s", "%s\\n", "--"))
        return shell_words.escapes(text)
    return None


def _shell(run: Run, setting: Setting) -> Iterator[Run | Verdict]:
    rest = list(run.words[1:])
    while rest and rest[0][:1] in ("-", "+") and len(rest[0]) > 1:
        word = rest.pop(0)
        if word[0] == "-" and not word.startswith("--") and "c" in word:
            if rest and rest[0].strip(UNKNOWN + " ") == "":
                yield ask("A shell is given a text that cannot be seen from here. Say the command itself.")
            for each in rest:
                # which of them is the script depends on the options before it
                yield from _scripts(each, run, setting)
            return
        if word[-1:] in ("o", "O") or word in ("--rcfile", "--init-file"):
            rest = rest[1:]
    if rest and rest[0] not in ("-", "/dev/stdin"):
        return
    fed = run.fed if run.fed is not None else written_by(run.fed_by)
    yield from _scripts(fed, run, setting)
    if fed is None and run.fed_by is not None:
        yield ask(
            f"`{run.program}` runs what another program writes, which cannot be seen from here. "
            "Look at it first, then run it as a file."
        )


def _ssh(run: Run, setting: Setting) -> Iterator[Run]:
    rest = run.words[1:]
    while rest and rest[0].startswith("-"):
        rest = rest[2:] if rest[0] in SSH_VALUES else rest[1:]
    text = " ".join(rest[1:]) if len(rest) > 1 else run.fed if run.fed is not None else written_by(run.fed_by)
    yield from _scripts(text, run, setting)


def _find(run: Run) -> Iterator[Run]:
    words = run.words
    for at, word in enumerate(words):
        if word in ("-exec", "-execdir", "-ok", "-okdir"):
            end = next((to for to in range(at + 1, len(words)) if words[to] in (";", "+")), len(words))
            # what it finds is at least below the places it looks in
            places = [each for each in words[1:at] if not each.startswith(("-", "("))][:1] or ["."]
            yield run.inner([f"{places[0]}/{UNKNOWN}" if "{}" in each else each for each in words[at + 1 : end]])


def _in_container(run: Run) -> Iterator[Run]:
    """The command after `exec` or `run`: where it begins depends on options, so the first program that is known counts."""
    for verb in ("exec", "run"):
        if verb in run.words[1:]:
            rest = run.words[run.words.index(verb) + 1 :]
            for at, word in enumerate(rest):
                name = word.rpartition("/")[2]
                if at and (name in SHELLS or name in WRAPPERS or INTERPRETERS.fullmatch(name) or name in KNOWN_INSIDE):
                    yield run.inner(rest[at:])
                    return


KNOWN_INSIDE = CONTAINERS | frozenset(("psql", "dropdb", "redis-cli", "caddy", "kill", "pkill", "mysql"))


def _code(run: Run) -> Iterator[Code]:
    texts = [run.fed or written_by(run.fed_by) or ""]
    for at, word in enumerate(run.words[1:], 1):
        if re.fullmatch(r"-[A-Za-z]*[cerE]|--eval|--print|-p", word) and at + 1 < len(run.words):
            texts.append(run.words[at + 1])
    if run.program.endswith("awk"):
        texts += run.words[1:]
    for text in texts:
        tokens = tuple(shell_words.escapes(each) if "\\x" in each else each for each in TOKEN.findall(text)[:MOST_TOKENS])
        if tokens:
            yield Code(tokens, run)
