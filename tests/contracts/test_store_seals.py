"""What is sealed is found, counted and sealed anew on every kind of database, and by the next process (S11)."""

from dataclasses import replace

import pytest

from codeb.contracts.store import Remembered, Sealed
from codeb.drivers.store.sql import SqlStore
from codeb.drivers.vault.aesgcm import AesGcmVault
from codeb.drivers.vault.memory import MemoryKeyFile
from codeb.errors import Conflict
from codeb.model.sealed import about_answer
from codeb.model.secret import Secret
from tests.postgres import postgres
from tests.stores import KINDS, START, clock, opener, store, url

__all__ = ["clock", "opener", "postgres", "store", "url"]

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("url", KINDS, indirect=True)]

COUNT = 7


def vault() -> AesGcmVault:
    made = AesGcmVault(MemoryKeyFile())
    made.begin()
    made.shut(None)
    return made


def answer(vault: AesGcmVault, number: int, key_id: str = "key_1") -> Remembered:
    """One of many; as one that a tool with a secret left."""
    key = f"k{number}"
    sealed = vault.seal(Secret(f"canary {number}"), about_answer(key_id, key))
    return Remembered(key_id, key, "token_create", "f" * 64, START, sealed=sealed)


async def put(store: SqlStore, *rows: Remembered) -> None:
    async with store.write() as registry:
        for row in rows:
            await registry.answers.put(row)


async def test_a_sealed_answer_comes_back_as_it_was_put_and_never_beside_a_plain_one(store: SqlStore) -> None:
    keys = vault()
    await put(store, row := answer(keys, 1), Remembered("key_1", "plain", "promote", "f" * 64, START))
    async with store.read() as registry:
        assert await registry.answers.find("key_1", "k1") == row
    longer = keys.seal(Secret("x" * 100_000), about_answer("key_1", "plain"))
    async with store.write() as registry:
        await registry.answers.complete("key_1", "plain", {"open": 1})
        await registry.answers.complete("key_1", "plain", None, longer)
    async with store.read() as registry:
        found = await registry.answers.find("key_1", "plain")
    assert found is not None
    assert (found.answer, found.sealed) == (None, longer)


async def test_which_keys_are_needed_is_counted(store: SqlStore) -> None:
    one, two = vault(), vault()
    async with store.read() as registry:
        assert (await registry.seals.in_force(), dict(await registry.seals.named())) == (None, {})
    await put(store, answer(one, 1), answer(one, 2), answer(two, 3), Remembered("key_1", "plain", "promote", "f" * 64, START))
    async with store.write() as registry:
        await registry.seals.use(one.ids[0])
        assert not await registry.seals.changing()
        await registry.seals.use(two.ids[0], changing=True)
    async with store.read() as registry:
        assert (await registry.seals.in_force(), await registry.seals.changing()) == (two.ids[0], True)
    async with store.write() as registry:
        await registry.seals.use(two.ids[0])
    async with store.read() as registry:
        assert (await registry.seals.in_force(), await registry.seals.changing()) == (two.ids[0], False)
        assert dict(await registry.seals.named()) == {one.ids[0]: 2, two.ids[0]: 1}


async def test_the_rest_comes_in_pages_each_row_once(store: SqlStore) -> None:
    one, two = vault(), vault()
    await put(store, *(answer(one, number, f"key_{number % 3}") for number in range(COUNT)), answer(two, 99))
    seen: list[Sealed] = []
    async with store.read() as registry:
        while rows := await registry.seals.others(two.ids[0], after=seen[-1] if seen else None, limit=2):
            seen += rows
        assert await registry.seals.others(one.ids[0], after=None, limit=9) == [
            Sealed(
                "answers", ("key_1", "k99"), about_answer("key_1", "k99"), seen_text(await registry.answers.find("key_1", "k99"))
            )
        ]
    assert len(seen) == len({row.key for row in seen}) == COUNT
    assert {one.open(row.text, row.about).reveal() for row in seen} == {f"canary {number}" for number in range(COUNT)}


def seen_text(row: Remembered | None) -> str:
    assert row is not None
    return row.sealed or ""


async def test_it_is_sealed_anew_only_where_it_is_as_it_was_read(store: SqlStore) -> None:
    one, two = vault(), vault()
    await put(store, answer(one, 1), answer(one, 2))
    async with store.write() as registry:
        first, second = await registry.seals.others(two.ids[0], after=None, limit=9)
        await registry.seals.replace(first, new := two.seal(one.open(first.text, first.about), first.about))
        await registry.seals.replace(replace(second, text=first.text), "v1.never")
        await registry.seals.use(two.ids[0])
    async with store.read() as registry:
        assert seen_text(await registry.answers.find("key_1", "k1")) == new
        assert seen_text(await registry.answers.find("key_1", "k2")) == second.text
        assert dict(await registry.seals.named()) == {one.ids[0]: 1, two.ids[0]: 1}
        assert await registry.seals.in_force() == two.ids[0]


async def test_what_failed_half_way_changed_nothing(store: SqlStore) -> None:
    one, two = vault(), vault()
    await put(store, answer(one, 1))
    with pytest.raises(Conflict):
        async with store.write() as registry:
            (row,) = await registry.seals.others(two.ids[0], after=None, limit=9)
            await registry.seals.replace(row, two.seal(one.open(row.text, row.about), row.about))
            await registry.seals.use(two.ids[0])
            raise Conflict("It is given up.")
    async with store.read() as registry:
        assert dict(await registry.seals.named()) == {one.ids[0]: 1}
        assert await registry.seals.in_force() is None
