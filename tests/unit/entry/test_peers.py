"""Whom a call comes from: forwarded headers count only from configured proxies, and from the right (S30)."""

import ipaddress

import pytest

from codeb.entry.http.peers import Client, client_of

TRUSTED = (ipaddress.ip_network("127.0.0.1/32"), ipaddress.ip_network("192.0.2.0/24"), ipaddress.ip_network("2001:db8::/32"))


def said(
    peer: str | None, *lines: tuple[str, str], trusted: tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...] = TRUSTED
) -> Client:
    return client_of(peer, [(name.encode(), value.encode("latin-1")) for name, value in lines], trusted)


@pytest.mark.parametrize("name", ["x-forwarded-for", "forwarded"])
def test_others_are_not_believed(name: str) -> None:
    value = "for=198.51.100.1;proto=https" if name == "forwarded" else "198.51.100.1"
    lines = ((name, value), ("x-forwarded-proto", "https"))
    assert said("203.0.113.5", *lines) == Client("203.0.113.5")
    assert said("127.0.0.1", *lines, trusted=()) == Client("127.0.0.1")
    assert said("127.0.0.1", *lines) == Client("198.51.100.1", https=True)
    assert said(None, *lines) == Client(None)


@pytest.mark.parametrize(
    ("value", "client"),
    [
        ("198.51.100.1", "198.51.100.1"),
        ("203.0.113.66, 198.51.100.1", "198.51.100.1"),  # what stands further left anybody may have written
        ("203.0.113.66, 198.51.100.1, 192.0.2.8", "198.51.100.1"),
        ("203.0.113.66,198.51.100.1:4711,192.0.2.8:80", "198.51.100.1"),
        ("192.0.2.9, 192.0.2.8", "192.0.2.9"),
        ("2001:dead::1", "2001:dead::1"), ("[2001:dead::1]:443", "2001:dead::1"), ("::ffff:198.51.100.1", "198.51.100.1"),
        ("203.0.113.66, unknown, 192.0.2.8", "192.0.2.8"), ("nonsense", "127.0.0.1"), ("", "127.0.0.1"), (" , ", "127.0.0.1"),
        ("203.0.113.66, 1.2.3", "127.0.0.1"),
        (", ".join(["203.0.113.66"] + ["192.0.2.8"] * 5000), "192.0.2.8"),
    ],
)  # fmt: skip
def test_the_right_most_that_is_no_proxy(value: str, client: str) -> None:
    assert said("127.0.0.1", ("x-forwarded-for", value)).ip == client


def test_several_lines_are_one_list() -> None:
    lines = (("x-forwarded-for", "203.0.113.66"), ("x-forwarded-for", "198.51.100.1"))
    assert said("127.0.0.1", *lines).ip == "198.51.100.1"


@pytest.mark.parametrize(
    ("value", "client", "https"),
    [
        ("for=198.51.100.1", "198.51.100.1", False), ("For=198.51.100.1;Proto=HTTPS;by=192.0.2.8", "198.51.100.1", True),
        ('for="[2001:dead::1]:4711"', "2001:dead::1", False),
        ("for=203.0.113.66, for=198.51.100.1;proto=http", "198.51.100.1", False),
        ("for=_hidden", "127.0.0.1", False), ("proto=https", "127.0.0.1", True), (";;;=,", "127.0.0.1", False),
    ],
)  # fmt: skip
def test_the_standard_header(value: str, client: str, https: bool) -> None:
    assert said("127.0.0.1", ("forwarded", value)) == Client(client, https)


def test_the_header_that_every_proxy_writes_comes_first() -> None:
    """One that passes the other header through unread must not lend it its name."""
    lines = (("forwarded", "for=203.0.113.66;proto=https"), ("x-forwarded-for", "198.51.100.1"))
    assert said("127.0.0.1", *lines) == Client("198.51.100.1")


@pytest.mark.parametrize(
    ("name", "value", "https"),
    [
        ("x-forwarded-proto", "https, http", False), ("x-forwarded-proto", "http, https", True),
        ("forwarded", "for=192.0.2.9;proto=https, for=192.0.2.9;proto=http", False),
        ("forwarded", "for=192.0.2.9;proto=http, for=192.0.2.9;proto=https", True),
    ],
)  # fmt: skip
def test_how_it_was_asked_is_what_the_nearest_proxy_heard(name: str, value: str, https: bool) -> None:
    assert said("127.0.0.1", (name, value)).https is https
