"""The one door: validation, dry runs, plans, idempotency, results, audit (P8, P14, S4, S11)."""

import asyncio
import json
from dataclasses import replace
from typing import Any

import pytest
from pydantic import Field

from codeb.contracts.store import Standing
from codeb.drivers.store.sql import SqlStore
from codeb.errors import FenceLost
from codeb.gate import Asked
from codeb.model.access import Role
from codeb.tools.call import Call
from codeb.tools.catalog import BY_NAME, TOOLS
from codeb.tools.health import HealthResult
from codeb.tools.tool import Outcome
from tests.kit import OWNER, START, Died, Process, Rig, add_key, begin
from tests.kit_pulls import PULL
from tests.rights import EXAMPLES, OLD_FILE

pytestmark = pytest.mark.anyio
WHERE = {"projectName": "shop", "environment": "production"}
CHANGING: dict[str, tuple[str, dict[str, Any]]] = {
    "workflow_init": ("active", {"projectName": "blog"}),
    "project_update": ("active", {"projectName": "shop", "watchSeconds": 90}),
    "pr_create": ("sourced", {"projectName": "shop", "branch": "other", "title": "Pay by invoice"}),
    "pr_review": ("sourced", {**PULL, "verdict": "approve"}),
    "pr_merge": ("sourced", PULL),
    "git_sync": ("sourced", {"projectName": "shop"}),
    "project_adopt": ("offered", {**WHERE, "container": "web"}),
    "deploy": ("grace", {**WHERE, "image": "shop:3"}),
    "preview_create": ("active", {"projectName": "shop", "pullRequest": 7, "image": "shop:3"}),
    "preview_delete": ("previewed", {"projectName": "shop", "pullRequest": 7}),
    "promote": ("ready", WHERE),
    "rollback": ("grace", WHERE),
    "domain_setup": ("active", {**WHERE, "domain": "shop.localhost"}),
    "domain_delete": ("named", {"domain": "www.example.com"}),
    "maintenance_on": ("active", WHERE),
    "maintenance_off": ("closed", WHERE),
    "slot_cleanup": ("grace", {**WHERE, "slot": "blue", "force": True}),
    "port_allocate": ("active", {"projectName": "shop", "environment": "staging"}),
    "port_register": ("active", {"projectName": "shop", "environment": "staging", "blue": 4600, "green": 4601}),
    "port_release": ("new", WHERE),
    "port_sync": ("active", {"fix": True}),
    "port_import": ("active", {"content": OLD_FILE}),
    "reconcile": ("active", WHERE),
    "project_delete": ("grace", {"projectName": "shop", "confirm": "shop"}),
    "undelete": ("gone", {"projectName": "shop"}),
    "env_set": ("active", {**WHERE, "values": {"LOG_LEVEL": "info"}}),
    "env_sync": ("active", {**WHERE, "envContent": "LOG_LEVEL=info"}),
    "db_create": ("active", WHERE),
    "db_rotate": ("stored", WHERE),
    "db_delete": ("stored", {**WHERE, "confirm": "shop"}),
    "redis_create": ("active", WHERE),
    "redis_rotate": ("rotated", {**WHERE, "endFormer": True}),
    "redis_delete": ("stored", {**WHERE, "confirm": "shop"}),
    "team_create": ("active", {"team": "other"}),
    "team_settings": ("active", {"displayName": "Main"}),
    "member_invite": ("active", {"name": "ana"}),
    "token_create": ("active", {"preset": "ci", "projects": ["shop"], "expires": "90d"}),
    "token_rotate": ("active", {"keyId": "key_owner"}),
    "server_add": ("active", {"server": "storage-1", "roles": ["storage"], "addresses": ["192.0.2.7"]}),
    "firewall_allow": ("active", {"projectName": "shop", "port": 4100, "cidr": "192.0.2.0/24"}),
    "firewall_deny": ("active", {"projectName": "shop", "port": 4100}),
    "firewall_sync": ("active", {"fix": True}),
    "registry_delete": ("active", {"repository": "shop", "tag": "old"}),
    "task_create": ("active", {"projectName": "shop", "title": "Pay", "branch": "feature/pay", "files": ["src"]}),
}


async def rows(process: Process, old: int = 0) -> list[Any]:
    """Newest first, without the `old` ones."""
    await process.audit.flush()
    async with process.kit.store.read() as registry:
        found = list(await registry.audit.latest(100))
    return found[: len(found) - old]


async def test_every_fault_at_once_with_the_nearest_name() -> None:
    async with begin("active") as rig:
        body = await rig.boot().refused(
            "deploy", 400, "invalid_params", projectNam="shop", environment="prod", image="-x", timeout="60", autoPromote=1
        )
        found = {each["field"]: each for each in body["details"]["fields"]}
        assert set(found) == {"projectNam", "projectName", "environment", "image", "timeout", "autoPromote"}
        assert found["projectNam"]["near"] == "projectName"
        assert rig.effects() == []


@pytest.mark.parametrize("params", [None, [], "x", 7, True])
async def test_params_are_an_object(params: Any) -> None:
    async with begin("active") as rig:
        process = rig.boot()
        said = await process.gate.call(Asked("project_list", params, OWNER, "test", "c"))
        assert (said.status, said.body["code"]) == (400, "malformed")


@pytest.mark.parametrize("port", ["8080", True, 8080.0, "8_080", 0, 65536, None, -1])
async def test_nothing_is_coerced(port: Any) -> None:
    async with begin("active") as rig:
        await rig.boot().refused("port_check", 400, "invalid_params", port=port)


def test_every_changing_tool_is_rehearsed_here() -> None:
    # these need something to cancel, to settle, to end, and keys: test_operations_logs_health, test_unreplayed, test_people and
    # test_master_key, test_envs, test_consent, test_servers and test_tasks rehearse them; registry_gc is a plan unless it is told
    # otherwise: test_image_cleanup
    elsewhere = {
        "operation_cancel",
        "conflict_settle",
        "team_delete",
        "member_remove",
        "token_revoke",
        "keys_rotate",
        "approve",
        "reject",
        "env_restore",
        "server_remove",
        "registry_gc",
        "task_update",
        "task_complete",
    }
    assert set(CHANGING) | elsewhere == {tool.name for tool in TOOLS if tool.changes}


def stored(rig: Rig) -> Any:
    return rig.print(), rig.store.snapshot.generation, len(rig.records.lines), len(rig.records.documents)


@pytest.mark.parametrize("name", CHANGING)
async def test_a_dry_run_changes_nothing_and_its_plan_can_be_applied_once(name: str) -> None:
    state, params = CHANGING[name]
    async with begin(state) as rig:
        process, before = rig.boot(), stored(rig)
        plan = await process.ok(name, **params, dryRun=True)
        again = await process.ok(name, **params, dryRun=True, idem="k")
        assert plan["planId"] == again["planId"]
        assert stored(rig) == before
        assert rig.effects() == []
        await process.ok(name, **params, planId=plan["planId"])
        assert await rig.faults() == []


@pytest.mark.parametrize("name", CHANGING)
async def test_a_plan_of_something_else_is_stale(name: str) -> None:
    state, params = CHANGING[name]
    async with begin(state) as rig:
        before = stored(rig)
        await rig.boot().refused(name, 409, "stale_plan", **params, planId="plan_" + "0" * 32)
        assert stored(rig) == before
        assert rig.effects() == []


@pytest.mark.parametrize(
    ("state", "name", "move"),
    [
        ("ready", "promote", ("deploy", {**WHERE, "image": "shop:3"})),
        ("ready", "deploy", ("promote", WHERE)),
        ("grace", "project_delete", ("rollback", WHERE)),
    ],
)
async def test_a_plan_is_stale_when_the_world_moved(state: str, name: str, move: tuple[str, dict[str, Any]]) -> None:
    async with begin(state) as rig:
        process, params = rig.boot(), CHANGING[name][1]
        plan = await process.ok(name, **params, dryRun=True)
        await process.ok(move[0], **move[1])
        rig.effects()
        await process.refused(name, 409, "stale_plan", **params, planId=plan["planId"])
        assert rig.effects() == []


@pytest.mark.parametrize("name", CHANGING)
async def test_the_same_key_and_body_have_one_effect_and_one_answer(name: str) -> None:
    state, params = CHANGING[name]
    async with begin(state) as rig:
        process = rig.boot()
        first = await process.ok(name, **params, idem="once")
        there = stored(rig)
        rig.effects()
        same = await process.ok(name, **params, idem="once")
        own = {"duration", "timestamp", "correlationId"}
        assert {k: v for k, v in same.items() if k not in own} == {k: v for k, v in first.items() if k not in own}
        assert rig.effects() == []
        assert stored(rig) == there
        await process.refused("project_create", 409, "idempotency_conflict", projectName="third", idempotencyKey="once")


async def test_another_key_holder_has_keys_of_his_own() -> None:
    async with begin("active") as rig:
        process, other = rig.boot(), await add_key(rig)
        await process.ok("port_allocate", projectName="shop", environment="staging", idem="k")
        await process.ok("port_allocate", projectName="shop", environment="preview", key=other, idem="k")


async def test_header_and_field_must_agree_and_fit_the_grammar() -> None:
    async with begin("active") as rig:
        process = rig.boot()
        await process.refused("project_create", 400, "invalid_params", projectName="b", idempotencyKey="a", idem="b")
        await process.refused("project_create", 400, "invalid_params", projectName="b", idem="a b")
        assert set(rig.store.snapshot.projects) == {"shop"}


async def lost(*_: Any) -> None:
    raise Died


@pytest.mark.parametrize("name", ["deploy", "promote", "rollback"])
async def test_a_long_answer_that_was_lost_is_found_by_its_operation(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process dies when the operation is done and before its answer is kept."""
    state, params = CHANGING[name]
    async with begin(state) as rig:
        with monkeypatch.context() as patch, pytest.raises(Died):
            patch.setattr(Call, "keep_answer", lost)
            await rig.boot().ask(name, **params, idem="once")
        there = stored(rig)
        rig.effects()
        body = await rig.boot().ok(name, **params, idem="once")
        assert rig.effects() == []
        assert stored(rig) == there
        assert body["operationId"]


@pytest.mark.parametrize("name", ["port_allocate", "port_register", "workflow_init"])
async def test_a_short_answer_that_was_lost_is_told_as_a_repetition(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    state, params = CHANGING[name]
    async with begin(state) as rig:
        with monkeypatch.context() as patch, pytest.raises(Died):
            patch.setattr(Call, "keep_answer", lost)
            await rig.boot().ask(name, **params, idem="once")
        there = stored(rig)
        body = await rig.boot().ok(name, **params, idem="once")
        assert body["success"] is True
        assert "before" in body["summary"]
        assert stored(rig) == there


async def test_the_same_key_twice_at_once_is_one_deploy() -> None:
    async with begin("active") as rig:
        process = rig.boot()
        calls = [process.ask("deploy", **WHERE, image="shop:2", idem="once") for _ in range(8)]
        said = await asyncio.gather(*calls)
        assert {each.status for each in said} == {200}
        assert len({each.body["operationId"] for each in said}) == 1
        assert rig.effects().count("start shop-production-green") == 1


async def test_an_answer_of_the_wrong_shape_is_an_internal_error() -> None:
    async def wrong(*_: Any) -> Outcome:
        return Outcome(HealthResult(status="pass", checks=[]), "fine")

    async with begin("active") as rig:
        tools = dict(BY_NAME) | {"project_list": replace(BY_NAME["project_list"], run=wrong)}
        assert (await rig.boot(tools=tools).ask("project_list")).status == 500


async def test_an_unforeseen_error_shows_an_id_and_nothing_else() -> None:
    async def broken(*_: Any) -> Outcome:
        raise RuntimeError("secret path /etc/x")

    async with begin("active") as rig:
        process = rig.boot(tools=dict(BY_NAME) | {"project_list": replace(BY_NAME["project_list"], run=broken)})
        old = len(await rows(process))
        said = await process.ask("project_list")
        assert (said.status, said.body["code"], said.body["correlationId"]) == (500, "internal", "corr-project_list")
        assert "secret path" not in json.dumps(said.body)
        assert "corr-project_list" in said.body["hint"]
        assert [(row.code, row.ok) for row in await rows(process, old)] == [("internal", False)]


async def test_accepted_and_refused_calls_leave_one_row_each_and_no_secret() -> None:
    async with begin("active") as rig:
        process, viewer = rig.boot(), await add_key(rig, Role.VIEWER)
        old = len(await rows(process))
        await process.ok("project_list")
        await process.ask("project_list", key=None)
        await process.ask("deploy", key=viewer, **WHERE, image="shop:2")
        await process.ask("deploy", bogus="hunter2")
        await process.ask("no_such_tool")
        await process.ok("port_allocate", projectName="shop", environment="staging")
        found = await rows(process, old)
        assert [(row.tool, row.code, row.ok) for row in reversed(found)] == [
            ("project_list", "", True),
            ("unknown", "unauthenticated", False),
            ("deploy", "forbidden", False),
            ("deploy", "invalid_params", False),
            ("unknown", "unknown_tool", False),
            ("port_allocate", "", True),
        ]
        text = repr(found)
        assert OWNER.reveal() not in text
        assert viewer.reveal() not in text
        assert "o" * 32 not in text
        assert found[0].params == {"projectName": "shop", "environment": "staging"}


@pytest.mark.parametrize("name", [tool.name for tool in TOOLS])
async def test_every_answer_has_the_envelope_and_valid_next_calls(name: str) -> None:
    async with begin("grace") as rig:
        process = rig.boot()
        said = await process.ask(name, **EXAMPLES.get(name, {}))
        assert {"success", "summary", "next", "warnings", "duration", "timestamp", "correlationId"} <= set(said.body)
        assert said.body["summary"]
        json.dumps(said.body, default=None)
        for each in said.body["next"]:
            BY_NAME[each["tool"]].params.model_validate(each["params"], by_alias=True, by_name=False)


async def test_the_gate_itself_holds_back_changes_without_lead_and_without_the_database(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reads and rehearsals go on; of what changes something, without the database only what is made for that."""
    async with begin("grace") as rig:
        process, before = rig.boot(), rig.print()
        for standing, code in ((Standing(leads=False), "not_leader"), (Standing(away_since=START, why="gone"), "degraded")):
            monkeypatch.setattr(SqlStore, "standing", property(lambda _, now=standing: now))
            said = await process.refused("project_update", 503, code, projectName="shop", watchSeconds=90)
            assert code == "not_leader" or "deploy" in said["hint"], "the gate says what goes on; the tool behind it would not"
            await process.ok("project_list")
            await process.ok("project_update", projectName="shop", watchSeconds=90, dryRun=True)
        assert rig.print() == before
        monkeypatch.setattr(SqlStore, "standing", property(lambda _: Standing(leads=False)))
        await process.refused("promote", 503, "not_leader", **WHERE)


async def test_the_gate_itself_holds_a_key_to_its_projects() -> None:
    """Before the tool sees the call: also for a project that is not there yet."""
    async with begin("grace") as rig:
        key = await add_key(rig, projects=frozenset({"other"}))
        await rig.boot().refused("project_create", 404, "project_not_found", key=key, projectName="blog")


async def test_the_record_has_neither_a_secret_that_was_given_nor_what_was_said_of_one_that_was_shown() -> None:
    """S11"""

    class Told(BY_NAME["project_list"].params):  # type: ignore[name-defined,misc]
        password: str | None = Field(None, json_schema_extra={"writeOnly": True})

    async with begin("grace") as rig:
        process = rig.boot(tools=dict(BY_NAME) | {"project_list": replace(BY_NAME["project_list"], params=Told)})
        old = len(await rows(process))
        await process.ok("project_list", password="hunter2")
        await process.ok("token_create", role="viewer")
        told = {row.tool: row for row in await rows(process, old)}
        assert told["project_list"].params == {"password": "…"}
        assert told["token_create"].summary == "Make a key: what it showed is not on record."


async def test_a_dry_run_is_no_repetition_and_leaves_its_idempotency_key_free() -> None:
    async with begin("grace") as rig:
        process = rig.boot()
        said = {"projectName": "shop", "watchSeconds": 90}
        assert "planId" in await process.ok("project_update", **said, dryRun=True, idem="k")
        await process.ok("project_update", **said, idem="k")
        assert rig.store.snapshot.projects["shop"].watch_seconds == 90
        assert "planId" in await process.ok("project_update", **said, dryRun=True, idem="k")


async def test_a_call_that_was_only_accepted_says_by_now_how_far_it_is() -> None:
    async with begin("active") as rig:
        process, image = rig.boot(), rig.image("9")
        first = await process.ok("deploy", **WHERE, image=image, wait=False, idem="k")
        await process.settle()
        again = await process.ok("deploy", **WHERE, image=image, wait=False, idem="k")
        assert (again["operationId"], first["state"], again["state"]) == (first["operationId"], "running", "succeeded")


async def test_a_summary_on_record_has_an_end() -> None:
    async with begin("grace") as rig:
        process = rig.boot()
        old = len(await rows(process))
        process.gate.refused(Asked("x" * 900, {}, OWNER, "test", "c"), 400, "malformed", "y" * 900)
        (row,) = await rows(process, old)
        assert (row.tool, len(row.summary)) == ("unknown", 500)


async def test_who_lost_the_lead_in_the_middle_of_a_call_says_so() -> None:
    async def lost(call: Any, params: Any) -> Any:
        raise FenceLost("another one leads")

    async with begin("grace") as rig:
        process = rig.boot(tools=dict(BY_NAME) | {"project_list": replace(BY_NAME["project_list"], run=lost)})
        await process.refused("project_list", 503, "not_leader")


@pytest.mark.parametrize("name", [["deploy"], {"deploy": 1}, 7, None, True])
async def test_a_tool_that_is_no_name_is_not_found(name: Any) -> None:
    async with begin("grace") as rig:
        await rig.boot().refused(name, 404, "unknown_tool")


async def test_a_refusal_repeats_only_the_beginning_of_an_unknown_field_and_tells_the_first_twenty() -> None:
    async with begin("grace") as rig:
        many = {f"{'x' * 900}{number:02}": 1 for number in range(50)}
        said = await rig.boot().refused("project_list", 400, "invalid_params", **many)
        assert len(said["details"]["fields"]) == 20
        assert max(len(each["field"]) for each in said["details"]["fields"]) == 64
