"""What an image registry holds, who needs it, and what of it may go.

What is deleted is a manifest, by its digest, with every tag that points at it. One that somebody needs stays, and so does what
is part of a list of platforms (an index) that stays, and a list of which a part is needed.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from codeb.model import grammar


@dataclass(frozen=True)
class Blob:
    """A layer or a configuration; `size` in bytes."""

    digest: str
    size: int


@dataclass(frozen=True)
class Manifest:
    """What a digest stands for: an image, or an index of images."""

    digest: str
    size: int
    """bytes of the manifest itself"""
    kind: str
    """image, index, or other: something that is neither"""
    blobs: tuple[Blob, ...] = ()
    children: tuple[str, ...] = ()
    platforms: tuple[str, ...] = ()
    created_at: datetime | None = None
    """when it was built, as it says itself; None: it does not say"""


@dataclass(frozen=True)
class Holding:
    """One repository as it was read: every tag, and every manifest that a tag reaches."""

    repository: str
    tags: Mapping[str, str]
    manifests: Mapping[str, Manifest]

    def tags_of(self, digest: str) -> tuple[str, ...]:
        return tuple(sorted(tag for tag, each in self.tags.items() if each == digest))

    @property
    def roots(self) -> frozenset[str]:
        """The digests that have a tag."""
        return frozenset(self.tags.values())

    def below(self, digest: str) -> list[str]:
        """The digest and what it is made of, each once, a list before its parts."""
        found: dict[str, None] = {}
        waiting = [digest]
        while waiting:
            each = waiting.pop()
            if each in found:
                continue
            found[each] = None
            if (known := self.manifests.get(each)) is not None:
                waiting.extend(reversed(known.children))
        return list(found)

    def created(self, digest: str) -> datetime | None:
        """When the newest of its images was built."""
        said = [known.created_at for each in self.below(digest) if (known := self.manifests.get(each))]
        return max((at for at in said if at is not None), default=None)

    def blobs(self, digests: Iterable[str]) -> dict[str, int]:
        """Everything stored for them, each once: digest -> bytes."""
        found: dict[str, int] = {}
        for each in digests:
            if (known := self.manifests.get(each)) is not None:
                found[each] = known.size
                found.update((blob.digest, blob.size) for blob in known.blobs)
        return found

    def weight(self, digest: str) -> int:
        return sum(self.blobs(self.below(digest)).values())


@dataclass(frozen=True)
class Need:
    """Somebody needs an image: by its digest, wherever that is; by the tag of a repository; or, while it is fetched by a tag and
    nobody knows yet as what, whatever the repository has."""

    who: str
    project: str
    digest: str | None = None
    path: str | None = None
    """of the repository, as its image registry knows it"""
    tag: str | None = None
    everything: bool = False


def need_of(reference: str, digest: str | None, who: str, project: str) -> Need:
    """What a slot or a deployment of this image needs."""
    pinned = reference.partition("@")[2] or digest
    tag = None if "@" in reference else grammar.image_tag(reference) or "latest"
    return Need(who, project, pinned, grammar.image_path(reference), tag)


def needed(holding: Holding, path: str, needs: Iterable[Need]) -> dict[str, str]:
    """Which manifests of a repository somebody needs, and who. `path` is the repository's whole one.

    Hosts are not compared: one image registry goes by many names, and what is kept needlessly can be deleted later.
    """
    found: dict[str, str] = {}
    for need in needs:
        hit = {each for each in (need.digest,) if each in holding.manifests}
        if need.path == path:
            hit |= {digest for tag, digest in holding.tags.items() if need.everything or tag == need.tag}
        for digest in hit:
            found.setdefault(str(digest), need.who)
    return found


@dataclass(frozen=True)
class Choice:
    """What of one repository goes, in the order in which it is deleted, and why the rest stays."""

    holding: Holding
    goes: tuple[str, ...] = ()
    stays: Mapping[str, str] = field(default_factory=dict)

    @property
    def tags(self) -> tuple[tuple[str, str], ...]:
        """The tags that go with it."""
        return tuple(sorted((tag, digest) for tag, digest in self.holding.tags.items() if digest in self.goes))


def settle(holding: Holding, needs: Mapping[str, str], asked: Iterable[str], reasons: Mapping[str, str]) -> Choice:
    """Of the digests that were asked for those that may go, with their parts that nothing else holds.

    `reasons` says why those that were not asked for stay.
    """
    wanted = set(asked)
    stays: dict[str, str] = {}
    for root in sorted(holding.roots | wanted):
        held = next((each for each in holding.below(root) if each in needs), None)
        if held == root:
            stays[root] = needs[root]
        elif held is not None:
            stays[root] = f"a part of it is needed: {needs[held]}"
        elif root not in wanted:
            stays[root] = reasons.get(root, "it was not asked for")
    for root in sorted(stays.keys() & holding.roots):
        name = holding.tags_of(root)[0]
        for part in holding.below(root)[1:]:
            stays[part] = stays.get(part, f"it is a part of {name}") if part not in wanted else f"it is a part of {name}"
    oldest = sorted(wanted, key=lambda each: (holding.manifests[each].kind != "index", str(holding.created(each)), each))
    goes = dict.fromkeys(
        part for root in oldest if root not in stays
        for part in holding.below(root) if part not in stays and part in holding.manifests
    )  # fmt: skip
    return Choice(holding, tuple(goes), {digest: why for digest, why in stays.items() if digest in holding.roots | wanted})


def older(holding: Holding, keep: int) -> tuple[list[str], dict[str, str]]:
    """What is beyond the newest `keep` images of a repository, and why the others stay."""
    aged = [(at, digest) for digest in holding.roots if (at := holding.created(digest)) is not None]
    newest = [digest for _, digest in sorted(aged, reverse=True)]
    reasons = dict.fromkeys(holding.roots, "it does not say when it was built")
    reasons |= dict.fromkeys(newest[:keep], f"it is one of the newest {keep}")
    return newest[keep:], reasons


def freed(choices: Iterable[Choice]) -> int:
    """Bytes that no manifest of these repositories needs once these choices are made."""
    gone: dict[str, int] = {}
    held: set[str] = set()
    for choice in choices:
        gone |= choice.holding.blobs(choice.goes)
        held |= choice.holding.blobs(each for each in choice.holding.manifests if each not in choice.goes).keys()
    return sum(size for digest, size in gone.items() if digest not in held)
