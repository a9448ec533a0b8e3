"""Images in the image registry: which repositories there are, and their tags.

A repository belongs to the project that its first part names, and so to that project's team. Those of nobody are for whoever
looks after the installation: an owner's key that is narrowed to nothing.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from pydantic import Field

from codeb.contracts.store import Registry
from codeb.errors import NotFound
from codeb.flows import image_needs
from codeb.flows.image_needs import family, path_of
from codeb.model.access import Role
from codeb.model.images import Holding, needed
from codeb.model.names import did_you_mean
from codeb.tools import fields
from codeb.tools.call import Call
from codeb.tools.tool import NextCall, Outcome, Risk, Tool


class ListParams(fields.Params):
    project_name: fields.ProjectName | None = None
    limit: fields.Limit = 100
    after: fields.Repository | None = Field(None, description="the last repository of the page before")


class RepositoryView(fields.Result):
    repository: str
    project_name: str | None
    image: str
    tags: int


class ListResult(fields.Result):
    image_registry: str
    repositories: list[RepositoryView]
    total: int
    more: bool


class TagsParams(fields.Params):
    repository: fields.Repository
    limit: fields.Limit = 100
    after: fields.ImageTag | None = Field(None, description="the last tag of the page before")


class TagView(fields.Result):
    tag: str
    image: str
    digest: str
    kind: str
    bytes: int
    created_at: str | None
    platforms: list[str]
    other_tags: list[str]
    needed_by: str | None
    """who keeps it from being deleted; None: nobody does"""


class TagsResult(fields.Result):
    repository: str
    project_name: str | None
    tags: list[TagView]
    total: int
    more: bool


def owner_of(call: Call, repository: str) -> str | None:
    """The project whose repository it is, of whatever team; None: nobody's."""
    name = family(repository)
    return name if name in call.kit.store.snapshot.projects else None


def sees(call: Call, repository: str) -> bool:
    owner = owner_of(call, repository)
    if owner is None:
        return call.actor.role is Role.OWNER and call.actor.whole
    return owner in call.projects(deleted=True)


def unknown(call: Call, repository: str) -> NotFound:
    """The same answer for a repository that is not there and one the caller may not see."""
    near = did_you_mean(repository, call.projects(deleted=True))
    return NotFound(
        f"There is no repository {repository}.", code="repository_not_found", hint=near or "See registry_list.",
    )  # fmt: skip


async def visible(call: Call, project: str | None) -> tuple[list[str], tuple[str, ...]]:
    """The repositories this caller may see, sorted, and what it should know. Raises as `ImageRegistry` does."""
    images = call.kit.image_registry
    try:
        every = await images.repositories()
    except NotFound as silent:
        # some offer no list: then each project's own is looked for by its name
        names = sorted(call.projects(deleted=True)) if project is None else [project]
        found = await asyncio.gather(*(images.tags(name) for name in names))
        note = f"{silent.message} Only those named like a project are shown."
        return [name for name, tags in zip(names, found, strict=True) if tags], (note,)
    return [each for each in every if project in (None, family(each)) and sees(call, each)], ()


async def _list(call: Call, params: ListParams) -> Outcome:
    if params.project_name is not None:
        call.project(params.project_name, deleted=True)
    names, warnings = await visible(call, params.project_name)
    rest = [name for name in names if params.after is None or name > params.after]
    page = rest[: params.limit]
    rows = []
    for name in page:
        tags = await call.kit.image_registry.tags(name)
        rows.append(
            RepositoryView(
                repository=name, project_name=owner_of(call, name), image=f"{call.kit.policy.image_registry}/{name}",
                tags=len(tags),
            )
        )  # fmt: skip
    result = ListResult(
        image_registry=call.kit.policy.image_registry, repositories=rows, total=len(names), more=len(rest) > len(page)
    )
    look = tuple(NextCall("registry_tags", {"repository": row.repository}, "see its tags") for row in rows[:1])
    said = f"{len(names)} repositor{'y' if len(names) == 1 else 'ies'} in {call.kit.policy.image_registry}."
    return Outcome(result, said, look, warnings)


async def _tags(call: Call, params: TagsParams) -> Outcome:
    name = params.repository
    if not sees(call, name):
        raise unknown(call, name)
    every = await call.kit.image_registry.tags(name)
    if not every:
        raise unknown(call, name)
    rest = [tag for tag in every if params.after is None or tag > params.after]
    page = rest[: params.limit]
    holding = await image_needs.read(call.kit.image_registry, name, page)
    wanted = await call.kit.store.consult(lambda registry: wanted_of(registry, call, [holding]))
    rows = [_tag(call, holding, tag, digest, wanted[name]) for tag, digest in sorted(holding.tags.items())]
    result = TagsResult(
        repository=name, project_name=owner_of(call, name), tags=rows, total=len(every), more=len(rest) > len(page)
    )
    return Outcome(result, f"{len(every)} tag{'' if len(every) == 1 else 's'} in {name}.")


def _tag(call: Call, holding: Holding, tag: str, digest: str, wanted: dict[str, str]) -> TagView:
    found, built = holding.manifests[digest], holding.created(digest)
    return TagView(
        tag=tag, image=f"{call.kit.policy.image_registry}/{holding.repository}@{digest}", digest=digest, kind=found.kind,
        bytes=holding.weight(digest), created_at=built.isoformat() if built else None,
        platforms=sorted({name for each in holding.below(digest) for name in _platforms(holding, each)}),
        other_tags=[each for each in holding.tags_of(digest) if each != tag],
        needed_by=next((wanted[each] for each in holding.below(digest) if each in wanted), None),
    )  # fmt: skip


def _platforms(holding: Holding, digest: str) -> tuple[str, ...]:
    known = holding.manifests.get(digest)
    return known.platforms if known else ()


async def wanted_of(registry: Registry, call: Call, holdings: Sequence[Holding]) -> dict[str, dict[str, str]]:
    """By repository who needs what of it, as this transaction sees it. Who is none of the caller's is not named."""
    policy, own = call.kit.policy, call.projects(deleted=True)
    found = [
        need if need.project in own else replace(need, who="somebody else runs it")
        for need in await image_needs.needs(registry, policy)
    ]  # fmt: skip
    return {each.repository: needed(each, path_of(policy, each.repository), found) for each in holdings}


TOOLS: tuple[Tool[Any], ...] = (
    Tool(
        "registry_list", "List repositories", "The repositories of your projects in the image registry.",
        ListParams, ListResult, Role.VIEWER, Risk.READS, _list,
    ),
    Tool(
        "registry_tags", "List the tags of a repository",
        "What each tag of a repository is: digest, size, age, platforms, and who needs it.",
        TagsParams, TagsResult, Role.VIEWER, Risk.READS, _tags,
    ),
)  # fmt: skip
