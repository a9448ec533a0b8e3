"""A new password without downtime: for a time both let in.

rotate: login -> RECORD -> files        end of the former one: END -> logins -> forget

Containers know the password they were started with. From the record on deployments get the new one; the former one ends
when no slot holds a version from before, or when somebody says so. An end whose later steps failed is tried again.
"""

from typing import Any

from codeb.contracts.store import Registry
from codeb.errors import PublicError, StepFailed
from codeb.flows.storage import StorageInput, admit, only, publish, tell
from codeb.saga.step import Run, Saga, Step


async def _login(run: Run[StorageInput]) -> None:
    await admit(run.kit, run.input, run.input.generation + 1)


async def _only_the_former(run: Run[StorageInput]) -> None:
    await only(run.kit, run.input, run.input.generation)


async def _record(run: Run[StorageInput], registry: Registry) -> None:
    await registry.storages.change(
        run.input.id, generation=run.input.generation + 1, rotated_at=run.kit.world.now()
    )  # fmt: skip
    await tell(run, registry, run.input)


async def _failed(run: Run[StorageInput], registry: Registry, fault: PublicError) -> None:
    await registry.storages.drop_passwords(run.input.id, keep=run.input.generation)


def _told(run: Run[StorageInput], *, rotated: bool, generation: int) -> dict[str, Any]:
    place = run.input.place
    return {
        "projectName": place.project, "environment": place.environment, "name": run.input.name, "rotated": rotated,
        "generation": generation, "formerEnded": "forget" in run.outputs,
    }  # fmt: skip


ROTATE: Saga[StorageInput] = Saga(
    name="storage_rotate",
    version=1,
    input=StorageInput,
    steps=(
        Step("login", "a new password lets in, beside the one in use", do=_login, undo=_only_the_former),
        Step("record", "deployments get the new one from now on", record=_record, commits=True),
        Step("files", "the files of the variables say it too", do=publish),
    ),
    deadline=lambda policy: policy.deploy_seconds,
    result=lambda run: _told(run, rotated=True, generation=run.input.generation + 1),
    summary=lambda value: f"new password for {value.kind} {value.name}",
    failed=_failed,
)


async def _end(run: Run[StorageInput], registry: Registry) -> None:
    """Only what was decided as it began is from here on true: there is no way back to a login that was dropped."""


async def _logins(run: Run[StorageInput]) -> None:
    await only(run.kit, run.input, run.input.generation)


async def _forget(run: Run[StorageInput], registry: Registry) -> None:
    if "logins" not in run.outputs:
        raise StepFailed("the former password may still let in", code="not_all_gone", hint="It is tried again by itself.")
    await registry.storages.drop_passwords(run.input.id, keep=run.input.generation)


END: Saga[StorageInput] = Saga(
    name="storage_end",
    version=1,
    input=StorageInput,
    steps=(
        Step("end", "the former password is over", record=_end, commits=True),
        Step("logins", "only the new one lets in", do=_logins),
        Step("forget", "the former one is not on record any more", record=_forget),
    ),
    deadline=lambda policy: policy.deploy_seconds,
    result=lambda run: _told(run, rotated=False, generation=run.input.generation),
    summary=lambda value: f"end the former password of {value.kind} {value.name}",
)
