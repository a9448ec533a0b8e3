"""`we workflow scan`: the folder is read here, the server tells what it is. `we workflow init`: the server makes the files, they
are written here."""

import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from codeb.entry.cli import exits, show
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
        answer = session.ask(tool.name, params)
        if given["as_json"]:
            return session.raw(answer)
        if not answer.ok:
            return session.failed(answer)
        return _shown(session.tree, answer.body)

    def make() -> list[click.Parameter]:
        return [click.Argument(["tree"], default=".", metavar="[FOLDER]"), *options(tool, positional=False)]

    about = f"{tool.about}\n\nThe folder is read here, within bounds: names of files, and the few texts that tell what it is."
    return Later(tool.verb, make=make, callback=call, help=about, short_help=tool.title)


def _shown(tree: Path, body: dict[str, Any]) -> int:
    show.out(str(body["summary"]))
    for line in seen({each["name"]: (each["value"], each["where"]) for each in body["facts"]}):
        show.out(line)
    for each in body["missing"]:
        show.out(f"  missing: {each['name']}: {each['text']}. {each['fix']}")
    for each in body["unread"]:
        show.warn(f"{each['where']}: {each['why']}")
    show.after({"warnings": body["warnings"]})
    if body["next"]:
        show.err(
            f"  next: {shlex.join(['we', 'init', *([] if tree == Path.cwd() else [str(tree)])])}  ({body['next'][0]['why']})"
        )
    return exits.OK


def seen(facts: Mapping[str, tuple[Any, str]]) -> Iterator[str]:
    """A line for each fact that counts, with where it stands; what was not found is said too."""
    for name, word in (("type", "type"), ("containerPort", "port"), ("healthPath", "health path")):
        none = "/ (no other was found)" if name == "healthPath" else "not known"
        value, where = facts.get(name, (none, ""))
        yield show.harmless(f"{word:<11}  {value}" + (f" ({where})" if where else ""))


scan = _scan()


EXAMPLES = """\b
    we workflow init                                    deploy.yml and preview.yml of this repository
    we workflow init --branch trunk --auto-promote --runner-labels self-hosted --runner-labels linux
    we workflow init ./apps/web -p web                  of one folder of a larger repository
    we workflow init --dry-run                          only show what would be written"""


def _init() -> click.Command:
    tool = by_name()["workflow_generate"]

    def call(**given: Any) -> int:
        from codeb.entry.cli import workflow_files

        session: Session = click.get_current_context().obj
        tree, as_json = folder(given.pop("tree")), given.pop("as_json")
        dry, force = given.pop("dry"), given.pop("force")
        return workflow_files.init(session, tool, tree, given, as_json=as_json, dry=dry, force=force)

    def make() -> list[click.Parameter]:
        return [
            click.Argument(["tree"], default=".", metavar="[FOLDER]"), *options(tool, positional=False),
            click.Option(["--dry-run", "dry"], is_flag=True, help="show what would be written, and write nothing"),
            click.Option(["--force"], is_flag=True, help="write over files in which somebody changed something"),
        ]  # fmt: skip

    about = (
        "Write the GitHub workflows of this repository: deploy on a push, promote and roll back by hand, preview pull requests."
        f"\n\n{EXAMPLES}\n\nA file in which somebody changed something since is never written over without --force. With"
        f" --json the files are printed, and nothing is written. Tool {tool.name}; role {tool.role}, {tool.risk}."
    )
    return Later("init", make=make, callback=call, help=about, short_help="Write GitHub workflows into a source tree")


init = _init()
