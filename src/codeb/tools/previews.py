"""Previews: a pull request's own environment, made, told and removed."""

from collections.abc import Awaitable, Callable
from typing import Any

from pydantic import Field

from codeb.contracts.store import Registry
from codeb.errors import Conflict, OperationFailed
from codeb.flows import preview_create
from codeb.flows.preview_create import PreviewInput
from codeb.model import previews
from codeb.model.access import Role
from codeb.model.journal import Operation, StepRow
from codeb.model.names import Place
from codeb.model.slots import Pair, State
from codeb.tools import fields
from codeb.tools.call import Call
from codeb.tools.deploys import DeployParams, deciding, draft_of, follower
from codeb.tools.drafts import Draft, draft, facts_of
from codeb.tools.preview_ends import DeleteParams, DeleteResult, delete
from codeb.tools.refusals import step_list
from codeb.tools.switches import accepted
from codeb.tools.tool import NextCall, Outcome, Risk, Tool, never


class CreateParams(fields.Long):
    project_name: fields.ProjectName
    pull_request: fields.PullRequest
    image: fields.ImageRef | None = Field(None, description="default: {imageRegistry}/{project}:{version}")
    version: fields.Version | None = Field(None, description="default: the image's tag")
    ttl_hours: int = Field(
        previews.HOURS, ge=1, le=previews.MOST_HOURS, description="hours it is kept after this call; the next one begins anew"
    )
    health_path: fields.HealthPath | None = None
    timeout: float = Field(60, ge=1, le=540, description="seconds the version has to become healthy")

    @property
    def environment(self) -> str:
        """What a key has to reach."""
        return previews.environment_of(self.pull_request)


class CreateResult(fields.Result):
    project_name: str
    environment: str
    pull_request: int
    url: str
    preview_url: str
    """of this version's slot alone"""
    slot: str
    port: int
    image: str
    digest: str
    version: str
    deployment_id: str
    env_version: int | None
    health_checked: bool
    created: bool
    """whether the environment is new"""
    created_at: str
    expires_at: str
    ttl_hours: int
    operation_id: str
    steps: list[dict[str, Any]]


class ListParams(fields.Params):
    project_name: fields.ProjectName | None = Field(None, description="without it: of all projects you may see")
    limit: fields.Limit = 100


class PreviewView(fields.Result):
    project_name: str
    pull_request: int
    environment: str
    url: str
    state: str
    """live; deployed: nothing has the traffic yet; empty; ending: being removed"""
    image: str | None
    version: str | None
    created_at: str | None
    """null: it was not made by preview_create, and is kept until preview_delete"""
    created_by: str | None
    expires_at: str | None
    hours_remaining: float | None


class ListResult(fields.Result):
    previews: list[PreviewView]
    total: int


def _as_deploy(params: CreateParams) -> DeployParams:
    return DeployParams(
        project_name=params.project_name, environment=params.environment, image=params.image, version=params.version,
        auto_promote=True, health_path=params.health_path, timeout=params.timeout, dry_run=params.dry_run,
    )  # fmt: skip


async def _room(call: Call, registry: Registry, place: Place) -> None:
    """Raises `Conflict` (`too_many_previews`)."""
    project = await registry.projects.get(place.project)
    there = [each for each in (project.environments if project else ()) if previews.number_of(each) is not None]
    most = call.kit.policy.previews
    if place.environment not in there and len(there) >= most:
        raise Conflict(
            f"{place.project} has {len(there)} previews already, and may have {most}; nothing was done.",
            code="too_many_previews",
            hint="Remove some with preview_delete, let them end sooner with ttlHours, or raise CODEB_PREVIEWS.",
            details={"previews": there, "most": most},
        )


async def _create(call: Call, params: CreateParams) -> Outcome:
    place = Place(params.project_name, params.environment)
    plan = await deciding(call, _as_deploy(params))

    async def decide(registry: Registry) -> PreviewInput:
        await call.ready(registry, place.project)
        await _room(call, registry, place)
        fresh = False
        if call.actor.may_touch("preview"):
            fresh = await preview_create.inherit(call.kit, registry, place, call.actor.name)
        deployed = await plan(registry)
        value = PreviewInput(deployed, params.ttl_hours, deployed.pair_is_new, fresh)
        if params.plan_id is not None:
            (await _drafted(call, registry, value)).still_fits(params)
        return value

    if params.dry_run:
        return await _dry(call, params, decide)
    operation = await call.open(preview_create.SAGA, (place,), decide)
    if not params.wait:
        return accepted(operation)
    return await _created(call, params, *await call.ended(operation.id))


async def _drafted(call: Call, registry: Registry, value: PreviewInput) -> Draft:
    pair = await registry.slots.pair(value.place)
    assert pair is not None, "the pair is made by the decision"
    made = draft_of(call, value.deploy, pair)
    kept = f"keep it for {value.ttl_hours} hours from then on"
    plan = {**made.plan, "ttlHours": value.ttl_hours, "created": value.created}
    return draft("preview_create", plan, [*made.changes, kept], facts_of(pair), made.touches)


async def _dry(call: Call, params: CreateParams, decide: Callable[[Registry], Awaitable[PreviewInput]]) -> Outcome:
    async def act(registry: Registry) -> tuple[PreviewInput, Draft]:
        value = await decide(registry)
        return value, await _drafted(call, registry, value)

    value, drafted = await call.rehearse(act)
    said = {name: each for name, each in call.params.items() if name not in ("dryRun", "planId", "idempotencyKey")}
    apply = NextCall("preview_create", {**said, "planId": drafted.id}, "do exactly this")
    verb = "make" if value.created else "update"
    return drafted.shown(f"Would {verb} the preview of pull request {params.pull_request} of {params.project_name}.", apply)


async def _created(call: Call, params: CreateParams, operation: Operation, steps: list[StepRow]) -> Outcome:
    try:
        promoted, more = await call.ended(await follower(call, operation))
    except OperationFailed as fault:
        raise _without_traffic(params, operation.result or {}, fault) from fault
    told = {name: each for name, each in (operation.result or {}).items() if name != "graceEnded"}
    result = CreateResult(
        **told, pull_request=params.pull_request, operation_id=operation.id, steps=step_list([*steps, *more])
    )  # fmt: skip
    where = {"projectName": params.project_name, "pullRequest": params.pull_request}
    nexts = (
        NextCall("logs", {"projectName": params.project_name, "environment": params.environment}, "see what it prints"),
        NextCall("preview_delete", where, "remove it once the pull request is closed"),
    )
    said = f"Pull request {params.pull_request} of {params.project_name} answers with {result.version} at {result.url}"
    return Outcome(result, f"{said} until {result.expires_at}.", nexts, operation.warnings + promoted.warnings)


def _without_traffic(params: CreateParams, made: dict[str, Any], fault: OperationFailed) -> OperationFailed:
    """What a failed promote leaves: the new version beside the one that had the traffic."""
    said = f"{made.get('version')} runs at {made.get('previewUrl')} and did not get the traffic of {made.get('url')}"
    return OperationFailed(
        f"{said}: {fault.message}",
        status=fault.status, code=fault.code, details=fault.details,
        hint=f"Call preview_create again, or promote with environment {params.environment}. {fault.hint}".strip(),
    )  # fmt: skip


# list


def _state(pair: Pair, ending: bool) -> str:
    if ending:
        return "ending"
    if pair.active is not None:
        return "live"
    return "deployed" if pair.in_state(State.DEPLOYED) else "empty"


def _view(call: Call, pair: Pair, number: int) -> PreviewView:
    place, policy = pair.place, call.kit.policy
    kept, shown = call.kit.store.snapshot.previews.get(place), pair.active or pair.in_state(State.DEPLOYED)
    left = None if kept is None else max((kept.expires_at - call.kit.world.now()).total_seconds() / 3600, 0.0)
    return PreviewView(
        project_name=place.project, pull_request=number, environment=place.environment,
        url=policy.url(place.host(policy.base_domain)), state=_state(pair, kept is not None and kept.ending),
        image=shown.image if shown else None, version=shown.version if shown else None,
        created_at=kept.created_at.isoformat() if kept else None, created_by=kept.created_by if kept else None,
        expires_at=kept.expires_at.isoformat() if kept else None, hours_remaining=None if left is None else round(left, 2),
    )  # fmt: skip


async def _list(call: Call, params: ListParams) -> Outcome:
    if params.project_name is not None:
        call.project(params.project_name)
    visible, found = call.projects(), list[tuple[str, int, Pair]]()
    for place, pair in call.kit.store.snapshot.pairs.items():
        number = previews.number_of(place.environment)
        if number is None or place.project not in visible or params.project_name not in (None, place.project):
            continue
        if call.actor.may_touch(place.environment):
            found.append((place.project, number, pair))
    shown = [_view(call, pair, number) for _, number, pair in sorted(found, key=lambda each: each[:2])[: params.limit]]
    said = f"{len(found)} preview{'' if len(found) == 1 else 's'}."
    return Outcome(ListResult(previews=shown, total=len(found)), said)


TOOLS: tuple[Tool[Any], ...] = (
    Tool(
        "preview_create", "Preview a pull request",
        "Run an image as a pull request's own environment, at one address that stays; again with each new image.",
        CreateParams, CreateResult, Role.MEMBER, Risk.CHANGES, _create, long=True,
    ),
    Tool(
        "preview_list", "List previews", "Pull requests' environments: address, version, and until when each is kept.",
        ListParams, ListResult, Role.VIEWER, Risk.READS, _list,
    ),
    Tool(
        "preview_delete", "Remove a preview",
        "Remove a pull request's environment for good: containers, ports, site, variables, storage.",
        # What it removes is made again by the next preview_create: a closed pull request waits for nobody's yes.
        # A database is none of that, and is refused to whom db_delete would be.
        DeleteParams, DeleteResult, Role.MEMBER, Risk.DESTROYS, delete, long=True, risky=never,
    ),
)  # fmt: skip
