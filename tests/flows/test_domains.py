"""S27: a name is one team's, with everything below it; a domain is DNS, proxy and certificate together, or nothing of it.

P2, P6, P15: what fails takes everything back; a lost record comes back, what is somebody else's is never touched.
"""

import asyncio
from collections.abc import AsyncIterator

import pytest

from codeb.drivers.dns.memory import Zone
from codeb.entry.reconciler import Reconciler
from codeb.errors import FenceLost, StepFailed
from codeb.flows.names import ZonePlan, put_records, take_back
from codeb.model.access import Role
from codeb.model.domains import RecordSet, proof_value
from codeb.model.secret import Secret
from codeb.saga.fence import fence_kit
from tests.flows.crash import WHERE
from tests.kit import PROD, PUBLIC, Process, Rig, add_key, begin

pytestmark = pytest.mark.anyio

CUSTOM = {**WHERE, "domain": "example.com"}


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    async with begin("active") as made:
        yield made


def prove(rig: Rig, host: str, team: str = "main") -> None:
    rig.outside.names[f"_codeb.{host}", "TXT"] = (proof_value(rig.store.snapshot.registry_id, team, host),)


async def other(rig: Rig, process: Process) -> Secret:
    """Another team with a project `blog`; its key."""
    key = await add_key(rig, Role.OWNER, "rivals")
    await process.ok("project_create", key=key, projectName="blog")
    return key


def a(rig: Rig, zone: str, name: str) -> tuple[str, ...]:
    found = rig.dns.zones[zone].sets.get((name, "A")) if zone in rig.dns.zones else None
    return found.values if found else ()


# proof


async def test_without_proof_it_is_pending_and_says_what_to_set(rig: Rig) -> None:
    process, before = rig.boot(), rig.print()
    body = await process.ok("domain_setup", **CUSTOM)
    assert (body["state"], body["operationId"], rig.print(), rig.effects()) == ("pending", None, before, [])
    txt, address = body["setAtRegistrar"]
    assert (txt["name"], txt["type"]) == ("_codeb.example.com", "TXT")
    assert (address["name"], address["type"], address["value"]) == ("example.com", "A", PUBLIC)
    await process.refused("domain_status", 404, "domain_not_found", domain="example.com")
    rig.outside.names[txt["name"], "TXT"] = ("something else", txt["value"])
    assert (await process.ok("domain_setup", **body["next"][0]["params"]))["state"] == "active"


async def test_another_teams_record_proves_nothing(rig: Rig) -> None:
    prove(rig, "example.com", "rivals")
    assert (await rig.boot().ok("domain_setup", **CUSTOM))["state"] == "pending"


async def test_a_name_that_leads_here_is_proof_and_one_that_leads_elsewhere_too_is_none(rig: Rig) -> None:
    process = rig.boot()
    rig.outside.names["example.com", "A"] = (PUBLIC, "192.0.2.66")
    assert (await process.ok("domain_setup", **CUSTOM))["state"] == "pending"
    rig.outside.names["example.com", "A"] = (PUBLIC,)
    body = await process.ok("domain_setup", **CUSTOM)
    assert (body["state"], body["proof"], body["setAtRegistrar"], rig.dns.zones) == ("active", "address", [], {})


async def test_a_name_below_ones_own_needs_no_further_proof(rig: Rig) -> None:
    process = rig.boot()
    prove(rig, "example.com")
    await process.ok("domain_setup", **CUSTOM)
    body = await process.ok("domain_setup", **WHERE, domain="api.example.com")
    assert (body["state"], body["proof"]) == ("active", "parent")


# whose it is


@pytest.mark.parametrize("wanted", ["example.com", "api.example.com", "a.b.example.com"])
async def test_no_other_team_takes_a_name_or_one_below_it(rig: Rig, wanted: str) -> None:
    process = rig.boot()
    prove(rig, "example.com")
    await process.ok("domain_setup", **CUSTOM)
    key, before = await other(rig, process), rig.print()
    ask = {"key": key, "projectName": "blog", "environment": "production", "domain": wanted}
    unknown = await process.ok("domain_setup", **{**ask, "domain": "example.net"})
    foreign = await process.ok("domain_setup", **ask)
    assert foreign["summary"].replace(wanted, "X") == unknown["summary"].replace("example.net", "X")
    # even with the record: whoever has it is not told who holds it
    prove(rig, wanted, "rivals")
    body = await process.refused("domain_setup", 409, "domain_taken", **ask)
    assert "shop" not in str(body) and rig.print() == before


async def test_no_other_team_takes_a_name_above_one(rig: Rig) -> None:
    process = rig.boot()
    prove(rig, "shop.example.com")
    await process.ok("domain_setup", **WHERE, domain="shop.example.com")
    key = await other(rig, process)
    prove(rig, "example.com", "rivals")
    ask = {"key": key, "projectName": "blog", "environment": "production"}
    await process.refused("domain_setup", 409, "domain_taken", **ask, domain="example.com")
    # a neighbour is nobody's
    prove(rig, "blog.example.com", "rivals")
    assert (await process.ok("domain_setup", **ask, domain="blog.example.com"))["state"] == "active"


@pytest.mark.parametrize("host", ["blog.localhost", "shop-blue.preview.localhost", "shop-staging.localhost", "x.shop.localhost"])
async def test_below_the_base_domain_a_place_has_its_own_host_only(rig: Rig, host: str) -> None:
    process, before = rig.boot(), rig.print()
    prove(rig, host)
    await process.refused("domain_setup", 409, "domain_reserved", **WHERE, domain=host)
    assert (rig.print(), rig.effects()) == (before, [])


async def test_a_record_that_was_left_behind_gives_a_name_to_nobody_else(rig: Rig) -> None:
    process = rig.boot()
    rig.outside.names["example.com", "A"] = (PUBLIC,)
    await process.ok("domain_setup", **CUSTOM)
    await process.ok("domain_delete", domain="example.com")
    key = await other(rig, process)
    ask = {"key": key, "projectName": "blog", "environment": "production"}
    for host in ("example.com", "www.example.com"):
        rig.outside.names[host, "A"] = (PUBLIC,)
        assert (await process.ok("domain_setup", **ask, domain=host))["state"] == "pending"
    # its team gets it back as before, and a new owner by saying so
    assert (await process.ok("domain_setup", **CUSTOM))["proof"] == "address"
    await process.ok("domain_delete", domain="example.com")
    prove(rig, "example.com", "rivals")
    assert (await process.ok("domain_setup", **ask, domain="example.com"))["proof"] == "txt"


async def test_foreign_and_unknown_domains_answer_alike(rig: Rig) -> None:
    process = rig.boot()
    prove(rig, "example.com")
    await process.ok("domain_setup", **CUSTOM)
    key = await other(rig, process)
    narrow = await add_key(rig, Role.OWNER, environments=frozenset({"staging"}))
    for tool in ("domain_status", "domain_delete"):
        for who in (key, narrow):
            foreign = await process.refused(tool, 404, "domain_not_found", key=who, domain="example.com")
            unknown = await process.refused(tool, 404, "domain_not_found", key=who, domain="example.net")
            assert foreign["error"].replace("example.com", "X") == unknown["error"].replace("example.net", "X")
            assert foreign["hint"] == unknown["hint"]
    for who in (key, narrow):
        assert (await process.ok("domain_list", key=who))["domains"] == []


async def test_two_teams_that_prove_it_at_once_do_not_both_get_it(rig: Rig) -> None:
    process = rig.boot()
    key = await other(rig, process)
    prove(rig, "example.com")
    rig.outside.names["_codeb.example.com", "TXT"] += (proof_value(rig.store.snapshot.registry_id, "rivals", "example.com"),)
    first = await process.ask("domain_setup", **CUSTOM, wait=False)
    said = await process.ask("domain_setup", key=key, projectName="blog", environment="production", domain="example.com")
    await process.settle()
    assert (first.ok, said.status, said.body["code"]) == (True, 409, "domain_taken")
    assert rig.store.snapshot.domains["example.com"].team == "main" and await rig.faults() == []


@pytest.mark.parametrize("wanted", ["example.com", "api.example.com"])
async def test_two_teams_that_ask_at_once_do_not_both_get_it_nor_one_above_the_other(rig: Rig, wanted: str) -> None:
    process = rig.boot()
    key = await other(rig, process)
    prove(rig, wanted, "rivals")
    own = proof_value(rig.store.snapshot.registry_id, "main", "example.com")
    rig.outside.names["_codeb.example.com", "TXT"] = (*rig.outside.names.get(("_codeb.example.com", "TXT"), ()), own)
    ask = {"key": key, "projectName": "blog", "environment": "production", "domain": wanted}
    both = await asyncio.gather(process.ask("domain_setup", **CUSTOM), process.ask("domain_setup", **ask))
    await process.settle()
    assert sorted(each.status for each in both) == [200, 409]
    assert len([each for each in rig.store.snapshot.domains.values() if each.held]) == 1 and await rig.faults() == []


# one transaction


async def test_it_goes_through_dns_proxy_and_certificate_in_this_order() -> None:
    async with begin("new") as rig:
        prove(rig, "example.com")
        process = rig.boot()
        body = await process.ok("domain_setup", **WHERE, domain="www.example.com", redirect=True)
        assert rig.effects() == [
            "dns make_zone example.com", "dns change example.com +www.example.com A +example.com A",
            "proxy put_site shop-production",
        ]  # fmt: skip
        assert [step["name"] for step in body["steps"]] == ["zones", "records", "resolves", "site", "certificate", "record"]
        site = rig.proxy.loaded[PROD]
        assert (site.hosts, site.redirects) == (
            ("shop.localhost", "www.example.com"), (("example.com", "www.example.com"),)
        )  # fmt: skip
        assert (body["certificate"], body["redirectsFrom"]) == ("shown", ["example.com"])
        assert any("503" in each for each in body["warnings"])
        again = await process.ok("domain_setup", **WHERE, domain="www.example.com", redirect=True)
        assert (again["operationId"], rig.effects(), await rig.faults()) == (None, [], [])


@pytest.mark.parametrize("part", ["dns", "proxy", "certificate"])
async def test_what_fails_takes_everything_back(rig: Rig, part: str) -> None:
    prove(rig, "example.com")
    process, before = rig.boot(), rig.print()
    if part == "dns":
        rig.dns.away = True
    elif part == "proxy":
        rig.proxy.refuse.add("example.com")
    else:
        rig.outside.silent.add("example.com")
    said = await process.ask("domain_setup", **CUSTOM)
    assert not said.ok
    assert (rig.print(), await rig.faults()) == (before, [])


async def test_another_record_of_the_name_is_never_touched(rig: Rig) -> None:
    prove(rig, "example.com")
    mine = RecordSet("example.com", "A", ("192.0.2.66",))
    rig.dns.zones["example.com"] = Zone(sets={("example.com", "A"): mine})
    process = rig.boot()
    body = await process.refused("domain_setup", 409, "dns_record_exists", **CUSTOM)
    assert body["details"]["records"] == {"A": ["192.0.2.66"]}
    # and one that says the same is used, and stays when the domain goes
    right = rig.dns.zones["example.com"].sets["example.com", "A"] = RecordSet("example.com", "A", (PUBLIC,))
    await process.ok("domain_setup", **CUSTOM)
    await process.ok("domain_delete", domain="example.com")
    assert rig.dns.zones["example.com"].sets == {("example.com", "A"): right}


async def test_a_record_that_appears_meanwhile_is_not_touched_either(rig: Rig) -> None:
    theirs = RecordSet("example.com", "A", ("192.0.2.66",))
    rig.dns.zones["example.com"] = Zone(sets={("example.com", "A"): theirs})
    kit, plan = rig.boot().kit, ZonePlan("example.com", (RecordSet("example.com", "A", (PUBLIC,)),))
    with pytest.raises(StepFailed):
        await put_records(kit, plan)
    await take_back(kit, plan)
    assert rig.dns.zones["example.com"].sets == {("example.com", "A"): theirs}


async def test_deletion_leaves_no_record_zone_or_host_but_what_is_anothers() -> None:
    async with begin("named") as rig:
        process = rig.boot()
        mail = rig.dns.zones["example.com"].sets["mail.example.com", "A"] = RecordSet("mail.example.com", "A", ("192.0.2.9",))
        await process.ok("domain_delete", domain="www.example.com")
        assert rig.dns.zones["example.com"].sets == {("mail.example.com", "A"): mail}
        assert (rig.proxy.loaded[PROD].names, (await process.ok("domain_list"))["domains"]) == (("shop.localhost",), [])
        assert rig.health.through("shop.localhost").ok


async def test_a_deletion_that_fails_leaves_the_domain_as_it_was() -> None:
    async with begin("named") as rig:
        process, before = rig.boot(), rig.print()
        rig.dns.away = True
        assert not (await process.ask("domain_delete", domain="www.example.com")).ok
        rig.dns.away = False
        assert (rig.print(), await rig.faults()) == (before, [])


async def test_a_domain_goes_with_its_project() -> None:
    async with begin("named") as rig:
        process, before = rig.boot(), rig.print()
        await process.ok("project_delete", projectName="shop", confirm="shop")
        assert "www.example.com" not in {name for site in rig.proxy.loaded.values() for name in site.names}
        await process.ok("undelete", projectName="shop")
        assert rig.print()["sites"] == before["sites"] and await rig.faults() == []
        await process.ok("project_delete", projectName="shop", confirm="shop")
        await process.ok("project_delete", projectName="shop", confirm="shop", purge=True)
        held = [each for each in rig.store.snapshot.domains.values() if each.held]
        assert (rig.dns.zones, held) == ({}, [])


async def test_deploys_and_promotes_keep_the_names() -> None:
    async with begin("named") as rig:
        process = rig.boot()
        await process.ok("deploy", **WHERE, image="shop:2", autoPromote=True)
        await process.ok("rollback", **WHERE)
        assert rig.proxy.loaded[PROD].names == ("shop.localhost", "www.example.com", "example.com")
        assert (await process.ok("slot_status", **WHERE))["domains"] == ["example.com", "www.example.com"]


async def test_who_is_asked_to_agree_sees_which_names_it_is_about() -> None:
    async with begin("named") as rig:
        process = rig.boot()
        await process.ok("deploy", **WHERE, image="shop:2")
        plan = await process.ok("promote", **WHERE, dryRun=True)
        assert plan["touches"]["hosts"] == ["example.com", "shop.localhost", "www.example.com"]
        await process.ok("project_delete", projectName="shop", confirm="shop")
        (document,) = rig.records.documents.values()
        assert [each["host"] for each in document["domains"]] == ["example.com", "www.example.com"]


# what somebody else does


async def test_lost_and_changed_records_come_back_and_others_are_left() -> None:
    async with begin("named") as rig:
        process, zone = rig.boot(), rig.dns.zones["example.com"]
        loop = Reconciler(process.kit, process.engine, process.audit)
        mail = zone.sets["mail.example.com", "A"] = RecordSet("mail.example.com", "A", ("192.0.2.9",))
        del zone.sets["www.example.com", "A"]
        zone.sets["example.com", "A"] = RecordSet("example.com", "A", ("192.0.2.66",))
        zone.sets["example.com", "AAAA"] = RecordSet("example.com", "AAAA", ("2001:db8::66",))
        await loop.round()
        assert (a(rig, "example.com", "www.example.com"), a(rig, "example.com", "example.com")) == ((PUBLIC,), (PUBLIC,))
        assert ("example.com", "AAAA") not in zone.sets and zone.sets["mail.example.com", "A"] == mail
        kinds = [each["data"]["kind"] for each in (await process.ok("event_list"))["events"] if each["kind"] == "drift_mended"]
        assert sorted(kinds) == ["dns_record_changed", "dns_record_lost"]
        rig.effects()
        await loop.round()
        assert rig.effects() == []


async def test_a_zone_that_is_gone_is_made_again() -> None:
    async with begin("named") as rig:
        process = rig.boot()
        rig.dns.zones.clear()
        await Reconciler(process.kit, process.engine, process.audit).round()
        assert a(rig, "example.com", "www.example.com") == (PUBLIC,) and await rig.faults() == []


async def test_a_cname_in_its_place_is_told_and_not_touched() -> None:
    async with begin("named") as rig:
        process, zone = rig.boot(), rig.dns.zones["example.com"]
        del zone.sets["www.example.com", "A"]
        cname = zone.sets["www.example.com", "CNAME"] = RecordSet("www.example.com", "CNAME", ("example.net",))
        body = await process.ok("reconcile")
        assert [each["kind"] for each in body["findings"]] == ["dns_record_foreign"]
        assert zone.sets["www.example.com", "CNAME"] == cname


async def test_a_dns_server_that_is_away_is_told_once_and_stops_nothing_else() -> None:
    async with begin("named") as rig:
        process = rig.boot()
        loop = Reconciler(process.kit, process.engine, process.audit)
        rig.dns.away = True
        rig.machine.stop(rig.machine.boxes["shop-production-blue"], 1)
        for _ in range(3):
            await loop.round()
        told = [each for each in (await process.ok("event_list"))["events"] if each["data"].get("kind") == "unseen"]
        assert len(told) == 1 and rig.machine.boxes["shop-production-blue"].running


# as seen from outside


async def test_status_says_what_the_world_sees() -> None:
    async with begin("named") as rig:
        process = rig.boot()
        body = await process.ok("domain_status", domain="www.example.com")
        assert (body["dns"]["status"], body["dns"]["addresses"]) == ("here", [PUBLIC])
        assert (body["tls"]["issuer"], body["http"]["code"], body["http"]["slot"]) == ("memory", 200, "blue")
        assert {each.host for each in rig.outside.visited[-2:]} == {PUBLIC}


@pytest.mark.parametrize("address", ["127.0.0.1", "10.0.0.7", "169.254.169.254", "0.0.0.0", "192.168.1.1"])
async def test_status_asks_nothing_of_an_address_that_is_not_public(address: str) -> None:
    """S14: one bad address among good ones is enough."""
    async with begin("named") as rig:
        process = rig.boot()
        rig.outside.names["www.example.com", "A"] = (PUBLIC, address)
        rig.outside.visited.clear()
        body = await process.ok("domain_status", domain="www.example.com")
        assert (body["tls"]["status"], body["http"]["status"], rig.outside.visited) == ("unknown", "unknown", [])


async def test_who_lost_the_lock_changes_neither_dns_nor_a_page() -> None:
    """P6: the fence is looked up before each of them."""
    async with begin("named") as rig:
        process = rig.boot()
        body = await process.ok("maintenance_on", **WHERE)
        before, stale = rig.print(), fence_kit(process.kit, body["operationId"], 0)
        assert stale.dns is not None
        for act in (
            stale.dns.make_zone("example.net"), stale.dns.drop_zone("example.com"),
            stale.dns.change("example.com", (), (RecordSet("example.com", "A", (PUBLIC,)),)), stale.curtain.draw(PROD, False),
        ):  # fmt: skip
            with pytest.raises(FenceLost):
                await act
        assert rig.print() == before
