"""Environment variables as tools: masked and shown, versions, refusals, what a deploy and a rollback run with (S11, P8, P9)."""

import asyncio
import json
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import update

from codeb.contracts.store import Standing
from codeb.contracts.vault import closed
from codeb.drivers.store.schema import projects
from codeb.drivers.store.sql import SqlStore
from codeb.model.access import Approval, Role
from tests.kit import Process, add_key, begin

pytestmark = pytest.mark.anyio

WHERE = {"projectName": "shop", "environment": "production"}
CANARY = "canary-s3cr3t"
EXACT = {"A": 'it\'s "x"=#', "B": "one\ntwo\r\n", "C": "한국어 🎉", "D": "", "E": " $HOME ", "F": "x" * 32768}


async def put(process: Process, **values: str) -> dict[str, Any]:
    return await process.ok("env_set", **WHERE, values=values)


async def shown(process: Process, **more: Any) -> dict[str, str]:
    return dict((await process.ok("env_get", **WHERE, reveal=True, **more))["variables"])


async def audited(process: Process) -> str:
    await process.audit.flush()
    async with process.kit.store.read() as registry:
        return repr(await registry.audit.latest(100))


async def test_values_are_masked_until_they_are_revealed() -> None:
    async with begin("active") as rig:
        process = rig.boot()
        assert (await process.ok("env_get", **WHERE))["version"] is None
        await put(process, **EXACT)
        body = await process.ok("env_get", **WHERE)
        assert body["variables"] == dict.fromkeys(EXACT, "…")
        assert await shown(process) == EXACT
        assert await shown(process, keys=["A", "D"]) == {"A": EXACT["A"], "D": ""}
        await process.refused("env_get", 404, "env_key_not_found", **WHERE, keys=["NOPE"])


async def test_to_reveal_needs_a_member_and_is_on_record() -> None:
    async with begin("active") as rig:
        process, viewer = rig.boot(), await add_key(rig, Role.VIEWER)
        await put(process, TOKEN=CANARY)
        await process.refused("env_get", 403, "forbidden", key=viewer, **WHERE, reveal=True)
        for tool in ("env_get", "env_history", "env_diff"):
            assert CANARY not in json.dumps(await process.ok(tool, key=viewer, **WHERE))
        await process.ok("env_get", key=await add_key(rig, Role.MEMBER), **WHERE, reveal=True)
        record = await audited(process)
        assert "'reveal': True" in record
        assert CANARY not in record


async def test_nothing_is_revealed_that_cannot_be_put_on_record() -> None:
    async with begin("active") as rig:
        process = rig.boot()
        await put(process, TOKEN=CANARY)
        process.audit.blocked = "the disk is full"

        async def nowhere() -> None:
            """It stays blocked."""

        process.audit.flush = nowhere  # type: ignore[method-assign]
        body = await process.refused("env_get", 503, "audit_unavailable", **WHERE, reveal=True)
        assert CANARY not in json.dumps(body)
        await process.ok("env_get", **WHERE)


async def test_a_bound_key_reveals_by_name_or_by_another_identity_once() -> None:
    async with begin("active") as rig:
        process = rig.boot()
        await put(process, TOKEN=CANARY)
        named, bound = await add_key(rig, approval=Approval.NAME), await add_key(rig, approval=Approval.HUMAN)
        body = await process.refused("env_get", 409, "confirm_needed", key=named, **WHERE, reveal=True)
        assert (await process.ok("env_get", key=named, **body["next"][0]["params"]))["variables"] == {"TOKEN": CANARY}
        details = (await process.refused("env_get", 409, "approval_needed", key=bound, **WHERE, reveal=True))["details"]
        assert details["changes"] == ["reveal TOKEN"]
        assert (await process.ok("env_get", key=bound, **WHERE))["variables"] == {"TOKEN": "…"}
        await process.ok("approve", approvalId=details["approvalId"])
        plan = {"planId": details["planId"]}
        await put(process, OTHER="1")
        await process.refused("env_get", 409, "stale_plan", key=bound, **WHERE, reveal=True, **plan)
        details = (await process.refused("env_get", 409, "approval_needed", key=bound, **WHERE, reveal=True))["details"]
        await process.ok("approve", approvalId=details["approvalId"])
        plan = {"planId": details["planId"]}
        assert (await process.ok("env_get", key=bound, **WHERE, reveal=True, **plan))["variables"]["TOKEN"] == CANARY
        await process.refused("env_get", 409, "approval_used", key=bound, **WHERE, reveal=True, **plan)


async def test_of_two_reveals_by_one_yes_at_once_one_shows() -> None:
    async with begin("active") as rig:
        process, bound = rig.boot(), await add_key(rig, approval=Approval.HUMAN)
        await put(process, TOKEN=CANARY)
        details = (await process.refused("env_get", 409, "approval_needed", key=bound, **WHERE, reveal=True))["details"]
        await process.ok("approve", approvalId=details["approvalId"])
        call = {**WHERE, "reveal": True, "planId": details["planId"]}
        said = await asyncio.gather(*(process.ask("env_get", key=bound, **call) for _ in range(4)))
        assert sorted(each.status for each in said) == [200, 409, 409, 409]
        assert [CANARY in json.dumps(each.body) for each in said].count(True) == 1


async def test_a_plan_is_good_for_the_variables_and_the_version_it_names() -> None:
    async with begin("active") as rig:
        process = rig.boot()
        await put(process, A="1", B="2")
        plan = await process.ok("env_get", **WHERE, reveal=True, keys=["A"], dryRun=True)
        use = {**WHERE, "reveal": True, "planId": plan["planId"]}
        await process.refused("env_get", 409, "stale_plan", **use, keys=["B"])
        await process.refused("env_get", 409, "stale_plan", **use)
        assert (await process.ok("env_get", **use, keys=["A"]))["variables"] == {"A": "1"}
        await put(process, A="3")
        await process.refused("env_get", 409, "stale_plan", **use, keys=["A"])
        assert (await process.ok("env_get", **use, keys=["A"], version=1))["variables"] == {"A": "1"}


async def test_a_protected_one_is_not_set_by_accident_and_nothing_is_written_for_a_project_that_goes() -> None:
    async with begin("active") as rig:
        process = rig.boot()
        await put(process, DATABASE_URL="postgres://x")
        await process.refused("env_set", 409, "env_protected", **WHERE, values={"DATABASE_URL": "postgres://y"})
        await process.refused("env_set", 409, "env_protected", **WHERE, unset=["DATABASE_URL"])
        assert await shown(process) == {"DATABASE_URL": "postgres://x"}
        async with rig.store.write() as registry:
            await registry.projects._tx.write(update(projects).values(state="deleting"))  # type: ignore[attr-defined]
        await process.refused("env_set", 409, "project_deleting", **WHERE, values={"A": "1"})
        assert len((await process.ok("env_history", **WHERE))["versions"]) == 1


async def test_every_write_is_one_more_version_with_author_and_time_and_nothing_is_overwritten() -> None:
    async with begin("active") as rig:
        process = rig.boot()
        await put(process, A="1", B="2")
        rig.clock.jumped += timedelta(hours=1)
        await put(process, A="3")
        await process.ok("env_set", **WHERE, unset=["B"], values={"C": "4"})
        body = await process.ok("env_history", **WHERE)
        assert [(each["version"], each["added"], each["changed"], each["removed"]) for each in body["versions"]] == [
            (3, ["C"], [], ["B"]), (2, [], ["A"], []), (1, ["A", "B"], [], []),
        ]  # fmt: skip
        assert {each["by"] for each in body["versions"]} == {"main/owner/key_owner"}
        assert [each["version"] for each in (await process.ok("env_history", **WHERE, limit=1, before=3))["versions"]] == [2]
        assert await shown(process, version=1) == {"A": "1", "B": "2"}
        assert await shown(process, version="2") == {"A": "3", "B": "2"}
        assert await shown(process, version=body["versions"][2]["at"]) == {"A": "1", "B": "2"}
        diff = await process.ok("env_diff", **WHERE, fromVersion="master", toVersion=3)
        assert (diff["added"], diff["changed"], diff["removed"]) == (["C"], ["A"], ["B"])
        assert (await process.ok("env_diff", **WHERE))["fromVersion"] == 2
        await process.refused("env_get", 404, "env_version_not_found", **WHERE, version=9)


async def test_a_write_that_changes_nothing_makes_no_version_and_says_so() -> None:
    async with begin("active") as rig:
        process = rig.boot()
        await put(process, A="1")
        for body in (
            await put(process, A="1"),
            await process.ok("env_sync", **WHERE, envContent="# the same\nA=1"),
            await process.ok("env_restore", **WHERE, version="master"),
        ):
            assert (body["changedAnything"], body["version"]) == (False, 1)
            assert "no new version" in body["summary"]


async def test_the_same_call_under_one_key_is_one_version() -> None:
    async with begin("active") as rig:
        process = rig.boot()
        first = await process.ok("env_set", **WHERE, values={"A": "1"}, idem="once")
        await put(process, A="2")
        assert (await process.ok("env_set", **WHERE, values={"A": "1"}, idem="once"))["version"] == first["version"]
        await process.refused("env_set", 409, "idempotency_conflict", **WHERE, values={"A": "3"}, idem="once")
        assert await shown(process) == {"A": "2"}


async def test_a_sync_has_exactly_the_file_but_keeps_protected_ones() -> None:
    async with begin("active") as rig:
        process = rig.boot()
        await put(process, DATABASE_URL="postgres://x", A="1", B="2", C="3", D="4")
        body = await process.ok("env_sync", **WHERE, content="A=9\nB=2\nC=3\nE='5 # 6'")
        assert (body["added"], body["changed"], body["removed"], body["kept"]) == (["E"], ["A"], ["D"], ["DATABASE_URL"])
        assert await shown(process) == {"DATABASE_URL": "postgres://x", "A": "9", "B": "2", "C": "3", "E": "5 # 6"}
        await process.refused("env_sync", 409, "env_protected", **WHERE, envContent="DATABASE_URL=y\nA=9\nB=2\nC=3\nE=5")
        await process.refused("env_sync", 409, "env_drops_many", **WHERE, envContent="A=9")
        await process.refused("env_sync", 409, "env_drops_many", **WHERE, envContent="")
        await process.refused("env_sync", 400, "env_placeholder", **WHERE, envContent="A=CHANGE_ME", force=True)
        body = await process.refused("env_sync", 400, "env_lines", **WHERE, envContent=f"A=1\n{CANARY}\nA=2")
        assert [each["line"] for each in body["details"]["lines"]] == [2, 3]
        assert CANARY not in json.dumps(body)
        for params in ({}, {"content": "A=1", "envContent": "A=1"}):
            await process.refused("env_sync", 400, "invalid_params", **WHERE, **params)
        assert (await process.ok("env_sync", **WHERE, envContent="A=9", force=True))["removed"] == ["B", "C", "E"]


async def test_an_earlier_version_comes_back_as_a_new_one() -> None:
    async with begin("active") as rig:
        process = rig.boot()
        await put(process, A="1", DATABASE_URL="postgres://old")
        await process.ok("env_set", **WHERE, values={"A": "2", "DATABASE_URL": "postgres://new"}, force=True)
        plan = await process.ok("env_restore", **WHERE, version="master", dryRun=True)
        assert plan["changes"] == ["change A"]
        body = await process.ok("env_restore", **WHERE, version="master", planId=plan["planId"])
        assert (body["version"], body["changed"], body["kept"]) == (3, ["A"], ["DATABASE_URL"])
        assert await shown(process) == {"A": "1", "DATABASE_URL": "postgres://new"}
        await process.refused("env_restore", 409, "stale_plan", **WHERE, version="master", planId=plan["planId"])
        await process.ok("env_restore", **WHERE, version=1, force=True)
        assert await shown(process) == {"A": "1", "DATABASE_URL": "postgres://old"}


async def test_a_scan_says_what_differs_and_shows_no_value() -> None:
    async with begin("active") as rig:
        process = rig.boot()
        await put(process, SAME="1", OTHER="2", POSTGRES_DB="x", GONE="3")
        body = await process.ok("env_scan", **WHERE, content=f"SAME=1\nOTHER={CANARY}\nNEW=your_name")
        assert (body["same"], body["different"], body["onlyLocal"], body["onlyServer"]) == (
            ["SAME"], ["OTHER"], ["NEW"], ["GONE", "POSTGRES_DB"]
        )  # fmt: skip
        assert (body["protected"], body["placeholders"]) == (["POSTGRES_DB"], ["NEW"])
        assert CANARY not in json.dumps(body)
        assert CANARY not in await audited(process)


async def test_what_is_no_variable_is_refused_without_being_repeated() -> None:
    async with begin("active") as rig:
        process = rig.boot()
        for values in (
            {CANARY: "A"},
            {"A": CANARY + "\0"},
            {"CODEB_X": "1"},
            {"A": "x" * 32769},
            {"A": 1},
            {"A": "\ud800" + CANARY},
        ):
            body = await process.refused("env_set", 400, "invalid_params", **WHERE, values=values)
            assert CANARY not in json.dumps(body)
        await process.refused("env_set", 400, "invalid_params", **WHERE)
        await process.refused("env_set", 400, "env_placeholder", **WHERE, values={"A": "your_key"})
        assert CANARY not in await audited(process)
        assert (await process.ok("env_history", **WHERE))["versions"] == []


async def test_a_value_may_look_like_a_key_of_ours() -> None:
    async with begin("active") as rig:
        process, key = rig.boot(), "codeb_main_member_" + "k" * 32
        await put(process, DEPLOY_KEY=key)
        assert (await shown(process))["DEPLOY_KEY"] == key
        assert key not in await audited(process)


async def test_foreign_and_unknown_projects_look_the_same() -> None:
    async with begin("active") as rig:
        process, theirs = rig.boot(), await add_key(rig, team="rivals")
        for tool, more in (
            ("env_get", {}), ("env_set", {"values": {"A": "1"}}), ("env_set", {"values": {"A": "1"}, "dryRun": True}),
            ("env_scan", {"content": ""}), ("env_diff", {}), ("env_history", {}),
        ):  # fmt: skip
            said = await process.refused(tool, 404, "project_not_found", key=theirs, **WHERE, **more)
            none = await process.refused(tool, 404, "project_not_found", key=theirs, **WHERE | {"projectName": "nope"}, **more)
            assert said["error"].replace("shop", "nope") == none["error"]


async def test_without_the_master_key_nothing_is_written_or_deployed_and_it_says_so() -> None:
    async with begin("active") as rig:
        process = rig.boot()
        await put(process, A="1")
        rig.effects()
        process.kit.keyring.shut(closed("The key is gone.", "Bring it back."))
        before = rig.print()
        await process.refused("env_set", 503, "vault_closed", **WHERE, values={"A": "2"})
        assert rig.print() == before
        process.kit.keyring._keys = ()  # type: ignore[attr-defined]
        await process.refused("deploy", 503, "vault_closed", **WHERE, image="shop:2")
        await process.refused("env_get", 503, "vault_closed", **WHERE)
        assert rig.effects() == []


async def test_they_are_sealed_in_the_store_and_a_change_of_the_master_key_seals_them_anew() -> None:
    async with begin("active") as rig:
        process = rig.boot()
        await put(process, TOKEN=CANARY)
        data = rig.store._database.path.read_bytes()  # type: ignore[attr-defined]
        assert CANARY.encode() not in data
        before = process.kit.keyring.ids[0]
        await process.ok("keys_rotate")
        async with rig.store.read() as registry:
            named = await registry.seals.named()
        assert before not in named
        assert (await shown(process))["TOKEN"] == CANARY


async def test_they_work_while_the_database_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """P9: none of it widens anybody's rights."""
    async with begin("active") as rig:
        process = rig.boot()
        await put(process, A="1")
        away = Standing(away_since=rig.clock.now(), why="gone")
        monkeypatch.setattr(SqlStore, "standing", property(lambda _: away))
        await put(process, A="2")
        await process.ok("env_sync", **WHERE, envContent="A=3")
        await process.ok("env_restore", **WHERE, version=1)
        assert await shown(process) == {"A": "1"}
