"""A database, or a part of a Redis, for one environment.

PostgreSQL: role -> database -> RECORD -> files        Redis: user -> RECORD -> files

One in a container of its own begins with that: open -> instance -> role -> database ...; its undo is that container's end.

The registry's row, the sealed password and the lease of a port are made in the transaction that opens it, and go with one
that fails.
"""

from typing import Any, cast

from codeb.contracts.databases import Databases
from codeb.contracts.store import Registry
from codeb.errors import PublicError
from codeb.flows import instances
from codeb.flows.storage import StorageInput, admit, drop, publish, release, serving, tell, where
from codeb.model.storage import ENV, Stage
from codeb.saga.step import Run, Saga, Step


async def _admit(run: Run[StorageInput]) -> None:
    await admit(run.kit, run.input, run.input.generation)


async def _database(run: Run[StorageInput]) -> None:
    await cast(Databases, await serving(run.kit, run.input)).make(run.input.holding)


async def _instance(run: Run[StorageInput]) -> None:
    assert run.input.instance is not None
    await instances.raised(run.kit, run.input.instance, fresh=True)


async def _open(run: Run[StorageInput]) -> None:
    """Before it runs: CodeB itself has to reach it."""
    spec = run.input.instance
    assert spec is not None
    if not await instances.let_in(run.kit, spec) and run.kit.firewall.provider != "none":
        run.warn(
            f"No rule of the firewall is about port {spec.port} of {spec.server}: see that app servers reach it, and nobody else."
        )


async def _shut(run: Run[StorageInput]) -> None:
    assert run.input.instance is not None
    await instances.shut(run.kit, run.input.instance)


async def _gone(run: Run[StorageInput]) -> None:
    """Nobody was told the password yet, so nothing of anybody's is in it."""
    await drop(run.kit, run.input)


async def _record(run: Run[StorageInput], registry: Registry) -> None:
    await registry.storages.change(run.input.id, state=Stage.READY)
    await tell(run, registry, run.input)


async def _files(run: Run[StorageInput]) -> None:
    at = where(run.kit, run.input)
    if at is not None and at.loopback:
        run.warn(
            f"The storage server's address is {at.host}, which inside a container is the container itself: name it by an "
            "address that containers reach."
        )
    await publish(run)


async def _failed(run: Run[StorageInput], registry: Registry, fault: PublicError) -> None:
    await release(registry, run.input)


def _result(run: Run[StorageInput]) -> dict[str, Any]:
    value = run.input
    at = where(run.kit, value)
    return {
        "projectName": value.place.project, "environment": value.place.environment, "name": value.name,
        "host": at.host if at else "", "port": at.port if at else 0, "created": True, "env": list(ENV[value.kind]),
        "server": value.instance.server if value.instance else None,
    }  # fmt: skip


_ROLE = Step("role", "an owner that nobody logs in as, and a login that acts as it", do=_admit, undo=_gone)
_DATABASE = Step("database", "a database that nobody else may enter", do=_database, undo=_gone)
_USER = Step("user", "a user that reaches keys and channels of its own prefix alone", do=_admit, undo=_gone)
_RECORD = Step("record", "it is the environment's, and its variables say so", record=_record, commits=True)
_FILES = Step("files", "so do the files of its variables", do=_files)
_OPEN = Step("open", "app servers reach its port, and nobody else", do=_open, undo=_shut)
_INSTANCE = Step("instance", "a container of its own runs and answers", do=_instance, undo=_gone)


def _creating(name: str, what: str, *steps: Step[StorageInput]) -> Saga[StorageInput]:
    return Saga(
        name=name, version=1, input=StorageInput, steps=(*steps, _RECORD, _FILES), deadline=lambda policy: policy.deploy_seconds,
        result=_result, summary=lambda value: f"create {what} {value.name}", failed=_failed,
    )  # fmt: skip


DATABASE = _creating("db_create", "database", _ROLE, _DATABASE)
REDIS = _creating("redis_create", "Redis user", _USER)
OWN_DATABASE = _creating("db_create_dedicated", "database in a container of its own,", _OPEN, _INSTANCE, _ROLE, _DATABASE)
OWN_REDIS = _creating("redis_create_dedicated", "Redis in a container of its own, user", _OPEN, _INSTANCE, _USER)
