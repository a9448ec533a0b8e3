"""The commands about `codeb.toml` of a source tree: `we plan`, `we apply`. Their work is loaded when they run."""

import click

from codeb.entry.cli.session import Session

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
