"""Image delete: manifests of the image registry go, each with its tags. Forward only once the first one may have gone.

look -> RETIRE -> erase

What goes was chosen in the transaction that opened the operation, which also locked the repositories: a deploy that wants
something from one of them waits for the end of this, and one that had begun before kept what it needs (`image_needs`). Of pushes
nobody tells CodeB, so what is there is read once more right before.
"""

from dataclasses import dataclass
from typing import Any

from codeb.contracts.store import Registry
from codeb.errors import PublicError, StepFailed, Unavailable
from codeb.flows.image_needs import read
from codeb.saga.step import Run, Saga, Step

RECLAIM = (
    "The space is given back by the image registry itself, stopped or read-only meanwhile: "
    "`registry garbage-collect /etc/docker/registry/config.yml` (Debian: `docker-registry garbage-collect …`). Without "
    "--delete-untagged: that deletes parts of images for several platforms, and images that run by their digest alone."
)
"""what is true after every deletion, and what to do about it"""

PAUSES = (0.0, 0.5, 1.0, 2.0)
"""seconds before each round of deleting"""


@dataclass(frozen=True)
class Part:
    """What goes of one repository, a list before its parts."""

    repository: str
    digests: tuple[str, ...]
    tags: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class EraseInput:
    parts: tuple[Part, ...]
    why: str

    @property
    def count(self) -> int:
        return sum(len(part.digests) for part in self.parts)


async def _look(run: Run[EraseInput]) -> None:
    """Raises `StepFailed` (`state_moved`) when a tag that is to stay points by now at something that is to go."""
    for part in run.input.parts:
        await run.kit.image_registry.may_erase(part.repository)
        now, going = await read(run.kit.image_registry, part.repository), dict(part.tags)
        for tag, digest in now.tags.items():
            if going.get(tag) != digest and set(now.below(digest)) & set(part.digests):
                raise StepFailed(
                    f"{part.repository}:{tag} was pushed meanwhile and holds what was to be deleted.", code="state_moved",
                    hint="Look again, then ask again.",
                )  # fmt: skip


async def _retire(run: Run[EraseInput], registry: Registry) -> None:
    """From here on it only goes forward: what a registry deleted, nobody brings back."""


async def _erase(run: Run[EraseInput]) -> dict[str, Any]:
    """Safe to repeat: what is gone already is passed by. What does not go in some rounds is left, and said."""
    left = [(part.repository, digest) for part in run.input.parts for digest in part.digests]
    why: dict[tuple[str, str], PublicError] = {}
    for pause in PAUSES:
        await run.kit.world.sleep(pause)
        left, why = await _round(run, left)
        if not left:
            break
    for (repository, digest), fault in why.items():
        run.warn(f"{repository}@{digest} was not deleted, as far as is known: {fault.message}")
    return {"left": [f"{repository}@{digest}" for repository, digest in left]}


async def _round(run: Run[EraseInput], todo: list[tuple[str, str]]) -> tuple[list[tuple[str, str]], dict[Any, PublicError]]:
    """What of it is left, and why. A registry that is away is not asked for the rest."""
    why: dict[Any, PublicError] = {}
    for at, (repository, digest) in enumerate(todo):
        try:
            await run.kit.image_registry.erase(repository, digest)
        except Unavailable as away:
            return [*why, *todo[at:]], why | {(repository, digest): away}
        except PublicError as fault:
            why[repository, digest] = fault
    return list(why), why


def _result(run: Run[EraseInput]) -> dict[str, Any]:
    done = run.outputs.get("erase")
    every = [f"{part.repository}@{digest}" for part in run.input.parts for digest in part.digests]
    left = set(every if done is None else done["left"])
    tags = [f"{part.repository}:{tag}" for part in run.input.parts for tag, digest in part.tags
            if f"{part.repository}@{digest}" not in left]  # fmt: skip
    return {"deleted": [each for each in every if each not in left], "tags": tags, "left": sorted(left), "reclaim": RECLAIM}


SAGA: Saga[EraseInput] = Saga(
    name="image_delete",
    version=1,
    input=EraseInput,
    steps=(
        Step("look", "the image registry deletes, and nothing that is to stay has moved there", do=_look),
        Step("retire", "from here on it only goes forward", record=_retire, commits=True),
        Step("erase", "delete the manifests, lists before their parts", do=_erase),
    ),
    deadline=lambda policy: policy.deploy_seconds,
    result=_result,
    summary=lambda value: f"delete {value.count} images of {', '.join(part.repository for part in value.parts)} ({value.why})",
)
