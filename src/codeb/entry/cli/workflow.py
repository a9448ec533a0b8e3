"""`we workflow scan`: the folder is read here, the server tells what it is."""

from pathlib import Path
from typing import Any

import click

from codeb.entry.cli import calls, show
from codeb.entry.cli.options import Later, options, params_of
from codeb.entry.cli.session import Session
from codeb.entry.cli.surface import by_name


def folder(word: str) -> Path:
    """Raises `UsageError` for what is none."""
    found = Path(word)
    if not found.is_dir():
        raise click.UsageError(f"{word} is no folder.")
    return found.resolve()


def _scan() -> click.Command:
    tool = by_name()["workflow_scan"]

    def call(**given: Any) -> int:
        from codeb.entry.cli import sources

        session: Session = click.get_current_context().obj
        session.tree = folder(given.pop("tree"))
        try:
            found = sources.taken(session.tree)
        except OSError as fault:
            raise click.UsageError(f"{session.tree} cannot be read: {fault.strerror}.") from None
        if not found.files:
            raise click.UsageError(f"There is no file in {session.tree}.")
        for text in found.warnings:
            show.warn(text)
        params = params_of(session, tool, given | {"files": found.files}, positional=False)
        if session.repository.project:
            params.setdefault("projectName", session.repository.project)
        return calls.execute(session, tool, params, as_json=given["as_json"])

    def make() -> list[click.Parameter]:
        return [click.Argument(["tree"], default=".", metavar="[FOLDER]"), *options(tool, positional=False)]

    about = f"{tool.about}\n\nThe folder is read here, within bounds: names of files, and the few texts that tell what it is."
    return Later(tool.verb, make=make, callback=call, help=about, short_help=tool.title)


scan = _scan()
