"""What was done without the database may be sealed with a key of now: none goes until it is in the database."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from codeb.drivers.vault.aesgcm import AesGcmVault
from codeb.errors import Conflict
from codeb.flows import master_key
from tests.flows.test_master_key import _no_key_yet, house
from tests.kit import begin

__all__ = ["_no_key_yet"]
pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("more", [{"owed": "another process"}, {"pending": 1}])
async def test_while_something_is_not_replayed_the_keys_stay(more: dict[str, Any]) -> None:
    async with begin() as rig:
        kit = await house(rig)

        class Owing:
            def __getattr__(self, name: str) -> Any:
                return getattr(rig.store, name)

            standing = replace(rig.store.standing, **more)

        before, owing = rig.keys.keys, replace(kit, store=Owing())
        with pytest.raises(Conflict) as refused:
            await master_key.rotate(owing)
        assert (refused.value.code, rig.keys.keys) == ("not_replayed", before)
        # a change that ended, whose last line in the file did not
        await asyncio.to_thread(kit.keyring.begin)
        await kit.store.transact(lambda registry: registry.seals.use(kit.keyring.ids[0]))
        await master_key.settle(owing)
        Owing.standing = replace(rig.store.standing, leads=False)
        await master_key.settle(owing)
        assert len(rig.keys.keys) == 2, "nor does who does not lead"
        await master_key.settle(kit)
        assert [each.id for each in rig.keys.keys] == [kit.keyring.ids[0]]


async def test_who_does_not_lead_makes_no_first_key() -> None:
    async with begin() as rig:
        vault = AesGcmVault(rig.keys)
        kit = rig.boot(lambda kit: replace(kit, vault=vault, keyring=vault)).kit

        class Following:
            def __getattr__(self, name: str) -> Any:
                return getattr(rig.store, name)

            standing = replace(rig.store.standing, leads=False)

        await master_key.settle(replace(kit, store=Following()))
        assert rig.keys.keys == ()
        assert kit.keyring.fault is not None and "the process that leads makes it" in kit.keyring.fault.message
