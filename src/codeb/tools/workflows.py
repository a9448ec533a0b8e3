"""Workflows: what a source tree is, and what it lacks to be deployed from."""

from typing import Any

from pydantic import Field

from codeb.model import source
from codeb.model.access import Role
from codeb.model.source import Fact, Portrait
from codeb.tools import fields
from codeb.tools.call import Call
from codeb.tools.tool import NextCall, Outcome, Risk, Tool


class ScanParams(fields.Params):
    files: fields.TreeFiles
    project_name: fields.ProjectName | None = Field(None, description="what it is to be called; default: what it calls itself")


class FactView(fields.Result):
    name: str
    value: str
    where: str
    """where in the tree it stands, or why it is assumed"""


class GapView(fields.Result):
    name: str
    text: str
    fix: str


class UnreadView(fields.Result):
    where: str
    why: str


class ScanResult(fields.Result):
    type: str | None
    container_port: int | None
    health_path: str | None
    dockerfile: bool
    workflow: str | None
    """the file of the workflow that deploys it"""
    facts: list[FactView]
    missing: list[GapView]
    unread: list[UnreadView]


async def _scan(call: Call, params: ScanParams) -> Outcome:
    found = source.portrait(params.files)
    facts = {"name": found.name, "type": found.type, "containerPort": found.container_port, "healthPath": found.health_path}
    result = ScanResult(
        type=_text(found.type), container_port=_number(found.container_port), health_path=_text(found.health_path),
        dockerfile=found.dockerfile, workflow=found.workflow or None,
        facts=[FactView(name=name, value=str(each.value), where=each.where) for name, each in facts.items() if each],
        missing=[GapView(name=each.name, text=each.text, fix=each.fix) for each in found.gaps],
        unread=[UnreadView(where=each.where, why=each.why) for each in found.unread],
    )  # fmt: skip
    lacks = ", ".join(each.name for each in found.gaps)
    said = f"It is {found.type.value}" if found.type else "Nothing tells what it is"
    return Outcome(result, f"{said}; look at: {lacks}." if lacks else f"{said}.", _next(call, found, params), found.beside)


def _next(call: Call, found: Portrait, params: ScanParams) -> tuple[NextCall, ...]:
    """Where it is called something, and this caller may set it up."""
    name = params.project_name or _text(found.name)
    if name is None or found.type is None or not call.actor.may_use("workflow_init", Role.MEMBER):
        return ()
    said: dict[str, Any] = {"projectName": name, "type": found.type.value}
    said |= {"containerPort": found.container_port.value} if found.container_port else {}
    said |= {"healthPath": found.health_path.value} if found.health_path else {}
    return (NextCall("workflow_init", said, "set it up"),)


def _text(fact: Fact | None) -> str | None:
    return str(fact.value) if fact else None


def _number(fact: Fact | None) -> int | None:
    return int(fact.value) if fact else None


TOOLS: tuple[Tool[Any], ...] = (
    Tool(
        "workflow_scan", "Look at a source tree",
        "What a source tree is: framework, port, health path, Dockerfile, workflow; what is missing. Nothing of it is kept.",
        ScanParams, ScanResult, Role.VIEWER, Risk.READS, _scan,
    ),
)  # fmt: skip
