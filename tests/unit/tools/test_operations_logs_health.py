"""Operations, logs and health (spec 5, 7, 18)."""

import asyncio

import pytest

from codeb.model.specs import Finding
from tests.kit import Rig, add_key, begin

pytestmark = pytest.mark.anyio
WHERE = {"projectName": "shop", "environment": "production"}


async def test_list_is_newest_first_filtered_and_paged() -> None:
    async with begin("back") as rig:
        process = rig.boot()
        every = [each["operationId"] for each in (await process.ok("operation_list"))["operations"]]
        assert every == sorted(every, reverse=True)
        assert len(every) == 5
        first = await process.ok("operation_list", limit=3)
        assert first["more"] is True
        rest = await process.ok("operation_list", limit=3, before=first["operations"][-1]["operationId"])
        assert [each["operationId"] for each in first["operations"] + rest["operations"]] == every
        assert (await process.ok("operation_list", running=True))["operations"] == []
        assert (await process.ok("operation_list", environment="staging"))["operations"] == []
        rival = await add_key(rig, team="rivals")
        assert (await process.ok("operation_list", key=rival))["operations"] == []
        await process.refused("operation_get", 404, "operation_not_found", operationId=every[0], key=rival)


async def test_wait_false_is_followed_by_operation_get() -> None:
    async with begin("active") as rig:
        process = rig.boot()
        begun = await process.ok("deploy", **WHERE, image="shop:2", wait=False)
        seen, state = 0, "running"
        while state == "running":
            body = await process.ok("operation_get", operationId=begun["operationId"], waitSeconds=5, seen=seen)
            seen, state = body["changes"], body["operation"]["state"]
        assert state == "succeeded"
        assert body["result"]["version"] == "2"
        assert {each["status"] for each in body["steps"]} == {"done"}


async def _held(rig: Rig) -> tuple[asyncio.Event, asyncio.Event]:
    inside, go = asyncio.Event(), asyncio.Event()
    probe = rig.health.probe

    async def slow(*args: object) -> object:
        inside.set()
        await go.wait()
        return await probe(*args)  # type: ignore[arg-type]

    rig.health.probe = slow  # type: ignore[assignment,method-assign]
    return inside, go


async def test_cancel_undoes_and_its_plan_is_bound_to_how_far_the_operation_came() -> None:
    async with begin("active") as rig:
        process, before = rig.boot(), rig.print()
        inside, go = await _held(rig)
        begun = await process.ok("deploy", **WHERE, image="shop:2", wait=False)
        early = await process.ok("operation_cancel", operationId=begun["operationId"], dryRun=True)
        await inside.wait()
        plan = await process.ok("operation_cancel", operationId=begun["operationId"], dryRun=True)
        assert plan["planId"] != early["planId"]
        assert plan["changes"][0] == "undo health"
        await process.refused("operation_cancel", 409, "stale_plan", operationId=begun["operationId"], planId=early["planId"])
        body = await process.ok("operation_cancel", operationId=begun["operationId"], planId=plan["planId"])
        assert body["state"] == "cancelled"
        assert rig.print() == before
        await process.refused("operation_cancel", 409, "already_ended", operationId=begun["operationId"])
        go.set()


async def test_a_second_operation_is_refused_with_who_runs() -> None:
    async with begin("active") as rig:
        process = rig.boot()
        inside, go = await _held(rig)
        begun = await process.ok("deploy", **WHERE, image="shop:2", wait=False)
        await inside.wait()
        body = await process.refused("deploy", 409, "operation_in_progress", **WHERE, image="shop:3")
        running = body["details"]
        assert (running["operationId"], running["step"], body["retryable"]) == (begun["operationId"], "health", True)
        assert (await process.ok("slot_status", **WHERE))["operation"]["operationId"] == begun["operationId"]
        go.set()
        await process.settle()


async def test_logs_grep_is_literal_and_the_cursor_goes_on() -> None:
    async with begin("active") as rig:
        process, box = rig.boot(), rig.machine.boxes["shop-production-blue"]
        rig.machine.say(box, "stdout", "a.c", "abc", "a.c again")
        body = await process.ok("logs", **WHERE, grep="a.c")
        assert [line["text"] for line in body["lines"]] == ["a.c", "a.c again"]
        rig.machine.say(box, "stderr", "later")
        more = await process.ok("logs", **WHERE, after=body["cursor"])
        assert [(line["stream"], line["text"]) for line in more["lines"]] == [("stderr", "later")]
        none = await process.ok("logs", **WHERE, after=more["cursor"], waitSeconds=1)
        assert (none["lines"], none["cursor"]) == ([], more["cursor"])
        assert [line["text"] for line in (await process.ok("logs", **WHERE, tail=1))["lines"]] == ["later"]
        await process.refused("logs", 409, "slot_empty", **WHERE, slot="green")
        await process.refused("logs", 400, "invalid_params", **WHERE, tail=10_001)


async def test_health_tells_the_part_that_fails() -> None:
    async with begin("active") as rig:
        process = rig.boot()
        good = await process.ok("health_check")
        assert {each["name"] for each in good["checks"]} >= {"api", "store", "docker", "proxy", "clock", "disk", "slots"}
        assert [each["name"] for each in good["checks"] if each["status"] != "pass" and each["name"] != "disk"] == []
        rig.machine.down = True
        bad = {each["name"]: each["status"] for each in (await rig.boot().ok("health_check"))["checks"]}
        assert (bad["docker"], bad["slots"], bad["store"]) == ("fail", "warn", "pass")
        rig.machine.down = False
        del rig.machine.boxes["shop-production-blue"]
        lost = {each["name"]: each for each in (await rig.boot().ok("health_check"))["checks"]}
        assert lost["slots"]["status"] == "warn"
        assert "shop-production-blue does not exist" in lost["slots"]["text"]


async def test_a_check_that_hangs_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    async def never() -> Finding:
        await asyncio.sleep(60)
        raise AssertionError

    monkeypatch.setattr("codeb.tools.health.CHECK_SECONDS", 0.02)
    async with begin("active") as rig:
        monkeypatch.setattr(rig.proxy, "check", never)
        found = {each["name"]: each["status"] for each in (await rig.boot().ok("health_check"))["checks"]}
        assert found["proxy"] == "fail"
