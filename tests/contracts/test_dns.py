"""What every DNS driver promises: one suite on the memory twin and on a real PowerDNS. S28: records of six types only."""

from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from dataclasses import replace

import pytest

from codeb.drivers.dns.memory import MemoryDns, Zone
from codeb.drivers.dns.powerdns import PowerDns, PowerDnsSettings
from codeb.errors import Conflict, FenceLost, InvalidParams, Unavailable
from codeb.model.domains import RecordSet
from codeb.model.secret import Secret
from tests.contracts.backends import free_ports
from tests.pdns import KEY, PdnsServer, pdns_server

pytestmark = pytest.mark.anyio

NAMESERVERS = ("ns1.example.net", "ns2.example.net")
SHOP = RecordSet("shop.example.com", "A", ("192.0.2.7",))


@pytest.fixture(scope="module")
def server() -> Iterator[PdnsServer]:
    with pdns_server() as made:
        yield made


def settings(server: PdnsServer) -> PowerDnsSettings:
    return PowerDnsSettings(server.url, Secret(KEY), "127.0.0.1", server.dns_port, NAMESERVERS)


@pytest.fixture(params=["memory", pytest.param("powerdns", marks=pytest.mark.dns)])
async def dns(request: pytest.FixtureRequest) -> AsyncIterator[MemoryDns | PowerDns]:
    if request.param == "memory":
        yield MemoryDns()
        return
    server: PdnsServer = request.getfixturevalue("server")
    for zone in server.api("GET", "/zones").json():
        server.api("DELETE", f"/zones/{zone['id']}")
    async with aclosing(Closing(settings(server))) as made:
        yield made


class Closing(PowerDns):
    async def aclose(self) -> None:
        await self.close()


async def foreign(dns: MemoryDns | PowerDns, request: pytest.FixtureRequest, zone: str) -> None:
    """A zone that somebody else made."""
    if isinstance(dns, MemoryDns):
        dns.zones[zone] = Zone()
    else:
        server: PdnsServer = request.getfixturevalue("server")
        made = {"name": f"{zone}.", "kind": "Native", "nameservers": ["ns1.example.net."]}
        assert server.api("POST", "/zones", made).status_code == 201


def without_own(found: object) -> set[RecordSet]:
    assert isinstance(found, list)
    return {each for each in found if each.type not in ("SOA", "NS")}


async def test_a_zone_is_made_once_found_by_the_names_in_it_and_dropped(dns: MemoryDns | PowerDns) -> None:
    assert await dns.zone_of("a.shop.example.com") is None and await dns.records("example.com") is None
    for _ in range(2):
        await dns.make_zone("example.com")
    await dns.make_zone("shop.example.com")
    assert await dns.zone_of("a.shop.example.com") == "shop.example.com"
    assert (await dns.zone_of("blog.example.com"), await dns.zone_of("example.com")) == ("example.com", "example.com")
    for _ in range(2):
        assert await dns.drop_zone("shop.example.com") is True
    assert await dns.zone_of("a.shop.example.com") == "example.com"


async def test_records_are_put_served_replaced_and_dropped(dns: MemoryDns | PowerDns) -> None:
    await dns.make_zone("example.com")
    six = RecordSet("shop.example.com", "AAAA", ("2001:db8::7",))
    for _ in range(2):
        await dns.change("example.com", (SHOP, six), ())
    assert without_own(await dns.records("example.com")) == {SHOP, six}
    assert (await dns.served("shop.example.com", "A"), await dns.served("shop.example.com", "AAAA")) == (SHOP.values, six.values)
    two = replace(SHOP, values=("192.0.2.8", "192.0.2.9"))
    await dns.change("example.com", (two,), (six,))
    assert without_own(await dns.records("example.com")) == {two}
    assert await dns.served("shop.example.com", "A") == two.values
    for _ in range(2):
        await dns.change("example.com", (), (two,))
    assert (without_own(await dns.records("example.com")), await dns.served("shop.example.com", "A")) == (set(), ())
    assert await dns.served("shop.example.org", "A") == ()


@pytest.mark.parametrize(
    "records",
    [
        RecordSet("www.example.com", "CNAME", ("shop.example.com",)),
        RecordSet("_codeb.example.com", "TXT", ("codeb-verify=0123 4567",)),
        RecordSet("example.com", "MX", ("10 mail.example.com", "20 mail2.example.com")),
        RecordSet("example.com", "CAA", ('0 issue "ca.example.net"',)),
    ],
)
async def test_each_type_comes_back_as_it_was_put(dns: MemoryDns | PowerDns, records: RecordSet) -> None:
    await dns.make_zone("example.com")
    await dns.change("example.com", (records,), ())
    assert without_own(await dns.records("example.com")) == {records}


@pytest.mark.parametrize(
    "records",
    [
        RecordSet("shop.example.com", "A", ("999.0.2.1",)),
        RecordSet("shop.example.com", "A", ("2001:db8::7",)),
        RecordSet("shop.example.com", "AAAA", ("192.0.2.7",)),
        RecordSet("shop.example.com", "A", ()),
        RecordSet("shop.example.com", "CNAME", ("a b",)),
        RecordSet("shop.example.com", "CNAME", ("a.example.com", "b.example.com")),
        RecordSet("shop.example.com", "TXT", ('a" "b',)),
        RecordSet("shop.example.com", "TXT", ("a\nb",)),
        RecordSet("shop.example.com", "MX", ("mail.example.com",)),
        RecordSet("shop.example.com", "CAA", ("0 issue ca.example.net",)),
        RecordSet("example.com", "NS", ("ns1.example.org",)),
        RecordSet("example.com", "SOA", ("ns1.example.org",)),
        RecordSet("shop.example.com", "LUA", ('A "ifportup(443)"',)),
        RecordSet("a b.example.com", "A", ("192.0.2.7",)),
        RecordSet("*.example.com", "A", ("192.0.2.7",)),
    ],
)
async def test_what_is_no_record_of_the_six_types_is_refused_unsent(dns: MemoryDns | PowerDns, records: RecordSet) -> None:
    await dns.make_zone("example.com")
    with pytest.raises(InvalidParams) as refused:
        await dns.change("example.com", (SHOP, records), ())
    assert refused.value.code == "bad_record"
    assert without_own(await dns.records("example.com")) == set()


async def test_a_change_is_made_whole_or_not_at_all(dns: MemoryDns | PowerDns) -> None:
    await dns.make_zone("example.com")
    await dns.change("example.com", (RecordSet("www.example.com", "CNAME", ("example.net",)),), ())
    for clash in (RecordSet("www.example.com", "A", ("192.0.2.7",)), RecordSet("a.example.org", "A", ("192.0.2.7",))):
        with pytest.raises(Conflict) as refused:
            await dns.change("example.com", (SHOP, clash), ())
        assert refused.value.code == "dns_refused"
    assert {each.type for each in without_own(await dns.records("example.com"))} == {"CNAME"}


async def test_a_zone_that_is_not_there_takes_nothing(dns: MemoryDns | PowerDns) -> None:
    with pytest.raises(Conflict):
        await dns.change("example.com", (SHOP,), ())
    assert await dns.drop_zone("example.com") is True


async def test_only_an_empty_zone_of_ours_is_dropped(dns: MemoryDns | PowerDns, request: pytest.FixtureRequest) -> None:
    await dns.make_zone("example.com")
    await dns.change("example.com", (SHOP,), ())
    assert await dns.drop_zone("example.com") is False
    await foreign(dns, request, "example.org")
    await dns.make_zone("example.org")
    assert await dns.drop_zone("example.org") is False
    assert await dns.zone_of("example.org") == "example.org"


# of PowerDNS alone


@pytest.mark.dns
async def test_the_zone_has_soa_and_name_servers_and_its_serial_grows(server: PdnsServer) -> None:
    dns = PowerDns(settings(server))
    await dns.make_zone("serial.example.edu")
    assert await dns.served("serial.example.edu", "NS") == NAMESERVERS
    before = (await dns.served("serial.example.edu", "SOA"))[0].split()
    assert before[:2] == ["ns1.example.net.", "hostmaster.serial.example.edu."]
    await dns.change("serial.example.edu", (RecordSet("serial.example.edu", "A", ("192.0.2.7",)),), ())
    assert int((await dns.served("serial.example.edu", "SOA"))[0].split()[2]) > int(before[2])
    assert (await dns.check()).status == "pass"
    await dns.close()


@pytest.mark.dns
async def test_without_name_servers_no_zone_is_made(server: PdnsServer) -> None:
    dns = PowerDns(replace(settings(server), nameservers=()))
    with pytest.raises(Conflict) as refused:
        await dns.make_zone("none.example.edu")
    assert (refused.value.code, dns.makes_zones, await dns.zone_of("none.example.edu")) == ("no_nameservers", False, None)
    await dns.close()


@pytest.mark.dns
async def test_a_wrong_key_and_a_dead_server_are_unavailable_and_the_key_is_in_no_word_of_it(server: PdnsServer) -> None:
    dead, dead_dns = free_ports(2)
    for wrong in (
        replace(settings(server), api_key=Secret("codebtest-wrong-key")),
        replace(settings(server), url=f"http://127.0.0.1:{dead}", port=dead_dns),
    ):
        dns = PowerDns(wrong)
        with pytest.raises(Unavailable) as away:
            await dns.records("example.com")
        said = f"{away.value} {away.value.hint} {away.value.details} {wrong!r}"
        assert away.value.code == "dns_unavailable" and "codebtest-" not in said
        assert (await dns.check()).status == "fail"
        await dns.close()
    dns = PowerDns(replace(settings(server), port=dead_dns))
    with pytest.raises(Unavailable):
        await dns.served("example.com", "A")
    await dns.close()


@pytest.mark.dns
async def test_who_may_not_change_anything_sends_nothing(server: PdnsServer) -> None:
    def never() -> None:
        raise FenceLost("not its turn")

    dns = PowerDns(settings(server), never)
    with pytest.raises(FenceLost):
        await dns.make_zone("fenced.example.edu")
    assert await dns.zone_of("fenced.example.edu") is None
    await dns.close()
