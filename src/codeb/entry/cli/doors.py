"""The daily commands that change something: deploy, promote, rollback, cancel."""

from typing import Any

import click

from codeb.entry.cli import calls
from codeb.entry.cli.options import Later, options, params_of
from codeb.entry.cli.session import Session
from codeb.entry.cli.surface import by_name

EXAMPLES = {
    "deploy": """\b
    we deploy 1.4.2                     the version, from the configured image registry
    we deploy 127.0.0.1:5000/shop:dev   an image
    we deploy .                         the source tree: its Dockerfile is built, pushed and deployed
    we deploy 1.4.2 --promote           and all traffic, once it is healthy""",
    "promote": """\b
    we promote                  what is deployed gets all traffic
    we promote --dry-run        only say what would happen""",
    "rollback": """\b
    we rollback --reason "checkout is broken\"""",
}


def _door(name: str, *, what: bool = False) -> click.Command:
    tool = by_name()[name]

    def call(**given: Any) -> int:
        session: Session = click.get_current_context().obj
        word = given.pop("what", None)
        if word is not None and (word in (".", "..") or word.startswith(("./", "../", "/"))):
            from codeb.entry.cli import tree

            return tree.deploy(session, tool, word, given, as_json=given["as_json"])
        if word is not None:
            field = "image" if "/" in word or ":" in word else "version"
            if given.get(field) not in (None, word):
                raise click.UsageError(f"--{field} is given twice: {given[field]} and {word}.")
            given[field] = word
        if what and not given.get("dryRun") and given.get("image") is None and given.get("version") is None:
            raise click.UsageError("What to deploy is not said: a version, an image, or a folder. For example: we deploy 1.4.2")
        return calls.execute(session, tool, params_of(session, tool, given, positional=False), as_json=given["as_json"])

    def make() -> list[click.Parameter]:
        word = click.Argument(["what"], required=False, metavar="[IMAGE_OR_VERSION_OR_FOLDER]")
        return [*([word] if what else []), *options(tool, positional=False)]

    about = f"{tool.about}\n\n{EXAMPLES[name]}\n\nCtrl-C ends the watching, not the operation: `we ops` finds it."
    return Later(name, make=make, callback=call, help=about, short_help=tool.title)


deploy = _door("deploy", what=True)
promote = _door("promote")
rollback = _door("rollback")


@click.command(short_help="Cancel a running operation")
@click.argument("operation_id", metavar="ID")
@click.option("--json", "as_json", is_flag=True, help="print the server's answer as it is")
@click.pass_obj
def cancel(session: Session, operation_id: str, as_json: bool) -> int:
    """Stop an operation before its commit point; what it did is undone."""
    return calls.execute(session, by_name()["operation_cancel"], {"operationId": operation_id}, as_json=as_json)
