"""The memory twin of the image registry: the one that the memory machine fetches from."""

import hashlib
from collections.abc import Sequence
from datetime import datetime

from codeb.drivers.runtime.memory_machine import Behaviour, Machine
from codeb.errors import Conflict, NotFound, Unavailable
from codeb.model import grammar
from codeb.model.images import Blob, Manifest


class MemoryImageRegistry:
    """`ImageRegistry` on what `Machine` keeps as pushed. Several may look at one machine."""

    def __init__(self, machine: Machine, address: str) -> None:
        self._machine = machine
        self._address = address

    # what somebody does to it

    def push(self, tag: str, built: datetime | None = None, *, index: tuple[str, ...] = (), size: int = 1000) -> str:
        """Push `{repository}:{tag}`: an image, or an index of digests that are there already. Gives the digest."""
        repository, _, name = tag.partition(":")
        machine = self._machine
        image = machine.add_image(f"{self._address}/{tag}", Behaviour(), pushed=True)
        digest = image.digest
        if index:
            digest = _digest(f"index {sorted(index)}")
            manifest = Manifest(digest, 100, "index", (), index, ("linux/amd64",))
        else:
            layers = (Blob(_digest(f"layer {tag}"), size), Blob(_digest("layer that all share"), 500))
            manifest = Manifest(digest, 10, "image", layers, (), ("linux/amd64",), built)
        machine.pushed.setdefault(repository, ({}, {}))[1][digest] = manifest
        self.tag(repository, name, digest)
        return digest

    def tag(self, repository: str, tag: str, digest: str) -> None:
        """Point one more tag at a manifest that is there."""
        tags, manifests = self._machine.pushed[repository]
        assert digest in manifests
        tags[tag] = digest
        fetched = self._machine.registry
        image = next((each for each in fetched.values() if each.digest == digest), None)
        if image is not None:
            for reference in (f"{self._address}/{repository}:{tag}", f"{self._address}/{repository}@{digest}"):
                fetched[reference] = image

    def untag(self, repository: str, tag: str) -> None:
        """As when the tag is pushed anew as something else, and that tag then goes too."""
        del self._machine.pushed[repository][0][tag]

    # the contract

    async def _awake(self) -> None:
        await self._machine.awake()
        if self._machine.registry_down:
            raise Unavailable(
                f"The image registry {self._address} does not answer: it is switched off.", code="image_registry_unavailable",
                hint="Check that it runs and that this server reaches it, then try again.",
            )  # fmt: skip

    async def repositories(self) -> Sequence[str]:
        await self._awake()
        if self._machine.secretive:
            raise NotFound(f"{self._address} does not tell which repositories it has.", code="catalog_not_offered")
        return sorted(self._machine.pushed)

    async def tags(self, repository: str) -> Sequence[str]:
        await self._awake()
        return sorted(self._machine.pushed.get(repository, ({}, {}))[0])

    async def digest(self, repository: str, tag: str) -> str | None:
        await self._awake()
        return self._machine.pushed.get(repository, ({}, {}))[0].get(tag)

    async def look(self, repository: str, digest: str) -> Manifest | None:
        await self._awake()
        return self._machine.pushed.get(repository, ({}, {}))[1].get(digest)

    async def may_erase(self, repository: str) -> None:
        await self._awake()
        if self._machine.erases_nothing:
            raise Conflict(f"{self._address} deletes nothing: that is switched off there.", code="deletion_disabled")

    async def erase(self, repository: str, digest: str) -> None:
        await self.may_erase(repository)
        tags, manifests = self._machine.pushed.get(repository, ({}, {}))
        if digest not in manifests:
            return

        def change() -> None:
            del manifests[digest]
            gone = [tag for tag, each in tags.items() if each == digest]
            for tag in gone:
                del tags[tag]
            for name in (*(f":{tag}" for tag in gone), f"@{digest}"):
                self._machine.registry.pop(f"{self._address}/{repository}{name}", None)

        await self._machine.act(f"erase {repository}@{digest[7:15]}", change)


def _digest(text: str) -> str:
    return grammar.image_digest("sha256:" + hashlib.sha256(text.encode()).hexdigest())
