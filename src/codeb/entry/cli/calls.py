"""A call of a tool from beginning to end: asked about where it destroys, followed where it is long, shown to its reader."""

import sys
from typing import Any

import click

from codeb.entry.cli import exits, show
from codeb.entry.cli.client import Answer, Unreachable
from codeb.entry.cli.session import Ended, Session, fresh_key, unreachable
from codeb.entry.cli.surface import ToolView, suggestion

LONGEST_SECONDS = 920.0
"""longer than the server waits for any operation"""


def execute(session: Session, tool: ToolView, params: dict[str, Any], *, as_json: bool = False, yes: bool = False) -> int:
    """Make the call; gives the exit code."""
    params = dict(params)
    said_key = params.pop("idempotencyKey", None)
    key = (said_key or fresh_key()) if tool.changes else None
    dry = bool(params.get("dryRun"))
    if tool.risk == "destroys" and not dry:
        params = confirmed(session, tool, params, yes)
    if as_json:
        return session.raw(session.ask(tool.name, params, key=key, seconds=LONGEST_SECONDS))
    if tool.long and not dry:
        return run(session, tool, params, key or fresh_key())
    answer = asked(session, tool, params, key)
    if not answer.ok:
        return session.failed(answer)
    if dry:
        plan(answer.body)
    else:
        show.success(answer.body)
    return exits.OK


def plan(body: dict[str, Any]) -> None:
    """What a dry run would do."""
    show.out(str(body.get("summary", "")))
    for change in body.get("changes", []):
        show.out(f"  - {change}")
    show.out("Nothing was changed.")
    show.after(body)


def confirmed(session: Session, tool: ToolView, params: dict[str, Any], yes: bool) -> dict[str, Any]:
    """Ask before something is destroyed, showing what; the answer is bound to the state that was shown.

    Raises `UsageError` where nobody can be asked, `Ended` when the answer is no.
    """
    if yes:
        named = any(each.name == "confirm" for each in tool.params) and tool.first is not None and tool.first.name in params
        return {"confirm": params[tool.first.name], **params} if named and tool.first is not None else params
    if not sys.stdin.isatty():
        raise click.UsageError(f"`we {tool.words}` destroys something and nobody can be asked here: say --yes.")
    answer = session.ask(tool.name, {**params, "dryRun": True})
    if not answer.ok:
        raise Ended(session.failed(answer))
    show.err(str(answer.body.get("summary", "")))
    for change in answer.body.get("changes", []):
        show.err(f"  - {change}")
    bound = {"planId": answer.body["planId"], **params}
    if "confirm" not in params and any("confirm" in each.get("params", {}) for each in answer.body.get("next", [])):
        return {**bound, "confirm": click.prompt(f"Type the {tool.family}'s name to go on", err=True)}
    if not click.confirm("Go on?", err=True):
        show.err("Nothing was changed.")
        raise Ended(exits.FAILED)
    return bound


def asked(session: Session, tool: ToolView, params: dict[str, Any], key: str | None) -> Answer:
    """The call; where a policy wants the name typed and somebody is there to type it, that too."""
    answer = session.ask(tool.name, params, key=key, seconds=LONGEST_SECONDS)
    if answer.ok or answer.body.get("code") != "confirm_needed" or not sys.stdin.isatty():
        return answer
    details = answer.body.get("details") or {}
    show.err(str(answer.body.get("error", "")))
    show.planned(details)
    typed = click.prompt("Type its name to go on", err=True)
    more = {"planId": details.get("planId"), "confirm": typed}
    return session.ask(tool.name, {**params, **more}, key=key, seconds=LONGEST_SECONDS)


def run(session: Session, tool: ToolView, params: dict[str, Any], key: str) -> int:
    """Begin an operation and follow it, unless it is not to be waited for."""
    waits = params.pop("wait", True)
    answer = asked(session, tool, {**params, "wait": False}, key)
    if not answer.ok:
        return session.failed(answer)
    if answer.body.get("dryRun"):
        plan(answer.body)
        return exits.OK
    # an answer without a state is a whole one: there was nothing to wait for
    if "state" not in answer.body or not answer.body.get("operationId") or not waits:
        show.success(answer.body)
        return exits.OK
    show.err(str(answer.body.get("summary", "")))
    return attend(session, str(answer.body["operationId"]))


def attend(session: Session, operation_id: str) -> int:
    """Follow an operation, and what grows out of it, to the end and say how it went."""
    from codeb.entry.cli import progress

    find = suggestion("operation_get", {"operationId": operation_id})
    try:
        with progress.screen() as on:
            body = progress.follow(session, operation_id, on)
        deployed = body["operation"]["state"] == "succeeded" and body["operation"]["tool"] == "deploy"
        following = progress.successor(session, body["operation"]) if deployed else None
        code = conclude(body, last=following is None)
        return attend(session, following) if following else code
    except progress.Refused as refused:
        return session.failed(refused.answer)
    except Unreachable as fault:
        unreachable(fault)
        show.err(f"  The operation is journaled and goes on or is undone by the server itself. Find it with: {find}")
        return exits.UNREACHABLE
    except KeyboardInterrupt:
        show.err(f"\nThe operation goes on. Follow it with: {find}; stop it with: we cancel {operation_id}")
        return exits.INTERRUPTED


def conclude(body: dict[str, Any], *, last: bool = True) -> int:
    """The end of an operation, as the call that waits for it would tell it; nothing is next unless it is the `last`."""
    operation, result = body["operation"], body.get("result") or {}
    if operation["state"] != "succeeded":
        error = operation.get("error") or {}
        state = operation["state"]
        undone = not any(text.startswith("not undone: ") for text in operation.get("warnings", []))
        still = "Everything it had done is undone." if undone else "Not everything could be undone."
        details = {**(error.get("details") or {}), "operationId": operation["operationId"]}
        message = error.get("message") or "it did not finish."
        failed = {"error": f"{operation['tool']} {state}: {message} {still}", "hint": error.get("hint"), "details": details}
        show.failure({**failed, "warnings": operation.get("warnings", [])})
        return exits.FAILED
    sentence, then = told(operation, result)
    show.out(sentence)
    show.after({"warnings": operation.get("warnings", []), "next": then if last else []})
    return exits.OK


def told(operation: dict[str, Any], result: dict[str, Any]) -> tuple[str, list[dict[str, Any]]]:
    """One sentence about what an operation achieved, and what is likely next."""
    where = {"projectName": operation["projectName"], "environment": operation["environment"]}
    tool, version = operation["tool"], result.get("version")
    if tool == "deploy" and "previewUrl" in result:
        said = f"{version} runs in {result['slot']}, healthy: {result['previewUrl']}"
        return said, [{"tool": "promote", "params": where, "why": "send all traffic to it"}]
    if tool in ("promote", "rollback") and "activeSlot" in result:
        said = f"{version} ({result['activeSlot']}) has all traffic: {result.get('url')}"
        if tool == "rollback" or not result.get("gracePeriod"):
            return said, []
        grace = result["gracePeriod"]
        why = f"return to the version before, at once, for {grace['hoursRemaining']:g} hours"
        return said, [{"tool": "rollback", "params": where, "why": why}]
    if "reclaim" in result:
        left = f", {len(result['left'])} left" if result["left"] else ""
        return f"{len(result['deleted'])} manifests deleted{left}. {result['reclaim']}", []
    if tool in ("db_create", "redis_create") and "env" in result:
        next_one = {"tool": "deploy", "params": {**where, "version": "1.0.0"}, "why": "a deployment gets these variables"}
        return f"{result['name']} is there; deployments get {', '.join(result['env'])}.", [next_one]
    return f"{operation['summary']}: {operation['state']}.", []
