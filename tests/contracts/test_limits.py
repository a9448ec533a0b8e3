"""P3: every call to Docker, Caddy and an image registry ends within its limit, however the other side hangs."""

import asyncio
import contextlib
import json
import os
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from codeb.drivers.images import docker as images_module
from codeb.drivers.images.docker import DockerImages
from codeb.drivers.proxy import admin as admin_module
from codeb.drivers.proxy import process
from codeb.drivers.proxy.admin import Admin
from codeb.drivers.proxy.caddy import CaddyProxy
from codeb.drivers.runtime import docker_client, sight
from codeb.drivers.runtime.docker import DockerRuntime
from codeb.drivers.runtime.docker_client import DockerClient
from codeb.drivers.runtime.docker_logs import DockerLogs
from codeb.drivers.runtime.sight import CachedSight
from codeb.drivers.world import SystemWorld
from codeb.errors import Unavailable
from codeb.model.names import Slot
from tests.contracts.proxies import SHOP, Rig, rig
from tests.docker_door import DockerDoor

pytestmark = [pytest.mark.anyio]

LIMIT = 0.5
LEAVE = 3.0
"""beyond a limit, for a machine that does other things"""

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@contextlib.contextmanager
def ends_within(seconds: float) -> Any:
    began = time.monotonic()
    yield
    assert time.monotonic() - began < seconds + LEAVE


@pytest.fixture
def door(tmp_path: Path) -> Any:
    made = DockerDoor(tmp_path / "docker.sock")
    yield made
    made.close()


@pytest.fixture
async def client(door: DockerDoor, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[DockerClient]:
    monkeypatch.setattr(docker_client, "CALL_SECONDS", LIMIT)
    made = DockerClient(door.url)
    yield made
    await made.close()


# --- Docker ------------------------------------------------------------------------------------------------------


@pytest.mark.docker
@pytest.mark.parametrize("way", ["silent", "drip", "deaf", "shut"])
@pytest.mark.parametrize("known", [False, True])
async def test_a_call_to_an_engine_that_went_away_ends(client: DockerClient, door: DockerDoor, way: str, known: bool) -> None:
    if known:
        await client.version()
    door.set(way)
    with ends_within(2 * LIMIT), pytest.raises(Unavailable) as gone:
        await client.call("GET", "containers/json", seconds=LIMIT)
    assert gone.value.code == "docker_unavailable"
    door.set("open")
    assert isinstance(await client.call("GET", "containers/json"), list)


@pytest.mark.docker
async def test_many_who_ask_an_engine_that_never_answered_wait_together(client: DockerClient, door: DockerDoor) -> None:
    door.set("silent")
    with ends_within(LIMIT):
        found = await asyncio.gather(*(client.call("GET", "containers/json") for _ in range(16)), return_exceptions=True)
    assert {type(each) for each in found} == {Unavailable}
    assert len(door.asked) == 1, "one negotiation for all of them"
    door.set("open")
    assert (await client.version())["ApiVersion"]


@pytest.mark.docker
async def test_closing_while_it_opens_is_told_to_who_waits_and_cancels_nobody(client: DockerClient, door: DockerDoor) -> None:
    door.set("silent")
    waiting = asyncio.create_task(client.call("GET", "containers/json"))
    await asyncio.sleep(0.1)
    await client.close()
    with pytest.raises(Unavailable):
        await waiting
    door.set("open")
    assert await client.version()


@pytest.mark.docker
async def test_who_stops_waiting_leaves_the_others_their_answer(client: DockerClient, door: DockerDoor) -> None:
    first, second = (asyncio.create_task(client.version()) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    assert (await second)["ApiVersion"]
    with pytest.raises(asyncio.CancelledError):
        await first


@pytest.mark.docker
async def test_logs_checks_and_looks_end_too(client: DockerClient, door: DockerDoor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sight, "LOOK_SECONDS", LIMIT)
    runtime = DockerRuntime(client, "codebtest")
    await client.version()
    door.set("silent")
    with ends_within(LIMIT):
        assert (await runtime.check()).status == "fail"
    with ends_within(LIMIT):
        assert "within 0.5 s" in (await CachedSight(runtime, SystemWorld()).look()).fault
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(LIMIT):
            await DockerLogs(client, "codebtest").tail("nothing", 10)


# --- image registries --------------------------------------------------------------------------------------------


class Puller(DockerClient):
    """An engine without images whose fetch reports these lines, one every tenth of a second."""

    def __init__(self, lines: list[dict[str, Any]]) -> None:
        super().__init__()
        self._lines = lines

    async def call(self, method: str, path: str, **rest: Any) -> Any:
        if self._lines[-1].get("status") == "done":
            return {"Id": "sha256:1"}
        raise docker_client.Refused(404, "No such image")

    @contextlib.asynccontextmanager
    async def stream(self, method: str, path: str, **rest: Any) -> AsyncIterator[Any]:
        class Response:
            content = self._say()

        yield Response

    async def _say(self) -> AsyncIterator[bytes]:
        for line in self._lines:
            await asyncio.sleep(0.1)
            yield json.dumps(line).encode()


def layer(current: int) -> dict[str, Any]:
    return {"status": "Downloading", "id": "a", "progressDetail": {"current": current, "total": 100}}


async def test_a_fetch_that_repeats_itself_is_given_up_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images_module, "SILENCE_SECONDS", LIMIT)
    with ends_within(LIMIT), pytest.raises(Unavailable) as stalled:
        await DockerImages(Puller([layer(5)] * 100)).resolve("reg.test:5000/shop:1")
    assert stalled.value.code == "image_registry_unavailable"
    assert stalled.value.message.startswith("reg.test:5000 sent nothing of reg.test:5000/shop:1 for 0.5 s.")


async def test_a_fetch_that_gets_on_slowly_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images_module, "SILENCE_SECONDS", LIMIT)
    lines = [*(layer(each) for each in range(15)), {"status": "done"}]
    image = await DockerImages(Puller(lines)).resolve("reg.test:5000/shop:1")
    assert (image.id, image.warning) == ("sha256:1", "")


# --- Caddy -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("drip", [b"", b"X-A: b\r\n"])
async def test_an_admin_socket_that_hangs_or_drips_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, drip: bytes
) -> None:
    monkeypatch.setattr(admin_module, "LOAD_SECONDS", LIMIT)
    monkeypatch.setattr(admin_module, "ANSWER_SECONDS", LIMIT)

    writers: list[asyncio.StreamWriter] = []

    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        writer.write(b"HTTP/1.1 200 OK\r\n" if drip else b"")
        while not writer.is_closing():
            writer.write(drip)
            await asyncio.sleep(0.1)

    server = await asyncio.start_unix_server(serve, tmp_path / "admin.sock")
    admin = Admin(tmp_path / "admin.sock")
    with ends_within(LIMIT):
        assert not await admin.answers()
    with ends_within(LIMIT), pytest.raises(Unavailable):
        await admin.load(b"")
    await admin.close()
    server.close()
    for writer in writers:
        writer.transport.abort()
    await asyncio.sleep(0.2)


@pytest.fixture
async def on() -> AsyncIterator[Rig]:
    async with rig("caddy-2.11") as made:
        await made.proxy.put_site(made.site)
        await made.proxy.set_live(SHOP, Slot.GREEN)
        yield made


@pytest.mark.proxy
async def test_a_site_is_taken_away_from_a_caddy_that_does_not_run(on: Rig) -> None:
    """It waits for nobody, and the Caddy that is started afterwards does not serve it."""
    assert on.settings is not None
    pid = process.find(on.settings.admin)
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    # its other threads may hold the socket a moment longer than the first one lives
    while process.alive(pid) or process.find(on.settings.admin) is not None:
        await asyncio.sleep(0.01)
    with ends_within(0.5):
        await on.proxy.remove_site(SHOP)
    assert await on.proxy.sites() == []
    assert not (on.settings.slots / SHOP.key).exists()
    with pytest.raises(Unavailable):
        await on.proxy.put_site(on.site)
    assert await on.proxy.sites() == []
    again = CaddyProxy(on.settings)
    await again.start()
    assert await on.answering() is None
    assert await again.put_site(on.site) is True
    assert await on.answering() is None, "the switch of the site that was taken away is back"
    await again.close()


@pytest.mark.proxy
@pytest.mark.parametrize("blocked", [False, True])
async def test_a_site_of_a_caddy_that_only_hangs_stays_until_it_answers(
    on: Rig, monkeypatch: pytest.MonkeyPatch, blocked: bool
) -> None:
    """What it has loaded it will serve again: without the switch's folder, the default slot."""
    monkeypatch.setattr(admin_module, "LOAD_SECONDS", LIMIT)
    assert on.settings is not None
    pid = process.find(on.settings.admin)
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    socket_file = on.settings.admin
    try:
        if blocked:
            socket_file.rename(socket_file.with_suffix(".away"))
        assert not process.is_down(on.settings)
        with ends_within(LIMIT), pytest.raises(Unavailable):
            await on.proxy.remove_site(SHOP)
        assert await on.proxy.sites() == [SHOP]
        assert (on.settings.slots / SHOP.key).is_dir()
    finally:
        if blocked:
            socket_file.with_suffix(".away").rename(socket_file)
        os.kill(pid, signal.SIGCONT)
    # What it was told while it hung it may do now: the site is served as before or not at all, by no other slot ever.
    with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):  # the reload may reset or end one
        assert await on.answering() in (Slot.GREEN, None)
    await on.proxy.remove_site(SHOP)
    assert await on.proxy.sites() == []
