"""Caddy as a process of its own: started, adopted, killed, and what is on disk meanwhile."""

import asyncio
import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from codeb.drivers.proxy import process
from codeb.drivers.proxy.caddy import CaddyProxy
from codeb.errors import Conflict, Unavailable
from codeb.model.names import Place, Slot
from codeb.model.specs import Live
from tests.contracts.backends import Client, ask
from tests.contracts.proxies import CADDIES, HOST, SHOP, Rig, rig

pytestmark = [pytest.mark.anyio, pytest.mark.proxy]
BLUE, GREEN = Slot.BLUE, Slot.GREEN
BLOG = Place("blog", "production")
STARTER = """
import asyncio, sys, time
from pathlib import Path
from codeb.drivers.proxy.caddy import CaddyProxy
from codeb.drivers.proxy.caddyfile import CaddySettings
folder, program, http, https = sys.argv[1:]
settings = CaddySettings(Path(folder), Path(program), int(http), int(https), "off", ("127.0.0.1",))
asyncio.run(CaddyProxy(settings).start())
print("started", flush=True)
time.sleep(60)
"""


@pytest.fixture(params=CADDIES)
async def on(request: pytest.FixtureRequest) -> AsyncIterator[Rig]:
    async with rig(request.param) as made:
        await made.proxy.put_site(made.site)
        await made.proxy.set_live(SHOP, GREEN)
        yield made


def caddy(on: Rig) -> CaddyProxy:
    assert isinstance(on.proxy, CaddyProxy)
    return on.proxy


def pid(on: Rig) -> int:
    assert on.settings is not None
    found = process.find(on.settings.admin)
    assert found is not None
    return found


async def second(on: Rig) -> CaddyProxy:
    """CodeB after a restart."""
    assert on.settings is not None
    proxy = CaddyProxy(on.settings)
    await proxy.start()
    return proxy


async def test_a_restart_of_the_proxy_keeps_every_state(on: Rig) -> None:
    await on.proxy.put_site(on.other_site(BLOG, "blog.localhost"))
    await on.proxy.set_fallback(SHOP, True)
    first = pid(on)
    os.kill(first, signal.SIGKILL)
    while process.alive(first):
        await asyncio.sleep(0.01)
    assert await on.proxy.live(SHOP) == Live(GREEN, fallback=True)
    with pytest.raises(Unavailable):
        await on.proxy.put_site(on.other_site(BLOG, "other.localhost"))
    assert (await caddy(on).check()).status == "fail"
    again = await second(on)
    assert pid(on) != first
    assert await on.answering() is GREEN
    assert (await ask(on.http_port, "blog.localhost")).status == 503
    assert await again.put_site(on.site) is False
    await again.close()


async def test_codeb_restarted_adopts_the_running_proxy_and_knows_what_is_loaded(on: Rig) -> None:
    first = pid(on)
    again = await second(on)
    assert pid(on) == first
    assert (on.settings.dir / "caddy.pid").read_text() == f"{first}\n"  # type: ignore[union-attr]
    assert await again.put_site(on.site) is False
    assert await again.put_site(on.other_site(SHOP, "other.localhost")) is True
    await again.close()


async def test_a_crash_between_disk_and_load_is_mended_at_the_next_start(on: Rig) -> None:
    assert on.settings is not None
    file = on.settings.sites / "shop-production.caddy"
    file.write_text(file.read_text().replace(HOST, "other.localhost"))
    assert await on.answering(HOST) is GREEN
    again = await second(on)
    assert await on.answering("other.localhost") is GREEN
    assert await again.put_site(on.site) is True
    assert await on.answering(HOST) is GREEN
    await again.close()


async def test_a_file_broken_by_hand_stops_nothing_that_runs_and_is_told(on: Rig) -> None:
    assert on.settings is not None
    (on.settings.sites / "shop-production.caddy").write_text("shop.localhost {\n\tnonsense\n}\n")
    again = await second(on)
    assert await on.answering() is GREEN
    finding = await again.check()
    assert finding.status == "warn"
    assert "nonsense" in finding.fix
    assert await again.put_site(on.site) is True
    assert "refused" not in (await again.check()).text
    await again.close()


async def test_killing_codeb_does_not_touch_the_proxy(tmp_path: Path) -> None:
    for kind in CADDIES:
        async with rig(kind) as made:
            assert made.settings is not None
            await made.proxy.put_site(made.site)
            await made.proxy.set_live(SHOP, BLUE)
            await caddy(made).stop()
            settings = made.settings
            arguments = [settings.dir, settings.binary, settings.http_port, settings.https_port]
            command = [sys.executable, "-c", STARTER, *map(str, arguments)]
            with subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True) as parent:
                assert parent.stdout is not None
                assert await asyncio.to_thread(parent.stdout.readline) == b"started\n"
                os.killpg(parent.pid, signal.SIGKILL)
            assert await made.answering() is BLUE
            assert os.getsid(pid(made)) == pid(made)


async def test_what_cannot_start_says_why(on: Rig, tmp_path: Path) -> None:
    assert on.settings is not None
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        blocked = CaddyProxy(replace(on.settings, dir=tmp_path / "c", http_port=taken.getsockname()[1]))
        with pytest.raises(Unavailable) as failed:
            await blocked.start()
    assert any("address already in use" in line for line in failed.value.details["log"]), failed.value.details
    assert process.find(tmp_path / "c" / "admin.sock") is None
    await blocked.close()
    long, missing = (
        replace(on.settings, dir=tmp_path / ("x" * 100)),
        replace(on.settings, dir=tmp_path / "m", binary=tmp_path / "no"),
    )
    for settings, words in ((long, "longer than 107 bytes"), (missing, "cannot be started")):
        broken = CaddyProxy(settings)
        with pytest.raises(Unavailable, match=words):
            await broken.start()
        await broken.close()


async def test_stop_ends_it_and_may_be_repeated(on: Rig) -> None:
    first = pid(on)
    await caddy(on).stop()
    await caddy(on).stop()
    assert not process.alive(first)


async def test_the_admin_socket_and_the_sites_are_for_their_owner_alone(on: Rig) -> None:
    assert on.settings is not None
    assert stat.S_ISSOCK(on.settings.admin.stat().st_mode)
    assert on.settings.admin.stat().st_mode & 0o022 == 0
    assert (on.settings.sites / "shop-production.caddy").stat().st_mode & 0o777 == 0o600, "the probe key is in it"
    listening = {line.split()[3] for line in Path("/proc/net/tcp").read_text().splitlines() if line.split()[1].endswith(":07E3")}
    assert "0A" not in listening, "something listens on port 2019, the default of the admin API"


async def test_the_health_line_names_the_version_and_what_is_wrong_with_it(on: Rig) -> None:
    assert on.settings is not None
    finding = await caddy(on).check()
    assert finding.name == "proxy"
    if on.settings.binary == Path("/usr/bin/caddy"):
        assert finding.status == "warn"
        assert "2.6" in finding.text
        assert "WebSockets" in finding.text
        assert "2.7" in finding.fix
    else:
        assert finding.status == "pass"
        assert "2.11" in finding.text


async def test_changes_that_come_together_are_one_reload(on: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    loads = 0
    load = caddy(on)._admin.load

    async def counted(text: bytes) -> None:
        nonlocal loads
        loads += 1
        await load(text)

    monkeypatch.setattr(caddy(on)._admin, "load", counted)
    places = [Place(f"p{number}", "production") for number in range(12)]
    await asyncio.gather(*(on.proxy.put_site(on.other_site(place, f"{place.project}.localhost")) for place in places))
    assert loads <= 2
    await asyncio.gather(*(on.proxy.remove_site(place) for place in places))
    assert loads <= 4
    assert list(await on.proxy.sites()) == [SHOP]


async def test_hold_is_there_before_the_site_is_loaded_and_before_it_goes(on: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    assert on.settings is not None
    held: list[bool] = []
    load = caddy(on)._admin.load

    async def seen(text: bytes) -> None:
        held.append((on.settings.slots / "blog-production" / "hold").exists())  # type: ignore[union-attr]
        await load(text)

    monkeypatch.setattr(caddy(on)._admin, "load", seen)
    await on.proxy.put_site(on.other_site(BLOG, "blog.localhost"))
    await on.proxy.set_live(BLOG, GREEN)
    await on.proxy.remove_site(BLOG)
    assert held == [True, True]
    assert [path.name for path in on.settings.slots.iterdir()] == ["shop-production"]
    assert not list(on.settings.sites.glob("blog*"))


@pytest.mark.parametrize("fault", [Unavailable("x"), Conflict("x"), asyncio.CancelledError()])
async def test_a_change_that_fails_leaves_file_and_switch(on: Rig, monkeypatch: pytest.MonkeyPatch, fault: BaseException) -> None:
    assert on.settings is not None
    file = on.settings.sites / "shop-production.caddy"
    before = file.read_bytes()
    with monkeypatch.context() as patched:

        async def broken(text: bytes) -> None:
            raise fault

        patched.setattr(caddy(on)._admin, "load", broken)
        for change in (on.proxy.remove_site(SHOP), on.proxy.put_site(on.other_site(SHOP, "other.localhost"))):
            with pytest.raises(type(fault)):
                await change
            assert file.read_bytes() == before
            assert await on.proxy.live(SHOP) == Live(GREEN)
    assert await on.answering() is GREEN
    await on.proxy.put_site(on.site)
    assert await on.proxy.put_site(on.site) is False
    assert await on.proxy.put_site(on.other_site(SHOP, "other.localhost")) is True
    assert (on.settings.sites / "shop-production.caddy.bak").read_bytes() == before


async def test_a_crash_in_the_middle_of_a_change_leaves_what_caddy_can_start_on(on: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is tidied after a `kill -9`: what is on disk while Caddy is asked is what a restart finds."""
    assert on.settings is not None
    seen: list[dict[str, bytes]] = []

    async def looks(text: bytes) -> None:
        seen.append({path.name: path.read_bytes() for path in on.settings.sites.glob("*.caddy")})  # type: ignore[union-attr]
        raise Conflict("x")

    before = {path.name: path.read_bytes() for path in on.settings.sites.glob("*.caddy")}
    monkeypatch.setattr(caddy(on)._admin, "load", looks)
    for change in (on.proxy.put_site(on.other_site(BLOG, HOST)), on.proxy.remove_site(SHOP)):
        with pytest.raises(Conflict):
            await change
    assert seen == [before, before]
    assert {path.name for path in on.settings.sites.iterdir()} == set(before)


async def test_what_a_killed_codeb_left_half_done_is_tidied_at_start(on: Rig) -> None:
    assert on.settings is not None
    left = [
        on.settings.dir / ".Caddyfile.x.tmp",
        on.settings.sites / ".blog-production.caddy.new",
        on.settings.slots / ".blog.x" / "hold",
    ]
    left[2].parent.mkdir()
    for file in left:
        file.write_bytes(b"half")
    again = await second(on)
    assert not any(file.exists() for file in left)
    assert not left[2].parent.exists()
    assert await on.answering() is GREEN
    await again.close()


async def test_two_codebs_change_sites_one_after_the_other(on: Rig) -> None:
    again = await second(on)
    places = [Place(f"p{number}", "production") for number in range(6)]
    each = zip(places, [on.proxy, again] * 3, strict=True)
    await asyncio.gather(*(proxy.put_site(on.other_site(place, f"{place.project}.localhost")) for place, proxy in each))
    for place in places:
        assert (await ask(on.http_port, f"{place.project}.localhost")).status == 503
    await again.close()


async def test_websockets_of_a_neighbour_survive_a_reload_from_2_7_on() -> None:
    async with rig("caddy-2.11") as made:
        await made.proxy.put_site(made.site)
        await made.proxy.set_live(SHOP, BLUE)
        async with Client(made.http_port, HOST) as client:
            await client.head("/ws", extra="Connection: Upgrade\r\nUpgrade: websocket\r\n")
            await made.proxy.put_site(made.other_site(BLOG, "blog.localhost"))
            await asyncio.sleep(0.3)
            client.writer.write(b"still\n")
            assert await client.reader.readline() == b"blue:still\n"


def test_the_embedded_binary_is_the_packages_own() -> None:
    found = process.embedded_binary()
    assert found is not None
    assert found.is_file()
    assert b"2.11" in subprocess.run([str(found), "version"], capture_output=True, check=True).stdout
