"""Project deletion: a final record for people, traffic ends, containers are set aside. Forward only; `undelete` is the way back.

backup -> RETIRE -> sites -> firewall -> containers -> settle

Ports, network, name and slot rows stay as they are. A deletion whose later steps failed leaves the project `deleting`;
calling it again finishes it.
"""

from dataclasses import dataclass
from typing import Any

from codeb.contracts.store import Registry
from codeb.errors import StepFailed
from codeb.flows import firewall
from codeb.model import deletion, names
from codeb.model.events import Event, Severity
from codeb.model.names import Place
from codeb.saga.step import Run, Saga, Step


@dataclass(frozen=True)
class DeleteInput:
    project: str
    places: tuple[Place, ...]
    kept: tuple[str, ...]
    """containers of filled slots: set aside, to be brought back"""
    unwanted: tuple[str, ...]
    """names of empty slots: whatever stands there is nobody's"""
    document: dict[str, Any]
    """what is recorded of it"""
    stop_seconds: int


async def _backup(run: Run[DeleteInput]) -> dict[str, Any]:
    stamp = run.operation.created_at.strftime("%Y%m%dT%H%M%SZ")
    return {"path": await run.kit.records.keep(f"projects/{run.input.project}-{stamp}", run.input.document)}


async def _retire(run: Run[DeleteInput], registry: Registry) -> None:
    """Raises `StepFailed` (`state_moved`) when an environment came meanwhile: this operation does not hold its lock."""
    found = await registry.projects.get(run.input.project)
    fresh = set(found.environments if found else ()) - {place.environment for place in run.input.places}
    if fresh:
        raise StepFailed(
            f"{run.input.project} got another environment meanwhile ({', '.join(sorted(fresh))})", code="state_moved",
            hint="Nothing was deleted. Call it again.",
        )  # fmt: skip
    await registry.projects.set_state(run.input.project, deletion.DELETING)


async def _sites(run: Run[DeleteInput]) -> None:
    for place in run.input.places:
        await run.kit.proxy.remove_site(place)


async def _firewall(run: Run[DeleteInput]) -> None:
    """Its openings are closed; the rules stay on record, and count again when it comes back."""
    await firewall.of_project(run.kit, run.input.project)


async def _containers(run: Run[DeleteInput]) -> None:
    """Set aside, they lose their restart policy: no restart of the machine or of Docker brings them back."""
    for name in run.input.kept:
        await run.kit.runtime.shelve(name, run.input.stop_seconds)
    for name in run.input.unwanted:
        await run.kit.runtime.remove(name, run.input.stop_seconds)
        await run.kit.runtime.remove(names.kept(name), run.input.stop_seconds)


async def _settle(run: Run[DeleteInput], registry: Registry) -> dict[str, Any]:
    left = [name for name in ("sites", "firewall", "containers") if name not in run.outputs]
    if left:
        raise StepFailed(
            f"not deleted yet, because of: {', '.join(left)}", code="not_all_gone", hint="Call project_delete again."
        )
    now = run.kit.world.now()
    await registry.projects.set_state(run.input.project, deletion.DELETED, now)
    text = f"Project {run.input.project} was deleted; undelete brings it back for {deletion.KEPT_DAYS} days."
    await registry.events.add(
        Event(
            id=run.kit.world.new_id("ev"), at=now, kind="project_deleted", severity=Severity.INFO, text=text,
            team=run.operation.team, project=run.input.project, operation_id=run.operation.id,
        )
    )  # fmt: skip
    return {"at": now.isoformat()}


def _result(run: Run[DeleteInput]) -> dict[str, Any]:
    return {
        "projectName": run.input.project, "deleted": "settle" in run.outputs, "purged": False,
        "deletedAt": run.outputs.get("settle", {}).get("at"), "backup": run.outputs["backup"]["path"], "releasedPorts": [],
    }  # fmt: skip


SAGA: Saga[DeleteInput] = Saga(
    name="project_delete",
    version=3,
    input=DeleteInput,
    steps=(
        Step("backup", "keep a final record of the project", do=_backup),
        Step("retire", "nothing new may begin on the project", record=_retire, commits=True),
        Step("sites", "take its sites from the proxy", do=_sites),
        Step("firewall", "close what is open for it", do=_firewall),
        Step("containers", "stop its containers and set them aside", do=_containers),
        Step("settle", "it is deleted, from now on for a week", record=_settle),
    ),
    deadline=lambda policy: policy.deploy_seconds,
    result=_result,
    summary=lambda value: f"delete project {value.project}",
)
