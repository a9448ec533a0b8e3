"""The reference model's calls as CodeB's callers write them."""

from typing import Any

from tests.flows.model import Ask


def wire(ask: Ask) -> tuple[str, dict[str, Any]]:
    """The call in CodeB's words."""
    project, where = {"projectName": ask.project}, {"projectName": ask.project, "environment": ask.environment}
    match ask.tool:
        case "project_create":
            more: dict[str, Any] = {**project, "environments": [ask.environment], "containerPort": 8080}
        case "project_delete":
            more = {**project, "confirm": ask.project}
        case "purge":
            return "project_delete", {**project, "confirm": ask.project, "purge": True}
        case "undelete":
            more = project
        case "project_update":
            more = {**project, "autoRollback": ask.yes, "watchSeconds": ask.seconds}
        case "port_sync":
            more = {"fix": True}
        case "port_register":
            more = {**where, "blue": ask.port, "green": ask.port + 1}
        case "reconcile":
            more = {}
        case "deploy":
            more = {**where, "image": f"shop:{ask.version}", "autoPromote": ask.yes, "timeout": 5}
        case "slot_cleanup":
            more = {} if ask.slot is None else {**where, "slot": ask.slot, "force": ask.yes}
        case "promote" if ask.slot is not None:
            more = {**where, "slot": ask.slot}
        case _:
            more = where
    return ask.tool, more
