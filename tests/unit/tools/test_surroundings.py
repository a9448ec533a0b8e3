"""What scan and health_check say of names, certificates, variables, storage and other servers (spec 7)."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from codeb.contracts.outside import Certificate
from codeb.model.access import Role
from codeb.model.specs import Address
from codeb.tools import health
from tests.kit import Process, Rig, add_key, begin

pytestmark = pytest.mark.anyio

WHERE = {"projectName": "shop", "environment": "production"}


async def lines(process: Process, tool: str = "scan", **params: Any) -> dict[str, dict[str, Any]]:
    asked = WHERE if tool == "scan" else {}
    return {each["name"]: each for each in (await process.ok(tool, **asked, **params))["checks"]}


def shows(rig: Rig, **said: Any) -> None:
    """Every host shows such a certificate."""

    async def certificate(address: Address, seconds: float) -> Certificate:
        days = said.pop("days", None)
        ends = rig.clock.now() + timedelta(days=said.get("left", days or 90))
        return Certificate("Authority", ends, covers=said.get("covers", True), trusted=said.get("trusted", True))

    rig.outside.certificate = certificate  # type: ignore[method-assign]


async def test_a_name_that_leads_elsewhere_is_told_with_where_it_should_lead() -> None:
    async with begin("named") as rig:
        process = rig.boot()
        assert (await lines(process))["dns"] == {
            "name": "dns", "status": "pass", "text": "example.com, www.example.com: here", "fix": "",
        }  # fmt: skip
        rig.outside.names["www.example.com", "A"] = ("198.51.100.9",)
        found = (await lines(process))["dns"]
        assert (found["status"], found["text"]) == ("warn", "www.example.com leads to 198.51.100.9.")
        assert "192.0.2.7" in found["fix"]
        assert (await process.ok("scan", **WHERE))["ready"], "a name that leads elsewhere keeps nobody from deploying"


async def test_the_own_host_below_a_real_base_domain_is_looked_up_too() -> None:
    async with begin("active") as rig:
        assert (await lines(rig.boot()))["dns"]["text"] == "below .localhost: nothing to be looked up"
        process = rig.boot(lambda kit: replace(kit, policy=replace(kit.policy, base_domain="apps.example.com")))
        assert "shop.apps.example.com has no address" in (await lines(process))["dns"]["text"]


async def test_a_certificate_that_is_missing_ends_soon_or_is_our_own() -> None:
    async with begin("named") as rig:
        process = rig.boot()
        assert (await lines(process))["certificate"]["status"] == "pass"
        rig.outside.silent.add("www.example.com")
        scanned, whole = (await lines(process))["certificate"], (await lines(process, "health_check"))["certificates"]
        assert (scanned["status"], whole["status"]) == ("warn", "fail"), "a deploy needs none"
        assert "www.example.com: the handshake failed" in scanned["text"] and whole["fix"]
        shows(rig, left=3)
        found = (await lines(process, "health_check"))["certificates"]
        assert (found["status"], "www.example.com ends in 3 days" in found["text"]) == ("warn", True)
        shows(rig, left=0, trusted=False)
        assert (await lines(process, "health_check"))["certificates"]["status"] == "pass", "our own are given for hours"


async def test_certificates_are_those_of_projects_that_the_caller_sees() -> None:
    async with begin("named") as rig:
        process = rig.boot()
        rig.outside.silent.add("www.example.com")
        rival = await add_key(rig, Role.VIEWER, team="rivals")
        found = (await lines(process, "health_check", key=rival))["certificates"]
        assert (found["status"], found["text"]) == ("pass", "0 valid")


async def test_variables_are_counted_and_have_to_open() -> None:
    async with begin("active") as rig:
        process = rig.boot()
        assert (await lines(process))["env"]["text"] == "no variables; env_set writes some"
        await process.ok("env_set", **WHERE, values={"A": "1"})
        assert (await lines(process))["env"]["text"] == "version 1, 1 variable"
        process.kit.keyring._keys = ()  # type: ignore[attr-defined]
        found = await process.ok("scan", **WHERE)
        assert not found["ready"]
        assert {each["name"]: each["status"] for each in found["checks"]}["env"] == "fail"


async def test_a_database_that_is_gone_from_the_server_is_told() -> None:
    """It is never made anew in silence: an empty one in its place would be a lie."""
    async with begin("stored") as rig:
        process = rig.boot()
        found = await lines(process)
        assert (found["database"]["status"], found["redis"]["status"]) == ("pass", "pass")
        assert found["database"]["text"].startswith("shop")
        rig.servers.databases.parts.clear()
        found = await lines(process)
        assert (found["database"]["status"], found["redis"]["status"]) == ("fail", "pass")
        assert "gone from the server" in found["database"]["text"]
        drift = (await process.ok("reconcile"))["findings"]
        assert [(each["kind"], each["policy"]) for each in drift] == [("storage_lost", "reported")]
        assert rig.servers.databases.parts == {}


async def test_other_servers_are_looked_at_for_their_operators_alone() -> None:
    async with begin("active") as rig:
        process = rig.boot()
        await process.ok("server_add", server="storage-1", roles=["storage"], addresses=["192.0.2.8"])
        found = (await lines(process, "health_check"))["server storage-1"]
        assert found["status"] == "fail" and "PostgreSQL at 192.0.2.8 port 5432" in found["text"] and found["fix"]
        rig.reach.up |= {("192.0.2.8", 5432), ("192.0.2.8", 6379)}
        assert (await lines(process, "health_check"))["server storage-1"]["status"] == "pass"
        for key in (await add_key(rig, Role.VIEWER, team="rivals"), await add_key(rig, projects=frozenset({"shop"}))):
            assert not [name for name in await lines(process, "health_check", key=key) if name.startswith("server")]


async def test_a_part_that_hangs_holds_up_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "CHECK_SECONDS", 0.2)
    async with begin("named") as rig:

        async def never(*_: object) -> Any:
            await asyncio.sleep(60)

        rig.outside.certificate = rig.outside.lookup = never  # type: ignore[method-assign]
        async with asyncio.timeout(5):
            found = await lines(rig.boot())
        assert {name for name, each in found.items() if "did not answer within" in each["text"]} == {"dns", "certificate"}
