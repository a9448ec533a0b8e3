"""`we`: the command line of CodeB. Starts fast: nothing but click and a list of tools is loaded before a command runs."""

import sys

import click

from codeb.entry.cli import (
    assistant,
    audit,
    claude,
    codeb_toml,
    doctor,
    doors,
    env,
    exits,
    generated,
    looks,
    machine,
    show,
    tasks,
    waiting,
    workflow,
)
from codeb.entry.cli.client import Unreachable
from codeb.entry.cli.session import Ended, Session, unreachable
from codeb.entry.cli.settings import BadSetting
from codeb.entry.version import VERSION

DAILY = (
    machine.up, machine.down, codeb_toml.init, codeb_toml.plan, codeb_toml.apply, doors.deploy, doors.promote, doors.rollback,
    looks.status, looks.logs, looks.ops, looks.ports, looks.health, doors.cancel, waiting.approvals,
)  # fmt: skip
OTHER = (audit.audit, claude.claude, generated.raw, assistant.mcp, doctor.doctor, machine.configuration, machine.completion)
BESIDE = {
    "env_set": env.env_set, "env_sync": env.env_sync, "env_scan": env.env_scan, "workflow_scan": workflow.scan,
    "workflow_generate": workflow.init,
    "task_list": tasks.listed, "task_create": tasks.create, "task_check": tasks.check, "task_complete": tasks.complete,
}  # fmt: skip
EPILOG = "\b\nExit codes:\n" + "\n".join(f"  {code:>3}  {text}" for code, text in exits.WORDS)
ABOUT = """Deploy, preview, promote and roll back containers, without losing a request.

    Project and environment are taken from `codeb.toml` in the repository when they are not given; the server from
    --api-url, CODEB_API_URL or ~/.codeb/config.toml, else this machine's own; the key from CODEB_API_KEY,
    ~/.codeb/config.toml or the owner key of this machine."""


class We(generated.Commands):
    """Shows the daily commands first, then what is read off the catalogue."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        daily = [str(each.name) for each in DAILY]
        other = [str(each.name) for each in OTHER]
        rest = [name for name in self.commands if name not in daily + other]
        for title, names in (("Daily", daily), ("By noun, every tool", rest), ("Other", other)):
            with formatter.section(title):
                formatter.write_dl([(name, self.commands[name].get_short_help_str(90)) for name in names])


@click.pass_context
def _begin(ctx: click.Context, api_url: str | None) -> None:
    ctx.obj = Session(api_url)


def root() -> We:
    """The whole command."""
    we = We(
        "we", help=ABOUT, epilog=EPILOG, callback=_begin, no_args_is_help=True,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
        params=[click.Option(["--api-url"], metavar="URL", help="the server to speak to")],
    )  # fmt: skip
    we = click.version_option(VERSION, prog_name="we")(we)
    for each in (*DAILY, *generated.families(BESIDE).values(), *OTHER):
        we.add_command(each)
    return we


def main(arguments: list[str] | None = None) -> int:
    """Run one command; gives the exit code, which `exits` explains."""
    try:
        code = root().main(arguments, prog_name="we", standalone_mode=False)
        return code if isinstance(code, int) else exits.OK
    except Ended as ended:
        return ended.code
    except click.exceptions.NoArgsIsHelpError as fault:
        fault.show()
        return exits.USAGE
    except BadSetting as fault:
        show.err(click.style(f"✗ {fault}", fg="red"))
        return exits.USAGE
    except click.ClickException as fault:
        fault.show()
        return exits.USAGE
    except Unreachable as fault:
        return unreachable(fault)
    except (click.Abort, KeyboardInterrupt):
        show.err("Interrupted.")
        return exits.INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
