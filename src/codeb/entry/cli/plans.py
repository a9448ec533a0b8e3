"""`we plan` and `we apply`: a source tree's `codeb.toml` against what the server says, and made so."""

import json
import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import click

from codeb.entry.cli import calls, exits, manifests, show
from codeb.entry.cli.session import Ended, Session, fresh_key
from codeb.entry.cli.surface import ToolView, by_name, suggestion
from codeb.model.manifest import FILE, Manifest
from codeb.model.manifest_plan import Change, Plan


def plan(session: Session, folder: str | None, *, as_json: bool) -> int:
    _, wanted = manifests.here(session, folder)
    found = manifests.compared(session, wanted)
    if as_json:
        show.out(json.dumps(_plain(wanted, found), ensure_ascii=False))
    else:
        shown(wanted, found)
        if found.changes:
            show.err("  next: `we apply` makes it so")
    return exits.OK if found.empty else exits.DIFFERS


def _plain(wanted: Manifest, found: Plan) -> dict[str, Any]:
    return {
        "project": wanted.project,
        "changes": [{"lines": list(each.lines), "tool": each.tool, "params": dict(each.params)} for each in found.changes],
        "differs": [{"text": each.text, "tool": each.tool, "params": dict(each.params)} for each in found.differs],
    }  # fmt: skip


def shown(wanted: Manifest, found: Plan) -> None:
    """A line for each change, under each group of them the call that makes it."""
    if found.empty:
        show.out(f"{wanted.project} is as {FILE} says.")
        return
    show.out(f"{wanted.project} differs from {FILE}:")
    for change in found.changes:
        for line in change.lines:
            show.out("  " + click.style(line, fg="yellow" if line.startswith("~") else "green"))
        show.out(f"      {spoken(change.tool, change.params)}")
    for each in found.differs:
        show.out("  " + click.style(f"! {each.text}; apply does not change that", fg="red"))
        if each.tool:
            show.out(f"      {suggestion(each.tool, dict(each.params))}")


def spoken(tool: str, params: Mapping[str, Any]) -> str:
    """The call as it stands: nothing is filled in from the file."""
    return shlex.join(["we", "tool", tool, json.dumps(params, ensure_ascii=False)])


# apply


def apply(session: Session, folder: str | None, *, yes: bool) -> int:
    _, wanted = manifests.here(session, folder)
    found = manifests.compared(session, wanted)
    shown(wanted, found)
    if not found.changes:
        return exits.OK if found.empty else exits.DIFFERS
    drafts = _drafts(session, found)
    _ask(yes)
    for number, change in enumerate(found.changes):
        if (code := _made(session, change, drafts.get(number), first=number == 0)) != exits.OK:
            return _stopped(found, number, code)
    left = manifests.compared(session, wanted)
    shown(wanted, left)
    return exits.OK if left.empty else exits.DIFFERS


@dataclass(frozen=True)
class _Draft:
    """What a dry run said: its plan's id, and what it would change."""

    id: str
    changes: tuple[str, ...]


def _drafts(session: Session, found: Plan) -> dict[int, _Draft]:
    """A dry run of each call that can be made by now, by its number.

    Shows a refusal and raises `Ended`: then nothing was applied.
    """
    return {number: _draft(session, change) for number, change in enumerate(found.changes) if not change.waits}


def _draft(session: Session, change: Change) -> _Draft:
    answer = session.ask(change.tool, {**change.params, "dryRun": True})
    if not answer.ok:
        code = session.failed(answer)
        show.err(f"  It was {spoken(change.tool, change.params)}")
        raise Ended(code)
    for text in answer.body.get("warnings", []):
        show.warn(str(text))
    return _Draft(str(answer.body["planId"]), tuple(str(each) for each in answer.body.get("changes", [])))


def _ask(yes: bool) -> None:
    """Raises `UsageError` where nobody can be asked, `Ended` when the answer is no."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise click.UsageError("Nobody can be asked here whether to go on: say --yes. Nothing was applied.")
    if not click.confirm("Make it so?", err=True):
        show.err("Nothing was applied.")
        raise Ended(exits.FAILED)


def _made(session: Session, change: Change, shown_draft: _Draft | None, *, first: bool) -> int:
    """The exit code of one call, bound to what was shown of it."""
    show.err(click.style(spoken(change.tool, change.params), bold=True))
    try:
        draft = shown_draft if first and shown_draft else _draft(session, change)
    except Ended as ended:
        return ended.code
    # what was applied before may have done a part of it, and nothing may have been added
    if shown_draft is not None and not set(draft.changes) <= set(shown_draft.changes):
        show.err(click.style("✗ It would do something else by now than what was shown; it was not done.", fg="red"))
        return exits.FAILED
    return _called(session, by_name()[change.tool], {**change.params, "planId": draft.id})


def _called(session: Session, tool: ToolView, params: dict[str, Any]) -> int:
    """Its sentence, and what is left to somebody else; an operation is followed to its end."""
    answer = calls.asked(session, tool, params | ({"wait": False} if tool.long else {}), fresh_key())
    if not answer.ok:
        return session.failed(answer)
    body = answer.body
    if "steps" in body and body.get("operationId"):
        return calls.attend(session, str(body["operationId"]))
    show.out(str(body.get("summary", "")))
    show.facts({"setAtRegistrar": body.get("setAtRegistrar") or (body.get("domain") or {}).get("setAtRegistrar") or []})
    show.after({"warnings": body.get("warnings", [])})
    return exits.OK


def _stopped(found: Plan, number: int, code: int) -> int:
    show.err(f"Stopped. Applied: {number} of {len(found.changes)} calls.")
    for change in found.changes[number:]:
        for line in change.lines:
            show.err(f"  not applied: {line}")
    show.err("  What was applied stays. `we plan` says what differs, `we apply` goes on from there.")
    return code
