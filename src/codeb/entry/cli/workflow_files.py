"""`we workflow init`: files that the server made, written into the repository, never over what somebody changed."""

import difflib
import os
import re
import shlex
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from codeb.entry.cli import exits, show
from codeb.entry.cli.options import params_of, text_of
from codeb.entry.cli.session import Session
from codeb.entry.cli.surface import ToolView
from codeb.model import workflow

PLACE = re.compile(r"\.github/workflows/[a-z0-9-]{1,100}\.yml")
MOST_BYTES = 2**20


@dataclass(frozen=True)
class _File:
    path: Path
    text: str
    before: str | None
    """what stands there now; None: nothing"""

    @property
    def changed(self) -> bool:
        """Whether what stands there is somebody's own work."""
        return self.before is not None and self.before != self.text and not workflow.untouched(self.before)


def init(
    session: Session, tool: ToolView, tree: Path, given: dict[str, Any], *, as_json: bool, dry: bool, force: bool
) -> int:  # fmt: skip
    """Raises `UsageError`."""
    session.tree = tree
    root = _root(tree)
    params = params_of(session, tool, given, positional=False)
    if tree != root:
        params.setdefault("context", tree.relative_to(root).as_posix())
    if session.client.where.url != workflow.SERVER:
        params.setdefault("serverUrl", session.client.where.url)
    answer = session.ask(tool.name, params)
    if as_json:
        return session.raw(answer)
    if not answer.ok:
        return session.failed(answer)
    found = [_found(root, str(each["path"]), str(each["content"])) for each in answer.body["files"]]
    own = [each for each in found if each.changed]
    if own and not force and not dry:
        return _kept(own)
    for each in found:
        _put(each, dry=dry)
    _tell(answer.body, params, tree)
    return exits.OK


def _root(tree: Path) -> Path:
    """Of the repository that the folder is in; the folder itself where it is in none."""
    return next((each for each in (tree, *tree.parents) if (each / ".git").exists()), tree)


def _found(root: Path, name: str, text: str) -> _File:
    """Only into the folder of workflows, and not through a link out of it. Raises `UsageError`."""
    if not PLACE.fullmatch(name):
        raise click.UsageError(f"The server names a file that is no workflow: {show.harmless(name)[:200]}. Nothing was written.")
    path = root / name
    for each in (*reversed(path.relative_to(root).parents[:-1]), path.relative_to(root)):
        there = root / each
        wrong = there.is_symlink() or (there.exists() and there.is_dir() == (there == path))
        if wrong:
            raise click.UsageError(f"{there} is not a plain {'file' if there == path else 'folder'}. Nothing was written.")
    return _File(path, text, text_of(str(path), MOST_BYTES) if path.exists() else None)


def _kept(own: list[_File]) -> int:
    for each in own:
        show.err(click.style(f"✗ {each.path} was changed by somebody; nothing was written.", fg="red"))
        for line in _difference(each):
            show.err(f"    {line}")
    show.err("  With --force they are written over; --dry-run shows what with.")
    return exits.FAILED


def _difference(file: _File) -> Iterator[str]:
    """What would change, without what stays."""
    for line in difflib.unified_diff((file.before or "").splitlines(), file.text.splitlines(), lineterm="", n=0):
        if not line.startswith(("---", "+++", "@@")):
            yield show.harmless(line)


def _put(file: _File, *, dry: bool) -> None:
    if file.before == file.text:
        show.out(f"{file.path} is as it should be.")
        return
    show.out(f"{'Would write' if dry else 'Writing'} {file.path}{'' if file.before is None else ', where this changes'}:")
    lines = file.text.splitlines() if file.before is None and dry else _difference(file) if file.before is not None else ()
    for line in lines:
        show.out(f"    {line}")
    if not dry:
        _write(file)


def _write(file: _File) -> None:
    """Whole or not at all. Raises `UsageError`."""
    try:
        file.path.parent.mkdir(parents=True, exist_ok=True)
        handle, beside = tempfile.mkstemp(dir=file.path.parent, prefix=".codeb-")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as made:
                made.write(file.text)
            Path(beside).chmod(0o644)
            Path(beside).replace(file.path)
        except BaseException:
            Path(beside).unlink(missing_ok=True)
            raise
    except OSError as fault:
        raise click.UsageError(f"{file.path} cannot be written: {fault.strerror}.") from None


def _tell(body: dict[str, Any], params: dict[str, Any], tree: Path) -> None:
    """What GitHub and the runner need besides."""
    reach = [word for name in dict.fromkeys([str(body["environment"]), "preview"]) for word in ("--environments", name)]
    words = ["we", "token", "create", "--preset", "ci", "--projects", str(body["projectName"]), *reach]
    show.err("Then, in the repository's settings on GitHub:")
    for each in body["secrets"]:
        show.err(f"  secret {each['name']}: {each['about']}")
    show.err(f"  a key for it: {shlex.join(words)}")
    for each in body["optionalSecrets"]:
        show.err(f"  optional {each['name']}: {each['about']}")
    where = params.get("serverUrl", workflow.SERVER)
    show.err(f"  runners reach CodeB at {where}; the variable CODEB_API_URL says otherwise")
    context = str(params.get("context", "."))
    if not ((_root(tree) / context) / "Dockerfile").is_file():
        show.warn(f"There is no Dockerfile in {context}, so there is nothing to build.")
