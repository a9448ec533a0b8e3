"""`we approvals`: what waits for another identity's yes."""

from typing import Any

import click

from codeb.entry.cli import exits, show
from codeb.entry.cli.looks import json_option, project_option
from codeb.entry.cli.session import Session


@click.command(short_help="Show what waits for somebody's yes")
@project_option
@click.option("--all", "everything", is_flag=True, help="those decided and those that are over too")
@json_option
@click.pass_obj
def approvals(session: Session, project: str | None, everything: bool, as_json: bool) -> int:
    """Plans that wait for another identity: who asks for what, and until when. `we approve ID` and `we reject ID` decide."""
    params: dict[str, Any] = {"projectName": project} if project else {}
    params |= {} if everything else {"waiting": True}
    if as_json:
        return session.raw(session.ask("approval_list", params))
    body = session.good("approval_list", params)
    if not body["approvals"]:
        show.out("No approvals." if everything else "Nothing waits for an approval.")
        return exits.OK
    head = ["ID", "STATE", "WHAT", "ASKED BY", "ASKED", "ENDS"]
    if everything:
        head.append("DECIDED BY")
    show.table(head, [_row(each)[: len(head)] for each in body["approvals"]])
    if not everything:
        for each in body["approvals"]:
            show.out()
            show.out(f"{each['approvalId']}:")
            for change in each["changes"]:
                show.out(f"  - {show.harmless(str(change))}")
    show.after(body)
    return exits.OK


def _row(each: dict[str, Any]) -> list[Any]:
    what = " ".join(str(part) for part in (each["tool"], each["projectName"], each["environment"]) if part)
    waits = each["state"] in ("waiting", "approved")
    return [
        each["approvalId"], show.colour(each["state"]), show.harmless(what), show.person(each["requestedBy"]),
        show.ago(each["createdAt"]), show.ago(each["expiresAt"]) if waits else "", show.person(each["decidedBy"]),
    ]  # fmt: skip
