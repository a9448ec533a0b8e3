"""P15: what somebody else did to the proxy is seen and put right, one suite for every proxy."""

import asyncio
import os
import shutil
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from codeb.drivers.proxy import process
from codeb.drivers.proxy.admin import Admin
from codeb.drivers.proxy.caddy import CaddyProxy
from codeb.drivers.proxy.memory import MemoryProxy
from codeb.drivers.sockets.listening import listening_ports
from codeb.model.drift import Configured
from codeb.model.names import Place, Slot
from codeb.model.specs import Live
from tests.contracts.proxies import CADDIES, SHOP, Rig, rig

pytestmark = pytest.mark.anyio
BLUE, GREEN = Slot.BLUE, Slot.GREEN
KINDS = ["memory", *(pytest.param(each, marks=pytest.mark.proxy) for each in CADDIES)]
WELL = Configured(True, True)


@pytest.fixture(params=KINDS)
async def on(request: pytest.FixtureRequest) -> AsyncIterator[Rig]:
    async with rig(request.param) as made:
        await made.proxy.put_site(made.site)
        await made.proxy.set_live(SHOP, GREEN)
        yield made


async def kill(on: Rig) -> None:
    if isinstance(on.proxy, MemoryProxy):
        on.proxy.dead = True
        return
    assert on.settings
    pid = process.find(on.settings.admin)
    assert pid
    os.kill(pid, signal.SIGKILL)
    # its first thread may be gone while another one still holds the sockets
    while Path(f"/proc/{pid}/task").is_dir() and len(list(Path(f"/proc/{pid}/task").iterdir())) > 1:
        await asyncio.sleep(0.02)
    while on.http_port in await listening_ports():
        await asyncio.sleep(0.02)


async def load_something_else(on: Rig) -> None:
    if isinstance(on.proxy, MemoryProxy):
        on.proxy.foreign = True
        return
    assert on.settings
    admin = Admin(on.settings.admin)
    head = on.settings.main.read_bytes().partition(b"import ")[0]
    await admin.load(head)
    await admin.close()


def lose(on: Rig) -> None:
    if isinstance(on.proxy, MemoryProxy):
        on.proxy.lost.add(SHOP)
    else:
        assert on.settings
        (on.settings.sites / f"{SHOP.key}.caddy").unlink()


def edit(on: Rig, text: str = "# by hand\n") -> None:
    if isinstance(on.proxy, MemoryProxy):
        on.proxy.edited.add(SHOP)
    else:
        assert on.settings
        with (on.settings.sites / f"{SHOP.key}.caddy").open("a") as file:
            file.write(text)


async def test_a_proxy_as_it_should_be_is_told_as_such(on: Rig) -> None:
    assert await on.proxy.runs()
    assert await on.proxy.configured([on.site]) == WELL
    blog = on.other_site(Place("blog", "production"), "blog.localhost")
    assert (await on.proxy.configured([on.site, blog])).missing == {blog.place}
    assert (await on.proxy.configured([])).strange == (SHOP.key,)


async def test_a_dead_process_is_seen_and_started_with_what_was_live(on: Rig) -> None:
    await kill(on)
    assert not await on.proxy.runs()
    assert (await on.proxy.configured([on.site])).runs is False
    await on.proxy.start()
    await on.proxy.start()
    assert await on.proxy.configured([on.site]) == WELL
    assert await on.answering() is GREEN


async def test_another_configuration_is_seen_and_replaced(on: Rig) -> None:
    await load_something_else(on)
    assert await on.answering() is None
    assert (await on.proxy.configured([on.site])).loaded is False
    await on.proxy.start()
    assert await on.proxy.configured([on.site]) == WELL
    assert await on.answering() is GREEN


async def test_a_lost_site_file_is_written_again_without_a_request_lost(on: Rig) -> None:
    lose(on)
    assert (await on.proxy.configured([on.site])).missing == {SHOP}
    assert await on.answering() is GREEN
    assert await on.proxy.put_site(on.site)
    assert await on.proxy.configured([on.site]) == WELL
    assert await on.answering() is GREEN


async def test_an_edited_site_file_is_written_again(on: Rig) -> None:
    edit(on)
    found = await on.proxy.configured([on.site])
    assert (found.edited, found.missing) == ({SHOP}, frozenset())
    assert await on.proxy.put_site(on.site)
    assert await on.proxy.configured([on.site]) == WELL


async def test_what_a_dead_proxy_could_not_be_started_on_is_prepared(on: Rig) -> None:
    """A site file that is no configuration, and nobody who could load another."""
    edit(on, "}} not a configuration {{\n")
    await kill(on)
    await on.proxy.prepare(on.site, Live(GREEN))
    await on.proxy.start()
    assert await on.proxy.configured([on.site]) == WELL
    assert await on.answering() is GREEN


async def test_a_deleted_switch_appears_as_it_should_be_and_one_that_is_there_is_left(on: Rig) -> None:
    await on.proxy.prepare(on.site, Live(BLUE, True))
    assert await on.proxy.live(SHOP) == Live(GREEN)
    if isinstance(on.proxy, CaddyProxy):
        assert on.settings
        shutil.rmtree(on.settings.slots / SHOP.key)
    else:
        del on.proxy.switch[SHOP]
    await on.proxy.prepare(on.site, Live(GREEN, True))
    assert await on.proxy.live(SHOP) == Live(GREEN, True)
    assert await on.answering() is GREEN
