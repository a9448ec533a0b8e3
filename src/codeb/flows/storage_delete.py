"""The end of a database or of a part of a Redis, never without a final dump.

close -> dump -> RETIRE -> files -> drop -> forget

Nobody writes from `close` on, so the dump has everything. Before the commit point all goes back: a failed dump deletes
nothing. A deletion whose later steps failed leaves it `deleting`; calling it again finishes it, with the dump it has.
"""

import contextlib
from dataclasses import dataclass
from typing import Any

from codeb.contracts.store import Registry
from codeb.errors import NotFound, StepFailed
from codeb.flows import envs
from codeb.flows.storage import DUMP_SECONDS, StorageInput, close, drop, final_dump, release, serving, untell
from codeb.model.storage import Stage
from codeb.saga.step import Run, Saga, Step


@dataclass(frozen=True)
class EndInput:
    part: StorageInput
    backup: str | None
    """the final dump of a deletion that stopped half way; None: it is still to be made"""


async def _close(run: Run[EndInput]) -> None:
    """What somebody removed on the server has nobody to be closed to."""
    with contextlib.suppress(NotFound):
        await close(run.kit, run.input.part)


async def _open(run: Run[EndInput]) -> None:
    if run.input.backup is None:
        await (await serving(run.kit, run.input.part)).allow(run.input.part.holding, entry=True)


async def _dump(run: Run[EndInput]) -> dict[str, Any]:
    return {"path": run.input.backup or await final_dump(run, run.input.part)}


async def _retire(run: Run[EndInput], registry: Registry) -> None:
    await registry.storages.change(run.input.part.id, state=Stage.DELETING, backup=run.outputs["dump"]["path"])
    await untell(run, registry, run.input.part)


async def _files(run: Run[EndInput]) -> None:
    await envs.publish(run.kit, run.input.part.place)


async def _drop(run: Run[EndInput]) -> None:
    await drop(run.kit, run.input.part)


async def _forget(run: Run[EndInput], registry: Registry) -> None:
    if "drop" not in run.outputs:
        raise StepFailed("it is still on the server", code="not_all_gone", hint="Call it again.")
    await release(registry, run.input.part)


def _result(run: Run[EndInput]) -> dict[str, Any]:
    part = run.input.part
    return {
        "projectName": part.place.project, "environment": part.place.environment, "name": part.name,
        "backup": run.outputs["dump"]["path"], "deleted": "forget" in run.outputs,
    }  # fmt: skip


SAGA: Saga[EndInput] = Saga(
    name="storage_delete",
    version=1,
    input=EndInput,
    steps=(
        Step("close", "nobody writes to it any more", do=_close, undo=_open),
        Step("dump", "a final dump that can be read", do=_dump),
        Step("retire", "it cannot be used any more", record=_retire, commits=True),
        Step("files", "the files of the variables do not speak of it any more", do=_files),
        Step("drop", "it is gone from the server, with its logins", do=_drop),
        Step("forget", "it is not on record any more", record=_forget),
    ),
    deadline=lambda policy: max(policy.deploy_seconds, DUMP_SECONDS),
    result=_result,
    summary=lambda value: f"delete {value.part.kind} {value.part.name}",
)
