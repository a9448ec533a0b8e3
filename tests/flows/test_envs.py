"""Environment variables over the life of a project: what a deployment runs with; the files that follow (P2, P15)."""

import json
from typing import Any

import pytest

from codeb.drivers.store.schema import project_envs
from codeb.errors import Unavailable
from codeb.flows import envs
from codeb.model.names import Place
from codeb.model.secret import Secret
from tests.kit import PROD, Process, Rig, begin

pytestmark = pytest.mark.anyio

WHERE = {"projectName": "shop", "environment": "production"}
CANARY = "canary-s3cr3t"
EXACT = {"A": 'it\'s "x"=#', "B": "one\ntwo\r\n", "C": "한국어 🎉", "D": "", "E": " $HOME ", "F": "x" * 32768}


async def put(process: Process, **values: str) -> dict[str, Any]:
    return await process.ok("env_set", **WHERE, values=values)


async def shown(process: Process, **more: Any) -> dict[str, str]:
    return dict((await process.ok("env_get", **WHERE, reveal=True, **more))["variables"])


def variables(rig: Rig, container: str) -> dict[str, str]:
    spec = rig.machine.boxes[container].spec
    assert spec is not None
    return {name: value for name, value in spec.env if not name.startswith("CODEB_")}


async def test_a_deploy_gives_exactly_the_newest_values_and_remembers_which() -> None:
    async with begin("active") as rig:
        process = rig.boot()
        assert (await process.ok("slot_status", **WHERE))["blue"]["envVersion"] is None
        body = await put(process, **EXACT, PORT="9")
        assert body["runs"] == {"blue": None}
        assert "PORT=8080" in body["warnings"][0]
        assert "the next deploy takes version 1" in body["summary"]
        again = body["next"][0]
        assert (again["tool"], again["params"]["version"]) == ("deploy", "1")
        plan = await process.ok("deploy", **WHERE, image="shop:2", dryRun=True)
        assert plan["plan"]["envVersion"] == 1
        assert again["params"]["image"].startswith("shop@sha256:")
        done = await process.ok("deploy", **WHERE, image="shop:2")
        assert done["envVersion"] == 1
        assert variables(rig, "shop-production-green") == {**EXACT, "PORT": "8080"}
        assert (await process.ok("slot_status", **WHERE))["green"]["envVersion"] == 1
        async with rig.store.read() as registry:
            assert (await registry.deployments.history(PROD, 1))[0].env_version == 1
        assert (await put(process, A="new"))["runs"] == {"blue": None, "green": 1}
        assert rig.print()["env"]["files"]["env/shop/.env.production"]


async def test_promote_rollback_and_mend_keep_each_deployments_own_version() -> None:
    async with begin("active") as rig:
        process = rig.boot()
        await put(process, A="1")
        await process.ok("deploy", **WHERE, image="shop:2", autoPromote=True)
        await put(process, A="2")
        await process.ok("deploy", **WHERE, image="shop:3", autoPromote=True)
        assert [variables(rig, f"shop-production-{slot}")["A"] for slot in ("green", "blue")] == ["1", "2"]
        await put(process, A="3")
        await process.ok("rollback", **WHERE)
        status = await process.ok("slot_status", **WHERE)
        assert (status["activeSlot"], status["green"]["envVersion"], status["blue"]["envVersion"]) == ("green", 1, 2)
        rig.machine.boxes.pop("shop-production-green")
        await process.ok("reconcile")
        assert variables(rig, "shop-production-green")["A"] == "1", "made anew as it was deployed"
        assert await rig.faults() == []


async def test_a_version_that_is_gone_is_not_replaced_by_none_and_its_number_not_by_another() -> None:
    async with begin("active") as rig:
        process = rig.boot()
        await put(process, A="1")
        await process.ok("deploy", **WHERE, image="shop:2", autoPromote=True)
        async with rig.store._writing() as tx:
            await tx.write(project_envs.delete())
            await tx.session.commit()
        rig.machine.boxes.pop("shop-production-green")
        assert "not on record any more" in json.dumps(await process.ok("reconcile"))
        assert "shop-production-green" not in rig.machine.boxes
        assert (await put(process, A="1"))["version"] == 2


async def test_files_that_cannot_be_written_are_said_and_written_later() -> None:
    async with begin("active") as rig:
        process = rig.boot()
        keep = rig.env_files.keep

        async def full(*_: Any) -> None:
            raise Unavailable("the disk is full")

        rig.env_files.keep = full  # type: ignore[method-assign]
        body = await put(process, A="1")
        assert "behind" in body["warnings"][0]
        assert await rig.faults() != []
        rig.env_files.keep = keep  # type: ignore[method-assign]
        await envs.settle(process.kit)
        assert await rig.faults() == []
        assert set(rig.env_files.files) == {
            "env/shop/.env.production", "env-backup/shop/production/master.env", "env-backup/shop/production/current.env",
            "env-backup/shop/production/20260301T120000.000Z.env",
        }  # fmt: skip


async def test_what_codeb_made_is_added_in_the_callers_transaction_and_protected() -> None:
    """What a database or a Redis server gives a project: see `flows/envs.generated`."""
    async with begin("active") as rig:
        process = rig.boot()
        await put(process, A="1")
        made = {"DATABASE_URL": Secret(f"postgres://{CANARY}"), "CACHE_TOKEN": Secret("t")}

        async def act(registry: Any) -> Any:
            return await envs.generated(process.kit, registry, PROD, made, by="main/owner/key_owner")

        version = await process.kit.store.transact(act)
        assert (version.number, version.action, version.difference.added) == (2, "generate", ("CACHE_TOKEN", "DATABASE_URL"))
        assert await process.kit.store.transact(act) is None
        await envs.publish(process.kit, PROD)
        assert await rig.faults() == []
        await process.refused("env_set", 409, "env_protected", **WHERE, values={"CACHE_TOKEN": "x"})
        assert (await process.ok("env_sync", **WHERE, envContent="A=2"))["kept"] == ["CACHE_TOKEN", "DATABASE_URL"]

        async def back(registry: Any) -> Any:
            return await envs.generated(process.kit, registry, PROD, {}, without=made, by="x")

        await process.kit.store.transact(back)
        assert await shown(process) == {"A": "2"}


async def test_they_go_with_the_project_and_come_back_with_it() -> None:
    async with begin("active") as rig:
        process = rig.boot()
        await put(process, A="1")
        await process.ok("deploy", **WHERE, image="shop:2", autoPromote=True)
        await process.ok("project_delete", projectName="shop", confirm="shop")
        await process.refused("env_set", 409, "project_deleted", **WHERE, values={"A": "2"})
        rig.machine.boxes.pop("shop-production-green.kept")
        await process.ok("undelete", projectName="shop")
        assert variables(rig, "shop-production-green")["A"] == "1"
        assert await shown(process) == {"A": "1"}
        await process.ok("project_delete", projectName="shop", confirm="shop")
        await process.ok("project_delete", projectName="shop", confirm="shop", purge=True)
        assert rig.env_files.files == {}
        async with rig.store.read() as registry:
            assert await registry.envs.heads() == {}
        await process.ok("project_create", projectName="shop")
        assert (await process.ok("env_get", **WHERE))["version"] is None


async def test_variables_of_an_environment_that_is_not_there_yet_wait_for_its_first_deploy() -> None:
    async with begin("active") as rig:
        process = rig.boot()
        stage = {**WHERE, "environment": "staging"}
        body = await process.ok("env_set", **stage, values={"A": "stage"})
        assert body["next"][0]["params"]["environment"] == "staging"
        await process.ok("deploy", **stage, image="shop:1")
        assert variables(rig, "shop-staging-blue")["A"] == "stage"
        async with rig.store.read() as registry:
            assert set(await registry.envs.heads()) == {Place("shop", "staging")}
