"""Who needs which image of the image registry, as one transaction sees it; and the reading of what is there.

An image is needed by every slot that holds it, grace and deleted projects among them; by a deploy under way; and by the window
of history: what `rollback` names and what somebody may want to deploy again.
"""

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any, TypeVar

from codeb.contracts.image_registry import ImageRegistry
from codeb.contracts.kit import Policy
from codeb.contracts.store import Registry
from codeb.model import grammar
from codeb.model.conflicts import busy
from codeb.model.images import Holding, Manifest, Need, need_of
from codeb.model.journal import StepState
from codeb.model.names import Place
from codeb.model.slots import State
from codeb.model.specs import Deployment

T = TypeVar("T")

AT_ONCE = 8
"""questions that the image registry is asked at one time"""


def path_of(policy: Policy, repository: str) -> str:
    """A repository as its image registry knows it."""
    prefix = policy.image_registry.partition("/")[2]
    return f"{prefix}/{repository}" if prefix else repository


def family(repository: str) -> str:
    """The name of the project whose repository it is, whether there is one of that name or not."""
    return repository.partition("/")[0]


def lock_of(repository: str) -> Place:
    """What a deletion in a repository holds. No environment has this name, so deploys are not kept from their own place."""
    return Place(family(repository), "images")


async def needs(registry: Registry, policy: Policy) -> list[Need]:
    """Everybody who needs an image, of whatever team."""
    pairs = await registry.slots.pairs()
    places = {pair.place for pair in pairs}
    found = [
        need_of(row.image, row.digest, f"{row.container} is {row.state}", pair.place.project)
        for pair in pairs for row in pair.rows if row.state is not State.EMPTY and row.image
    ]  # fmt: skip
    for each in await registry.deployments.wanted(policy.image_history):
        if each.place not in places:
            continue
        if each.status == "pending":
            found += await _under_way(registry, each)
        else:
            when = f"{each.created_at:%Y-%m-%d %H:%M}"
            who = f"{each.place.project} {each.place.environment} ran {each.version} ({when}), within the kept history"
            found.append(need_of(each.image, each.digest, who, each.place.project))
    return found


async def _under_way(registry: Registry, deployment: Deployment) -> list[Need]:
    """Until it is on record what was fetched, a tag may have moved since: then nothing of the repository may go."""
    who = f"{deployment.operation_id} deploys it"
    pulled = [
        str(step.output["digest"]) for step in await registry.journal.steps(deployment.operation_id)
        if step.name == "pull" and step.state is StepState.DONE and "digest" in step.output
    ]  # fmt: skip
    project = deployment.place.project
    need = need_of(deployment.image, pulled[0] if pulled else None, who, project)
    if need.digest is not None:
        return [need]
    return [need, Need(f"{deployment.operation_id} is fetching from it", project, path=need.path, everything=True)]


async def not_while_deleting(registry: Registry, policy: Policy, image: str) -> None:
    """Raises `Busy` while a deletion is under way where this image is: what is about to be fetched must not go meanwhile."""
    path, prefix = grammar.image_path(image), path_of(policy, "")
    # by one of its other names a registry may know it without our prefix
    for each in {path, path.removeprefix(prefix)}:
        if running := await registry.journal.running(lock_of(each)):
            raise busy(running)


async def read(images: ImageRegistry, repository: str, tags: Iterable[str] | None = None) -> Holding:
    """A repository, or some tags of it, with everything that these reach. A tag that goes meanwhile is left out."""
    turns = asyncio.Semaphore(AT_ONCE)

    async def digest(tag: str) -> tuple[str, str | None]:
        async with turns:
            return tag, await images.digest(repository, tag)

    async def look(each: str) -> tuple[str, Manifest | None]:
        async with turns:
            return each, await images.look(repository, each)

    names = await images.tags(repository) if tags is None else tags
    pointed = {tag: found for tag, found in await _all(digest(tag) for tag in names) if found}
    manifests: dict[str, Manifest] = {}
    wanted = set(pointed.values())
    while wanted:
        seen = {each: found for each, found in await _all(look(each) for each in sorted(wanted)) if found}
        manifests |= seen
        wanted = {child for found in seen.values() for child in found.children} - manifests.keys() - wanted
    known = {tag: found for tag, found in pointed.items() if found in manifests}
    return Holding(repository, known, manifests)


async def _all(questions: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """Their answers; the first fault ends the others."""
    asked = [asyncio.create_task(each) for each in questions]
    try:
        return list(await asyncio.gather(*asked))
    finally:
        for each in asked:
            each.cancel()
        await asyncio.gather(*asked, return_exceptions=True)
