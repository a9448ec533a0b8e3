"""`we claude`: the plugin for Claude Code."""

import click

from codeb.entry.cli.session import Session


@click.group("claude", short_help="The plugin for Claude Code")
def claude() -> None:
    """The plugin for Claude Code: skills such as /we:deploy, and guards before shell, edits and production."""


@claude.command("install", short_help="Put the plugin in, and set it up")
@click.option("--dry-run", is_flag=True, help="only show what would be asked of `claude`")
@click.pass_obj
def install(session: Session, dry_run: bool) -> int:
    """Put the plugin into Claude Code for you and give it this command's server and key. Again is harmless; it also updates.

    The key goes to `claude` through a pipe, which keeps it with its own credentials; it is never shown.
    """
    from codeb.entry.cli import plugin

    return plugin.install(session, dry_run)


@claude.command("status", short_help="Whether the plugin is in, and works")
@click.pass_obj
def status(session: Session) -> int:
    """Program, plugin, its server and key, its guards, and whether CodeB answers. Ends with 1 when one of them is wrong."""
    from codeb.entry.cli import plugin

    return plugin.status(session)


@claude.command("remove", short_help="Take the plugin out")
@click.option("--dry-run", is_flag=True, help="only show what would be asked of `claude`")
@click.pass_obj
def remove(session: Session, dry_run: bool) -> int:
    """Take plugin and marketplace out of Claude Code, with the key it was given. The key stays valid: `we token revoke`."""
    from codeb.entry.cli import plugin

    return plugin.remove(dry_run)
