"""The renderer: readable text for good values, nothing at all for hostile ones. Shows S15, S16."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codeb.drivers.proxy.caddyfile import CaddySettings, Tls, render_main, render_site
from codeb.errors import InvalidParams
from codeb.model.names import Place, Slot
from codeb.model.specs import Site

NEW, OLD = (2, 11, 7), (2, 6, 2)
SETTINGS = CaddySettings(Path("/srv/caddy"), Path("/usr/bin/caddy"), 8080, 8443, "off")
PORTS = ((Slot.BLUE, 4100), (Slot.GREEN, 4101))
SITE = Site(
    Place("shop", "production"),
    ("shop.example.com", "www.example.com"),
    ((Slot.BLUE, "shop-blue.preview.example.com"), (Slot.GREEN, "shop-green.preview.example.com")),
    PORTS,
    "/health",
)
HOSTILE = [
    "", " ", "a b.example.com", "shop.example.com {", "}", "a}.example.com", "{env.HOME}.example.com", 'a".example.com',
    "a`.example.com", "a\\.example.com", "a\n.example.com", "shop.example.com\n", "shop.example.com\r\nrespond 200",
    "*.example.com",
    "*", "-a.example.com", "a..example.com", ".example.com", "example.com.", "shop.example.com:80", "http://shop.example.com",
    "SHOP.example.com", "shöp.example.com", "shop.example.com,evil.example.com", "#.example.com", "@a.example.com",
    "a;b.example.com",
    "a" * 64 + ".example.com", "a." * 127 + "toolong.com", "one", "a\0.example.com", "a\u2028.example.com", "$(id).example.com",
]  # fmt: skip
PATHS = ["", "health", "//health", "/../x", "/a b", "/{env.HOME}", "/a\n}", '/"', "/`", "/a\\b", "/ü", "/?x=1", "/#"]


def blocks_are_closed(text: str) -> bool:
    depth = 0
    for line in text.splitlines():
        depth += line.endswith("{") - (line.strip() == "}")
        if depth < 0:
            return False
    return depth == 0


@pytest.mark.parametrize("host", HOSTILE)
def test_a_hostile_host_is_refused_wherever_it_stands(host: str) -> None:
    for site in (
        replace(SITE, hosts=(host,)),
        replace(SITE, hosts=("good.example.com", host)),
        replace(SITE, preview_hosts=((Slot.BLUE, host),)),
        replace(SITE, redirects=((host, "shop.example.com"),)),
        replace(SITE, redirects=(("good.example.com", host),)),
    ):
        with pytest.raises(InvalidParams):
            render_site(site, SETTINGS, NEW)


@pytest.mark.parametrize("path", PATHS)
def test_a_hostile_health_path_is_refused(path: str) -> None:
    for site in (replace(SITE, health_path=path), replace(SITE, own_paths=((Slot.GREEN, path),))):
        with pytest.raises(InvalidParams):
            render_site(site, SETTINGS, NEW)


@pytest.mark.parametrize(
    "place",
    [
        Place("shop {", "production"), Place("shop\n", "production"), Place("../shop", "production"), Place("shop", "prod"),
        Place("shop", "production}"), Place("Shop", "production"), Place("shop-blue", "production"), Place("", "production"),
        Place("shop", "pr-1/../x"),
    ],
)  # fmt: skip
def test_a_hostile_place_is_refused(place: Place) -> None:
    with pytest.raises(InvalidParams):
        render_site(replace(SITE, place=place), SETTINGS, NEW)


@pytest.mark.parametrize(
    "ports",
    [
        (), ((Slot.BLUE, 4100),), ((Slot.BLUE, 4100), (Slot.GREEN, 4100)), ((Slot.BLUE, 0), (Slot.GREEN, 4101)),
        ((Slot.BLUE, 65536), (Slot.GREEN, 4101)), ((Slot.BLUE, True), (Slot.GREEN, 4101)),
        ((Slot.BLUE, "4100 }"), (Slot.GREEN, 4101)), ((Slot.BLUE, 4100), (Slot.GREEN, 4101), (Slot.GREEN, 4102)),
    ],
)  # fmt: skip
def test_ports_are_two_different_numbers(ports: tuple[tuple[Slot, int], ...]) -> None:
    with pytest.raises(InvalidParams):
        render_site(replace(SITE, ports=ports), SETTINGS, NEW)


def test_hosts_are_some_and_each_once() -> None:
    for hosts in ((), ("a.example.com", "a.example.com"), ("shop-blue.preview.example.com",)):
        with pytest.raises(InvalidParams):
            render_site(replace(SITE, hosts=hosts), SETTINGS, NEW)


@pytest.mark.parametrize("folder", ["caddy", "/a b", "/a{b", "/a\n", "/a/../b", '/a"', "/a*", "/a`", "/a\\"])
def test_a_hostile_folder_is_refused(folder: str) -> None:
    settings = CaddySettings(Path(folder), Path("/usr/bin/caddy"))
    with pytest.raises(InvalidParams):
        render_main(settings, NEW)
    with pytest.raises(InvalidParams):
        render_site(SITE, settings, NEW)


def test_hostile_addresses_and_ports_to_listen_on_are_refused() -> None:
    for settings in (
        replace(SETTINGS, bind=("127.0.0.1 }",)), replace(SETTINGS, bind=("eth0\n",)), replace(SETTINGS, http_port=0),
        replace(SETTINGS, https_port=70000),
    ):  # fmt: skip
        with pytest.raises(InvalidParams):
            render_main(settings, NEW)


@given(st.text(max_size=40), st.text(max_size=40))
def test_any_text_is_refused_or_harmless(host: str, path: str) -> None:
    try:
        text = render_site(replace(SITE, hosts=(host,), health_path=path), SETTINGS, NEW).decode()
    except InvalidParams:
        return
    assert re.fullmatch(r"[a-z0-9.-]+", host)
    assert re.fullmatch(r"[A-Za-z0-9._~/-]+", path)
    assert blocks_are_closed(text)


@pytest.mark.parametrize("version", [NEW, OLD])
def test_a_person_can_read_whose_file_it_is(version: tuple[int, int, int]) -> None:
    text = render_site(SITE, SETTINGS, version).decode()
    head = "\n".join(line for line in text.splitlines() if line.startswith("#"))
    for words in (
        "Managed by CodeB",
        "shop",
        "production",
        "4100",
        "4101",
        "we slot status shop",
        "/srv/caddy/slots/shop-production",
    ):
        assert words in head
    assert blocks_are_closed(text)


def test_only_a_pair_is_health_checked_and_only_behind_the_fallback_bit() -> None:
    text = render_site(SITE, SETTINGS, NEW).decode()
    pairs = [line for line in text.splitlines() if "reverse_proxy" in line and line.count("127.0.0.1") == 2]
    assert sorted(line.split()[1:3] for line in pairs) == [
        ["127.0.0.1:4100", "127.0.0.1:4101"],
        ["127.0.0.1:4101", "127.0.0.1:4100"],
    ]
    assert text.count("health_uri /health") == text.count("handle @fallback") == 2
    for _, preview in SITE.preview_hosts:
        assert "fallback" not in text.split(f"http://{preview}")[1].split("http://")[0]


def test_each_slot_is_judged_by_the_path_it_was_deployed_with_while_it_is_live() -> None:
    """By the path of the other one it would count as down, and the old version would get its traffic."""
    text = render_site(replace(SITE, own_paths=((Slot.GREEN, "/up"),)), SETTINGS, NEW).decode()
    pairs = [part.split("\n\t\t\t\t}")[0] for part in text.split("reverse_proxy ") if "health_uri" in part]
    asked = {part.split()[0]: part.split("health_uri ")[1].split()[0] for part in pairs}
    assert asked == {f"127.0.0.1:{dict(PORTS)[Slot.BLUE]}": "/health", f"127.0.0.1:{dict(PORTS)[Slot.GREEN]}": "/up"}


def test_each_version_gets_the_options_it_knows() -> None:
    new, old = render_site(SITE, SETTINGS, NEW).decode(), render_site(SITE, SETTINGS, OLD).decode()
    assert new.count("stream_close_delay") == new.count("reverse_proxy 1") == 6
    assert "stream_close_delay" not in old
    assert "persist_config off" in render_main(SETTINGS, NEW).decode()
    assert "persist_config" not in render_main(SETTINGS, OLD).decode()


def test_tls_modes_are_addresses() -> None:
    heads: dict[str, str] = {}
    modes: tuple[Tls, ...] = ("off", "internal", "auto")
    for tls in modes:
        text = render_site(replace(SITE, hosts=("a.example.com",)), replace(SETTINGS, tls=tls), NEW).decode()
        heads[tls] = text.split("\n\n")[1].split(" {")[0]
    assert heads == {
        "off": "http://a.example.com",
        "internal": "http://a.example.com, https://a.example.com",
        "auto": "a.example.com",
    }
    assert "auto_https off" in render_main(SETTINGS, NEW).decode()
    assert "auto_https disable_redirects" in render_main(replace(SETTINGS, tls="internal"), NEW).decode()
    assert "auto_https" not in render_main(replace(SETTINGS, tls="auto"), NEW).decode()


def test_the_admin_api_is_a_unix_socket() -> None:
    text = render_main(replace(SETTINGS, bind=("127.0.0.1", "::1")), NEW).decode()
    assert "admin unix//srv/caddy/admin.sock" in text
    assert "default_bind 127.0.0.1 ::1" in text


def test_what_caddy_writes_down_of_a_request_is_not_the_probe_key() -> None:
    """S11: in the form in which Caddy has the name of the header."""
    text = render_main(SETTINGS, (2, 6, 2)).decode()
    assert "format filter" in text and "request>headers>X-Codeb-Probe delete" in text
    assert "level WARN" in text


@pytest.mark.parametrize("version", [NEW, OLD])
def test_the_page_comes_before_everything_and_its_key_reaches_no_application_and_no_log(version: tuple[int, int, int]) -> None:
    secret = replace(SETTINGS, probe_key="5e" * 16)
    text = render_site(SITE, secret, version).decode()
    public = text.split("shop-blue.preview.example.com")[0]
    assert public.index("handle @curtain") < public.index("handle @hold") < public.index("handle @green")
    assert f"not header X-CodeB-Pass {'5e' * 16}" in public
    assert text.count("header_up -X-CodeB-Pass") == text.count("reverse_proxy 127.0.0.1") > 0
    assert text.count("@curtain") == 2, "previews have no page"
    assert "request>headers>X-Codeb-Pass delete" in render_main(secret, version).decode()
    assert "X-CodeB-Pass 5" not in render_site(SITE, SETTINGS, version).decode()


@pytest.mark.parametrize(
    ("tls", "said"),
    [
        ("auto", ["redir https://shop.example.com:8443{uri} 308"]), ("off", ["redir http://shop.example.com:8080{uri} 308"]),
        ("internal", ["redir http://shop.example.com:8080{uri} 308", "redir https://shop.example.com:8443{uri} 308"]),
    ],
)  # fmt: skip
def test_a_redirect_stays_with_its_scheme_and_port(tls: Tls, said: list[str]) -> None:
    site = replace(SITE, hosts=("shop.example.com",), redirects=(("www.example.com", "shop.example.com"),))
    text = render_site(site, replace(SETTINGS, tls=tls), NEW).decode()
    assert re.findall(r"redir .*", text) == said and blocks_are_closed(text)
    usual = render_site(site, replace(SETTINGS, tls="auto", https_port=443), NEW).decode()
    assert "redir https://shop.example.com{uri} 308" in usual


def test_a_redirect_leads_to_a_host_of_the_same_site_and_bears_a_name_of_its_own() -> None:
    for pair in (("www.example.org", "other.example.org"), ("shop.example.com", "shop.example.com")):
        with pytest.raises(InvalidParams):
            render_site(replace(SITE, redirects=(pair,)), SETTINGS, NEW)
