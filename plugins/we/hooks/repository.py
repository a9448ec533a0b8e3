"""The repository that a file or folder is in: its root, its branch, and the project that its codeb.toml names."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

_NAMED = re.compile(r"""\s*project\s*=\s*(["'])([A-Za-z0-9_-]{1,60})\1\s*(?:#.*)?""")
WORKFLOWS = ".github/workflows"


@dataclass(frozen=True)
class Repository:
    root: Path
    project: str | None
    branch: str | None


def around(path: Path) -> Repository | None:
    """None outside any repository."""
    for folder in (path, *path.parents):
        if (folder / ".git").exists():
            return Repository(folder, _project(path, folder), _branch(folder / ".git"))
    return None


def _project(start: Path, root: Path) -> str | None:
    for folder in (start, *start.parents):
        file = folder / "codeb.toml"
        if file.is_file():
            for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
                if line.lstrip().startswith("["):
                    break
                if match := _NAMED.fullmatch(line):
                    return match[2]
            return None
        if folder == root:
            break
    return None


def _branch(git: Path) -> str | None:
    """What is checked out; None when it is a commit."""
    if git.is_file():
        # a worktree of its own
        git = (git.parent / git.read_text(encoding="utf-8").partition(":")[2].strip()).resolve()
    head = (git / "HEAD").read_text(encoding="utf-8").strip()
    return head.partition("refs/heads/")[2] or None
