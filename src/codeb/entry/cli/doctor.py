"""`we doctor`: what is wrong with this machine, and how to mend it. Works without a server, a key, Docker or a database."""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from codeb.entry.cli import exits, machine, show
from codeb.entry.cli.session import Session

if TYPE_CHECKING:
    from codeb.model.specs import Finding

SIGNS = {"pass": ("✓", "green"), "warn": ("!", "yellow"), "fail": ("✗", "red")}


@click.command(short_help="Examine this machine")
@click.option("--json", "as_json", is_flag=True, help="print the findings as JSON")
@click.pass_obj
def doctor(session: Session, as_json: bool) -> int:
    """Home, database, Docker, proxy, ports, server and clock of this machine: what is so, and the command that mends it.

    Changes nothing. Ends with 1 when something fails; warnings are no failure. Run it as the server's user, or as root.
    """
    try:
        from codeb.entry.doctor.examine import examined
    except ImportError as fault:
        return machine.missing(fault)
    found = examined()
    failed = sum(each.status == "fail" for each in found)
    warned = sum(each.status == "warn" for each in found)
    if as_json:
        checks = [{"name": each.name, "status": each.status, "text": each.text, "fix": each.fix} for each in found]
        status = "fail" if failed else "warn" if warned else "pass"
        show.out(json.dumps({"status": status, "failed": failed, "warnings": warned, "checks": checks}, ensure_ascii=False))
    else:
        _lines(found)
        show.out(f"{len(found)} checks: {failed} failed, {warned} warnings.")
    return exits.FAILED if failed else exits.OK


def _lines(found: "Sequence[Finding]") -> None:
    width = max(len(each.name) for each in found)
    for each in found:
        sign, colour = SIGNS[each.status]
        show.out(f"{click.style(sign, fg=colour)} {each.name:<{width}}  {show.harmless(each.text)}")
        if each.fix:
            show.out(f"  {'':<{width}}  → {show.harmless(each.fix)}")
