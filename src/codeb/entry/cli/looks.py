"""The daily commands that only look: status, ports, ops, health, logs."""

from typing import Any

import click

from codeb.entry.cli import calls, exits, show
from codeb.entry.cli.options import Later, options, params_of
from codeb.entry.cli.session import Session
from codeb.entry.cli.surface import by_name

project_option = click.option("--project", "-p", "--project-name", "project", help="the project [default: that of codeb.toml]")
environment_option = click.option("--env", "-e", "--environment", "environment", help="the environment")
all_option = click.option("--all", "everything", is_flag=True, help="all projects, whatever codeb.toml says")
json_option = click.option("--json", "as_json", is_flag=True, help="print the server's answer as it is")


def _scope(session: Session, project: str | None, environment: str | None, everything: bool) -> dict[str, Any]:
    if everything:
        if project or environment:
            raise click.UsageError("--all and a project or environment exclude each other.")
        return {}
    chosen = project or session.repository.project
    if chosen is None and environment:
        raise click.UsageError("--env needs a project: say --project, or write it into codeb.toml.")
    mine = session.repository.environment if chosen == session.repository.project else None
    said = {"projectName": chosen, "environment": environment or (mine if chosen else None)}
    return {name: value for name, value in said.items() if value is not None}


@click.command(short_help="Show what runs where")
@click.argument("name", required=False, metavar="[PROJECT]")
@project_option
@environment_option
@all_option
@json_option
@click.pass_obj
def status(
    session: Session, name: str | None, project: str | None, environment: str | None, everything: bool, as_json: bool
) -> int:
    """Both slots of an environment; without a project all environments."""
    params = _scope(session, name or project, environment, everything)
    if as_json:
        return session.raw(session.ask("slot_status" if params else "slot_list", params))
    if params:
        _status(session.good("slot_status", params))
        return exits.OK
    body = session.good("slot_list", {"limit": 1000})
    rows = []
    for each in body["environments"]:
        operation = each["operation"]
        doing = f"{operation['tool']} at {operation['step'] or 'its beginning'}" if operation else ""
        rows.append([each["projectName"], each["environment"], _short(each["blue"]), _short(each["green"]), doing, each["url"]])
    if rows:
        show.table(["PROJECT", "ENVIRONMENT", "BLUE", "GREEN", "RUNNING", "URL"], rows)
    else:
        show.out("No environments yet. Begin with: we project create NAME")
    for each in body["environments"]:
        for text in [] if each["operation"] else each["blue"]["drift"] + each["green"]["drift"]:
            show.warn(f"drift: {text}")
    show.after(body)
    return exits.OK


def _short(slot: dict[str, Any]) -> str:
    if slot["state"] == "empty":
        return ""
    health = f", {show.colour(slot['health'])}" if slot["health"] not in ("healthy", "running") else ""
    return f"{slot['version']} ({show.colour(slot['state'])}{health})"


def _status(body: dict[str, Any]) -> None:
    show.out(f"{body['projectName']} {body['environment']}: {body['url']}")
    rows = []
    for slot in (body["blue"], body["green"]):
        hours = slot["graceHoursRemaining"]
        grace = "" if hours is None else f"{hours:.1f} h left" if hours > 0 else "over"
        since = show.ago(slot["promotedAt"] or slot["deployedAt"]) if slot["state"] != "empty" else ""
        by = show.person(slot["promotedBy"] or slot["deployedBy"]) if slot["state"] != "empty" else ""
        states = [show.colour(slot["state"]), show.colour(slot["health"])]
        rows.append([slot["slot"], *states, slot["version"], slot["port"], grace, since, by, slot["previewUrl"]])
    show.table(["SLOT", "STATE", "HEALTH", "VERSION", "PORT", "GRACE", "SINCE", "BY", "PREVIEW"], rows)
    if operation := body["operation"]:
        step = f" at step {operation['step']}" if operation["step"] else ""
        since = show.ago(operation["startedAt"])
        by = show.person(operation["startedBy"])
        show.out(f"Running: {operation['tool']}{step}, begun {since} by {by} ({operation['operationId']})")
    show.after(body)


@click.command(short_help="Show the map of ports")
@project_option
@json_option
@click.pass_obj
def ports(session: Session, project: str | None, as_json: bool) -> int:
    """Ports that are leased, published by the runtime or listened on."""
    params: dict[str, Any] = {"projectName": project} if project else {}
    if as_json:
        return session.raw(session.ask("port_list", params))
    body = session.good("port_list", params)
    rows = [[each["port"], each["leased"], each["runtime"], "yes" if each["listening"] else ""] for each in body["ports"]]
    if rows:
        show.table(["PORT", "LEASED", "RUNTIME", "LISTENING"], rows)
    ranges = ", ".join(f"{name} {span}" for name, span in body["ranges"].items())
    show.out(f"{len(rows)} ports on {body['server']}; ranges: {ranges}" + (" (there are more: --json)" if body["more"] else ""))
    show.after(body)
    return exits.OK


@click.command(short_help="Show operations, or follow one")
@click.argument("operation_id", required=False, metavar="[ID]")
@click.option("--running", is_flag=True, help="only those that have not ended")
@click.option("--follow", "-f", is_flag=True, help="follow the operation, or without ID the newest running one, to its end")
@project_option
@environment_option
@all_option
@json_option
@click.pass_obj
def ops(
    session: Session, operation_id: str | None, running: bool, follow: bool, project: str | None, environment: str | None,
    everything: bool, as_json: bool,
) -> int:  # fmt: skip
    """Operations, newest first; with ID one with its steps. One whose connection was lost is found here."""
    if operation_id is None:
        params: dict[str, Any] = _scope(session, project, environment, everything)
        # the environment of codeb.toml would hide what runs beside it
        params = {name: value for name, value in params.items() if name != "environment" or environment}
        params |= {"running": True} if running or follow else {}
        if as_json and not follow:
            return session.raw(session.ask("operation_list", params))
        body = session.good("operation_list", params)
        if not follow:
            return _operations(body)
        if not body["operations"]:
            show.out("No operation is running.")
            return exits.OK
        operation_id = str(body["operations"][0]["operationId"])
    if as_json:
        return session.raw(session.ask("operation_get", {"operationId": operation_id}))
    if follow:
        return calls.attend(session, operation_id)
    body = session.good("operation_get", {"operationId": operation_id})
    steps = [[s["name"], show.colour(s["status"]), show.milliseconds(s["durationMs"]), s.get("error")] for s in body["steps"]]
    show.table(["STEP", "STATE", "TIME", "ERROR"], steps)
    if body["operation"]["state"] in ("succeeded", "failed", "cancelled"):
        return calls.conclude(body)
    show.out(str(body["summary"]))
    show.after({"next": [{"tool": "operation_get", "params": {"operationId": operation_id}, "why": "follow it"}]})
    return exits.OK


def _operations(body: dict[str, Any]) -> int:
    rows = [
        [
            each["operationId"], show.colour(each["state"]), show.harmless(each["summary"]),
            "" if each["endedAt"] else each["step"], show.ago(each["startedAt"]), show.person(each["startedBy"]),
        ]
        for each in body["operations"]
    ]  # fmt: skip
    if rows:
        show.table(["ID", "STATE", "WHAT", "STEP", "BEGUN", "BY"], rows)
    else:
        show.out("No operations.")
    return exits.OK


@click.command(short_help="Check everything")
@json_option
@click.pass_obj
def health(session: Session, as_json: bool) -> int:
    """API, store, Docker, proxy, disk, slots. Ends with 1 when one of them fails."""
    answer = session.ask("health_check", {})
    if not answer.ok:
        return session.raw(answer) if as_json else session.failed(answer)
    code = exits.FAILED if answer.body["status"] == "fail" else exits.OK
    if as_json:
        session.raw(answer)
        return code
    rows = [[show.colour(each["status"]), each["name"], each["text"]] for each in answer.body["checks"]]
    show.table(["STATE", "PART", "WHAT"], rows)
    for each in answer.body["checks"]:
        if each["fix"]:
            show.warn(f"{each['name']}: {each['fix']}")
    show.out(str(answer.body["summary"]))
    return code


def _logs() -> click.Command:
    tool = by_name()["logs"]

    def call(**given: Any) -> int:
        from codeb.entry.cli import tail

        session: Session = click.get_current_context().obj
        params = params_of(session, tool, given, positional=False)
        if given["follow"]:
            return tail.follow(session, params, stamps=given["stamps"], as_json=given["as_json"])
        answer = session.ask("logs", params, seconds=60)
        if given["as_json"]:
            return session.raw(answer)
        if not answer.ok:
            return session.failed(answer)
        tail.lines(answer.body, stamps=given["stamps"])
        return exits.OK

    def make() -> list[click.Parameter]:
        return [
            click.Option(["--follow", "-f"], is_flag=True, help="go on as lines come, also over a restart of the server"),
            click.Option(["--timestamps", "-t", "stamps"], is_flag=True, help="the time before each line"),
            *options(tool, positional=False),
        ]

    more = "Without --slot the one that has the traffic, also after a promote. Ctrl-C ends --follow with exit code 130."
    about = f"{tool.about}\n\n{more}"
    return Later("logs", make=make, callback=call, help=about, short_help=tool.title)


logs = _logs()
