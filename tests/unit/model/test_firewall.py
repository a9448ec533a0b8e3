"""Which openings are to be, and where a firewall differs from them."""

from dataclasses import replace

import pytest

from codeb.model import firewall, grammar
from codeb.model.drift import Remedy
from codeb.model.firewall import NOBODY, Gates, Opening, Rule, Standing, Transport
from codeb.model.servers import Server, ServerRole, app_networks, known, own

SHOP = Rule("local", Transport.TCP, 5432, "192.0.2.7/32", "shop", "database")
BLOG = replace(SHOP, project="blog", purpose="posts")
HOUSE = Rule("storage-1", Transport.UDP, 53, "::/0", NOBODY, "dns")


def test_an_opening_is_the_same_whatever_its_comment_says() -> None:
    assert SHOP.opening == BLOG.opening
    assert SHOP.opening.comment != BLOG.opening.comment
    assert SHOP.key != BLOG.key


def test_it_is_wanted_as_long_as_one_rule_asks_for_it() -> None:
    both = firewall.wanted([SHOP, BLOG, HOUSE], None, {"shop", "blog"})
    assert {str(each): each.comment for each in both.values()} == {
        "5432/tcp from 192.0.2.7/32": "codeb:blog:posts", "53/udp from ::/0": "codeb:-:dns",
    }  # fmt: skip
    left = firewall.wanted([SHOP, BLOG, HOUSE], None, {"shop"})
    assert left[SHOP.opening].comment == "codeb:shop:database"
    assert list(firewall.wanted([SHOP, BLOG, HOUSE], {"storage-1"}, set())) == [HOUSE.opening]
    assert firewall.wanted([SHOP, BLOG], None, set()) == {}


def test_a_change_is_about_the_openings_it_names_alone() -> None:
    want = firewall.wanted([SHOP, HOUSE], None, {"shop"})
    gone = Opening(Transport.TCP, 9, "0.0.0.0/0")
    assert firewall.change(want, [SHOP.opening, gone, gone]) == ((SHOP.opening,), (gone,))


@pytest.mark.parametrize("comment", ["codeb:shop:database", "codeb:-:ssh", "codeb:a:0", "codeb:" + "a" * 40 + ":" + "b" * 40])
def test_what_is_ours_says_so(comment: str) -> None:
    assert firewall.ours(comment)


@pytest.mark.parametrize(
    "comment", ["", "codeb", "codeb::x", "codeb:shop:", "codeb:shop:a:b", "xcodeb:shop:a", "codeb:shop:a\n", "codeb:_:a"]
)
def test_what_is_not_ours_does_not(comment: str) -> None:
    assert not firewall.ours(comment)


def kinds(standing: Standing, want: set[Opening], **how: bool) -> dict[str, Remedy]:
    return {each.kind: each.policy for each in firewall.differences(standing, want, **how)}


def test_drift_both_ways() -> None:
    here, there = SHOP.opening, HOUSE.opening
    assert kinds(Standing(ours=frozenset({here})), {here}) == {}
    assert kinds(Standing(others=frozenset({here})), {here}) == {}, "somebody else's rule serves as well"
    assert kinds(Standing(ours=frozenset({there})), {here}) == {
        "firewall_missing": Remedy.MENDED, "firewall_stranger": Remedy.REPORTED,
    }  # fmt: skip
    assert kinds(Standing(ours=frozenset({there})), set(), fixed=True) == {"firewall_stranger": Remedy.MENDED}
    assert kinds(Standing(edited="x"), set()) == {"firewall_edited": Remedy.MENDED}


def test_one_that_was_never_on_is_turned_on_by_somebody_who_says_so() -> None:
    """P15: a setting alone closes no port of a running machine; a restart of the machine opens none."""
    assert kinds(Standing(on=False, begun=False), {SHOP.opening}) == {"firewall_off": Remedy.REPORTED}
    assert kinds(Standing(on=False, begun=False), set(), fixed=True) == {"firewall_off": Remedy.MENDED}
    assert kinds(Standing(on=False, begun=True), set()) == {"firewall_off": Remedy.MENDED}


def test_the_gates_are_open_to_everybody() -> None:
    gates = Gates(2222, ((Transport.UDP, 443),))
    assert {(str(each), each.comment) for each in gates.openings} == {
        ("2222/tcp from 0.0.0.0/0", "codeb:-:ssh"), ("2222/tcp from ::/0", "codeb:-:ssh"),
        ("443/udp from 0.0.0.0/0", "codeb:-:public"), ("443/udp from ::/0", "codeb:-:public"),
    }  # fmt: skip


@pytest.mark.parametrize(
    "good", ["0.0.0.0/0", "::/0", "192.0.2.0/24", "192.0.2.7/32", "2001:db8::/32", "2001:db8::7/128", "255.255.255.255/32"]
)
def test_networks(good: str) -> None:
    assert grammar.cidr(good) == good


@pytest.mark.parametrize(
    "bad",
    ["", "192.0.2.0", "192.0.2.1/24", "192.0.2.0/33", "192.0.2.0/024", "192.0.2/24", "0/0", "/0", "2001:DB8::/32",
     "2001:db8:0::/32",
     "2001:db8::1/64", "::ffff:192.0.2.0/120", "::ffff:c000:200/120", "fe80::%1/64",
     "192.0.2.0/24\n", " 192.0.2.0/24", "192.0.2.0/\u0662"],
)  # fmt: skip
def test_what_is_no_network(bad: str) -> None:
    with pytest.raises(ValueError, match="a network is canonical"):
        grammar.cidr(bad)


def test_storage_ports_are_for_the_app_servers() -> None:
    assert [port for port in (5431, 5432, 5499, 5500, 6378, 6379, 6499, 6500) if firewall.is_storage(port)] == [
        5432,
        5499,
        6379,
        6499,
    ]
    app = Server("app-2", (ServerRole.APP,), ("192.0.2.9", "2001:db8::9"))
    store = Server("storage-1", (ServerRole.STORAGE,), ("192.0.2.7",))
    assert app_networks([own("local"), app, store]) == ["192.0.2.9/32", "2001:db8::9/128"]
    both = known([app, replace(own("local"), addresses=("192.0.2.1",))], "local")
    assert (list(both), both["local"].addresses) == (["app-2", "local"], ("192.0.2.1",))
    assert known([], "local") == {"local": own("local")}
