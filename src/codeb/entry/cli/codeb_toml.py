"""The commands about `codeb.toml` of a source tree: `we init`, `we plan`, `we apply`. Their work is loaded when they run."""

from typing import Any

import click

from codeb.entry.cli.options import Later, options
from codeb.entry.cli.session import Session
from codeb.entry.cli.surface import by_name

folder = click.argument("folder", required=False, metavar="[FOLDER]")


@click.command(short_help="Compare codeb.toml with the server")
@folder
@click.option("--json", "as_json", is_flag=True, help="print it as JSON")
@click.pass_obj
def plan(session: Session, folder: str | None, as_json: bool) -> int:
    """Say what differs between the codeb.toml of this source tree and the server, with the call that would change it.

    Nothing is changed, and a key that may only read is enough. Ends with 0 when nothing differs, with 8 when something does.
    """
    from codeb.entry.cli import plans

    return plans.plan(session, folder, as_json=as_json)


@click.command(short_help="Make the server as codeb.toml says")
@folder
@click.option("--yes", is_flag=True, help="do not ask whether to go on")
@click.pass_obj
def apply(session: Session, folder: str | None, yes: bool) -> int:
    """Show what differs between codeb.toml and the server, ask, and make it so, one call after the other.

    Each call carries the plan of its own dry run: what moved meanwhile is refused, not overrun. It stops at the first
    failure and says what was applied. Nothing is ever removed. Ends with 0 when the server is as the file says.
    """
    from codeb.entry.cli import plans

    return plans.apply(session, folder, yes=yes)


EXAMPLES = """\b
    we init                                         what this folder is, and under which name, is told by its files
    we init shop --database --redis --domain shop.example.com
    we init shop ./web --environments production,staging
    we init --dry-run                               only say what would be written and set up"""


ABOUT = """What the folder is is seen from its files and written into codeb.toml, never over one that says something else. Where
there is a codeb.toml already, the project is set up as that says. `we plan` and `we apply` keep it so."""


def _init() -> click.Command:
    tool = by_name()["workflow_init"]

    def call(**given: Any) -> int:
        from codeb.entry.cli import beginnings

        session: Session = click.get_current_context().obj
        words, as_json, yes = given.pop("words"), given.pop("as_json"), given.pop("yes")
        return beginnings.init(session, tool, words, given, as_json=as_json, yes=yes)

    def make() -> list[click.Parameter]:
        made = options(tool, positional=False)
        for each in made:
            if each.name == "containerPort":
                each.opts.append("--port")
        words = click.Argument(["words"], nargs=-1, metavar="[NAME] [FOLDER]")
        return [words, *made, click.Option(["--yes"], is_flag=True, help="do not ask whether to go on")]

    about = f"{tool.about}\n\n{EXAMPLES}\n\n{ABOUT}"
    return Later("init", make=make, callback=call, help=about, short_help="Set up a project from its source tree")


init = _init()
