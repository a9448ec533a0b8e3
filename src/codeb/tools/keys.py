"""The master key: changed by an owner. What is sealed with it stays readable throughout."""

from typing import Any

from pydantic import Field

from codeb.contracts.store import Registry
from codeb.flows import master_key
from codeb.model.access import Role
from codeb.tools import fields
from codeb.tools.call import Call
from codeb.tools.drafts import draft
from codeb.tools.people import whole
from codeb.tools.tool import Outcome, Risk, Tool


class RotateParams(fields.Changing):
    lost: bool = Field(False, description="begin anew though the key in force is gone for good; what it sealed stays sealed")


class RotateResult(fields.Result):
    key_id: str
    retired: list[str]
    resealed: int
    unreadable: int
    was_interrupted: bool
    """whether this brought an earlier change to its end"""


async def _rotate(call: Call, params: RotateParams) -> Outcome:
    whole(call.actor, "the master key")
    kit = call.kit
    ids = list(kit.keyring.ids)
    changes = [
        f"put a new master key into {kit.keyring.where}",
        "seal with it everything that is sealed",
        "let go of the old key",
    ]
    drafted = draft("keys_rotate", {"lost": params.lost}, changes, {"keys": ids})
    if params.dry_run:
        if kit.keyring.fault is not None and not params.lost:
            raise kit.keyring.fault
        return drafted.shown("Would change the master key.")
    drafted.still_fits(params)

    async def note(registry: Registry, done: master_key.Changed) -> None:
        await call.note(registry, _result(done).model_dump(by_alias=True, mode="json"))

    done = await master_key.rotate(kit, lost=params.lost, note=note)
    return Outcome(_result(done), _said(done), (), _warnings(call, done))


def _result(done: master_key.Changed) -> RotateResult:
    return RotateResult(
        key_id=done.key_id,
        retired=list(done.retired),
        resealed=done.resealed,
        unreadable=done.unreadable,
        was_interrupted=done.finished,
    )


def _said(done: master_key.Changed) -> str:
    what = "An interrupted change of the master key is finished" if done.finished else "The master key is changed"
    return f"{what}: {done.key_id} is in force, {done.resealed} secrets are sealed anew."


def _warnings(call: Call, done: master_key.Changed) -> tuple[str, ...]:
    told = [f"Keep a copy of {call.kit.keyring.where} apart from the backups; other homes on this registry need it too."]
    if done.unreadable:
        told.append(f"{done.unreadable} secrets do not open, and stay as they are: the log says which.")
    return tuple(told)


TOOLS: tuple[Tool[Any], ...] = (
    Tool(
        "keys_rotate", "Change the master key",
        "Seal everything that is encrypted at rest with a new master key, and let go of the old one once nothing names it.",
        RotateParams, RotateResult, Role.OWNER, Risk.CHANGES, _rotate,
    ),
)  # fmt: skip
