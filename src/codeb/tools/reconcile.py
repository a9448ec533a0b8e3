"""Reconcile: compare everything with the registry, mend what is safe to mend, report the rest."""

from typing import Any

from pydantic import Field

from codeb.errors import InvalidParams
from codeb.flows import preview_look
from codeb.flows.observers import survey
from codeb.model.access import Role
from codeb.model.drift import Mismatch
from codeb.model.events import Severity
from codeb.model.names import Place
from codeb.tools import fields
from codeb.tools.call import Call
from codeb.tools.drafts import draft
from codeb.tools.mending import Tried, mend_all
from codeb.tools.tool import Outcome, Risk, Tool


class ReconcileParams(fields.Changing):
    project_name: fields.ProjectName | None = Field(None, description="without it: everything you may see")
    environment: fields.Environment | None = Field(None, description="only this one; needs a projectName")
    fix: bool = Field(True, description="mend what is safe to mend; false only reports")


class MismatchView(fields.Result):
    kind: str
    project_name: str | None
    environment: str | None
    slot: str | None
    severity: str
    text: str
    repair: str
    policy: str
    mended: bool = False
    why_not: str = ""
    operation_id: str | None = None


class ReconcileResult(fields.Result):
    findings: list[MismatchView]
    mended: int
    left: int


def visible(call: Call, each: Mismatch) -> bool:
    """Of its environment where it has one; what is of the whole installation is shown to keys that are not narrowed."""
    if each.place is None:
        return not call.actor.projects
    if not call.actor.may_touch(each.place.environment):
        return False
    known = each.place.project in call.kit.store.snapshot.projects
    return each.place.project in call.projects() if known else not call.actor.projects


def _of(params: ReconcileParams, each: Mismatch) -> bool:
    if params.project_name is None:
        return True
    return (
        each.place is not None
        and each.place.project == params.project_name
        and params.environment in (None, each.place.environment)
    )


async def _reconcile(call: Call, params: ReconcileParams) -> Outcome:
    if params.project_name is not None:
        call.project(params.project_name)
        if params.environment is not None:
            call.pair(Place(params.project_name, params.environment))
    elif params.environment is not None:
        raise InvalidParams(
            "environment needs a projectName; nothing was done.",
            details={"fields": [{"field": "projectName", "problem": "is missing"}]},
        )
    seen = await survey(call.kit)
    found = [each for each in seen.found if visible(call, each) and _of(params, each)]
    due = [each for each in found if each.mendable]
    drafted = draft("reconcile", {"mend": [each.key for each in due]}, _changes(found), {each.key: each.text for each in found})
    if params.dry_run:
        return drafted.shown(f"{_count(found)}, {len(due)} would be mended.")
    drafted.still_fits(params)
    unsure = await _unsure(call, params)
    tried = await mend_all(call.kit, seen, due, lambda place: call) if params.fix else Tried()
    views = [view(each, tried) for each in found]
    mended = sum(1 for each in views if each.mended)
    result = ReconcileResult(findings=views, mended=mended, left=len(views) - mended)
    if not found:
        return Outcome(result, "Registry and world agree.", (), unsure)
    alarms = tuple(each.text for each in found if each.severity is Severity.ALARM and not tried.mended(each))
    return Outcome(result, f"{_count(found)}, {mended} mended.", (), alarms + unsure)


async def _unsure(call: Call, params: ReconcileParams) -> tuple[str, ...]:
    """That previews of the caller end by their time alone, where nobody can say how their pull requests stand."""
    mine = [
        place for place in call.kit.store.snapshot.previews
        if place.project in call.projects() and call.actor.may_touch(place.environment)
        and params.project_name in (None, place.project) and params.environment in (None, place.environment)
    ]  # fmt: skip
    said = await preview_look.not_known(call.kit, mine)
    return (said,) if said else ()


def _count(found: list[Mismatch]) -> str:
    return f"{len(found)} difference{'' if len(found) == 1 else 's'}"


def _changes(found: list[Mismatch]) -> list[str]:
    return [f"{each.text}: {each.repair}" for each in found if each.mendable]


def view(each: Mismatch, tried: Tried) -> MismatchView:
    mended = tried.mended(each)
    why_not = "" if mended else tried.why_not.get(each.key, "" if each.mendable else "to be decided by a person")
    return MismatchView(
        kind=each.kind, project_name=each.place.project if each.place else None,
        environment=each.place.environment if each.place else None, slot=each.slot.value if each.slot else None,
        severity=each.severity.value, text=each.text, repair=each.repair, policy=each.policy.value, mended=mended,
        why_not=why_not, operation_id=tried.operations.get(each.key),
    )  # fmt: skip


TOOLS: tuple[Tool[Any], ...] = (
    Tool(
        "reconcile", "Compare and mend",
        "Compare the registry with containers, ports, proxy and live routes; mend what is safe, report the rest.",
        ReconcileParams, ReconcileResult, Role.ADMIN, Risk.CHANGES, _reconcile, without_database=True,
    ),
)  # fmt: skip
