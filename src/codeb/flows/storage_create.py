"""A database, or a part of a Redis, for one environment.

PostgreSQL: role -> database -> RECORD -> files        Redis: user -> RECORD -> files

The registry's row and the sealed password are made in the transaction that opens it, and go with one that fails.
"""

from typing import Any

from codeb.contracts.store import Registry
from codeb.errors import PublicError
from codeb.flows.storage import StorageInput, admit, publish, server_of, tell
from codeb.model.storage import ENV, Stage
from codeb.saga.step import Run, Saga, Step


async def _admit(run: Run[StorageInput]) -> None:
    await admit(run.kit, run.input, run.input.generation)


async def _database(run: Run[StorageInput]) -> None:
    await run.kit.databases.make(run.input.holding)


async def _gone(run: Run[StorageInput]) -> None:
    """Nobody was told the password yet, so nothing of anybody's is in it."""
    await server_of(run.kit, run.input.kind).drop(run.input.holding)


async def _record(run: Run[StorageInput], registry: Registry) -> None:
    await registry.storages.change(run.input.id, state=Stage.READY)
    await tell(run, registry, run.input)


async def _files(run: Run[StorageInput]) -> None:
    where = server_of(run.kit, run.input.kind).where
    if where is not None and where.loopback:
        run.warn(
            f"The storage server's address is {where.host}, which inside a container is the container itself: name it by an "
            "address that containers reach."
        )
    await publish(run)


async def _failed(run: Run[StorageInput], registry: Registry, fault: PublicError) -> None:
    await registry.storages.remove(run.input.id)


def _result(run: Run[StorageInput]) -> dict[str, Any]:
    value = run.input
    where = server_of(run.kit, value.kind).where
    return {
        "projectName": value.place.project, "environment": value.place.environment, "name": value.name,
        "host": where.host if where else "", "port": where.port if where else 0, "created": True, "env": list(ENV[value.kind]),
    }  # fmt: skip


DATABASE: Saga[StorageInput] = Saga(
    name="db_create",
    version=1,
    input=StorageInput,
    steps=(
        Step("role", "an owner that nobody logs in as, and a login that acts as it", do=_admit, undo=_gone),
        Step("database", "a database that nobody else may enter", do=_database, undo=_gone),
        Step("record", "it is the environment's, and its variables say so", record=_record, commits=True),
        Step("files", "so do the files of its variables", do=_files),
    ),
    deadline=lambda policy: policy.deploy_seconds,
    result=_result,
    summary=lambda value: f"create database {value.name}",
    failed=_failed,
)

REDIS: Saga[StorageInput] = Saga(
    name="redis_create",
    version=1,
    input=StorageInput,
    steps=(
        Step("user", "a user that reaches keys and channels of its own prefix alone", do=_admit, undo=_gone),
        Step("record", "it is the environment's, and its variables say so", record=_record, commits=True),
        Step("files", "so do the files of its variables", do=_files),
    ),
    deadline=lambda policy: policy.deploy_seconds,
    result=_result,
    summary=lambda value: f"create Redis user {value.name}",
    failed=_failed,
)
