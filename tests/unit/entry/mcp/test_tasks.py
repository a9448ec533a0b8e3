"""Long calls as tasks: a handle at once, an answer as a waited call would have had it, to nobody else (P8, S5)."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from mcp.shared.exceptions import MCPError
from mcp_types import INVALID_PARAMS, METHOD_NOT_FOUND, MISSING_REQUIRED_CLIENT_CAPABILITY

from codeb.contracts.kit import Kit
from codeb.contracts.runtime import Images
from codeb.entry.mcp import durable
from codeb.entry.mcp.tasks import EXTENSION
from codeb.errors import RateLimited, Unavailable
from codeb.gate import Answer
from codeb.gate.door import failed
from codeb.model.access import Role
from codeb.model.limits import Rate
from codeb.model.specs import Image
from tests.flows.test_called_again import plain
from tests.kit import Process, Rig, add_key, begin
from tests.unit.entry.mcp.assistant import ERAS, LEGACY, assistant, settled, texts

pytestmark = pytest.mark.anyio

WHERE = {"projectName": "shop", "environment": "production"}
DEPLOY = {**WHERE, "image": "shop:2"}


class Held:
    """Images that come only once they are let go."""

    def __init__(self, images: Images, gate: asyncio.Event) -> None:
        self._images, self._gate = images, gate

    async def resolve(self, reference: str) -> Image:
        await self._gate.wait()
        return await self._images.resolve(reference)


def held(rig: Rig, **policy: Any) -> tuple[Process, asyncio.Event]:
    """A process whose deploys stand at the pull until the event is set."""
    free = asyncio.Event()

    def hold(kit: Kit) -> Kit:
        return replace(kit, images=Held(kit.images, free), policy=replace(kit.policy, **policy))

    return rig.boot(hold), free


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(durable, "LOOK_SECONDS", 0)


async def test_a_deploy_is_a_task_and_ends_as_one_that_was_waited_for() -> None:
    async with begin("active") as rig:
        waited = await rig.boot().ok("deploy", **DEPLOY)
    async with begin("active") as rig:
        process, free = held(rig)
        async with assistant(process) as client:
            handle = await client.call("deploy", **DEPLOY)
            assert handle["resultType"] == "task" and "content" not in handle
            fields = {"taskId", "status", "statusMessage", "createdAt", "lastUpdatedAt", "ttlMs", "pollIntervalMs"}
            assert fields < set(handle) and (handle["status"], handle["pollIntervalMs"]) == ("working", 1000)
            # the operation is on record, under the task's id
            assert (await process.ok("operation_get", operationId=handle["taskId"]))["operation"]["state"] == "running"
            look = await client.on("tasks/get", handle["taskId"])
            assert (look["status"], look["resultType"]) == ("working", "complete") and "result" not in look
            assert look["statusMessage"].startswith("deploy of shop production: step pull")
            free.set()
            ended = await client.ended(handle["taskId"])
            assert (ended["status"], ended["result"]["isError"]) == ("completed", False)
            assert plain(ended["result"]["structuredContent"]) == plain(waited)
            assert waited["summary"].split(" runs in")[0] in texts(ended["result"])
            assert ended["createdAt"] <= ended["lastUpdatedAt"]
            # again, and nothing is done again
            rig.effects()
            assert plain((await client.on("tasks/get", handle["taskId"]))["result"]) == plain(ended["result"])
            assert rig.effects() == []


async def test_a_task_outlives_the_process_that_began_it() -> None:
    async with begin("active") as rig:
        process, free = held(rig)
        async with assistant(process) as client:
            handle = await client.call("deploy", **DEPLOY)
        free.set()
        await settled(process)
        async with assistant(rig.boot()) as client:
            ended = await client.ended(handle["taskId"])
            assert ended["status"] == "completed" and ended["result"]["structuredContent"]["slot"] == "green"


async def test_what_fails_is_a_completed_task_that_says_so() -> None:
    async with begin("active") as rig:
        process = rig.boot()
        waited = await process.ask("deploy", **WHERE, image="shop:missing")
        async with assistant(process) as client:
            handle = await client.call("deploy", **WHERE, image="shop:missing")
            ended = await client.ended(handle["taskId"])
            assert (ended["status"], ended["result"]["isError"]) == ("completed", True)
            assert plain(ended["result"]["structuredContent"]) == plain(waited.body)
            assert ended["statusMessage"] == "deploy of shop production failed."


async def test_with_auto_promote_the_task_ends_with_the_promote() -> None:
    async with begin("active") as rig, assistant(rig.boot()) as client:
        handle = await client.call("deploy", **DEPLOY, autoPromote=True)
        ended = await client.ended(handle["taskId"])
        assert ended["result"]["structuredContent"]["promoted"]["activeSlot"] == "green"


async def test_cancel_is_asked_and_undoes() -> None:
    async with begin("active") as rig:
        before = rig.print()
        process, free = held(rig)
        async with assistant(process) as client:
            handle = await client.call("deploy", **DEPLOY)
            assert set(await client.on("tasks/cancel", handle["taskId"])) <= {"resultType", "_meta"}
            free.set()
            ended = await client.ended(handle["taskId"])
            assert ended["status"] == "cancelled" and not {"result", "error"} & set(ended)
            # what has ended may be asked to end
            assert set(await client.on("tasks/cancel", handle["taskId"])) <= {"resultType", "_meta"}
        await settled(process)
        assert rig.print() == before


async def test_somebody_elses_task_is_as_unknown_as_none() -> None:
    async with begin("active") as rig:
        same_team, stranger = await add_key(rig), await add_key(rig, team="others")
        process, free = held(rig)
        async with assistant(process) as mine:
            handle = await mine.call("deploy", **DEPLOY)
        said = set()
        for key in (same_team, stranger):
            async with assistant(process, key=key) as client:
                for task_id in (handle["taskId"], "op_00000000000000000000000099", "nonsense", ""):
                    for method, more in (("tasks/get", {}), ("tasks/cancel", {}), ("tasks/update", {"inputResponses": {}})):
                        with pytest.raises(MCPError) as refused:
                            await client.on(method, task_id, **more)
                        said.add((refused.value.error.code, refused.value.error.message))
        assert said == {(INVALID_PARAMS, "There is no such task.")}
        view = await process.ok("operation_get", operationId=handle["taskId"])
        assert not view["operation"]["cancelRequested"]
        free.set()
        await settled(process)


async def test_an_update_is_taken_and_changes_nothing() -> None:
    async with begin("active") as rig:
        process, free = held(rig)
        async with assistant(process) as client:
            handle = await client.call("deploy", **DEPLOY)
            said = await client.on("tasks/update", handle["taskId"], inputResponses={"x": {"action": "accept"}})
            assert set(said) <= {"resultType", "_meta"}
            assert (await client.on("tasks/get", handle["taskId"]))["status"] == "working"
            free.set()
            await client.ended(handle["taskId"])


@pytest.mark.parametrize("mode", ERAS)
async def test_who_did_not_declare_tasks_gets_none(mode: str) -> None:
    """Nor does one of the former revision, which has no such answers."""
    async with begin("active") as rig:
        process = rig.boot()
        async with assistant(process, mode=mode, tasks=mode == LEGACY) as client:
            said = await client.call("deploy", **DEPLOY)
            assert said["structuredContent"]["slot"] == "green" and "taskId" not in said
            operation = said["structuredContent"]["operationId"]
            code = METHOD_NOT_FOUND if mode == LEGACY else MISSING_REQUIRED_CLIENT_CAPABILITY
            for method in ("tasks/get", "tasks/cancel", "tasks/update"):
                with pytest.raises(MCPError) as refused:
                    await client.on(method, operation, inputResponses={})
                assert refused.value.error.code == code
            if mode != LEGACY:
                assert refused.value.error.data == {"requiredCapabilities": {"extensions": {EXTENSION: {}}}}


@pytest.mark.parametrize(
    "call",
    [
        ("deploy", {**DEPLOY, "dryRun": True}),
        ("deploy", {**WHERE, "image": "shop:2", "imag": "x"}),
        ("deploy", {"projectName": "nobody", "environment": "production", "image": "shop:2"}),
        ("slot_status", WHERE),
        ("project_update", {"projectName": "shop", "watchSeconds": 5}),
    ],
    ids=["a plan", "a refusal of the params", "an unknown project", "a read", "a short change"],
)
async def test_what_begins_nothing_is_answered_at_once(call: tuple[str, dict[str, Any]]) -> None:
    async with begin("active") as rig, assistant(rig.boot()) as client:
        said = await client.call(call[0], **call[1])
        assert said["resultType"] == "complete" and "structuredContent" in said


async def test_one_who_says_not_to_wait_gets_the_operation() -> None:
    async with begin("active") as rig:
        process = rig.boot()
        async with assistant(process) as client:
            said = await client.call("deploy", **DEPLOY, wait=False)
            assert said["structuredContent"]["operationId"].startswith("op_") and "taskId" not in said
        await settled(process)


async def test_the_same_key_and_body_are_the_same_task() -> None:
    async with begin("active") as rig:
        process, free = held(rig)
        async with assistant(process) as client:
            first = await client.call("deploy", **DEPLOY, idempotencyKey="once")
            again = await client.call("deploy", **DEPLOY, idempotencyKey="once")
            assert again["taskId"] == first["taskId"]
            # a second deploy meanwhile is refused, and names the first
            other = await client.call("deploy", **DEPLOY)
            body = other["structuredContent"]
            assert (other["isError"], body["code"], body["details"]["operationId"]) == (
                True, "operation_in_progress", first["taskId"],
            )  # fmt: skip
            free.set()
            await client.ended(first["taskId"])


async def test_a_key_that_cannot_follow_operations_waits() -> None:
    async with begin("active") as rig:
        key = await add_key(rig, Role.MEMBER, tools=("deploy",))
        async with assistant(rig.boot(), key=key) as client:
            said = await client.call("deploy", **DEPLOY)
            assert said["structuredContent"]["slot"] == "green"


async def test_what_cannot_be_asked_again_is_told_from_the_record() -> None:
    """The key has lost its right meanwhile: what was done was done all the same."""
    async with begin("active") as rig:
        key = await add_key(rig, Role.MEMBER, tools=("deploy", "operation_get"))
        process = rig.boot()
        async with assistant(process, key=key) as client:
            handle = await client.call("deploy", **DEPLOY)
            await settled(process)
            gate = process.gate
            find = gate.call

            async def without_deploy(asked: Any) -> Any:
                return await find(asked if asked.tool != "deploy" else replace(asked, tool="team_create", params={"team": "x"}))

            gate.call = without_deploy  # type: ignore[method-assign]
            ended = await client.ended(handle["taskId"])
            body = ended["result"]["structuredContent"]
            assert (ended["status"], body["success"], body["slot"]) == ("completed", True, "green")


async def test_every_look_is_on_record_and_counted() -> None:
    """P14."""
    async with begin("active") as rig:
        process = rig.boot()
        async with assistant(process) as client:
            handle = await client.call("deploy", **DEPLOY)
            await client.ended(handle["taskId"])
            with pytest.raises(MCPError):
                await client.on("tasks/get", "op_00000000000000000000000099")
        await process.audit.flush()
        async with process.kit.store.read() as registry:
            rows = [(each.tool, each.entry, each.ok, each.code) for each in await registry.audit.latest(20)]
        assert ("operation_get", "mcp", True, "") in rows
        assert rows[0] == ("operation_get", "mcp", False, "operation_not_found")
        assert rows.count(("deploy", "mcp", True, "")) == 1


async def test_one_who_looks_too_often_is_told_to_look_later_and_the_task_is_not_lost() -> None:
    """S30: a look is a call like any other."""
    async with begin("active") as rig:
        process, free = held(rig, calls=Rate(4, 60))
        async with assistant(process) as client:
            handle = await client.call("deploy", **DEPLOY)
            looks = [await client.on("tasks/get", handle["taskId"]) for _ in range(4)]
            assert [each["status"] for each in looks] == ["working"] * 4
            assert [each["pollIntervalMs"] for each in looks[:3]] == [1_000] * 3 and looks[3]["pollIntervalMs"] > 1_000
            free.set()
            await settled(process)
            rig.clock.spent += 61
            assert (await client.ended(handle["taskId"]))["status"] == "completed"


async def test_an_answer_that_is_only_refused_for_now_is_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    async with begin("active") as rig:
        process = rig.boot()
        async with assistant(process) as client:
            handle = await client.call("deploy", **DEPLOY)
            await settled(process)
        later = rig.boot()
        call, refusals = later.gate.call, [RateLimited("Too often."), Unavailable("Stopping.", code="stopping")]

        async def refusing(asked: Any) -> Any:
            if asked.tool == "deploy" and refusals:
                fault = refusals.pop()
                return Answer(fault.status, failed(fault))
            return await call(asked)

        monkeypatch.setattr(later.gate, "call", refusing)
        async with assistant(later) as client:
            found = [(await client.on("tasks/get", handle["taskId"]))["status"] for _ in range(3)]
        assert found == ["working", "working", "completed"]
