"""What every proxy driver promises: one suite on the memory twin, Caddy 2.11 and Caddy 2.6."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from codeb.drivers.proxy.memory import MemoryProxy
from codeb.errors import Conflict, NotFound
from codeb.model.names import Place, Slot
from codeb.model.specs import Live
from tests.contracts.proxies import CADDIES, HOST, PREVIEW, SHOP, Rig, rig

pytestmark = [pytest.mark.anyio, pytest.mark.proxy]
BLUE, GREEN = Slot.BLUE, Slot.GREEN
BLOG = Place("blog", "staging")


@pytest.fixture(params=["memory", *CADDIES])
async def on(request: pytest.FixtureRequest) -> AsyncIterator[Rig]:
    async with rig(request.param) as made:
        yield made


async def test_a_site_never_given_a_live_slot_is_held(on: Rig) -> None:
    await on.proxy.put_site(on.site)
    assert await on.proxy.live(SHOP) == Live(None)
    assert await on.answering() is None


async def test_put_site_reloads_only_for_a_change(on: Rig) -> None:
    assert await on.proxy.put_site(on.site) is True
    assert await on.proxy.put_site(on.site) is False
    assert await on.proxy.put_site(on.other_site(SHOP, "other.localhost", PREVIEW)) is True
    await on.proxy.set_live(SHOP, BLUE)
    assert await on.answering(HOST) is None
    assert await on.answering("other.localhost") is BLUE


async def test_sites_lists_what_was_put_and_not_what_was_removed(on: Rig) -> None:
    assert list(await on.proxy.sites()) == []
    await on.proxy.put_site(on.site)
    await on.proxy.put_site(on.other_site(BLOG, "blog.localhost"))
    assert list(await on.proxy.sites()) == [BLOG, SHOP]
    await on.proxy.remove_site(BLOG)
    await on.proxy.remove_site(BLOG)
    assert list(await on.proxy.sites()) == [SHOP]


async def test_set_live_switches_at_once_both_ways_and_twice(on: Rig) -> None:
    await on.proxy.put_site(on.site)
    for slot in (GREEN, GREEN, BLUE, BLUE, GREEN):
        await on.proxy.set_live(SHOP, slot)
        assert await on.proxy.live(SHOP) == Live(slot)
        assert await on.answering() is slot


async def test_none_holds_the_site_and_a_slot_takes_it_back(on: Rig) -> None:
    await on.proxy.put_site(on.site)
    await on.proxy.set_live(SHOP, BLUE)
    await on.proxy.set_live(SHOP, None)
    assert await on.proxy.live(SHOP) == Live(None)
    assert await on.answering() is None
    await on.proxy.set_live(SHOP, GREEN)
    assert await on.answering() is GREEN


async def test_changing_a_site_leaves_its_switch_alone(on: Rig) -> None:
    await on.proxy.put_site(on.site)
    await on.proxy.set_live(SHOP, GREEN)
    await on.proxy.set_fallback(SHOP, True)
    await on.proxy.put_site(on.other_site(SHOP, "other.localhost", PREVIEW))
    assert await on.proxy.live(SHOP) == Live(GREEN, fallback=True)
    assert await on.answering("other.localhost") is GREEN


async def test_an_unpromoted_version_never_answers_for_a_dead_one(on: Rig) -> None:
    await on.proxy.put_site(on.site)
    await on.proxy.set_live(SHOP, GREEN)
    await on.kill(GREEN)
    assert await on.answering() is None
    assert await on.answering(PREVIEW[BLUE]) is BLUE


async def test_the_fallback_answers_for_a_dead_one_only_while_allowed(on: Rig) -> None:
    await on.proxy.put_site(on.site)
    await on.proxy.set_live(SHOP, GREEN)
    await on.proxy.set_fallback(SHOP, True)
    await on.proxy.set_fallback(SHOP, True)
    assert await on.proxy.live(SHOP) == Live(GREEN, fallback=True)
    assert await on.answering() is GREEN
    await on.kill(GREEN)
    assert await on.answering() is BLUE
    await on.proxy.set_fallback(SHOP, False)
    assert await on.proxy.live(SHOP) == Live(GREEN)
    assert await on.answering() is None


async def test_a_preview_host_reaches_its_own_slot_whatever_is_live(on: Rig) -> None:
    await on.proxy.put_site(on.site)
    for live in (None, BLUE, GREEN):
        await on.proxy.set_live(SHOP, live)
        assert [await on.answering(PREVIEW[slot]) for slot in Slot] == list(Slot)
    await on.kill(BLUE)
    assert await on.answering(PREVIEW[BLUE]) is None


async def test_no_site_is_nobody_live_and_cannot_be_switched(on: Rig) -> None:
    assert await on.proxy.live(SHOP) == Live(None)
    await on.proxy.set_live(SHOP, None)
    await on.proxy.set_fallback(SHOP, False)
    for slot in Slot:
        with pytest.raises(NotFound):
            await on.proxy.set_live(SHOP, slot)
    with pytest.raises(NotFound):
        await on.proxy.set_fallback(SHOP, True)
    assert await on.proxy.live(SHOP) == Live(None)
    assert await on.answering("unknown.localhost") is None


async def test_a_removed_site_comes_back_held(on: Rig) -> None:
    await on.proxy.put_site(on.site)
    await on.proxy.set_live(SHOP, GREEN)
    await on.proxy.remove_site(SHOP)
    assert await on.proxy.live(SHOP) == Live(None)
    assert await on.answering() is None
    assert await on.proxy.put_site(on.site) is True
    assert await on.proxy.live(SHOP) == Live(None)
    assert await on.answering() is None


async def test_a_refused_site_changes_nothing(on: Rig) -> None:
    await on.proxy.put_site(on.site)
    await on.proxy.set_live(SHOP, BLUE)
    with pytest.raises(Conflict) as refused:
        await on.proxy.put_site(on.other_site(BLOG, HOST))
    assert refused.value.code == "proxy_refused"
    assert "ambiguous" in refused.value.details["caddy"]
    assert list(await on.proxy.sites()) == [SHOP]
    assert await on.proxy.live(BLOG) == Live(None)
    assert await on.answering() is BLUE
    assert await on.proxy.put_site(on.site) is False


async def test_a_refused_change_keeps_the_site_as_it_was(on: Rig) -> None:
    await on.proxy.put_site(on.site)
    await on.proxy.put_site(on.other_site(BLOG, "blog.localhost"))
    await on.proxy.set_live(BLOG, GREEN)
    with pytest.raises(Conflict):
        await on.proxy.put_site(on.other_site(BLOG, HOST))
    assert await on.answering("blog.localhost") is GREEN
    assert await on.proxy.put_site(on.other_site(BLOG, "blog.localhost")) is False


async def test_many_changes_at_once_each_get_their_own_verdict(on: Rig) -> None:
    """Two of ten ask for the same host: exactly one of those is refused, the others are served."""
    hosts = [f"s{number}.localhost" for number in range(9)] + ["s0.localhost"]
    places = [Place(f"p{number}", "production") for number in range(10)]
    made = [on.proxy.put_site(on.other_site(place, host)) for place, host in zip(places, hosts, strict=True)]
    verdicts = await asyncio.gather(*made, return_exceptions=True)
    refused = [place for place, verdict in zip(places, verdicts, strict=True) if isinstance(verdict, Conflict)]
    assert len(refused) == 1
    assert refused[0] in (places[0], places[9])
    assert [verdict for verdict in verdicts if not isinstance(verdict, Conflict)] == [True] * 9
    assert list(await on.proxy.sites()) == sorted(set(places) - set(refused))


async def test_the_route_is_on_this_machine_and_asks_for_the_host(on: Rig) -> None:
    address = on.proxy.route(HOST)
    assert (address.host, address.host_header, address.tls) == ("127.0.0.1", HOST, False)
    assert isinstance(on.proxy, MemoryProxy) or address.port == on.http_port
