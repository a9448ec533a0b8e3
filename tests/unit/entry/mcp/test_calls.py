"""A call by an assistant: the gate's own answer, as data and as text, in both revisions of the protocol."""

import asyncio
from typing import Any

import pytest
from mcp.shared.exceptions import MCPError

from codeb.model.access import Role
from tests.assistant import MODES, assistant, at, facts, text
from tests.kit import add_key, begin

pytestmark = pytest.mark.anyio

SHOP = {"projectName": "shop"}
PRODUCTION = {**SHOP, "environment": "production"}


@pytest.mark.parametrize("mode", MODES)
async def test_data_is_the_gates_own_answer_and_text_has_the_same_facts(mode: str) -> None:
    async with assistant("grace", mode=mode) as one:
        for tool, params in {"slot_status": SHOP, "promote": PRODUCTION, "logs": PRODUCTION, "whoami": {}}.items():
            said, wanted = await one.call(tool, **params), await one.process.ask(tool, **params)
            assert facts(said.structured_content) == facts(wanted.body) and said.is_error == (not wanted.ok)
            assert wanted.body["summary"] in text(said)
        there = await one.ok("slot_status", **SHOP)
        words = text(await one.call("slot_status", **SHOP))
        for fact in (there["activeSlot"], there["url"], there["blue"]["version"], there["green"]["digest"]):
            assert fact in words


async def test_what_is_left_to_a_default_by_http_has_to_be_said_here() -> None:
    async with assistant("grace") as one:
        words = await one.refused("rollback", "invalid_params", **SHOP)
        assert "environment: has to be said" in words and "nothing was done" in words
        assert (await one.process.ask("rollback", dryRun=True, **SHOP)).ok
        assert (await one.ok("rollback", dryRun=True, **PRODUCTION))["dryRun"]
        # reading may leave it out
        assert (await one.ok("slot_status", **SHOP))["environment"] == "production"


async def test_a_name_that_is_not_known_is_refused_with_those_that_are() -> None:
    async with assistant("grace") as one:
        words = await one.refused("slot_status", "invalid_params", projectName="shop", evn="staging")
        assert "evn: is not known here" in words and "Known fields: projectName, environment" in words


@pytest.mark.parametrize("mode", MODES)
async def test_no_such_tool_is_a_fault_of_the_protocol_and_on_record(mode: str) -> None:
    async with assistant("grace", mode=mode) as one:
        with pytest.raises(MCPError, match="no such tool") as fault:
            await one.call("slot_state")
        assert fault.value.code == -32602
        await one.process.audit.flush()
        rows = (await one.process.ok("audit_list", limit=3))["rows"]
        assert [(row["tool"], row["code"]) for row in rows if not row["ok"]] == [("unknown", "unknown_tool")]


async def test_a_tool_beyond_the_role_runs_nothing_and_says_which_role() -> None:
    async with begin("grace") as rig:
        process, key = rig.boot(), await add_key(rig, role=Role.VIEWER)
        before = rig.print()
        async with at(rig, process, key) as one:
            words = await one.refused("promote", "forbidden", **PRODUCTION)
            assert "member" in words and "Nothing was done" in words and rig.print() == before


async def test_help_is_a_call_the_caller_may_make_just_so() -> None:
    async with assistant("grace") as one:
        assert "Next: project_list({})" in await one.refused("slot_status", "project_not_found", projectName="nope")
        done = text(await one.call("rollback", **PRODUCTION))
        assert "Next: logs(" in done and '"environment":"production"' in done


async def test_every_call_is_on_record_as_an_assistants() -> None:
    """P14"""
    async with assistant("grace") as one:
        await one.ok("slot_status", **SHOP)
        await one.names()
        await one.process.audit.flush()
        rows = (await one.process.ok("audit_list", limit=5))["rows"]
        assert {(row["tool"], row["entry"]) for row in rows} >= {("slot_status", "mcp"), ("get_tools", "mcp")}


# operations


@pytest.mark.parametrize("mode", MODES)
async def test_a_deploy_is_answered_whole_and_tells_of_its_steps(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("codeb.entry.mcp.begun.PACE_SECONDS", 0.01)
    async with assistant("active", mode=mode) as one:
        one.rig.image("7")
        told: list[tuple[float, str | None]] = []

        async def hear(progress: float, total: float | None, message: str | None) -> None:
            told.append((progress, message))
            if "health" in (message or ""):
                let.set()

        let = hold(one, 120)
        said = await one.client.call_tool("deploy", {**PRODUCTION, "image": "shop:7"}, progress_callback=hear)
        assert not said.is_error and said.structured_content["version"] == "7", text(said)
        numbers = [number for number, _ in told]
        assert numbers and numbers == sorted(set(numbers))
        assert any("health" in (words or "") for _, words in told)


@pytest.mark.parametrize(("mode", "spelt"), [*((mode, "waitSeconds") for mode in MODES), (MODES[0], "wait_s")])
async def test_an_operation_that_takes_long_goes_on_behind_its_answer(mode: str, spelt: str) -> None:
    async with assistant("active", mode=mode) as one:
        one.rig.image("7")
        let = hold(one, 60)
        said = await one.ok("deploy", **PRODUCTION, image="shop:7", **{spelt: 0})
        assert said["state"] == "running" and "still running" in said["summary"]
        then = said["next"][0]
        assert then["tool"] == "operation_get"
        assert (await one.ok("slot_status", **SHOP))["operation"]["operationId"] == said["operationId"]
        words = await one.refused("deploy", "operation_in_progress", **PRODUCTION, image="shop:7")
        assert f'Next: operation_get({{"operationId":"{said["operationId"]}"}})' in words
        let.set()
        seen = await one.ok("operation_get", **then["params"])
        while seen["next"]:
            seen = await one.ok("operation_get", **seen["next"][0]["params"])
        assert seen["operation"]["state"] == "succeeded"


async def test_patience_ends_where_no_operation_has_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where GitHub is asked first, and takes its time."""
    monkeypatch.setattr("codeb.entry.mcp.calls.WAIT_SECONDS", 0.05)
    async with assistant("active") as one:
        one.rig.image("7")
        let, real = asyncio.Event(), one.process.gate.call

        async def late(asked: Any) -> Any:
            await let.wait()
            return await real(asked)

        monkeypatch.setattr(one.process.gate, "call", late)
        async with asyncio.timeout(20):
            said = await one.ok("deploy", **PRODUCTION, image="shop:7", waitSeconds=50)
        assert said["state"] == "running" and "no operation yet" in said["summary"]
        let.set()


@pytest.mark.parametrize("seconds", [-1, 51, 1.0, "5", True, None])
async def test_patience_is_a_small_whole_number(seconds: Any) -> None:
    async with assistant("ready") as one:
        before = one.rig.print()
        await one.refused("promote", "invalid_params", **PRODUCTION, waitSeconds=seconds)
        await one.refused("promote", "invalid_params", **PRODUCTION, waitSeconds=1, wait_s=1)
        assert one.rig.print() == before


@pytest.mark.parametrize("mode", MODES)
async def test_who_hangs_up_cancels_nothing(mode: str) -> None:
    async with begin("active") as rig:
        process = rig.boot()
        rig.image("7")
        async with at(rig, process, mode=mode) as one:
            let = hold(one, 60)
            call = asyncio.create_task(one.call("deploy", **PRODUCTION, image="shop:7"))
            while not rig.store.snapshot.running:
                await asyncio.sleep(0.01)
            call.cancel()
            await asyncio.gather(call, return_exceptions=True)
            let.set()
        assert rig.store.snapshot.pairs and "7" in {
            row.version for pair in rig.store.snapshot.pairs.values() for row in pair.rows
        }
        assert await rig.faults() == []


def hold(one: Any, seconds: float) -> asyncio.Event:
    """Health checks wait for the event, or this long."""
    let, real = asyncio.Event(), one.rig.health.probe
    asyncio.get_running_loop().call_later(seconds, let.set)

    async def late(*args: Any) -> Any:
        await let.wait()
        return await real(*args)

    one.rig.health.probe = late
    return let
