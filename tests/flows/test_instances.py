"""Storage in containers of its own, and the server that storage is on, through the tools.

P7: no port is leased twice. P15: what somebody stopped or removed comes back on its data. S11.
"""

from dataclasses import replace
from typing import Any

import pytest

from codeb.model.access import Role
from codeb.model.instances import spec_of
from codeb.model.secret import Secret
from codeb.model.storage import Endpoint, Kind, Storage
from tests.flows.test_storage import told, word
from tests.kit import PROD, Process, Rig, add_key, begin
from tests.kit_storage import ENGINE, HOME, server_in

pytestmark = pytest.mark.anyio

WHERE = {"projectName": "shop", "environment": "production"}
OWN = {**WHERE, "dedicated": True}
CONFIRMED = {**WHERE, "confirm": "shop"}
FAMILIES = {"db": Kind.POSTGRES, "redis": Kind.REDIS}
NAMES = {"db": "shop-production-postgres", "redis": "shop-production-redis"}
FIRST = {"db": 5432, "redis": 6379}


async def row(rig: Rig, family: str) -> Storage:
    async with rig.store.read() as registry:
        found = await registry.storages.get(PROD, FAMILIES[family])
    assert found is not None
    return found


def boxes(rig: Rig) -> dict[str, Any]:
    return rig.servers.instances.at(ENGINE).boxes


async def inside(rig: Rig, family: str, env: dict[str, str]) -> dict[str, Any]:
    """What its app sees with what it is told."""
    held = await row(rig, family)
    found: dict[str, Any] = server_in(rig, held).enter(held.name, word(env, family))
    return found


# made


@pytest.mark.parametrize("family", FAMILIES)
async def test_it_has_a_container_on_the_storage_server_on_a_leased_port(family: str) -> None:
    async with begin("homed") as rig:
        process = rig.boot()
        said = await process.ok(f"{family}_create", **OWN)
        assert (said["host"], said["port"], said["server"], said["created"]) == ("198.51.100.9", FIRST[family], "storage-1", True)
        assert {name: (box.spec.address, box.spec.port) for name, box in boxes(rig).items()} == {
            NAMES[family]: ("198.51.100.9", FIRST[family])
        }
        assert f"@198.51.100.9:{FIRST[family]}/" in str(await told(process))
        assert await inside(rig, family, await told(process)) == {}
        assert (rig.servers.databases.parts, rig.servers.caches.parts) == ({}, {}), "nothing of it is on the shared servers"
        assert not (await process.ok(f"{family}_create", **OWN))["created"]
        assert [(str(each), each.comment) for each in rig.wall.ours] == [
            (f"{FIRST[family]}/tcp from 192.0.2.7/32", "codeb:shop:storage")
        ]
        assert await rig.faults() == []


async def test_no_app_is_told_the_administrators_password_and_nobody_else_either() -> None:
    async with begin("owned") as rig:
        process = rig.boot()
        words = [each.word for each in rig.servers.instances.at(ENGINE).volumes.values()]
        said = [await process.ok(tool) for tool in ("db_list", "operation_list", "audit_list")]
        said += [await process.ok("env_get", **WHERE, reveal=True), await process.ok("db_rotate", **WHERE)]
        stored = rig.store._database.path.read_bytes().decode("latin-1")  # type: ignore[attr-defined]
        assert len(words) == 2
        assert [each for each in words if each in str(said) or each in stored] == []


async def test_a_new_master_key_seals_the_administrators_anew() -> None:
    async with begin("owned") as rig:
        before = [(await row(rig, family)).sealed for family in FAMILIES]
        await rig.boot().ok("keys_rotate")
        assert not set(before) & {(await row(rig, family)).sealed for family in FAMILIES}
        await rig.boot().ok("db_rotate", **WHERE)
        assert await rig.faults() == []


async def test_a_port_that_anybody_has_is_passed_over() -> None:
    """Leased, published by a container that stands still, answered by a program, opened for anything else."""
    async with begin("homed") as rig:
        process = rig.boot()
        rig.servers.instances.at(ENGINE).foreign["somebody"] = 5433
        rig.reach.up.add(("198.51.100.9", 5434))
        for port, project in ((5435, "blog"), (5432, None)):
            if project:
                await process.ok("project_create", projectName=project)
                await process.ok(
                    "firewall_allow", projectName=project, server="storage-1", port=port, cidr="203.0.113.0/24", purpose="old"
                )
        await process.ok("project_create", projectName="wiki")
        ports = [
            (await process.ok("db_create", projectName=name, environment="production", dedicated=True))["port"]
            for name in ("wiki", "shop", "blog")
        ]
        assert ports == [5432, 5436, 5437]
        assert (await process.ok("redis_create", **OWN))["port"] == 6379


async def test_what_was_open_before_is_not_open_to_it_and_does_not_go_with_it() -> None:
    async with begin("homed") as rig:
        process = rig.boot()
        office = {"projectName": "shop", "server": "storage-1", "port": 5432, "cidr": "203.0.113.0/24", "purpose": "old"}
        await process.ok("firewall_allow", **office)
        before = dict(rig.wall.ours)
        rig.servers.instances.images.clear()
        await process.refused("db_create", 404, "image_not_found", **OWN)
        assert rig.wall.ours == before
        rig.servers.instances.images.add("postgres:15")
        assert (await process.ok("db_create", **OWN))["port"] == 5433
        await process.ok("db_delete", **CONFIRMED)
        assert rig.wall.ours == before
        assert await rig.faults() == []


async def test_without_a_free_port_that_is_said(tmp_path: Any) -> None:
    async with begin("homed") as rig:
        ranges = replace(rig.policy.ranges, postgres=replace(rig.policy.ranges.postgres, first=5432, last=5433))
        process = rig.boot(lambda kit: replace(kit, policy=replace(kit.policy, ranges=ranges)))
        rig.servers.instances.at(ENGINE).foreign |= {"one": 5432, "two": 5433}
        body = await process.refused("db_create", 409, "ports_exhausted", **OWN)
        assert "5432-5433" in body["error"]
        assert await rig.faults() == []


async def test_a_missing_image_leaves_nothing() -> None:
    async with begin("homed") as rig:
        process, before = rig.boot(), rig.print()
        rig.servers.instances.images.clear()
        body = await process.refused("db_create", 404, "image_not_found", **OWN)
        assert "postgres:15" in body["error"]
        assert rig.print() == before
        assert await rig.faults() == []


async def test_one_on_the_shared_server_is_not_moved_in_passing() -> None:
    async with begin("stored") as rig:
        process = rig.boot()
        await process.ok("server_add", **{**HOME, "addresses": ["198.51.100.7"]})
        body = await process.refused("db_create", 409, "storage_shared", **OWN)
        assert "db_delete" in body["hint"]
        assert await rig.faults() == []


async def test_a_dry_run_says_which_server_and_does_nothing() -> None:
    async with begin("homed") as rig:
        process, before = rig.boot(), rig.print()
        said = await process.ok("db_create", **OWN, dryRun=True)
        assert (said["plan"]["server"], said["plan"]["port"]) == ("storage-1", None)
        opened = "let the app servers reach its port on storage-1, and nobody else"
        assert opened in said["changes"]
        whole = await process.ok("workflow_init", projectName="shop", database=True, dedicated=True, firewall=False, dryRun=True)
        assert opened in whole["changes"], "CodeB itself has to reach it, so it is opened all the same, and said"
        assert rig.print() == before
        apply = said["next"][0]
        assert (await process.ok(apply["tool"], **apply["params"]))["server"] == "storage-1"


# which server


async def only(process: Process, **server: Any) -> None:
    await process.ok("server_add", **{"server": "local", "roles": ["app"], "addresses": ["192.0.2.7"], **server})


async def test_of_no_server_with_the_role_it_is_this_machine_if_it_is_the_only_one() -> None:
    async with begin("active") as rig:
        process = rig.boot()
        await process.refused("db_create", 409, "no_storage_address", **OWN)
        await only(process)
        said = await process.ok("db_create", **OWN)
        assert (said["host"], said["server"]) == ("192.0.2.7", "local")
        assert list(rig.servers.instances.at(None).boxes) == [NAMES["db"]]
        rig.machine.add_foreign("somebody", 6379)
        assert (await process.ok("redis_create", **OWN))["port"] == 6380
        listed = await process.ok("port_list", projectName="shop")
        assert [(each["port"], each["leased"]) for each in listed["ports"] if each["port"] > 5000] == [
            (5432, NAMES["db"]), (6380, NAMES["redis"]),
        ]  # fmt: skip
        other = await add_key(rig, Role.VIEWER, team="other")
        assert "another team" in str(await process.ok("port_check", key=other, port=5432))
        assert await rig.faults() == []


@pytest.mark.parametrize(
    ("servers", "code"),
    [
        ([{"server": "app-2", "roles": ["app"], "addresses": ["192.0.2.8"]}], "no_storage_server"),
        ([{"server": "one", "roles": ["storage"], "addresses": ["192.0.2.8"]}], "no_docker_host"),
        ([{**HOME, "server": "one", "addresses": ["127.0.0.9"]}], "no_storage_address"),
        ([HOME, {**HOME, "server": "two", "addresses": ["192.0.2.8"]}], "storage_ambiguous"),
    ],
)
async def test_what_cannot_be_told_is_refused_in_words(servers: list[dict[str, Any]], code: str) -> None:
    async with begin("active") as rig:
        process = rig.boot()
        for each in servers:
            await process.ok("server_add", **each)
        body = await process.refused("db_create", 409, code, **OWN)
        assert "server_add" in body["hint"] or "CODEB_STORAGE_DATABASE_URL" in body["hint"]
        assert await rig.faults() == []


async def test_of_several_it_is_the_one_that_the_setting_names() -> None:
    async with begin("active") as rig:
        process = rig.boot()
        await process.ok("server_add", **HOME)
        await process.ok("server_add", **{**HOME, "server": "two", "addresses": ["192.0.2.8", "198.51.100.7"]})
        assert (await process.ok("db_create", **OWN))["host"] == "192.0.2.8"


@pytest.mark.parametrize(
    ("setting", "told_host"),
    [
        ("198.51.100.7", "198.51.100.7"), ("10.0.0.7", "10.0.0.7"), ("db.example.com", "198.51.100.7"),
        ("127.0.0.1", None), ("203.0.113.1", None),
    ],
)  # fmt: skip
async def test_apps_are_told_the_address_of_the_storage_server_that_serves(setting: str, told_host: str | None) -> None:
    async with begin("active") as rig:
        process = rig.boot()
        await process.ok("server_add", **{**HOME, "addresses": ["198.51.100.7", "10.0.0.7"]})
        rig.servers.databases.where = Endpoint(setting, 5432)
        if told_host is None:
            body = await process.refused("db_create", 409, "storage_server_unknown", **WHERE)
            assert setting in body["error"]
            assert "198.51.100.7" in body["error"]
            return
        said = await process.ok("db_create", **WHERE)
        assert (said["host"], said["server"], said["warnings"]) == (told_host, None, [])
        assert (await told(process))["POSTGRES_HOST"] == told_host


async def test_on_this_machine_apps_are_told_the_address_that_containers_reach() -> None:
    async with begin("active") as rig:
        process = rig.boot()
        await only(process, roles=["app", "storage"], addresses=["127.0.0.1", "192.0.2.7"])
        rig.servers.databases.where = Endpoint("localhost", 5432)
        said = await process.ok("db_create", **WHERE)
        assert (said["host"], said["warnings"]) == ("192.0.2.7", [])


async def test_a_server_is_not_forgotten_while_storage_is_on_it() -> None:
    async with begin("owned") as rig:
        process = rig.boot()
        body = await process.refused("server_remove", 409, "server_in_use", server="storage-1")
        assert "2 ports are leased" in body["error"]


# its life


@pytest.mark.parametrize("family", FAMILIES)
async def test_a_new_password_and_the_end_of_the_former(family: str) -> None:
    async with begin("owned") as rig:
        process, old = rig.boot(), await told(rig.boot())
        (await inside(rig, family, old))["order"] = 1
        await process.ok(f"{family}_rotate", **WHERE)
        new = await told(process)
        assert await inside(rig, family, old) == await inside(rig, family, new) == {"order": 1}
        await process.ok(f"{family}_rotate", **WHERE, endFormer=True)
        with pytest.raises(KeyError):
            await inside(rig, family, old)
        assert await inside(rig, family, new) == {"order": 1}
        assert await rig.faults() == []


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("how", ["stopped", "removed", "unkept"])
async def test_what_somebody_did_to_its_container_is_mended_on_its_data(family: str, how: str) -> None:
    async with begin("owned") as rig:
        process, env = rig.boot(), await told(rig.boot())
        (await inside(rig, family, env))["order"] = 1
        if how == "removed":
            del boxes(rig)[NAMES[family]]
        elif how == "stopped":
            boxes(rig)[NAMES[family]].running = False
        else:
            boxes(rig)[NAMES[family]].kept = False
        kind = {"stopped": "instance_stopped", "removed": "instance_gone", "unkept": "instance_unkept"}[how]
        assert [each["kind"] for each in (await process.ok("reconcile", fix=False))["findings"]] == [kind]
        said = await process.ok("reconcile")
        assert [(each["kind"], each["mended"]) for each in said["findings"]] == [(kind, True)]
        assert (await inside(rig, family, env), boxes(rig)[NAMES[family]].kept) == ({"order": 1}, True)
        assert (await process.ok("reconcile"))["findings"] == []


async def test_data_that_is_gone_is_told_and_nothing_empty_takes_its_place() -> None:
    async with begin("owned") as rig:
        process, engine = rig.boot(), rig.servers.instances.at(ENGINE)
        del engine.boxes[NAMES["db"]]
        held = await row(rig, "db")
        spec = spec_of(held)
        assert spec is not None
        del engine.volumes[spec.volume]
        said = await process.ok("reconcile")
        assert [(each["kind"], each["mended"]) for each in said["findings"]] == [("instance_data_gone", False)]
        assert NAMES["db"] not in engine.boxes
        listed = {each["kind"]: each["onServer"] for each in (await process.ok("db_list"))["storage"]}
        assert listed == {"postgres": None, "redis": True}
        gone = await process.ok("db_delete", **CONFIRMED)
        assert (gone["deleted"], gone["backup"]) == (True, None)
        assert await rig.faults() == []


async def test_a_container_of_nobody_is_told_and_left_alone() -> None:
    async with begin("owned") as rig:
        process, engine = rig.boot(), rig.servers.instances.at(ENGINE)
        spec = spec_of(await row(rig, "db"))
        assert spec is not None
        stray = replace(spec, storage_id="sto_lost", place=replace(spec.place, project="lost"), port=5499)
        await rig.servers.instances.run(ENGINE, stray, Secret("x"), fresh=True)
        said = await process.ok("reconcile")
        assert [(each["kind"], each["mended"]) for each in said["findings"]] == [("instance_of_nobody", False)]
        assert stray.name in engine.boxes


async def test_an_engine_that_does_not_answer_is_told_and_nothing_is_taken_for_gone() -> None:
    async with begin("owned") as rig:
        process = rig.boot()
        rig.servers.instances.at(ENGINE).down = True
        said = await process.ok("reconcile")
        assert [each["kind"] for each in said["findings"]] == ["unseen"]
        await process.refused("db_delete", 503, "docker_unavailable", **CONFIRMED)
        rig.servers.instances.engines[ENGINE].down = False
        assert await rig.faults() == []


# its end


@pytest.mark.parametrize("family", FAMILIES)
async def test_it_ends_with_a_dump_and_nothing_is_left(family: str) -> None:
    """Also when its container stands still: then it is started, for the dump."""
    async with begin("owned") as rig:
        process, env = rig.boot(), await told(rig.boot())
        (await inside(rig, family, env))["order"] = 1
        storage = server_in(rig, await row(rig, family))
        boxes(rig)[NAMES[family]].running = False
        said = await process.ok(f"{family}_delete", **CONFIRMED)
        assert (said["deleted"], {"order": 1} in storage.dumps.values()) == (True, True)
        assert NAMES[family] not in boxes(rig)
        other = [port for name, port in FIRST.items() if name != family]
        assert [each.port for each in rig.store.snapshot.leases if each.server == "storage-1"] == other
        assert [each.port for each in rig.wall.ours] == other
        assert await rig.faults() == []
        assert (await process.ok(f"{family}_create", **OWN))["port"] == FIRST[family]


async def test_a_purged_project_leaves_no_container_volume_or_lease() -> None:
    async with begin("owned") as rig:
        process = rig.boot()
        await process.ok("project_delete", projectName="shop", confirm="shop")
        assert (len(boxes(rig)), rig.wall.ours) == (2, {}), "for its week it stays, and nobody reaches it"
        await process.ok("project_delete", projectName="shop", confirm="shop", purge=True)
        assert rig.wall.ours == {}
        assert (boxes(rig), rig.servers.instances.at(ENGINE).volumes, rig.store.snapshot.leases) == ({}, {}, ())
        assert await rig.faults() == []


async def test_the_dump_of_a_deleted_project_is_made_with_its_port_open() -> None:
    """Closed since the deletion, it is opened for that, and closed whatever comes of it."""
    async with begin("owned") as rig:
        process = rig.boot()
        await process.ok("project_delete", projectName="shop", confirm="shop")
        seen, look = list[int](), rig.servers.instances.at
        rig.servers.instances.at = lambda engine: (seen.append(len(rig.wall.ours)), look(engine))[1]  # type: ignore[method-assign, func-returns-value]
        await process.ok("project_delete", projectName="shop", confirm="shop", purge=True)
        assert (max(seen), rig.wall.ours) == (1, {})


async def test_where_the_firewall_does_not_guard_the_server_that_is_said() -> None:
    async with begin("homed") as rig:
        rig.wall.everywhere = False
        said = await rig.boot().ok("db_create", **OWN)
        assert "port 5432 of storage-1" in said["warnings"][0]
        assert rig.wall.ours == {}
        async with rig.store.read() as registry:
            assert list(await registry.rules.all()) == []
