"""What the registry knows of storage, on every kind of database: one per place and kind, passwords sealed (S31)."""

from dataclasses import replace

import pytest

from codeb.drivers.store.sql import SqlStore
from codeb.errors import Conflict
from codeb.model.names import Place
from codeb.model.sealed import about_storage
from codeb.model.secret import Secret
from codeb.model.storage import Kind, Password, Stage, Storage
from tests.contracts.test_store_seals import vault
from tests.postgres import postgres
from tests.stores import KINDS, PROD, STAGE, START, clock, opener, project, store, url

__all__ = ["clock", "opener", "postgres", "store", "url"]

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("url", KINDS, indirect=True)]


def held(number: int = 1, place: Place = PROD, kind: Kind = Kind.POSTGRES) -> Storage:
    return Storage(f"sto_{number}", place, kind, "shop", "192.0.2.7", 5432, Stage.CREATING, 1, START, "main/owner/key_1")


async def given(store: SqlStore, *rows: Storage) -> None:
    async with store.write() as registry:
        if await registry.projects.get("shop") is None:
            await registry.projects.add(project("shop"))
        for row in rows:
            await registry.storages.add(row)
            await registry.storages.put_password(Password(row.id, 1, f"v1.sealed-{row.id}"))


async def test_it_comes_back_as_it_was_put_and_one_is_enough(store: SqlStore) -> None:
    own = {"server": "storage-1", "image": "postgres:15", "sealed": "v1.sealed"}
    rows = [held(), held(2, kind=Kind.REDIS), replace(held(3, STAGE), **own)]
    await given(store, *rows)
    async with store.write() as registry:
        for again in (held(4), held(1, Place("shop", "preview"))):
            with pytest.raises(Conflict) as refused:
                await registry.storages.add(again)
            assert refused.value.code == "storage_exists"
        assert await registry.storages.get(PROD, Kind.POSTGRES) == rows[0]
        assert await registry.storages.get(STAGE, Kind.REDIS) is None
    async with store.read() as registry:
        assert list(await registry.storages.all("shop")) == rows
        assert list(await registry.storages.all("blog")) == []


async def test_while_two_passwords_let_in_it_is_rotating(store: SqlStore) -> None:
    await given(store, held(), held(2, STAGE))
    async with store.write() as registry:
        await registry.storages.put_password(Password("sto_1", 2, "v1.second"))
        with pytest.raises(Conflict) as refused:
            await registry.storages.put_password(Password("sto_1", 2, "v1.third"))
        assert refused.value.code == "rotation_pending"
        # one that is only being made is not in force
        assert list(await registry.storages.rotating()) == []
        await registry.storages.change("sto_1", generation=2, rotated_at=START, state=Stage.READY)
        now = replace(held(), generation=2, rotated_at=START, state=Stage.READY)
        assert list(await registry.storages.rotating()) == [now]
        assert [each.generation for each in await registry.storages.passwords("sto_1")] == [1, 2]
        for _ in range(2):
            await registry.storages.drop_passwords("sto_1", keep=2)
        assert list(await registry.storages.passwords("sto_1")) == [Password("sto_1", 2, "v1.second")]
        assert list(await registry.storages.rotating()) == []


async def test_it_goes_with_its_passwords_and_with_its_project(store: SqlStore) -> None:
    await given(store, held(), held(2, STAGE))
    async with store.write() as registry:
        for _ in range(2):
            await registry.storages.remove("sto_1")
        assert list(await registry.storages.passwords("sto_1")) == []
        await registry.projects.remove("shop")
    async with store.read() as registry:
        assert list(await registry.storages.all()) == []
        assert list(await registry.storages.passwords("sto_2")) == []


async def test_its_passwords_are_sealed_anew_with_a_new_master_key(store: SqlStore) -> None:
    one, two = vault(), vault()
    await given(store)
    async with store.write() as registry:
        await registry.storages.add(held())
        for number in (1, 2):
            sealed = one.seal(Secret(f"word {number}"), about_storage("sto_1", number))
            await registry.storages.put_password(Password("sto_1", number, sealed))
        first = await registry.seals.others(two.ids[0], after=None, limit=1)
        rest = await registry.seals.others(two.ids[0], after=first[0], limit=9)
        assert [one.open(row.text, row.about).reveal() for row in (*first, *rest)] == ["word 1", "word 2"]
        assert await registry.seals.named() == {one.ids[0]: 2}
        await registry.seals.replace(first[0], two.seal(Secret("word 1"), first[0].about))
        assert await registry.seals.named() == {one.ids[0]: 1, two.ids[0]: 1}
