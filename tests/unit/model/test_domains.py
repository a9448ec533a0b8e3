"""S27, S28, S14: whose a name is, what may be put into DNS, where a name may make us connect: from values alone."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from codeb.model import domains
from codeb.model.domains import Domain, DomainState, RecordSet
from codeb.model.names import Place

SHOP = Place("shop", "production")
HELD = Domain("example.com", "main", "shop", "production", DomainState.ACTIVE, datetime(2026, 1, 1, tzinfo=UTC))


@pytest.mark.parametrize(
    ("one", "other", "so"),
    [
        ("example.com", "example.com", True), ("a.example.com", "example.com", True), ("example.com", "a.b.example.com", True),
        ("a.example.com", "b.example.com", False), ("notexample.com", "example.com", False),
        ("example.com.au", "example.com", False),
    ],
)  # fmt: skip
def test_names_are_related_by_whole_labels(one: str, other: str, so: bool) -> None:
    assert domains.related(one, other) is domains.related(other, one) is so


@pytest.mark.parametrize("state", DomainState)
@pytest.mark.parametrize("team", ["main", "rivals"])
def test_what_another_team_holds_is_in_the_way_and_what_it_gave_back_is_remembered(state: DomainState, team: str) -> None:
    known = [replace(HELD, state=state)]
    foreign = team != "main"
    assert (domains.in_the_way("a.example.com", team, known) is not None) is (foreign and state is not DomainState.RELEASED)
    assert domains.anothers("a.example.com", team, known) is foreign
    assert domains.covered("a.example.com", team, known) is (not foreign and state is DomainState.ACTIVE)
    assert not domains.covered("com", team, known)


@pytest.mark.parametrize(
    ("host", "so"),
    [
        ("shop.apps.example.com", False), ("shop-staging.apps.example.com", True), ("x.shop.apps.example.com", True),
        ("apps.example.com", True), ("example.com", True), ("shop-blue.preview.apps.example.com", True), ("example.org", False),
    ],
)  # fmt: skip
def test_the_base_domain_is_the_installations(host: str, so: bool) -> None:
    assert domains.reserved(host, SHOP, "apps.example.com") is so


def test_a_proof_is_of_one_registry_team_and_name() -> None:
    values = {
        domains.proof_value(registry, team, host)
        for registry in ("r1", "r2") for team in ("main", "rivals") for host in ("example.com", "example.org")
    }  # fmt: skip
    assert len(values) == 8
    for value in values:
        assert domains.checked(RecordSet("_codeb.example.com", "TXT", (value,))).values == (value,)


@pytest.mark.parametrize(
    ("host", "other"), [("example.com", "www.example.com"), ("www.example.com", "example.com"), ("a.b.test", "www.a.b.test")]
)
def test_the_name_beside_a_name(host: str, other: str) -> None:
    assert domains.counterpart(host) == other


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("A", "192.0.2.07"), ("A", "192.0.2"), ("A", "0x7f.1"), ("AAAA", "fe80::1%eth0"), ("AAAA", "2001:db8"),
        ("CNAME", "-a.example.com"), ("CNAME", "a.example.com."), ("TXT", ""), ("TXT", "a" * 256), ("TXT", "\u00e9"),
        ("TXT", "a\\b"), ("MX", "70000 a.example.com"), ("MX", "10  a.example.com"), ("CAA", '300 issue "x"'),
        ("CAA", '0 other "x"'), ("CAA", '0 issue "a"b"'), ("PTR", "a.example.com"), ("a", "192.0.2.7"),
    ],
)  # fmt: skip
def test_each_type_has_its_grammar(kind: str, value: str) -> None:
    with pytest.raises(ValueError):
        domains.checked(RecordSet("a.example.com", kind, (value,)))


def test_addresses_compare_in_one_form() -> None:
    sets = domains.addresses_of("a.example.com", ["2001:DB8:0::7", "192.0.2.9", "192.0.2.7"])
    assert [(each.type, each.values) for each in sets] == [("A", ("192.0.2.7", "192.0.2.9")), ("AAAA", ("2001:db8::7",))]


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.0.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "255.255.255.255",
        "::1", "::", "fe80::1", "fc00::1", "ff02::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1",
        "2002:7f00:1::", "2001:0:1::1", "example.com", "", "127.1", "2606:4700::1111%1",
    ],
)  # fmt: skip
def test_no_address_of_a_machine_or_a_private_network_is_visited(address: str) -> None:
    assert domains.may_be_visited(address, ["192.0.2.7"]) is False


def test_public_addresses_and_our_own_are_visited() -> None:
    assert domains.may_be_visited("2606:4700::1111", [])
    assert domains.may_be_visited("127.0.0.1", ["127.0.0.1"])
