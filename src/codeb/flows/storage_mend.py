"""A container of storage that somebody stopped or removed: it runs again, on the data it had. Forward only.

ACCEPT -> raise
"""

from typing import Any

from codeb.contracts.store import Registry
from codeb.errors import Conflict
from codeb.flows import instances
from codeb.flows.storage import StorageInput
from codeb.saga.step import Run, Saga, Step


async def _accept(run: Run[StorageInput], registry: Registry) -> None:
    """Raises `Conflict` (`storage_deleting`) when it is not to run any more."""
    held = await registry.storages.get(run.input.place, run.input.kind)
    if held is None or held.id != run.input.id or not held.ready:
        raise Conflict(f"{run.input.name} is not in use any more.", code="storage_deleting", hint="See db_list.")


async def _raise(run: Run[StorageInput]) -> None:
    assert run.input.instance is not None
    await instances.raised(run.kit, run.input.instance)


def _result(run: Run[StorageInput]) -> dict[str, Any]:
    place = run.input.place
    return {
        "projectName": place.project, "environment": place.environment, "name": run.input.name,
        "runs": "raise" in run.outputs,
    }  # fmt: skip


SAGA: Saga[StorageInput] = Saga(
    name="storage_mend",
    version=1,
    input=StorageInput,
    steps=(
        Step("accept", "what the registry says is what is to be", record=_accept, commits=True),
        Step("raise", "its container runs and answers, on the data it had", do=_raise),
    ),
    deadline=lambda policy: policy.deploy_seconds,
    result=_result,
    summary=lambda value: f"mend {value.kind} {value.name}",
)
