"""Where images come from, on a real Docker with a stand-in image registry."""

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator
from typing import Any

import pytest

from codeb.drivers.images import docker as images_module
from codeb.drivers.images.docker import DockerImages
from codeb.drivers.runtime.docker_client import DockerClient, Refused, unreachable
from codeb.errors import NotFound, Unavailable
from tests.image_registry import StandIn

pytestmark = [pytest.mark.anyio, pytest.mark.docker]


@pytest.fixture
async def registry() -> AsyncIterator[StandIn]:
    async with StandIn(f"codebtest/shop-{secrets.token_hex(3)}", "1", secrets.token_hex(8)).serving() as stand_in:
        yield stand_in


@pytest.fixture
async def images(registry: StandIn) -> AsyncIterator[DockerImages]:
    client = DockerClient()
    yield DockerImages(client)
    await forget(client, registry.image_id)
    await client.close()


async def forget(client: DockerClient, name: str) -> None:
    with contextlib.suppress(Refused):
        await client.call("DELETE", f"images/{name}", params={"force": "1"})


def reference(registry: StandIn, tag: str = "1") -> str:
    return f"{registry.host}/{registry.repository}:{tag}"


async def test_a_fetched_image_has_the_registrys_digest(images: DockerImages, registry: StandIn) -> None:
    image = await images.resolve(reference(registry))
    assert (image.id, image.digest, image.warning) == (registry.image_id, registry.digest, "")
    assert image.has_healthcheck


async def test_the_registry_is_asked_each_time_unless_the_digest_pins_it(images: DockerImages, registry: StandIn) -> None:
    await images.resolve(reference(registry))
    registry.asked.clear()
    await images.resolve(reference(registry))
    assert any("/manifests/1" in path for path in registry.asked)
    registry.asked.clear()
    pinned = await images.resolve(f"{reference(registry)}@{registry.digest}")
    assert (pinned.id, pinned.digest) == (registry.image_id, registry.digest)
    assert registry.asked == []


async def test_a_digest_that_is_not_here_is_fetched(images: DockerImages, registry: StandIn) -> None:
    pinned = await images.resolve(f"{reference(registry)}@{registry.digest}")
    assert (pinned.id, pinned.digest) == (registry.image_id, registry.digest)


async def test_what_the_registry_does_not_have_is_not_found(images: DockerImages, registry: StandIn) -> None:
    with pytest.raises(NotFound) as absent:
        await images.resolve(reference(registry, "2"))
    assert absent.value.code == "image_not_found"
    assert absent.value.hint


async def test_with_the_registry_gone_the_copy_here_is_used_and_said(images: DockerImages, registry: StandIn) -> None:
    await images.resolve(reference(registry))
    wanted = reference(registry)
    registry.repository, kept = "moved/away", registry.repository
    image = await images.resolve(wanted)
    registry.repository = kept
    assert (image.id, image.digest) == (registry.image_id, registry.digest)
    assert image.warning == f"The copy on this server is used: {wanted.partition('/')[0]} did not give it out."


async def test_nobody_there_and_no_copy_is_unavailable(images: DockerImages) -> None:
    with pytest.raises(Unavailable) as away:
        await images.resolve("127.0.0.1:1/codebtest/nothing:1")
    assert away.value.code == "image_registry_unavailable"


async def test_a_mute_registry_is_given_up_after_the_silence(
    images: DockerImages, registry: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(images_module, "SILENCE_SECONDS", 0.5)
    registry.mute = True
    async with asyncio.timeout(5):
        with pytest.raises(Unavailable) as away:
            await images.resolve(reference(registry))
    assert away.value.code == "image_registry_unavailable"


async def test_a_fetch_can_be_cancelled(images: DockerImages, registry: StandIn) -> None:
    registry.mute = True
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.5):
            await images.resolve(reference(registry))


class NobodyThere(DockerClient):
    """An engine without images that reaches no image registry; remembers how long it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.given: list[float | None] = []

    async def call(self, method: str, path: str, **rest: Any) -> Any:
        raise Refused(404, f"No such image: {path}")

    @contextlib.asynccontextmanager
    async def stream(self, method: str, path: str, *, allowed: Any, **rest: Any) -> AsyncIterator[Any]:
        self.given.append(allowed.total)
        raise unreachable("no answer in time")
        yield


async def test_a_name_without_registry_that_is_not_here_is_asked_for_within_bounds() -> None:
    client = NobodyThere()
    with pytest.raises(Unavailable) as away:
        await DockerImages(client).resolve("codebtest-nothing:1")
    assert away.value.code == "image_registry_unavailable"
    assert client.given == [images_module.UNNAMED_SECONDS]
    assert images_module.UNNAMED_SECONDS == 120
