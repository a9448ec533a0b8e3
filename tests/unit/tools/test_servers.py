"""Servers: on record, refused while in use, checked service by service; for those who run the installation."""

from typing import Any

import pytest

from codeb.model.access import Role
from codeb.model.specs import Answer
from tests.kit import Process, add_key, begin

pytestmark = pytest.mark.anyio

STORAGE = {"server": "storage-1", "roles": ["storage"], "addresses": ["192.0.2.7", "2001:db8::7"]}


async def names(process: Process) -> list[str]:
    return [each["server"] for each in (await process.ok("server_list"))["servers"]]


async def test_the_machine_codeb_runs_on_is_there_from_the_start() -> None:
    async with begin("empty") as rig:
        process = rig.boot()
        listed = (await process.ok("server_list"))["servers"]
        assert [(each["server"], each["roles"], each["own"]) for each in listed] == [("local", ["app"], True)]
        await process.refused("server_remove", 409, "server_in_use", server="local")
        said = await process.ok("server_add", server="local", roles=["storage", "app"], addresses=["192.0.2.1"])
        assert (said["created"], said["changed"], said["server"]["roles"]) == (False, True, ["app", "storage"])


async def test_add_again_change_and_remove() -> None:
    async with begin("empty") as rig:
        process = rig.boot()
        first = await process.ok("server_add", **STORAGE, dockerHost="tcp://192.0.2.7:2375")
        assert (first["created"], first["server"]["addresses"]) == (True, STORAGE["addresses"])
        again = await process.ok("server_add", **STORAGE, dockerHost="tcp://192.0.2.7:2375")
        assert (again["created"], again["changed"], again["server"]) == (False, False, first["server"])
        changed = await process.ok("server_add", **STORAGE)
        assert (changed["changed"], changed["server"]["dockerHost"]) == (True, None)
        assert changed["server"]["createdAt"] == first["server"]["createdAt"]
        assert await names(process) == ["local", "storage-1"]
        plan = await process.ok("server_remove", server="storage-1", dryRun=True)
        await process.ok("server_remove", server="storage-1", planId=plan["planId"])
        assert await names(process) == ["local"]
        body = await process.refused("server_remove", 404, "server_not_found", server="locl")
        assert "local" in body["hint"]


async def test_a_plan_to_remove_what_changed_meanwhile_is_stale() -> None:
    async with begin("empty") as rig:
        process = rig.boot()
        await process.ok("server_add", **STORAGE)
        plan = await process.ok("server_remove", server="storage-1", dryRun=True)
        await process.ok("server_add", **{**STORAGE, "roles": ["app"]})
        await process.refused("server_remove", 409, "stale_plan", server="storage-1", planId=plan["planId"])


async def test_an_address_is_of_one_server() -> None:
    async with begin("empty") as rig:
        process = rig.boot()
        await process.ok("server_add", **STORAGE)
        body = await process.refused("server_add", 409, "address_taken", server="app-2", roles=["app"], addresses=["2001:db8::7"])
        assert "storage-1" in body["error"]
        assert await names(process) == ["local", "storage-1"]


@pytest.mark.parametrize(
    "more",
    [
        {"roles": []}, {"roles": ["app", "app"]}, {"roles": ["App"]}, {"roles": "app"}, {"addresses": []},
        {"addresses": ["192.0.2.007"]},
        {"addresses": ["192.0.2.7", "192.0.2.7"]}, {"addresses": ["storage.example.com"]}, {"addresses": ["0.0.0.0"]},
        {"addresses": ["2001:DB8::7"]}, {"addresses": ["fe80::1%eth0"]}, {"addresses": ["ff02::1"]},
        {"dockerHost": "192.0.2.7:2375"},
        {"server": "Storage"}, {"server": "-x"},
    ],
)  # fmt: skip
async def test_what_is_no_server_is_refused(more: dict[str, Any]) -> None:
    """S4."""
    async with begin("empty") as rig:
        process = rig.boot()
        await process.refused("server_add", 400, "invalid_params", **{**STORAGE, **more})
        assert await names(process) == ["local"]


async def test_one_in_use_is_not_removed() -> None:
    """P7: a lease or a rule never points at a machine that nobody knows."""
    async with begin("active") as rig:
        process = rig.boot()
        await process.ok("server_add", **STORAGE)
        await process.ok("firewall_allow", server="storage-1", port=5432, cidr="192.0.2.0/24")
        body = await process.refused("server_remove", 409, "server_in_use", server="storage-1")
        assert "1 firewall rule" in body["error"]
        await process.ok("firewall_deny", server="storage-1", port=5432)
        lease = rig.store.snapshot.leases[0]
        async with rig.store.write() as registry:
            await registry.leases.add(type(lease)("storage-1", 5433, lease.project, lease.environment, lease.slot))
        body = await process.refused("server_remove", 409, "server_in_use", server="storage-1")
        assert "shop" in body["error"]
        async with rig.store.write() as registry:
            await registry.leases.remove("storage-1", [5433])
        await process.ok("server_remove", server="storage-1")


async def test_servers_are_for_those_who_run_the_installation() -> None:
    """S5."""
    async with begin("active") as rig:
        process = rig.boot()
        for key, code in (
            (await add_key(rig, team="rivals"), "forbidden"), (await add_key(rig, projects=frozenset({"shop"})), "forbidden"),
            (await add_key(rig, Role.MEMBER), "forbidden"),
        ):  # fmt: skip
            for tool, params in (
                ("server_list", {}),
                ("server_add", STORAGE),
                ("server_remove", {"server": "local"}),
                ("server_check", {}),
            ):
                await process.refused(tool, 403, code, key=key, **params)
        assert await names(process) == ["local"]


async def test_each_service_of_a_role_is_reached_or_told_how_to_mend() -> None:
    async with begin("active") as rig:
        process = rig.boot()
        await process.ok(
            "server_add", server="storage-1", roles=["storage"], addresses=["192.0.2.7"], dockerHost="tcp://192.0.2.7:2375"
        )
        await process.ok("server_add", server="stream-1", roles=["streaming", "dns", "backup"], addresses=["192.0.2.8"])
        rig.reach.up |= {("192.0.2.7", 5432), ("192.0.2.8", 53)}
        rig.reach.engines.add("tcp://192.0.2.7:2375")

        async def probe(address: Any, seconds: float) -> Answer:
            assert (address.host, address.port, address.path) == ("192.0.2.8", 8000, "/health")
            return Answer(200)

        rig.health.probe = probe  # type: ignore[method-assign]  # another machine's
        said = await process.ok("server_check")
        seen = {(each["server"], each["what"].split(" at ")[0]): each["ok"] for each in said["checks"]}
        assert seen == {
            ("local", "docker"): True, ("local", "proxy"): True,
            ("storage-1", "PostgreSQL"): True, ("storage-1", "Redis"): False, ("storage-1", "Docker"): True,
            ("stream-1", "the name server"): True, ("stream-1", "Centrifugo"): True, ("stream-1", "SSH"): False,
        }  # fmt: skip
        assert said["bad"] == 2
        assert all(bool(each["fix"]) is not each["ok"] for each in said["checks"])
        assert "firewall_allow" in next(each["fix"] for each in said["checks"] if each["what"].startswith("Redis"))
        one = await process.ok("server_check", server="stream-1")
        assert {each["server"] for each in one["checks"]} == {"stream-1"}
