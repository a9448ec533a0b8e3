"""Databases and Redis users through the tools: made once, a password that changes, an end with a dump (S11, P8)."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from codeb.drivers.databases.absent import NoCaches, NoDatabases
from codeb.drivers.databases.memory import Part
from codeb.drivers.vault.memory import MemoryKeyFile
from codeb.entry.timer import end_rotations, purge_deleted
from codeb.errors import Unavailable
from codeb.flows import envs
from codeb.model.access import Role
from codeb.model.names import Place
from codeb.model.storage import Endpoint
from tests.kit import PROD, STAGE, Process, Rig, add_key, begin

pytestmark = pytest.mark.anyio

WHERE = {"projectName": "shop", "environment": "production"}
CONFIRMED = {**WHERE, "confirm": "shop"}
NAMES = {"db": "shop_production", "redis": "shop-production"}
FAMILIES = ["db", "redis"]


async def told(process: Process, place: Place = PROD) -> dict[str, str]:
    """What the next deployment gets of what CodeB made."""
    held = await process.kit.store.consult(lambda registry: envs.newest(process.kit, registry, place))
    return {name: text for name, text in held.env.values.items() if name in held.env.generated}


def server(rig: Rig, family: str) -> Any:
    return rig.servers.databases if family == "db" else rig.servers.caches


def word(env: dict[str, str], family: str) -> str:
    return env["DATABASE_URL" if family == "db" else "REDIS_URL"].split(":")[2].partition("@")[0]


async def test_an_app_gets_in_with_what_it_is_told() -> None:
    async with begin("stored") as rig:
        process = rig.boot()
        env = await told(process)
        login, host = "shop_production_1", "198.51.100.7"
        assert env == {
            "DATABASE_URL": f"postgresql://{login}:{env['POSTGRES_PASSWORD']}@{host}:5432/shop_production",
            "POSTGRES_HOST": host, "POSTGRES_PORT": "5432", "POSTGRES_DB": "shop_production", "POSTGRES_USER": login,
            "POSTGRES_PASSWORD": env["POSTGRES_PASSWORD"],
            "REDIS_URL": f"redis://shop-production:{word(env, 'redis')}@{host}:6379/0", "REDIS_PREFIX": "shop-production:",
        }  # fmt: skip
        for family in FAMILIES:
            assert server(rig, family).enter(NAMES[family], word(env, family)) == {}
        assert await told(process, STAGE) == {}


@pytest.mark.parametrize("family", FAMILIES)
async def test_an_address_that_is_the_containers_own_is_warned_of(family: str) -> None:
    async with begin("active") as rig:
        assert not any("inside a container" in text for text in (await rig.boot().ok(f"{family}_create", **WHERE))["warnings"])
        await rig.boot().ok(f"{family}_delete", **CONFIRMED)
        server(rig, family).where = Endpoint("127.0.0.1", 5432)
        said = await rig.boot().ok(f"{family}_create", **WHERE)
        assert "127.0.0.1, which inside a container is the container itself" in said["warnings"][0]
        assert said["next"][0]["tool"] == "deploy"


@pytest.mark.parametrize("family", FAMILIES)
async def test_asked_again_it_says_what_is_there(family: str) -> None:
    async with begin("stored") as rig:
        process, before = rig.boot(), await told(rig.boot())
        again = await process.ok(f"{family}_create", **WHERE)
        assert (again["name"], again["created"], again["operationId"]) == (NAMES[family], False, None)
        assert await told(process) == before
        staging = {"projectName": "shop", "environment": "staging"}
        await process.ok("port_allocate", **staging)
        for _ in range(2):
            assert (await process.ok(f"{family}_create", **staging, idem="k"))["created"]


@pytest.mark.parametrize("family", FAMILIES)
async def test_what_somebody_else_has_there_is_refused_and_not_touched(family: str) -> None:
    async with begin("active") as rig:
        process = rig.boot()
        server(rig, family).parts[NAMES[family]] = Part("", data={"theirs": 1})
        body = await process.refused(f"{family}_create", 409, "name_taken", **WHERE)
        assert NAMES[family] in body["error"]
        assert server(rig, family).parts[NAMES[family]].data == {"theirs": 1}
        assert (await process.ok("db_list"))["storage"] == []


# a password that changes


@pytest.mark.parametrize("family", FAMILIES)
async def test_running_containers_keep_their_password_until_none_of_them_is_left(family: str) -> None:
    async with begin("stored") as rig:
        process, old = rig.boot(), await told(rig.boot())
        rig.clock.jumped += timedelta(minutes=1)
        said = await process.ok(f"{family}_rotate", **WHERE)
        assert (said["generation"], said["stillNeededBy"], said["formerEnded"]) == (2, ["blue"], False)
        new = await told(process)
        enter = server(rig, family).enter
        assert word(new, family) != word(old, family)
        assert enter(NAMES[family], word(old, family)) == enter(NAMES[family], word(new, family)) == {}

        body = await process.refused(f"{family}_rotate", 409, "rotation_pending", **WHERE)
        assert body["details"]["stillNeededBy"] == ["blue"]
        assert await end_rotations(process.kit, process.engine) == []

        rig.clock.jumped += timedelta(minutes=1)
        await process.ok("deploy", **WHERE, image="shop:2", autoPromote=True)
        # the version before is in grace with its own password: the way back must work
        assert await end_rotations(process.kit, process.engine) == []
        await process.ok("slot_cleanup", **WHERE, slot="blue", force=True)
        assert len(await end_rotations(process.kit, process.engine)) == 1
        await process.settle()
        with pytest.raises(KeyError):
            enter(NAMES[family], word(old, family))
        assert enter(NAMES[family], word(new, family)) == {}
        assert await end_rotations(process.kit, process.engine) == []
        assert await rig.faults() == []


@pytest.mark.parametrize("family", FAMILIES)
async def test_a_password_that_got_out_is_ended_at_once(family: str) -> None:
    async with begin("rotated") as rig:
        process = rig.boot()
        plan = await process.ok(f"{family}_rotate", **WHERE, endFormer=True, dryRun=True)
        assert "the container in blue is not let in any more" in plan["changes"]
        said = await process.ok(f"{family}_rotate", **WHERE, endFormer=True, planId=plan["planId"])
        assert (said["rotated"], said["formerEnded"], said["stillNeededBy"]) == (False, True, [])
        assert await rig.faults() == []
        await process.refused(f"{family}_rotate", 409, "no_former_password", **WHERE, endFormer=True)


async def test_without_containers_the_former_one_ends_by_itself() -> None:
    async with begin("new") as rig:
        process = rig.boot()
        await process.ok("db_create", **WHERE)
        assert (await process.ok("db_rotate", **WHERE))["stillNeededBy"] == []
        assert len(await end_rotations(process.kit, process.engine)) == 1
        await process.settle()
        assert rig.servers.databases.parts["shop_production"].words.keys() == {2}


# the end


@pytest.mark.parametrize("family", FAMILIES)
async def test_nothing_is_deleted_without_a_final_dump(family: str) -> None:
    async with begin("stored") as rig:
        process, env = rig.boot(), await told(rig.boot())
        rows = server(rig, family).enter(NAMES[family], word(env, family))
        rows["order"] = 1
        server(rig, family).broken_dump = "pg_dump failed: No space left on device"
        body = await process.refused(f"{family}_delete", 409, "dump_failed", **CONFIRMED)
        assert "No space left" in body["error"]
        assert server(rig, family).enter(NAMES[family], word(env, family)) == {"order": 1}
        assert await rig.faults() == []

        server(rig, family).broken_dump = ""
        await process.refused(f"{family}_delete", 400, "invalid_params", **WHERE)
        said = await process.ok(f"{family}_delete", **CONFIRMED)
        assert server(rig, family).dumps[said["backup"].removeprefix("memory:")] == {"order": 1}
        assert (NAMES[family] in server(rig, family).parts, await rig.faults()) == (False, [])
        await process.refused(f"{family}_delete", 404, "storage_not_found", **CONFIRMED)


@pytest.mark.parametrize("family", FAMILIES)
async def test_what_somebody_removed_on_the_server_can_still_be_deleted_and_made_anew(family: str) -> None:
    async with begin("stored") as rig:
        process = rig.boot()
        del server(rig, family).parts[NAMES[family]]
        said = await process.ok(f"{family}_delete", **CONFIRMED)
        assert (said["backup"], said["deleted"]) == (None, True)
        assert "no final dump" in said["warnings"][0]
        assert (await process.ok(f"{family}_create", **WHERE))["created"]
        assert await rig.faults() == []


async def test_a_deleted_project_keeps_its_storage_for_its_week_and_the_purge_takes_it_with_a_dump() -> None:
    async with begin("left") as rig:
        process = rig.boot()
        assert set(rig.servers.databases.parts) == {"shop_production"}
        await process.ok("undelete", projectName="shop")
        env = await told(process)
        rig.servers.databases.enter("shop_production", word(env, "db"))["order"] = 1
        await process.ok("project_delete", projectName="shop", confirm="shop")
        rig.clock.jumped += timedelta(days=8)
        rig.servers.databases.broken_dump = "pg_dump failed"
        later: dict[str, float] = {}
        await purge_deleted(process.kit, process.engine, process.audit, later)
        assert rig.servers.databases.parts["shop_production"].data == {"order": 1}
        assert rig.store.snapshot.projects["shop"].state == "purging"
        rig.servers.databases.broken_dump = ""
        await purge_deleted(process.kit, process.engine, process.audit, {})
        assert (rig.servers.databases.parts, rig.servers.caches.parts) == ({}, {})
        assert {"order": 1} in rig.servers.databases.dumps.values()
        assert "shop" not in rig.store.snapshot.projects
        assert await rig.faults() == []


# what is told, and to whom


async def test_no_password_is_in_an_answer_a_journal_or_the_audit_log() -> None:
    async with begin("stored") as rig:
        process = rig.boot()
        words = [await told(process)]
        said = [await process.ok("db_rotate", **WHERE), await process.ok("redis_rotate", **WHERE)]
        words.append(await told(process))
        said += [await process.ok("db_list"), await process.ok("operation_list"), await process.ok("audit_list")]
        said += [await process.ok("redis_delete", **CONFIRMED), await process.ok("db_delete", **CONFIRMED)]
        await process.audit.flush()
        stored = rig.store._database.path.read_bytes().decode("latin-1")  # type: ignore[attr-defined]
        secrets = {word(env, family) for env in words for family in FAMILIES}
        assert len(secrets) == 4
        assert [each for each in secrets if each in str(said) or each in stored] == []


async def test_the_list_shows_what_a_caller_may_see_and_what_the_server_says() -> None:
    async with begin("stored") as rig:
        process = rig.boot()
        del rig.servers.caches.parts["shop-production"]
        said = await process.ok("db_list", projectName="shop")
        assert [(each["kind"], each["name"], each["onServer"]) for each in said["storage"]] == [
            ("postgres", "shop_production", True), ("redis", "shop-production", False),
        ]  # fmt: skip
        assert said["warnings"] == ["shop-production is not on the redis server any more."]
        other = await add_key(rig, Role.OWNER, team="other")
        assert (await process.ok("db_list", key=other))["storage"] == []
        await process.refused("db_list", 404, "project_not_found", key=other, projectName="shop")
        narrow = await add_key(rig, Role.VIEWER, environments=frozenset({"staging"}))
        assert (await process.ok("db_list", key=narrow))["storage"] == []


async def test_without_servers_that_is_said_and_nothing_is_done() -> None:
    async with begin("active") as rig:
        process, before = rig.boot(), rig.print()
        bare = rig.boot(lambda kit: replace(kit, databases=NoDatabases(), caches=NoCaches()))
        for family in FAMILIES:
            body = await bare.refused(f"{family}_create", 409, "storage_not_set", **WHERE)
            assert "CODEB_STORAGE_" in body["hint"]
        assert rig.print() == before
        assert (await process.ok("db_list"))["storage"] == []


async def test_with_a_closed_vault_nothing_is_begun() -> None:
    async with begin("active") as rig:
        process = rig.boot()
        process.kit.keyring.shut(Unavailable("shut", code="vault_closed"))
        await process.refused("db_create", 503, "vault_closed", **WHERE)
        assert rig.servers.databases.parts == {}
        assert isinstance(rig.keys, MemoryKeyFile)


async def test_a_new_master_key_seals_the_passwords_anew() -> None:
    async with begin("stored") as rig:
        process, before = rig.boot(), await told(rig.boot())
        await process.ok("keys_rotate")
        fresh = rig.boot()
        assert len(rig.keys.keys) == 1
        assert await told(fresh) == before


@pytest.mark.parametrize("family", FAMILIES)
async def test_what_somebody_wrote_by_hand_is_not_replaced_in_passing(family: str) -> None:
    async with begin("active") as rig:
        process, name = rig.boot(), "DATABASE_URL" if family == "db" else "REDIS_URL"
        await process.ok("env_set", **WHERE, values={name: "mine"})
        body = await process.refused(f"{family}_create", 409, "env_set_by_hand", **WHERE)
        assert body["details"]["keys"] == [name]
        assert (await process.ok("db_list"))["storage"] == []
        await process.ok("env_set", **WHERE, unset=[name], force=True)
        await process.ok(f"{family}_create", **WHERE)
        assert name in await told(process)
        assert await rig.faults() == []


@pytest.mark.parametrize("family", FAMILIES)
async def test_with_its_end_the_variables_do_not_speak_of_it(family: str) -> None:
    async with begin("stored") as rig:
        process = rig.boot()
        await process.ok(f"{family}_delete", **CONFIRMED)
        left = await told(process)
        assert ("DATABASE_URL" in left, "REDIS_URL" in left) == (family != "db", family == "db")
        assert await rig.faults() == []


async def test_a_version_runs_with_the_password_it_was_deployed_with() -> None:
    async with begin("stored") as rig:
        process, first = rig.boot(), await told(rig.boot())
        rig.clock.jumped += timedelta(minutes=1)
        await process.ok("db_rotate", **WHERE)
        await process.ok("deploy", **WHERE, image="shop:2", autoPromote=True)
        second = await told(process)
        envs_of = {name: dict(box.spec.env) for name, box in rig.machine.boxes.items() if box.spec}
        assert "DATABASE_URL" not in envs_of["shop-production-blue"], "deployed before it had a database"
        assert envs_of["shop-production-green"]["DATABASE_URL"] == second["DATABASE_URL"] != first["DATABASE_URL"]
