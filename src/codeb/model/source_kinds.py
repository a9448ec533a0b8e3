"""What kind of application a source tree holds, and where its kind listens, by the files each kind is known by."""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from codeb.model import toml_text

REQUIREMENT = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]{0,99})[^A-Za-z0-9._-]?.*", re.DOTALL)
MODULE = re.compile(r"module\s+\"?([A-Za-z0-9._~/-]{1,200})\"?\s*(?://.*)?")
MAJOR = re.compile(r"v[0-9]{1,4}")

PYTHON_PORTS = {
    "uvicorn": 8000, "gunicorn": 8000, "hypercorn": 8000, "daphne": 8000, "granian": 8000, "fastapi": 8000, "django": 8000,
    "streamlit": 8501, "flask": 5000,
}  # fmt: skip
"""where what is installed listens unless it is told otherwise; the first that is there"""
GO_PORT = 8080
NODE_PORT = 3000


@dataclass
class Kinds:
    """What the files say, each with where it stands: (value, where)."""

    types: list[tuple[str, str]] = field(default_factory=list)
    """the likeliest first"""
    names: list[tuple[str, str]] = field(default_factory=list)
    """what it calls itself, in its own grammar"""
    ports: list[tuple[int, str]] = field(default_factory=list)
    """where its kind listens unless told otherwise"""
    start: tuple[str, str] | None = None
    """the command that package.json starts it by"""
    unread: list[tuple[str, str]] = field(default_factory=list)
    """(where, why)"""


def kinds(texts: Mapping[str, str | None]) -> Kinds:
    """`texts`: by path; None for a file that is there and was not read."""
    found = Kinds()
    _node(found, texts)
    _go(found, texts)
    _python(found, texts)
    # a package.json that starts nothing is often there for the sake of style sheets alone
    if found.start is None and len(found.types) > 1 and found.types[0][0] == "nodejs":
        found.types.append(found.types.pop(0))
        found.ports.append(found.ports.pop(0))
    return found


def _node(found: Kinds, texts: Mapping[str, str | None]) -> None:
    path = "package.json"
    if path not in texts:
        return
    said = _json(found, path, texts[path])
    depends = {*_keys(said.get("dependencies")), *_keys(said.get("devDependencies"))}
    remix = next((name for name in sorted(depends) if name.startswith("@remix-run/")), None)
    if "next" in depends or (config := _first(texts, "next.config.js", "next.config.mjs", "next.config.ts")):
        found.types.append(("nextjs", f"{path}: next" if "next" in depends else config))
    elif remix or (config := _first(texts, "remix.config.js", "remix.config.mjs")):
        found.types.append(("remix", f"{path}: {remix}" if remix else config))
    else:
        found.types.append(("nodejs", path))
    found.ports.append((NODE_PORT, f"where {found.types[-1][0]} listens unless told otherwise"))
    if isinstance(name := said.get("name"), str):
        found.names.append((name, f"{path}: name"))
    scripts = said.get("scripts")
    if isinstance(scripts, dict) and isinstance(start := scripts.get("start"), str):
        found.start = start, f"{path}: scripts.start"


def _go(found: Kinds, texts: Mapping[str, str | None]) -> None:
    if "go.mod" not in texts:
        return
    found.types.append(("go", "go.mod"))
    found.ports.append((GO_PORT, "where servers in Go listen by custom"))
    for line in (texts["go.mod"] or "").removeprefix("\ufeff").splitlines():
        if said := MODULE.fullmatch(line.strip()):
            parts = said[1].split("/")
            name = parts[-2] if len(parts) > 1 and MAJOR.fullmatch(parts[-1]) else parts[-1]
            found.names.append((name, "go.mod: module"))
            return


def _python(found: Kinds, texts: Mapping[str, str | None]) -> None:
    where = _first(texts, "pyproject.toml", "requirements.txt", "Pipfile", "manage.py", "setup.py")
    if not where:
        return
    found.types.append(("python", where))
    said = _toml(found, "pyproject.toml", texts["pyproject.toml"]) if "pyproject.toml" in texts else {}
    project, tool = _table(said, "project"), _table(_table(said, "tool"), "poetry")
    for table, at in ((project, "project.name"), (tool, "tool.poetry.name")):
        if isinstance(name := table.get("name"), str):
            found.names.append((name, f"pyproject.toml: {at}"))
    listed = project.get("dependencies")
    depends = {*_required(listed if isinstance(listed, list) else ()), *map(str.lower, _keys(tool.get("dependencies")))}
    depends |= _required((texts.get("requirements.txt") or "").removeprefix("\ufeff").splitlines())
    pipfile = _toml(found, "Pipfile", texts["Pipfile"]) if "Pipfile" in texts else {}
    depends |= {name.lower() for name in _keys(pipfile.get("packages"))}
    port, why = next(((port, name) for name, port in PYTHON_PORTS.items() if name in depends), (8000, "python"))
    found.ports.append((port, f"where {why} listens unless told otherwise"))


def _required(lines: Iterable[Any]) -> set[str]:
    """The names in a list of requirements; comments, options and links are none."""
    texts = [line.strip() for line in lines if isinstance(line, str) and len(line) <= 1000]
    return {said[1].lower() for text in texts if (said := REQUIREMENT.fullmatch(text))}


def _first(texts: Mapping[str, str | None], *names: str) -> str:
    return next((name for name in names if name in texts), "")


def _keys(value: Any) -> list[str]:
    return [str(key) for key in value] if isinstance(value, dict) else []


def _table(value: Mapping[str, Any], name: str) -> dict[str, Any]:
    found = value.get(name)
    return found if isinstance(found, dict) else {}


def _json(found: Kinds, path: str, text: str | None) -> dict[str, Any]:
    if text is None:
        return {}
    try:
        said = json.loads(text.removeprefix("\ufeff"))
    except RecursionError:
        found.unread.append((path, "is nested too deeply"))
        return {}
    except ValueError as fault:
        found.unread.append((path, f"is not JSON: {fault}"))
        return {}
    if not isinstance(said, dict):
        found.unread.append((path, "is JSON, but not an object"))
        return {}
    return said


def _toml(found: Kinds, path: str, text: str | None) -> dict[str, Any]:
    if text is None:
        return {}
    try:
        return toml_text.parsed(text)
    except ValueError as fault:
        found.unread.append((path, f"is not TOML: {fault}"))
    return {}
