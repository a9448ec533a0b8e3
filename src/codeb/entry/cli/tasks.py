"""`we task create`, `we task check`, `we task complete`: in the words of the repository one stands in."""

import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import click

from codeb.entry.cli import calls, exits, show
from codeb.entry.cli.options import Later, options, params_of, text_of
from codeb.entry.cli.session import Session
from codeb.entry.cli.surface import ToolView, by_name

MOST_MESSAGE = 64 * 1024


def root() -> Path | None:
    """Of the repository that this folder is in."""
    here = Path.cwd()
    return next((folder for folder in (here, *here.parents) if (folder / ".git").exists()), None)


def from_root(words: Iterable[str]) -> list[str]:
    """Paths as the repository has them, said from where one stands. Outside a repository they are taken as they are.

    Raises `UsageError` for one that is not in it.
    """
    top = root()
    return [_inside(top, word) for word in words] if top else list(words)


def _inside(top: Path, word: str) -> str:
    said = Path(os.path.normpath(Path.cwd() / word))
    # the folder may have been named by a link that leads into the repository
    for each in (said, said.parent.resolve() / said.name):
        if each != top and each.is_relative_to(top):
            return each.relative_to(top).as_posix()
    raise click.UsageError(f"{word} is no file or folder in the repository {top}.")


def branch() -> str | None:
    """The one that is checked out; None where there is none, or no git."""
    from codeb.entry.cli.builders import asked

    code, said = asked("git", "-c", "core.fsmonitor=false", "branch", "--show-current")
    return said.strip() or None if code == 0 else None


Fill = Callable[[Session, ToolView, dict[str, Any]], dict[str, Any]]
Tell = Callable[[dict[str, Any]], int]


def _command(tool_name: str, *, more: list[click.Parameter], about: str, fill: Fill, tell: Tell | None = None) -> click.Command:
    tool = by_name()[tool_name]

    def call(**given: Any) -> int:
        session: Session = click.get_current_context().obj
        params = params_of(session, tool, given | fill(session, tool, given), positional=False)
        if tell is None or given["as_json"]:
            return calls.execute(session, tool, params, as_json=given["as_json"])
        return tell(session.good(tool.name, params))

    def make() -> list[click.Parameter]:
        return [*more, *options(tool, positional=False)]

    return Later(tool.verb, make=make, callback=call, help=f"{tool.about}\n\n{about}", short_help=tool.title)


# list


def _list(session: Session, tool: ToolView, given: dict[str, Any]) -> dict[str, Any]:
    if given["everything"] and given["projectName"]:
        raise click.UsageError("--all and a project exclude each other.")
    return {"projectName": None if given["everything"] else given["projectName"] or session.repository.project}


def _listed(body: dict[str, Any]) -> int:
    rows = [
        [each["taskId"], show.colour(each["status"]), each["projectName"], *map(show.harmless, (each["branch"], each["title"])),
         show.person(each["author"]), show.ago(each["updatedAt"])]
        for each in body["tasks"]
    ]  # fmt: skip
    if rows:
        show.table(["TASK", "STATUS", "PROJECT", "BRANCH", "TITLE", "AUTHOR", "CHANGED"], rows)
    else:
        show.out(str(body["summary"]))
    if body["more"]:
        show.err(f"  There are more: --before {body['tasks'][-1]['taskId']}")
    show.after(body)
    return exits.OK


listed = _command(
    "task_list", fill=_list, tell=_listed,
    more=[click.Option(["--all", "everything"], is_flag=True, help="all projects, whatever codeb.toml says")],
    about="Those that are not done, unless --status says another; of the project in codeb.toml.",
)  # fmt: skip


# create


def _create(session: Session, tool: ToolView, given: dict[str, Any]) -> dict[str, Any]:
    if given["title"] is not None and given["headline"] is not None:
        raise click.UsageError("The title is given twice.")
    chosen = given["branch"] or branch()
    if chosen is None:
        raise click.UsageError("There is no branch checked out here: say --branch.")
    files = [*given["files"], *from_root(given["places"])]
    return {"title": given["title"] or given["headline"], "branch": chosen, "files": tuple(files)}


create = _command(
    "task_create", fill=_create,
    more=[
        click.Argument(["headline"], required=False, metavar="[TITLE]"),
        click.Argument(["places"], nargs=-1, metavar="[PATH]..."),
    ],
    about="""\b
    we task create "Pay by invoice" src/pay README.md
    The branch is the one that is checked out, unless --branch says another.""",
)  # fmt: skip


# check


def _check(session: Session, tool: ToolView, given: dict[str, Any]) -> dict[str, Any]:
    paths = [*given["paths"], *from_root(given["places"])]
    if not paths:
        raise click.UsageError("Say which files: we task check src/pay.py")
    return {"paths": tuple(paths), "branch": given["branch"] or branch()}


def _shown(body: dict[str, Any]) -> int:
    show.out(str(body["summary"]))
    if body["locked"]:
        show.table(["PATH", "LOCKED", "TASK", "BRANCH", "AUTHOR", "FREE"], map(_row, body["locked"]))
    show.after(body)
    return exits.OK if body["free"] else exits.FAILED


def _row(lock: Mapping[str, Any]) -> list[str]:
    words = [show.harmless(str(lock[name])) for name in ("path", "lockedPath", "taskId", "branch")]
    return [*words, show.person(lock["author"]), show.ago(lock["until"])]


check = _command(
    "task_check", fill=_check, tell=_shown, more=[click.Argument(["places"], nargs=-1, metavar="PATH...")],
    about=f"""\b
    we task check src/pay.py             says who has it, and ends with {exits.FAILED} when another branch has
    What the checked out branch has itself is not in the way.""",
)  # fmt: skip


# complete


def _complete(session: Session, tool: ToolView, given: dict[str, Any]) -> dict[str, Any]:
    said = [given["commitMessage"], given["message"], given["message_file"] and text_of(given["message_file"], MOST_MESSAGE)]
    messages = [each for each in said if each is not None]
    tasks = [each for each in (given["task"], given["taskId"]) if each is not None]
    if len(messages) + len(tasks) != 1:
        raise click.UsageError("Say one task, or one commit message: we task complete TASK, or --message TEXT.")
    return {"taskId": tasks[0]} if tasks else {"commitMessage": messages[0]}


complete = _command(
    "task_complete", fill=_complete,
    more=[
        click.Argument(["task"], required=False, metavar="[TASK]"),
        click.Option(["--message", "-m", "message"], metavar="TEXT", help="a commit message: every task_… id in it is meant"),
        click.Option(["--message-file", "-F", "message_file"], metavar="FILE|-", help="the same from a file, or standard input"),
    ],
    about="""\b
    we task complete task_0123456789abcdef0123456789ab
    git log -1 --format=%B | we task complete -F -""",
)  # fmt: skip
