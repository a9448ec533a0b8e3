"""The end of images in the image registry: one by its tag or digest, or all that nobody needs any more.

Deleted is a manifest with every tag that points at it, so what is shown and bound by a plan is digests. The space they took is
given back by the image registry's own clean-up, which CodeB does not run: it needs the registry stopped.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from pydantic import Field, model_validator

from codeb.contracts.store import Registry
from codeb.errors import Conflict, InvalidParams, NotFound, StalePlan
from codeb.flows import image_delete, image_needs
from codeb.flows.image_needs import lock_of
from codeb.model.access import Role
from codeb.model.images import Choice, Holding, freed, older, settle
from codeb.model.journal import Operation
from codeb.tools import fields
from codeb.tools.call import Call
from codeb.tools.drafts import Draft, draft
from codeb.tools.images import sees, unknown, visible, wanted_of
from codeb.tools.tool import Accepted, NextCall, Outcome, Risk, Tool

Wanted = dict[str, dict[str, str]]
Choose = Callable[[Wanted], list[Choice]]


class DeleteParams(fields.Confirmed, fields.Long):
    repository: fields.Repository
    tag: fields.ImageTag | None = Field(None, description="what it points at goes; refused while another tag does so too")
    digest: fields.ImageDigest | None = Field(None, description="this goes, with every tag that points at it")
    confirm: str = Field("", max_length=200, description="the repository, typed once more where a policy asks for it")


class GcParams(fields.Confirmed, fields.Long):
    project_name: fields.ProjectName | None = Field(None, description="without it: every project you may see")
    keep: int = Field(10, ge=1, le=1000, description="of each repository the newest so many images stay, whoever needs them")
    dry_run: bool = Field(True, description="return the plan and change nothing; false where a planId is given")

    @model_validator(mode="before")
    @classmethod
    def _applied_by_its_plan(cls, said: Any) -> Any:
        """Who says which plan is to be carried out has seen one."""
        applies = isinstance(said, dict) and said.get("planId", said.get("plan_id")) is not None
        return {**said, "dryRun": False} if applies and not {"dryRun", "dry_run"} & said.keys() else said


class DeletedResult(fields.Result):
    deleted: list[str]
    tags: list[str]
    left: list[str]
    reclaim: str
    operation_id: str | None


# what goes, as a value


def _described(choice: Choice, digest: str) -> dict[str, Any]:
    holding = choice.holding
    built, known = holding.created(digest), holding.manifests[digest]
    return {
        "repository": holding.repository, "digest": digest, "tags": list(holding.tags_of(digest)), "kind": known.kind,
        "bytes": sum(holding.blobs([digest]).values()), "createdAt": built.isoformat() if built else None,
    }  # fmt: skip


def _drafted(tool: str, choices: Sequence[Choice], said: dict[str, Any]) -> Draft:
    """Bound to what goes alone: what else comes or ages in a busy repository makes it no other plan."""
    goes = [_described(choice, digest) for choice in choices for digest in choice.goes]
    stays = [
        {"repository": choice.holding.repository, "digest": digest, "tags": list(choice.holding.tags_of(digest)), "why": why}
        for choice in choices for digest, why in choice.stays.items()
    ]  # fmt: skip
    changes = [
        f"delete {each['repository']}@{each['digest']} "
        f"({', '.join(each['tags']) or 'a part of what goes'}; {each['bytes']} bytes)"
        for each in goes
    ]
    plan = {**said, "goes": goes, "stays": stays, "freeableBytes": freed(choices), "reclaim": image_delete.RECLAIM}
    bound = draft(tool, said, changes, {"goes": [[each["repository"], each["digest"], each["tags"]] for each in goes]})
    return replace(bound, plan=plan, touches={"images": [f"{each['repository']}:{tag}" for each in goes for tag in each["tags"]]})


async def _begin(call: Call, said: dict[str, Any], choices: Sequence[Choice], choose: Choose) -> Operation:
    """Choose once more within the transaction that locks the repositories, and begin."""
    holdings = [choice.holding for choice in choices]
    locked = tuple(dict.fromkeys(lock_of(choice.holding.repository) for choice in choices if choice.goes))
    drafted = _drafted(call.tool, choices, said)

    async def decide(registry: Registry) -> image_delete.EraseInput:
        fresh = choose(await wanted_of(registry, call, holdings))
        if _drafted(call.tool, fresh, said).id != drafted.id:
            raise StalePlan("Somebody began to need what was to go; nothing was deleted.", hint="Make a new dry run.")
        parts = tuple(
            image_delete.Part(each.holding.repository, each.goes, each.tags) for each in fresh if each.goes
        )  # fmt: skip
        return image_delete.EraseInput(parts, call.tool)

    return await call.open(image_delete.SAGA, locked, decide)


async def _ended(call: Call, operation: Operation, wait: bool) -> Outcome:
    if not wait:
        return Outcome(Accepted(operation_id=operation.id, state=operation.state.value), f"{operation.summary}.")
    operation, _ = await call.ended(operation.id)
    result = DeletedResult(**(operation.result or {}), operation_id=operation.id)
    said = f"{len(result.deleted)} manifest{'' if len(result.deleted) == 1 else 's'} deleted"
    said += f", {len(result.left)} left." if result.left else "."
    return Outcome(result, said, (), operation.warnings)


# one


def _target(holding: Holding, params: DeleteParams) -> str:
    """Raises `NotFound` (`image_not_found`), `Conflict` (`digest_has_other_tags`)."""
    digest = params.digest or holding.tags.get(params.tag or "")
    if digest is None or digest not in holding.manifests:
        raise NotFound(
            f"{params.repository} has no {params.tag or params.digest}; nothing was deleted.", code="image_not_found",
            hint=f"See registry_tags of {params.repository}.",
        )  # fmt: skip
    others = [tag for tag in holding.tags_of(digest) if tag != params.tag]
    if params.tag is not None and others:
        raise Conflict(
            f"{params.repository}:{params.tag} and {', '.join(others)} are the same image, and a registry deletes images, not "
            "tags: all of them would go. Nothing was deleted.",
            code="digest_has_other_tags",
            hint="To delete the image with all of its tags, say its digest in place of a tag.",
            details={"digest": digest, "otherTags": others},
        )
    return digest


def _one(holding: Holding, digest: str) -> Choose:
    """Raises `Conflict` (`image_needed`)."""

    def choose(wanted: Wanted) -> list[Choice]:
        choice = settle(holding, wanted[holding.repository], [digest], {})
        if digest in choice.stays:
            raise Conflict(
                f"{holding.repository}@{digest} stays: {choice.stays[digest]}. Nothing was deleted.", code="image_needed",
                hint="It can be deleted once nobody needs it; registry_tags says who does.",
                details={"neededBy": choice.stays[digest], "digest": digest, "tags": list(holding.tags_of(digest))},
            )  # fmt: skip
        return [choice]

    return choose


async def _delete(call: Call, params: DeleteParams) -> Outcome:
    if (params.tag is None) == (params.digest is None):
        problem = "say either tag or digest"
        raise InvalidParams(
            f"What to delete is not clear: {problem}; nothing was deleted.",
            details={"fields": [{"field": "tag", "problem": problem}]},
        )
    if not params.dry_run and (begun := await call.begun()):
        return await _ended(call, begun, params.wait)
    name = params.repository
    if not sees(call, name):
        raise unknown(call, name)
    holding = await image_needs.read(call.kit.image_registry, name)
    if not holding.tags:
        raise unknown(call, name)
    digest = _target(holding, params)
    choose = _one(holding, digest)
    choices = choose(await call.kit.store.consult(lambda registry: wanted_of(registry, call, [holding])))
    said = {"repository": name, "digest": digest}
    drafted = _drafted(call.tool, choices, said)
    if params.dry_run:
        what = {"tag": params.tag} if params.tag is not None else {"digest": digest}
        apply = NextCall(call.tool, {"repository": name, **what, "planId": drafted.id}, "do exactly this")
        return drafted.shown(f"Would delete {len(drafted.changes)} manifests of {name}.", apply)
    drafted.still_fits(params)
    return await _ended(call, await _begin(call, said, choices, choose), params.wait)


# all that nobody needs


def _beyond(holdings: Sequence[Holding], keep: int) -> Choose:
    def choose(wanted: Wanted) -> list[Choice]:
        return [settle(each, wanted[each.repository], *older(each, keep)) for each in holdings]

    return choose


async def _gc(call: Call, params: GcParams) -> Outcome:
    if not params.dry_run and (begun := await call.begun()):
        return await _ended(call, begun, params.wait)
    if params.project_name is not None:
        call.project(params.project_name, deleted=True)
    own = call.projects(deleted=True)
    names, warnings = await visible(call, params.project_name)
    # what is nobody's goes one by one, by somebody who looked at it
    holdings = [
        await image_needs.read(call.kit.image_registry, name) for name in names if image_needs.family(name) in own
    ]  # fmt: skip
    choose = _beyond(holdings, params.keep)
    choices = choose(await call.kit.store.consult(lambda registry: wanted_of(registry, call, holdings)))
    said = {"projectName": params.project_name, "keep": params.keep}
    drafted = _drafted(call.tool, choices, said)
    if params.dry_run:
        again = {name: value for name, value in said.items() if value is not None}
        apply = NextCall(call.tool, {**again, "planId": drafted.id}, "do exactly this") if drafted.changes else None
        size = drafted.plan["freeableBytes"]
        return drafted.shown(
            f"Would delete {len(drafted.changes)} manifests of {len(names)} repositories, {size} bytes.", apply, *warnings
        )
    drafted.still_fits(params)
    if not drafted.changes:
        nothing = DeletedResult(deleted=[], tags=[], left=[], reclaim=image_delete.RECLAIM, operation_id=None)
        return Outcome(nothing, "There is nothing that nobody needs.", (), warnings)
    return await _ended(call, await _begin(call, said, choices, choose), params.wait)


TOOLS: tuple[Tool[Any], ...] = (
    Tool(
        "registry_delete", "Delete an image",
        "Delete one image from the image registry, by its only tag or by its digest. Never one that a slot, a deploy, the "
        "history that is kept, or a list of platforms needs.",
        DeleteParams, DeletedResult, Role.ADMIN, Risk.DESTROYS, _delete, long=True, acts_on="repository",
    ),
    Tool(
        "registry_gc", "Delete images that nobody needs",
        "Of each repository keep the newest images and all that somebody needs; show what goes and why the rest stays. Deletes "
        "only by the planId of such a plan, or with dryRun false.",
        GcParams, DeletedResult, Role.ADMIN, Risk.DESTROYS, _gc, long=True,
    ),
)  # fmt: skip
