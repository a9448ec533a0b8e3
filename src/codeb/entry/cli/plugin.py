"""What `we claude` does: the plugin is put in by the `claude` program itself. Loaded only when it is called."""

import json
import os
import shlex
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from codeb.entry.cli import exits, show
from codeb.entry.cli.client import Unreachable
from codeb.entry.cli.session import Ended, Session
from codeb.entry.version import VERSION

MARKET, PLUGIN = "codeb", "we@codeb"
SECONDS = 120.0
"""for one step of `claude`, which starts slowly on a busy machine"""
GUARD_SECONDS = 20.0
WIDE = ("owner", "admin")


def folder() -> Path:
    """The marketplace that this installation brings: beside the package in a wheel, the repository itself in a source tree."""
    package = Path(__file__).resolve().parents[2]
    brought = package / "claude_marketplace"
    return brought if brought.is_dir() else package.parents[1]


@dataclass(frozen=True)
class Said:
    code: int
    text: str
    problem: str

    def listed(self) -> list[dict[str, Any]]:
        """What it lists, where it lists anything that can be read."""
        try:
            found = json.loads(self.text)
        except ValueError:
            return []
        return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []


def run(*arguments: str, stdin: bytes = b"", seconds: float = SECONDS) -> Said:
    """Run a program of the person's, with their whole environment but CodeB's key. Raises `Ended` where it cannot be run."""
    import asyncio

    from codeb.drivers import shell
    from codeb.errors import Unavailable

    theirs = {name: value for name, value in os.environ.items() if name != "CODEB_API_KEY"}
    try:
        ended = asyncio.run(shell.run(arguments, home=Path.home(), seconds=seconds, extra=theirs, stdin=stdin))
    except Unavailable as fault:
        show.failure({"error": fault.message, "hint": fault.hint, "details": fault.details})
        raise Ended(exits.FAILED) from None
    return Said(ended.code, ended.out.decode(errors="replace").strip(), ended.err.decode(errors="replace").strip())


def program() -> str:
    """The `claude` there is. Says what to do by hand and raises `Ended` without one."""
    found = shutil.which("claude")
    if found is None:
        show.err(click.style("✗ There is no program `claude` on the PATH; nothing was changed.", fg="red"))
        show.err("  Install Claude Code and call this again. Or by hand, in Claude Code on the machine you work at:")
        for line in by_hand():
            show.err(f"    {line}")
        raise Ended(exits.FAILED)
    return found


def by_hand() -> list[str]:
    return [
        f"/plugin marketplace add {shlex.quote(str(folder()))}",
        f"/plugin install {PLUGIN}",
        f"/plugin configure {PLUGIN}      (address of the server, your key)",
    ]


def steps() -> list[tuple[str, ...]]:
    """What is asked of `claude`, in this order. Each may be asked again."""
    return [("plugin", "marketplace", "add", str(folder())), ("plugin", "install", PLUGIN), ("plugin", "enable", PLUGIN)]


CONFIGURE = ("plugin", "configure", PLUGIN, "--values-stdin")


def guards() -> str:
    """Why the guards would not work on this machine; empty: they do. They are tried, not just looked for."""
    python = shutil.which("python3")
    if python is None:
        return "there is no python3 on the PATH, which they run on"
    script = folder() / "plugins" / "we" / "hooks" / "guard.py"
    asked = json.dumps({"tool_input": {"command": "docker system prune"}, "cwd": "/"}).encode()
    said = run(python, "-E", "-S", str(script), "shell", stdin=asked, seconds=GUARD_SECONDS)
    if said.code == 0 and '"deny"' in said.text:
        return ""
    return f"{python} cannot run them ({(said.problem or said.text or 'it says nothing')[:200]}); they need Python 3.9 or newer"


def who(session: Session) -> str:
    """Whose key it is, in a few words. Raises `Ended` for one that CodeB refuses."""
    try:
        answer = session.ask("whoami", {}, seconds=10)
    except Unreachable as fault:
        show.warn(f"CodeB does not answer at {fault.url} now ({fault.reason}); the plugin will find it when it does.")
        return ""
    if not answer.ok:
        raise Ended(session.failed(answer))
    role = str(answer.body.get("role"))
    if role in WIDE:
        show.warn(
            f"This is a key of an {role}: an assistant may do with it whatever you may. A smaller one is made by "
            "`we token create --role member`; set it as CODEB_API_KEY and call this again."
        )
    return str(answer.body.get("summary", ""))


def install(session: Session, dry_run: bool) -> int:
    where = session.client.where
    if where.key is None:
        show.err(click.style("✗ There is no key to set the plugin up with; nothing was changed.", fg="red"))
        show.err(f"  {where.key_from}.")
        return exits.DENIED
    if dry_run:
        for step in steps():
            show.out(shlex.join(["claude", *step]))
        show.out(f"{shlex.join(['claude', *CONFIGURE])}   (through a pipe: url {where.url}, the key from {where.key_from})")
        return exits.OK
    found = program()
    if fault := guards():
        show.err(click.style(f"✗ The plugin's guards would not work: {fault}. Nothing was changed.", fg="red"))
        return exits.FAILED
    whose = who(session)
    for step in steps():
        if step[1] == "enable" and _enabled(found):
            continue
        _step(found, step)
    values = json.dumps({"url": where.url, "api_key": where.key.reveal()}).encode()
    _step(found, CONFIGURE, stdin=values)
    show.out(f"The plugin is in Claude Code, for {where.url}" + (f" ({whose.rstrip('.')})." if whose else "."))
    show.out("  Start Claude Code anew, or call /reload-plugins in it. Then /we:deploy, /we:health … are there.")
    return exits.OK


def _enabled(found: str) -> bool:
    return any(
        each.get("id") == PLUGIN and each.get("enabled") is True for each in run(found, "plugin", "list", "--json").listed()
    )


def _step(found: str, step: tuple[str, ...], stdin: bytes = b"") -> None:
    said = run(found, *step, stdin=stdin)
    if said.code == 0:
        return
    show.err(click.style(f"✗ `{shlex.join(['claude', *step])}` ended with {said.code}:", fg="red"))
    for line in (said.problem or said.text).splitlines()[-5:]:
        show.err(f"    │ {show.harmless(line)}")
    show.err("  What was done before stays; call this again when it is mended, or do the rest by hand:")
    for line in by_hand():
        show.err(f"    {line}")
    raise Ended(exits.FAILED)


def status(session: Session) -> int:
    found = program()
    rows = [_row("claude", True, run(found, "--version").text or "it says no version")]
    there = next((each for each in run(found, "plugin", "list", "--json").listed() if each.get("id") == PLUGIN), None)
    version = str((there or {}).get("folderVersion") or (there or {}).get("version") or "")
    on = there is not None and there.get("enabled") is True
    rows.append(_row("plugin", on and version == VERSION, _plugin(there, version)))
    if there is not None:
        rows.append(_settings(session, run(found, "plugin", "configure", PLUGIN, "--json").text))
    fault = guards()
    rows.append(_row("guards", not fault, fault or "they work"))
    try:
        answer = session.ask("whoami", {}, seconds=10)
        rows.append(_row("CodeB", answer.ok, str(answer.body.get("summary") or answer.body.get("error"))))
    except Unreachable as lost:
        rows.append(_row("CodeB", False, f"does not answer at {lost.url}"))
    show.table(["WHAT", "STATE", "SAID"], rows)
    if all(row[1] == "pass" for row in rows):
        return exits.OK
    show.err("  `we claude install` puts it in, or brings it up to date.")
    return exits.FAILED


def _row(what: str, good: bool, said: str) -> list[str]:
    return [what, "pass" if good else "fail", show.harmless(said)]


def _plugin(there: dict[str, Any] | None, version: str) -> str:
    if there is None:
        return "it is not in Claude Code"
    state = "on" if there.get("enabled") is True else "switched off"
    return f"{version}, {state}" + ("" if version == VERSION else f"; this command is {VERSION}")


def _settings(session: Session, text: str) -> list[str]:
    """What the plugin is set up with: the address, and whether there is a key."""
    try:
        said = json.loads(text)
        url, set_ = str(said["inputs"]["url"]), "api_key" in said["configured"]
    except (ValueError, KeyError, TypeError):
        return _row("settings", False, "`claude` does not tell them")
    if not url or not set_:
        return _row("settings", False, "address or key is not set")
    here = session.client.where.url
    return _row("settings", True, f"{url}, with a key" + ("" if url == here else f"; this command speaks to {here}"))


def remove(dry_run: bool) -> int:
    step = ("plugin", "marketplace", "remove", MARKET)
    if dry_run:
        show.out(shlex.join(["claude", *step]))
        return exits.OK
    found = program()
    listed = run(found, "plugin", "marketplace", "list", "--json").listed()
    if not any(each.get("name") == MARKET for each in listed):
        show.out("The plugin is not in Claude Code.")
        return exits.OK
    _step(found, step)
    show.out("The plugin is out of Claude Code, with its address and key.")
    return exits.OK
