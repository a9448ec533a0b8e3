"""What all procedures on storage share: a part of a server by its kind, its passwords, and how it ends."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from codeb.contracts.databases import Caches, Databases
from codeb.contracts.kit import Kit
from codeb.contracts.store import Registry
from codeb.errors import Conflict, NotFound
from codeb.flows import envs, instances
from codeb.model.instances import InstanceSpec, spec_of
from codeb.model.names import Place
from codeb.model.sealed import about_storage
from codeb.model.secret import Secret
from codeb.model.storage import ENV, Endpoint, Holding, Kind, Password, Storage, generated_env
from codeb.saga.step import Run

DUMP_SECONDS = 3600.0
"""the deadline of what makes a final dump: a large database takes longer than a deploy may"""


@dataclass(frozen=True)
class StorageInput:
    """One part of a server, as the registry had it when the operation began."""

    id: str
    place: Place
    kind: Kind
    name: str
    generation: int
    at: Endpoint | None = None
    """where apps reach it"""
    instance: InstanceSpec | None = None
    """the container it has for itself; None: it is a part of the shared server"""

    @property
    def holding(self) -> Holding:
        return Holding(self.name, self.id)


def input_of(storage: Storage) -> StorageInput:
    return StorageInput(
        storage.id, storage.place, storage.kind, storage.name, storage.generation, Endpoint(storage.host, storage.port),
        spec_of(storage),
    )  # fmt: skip


def server_of(kit: Kit, kind: Kind) -> Databases | Caches:
    """The one that all share."""
    return kit.databases if kind is Kind.POSTGRES else kit.caches


async def serving(kit: Kit, value: StorageInput) -> Databases | Caches:
    """The server that has it: its own, or the shared one. Raises as `instances.administrator` does."""
    return server_of(kit, value.kind) if value.instance is None else await instances.inside(kit, value.instance)


def where(kit: Kit, value: StorageInput) -> Endpoint | None:
    """Where apps reach it; operations of former versions did not say."""
    return value.at or server_of(kit, value.kind).where


async def new_password(kit: Kit, registry: Registry, storage_id: str, generation: int) -> None:
    """Make one and keep it, sealed, in this transaction: no step's record ever holds it.

    Raises `Unavailable` (`vault_closed`), `Conflict` (`rotation_pending`) where this generation has one.
    """
    kit.keyring.fits(await registry.seals.in_force())
    sealed = kit.vault.seal(kit.world.new_secret(), about_storage(storage_id, generation))
    await registry.storages.put_password(Password(storage_id, generation, sealed))


async def passwords(kit: Kit, storage_id: str) -> Mapping[int, Secret]:
    """All that are on record, by generation. Raises as `Vault.open` does."""
    found = await kit.store.consult(lambda registry: registry.storages.passwords(storage_id))
    return {each.generation: _opened(kit, each) for each in found}


def _opened(kit: Kit, known: Password) -> Secret:
    return kit.vault.open(known.sealed, about_storage(known.storage_id, known.generation))


async def password(kit: Kit, storage_id: str, generation: int) -> Secret:
    """Raises `Conflict` (`password_gone`) when it is not on record."""
    found = (await passwords(kit, storage_id)).get(generation)
    if found is None:
        raise _gone()
    return found


def _gone() -> Conflict:
    return Conflict("The password of this storage is not on record.", code="password_gone", hint="See db_list.")


async def admit(kit: Kit, value: StorageInput, generation: int) -> None:
    """Let this generation in, and those that let in already."""
    server = await serving(kit, value)
    if value.kind is Kind.POSTGRES:
        await cast(Databases, server).admit(value.holding, generation, await password(kit, value.id, generation))
        return
    known = await passwords(kit, value.id)
    await cast(Caches, server).admit(value.holding, {number: word for number, word in known.items() if number <= generation})


async def only(kit: Kit, value: StorageInput, generation: int) -> None:
    """Let no other generation in than this one."""
    server = await serving(kit, value)
    if value.kind is Kind.POSTGRES:
        await cast(Databases, server).keep(value.holding, (generation,))
    else:
        await cast(Caches, server).admit(value.holding, {generation: await password(kit, value.id, generation)})


async def final_dump(run: Run[Any], value: StorageInput) -> str | None:
    """Nothing writes to it any more; all of it is in a file. None, and a warning, where somebody removed it on the server.

    Raises `StepFailed` (`dump_failed`).
    """
    at = run.operation.created_at
    try:
        await close(run.kit, value)
        server = await serving(run.kit, value)
        return await server.dump(value.holding, f"{value.kind}-{value.name}-{at:%Y%m%dT%H%M%SZ}")
    except NotFound:
        run.warn(f"{value.name} was not on the storage server any more, so there is no final dump of it.")
        return None


async def close(kit: Kit, value: StorageInput) -> None:
    """Nobody writes to it any more. A container of its own that stands still is started for it.

    Raises `NotFound` (`storage_data_gone`), and as `instances.raised` does.
    """
    if value.instance is not None:
        await instances.raised(kit, value.instance)
    await (await serving(kit, value)).allow(value.holding, entry=False)


async def drop(kit: Kit, value: StorageInput) -> None:
    """Nothing of it is left on the server: of one of its own, neither container nor data."""
    if value.instance is not None:
        await instances.dropped(kit, value.instance)
    else:
        await server_of(kit, value.kind).drop(value.holding)


async def release(registry: Registry, value: StorageInput) -> None:
    """It is not on record any more, and its port is free."""
    if value.instance is not None:
        await registry.rules.remove(*await instances.rules_of(registry, value.instance))
        await registry.leases.remove(value.instance.server, [value.instance.port])
    await registry.storages.remove(value.id)


async def tell(run: Run[Any], registry: Registry, value: StorageInput) -> None:
    """The environment's variables say what it has, as this transaction has it: what the next deployment gets.

    Raises `Conflict` (`password_gone`), and as `Vault.open` and `envs.generated` do.
    """
    held = await registry.storages.get(value.place, value.kind)
    words = {each.generation: each for each in await registry.storages.passwords(value.id)}
    if held is None or held.id != value.id or held.generation not in words:
        raise _gone()
    word = _opened(run.kit, words[held.generation])
    await envs.generated(run.kit, registry, value.place, generated_env([(held, word)]), by=run.operation.actor)


async def untell(run: Run[Any], registry: Registry, value: StorageInput) -> None:
    """The environment's variables do not speak of it any more. Raises as `envs.generated` does."""
    await envs.generated(run.kit, registry, value.place, {}, without=ENV[value.kind], by=run.operation.actor)


async def publish(run: Run[StorageInput]) -> None:
    """Its files of variables say so too; the timer does it where this cannot."""
    await envs.publish(run.kit, run.input.place)
