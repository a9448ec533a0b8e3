"""Commands read off the catalogue: a group for every family, a command for every verb, and the raw call."""

import json
import sys
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import click

from codeb.entry.cli import calls, exits, show
from codeb.entry.cli.options import Later, options, params_of
from codeb.entry.cli.session import Session, fresh_key
from codeb.entry.cli.surface import FRONT, ToolView, by_name, tools


class Commands(click.Group):
    """A group that knows what was probably meant."""

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.exceptions.NoSuchCommand:
            near = meant(args[0], self.list_commands(ctx), top=ctx.parent is None)
            words = f" Did you mean {' or '.join(f'`{each}`' for each in near)}?" if near else ""
            raise click.UsageError(f"There is no command {args[0]!r}.{words}", ctx) from None


def meant(word: str, names: list[str], *, top: bool) -> list[str]:
    """The commands closest to a word that is none. A tool's own name is as good a beginning as a command's."""
    import difflib

    if top and word in by_name():
        return [f"we {by_name()[word].words}"]
    return difflib.get_close_matches(word.lower(), names, n=3, cutoff=0.5)


def command(tool: ToolView, name: str) -> click.Command:
    """The command of one tool, with every param as an option."""

    def call(**given: Any) -> int:
        session: Session = click.get_current_context().obj
        params = params_of(session, tool, given)
        return calls.execute(session, tool, params, as_json=given["as_json"], yes=given.get("yes", False))

    about = f"{tool.about}\n\nTool {tool.name}; role {tool.role}, {tool.risk}."
    return Later(name, make=lambda: options(tool), callback=call, help=about, short_help=tool.title)


ABOUT = {
    "project": "Projects", "slot": "Blue and green slots", "port": "Ports", "operation": "Operations", "event": "Events",
    "conflict": "What a replay could not add", "keys": "Keys of this installation",
    "team": "Teams", "member": "Members of your team", "token": "API keys",
    "approval": "Plans that wait for another identity", "env": "Environment variables",
    "registry": "Images in the image registry", "workflow": "Source trees", "task": "Work items",
}  # fmt: skip


def families(beside: Mapping[str, click.Command] = MappingProxyType({})) -> dict[str, click.Command]:
    """A group for every family of tools that no hand-made command stands for; a tool that is one word is a command.

    `beside`: hand-made commands, by tool, that stand in their family among the others.
    """
    found: dict[str, click.Command] = {}
    for tool in tools():
        if tool.name in FRONT and tool.name not in beside:
            continue
        if not tool.verb:
            found[tool.name] = command(tool, tool.name)
            continue
        group = found.setdefault(tool.family, Commands(tool.family, help=f"{ABOUT.get(tool.family, tool.family.title())}."))
        assert isinstance(group, Commands)
        group.add_command(beside.get(tool.name) or command(tool, tool.command))
    for tool in tools():
        for alias in tool.aliases:
            family, _, verb = alias.partition("_")
            group = found.setdefault(family, Commands(family, help=f"{ABOUT.get(family, family.title())}."))
            assert isinstance(group, Commands)
            group.add_command(command(tool, verb))
    for name, each in found.items():
        if isinstance(each, Commands):
            each.short_help = f"{(each.help or name).rstrip('.')}: {', '.join(each.commands)}"
    return found


@click.command("tool", short_help="Call any tool with JSON")
@click.argument("name")
@click.argument("body", default="{}", metavar="[JSON]")
@click.option("--key", help="idempotency key: the same key and body have one effect and one answer")
@click.option("--json", "as_json", is_flag=True, help="print the server's answer as it is")
@click.pass_obj
def raw(session: Session, name: str, body: str, key: str | None, as_json: bool) -> int:
    """Call a tool as it stands: we tool deploy '{"projectName": "shop", "version": "1.4.2"}'.

    Nothing is filled in and nothing is asked; JSON - reads it from standard input.
    """
    try:
        params = json.loads(sys.stdin.read() if body == "-" else body)
    except ValueError as fault:
        raise click.UsageError(f"The params are not JSON: {fault}.") from None
    if not isinstance(params, dict):
        raise click.UsageError('The params have to be a JSON object, such as {"projectName": "shop"}.')
    known = by_name().get(name)
    said = params.get("idempotencyKey")
    if known is not None and known.changes and key is None and not isinstance(said, str):
        key = fresh_key()
    answer = session.ask(name, params, key=key, seconds=calls.LONGEST_SECONDS)
    if as_json:
        return session.raw(answer)
    if not answer.ok:
        return session.failed(answer)
    show.success(answer.body)
    return exits.OK
