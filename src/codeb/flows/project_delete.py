"""Project deletion: a final record for people, then everything of the project goes, forward only.

backup -> RETIRE -> sites -> containers -> network -> erase

A deletion whose later steps failed leaves the project `deleting`; calling it again finishes it.
"""

from dataclasses import dataclass
from typing import Any

from codeb.contracts.store import Registry
from codeb.errors import StepFailed
from codeb.model import names
from codeb.model.names import Place, Slot
from codeb.saga.step import Run, Saga, Step


@dataclass(frozen=True)
class DeleteInput:
    project: str
    places: tuple[Place, ...]
    ports: tuple[int, ...]
    document: dict[str, Any]
    """what is kept of it"""
    stop_seconds: int

    @property
    def containers(self) -> list[str]:
        return [place.container(slot) for place in self.places for slot in Slot]


async def _backup(run: Run[DeleteInput]) -> dict[str, Any]:
    stamp = run.operation.created_at.strftime("%Y%m%dT%H%M%SZ")
    return {"path": await run.kit.records.keep(f"projects/{run.input.project}-{stamp}", run.input.document)}


async def _retire(run: Run[DeleteInput], registry: Registry) -> None:
    await registry.projects.set_state(run.input.project, "deleting")


async def _sites(run: Run[DeleteInput]) -> None:
    for place in run.input.places:
        await run.kit.proxy.remove_site(place)


async def _containers(run: Run[DeleteInput]) -> None:
    for name in run.input.containers:
        await run.kit.runtime.remove(name, run.input.stop_seconds)
        await run.kit.runtime.remove(names.kept(name), run.input.stop_seconds)


async def _network(run: Run[DeleteInput]) -> None:
    await run.kit.networks.remove_network(run.input.project)


async def _erase(run: Run[DeleteInput], registry: Registry) -> None:
    left = [name for name in ("sites", "containers", "network") if name not in run.outputs]
    if left:
        raise StepFailed(f"not erased, because of: {', '.join(left)}", code="not_all_gone", hint="Call project_delete again.")
    await registry.projects.remove(run.input.project)


def _result(run: Run[DeleteInput]) -> dict[str, Any]:
    return {
        "projectName": run.input.project, "deleted": "erase" in run.outputs, "backup": run.outputs["backup"]["path"],
        "releasedPorts": list(run.input.ports) if "erase" in run.outputs else [],
    }  # fmt: skip


SAGA: Saga[DeleteInput] = Saga(
    name="project_delete",
    version=1,
    input=DeleteInput,
    steps=(
        Step("backup", "keep a final record of the project", do=_backup),
        Step("retire", "nothing new may begin on the project", record=_retire, commits=True),
        Step("sites", "take its sites from the proxy", do=_sites),
        Step("containers", "stop and remove its containers", do=_containers),
        Step("network", "remove its network", do=_network),
        Step("erase", "free its ports and its name", record=_erase),
    ),
    deadline=lambda policy: policy.deploy_seconds,
    result=_result,
    summary=lambda value: f"delete project {value.project}",
)
