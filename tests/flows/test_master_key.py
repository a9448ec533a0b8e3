"""The master key over its life (P2, S11): never a new one in place of a lost one, and a change of it that may die anywhere."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from codeb.contracts.kit import Kit
from codeb.contracts.store import Registry, Remembered
from codeb.contracts.vault import closed
from codeb.drivers.vault.aesgcm import AesGcmVault
from codeb.drivers.vault.memory import MemoryKeyFile
from codeb.errors import Conflict, Unavailable
from codeb.flows import master_key
from codeb.model.sealed import about_answer, under
from codeb.model.secret import Secret
from tests.flows.faults import Fault, flaky_store
from tests.kit import START, Died, Rig, add_key, begin

pytestmark = pytest.mark.anyio

MANY = 450
"""more than two batches"""


async def house(rig: Rig) -> Kit:
    """A start of CodeB, as far as the vault goes."""
    vault = AesGcmVault(rig.keys)
    kit = rig.boot(lambda kit: replace(kit, vault=vault, keyring=vault)).kit
    await master_key.settle(kit)
    return kit


@pytest.fixture(autouse=True)
def _no_key_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rig makes one at each boot; here it is `settle` that decides."""
    monkeypatch.setattr("tests.kit.unlocked", AesGcmVault)


async def put(kit: Kit, count: int = 1, first: int = 0) -> None:
    async def act(registry: Any) -> None:
        for number in range(first, first + count):
            sealed = kit.vault.seal(Secret(f"canary {number}"), about_answer("key_1", f"k{number:04d}"))
            await registry.answers.put(Remembered("key_1", f"k{number:04d}", "token_create", "f" * 64, START, sealed=sealed))

    await kit.store.transact(act)


async def read(kit: Kit, count: int) -> list[str]:
    """All of them, opened. Raises as `open` does."""
    async with kit.store.read() as registry:
        rows = [await registry.answers.find("key_1", f"k{number:04d}") for number in range(count)]
    return [kit.vault.open(row.sealed or "", about_answer(row.key_id, row.key)).reveal() for row in rows if row]


def whole(count: int) -> list[str]:
    return [f"canary {number}" for number in range(count)]


async def facts(kit: Kit) -> tuple[str | None, dict[str, int]]:
    async with kit.store.read() as registry:
        return await registry.seals.in_force(), dict(await registry.seals.named())


# made once


async def test_the_first_start_makes_it_and_the_registry_names_it() -> None:
    async with begin() as rig:
        kit = await house(rig)
        (made,) = rig.keys.keys
        assert kit.keyring.fault is None
        assert await facts(kit) == (made.id, {})
        again = await house(rig)
        assert (rig.keys.keys, again.keyring.fault) == ((made,), None)


@pytest.mark.parametrize("sealed", [0, 3])
async def test_a_lost_one_is_said_and_never_replaced(sealed: int) -> None:
    async with begin() as rig:
        kit = await house(rig)
        await put(kit, sealed)
        (made,), rig.keys.keys = rig.keys.keys, ()
        lost = await house(rig)
        assert rig.keys.keys == ()
        assert isinstance(lost.keyring.fault, Unavailable)
        assert f"{sealed} secrets" in lost.keyring.fault.message
        assert made.id in lost.keyring.fault.message
        with pytest.raises(Unavailable):
            lost.vault.seal(Secret("x"), "about")
        rig.keys.keys = (made,)
        await master_key.settle(lost)
        assert lost.keyring.fault is None
        assert await read(lost, sealed) == whole(sealed)


async def test_a_registry_that_forgot_which_is_in_force_is_told_by_what_is_sealed() -> None:
    """As one that was rebuilt from its files, with its history."""
    async with begin() as rig:
        kit = await house(rig)
        await put(kit, 2)
        async with kit.store.write() as registry:
            await registry.seals.use(None)  # type: ignore[arg-type]  # as a rebuilt one has it
        kept, rig.keys.keys = rig.keys.keys, ()
        assert "gone" in str((await house(rig)).keyring.fault)
        assert rig.keys.keys == ()
        AesGcmVault(rig.keys).begin()
        assert "another master key" in str((await house(rig)).keyring.fault)
        rig.keys.keys = kept
        assert (await facts(await house(rig)))[0] == kept[0].id


async def test_two_homes_on_one_registry_use_one_key() -> None:
    async with begin() as rig:
        first = await house(rig)
        await put(first)
        other = MemoryKeyFile()
        vault = AesGcmVault(other)
        kit = rig.boot(lambda kit: replace(kit, vault=vault, keyring=vault)).kit
        await master_key.settle(kit)
        assert other.keys == (), "it is made by the first home only"
        said = str(kit.keyring.fault)
        assert "was never in this home" in said and "another home" in kit.keyring.fault.hint, "this home lost nothing"
        vault.begin()
        await master_key.settle(kit)
        assert "another master key" in str(kit.keyring.fault)
        with pytest.raises(Unavailable):
            kit.vault.seal(Secret("x"), "about")
        other.keys = rig.keys.keys
        await master_key.settle(kit)
        assert await read(kit, 1) == whole(1)


async def test_a_file_that_is_not_believed_shuts_the_vault_and_nothing_else() -> None:
    async with begin("active") as rig:
        await house(rig)
        rig.keys.fault = closed("The master key has mode 0644: others may use it.", "chmod 0600 master.key")
        vault = AesGcmVault(rig.keys)
        process = rig.boot(lambda kit: replace(kit, vault=vault, keyring=vault, checks={"vault": vault}))
        await master_key.settle(process.kit)
        health = await process.ok("health_check")
        said = next(each for each in health["checks"] if each["name"] == "vault")
        assert (said["status"], said["fix"]) == ("fail", "chmod 0600 master.key")
        await process.ok("deploy", projectName="shop", environment="production", image="shop:2", idem="once")
        assert (await process.refused("keys_rotate", 503, "vault_closed"))["hint"] == "chmod 0600 master.key"


# changed


async def test_a_change_seals_everything_anew_and_lets_go_of_the_old_key() -> None:
    async with begin() as rig:
        kit = await house(rig)
        await put(kit, MANY)
        old = rig.keys.keys[0].id
        done = await master_key.rotate(kit)
        new = rig.keys.keys[0].id
        assert done == master_key.Changed(new, (old,), MANY)
        assert [each.id for each in rig.keys.keys] == [new] != [old]
        assert await facts(kit) == (new, {new: MANY})
        assert await read(await house(rig), MANY) == whole(MANY)


class Deadly:
    """Counts what a change does to file and store, and dies before or after the one with this number."""

    def __init__(self, at: int, after: bool) -> None:
        self.left, self.after, self.hit = at, after, ""

    def now(self, what: str, after: bool) -> None:
        if after is not self.after:
            return
        self.left -= 1
        if self.left == -1:
            self.hit = what
            raise Died(what)


class DeadlyFile(MemoryKeyFile):
    def __init__(self, of: MemoryKeyFile, death: Deadly) -> None:
        super().__init__()
        self.keys, self.of, self.death = of.keys, of, death

    def write(self, keys: Any) -> None:
        self.death.now("file", False)
        super().write(keys)
        self.of.keys = self.keys
        self.death.now("file", True)


def deadly_store(store: Any, death: Deadly) -> Any:
    class Dying:
        def __getattr__(self, name: str) -> Any:
            return getattr(store, name)

        async def transact(self, act: Callable[..., Any]) -> Any:
            async def dying(registry: Any) -> Any:
                death.now("store", False)
                return await act(registry)

            done = await store.transact(dying)
            death.now("store", True)
            return done

    return Dying()


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("at", range(7))
async def test_a_death_at_any_point_leaves_everything_readable_and_the_next_call_ends_it(at: int, after: bool) -> None:
    async with begin() as rig:
        kit = await house(rig)
        await put(kit, MANY)
        old = rig.keys.keys[0].id
        death = Deadly(at, after)
        vault = AesGcmVault(DeadlyFile(rig.keys, death))
        dying = rig.boot(lambda kit: replace(kit, vault=vault, keyring=vault, store=deadly_store(rig.store, death))).kit
        with pytest.raises(Died):
            await master_key.rotate(dying)

        kit = await house(rig)
        assert kit.keyring.fault is None, "nothing is lost, nothing is another's"
        assert await read(kit, MANY) == whole(MANY)
        await put(kit, 1, first=MANY)
        interrupted = len(rig.keys.keys) > 1
        done = await master_key.rotate(kit)
        assert (done.unreadable, [each.id for each in rig.keys.keys]) == (0, [done.key_id])
        assert old not in [each.id for each in rig.keys.keys]
        assert done.finished is interrupted, death.hit
        assert await facts(kit) == (done.key_id, {done.key_id: MANY + 1})
        assert await read(await house(rig), MANY + 1) == whole(MANY + 1)


async def test_two_changes_at_once_take_turns() -> None:
    async with begin() as rig:
        kit = await house(rig)
        await put(kit, MANY)
        await asyncio.gather(*(master_key.rotate(kit) for _ in range(3)), master_key.settle(kit))
        assert kit.keyring.fault is None
        assert await facts(kit) == (rig.keys.keys[0].id, {rig.keys.keys[0].id: MANY})
        assert await read(await house(rig), MANY) == whole(MANY)


async def test_what_does_not_open_stays_as_it_is_and_keeps_its_key() -> None:
    async with begin() as rig:
        kit = await house(rig)
        await put(kit, 3)
        old = rig.keys.keys[0].id
        async with rig.store.write() as registry:
            rows = await registry.seals.others("none", after=None, limit=2)
            await registry.seals.replace(rows[0], rows[1].text)
        done = await master_key.rotate(kit)
        assert (done.resealed, done.unreadable, done.retired) == (2, 1, ())
        assert old in [each.id for each in rig.keys.keys], "nothing that is named is let go of"
        noted: list[str] = []

        async def note(registry: Registry, change: master_key.Changed) -> None:
            noted.append(change.key_id)

        again = await master_key.rotate(kit, note=note)
        assert (again.finished, again.key_id != done.key_id) == (False, True), "it does not stand in the way of the next change"
        assert noted == [again.key_id], "that nothing was left of the one before is no change"


async def test_a_key_that_is_gone_for_good_is_given_up_only_when_it_is_said() -> None:
    async with begin() as rig:
        process = rig.boot()
        kit = await house(rig)
        await put(kit, 2)
        old = rig.keys.keys
        with pytest.raises(Conflict) as refused:
            await master_key.rotate(kit, lost=True)
        assert refused.value.code == "not_lost"
        rig.keys.keys = ()
        kit = await house(rig)
        with pytest.raises(Unavailable):
            await master_key.rotate(kit)
        asked = rig.boot(lambda new: replace(new, vault=kit.vault, keyring=kit.keyring))
        await asked.refused("keys_rotate", 503, "vault_closed", dryRun=True)
        await asked.ok("keys_rotate", dryRun=True, lost=True)
        assert rig.keys.keys == ()
        done = await master_key.rotate(kit, lost=True)
        assert (done.resealed, done.unreadable) == (0, 2)
        assert kit.keyring.fault is None
        await put(kit, 1, first=2)
        # the old key turns up after all
        rig.keys.keys = (*rig.keys.keys, *old)
        assert await read(await house(rig), 3) == whole(3)
        del process


async def test_the_tool_asks_for_an_owner_and_plans_without_changing() -> None:
    async with begin() as rig:
        kit = await house(rig)
        vault = kit.vault
        process = rig.boot(lambda kit: replace(kit, vault=vault, keyring=vault))
        before = rig.keys.keys
        plan = await process.ok("keys_rotate", dryRun=True)
        assert rig.keys.keys == before
        done = await process.ok("keys_rotate", planId=plan["planId"], idem="once")
        assert done["retired"] == [before[0].id]
        assert (await process.ok("keys_rotate", planId=plan["planId"], idem="once"))["keyId"] == done["keyId"], "P8"
        assert [each.id for each in rig.keys.keys] == [done["keyId"]]
        await process.refused("keys_rotate", 409, "stale_plan", planId=plan["planId"])
        assert under(kit.vault.seal(Secret("x"), "a")) == done["keyId"]


async def test_two_calls_at_once_under_one_idempotency_key_make_one_change() -> None:
    """P8."""
    async with begin() as rig:
        kit = await house(rig)
        await put(kit, MANY)
        process = rig.boot(lambda new: replace(new, vault=kit.vault, keyring=kit.keyring))
        plan = (await process.ok("keys_rotate", dryRun=True))["planId"]
        said = await asyncio.gather(*(process.ask("keys_rotate", planId=plan, idem="once") for _ in range(3)))
        assert {(each.status, each.body["keyId"], each.body["resealed"]) for each in said} == {(200, rig.keys.keys[0].id, MANY)}
        other = await asyncio.gather(*(process.ask("keys_rotate", idem=f"call-{number}") for number in range(2)))
        assert len({each.body["keyId"] for each in other}) == 2


async def test_what_changed_while_a_call_waited_for_its_turn_counts() -> None:
    """Who was revoked meanwhile changes nothing, and a plan from before another change is stale."""
    async with begin() as rig:
        kit, key = await house(rig), await add_key(rig)
        process = rig.boot(lambda new: replace(new, vault=kit.vault, keyring=kit.keyring))
        plan = (await process.ok("keys_rotate", dryRun=True))["planId"]
        async with kit.keyring.turn:
            calls = [
                asyncio.create_task(process.ask("keys_rotate", key=key)),
                asyncio.create_task(process.ask("keys_rotate", planId=plan)),
                asyncio.create_task(process.ask("keys_rotate", planId=plan)),
            ]
            await asyncio.sleep(0.05)
            async with rig.store.write() as registry:
                await registry.keys.revoke(START, process.gate.entrance.know(key, None).key_id)
        said = [await call for call in calls]
        assert [(each.status, each.body.get("code")) for each in said] == [
            (401, "unauthenticated"), (200, None), (409, "stale_plan"),
        ]  # fmt: skip


async def test_a_death_between_the_answer_and_the_file_is_made_good_at_the_next_start() -> None:
    """P8: the answer says that the old key is gone, and then it is."""
    async with begin() as rig:
        kit = await house(rig)
        await put(kit, 3)
        old = rig.keys.keys[0].id

        class DyingFile(MemoryKeyFile):
            def write(self, keys: Any) -> None:
                if len(keys) < len(rig.keys.keys):
                    raise Died("before the old key goes")
                rig.keys.keys = self.keys = tuple(keys)

        file = DyingFile()
        file.keys = rig.keys.keys
        vault = AesGcmVault(file)
        dying = rig.boot(lambda new: replace(new, vault=vault, keyring=vault))
        await master_key.settle(dying.kit)
        with pytest.raises(Died):
            await dying.ask("keys_rotate", idem="once")
        assert [each.id for each in rig.keys.keys][1:] == [old]

        kit = await house(rig)
        again = await rig.boot(lambda new: replace(new, vault=kit.vault, keyring=kit.keyring)).ok("keys_rotate", idem="once")
        assert again["retired"] == [old]
        assert [each.id for each in rig.keys.keys] == [again["keyId"]]
        assert await read(kit, 3) == whole(3)


@pytest.mark.parametrize("number", range(20))
async def test_a_call_whose_end_cannot_be_written_has_not_ended_and_the_same_call_ends_it(number: int) -> None:
    """P8: whichever commit fails, the same call again makes no second new key."""
    async with begin() as rig:
        kit, fault = await house(rig), Fault(number, "refused", only="store.", on=False)
        vault = kit.vault
        process = rig.boot(lambda kit: replace(kit, vault=vault, keyring=vault))
        old, fault.on = rig.keys.keys[0].id, True
        with flaky_store(rig, fault):
            first = await process.ask("keys_rotate", idem="once")
            await process.settle()
        made = {each.id for each in rig.keys.keys} - {old}
        again = await process.ok("keys_rotate", idem="once")
        assert [each.id for each in rig.keys.keys] == [again["keyId"]]
        assert made <= {again["keyId"]}
        assert not first.ok or first.body["keyId"] == again["keyId"]
