"""Refusals and failures that several tools give, in the same words: what is still true, and what to do next."""

from collections.abc import Iterable, Sequence
from typing import Any

from codeb.contracts.store import Standing
from codeb.errors import Conflict, NotFound, OperationFailed, Unavailable
from codeb.model.approvals import Decision
from codeb.model.deletion import CREATING, DELETED, READY, is_deleted, purge_at
from codeb.model.journal import Operation, StepRow
from codeb.model.names import did_you_mean
from codeb.model.previews import Preview
from codeb.model.specs import Project


def degraded(tool: str, standing: Standing, able: Sequence[str] = ()) -> Unavailable:
    """The refusal of what only the database can do, while it is away."""
    others = f", and {', '.join(able)}" if able else ""
    return Unavailable(
        f"The database does not answer, and {tool} needs it; nothing was done. What runs goes on running.",
        code="degraded", hint=f"Still working: everything that reads{others}. Try again once it is back.",
        details={"awaySince": str(standing.away_since), "reason": standing.why, "stillWorking": list(able)},
    )  # fmt: skip


def spent(approval_id: str, stands: Decision) -> Conflict:
    """The refusal of a call by an approval that is worth nothing any more."""
    word = "was used already" if stands is Decision.USED else f"is {stands}"
    return Conflict(
        f"The approval {approval_id} {word}; nothing was done.", code=f"approval_{stands}",
        hint="An approval is good for one call. Ask again without planId: that makes a plan of how things are now.",
        details={"approvalId": approval_id, "state": stands.value},
    )  # fmt: skip


def ending(preview: Preview) -> Conflict:
    """The refusal of what would begin on a preview of which something is still to be removed."""
    return Conflict(
        f"{preview.place.key} is being removed, and something of it is still there; nothing was done.", code="preview_ending",
        hint="It is finished by itself within minutes. To finish it now, call preview_delete; then try again.",
    )  # fmt: skip


def failure(operation: Operation, steps: list[StepRow]) -> OperationFailed:
    """The error that tells how an operation ended: the step, the evidence, what is still true, what to do."""
    error = operation.error or {}
    details = dict(error.get("details") or {})
    details |= {"operationId": operation.id, "state": operation.state.value, "steps": step_list(steps)}
    still = "Everything it had done is undone."
    if operation.undo_faults:
        details["undoFaults"] = list(operation.undo_faults)
        still = "Not everything could be undone: " + "; ".join(operation.undo_faults) + "."
    return OperationFailed(
        f"{operation.tool} failed: {error.get('message', 'it did not finish')} {still}",
        status=int(error.get("status", 409)), code=str(error.get("code", "operation_failed")),
        hint=str(error.get("hint", "")), details=details,
    )  # fmt: skip


def step_list(steps: list[StepRow]) -> list[dict[str, Any]]:
    """Steps as every answer shows them: those that had something to do."""
    return [
        {
            "name": row.name, "status": row.state.value,
            "durationMs": None if row.duration_ms is None else round(row.duration_ms, 1),
        } | ({"error": row.error} if row.error else {})
        for row in steps if not row.idle
    ]  # fmt: skip


def unknown_project(name: str, visible: Iterable[str]) -> NotFound:
    """The same answer for a project that is not there and one the caller may not see."""
    near = did_you_mean(name, visible)
    return NotFound(
        f"There is no project {name}.",
        code="project_not_found",
        hint=near or "See project_list, or create it with workflow_init.",
    )


def not_ready(project: Project) -> Conflict | None:
    """Why nothing may be done with it; None when it is neither deleted nor being deleted."""
    if project.state == READY:
        return None
    if is_deleted(project):
        return gone(project)
    if project.state == CREATING:
        return Conflict(
            f"Project {project.name} is being set up.", code="project_creating",
            hint="See operation_list, or wait. If nothing works on it, call workflow_init again.",
        )  # fmt: skip
    return Conflict(
        f"Project {project.name} is being deleted.", code="project_deleting", hint="Finish with project_delete, or wait."
    )


def gone(project: Project) -> Conflict:
    """The answer about a deleted project, with the call that brings it back, as long as one does."""
    if project.state != DELETED:
        return Conflict(
            f"Project {project.name} is deleted, and what is left of it is being removed.", code="project_deleted",
            hint="Its name is free once that is done. See operation_list.",
        )  # fmt: skip
    why = "bring it back as it was"
    return Conflict(
        f"Project {project.name} is deleted. It can be brought back until {purge_at(project)}.", code="project_deleted",
        hint=f"Call undelete for {project.name}.",
        details={"undelete": {"tool": "undelete", "params": {"projectName": project.name}, "why": why}},
    )  # fmt: skip
