"""`ImageRegistry`, on Debian's docker-registry and in memory."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from codeb.contracts.image_registry import ImageRegistry
from codeb.drivers.images import registry as registry_module
from codeb.drivers.images.memory import MemoryImageRegistry
from codeb.drivers.images.registry import HttpImageRegistry
from codeb.drivers.runtime.memory_machine import Machine
from codeb.errors import Conflict, NotFound, Unavailable
from codeb.flows.image_needs import read
from codeb.model.secret import Secret
from tests.ports import free_block
from tests.real_registry import RealRegistry, serving

pytestmark = pytest.mark.anyio
BUILT = datetime(2026, 3, 1, 12, tzinfo=UTC)
NOTHING = "sha256:" + "1" * 64


class Rig:
    """An image registry and somebody who pushes to it."""

    def __init__(self, registry: ImageRegistry, real: RealRegistry | None, memory: MemoryImageRegistry | None) -> None:
        self.registry, self.real, self.memory = registry, real, memory

    def image(self, name: str, built: datetime | None = BUILT, docker: bool = False) -> str:
        if self.real:
            return self.real.image(name, built, docker=docker)
        assert self.memory
        return self.memory.push(name, built)

    def index(self, name: str, digests: list[str], docker: bool = False) -> str:
        if self.real:
            return self.real.index(name, digests, docker=docker)
        assert self.memory
        return self.memory.push(name, index=tuple(digests))

    def tag(self, repository: str, tag: str, digest: str) -> None:
        (self.real or self.memory).tag(repository, tag, digest)  # type: ignore[union-attr]  # one of them is there


@pytest.fixture(scope="module")
def server() -> Iterator[RealRegistry]:
    with serving(free_block(1)) as found:
        yield found


@pytest.fixture(params=["memory", pytest.param("real", marks=pytest.mark.images)])
async def rig(request: pytest.FixtureRequest) -> AsyncIterator[Rig]:
    if request.param == "memory":
        memory = MemoryImageRegistry(Machine(), "reg.test:5000")
        yield Rig(memory, None, memory)
        return
    real: RealRegistry = request.getfixturevalue("server")
    driver = HttpImageRegistry(real.address, *real.sign_in)
    try:
        yield Rig(driver, real, None)
    finally:
        await driver.close()


NUMBERS = iter(range(10_000))


@pytest.fixture
def name() -> str:
    """A repository of the test's own: a registry forgets the names of none."""
    return f"codebtest-{next(NUMBERS)}"


async def test_what_is_pushed_is_there(rig: Rig, name: str) -> None:
    digest = rig.image(f"{name}:1.4.2")
    rig.image(f"{name}/web:1")
    assert {name, f"{name}/web"} <= set(await rig.registry.repositories())
    assert await rig.registry.tags(name) == ["1.4.2"]
    assert await rig.registry.digest(name, "1.4.2") == digest
    found = await rig.registry.look(name, digest)
    assert found is not None
    assert (found.digest, found.kind, found.created_at, found.platforms) == (digest, "image", BUILT, ("linux/amd64",))
    assert 1000 in [blob.size for blob in found.blobs]


async def test_what_is_not_there_is_nothing(rig: Rig, name: str) -> None:
    assert await rig.registry.tags(name) == []
    assert await rig.registry.digest(name, "1") is None
    assert await rig.registry.look(name, NOTHING) is None
    rig.image(f"{name}:1")
    assert await rig.registry.digest(name, "2") is None
    assert await rig.registry.look(name, NOTHING) is None
    await rig.registry.erase(name, NOTHING)
    await rig.registry.may_erase(name)
    assert await rig.registry.tags(name) == ["1"]


@pytest.mark.parametrize("docker", [False, True])
async def test_a_list_of_platforms_has_its_parts(rig: Rig, name: str, docker: bool) -> None:
    parts = [rig.image(f"{name}:{each}", docker=docker) for each in ("amd", "arm")]
    listed = rig.index(f"{name}:multi", parts, docker)
    found = await rig.registry.look(name, listed)
    assert found is not None
    assert (found.kind, found.children) == ("index", tuple(parts))
    holding = await read(rig.registry, name)
    assert set(holding.below(listed)) == {listed, *parts}
    assert holding.created(listed) == BUILT
    assert holding.weight(listed) > 2000


async def test_an_image_of_dockers_own_kind_is_one_too(rig: Rig, name: str) -> None:
    found = await rig.registry.look(name, rig.image(f"{name}:1", docker=True))
    assert found is not None
    assert (found.kind, found.created_at) == ("image", BUILT)


async def test_an_image_without_a_date_says_none(rig: Rig, name: str) -> None:
    found = await rig.registry.look(name, rig.image(f"{name}:1", None))
    assert found is not None
    assert found.created_at is None


async def test_a_digest_goes_with_all_of_its_tags_and_nothing_else(rig: Rig, name: str) -> None:
    """A registry deletes no single tag: this is why nothing is deleted by one."""
    one, other = rig.image(f"{name}:1"), rig.image(f"{name}:2")
    rig.tag(name, "stable", one)
    await rig.registry.erase(name, one)
    assert await rig.registry.tags(name) == ["2"]
    assert await rig.registry.look(name, one) is None
    assert await rig.registry.look(name, other) is not None
    await rig.registry.erase(name, one)


async def test_what_a_list_leaves_behind_stays_until_it_is_deleted_itself(rig: Rig, name: str) -> None:
    part = rig.image(f"{name}:part")
    listed = rig.index(f"{name}:multi", [part])
    await rig.registry.erase(name, listed)
    assert await rig.registry.look(name, part) is not None


async def test_a_repository_may_be_empty(rig: Rig, name: str) -> None:
    await rig.registry.erase(name, rig.image(f"{name}:1"))
    assert name in await rig.registry.repositories()
    assert await rig.registry.tags(name) == []


# the real one alone

real = pytest.mark.images


@real
async def test_lists_come_in_pages(server: RealRegistry, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry_module, "PAGE", 3)
    made = [f"{name}/p{number}" for number in range(8)]
    for each in made:
        server.image(f"{each}:1", BUILT)
    driver = HttpImageRegistry(server.address, *server.sign_in)
    assert [each for each in await driver.repositories() if each.startswith(f"{name}/")] == made
    below = HttpImageRegistry(f"{server.address}/{name}", *server.sign_in)
    assert await below.repositories() == [f"p{number}" for number in range(8)]
    assert await below.tags("p3") == ["1"]
    await driver.close()
    await below.close()


@real
async def test_without_the_password_it_says_what_is_missing(server: RealRegistry, name: str) -> None:
    server.image(f"{name}:1", BUILT)
    for sign_in in ((), ("codebtest", Secret("wrong-canary"))):
        driver = HttpImageRegistry(server.address, *sign_in)
        with pytest.raises(Unavailable) as denied:
            await driver.digest(name, "1")
        assert denied.value.code == "image_registry_denied"
        assert "CODEB_IMAGE_REGISTRY_PASSWORD" in denied.value.hint
        assert "wrong-canary" not in str(vars(denied.value))
        with pytest.raises(NotFound) as silent:
            await driver.repositories()
        assert silent.value.code == "catalog_not_offered"
        await driver.close()


@real
async def test_where_deletion_is_switched_off_nothing_goes_and_that_is_known_before() -> None:
    with serving(free_block(1), erases=False) as registry:
        digest = registry.image("codebtest:1", BUILT)
        driver = HttpImageRegistry(registry.address, *registry.sign_in)
        for asked in (driver.may_erase("codebtest"), driver.erase("codebtest", digest)):
            with pytest.raises(Conflict) as refused:
                await asked
            assert refused.value.code == "deletion_disabled"
        assert await driver.tags("codebtest") == ["1"]
        await driver.close()


@real
async def test_its_own_clean_up_frees_what_was_deleted_and_keeps_what_is_part_of_a_list() -> None:
    """Why the answer says: without --delete-untagged."""
    with serving(free_block(1)) as registry:
        gone = registry.image("codebtest:gone", BUILT, size=100_000)
        parts = [registry.image(f"codebtest:{each}", BUILT) for each in ("amd", "arm")]
        listed = registry.index("codebtest:multi", parts)
        for each in ("amd", "arm"):
            # as buildx pushes it: the parts have no tags of their own
            folder = registry.folder / f"data/docker/registry/v2/repositories/codebtest/_manifests/tags/{each}"
            for path in sorted(folder.rglob("*"), reverse=True):
                path.unlink() if path.is_file() else path.rmdir()
            folder.rmdir()
        driver = HttpImageRegistry(registry.address, *registry.sign_in)
        await driver.erase("codebtest", gone)
        before = registry.stored()
        assert before > 100_000
        registry.collect()
        assert registry.stored() < before - 100_000
        assert set((await read(driver, "codebtest")).manifests) == {listed, *parts}
        registry.collect("--delete-untagged")
        assert set((await read(driver, "codebtest")).manifests) == {listed}, "the danger is there"
        await driver.close()


# what is no registry


class Liar:
    """Answers every request with the same bytes."""

    def __init__(self, head: str, body: bytes, endless: bool = False) -> None:
        self.head, self.body, self.endless, self.asked = head, body, endless, 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                await reader.readuntil(b"\r\n\r\n")
                self.asked += 1
                writer.write(f"HTTP/1.1 {self.head}\r\nContent-Length: {len(self.body)}\r\n\r\n".encode() + self.body)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()


LIES: dict[str, tuple[str, bytes]] = {
    "an error": ("500 Internal Server Error", b"no"), "no JSON": ("200 OK", b"<html>"), "a list": ("200 OK", b"[]"),
    "a page without end": ('200 OK\r\nLink: </v2/_catalog?last=a&n=1>; rel="next"', b'{"repositories": ["a"], "tags": ["a"]}'),
    "too much": ("200 OK", b" " * (registry_module.MOST_BYTES + 1)), "a redirection": ("302 Found\r\nLocation: /x", b""),
}  # fmt: skip


@pytest.mark.parametrize("lie", LIES)
async def test_nonsense_is_unavailable_and_never_an_endless_loop(lie: str) -> None:
    liar = Liar(*LIES[lie])
    server = await asyncio.start_server(liar.serve, "127.0.0.1", 0)
    driver = HttpImageRegistry(f"127.0.0.1:{server.sockets[0].getsockname()[1]}")
    asked: list[Any] = [driver.look("shop", NOTHING)]
    asked += [] if lie == "a page without end" else [driver.repositories(), driver.tags("shop")]
    for each in asked:
        with pytest.raises(Unavailable) as refused:
            await each
        assert refused.value.code == "image_registry_unavailable"
    if lie == "a page without end":
        assert await driver.tags("shop") == ["a", "a"]
    assert liar.asked <= 4
    await driver.close()
    server.close()


async def test_names_that_are_none_are_passed_by() -> None:
    liar = Liar("200 OK", b'{"repositories": ["../x", "shop", "a b", 7], "tags": ["-x", "1", "a/b", null]}')
    server = await asyncio.start_server(liar.serve, "127.0.0.1", 0)
    driver = HttpImageRegistry(f"127.0.0.1:{server.sockets[0].getsockname()[1]}")
    assert await driver.repositories() == ["shop"]
    assert await driver.tags("shop") == ["1"]
    await driver.close()
    server.close()


async def test_nobody_there_is_unavailable() -> None:
    driver = HttpImageRegistry("127.0.0.1:1")
    with pytest.raises(Unavailable) as away:
        await driver.repositories()
    assert away.value.code == "image_registry_unavailable"
    await driver.close()


def test_plain_http_is_for_this_machine_only() -> None:
    for address, scheme in (("127.0.0.1:5000", "http"), ("localhost:5000/a", "http"), ("reg.example.com", "https"),
                            ("192.0.2.7:5000", "https"), ("127.example.com", "https")):  # fmt: skip
        assert HttpImageRegistry(address)._client.base_url.scheme == scheme, address
