"""P8: a long call that was not waited for, made once more by the id of the operation it began: the answer of a waited one."""

from typing import Any

import pytest

from codeb.gate import Asked
from codeb.tools.catalog import BY_NAME, TOOLS
from tests.kit import OWNER, Process, add_key, begin
from tests.unit.gate.test_door import CHANGING

pytestmark = pytest.mark.anyio

LONG = {name: call for name, call in CHANGING.items() if BY_NAME[name].long} | {
    "workflow_init": ("active", {"projectName": "blog", "environments": ["production", "staging"], "database": True}),
}
ENVELOPE = ("duration", "timestamp", "correlationId")


def plain(body: Any) -> Any:
    """Without what differs between any two calls: moments, ids and how long things took."""
    if isinstance(body, dict):
        return {name: plain(value) for name, value in body.items() if name not in ENVELOPE and not name.endswith(("Ms", "At"))}
    if isinstance(body, list):
        return [plain(each) for each in body]
    return "…" if isinstance(body, str) and body.startswith(("op_", "dep_")) else body


async def again(process: Process, operation_id: str, key: Any = OWNER) -> Asked | None:
    return await process.gate.that_began(Asked("operation_get", {}, key, "test", "again", "127.0.0.1"), operation_id)


@pytest.mark.parametrize("name", LONG)
async def test_it_is_the_answer_of_a_waited_call_also_after_a_restart(name: str) -> None:
    state, params = LONG[name]
    async with begin(state) as rig:
        waited = await rig.boot().ok(name, **params)
    async with begin(state) as rig:
        process = rig.boot()
        begun = await process.ask(name, **params, wait=False, idem="once")
        assert begun.ok and begun.begun == begun.body["operationId"], begun.body
        await process.settle()
        later = rig.boot()
        asked = await again(later, begun.begun)
        assert asked is not None and (asked.tool, asked.params["idempotencyKey"]) == (BY_NAME[name].name, "once")
        rig.effects()
        said = await later.gate.call(asked)
        assert said.begun is None
        assert plain(said.body) == plain(waited)
        assert rig.effects() == [], "nothing is done a second time"
        # and as often as one likes
        assert plain((await later.gate.call(asked)).body) == plain(waited)


async def test_it_is_nobody_elses_and_only_that_of_a_call_under_a_key() -> None:
    async with begin("active") as rig:
        another = await add_key(rig)
        process = rig.boot()
        mine = await process.ask("deploy", projectName="shop", environment="production", image="shop:2", wait=False, idem="once")
        assert mine.begun is not None and await again(process, mine.begun) is not None
        assert await again(process, mine.begun, another) is None
        await process.settle()
        nameless = await process.ask("deploy", projectName="shop", environment="production", image="shop:3", wait=False)
        assert nameless.begun is not None and await again(process, nameless.begun) is None
        await process.settle()
        for wrong in ("", "op_", "op_00000000000000000000000000", "x" * 5000, "op_'; --"):
            assert await again(process, wrong) is None


async def test_what_failed_is_told_as_to_one_who_waited() -> None:
    async with begin("active") as rig:
        process = rig.boot()
        params = {"projectName": "shop", "environment": "production", "image": "shop:missing"}
        waited = await process.ask("deploy", **params)
        assert not waited.ok
        begun = await process.ask("deploy", **params, wait=False, idem="once")
        assert begun.begun is not None
        await process.settle()
        asked = await again(rig.boot(), begun.begun)
        assert asked is not None
        said = await rig.boot().gate.call(asked)
        assert (said.status, plain(said.body)) == (waited.status, plain(waited.body))


def test_what_a_long_call_is_made_of_holds_no_secret() -> None:
    """S11: it is kept as it was said."""
    long = [tool for tool in TOOLS if tool.long]
    assert len(long) >= len(LONG) > 10
    for tool in long:
        assert "writeOnly" not in repr(tool.params.model_json_schema(by_alias=True)), tool.name
