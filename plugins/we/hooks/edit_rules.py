"""Edits of files: not of those that CodeB writes itself, and not of those that another task has locked."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import codeb_server
import places
import repository
from verdict import Verdict, ask, deny


def judge(path: str, folder: str) -> Verdict | None:
    """May this file be edited?"""
    full = places.whole(path, folder)
    own = os.environ.get("CLAUDE_PLUGIN_ROOT")
    if own and full.startswith(os.path.realpath(own) + "/"):
        return ask("That file is a part of the guards of CodeB's plugin. Is it to be changed?")
    return places.written(path, folder) or locked(Path(full))


def locked(path: Path) -> Verdict | None:
    """Whether another task has it. Only asked about in a repository whose codeb.toml names a project."""
    found = repository.around(path.parent)
    if found is None or found.project is None:
        return None
    name = path.relative_to(found.root).as_posix()
    if ".git" in path.relative_to(found.root).parts:
        return None
    params: dict[str, Any] = {"projectName": found.project, "paths": [name]}
    if found.branch is not None:
        params["branch"] = found.branch
    try:
        said = codeb_server.ask_tool("task_check", params)
    except codeb_server.NoAnswer as fault:
        if fault.code == "project_not_found":
            # not set up yet: nobody can have locked anything
            return None
        return ask(f"Whether another task has locked {name} is not known: {fault} Edit it all the same?")
    held = [each for each in said.get("locked", []) if isinstance(each, dict)]
    if not held:
        return None
    # what others wrote is shown as words of theirs, short and on one line
    task, branch, author = (_word(held[0].get(key)) for key in ("taskId", "branch", "author"))
    return deny(
        f"{name} is locked by task {task} (branch {branch}, {author}). Work on something else, or ask {author}; "
        "task_check shows until when, task_get what it is."
    )


def _word(value: Any) -> str:
    text = "".join(char for char in str(value) if char.isprintable())
    return text if len(text) <= 80 else text[:79] + "…"
