"""The commands about this machine: up, down, config, completion."""

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import click

from codeb.entry.cli import exits, settings, show
from codeb.entry.cli.client import Client, Unreachable
from codeb.entry.cli.session import Session

START_SECONDS = 60.0
STOP_SECONDS = 35.0
"""longer than the server's own 30 seconds"""
TAIL_LINES = 15


def missing(fault: ImportError) -> int:
    """Say that this command needs the server part; gives the exit code."""
    show.err(click.style(f"✗ The server part of CodeB is not installed here ({fault.name} is missing).", fg="red"))
    show.err("  Install the package with its extra `server`; the command line alone speaks to servers elsewhere (CODEB_API_URL).")
    return exits.FAILED


@click.command(short_help="Start the server")
@click.option("--detach", "-d", is_flag=True, help="leave it running and come back once it answers")
@click.pass_obj
def up(session: Session, detach: bool) -> int:
    """Run the server, in the foreground unless --detach. Ctrl-C ends it; what it deployed and the proxy go on."""
    try:
        from codeb import config
        from codeb.entry import server
        from codeb.errors import PublicError
    except ImportError as fault:
        return missing(fault)
    try:
        said = config.load()
        if not detach:
            return server.serve(said)
        return _detached(said)
    except PublicError as fault:
        show.failure({"error": fault.message, "hint": fault.hint, "details": fault.details})
        return exits.USAGE if fault.code == "bad_settings" else exits.FAILED


def _detached(said: Any) -> int:
    from codeb.drivers import shell
    from codeb.drivers.proxy.process import alive

    if (pid := server_process(said.home)) is not None:
        show.out(f"A server runs already on {said.home} (process {pid}).")
        return _announce(said.home)
    log = said.home / "logs" / "server.log"
    log.parent.mkdir(parents=True, exist_ok=True, mode=0o750)
    if log.exists():
        log.replace(log.with_suffix(".log.1"))
    extra = {name: value for name, value in os.environ.items() if name.startswith("CODEB_")} | {"CODEB_HOME": str(said.home)}
    pid = shell.start_detached([sys.executable, "-m", "codeb.entry.server"], home=said.home, output=log, extra=extra)
    client, end = Client(_here(said.home)), time.monotonic() + START_SECONDS
    while time.monotonic() < end and alive(pid):
        if server_process(said.home) == pid and _answers(client):
            show.out(f"CodeB runs (process {pid}), log in {log}.")
            return _announce(said.home)
        time.sleep(0.05)
    why = "does not answer" if alive(pid) else "ended at once"
    show.err(click.style(f"✗ The server (process {pid}) {why}. The last lines of {log}:", fg="red"))
    for line in tail_of(log):
        show.err(f"    │ {show.harmless(line)}")
    return exits.FAILED


def _here(home: Path) -> settings.Where:
    url, origin = settings.local_url()
    return settings.Where(url, origin, None, "", home)


def _answers(client: Client) -> bool:
    try:
        return client.health().ok
    except Unreachable:
        return False


def _announce(home: Path) -> int:
    show.out(f"  address    {settings.local_url()[0]}")
    show.out(f"  owner key  {home / 'owner.key'} (`we` finds it by itself)")
    show.out("  stop it    we down")
    return exits.OK


def tail_of(path: Path, count: int = TAIL_LINES) -> list[str]:
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - 32_768))
            return [line[:500] for line in file.read().decode(errors="replace").splitlines()[-count:]]
    except OSError:
        return []


def server_process(home: Path) -> int | None:
    """The process that holds this home now; None when nobody does, whatever an old file says."""
    import fcntl

    try:
        with (home / "server.pid").open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                text = file.read(32).decode(errors="replace").strip()
                return int(text) if text.isdigit() else None
    except OSError:
        return None
    return None


@click.command(short_help="Stop the server")
@click.option("--all", "everything", is_flag=True, help="the proxy too: all sites go down with it")
@click.pass_obj
def down(session: Session, everything: bool) -> int:
    """Stop this machine's server; what it deployed and the proxy go on, unless --all stops the proxy too."""
    code = _stop_server(settings.home())
    return _stop_proxy() if everything and code == exits.OK else code


def _stop_server(home: Path) -> int:
    import signal

    pid = server_process(home)
    if pid is None:
        show.out(f"No server runs on {home}.")
        return exits.OK
    try:
        os.kill(pid, signal.SIGTERM)
    except PermissionError:
        show.err(click.style(f"✗ The server (process {pid}) belongs to another user; nothing was stopped.", fg="red"))
        return exits.DENIED
    except ProcessLookupError:
        return exits.OK
    end = time.monotonic() + STOP_SECONDS
    while time.monotonic() < end:
        if server_process(home) != pid:
            show.out(f"The server (process {pid}) has stopped. What it deployed goes on.")
            return exits.OK
        time.sleep(0.05)
    show.err(click.style(f"✗ The server (process {pid}) was asked to stop and still runs after {STOP_SECONDS:g} s.", fg="red"))
    show.err(f"  See {home / 'logs' / 'server.log'}; what was begun is journaled: even kill -9 {pid} loses nothing.")
    return exits.FAILED


def _stop_proxy() -> int:
    import asyncio

    try:
        from codeb import config
        from codeb.drivers.proxy import process
    except ImportError as fault:
        return missing(fault)
    admin = config.load().proxy_dir / "admin.sock"
    pid = process.find(admin)
    if pid is None:
        show.out("No proxy of CodeB runs.")
        return exits.OK
    asyncio.run(process.end(pid))
    if process.find(admin) is not None:
        show.err(click.style(f"✗ The proxy (process {pid}) could not be stopped.", fg="red"))
        return exits.FAILED
    show.out(f"The proxy (process {pid}) has stopped: its sites are down until `we up`.")
    return exits.OK


@click.command("config", short_help="Show the settings in force")
@click.option("--json", "as_json", is_flag=True, help="print them as JSON")
@click.pass_obj
def configuration(session: Session, as_json: bool) -> int:
    """The command line's own settings and this machine's server settings, each with where it came from."""
    where, repository = session.client.where, session.repository
    file = str(repository.path) if repository.path else "no codeb.toml here"
    mine = [
        {"name": "api url", "value": where.url, "from": where.url_from},
        {"name": "api key", "value": "set" if where.key else "none", "from": where.key_from},
        {"name": "project", "value": repository.project or "", "from": file},
        {"name": "environment", "value": repository.environment or "", "from": file},
    ]
    server, problem = _server_settings()
    if as_json:
        show.out(json.dumps({"cli": mine, "server": server, "problem": problem}, ensure_ascii=False))
        return exits.USAGE if problem and not server else exits.OK
    show.out(click.style("This command", bold=True))
    show.table(["SETTING", "VALUE", "FROM"], [list(row.values()) for row in mine])
    show.out()
    show.out(click.style(f"A server on this machine (home {where.home})", bold=True))
    if problem:
        show.warn(problem)
    if server:
        show.table(["VARIABLE", "VALUE", "FROM"], [list(row.values()) for row in server])
    return exits.USAGE if problem and not server else exits.OK


def _server_settings() -> tuple[list[dict[str, str]], str]:
    try:
        from codeb import config
        from codeb.errors import PublicError
    except ImportError as fault:
        known = {"variable": "CODEB_HOME", "value": str(settings.home()), "from": ""}
        return [known], f"the server part is not installed here ({fault.name} is missing)"
    try:
        return config.explained(config.load()), ""
    except PublicError as fault:
        return [], fault.message


@click.command(short_help="Print a shell's completion script")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> int:
    """Completion of commands, options and project names.

    \b
    bash:  eval "$(we completion bash)"     in ~/.bashrc
    zsh:   eval "$(we completion zsh)"      in ~/.zshrc, after compinit
    fish:  we completion fish > ~/.config/fish/completions/we.fish
    """
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    assert kind is not None  # the three are click's own
    show.out(kind(ctx.find_root().command, {}, "we", "_WE_COMPLETE").source())
    return exits.OK
