"""P10, S11: a registry that is rebuilt keeps what is sealed, and the key it needs is known though nothing names it any more."""

import contextlib
import sqlite3
from pathlib import Path

import pytest

from codeb.contracts.store import Remembered
from codeb.drivers.vault.aesgcm import AesGcmVault
from codeb.drivers.vault.keyfile import KeyFile
from codeb.model.sealed import about_answer
from codeb.model.secret import Secret
from tests.contracts.harms import begin, populate
from tests.stores import START, Clock, clock

pytestmark = pytest.mark.anyio
__all__ = ["clock"]

COUNT = 3


async def test_sealed_answers_are_taken_along_and_open(tmp_path: Path, clock: Clock) -> None:
    home = tmp_path / "home"
    store, _ = await begin(home, clock)
    vault = AesGcmVault(KeyFile(home))
    vault.begin()
    vault.shut(None)
    await populate(store)
    async with store.write() as registry:
        await registry.seals.use(vault.ids[0])
        for key in map(str, range(COUNT)):
            sealed = vault.seal(Secret(f"canary {key}"), about_answer("key_1", key))
            await registry.answers.put(Remembered("key_1", key, "token_create", "f" * 64, START, sealed=sealed))
    await store.flush()
    await store.close()
    # as good as any to SQLite, and not what the registry's files say: it is not believed
    with contextlib.closing(sqlite3.connect(home / "codeb.db")) as database:
        database.execute("UPDATE api_keys SET role = 'owner'")
        database.commit()

    store, _ = await begin(home, clock)
    assert store.rescued.notes, "it is rebuilt"  # type: ignore[attr-defined]
    again = AesGcmVault(KeyFile(home))
    again.read()
    async with store.read() as registry:
        assert dict(await registry.seals.named()) == {again.ids[0]: COUNT}
        for key in map(str, range(COUNT)):
            row = await registry.answers.find("key_1", key)
            assert row is not None
            assert row.answer is None
            assert again.open(row.sealed or "", about_answer("key_1", key)).reveal() == f"canary {key}"
    await store.close()
