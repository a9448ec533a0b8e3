"""The maintenance page and names that send their visitors on: on the memory twin, Caddy 2.11 and Caddy 2.6."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from dataclasses import replace

import httpx2
import pytest

from codeb.drivers.health.http import HttpHealth
from codeb.drivers.outside.network import NetworkOutside
from codeb.drivers.proxy.memory import MemoryProxy
from codeb.errors import Conflict, NotFound
from codeb.model.names import Place, Slot
from tests.contracts.backends import ask
from tests.contracts.proxies import CADDIES, HOST, PREVIEW, SHOP, Rig, rig

pytestmark = [pytest.mark.anyio, pytest.mark.proxy]
KEY = "5e" * 16


@pytest.fixture(params=["memory", *CADDIES])
async def on(request: pytest.FixtureRequest) -> AsyncIterator[Rig]:
    async with rig(request.param, probe_key=KEY) as made:
        yield made


@pytest.fixture(params=CADDIES)
async def caddy(request: pytest.FixtureRequest) -> AsyncIterator[Rig]:
    async with rig(request.param, tls="internal", probe_key=KEY) as made:
        yield made


async def test_it_is_drawn_and_taken_away_and_apart_from_the_switch(on: Rig) -> None:
    await on.proxy.put_site(on.site)
    await on.proxy.set_live(SHOP, Slot.BLUE)
    assert await on.proxy.drawn(SHOP) is False
    for shown in (True, True, False, False, True):
        await on.proxy.draw(SHOP, shown)
        assert await on.proxy.drawn(SHOP) is shown
    await on.proxy.set_live(SHOP, Slot.GREEN)
    await on.proxy.put_site(on.other_site(SHOP, "other.localhost", PREVIEW))
    assert await on.proxy.drawn(SHOP) is True and (await on.proxy.live(SHOP)).slot is Slot.GREEN
    await on.proxy.remove_site(SHOP)
    assert await on.proxy.drawn(SHOP) is False


async def test_where_there_is_no_site_there_is_nothing_to_draw_before(on: Rig) -> None:
    with pytest.raises(NotFound):
        await on.proxy.draw(Place("blog", "staging"), True)
    await on.proxy.draw(Place("blog", "staging"), False)
    assert await on.proxy.drawn(Place("blog", "staging")) is False


async def test_a_name_sends_its_visitors_to_one_site_only(on: Rig) -> None:
    await on.proxy.put_site(replace(on.site, redirects=(("www.shop.localhost", HOST),)))
    with pytest.raises(Conflict):
        await on.proxy.put_site(on.other_site(Place("blog", "staging"), "www.shop.localhost"))


async def test_visitors_see_the_page_previews_and_our_own_requests_go_behind_it(caddy: Rig) -> None:
    assert not isinstance(caddy.proxy, MemoryProxy)
    await caddy.proxy.put_site(caddy.site)
    await caddy.proxy.set_live(SHOP, Slot.BLUE)
    await caddy.proxy.draw(SHOP, True)
    got = await ask(caddy.http_port, HOST)
    assert got.status == 503 and b"Maintenance" in got.body
    assert (await ask(caddy.http_port, PREVIEW[Slot.GREEN])).status == 200
    health = HttpHealth()
    through = await health.probe(replace(caddy.proxy.route(HOST), path="/health"), 5)
    assert (through.status, through.slot) == (200, "blue")
    guessed = replace(caddy.proxy.route(HOST), headers=(("X-CodeB-Pass", "00" * 16),))
    assert (await health.probe(guessed, 5)).status == 503
    await caddy.proxy.draw(SHOP, False)
    assert (await ask(caddy.http_port, HOST)).status == 200
    await health.close()


async def test_a_change_of_the_page_loses_no_request_and_reloads_nothing(caddy: Rig) -> None:
    """P1: under load every answer is whole, the application's or the page."""
    assert not isinstance(caddy.proxy, MemoryProxy)
    await caddy.proxy.put_site(caddy.site)
    await caddy.proxy.set_live(SHOP, Slot.BLUE)
    seen, ended = list[int](), asyncio.Event()

    async def visit() -> None:
        while not ended.is_set():
            got = await ask(caddy.http_port, HOST)
            seen.append(got.status)

    visitors = [asyncio.create_task(visit()) for _ in range(4)]
    for number in range(20):
        await asyncio.sleep(0.03)
        await caddy.proxy.draw(SHOP, number % 2 == 0)
    ended.set()
    await asyncio.gather(*visitors)
    assert set(seen) == {200, 503} and len(seen) > 50
    assert await caddy.proxy.put_site(caddy.site) is False


async def test_a_redirect_keeps_path_scheme_and_port_and_has_its_certificate(caddy: Rig) -> None:
    assert caddy.settings is not None and not isinstance(caddy.proxy, MemoryProxy)
    await caddy.proxy.put_site(replace(caddy.site, redirects=(("www.shop.localhost", HOST),)))
    health = HttpHealth()
    outside, port = NetworkOutside(health), caddy.settings.https_port
    for name in (HOST, "www.shop.localhost"):
        entry = replace(caddy.proxy.route(name), port=port, tls=True)
        for _ in range(40):
            shown = await outside.certificate(entry, 5)
            if shown.covers:
                break
            await asyncio.sleep(0.25)
        assert (shown.covers, shown.trusted, shown.reason) == (True, False, "") and shown.issuer
    wrong = await outside.certificate(replace(caddy.proxy.route("nobody.localhost"), port=port, tls=True), 5)
    assert not wrong.covers
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    async with httpx2.AsyncClient(verify=context, trust_env=False) as client:
        for scheme, at in (("https", port), ("http", caddy.http_port)):
            got = await client.get(
                f"{scheme}://127.0.0.1:{at}/a?b=1", headers={"Host": f"www.shop.localhost:{at}"},
                extensions={"sni_hostname": "www.shop.localhost"},
            )  # fmt: skip
            assert (got.status_code, got.headers["location"]) == (308, f"{scheme}://{HOST}:{at}/a?b=1")
    await health.close()
