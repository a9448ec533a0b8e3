"""A source tree as the folder shows it: the names of its files, and the text of the few that tell what it is.

Reading is bounded, nothing outside the folder is read, whatever a link says, and nothing in it is run.
"""

import json
import os
import stat
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from codeb.model import grammar, source

NOT_OURS = frozenset({
    ".git", ".hg", ".svn", "node_modules", "vendor", ".venv", "venv", "__pycache__", ".next", ".nuxt", "dist", "build", "target",
    ".tox", ".mypy_cache", ".ruff_cache", ".pytest_cache", ".cache", ".idea", ".vscode", "coverage", "site-packages",
})  # fmt: skip
"""folders of what others made, or what is made anew"""
DEEPEST = 6
MOST_LOOKED_AT = 20_000
"""entries of folders, whatever they are"""
WHOLE = (".json", ".toml", "Pipfile")
"""what is nothing unless it is read to its end"""


@dataclass
class Taken:
    """Every file by its path, with its text where that was read; and what could not be."""

    files: dict[str, str | None] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)


def taken(root: Path) -> Taken:
    """Raises `OSError` for a folder that cannot be listed."""
    root, found = root.resolve(strict=True), Taken()
    for path in _paths(root, found):
        found.files[path] = None
    left = source.MOST_OF_A_TREE
    # what tells the most first, in case there is too much
    for path in sorted(filter(source.tells, found.files), key=lambda each: (each not in source.TELLING, each)):
        text = _text(root, path, found)
        # what is not ASCII is longer on its way
        size = len(json.dumps(text)) if text is not None else 0
        if size > left:
            found.warnings.append(f"{path} was not read: there is too much to read.")
        elif text is not None:
            found.files[path], left = text, left - size
    return found


def _paths(root: Path, found: Taken) -> Iterator[str]:
    """The root's files first, then level by level, as far as there may be some."""
    folders, looked, given = deque([""]), 0, 0
    while folders:
        above = folders.popleft()
        try:
            entries = sorted(os.scandir(root / above), key=lambda each: each.name)
        except OSError as fault:
            if not above:
                raise
            found.warnings.append(f"{above} cannot be listed: {fault.strerror}.")
            continue
        for entry in entries:
            looked += 1
            path = f"{above}{entry.name}"
            if entry.is_dir(follow_symlinks=False):
                if entry.name not in NOT_OURS and path.count("/") < DEEPEST:
                    folders.append(f"{path}/")
            elif _sound(path):
                given += 1
                yield path
            if given >= source.MOST_FILES or looked >= MOST_LOOKED_AT:
                found.warnings.append(f"Only the first {given} files were looked at.")
                return


def _sound(path: str) -> bool:
    """Whether it is written as paths of what we know are; others tell nothing."""
    try:
        grammar.tree_path(path)
    except ValueError:
        return False
    return True


def _text(root: Path, path: str, found: Taken) -> str | None:
    most = source.MOST_OF_A_FILE
    try:
        real = (root / path).resolve(strict=True)
        if not real.is_relative_to(root):
            found.warnings.append(f"{path} leads out of the folder, and was not read.")
            return None
        # a pipe is not waited for
        handle = os.open(real, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(handle, "rb") as file:
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                found.warnings.append(f"{path} is no plain file, and was not read.")
                return None
            raw = file.read(most + 1)
    except (OSError, RuntimeError) as fault:
        found.warnings.append(f"{path} cannot be read: {getattr(fault, 'strerror', None) or 'its links lead nowhere'}.")
        return None
    if len(raw) > most:
        whole = path.endswith(WHOLE)
        what = "was not read" if whole else "only its beginning was read"
        found.warnings.append(f"{path} is longer than {most // 1024} KiB; {what}.")
        if whole:
            return None
    text = raw[:most].decode("utf-8", errors="replace")
    if "\ufffd" in text and len(raw) <= most:
        found.warnings.append(f"{path} is not all UTF-8; what is not was left out.")
    return text
