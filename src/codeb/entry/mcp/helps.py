"""Which call comes next: as the answer says, or as its refusal lets one know. Only what the caller may do, as it may be said."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from codeb.errors import PublicError
from codeb.gate.validate import validate
from codeb.tools.tool import Tool

MOST = 3
NAMED = ("redeploy", "repeat", "undelete")
"""details that hold a whole call"""
ABOUT = {"operationId": "operation_get", "approvalId": "approval_get"}
"""details that name something, and what shows it"""
BY_CODE = {"project_not_found": "project_list", "environment_not_found": "project_get", "slot_empty": "slot_status"}


@dataclass(frozen=True)
class Help:
    tool: str
    params: dict[str, Any]
    why: str = ""


def helps(body: Mapping[str, Any], said: Mapping[str, Any], offered: Mapping[str, Tool[Any]]) -> list[Help]:
    """At most three. `said` are the params of the call that is answered."""
    found: list[Help] = []
    for each in _candidates(body, said):
        tool = offered.get(each.tool)
        if tool is not None and (whole := _whole(tool, each)) is not None and whole not in found:
            found.append(whole)
    return found[:MOST]


def _candidates(body: Mapping[str, Any], said: Mapping[str, Any]) -> Iterator[Help]:
    for each in body.get("next", ()):
        yield _help(each)
    if body.get("success", True):
        return
    details = body.get("details", {})
    for name in NAMED:
        if isinstance(details.get(name), Mapping):
            yield _help(details[name])
    for name, shows in ABOUT.items():
        if isinstance(details.get(name), str):
            yield Help(shows, {name: details[name]})
    shows = BY_CODE.get(str(body.get("code")), "")
    for names in ("projectName", "environment"), ("projectName",), ():
        yield Help(shows, {name: said[name] for name in names if name in said})


def _help(each: Mapping[str, Any]) -> Help:
    return Help(str(each.get("tool")), dict(each.get("params", {})), str(each.get("why", "")))


def _whole(tool: Tool[Any], said: Help) -> Help | None:
    """With what an assistant must not leave to a default; None when it is no valid call."""
    params = dict(said.params)
    for name in tool.must_say:
        field = tool.params.model_fields[name]
        if not field.is_required():
            params.setdefault(field.alias or name, field.get_default())
    try:
        validate(tool.params, params, tool.must_say)
    except PublicError:
        return None
    return Help(tool.name, params, said.why)
