"""P8: the first answer was lost and the call is made again with its key: the same answer, nothing done twice."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from codeb.errors import Unavailable
from codeb.tools.call import Call
from tests.kit import Process, Rig, begin

pytestmark = pytest.mark.anyio

WHERE = {"projectName": "shop", "environment": "production"}
CALLS: dict[str, tuple[str, dict[str, Any]]] = {
    "slot_cleanup": ("grace", {**WHERE, "slot": "blue", "force": True}),
    "project_delete": ("grace", {"projectName": "shop", "confirm": "shop"}),
    "undelete": ("gone", {"projectName": "shop"}),
    "project_create": ("active", {"projectName": "shop", "containerPort": 8080, "environments": ["production", "staging"]}),
    "team_create": ("active", {"team": "other"}),
    "team_settings": ("active", {"displayName": "Main", "approval": "name"}),
    "member_invite": ("active", {"name": "ana"}),
    "token_create": ("active", {"role": "viewer", "label": "x"}),
    "token_rotate": ("active", {"keyId": "key_owner", "overlapSeconds": 60}),
    "project_update": ("active", {"projectName": "shop", "watchSeconds": 5}),
}


async def _lost(*_: Any) -> None:
    """The answer is not kept: as when the store went away just then."""


def _data(body: dict[str, Any]) -> dict[str, Any]:
    own = ("duration", "timestamp", "correlationId", "summary", "next", "warnings")
    return {name: value for name, value in body.items() if name not in own}


async def _twice(process: Process, rig: Rig, monkeypatch: pytest.MonkeyPatch, name: str, params: dict[str, Any]) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Call, "keep_answer", _lost)
        first = await process.ok(name, **params, idem="once")
    there = rig.print()
    rig.effects()
    again = await rig.boot().ok(name, **params, idem="once")
    assert _data(again) == _data(first)
    assert (rig.print(), rig.effects()) == (there, [])


@pytest.mark.parametrize("name", CALLS)
async def test_it_is_the_same_answer_again(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    state, params = CALLS[name]
    async with begin(state) as rig:
        await _twice(rig.boot(), rig, monkeypatch, name, params)


async def test_a_purge_is_the_same_answer_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """P8: by then there is no such project."""
    async with begin("gone") as rig:
        params = {"projectName": "shop", "confirm": "shop", "purge": True}
        await _twice(rig.boot(), rig, monkeypatch, "project_delete", params)


async def test_a_cancel_that_worked_is_not_refused_when_it_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    async with begin("active") as rig:
        process = rig.boot()
        begun = await process.ok("deploy", **WHERE, image="shop:2", wait=False)
        await _twice(process, rig, monkeypatch, "operation_cancel", {"operationId": begun["operationId"]})


async def test_a_slot_that_holds_something_new_is_not_emptied_by_the_repetition(monkeypatch: pytest.MonkeyPatch) -> None:
    async with begin("ready") as rig:
        process, params = rig.boot(), {**WHERE, "slot": "green", "force": True}
        with monkeypatch.context() as patch:
            patch.setattr(Call, "keep_answer", _lost)
            await process.ok("slot_cleanup", **params, idem="once")
        await process.ok("deploy", **WHERE, image="shop:3")
        body = await process.ok("slot_cleanup", **params, idem="once")
        assert [each["version"] for each in body["emptied"]] == ["2"]
        assert "shop-production-green" in rig.machine.boxes


async def test_an_end_that_cannot_be_read_is_not_told_as_nothing_done(monkeypatch: pytest.MonkeyPatch) -> None:
    """The operation ran to its end; only the read of how it ended failed."""
    async with begin("ready") as rig:
        process = rig.boot()
        wait: Callable[..., Awaitable[None]] = process.engine.wait

        async def then_away(*args: Any) -> None:
            await wait(*args)

            async def away(act: Any) -> Any:
                raise Unavailable("The store does not answer.", code="store_unavailable")

            patch.setattr(rig.store, "consult", away)

        with monkeypatch.context() as patch:
            patch.setattr(process.engine, "wait", then_away)
            said = await process.ask("promote", **WHERE)
        assert said.status == 503
        assert said.body["details"]["operationId"].startswith("op_")
        assert "othing" not in said.body["error"]
