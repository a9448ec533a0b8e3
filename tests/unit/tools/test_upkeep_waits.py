"""A call that meets CodeB's own upkeep waits for it; one that meets somebody's operation is told so at once."""

from typing import Any

import pytest

from codeb.model.conflicts import busy
from codeb.model.journal import Operation
from codeb.saga.engine import Engine
from tests.kit import begin
from tests.stores import PROD, operation

pytestmark = pytest.mark.anyio


def held_by(tool: str) -> Operation:
    return operation("op_mend", places=(PROD,), tool=tool)


@pytest.mark.parametrize(("tool", "waits"), [("reconcile", True), ("restart", True), ("deploy", False), ("rollback", False)])
async def test_upkeep_is_waited_for(monkeypatch: pytest.MonkeyPatch, tool: str, waits: bool) -> None:
    async with begin("ready") as rig:
        process, real, waited = rig.boot(), Engine.open, list[str]()
        refusals = [busy(held_by(tool))]

        async def open_(self: Engine, *args: Any, **kwargs: Any) -> Any:
            if refusals:
                raise refusals.pop()
            return await real(self, *args, **kwargs)

        async def wait(self: Engine, operation_id: str, seconds: float) -> None:
            waited.append(operation_id)
            if operation_id != "op_mend":
                await process.settle()

        monkeypatch.setattr(Engine, "open", open_)
        monkeypatch.setattr(Engine, "wait", wait)
        said = await process.ask("promote", projectName="shop")
        assert said.ok is waits
        assert ("op_mend" in waited) is waits
        assert waits or said.body["code"] == "operation_in_progress"


async def test_not_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    async with begin("ready") as rig:
        process = rig.boot()

        async def open_(self: Engine, *args: Any, **kwargs: Any) -> Any:
            raise busy(held_by("reconcile"))

        async def wait(self: Engine, operation_id: str, seconds: float) -> None:
            rig.clock.spent += seconds

        monkeypatch.setattr(Engine, "open", open_)
        monkeypatch.setattr(Engine, "wait", wait)
        await process.refused("promote", 409, "operation_in_progress", projectName="shop")
