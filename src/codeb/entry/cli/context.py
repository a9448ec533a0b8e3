"""A source tree as a build gets it: the files that `.dockerignore` leaves, as Docker reads it, packed into one archive."""

import functools
import os
import re
import stat
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

IGNORE = ".dockerignore"
ALWAYS = ("Dockerfile", IGNORE)
"""sent whatever is ignored: the Engine itself reads them"""


@dataclass(frozen=True)
class Pattern:
    text: str
    brings_back: bool

    def matches(self, path: str) -> bool:
        """The path itself, or one of the folders it is in."""
        found = _expression(self.text)
        parts = path.split("/")
        return any(found.fullmatch("/".join(parts[:at])) for at in range(len(parts), 0, -1))


def patterns(text: str) -> list[Pattern]:
    """The lines of a `.dockerignore`. Raises `ValueError` naming one that is no pattern."""
    found = []
    for number, line in enumerate(text.removeprefix("\ufeff").splitlines()):
        word = "" if line.startswith("#") else line.strip()
        brings_back = word.startswith("!")
        word = word.removeprefix("!").strip() if brings_back else word
        if not word:
            continue
        clean = os.path.normpath(word).lstrip("/") or "."
        try:
            _expression(clean)
        except re.error as fault:
            raise ValueError(f"line {number + 1} of {IGNORE} is no pattern: {line.strip()!r} ({fault})") from None
        found.append(Pattern(clean, brings_back))
    return found


def ignored(path: str, these: Sequence[Pattern]) -> bool:
    """The last pattern that matches decides."""
    out = False
    for each in these:
        if each.brings_back is out and each.matches(path):
            out = not each.brings_back
    return out


@functools.cache
def _expression(pattern: str) -> re.Pattern[str]:
    """`*` within a folder, `**` through folders, `?` one character, `[…]` one of these, `\\` before what is meant."""
    built, at = "", 0
    while at < len(pattern):
        char = pattern[at]
        at += 1
        if char == "*" and pattern[at : at + 1] == "*":
            at += 1
            at += pattern[at : at + 1] == "/"
            built += "(?:.*/)?" if at < len(pattern) else ".*"
        elif char == "[" and "]" in pattern[at + 1 :]:
            end = pattern.index("]", at + 1)
            inner = pattern[at:end].replace("\\", "\\\\")
            built += f"[{'^' + inner[1:] if inner[0] in '^!' else inner}]"
            at = end + 1
        elif char == "\\" and at < len(pattern):
            built += re.escape(pattern[at])
            at += 1
        else:
            built += {"*": "[^/]*", "?": "[^/]"}.get(char, re.escape(char))
    return re.compile(built, re.DOTALL)


def files(tree: Path) -> Iterator[tuple[str, Path]]:
    """What is sent, sorted: folders, files and links as they are, never followed. Raises `ValueError` as `patterns` does."""
    file = tree / IGNORE
    these = patterns(file.read_text(encoding="utf-8")) if file.is_file() else []
    yield from _below(tree, "", these, any(each.brings_back for each in these))


def _below(folder: Path, above: str, these: Sequence[Pattern], some_come_back: bool) -> Iterator[tuple[str, Path]]:
    with os.scandir(folder) as found:
        entries = sorted(found, key=lambda each: each.name)
    for entry in entries:
        path = f"{above}{entry.name}"
        out, is_folder = path not in ALWAYS and ignored(path, these), entry.is_dir(follow_symlinks=False)
        if not out:
            yield path, Path(entry.path)
        if is_folder and (not out or some_come_back):
            yield from _below(Path(entry.path), f"{path}/", these, some_come_back)


def pack(tree: Path, into: IO[bytes]) -> tuple[int, int]:
    """The archive of a tree; gives how many entries it has, and its bytes. Everything in it is root's, as with `docker build`."""
    count = 0
    with tarfile.open(fileobj=into, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, path in files(tree):
            mode = path.lstat().st_mode
            if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode) or stat.S_ISLNK(mode)):
                continue
            info = archive.gettarinfo(path, name)
            # two names of one file are two files to whoever unpacks a part
            if stat.S_ISREG(mode):
                info.type, info.linkname, info.size = tarfile.REGTYPE, "", path.stat().st_size
            info.uid = info.gid = 0
            info.uname = info.gname = ""
            if info.isreg():
                with path.open("rb") as source:
                    archive.addfile(info, source)
            else:
                archive.addfile(info)
            count += 1
    return count, into.tell()
