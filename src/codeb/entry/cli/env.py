"""`we env set`, `we env sync`, `we env scan`: values from a prompt, standard input or a file, never from the command line."""

import sys
from typing import Any

import click

from codeb.entry.cli import calls
from codeb.entry.cli.options import Later, options, params_of, text_of
from codeb.entry.cli.session import Session
from codeb.entry.cli.surface import by_name


def _values(keys: tuple[str, ...], source: str | None) -> dict[str, str]:
    """A value for each name. Raises `UsageError` where it is said too openly, or cannot be told whose it is."""
    for key in keys:
        if "=" in key:
            raise click.UsageError(
                f"Only the name goes into the command: `we env set {key.partition('=')[0]}` asks for the value. On the command "
                "line other users see it in the process list, and the shell keeps it in its history."
            )
    if source is None and sys.stdin.isatty():
        return {key: click.prompt(f"Value of {key}", hide_input=True, default="", show_default=False, err=True) for key in keys}
    if len(keys) > 1:
        raise click.UsageError(
            "One value can be read, for one name. On a terminal `we env set` asks for each; see also `we env sync`."
        )
    if not keys:
        return {}
    text = text_of(source or "-")
    # what `echo` adds is not meant; a file that is named is taken exactly
    return {keys[0]: text if source is not None else text.removesuffix("\n").removesuffix("\r")}


def _command(tool_name: str, *, more: list[click.Parameter], about: str, fill: Any) -> click.Command:
    tool = by_name()[tool_name]

    def call(**given: Any) -> int:
        session: Session = click.get_current_context().obj
        secret = fill(given)
        params = params_of(session, tool, given, positional=False) | secret
        return calls.execute(session, tool, params, as_json=given["as_json"])

    def make() -> list[click.Parameter]:
        return [*more, *options(tool, positional=False)]

    return Later(tool.verb, make=make, callback=call, help=f"{tool.about}\n\n{about}", short_help=tool.title)


def _set(given: dict[str, Any]) -> dict[str, Any]:
    keys = tuple(given.pop("names"))
    source = given.pop("source")
    if source is not None and not keys:
        raise click.UsageError("--file holds the value of one variable: name it. For a whole .env file: `we env sync`.")
    if not keys and not given.get("unset"):
        raise click.UsageError("Say what is to change: `we env set LOG_LEVEL`, or `--unset LOG_LEVEL`.")
    values = _values(keys, source)
    return {"values": values} if values else {}


def _content(given: dict[str, Any]) -> dict[str, Any]:
    return {"envContent": text_of(given.pop("source"))}


_FILE = ["--file", "-f", "source"]

env_set = _command(
    "env_set", fill=_set,
    more=[
        click.Argument(["names"], nargs=-1, metavar="[KEY]..."),
        click.Option(_FILE, metavar="FILE|-", help="take the value from this file, every byte; - is standard input"),
    ],
    about="""\b
    we env set API_TOKEN                 asks for the value, without showing it
    pass show token | we env set API_TOKEN
    we env set TLS_KEY -f key.pem        the file as it is, every byte
    we env set --unset OLD_NAME""",
)  # fmt: skip

env_sync = _command(
    "env_sync", fill=_content,
    more=[click.Option(_FILE, metavar="FILE|-", required=True, help="the .env file; - is standard input")],
    about="""\b
    we env scan -f .env                  first see what differs
    we env sync -f .env -e staging""",
)  # fmt: skip

env_scan = _command(
    "env_scan", fill=_content,
    more=[click.Option(_FILE, metavar="FILE|-", default=".env", help="the .env file; - is standard input  [default: .env]")],
    about="The file is read here; the server compares, and answers with names only.",
)  # fmt: skip
