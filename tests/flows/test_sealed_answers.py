"""S11, P8: an answer that shows a secret is repeated to its caller, and kept sealed only."""

import json
from dataclasses import replace
from typing import Any

import pytest

from codeb.contracts.store import Registry
from codeb.drivers.store.schema import answers
from codeb.drivers.vault.aesgcm import AesGcmVault
from codeb.errors import Unavailable
from codeb.model.access import Role
from codeb.tools import fields
from codeb.tools.call import Call
from codeb.tools.catalog import BY_NAME
from codeb.tools.tool import Outcome, Risk, Tool
from tests.kit import Process, Rig, begin

pytestmark = pytest.mark.anyio

CANARY = "canary-4f1d9c"


class Shown(fields.Result):
    secret: str
    count: int


def shows(*, in_transaction: bool = True, holds_secret: bool = True) -> Tool[Any]:
    """A tool that makes a secret; every run makes another one."""
    count = [0]

    async def run(call: Call, params: fields.Changing) -> Outcome:
        async def act(registry: Registry) -> Shown:
            count[0] += 1
            return Shown(secret=f"{CANARY}-{count[0]}", count=count[0])

        if in_transaction:
            made = await call.change(act, lambda made: made.model_dump(by_alias=True))
        else:
            made = await call.kit.store.transact(act)
        return Outcome(made, f"Here it is: {made.secret}.")

    return Tool(
        "secret_show", "Show", "Makes one.", fields.Changing, Shown, Role.MEMBER, Risk.CHANGES, run, holds_secret=holds_secret
    )


def boot(rig: Rig, tool: Tool[Any], **change: Any) -> Process:
    return rig.boot(lambda kit: replace(kit, **change), tools={**BY_NAME, tool.name: tool})


async def stored(rig: Rig) -> list[dict[str, Any]]:
    async with rig.store._reading() as tx:
        return [dict(row) for row in (await tx.read(answers.select())).all]


async def everything(rig: Rig) -> str:
    """All tables of the registry, as text."""
    async with rig.store._reading() as tx:
        found = [(await tx.read(table.select())).all for table in answers.metadata.sorted_tables]
    return json.dumps([[dict(row) for row in rows] for rows in found], default=str)


@pytest.mark.parametrize("in_transaction", [True, False])
async def test_the_first_answer_is_told_again_and_kept_sealed_only(in_transaction: bool) -> None:
    async with begin() as rig:
        tool = shows(in_transaction=in_transaction)
        process = boot(rig, tool)
        first = await process.ok("secret_show", idem="once")
        assert first["secret"] == f"{CANARY}-1"
        again = await boot(rig, tool).ok("secret_show", idem="once")
        assert {**again, "duration": 0, "timestamp": 0} == {**first, "duration": 0, "timestamp": 0}
        (row,) = await stored(rig)
        assert row["answer"] is None
        assert row["sealed"].startswith("v1.")
        await process.audit.flush()
        assert CANARY not in await everything(rig)
        assert (await process.ok("secret_show", idem="another"))["count"] == 2


async def test_an_envelope_that_was_lost_is_made_up_for_by_what_was_kept_with_the_change(monkeypatch: pytest.MonkeyPatch) -> None:
    async def lost(*_: Any) -> None:
        """The store went away just then."""

    async with begin() as rig:
        tool = shows()
        with monkeypatch.context() as patch:
            patch.setattr(Call, "keep_answer", lost)
            first = await boot(rig, tool).ok("secret_show", idem="once")
        assert (await boot(rig, tool).ok("secret_show", idem="once"))["secret"] == first["secret"]
        assert CANARY not in await everything(rig)


async def test_a_tool_that_holds_none_is_kept_as_ever() -> None:
    async with begin() as rig:
        await boot(rig, shows(holds_secret=False)).ok("secret_show", idem="once")
        (row,) = await stored(rig)
        assert (row["answer"]["count"], row["sealed"]) == (1, None)


async def test_a_row_put_in_anothers_place_tells_nothing() -> None:
    async with begin() as rig:
        tool = shows()
        process = boot(rig, tool)
        for key in ("mine", "theirs"):
            await process.ok("secret_show", idem=key)
        mine = next(row for row in await stored(rig) if row["key"] == "mine")
        async with rig.store._writing() as tx:
            await tx.write(answers.update().where(answers.c.key == "theirs").values(sealed=mine["sealed"]))
            await tx.session.commit()
        said = await process.refused("secret_show", 409, "seal_broken", idem="theirs")
        assert CANARY not in json.dumps(said)


@pytest.mark.parametrize("in_transaction", [True, False])
async def test_without_a_key_nothing_is_done_that_could_not_be_told_again(in_transaction: bool) -> None:
    async with begin() as rig:
        tool = shows(in_transaction=in_transaction)
        first = await boot(rig, tool).ok("secret_show", idem="once")
        shut = AesGcmVault(rig.keys)
        shut.shut(Unavailable("The master key is gone.", code="vault_closed"))
        process = boot(rig, tool, vault=shut, keyring=shut)
        await process.refused("secret_show", 503, "vault_closed", idem="once")
        await process.refused("secret_show", 503, "vault_closed", idem="new")
        assert len(await stored(rig)) == 1
        assert (await process.ok("secret_show"))["count"] == first["count"] + 1, "without an idempotency key it works"


async def test_a_key_that_is_not_the_registrys_seals_nothing() -> None:
    """Another home changed it since this one started."""
    async with begin() as rig:
        process = boot(rig, shows())
        async with rig.store.write() as registry:
            await registry.seals.use("0" * 16)
        said = await process.refused("secret_show", 503, "vault_closed", idem="once")
        assert "0" * 16 in said["error"]
        assert await stored(rig) == []


def test_an_operation_holds_no_secret() -> None:
    with pytest.raises(TypeError, match="an operation keeps no secret"):
        replace(BY_NAME["deploy"], holds_secret=True)
