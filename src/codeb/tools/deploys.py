"""Deploy, promote, rollback."""

from dataclasses import replace
from typing import Any

from pydantic import Field

from codeb.contracts.store import Registry
from codeb.errors import Conflict, InvalidParams, StalePlan
from codeb.flows import deploy, promote, rollback
from codeb.flows.site import site_of
from codeb.model import grammar, plans
from codeb.model.access import Role
from codeb.model.journal import Operation, StepRow
from codeb.model.names import Place, Slot
from codeb.model.slots import Pair, State
from codeb.model.specs import Project
from codeb.tools import fields
from codeb.tools.call import Call, step_list, unknown_project
from codeb.tools.projects import new_pair, taken_outside
from codeb.tools.tool import Accepted, NextCall, Outcome, Plan, Risk, Tool


class DeployParams(fields.Long, fields.OnEnvironment):
    image: fields.ImageRef | None = Field(None, description="default: {imageRegistry}/{project}:{version}")
    version: fields.Version | None = Field(None, description="default: the image's tag")
    auto_promote: bool = Field(False, description="promote at once when the deploy succeeded")
    health_path: fields.HealthPath | None = None
    timeout: float = Field(60, ge=1, le=540, strict=False, description="seconds the version has to become healthy")


class PromoteParams(fields.Long, fields.OnEnvironment):
    slot: fields.SlotName | None = Field(None, description="default: the slot that is deployed")


class RollbackParams(fields.Long, fields.OnEnvironment):
    reason: fields.Reason = ""


class DeployResult(fields.Result):
    project_name: str
    environment: str
    slot: str
    port: int
    image: str
    digest: str
    version: str
    preview_url: str
    health_checked: bool
    deployment_id: str
    grace_ended: bool
    operation_id: str
    steps: list[dict[str, Any]]
    promoted: dict[str, Any] | None = None


class GraceView(fields.Result):
    slot: str
    ends_at: str
    hours_remaining: float


class PromoteResult(fields.Result):
    project_name: str
    environment: str
    active_slot: str
    previous_slot: str | None
    version: str
    digest: str
    url: str
    grace_period: GraceView | None
    operation_id: str
    steps: list[dict[str, Any]]


class RollbackResult(fields.Result):
    project_name: str
    environment: str
    active_slot: str
    previous_slot: str | None
    version: str
    digest: str
    from_version: str | None
    url: str
    reason: str
    operation_id: str
    steps: list[dict[str, Any]]


def _what(call: Call, params: DeployParams) -> tuple[str, str]:
    """Image and version, each from the other where one is not said."""
    image, version = params.image, params.version
    if image is None and version is None:
        problem = "say a version, or an image with a tag"
        raise InvalidParams(
            f"What to deploy is not said: {problem}; nothing was done.",
            hint='For example {"version": "1.4.2"}.',
            details={"fields": [{"field": "version", "problem": problem}]},
        )
    if image is None:
        image = f"{call.kit.policy.image_registry}/{params.project_name}:{version}"
    if version is None:
        version = grammar.image_tag(image) or (image.partition("@")[2] or "latest").replace(":", "-")[:32]
    return image, version


async def _plan_deploy(
    call: Call,
    params: DeployParams,
    registry: Registry,
    outside: set[int],
    site_is_new: bool,
    former_runs: dict[Slot, bool],
) -> deploy.DeployInput:
    """Read the registry, choose the slot, fix everything an undo will need."""
    project = await _ready(call, registry, params.project_name)
    place = Place(params.project_name, params.environment)
    pair = await registry.slots.pair(place)
    pair_is_new = pair is None
    if pair is None:
        pair = await new_pair(registry, call, place, outside)
    image, version = _what(call, params)
    row = pair.deploy_target()
    if params.health_path is not None:
        project = replace(project, health_path=params.health_path)
    site = site_of(project, pair, call.kit.policy)
    return deploy.DeployInput(
        place=place, slot=row.slot, port=row.port, image=image, version=version,
        deployment_id=call.kit.world.new_id("dep"), container_port=project.container_port, health_path=project.health_path,
        health_seconds=params.timeout, limits=project.limits, site=site, site_is_new=site_is_new, pair_is_new=pair_is_new,
        auto_promote=params.auto_promote, former_state=row.state, former_version=row.version,
        former_runs=former_runs[row.slot], preview_url=call.kit.policy.url(dict(site.preview_hosts)[row.slot]),
    )  # fmt: skip


async def _ready(call: Call, registry: Registry, name: str) -> Project:
    project = await registry.projects.get(name)
    if project is None or not call.actor.sees_project(name, project.team):
        raise unknown_project(name, call.projects())
    if project.state != "ready":
        raise Conflict(f"Project {name} is being deleted.", code="project_deleting", hint="Finish with project_delete, or wait.")
    return project


def _deploy_plan(value: deploy.DeployInput, pair: Pair) -> tuple[str, dict[str, Any], list[str]]:
    active = pair.active
    plan = {
        "projectName": value.place.project, "environment": value.place.environment, "slot": value.slot.value, "port": value.port,
        "image": value.image, "version": value.version, "healthPath": value.health_path, "autoPromote": value.auto_promote,
        "replaces": None if value.former_state is State.EMPTY else {"state": value.former_state.value, "version": value.former_version},
        "graceEnded": value.former_state is State.GRACE, "activeVersion": active.version if active else None,
        "previewUrl": value.preview_url, "newSite": value.site_is_new,
    }  # fmt: skip
    changes = [f"start {value.image} as {value.container} on 127.0.0.1:{value.port}"]
    if value.former_state is not State.EMPTY:
        changes.append(f"replace {value.former_version} ({value.former_state}) in {value.slot}")
    if value.former_state is State.GRACE:
        changes.append("give up the way back: the grace version is replaced once the new one is healthy")
    if value.site_is_new:
        changes.append("add the environment's site to the proxy (a reload)")
    if value.auto_promote:
        changes.append(f"send all traffic to {value.version}")
    return plans.plan_id("deploy", plan, deploy.facts_of(pair)), plan, changes


async def _deploy(call: Call, params: DeployParams) -> Outcome:
    call.project(params.project_name)
    place = Place(params.project_name, params.environment)
    _what(call, params)
    known = call.kit.store.snapshot.pair_of(place)
    outside = set() if known else await taken_outside(call)
    site_is_new = place not in await call.kit.proxy.sites()
    former_runs = dict.fromkeys(Slot, False)
    if known is not None:
        for row in known.rows:
            former_runs[row.slot] = row.state is not State.EMPTY and await deploy.former_runs(call.kit, row.container)

    async def decide(registry: Registry) -> deploy.DeployInput:
        value = await _plan_deploy(call, params, registry, outside, site_is_new, former_runs)
        if params.plan_id is not None:
            pair = await registry.slots.pair(place)
            assert pair is not None
            if _deploy_plan(value, pair)[0] != params.plan_id:
                raise StalePlan("The environment changed since the plan was made; nothing was done.", hint="Make a new dry run.")
        return value

    if params.dry_run:
        return await _dry_deploy(call, place, decide)
    operation = await call.open(deploy.SAGA, (place,), decide)
    if not params.wait:
        return _accepted(operation)
    operation, steps = await call.ended(operation.id)
    return await _deployed(call, params, operation, steps)


class _Undone(Exception):
    pass


async def _dry_deploy(call: Call, place: Place, decide: Any) -> Outcome:
    """Decide as the real thing would, in a transaction that is rolled back."""
    value: deploy.DeployInput | None = None
    pair: Pair | None = None
    try:
        async with call.kit.store.write() as registry:
            value = await decide(registry)
            pair = await registry.slots.pair(place)
            raise _Undone
    except _Undone:
        pass
    assert value is not None
    assert pair is not None
    plan_id, plan, changes = _deploy_plan(value, pair)
    params = {
        "projectName": place.project, "environment": place.environment, "image": value.image, "version": value.version, "planId": plan_id,
    }  # fmt: skip
    warnings = (
        ("The grace version in this slot is given up: after a success there is no rollback to it.",) if plan["graceEnded"] else ()
    )
    return Outcome(
        Plan(plan_id=plan_id, plan=plan, changes=changes),
        f"Would put {value.version} into {value.slot} of {place.project} {place.environment}.",
        (NextCall("deploy", params, "do exactly this"),), warnings,
    )  # fmt: skip


def _accepted(operation: Operation) -> Outcome:
    return Outcome(
        Accepted(operation_id=operation.id, state=operation.state.value),
        f"Begun: {operation.summary}.",
        (NextCall("operation_get", {"operationId": operation.id, "waitSeconds": 30}, "follow it"),),
    )


async def _deployed(call: Call, params: DeployParams, operation: Operation, steps: list[StepRow]) -> Outcome:
    result = DeployResult(**(operation.result or {}), operation_id=operation.id, steps=step_list(steps))
    where = {"projectName": result.project_name, "environment": result.environment}
    warnings = operation.warnings
    if result.grace_ended:
        warnings += ("The version that was in grace in this slot is gone; there is no rollback until the next promote.",)
    if not params.auto_promote:
        said = f"{result.version} runs in {result.slot}, healthy, at {result.preview_url}; traffic is unchanged."
        return Outcome(result, said, (NextCall("promote", where, "send all traffic to it"),), warnings)
    async with call.kit.store.read() as registry:
        later = await registry.journal.history(
            team=operation.team,
            project=result.project_name,
            environment=result.environment,
            open_only=False,
            limit=20,
            before=None,
        )
    promoted, promote_steps = await call.ended(next(each.id for each in later if each.follows == operation.id))
    taken = PromoteResult(**(promoted.result or {}), operation_id=promoted.id, steps=step_list(promote_steps))
    result = result.model_copy(update={"promoted": taken.model_dump(by_alias=True, mode="json")})
    return Outcome(
        result, f"{result.version} runs in {result.slot} and has all traffic at {taken.url}.",
        (NextCall("rollback", where, "return to the version before"),), warnings + promoted.warnings,
    )  # fmt: skip


async def _promote(call: Call, params: PromoteParams) -> Outcome:
    call.project(params.project_name)
    place = Place(params.project_name, params.environment)
    call.pair(place)
    slot = Slot(params.slot) if params.slot else None

    def plan_of(pair: Pair) -> tuple[str, dict[str, Any], list[str]]:
        row, active = promote.promotable(pair, slot), pair.active
        plan = {
            "projectName": place.project, "environment": place.environment, "to": row.slot.value, "version": row.version,
            "digest": row.digest, "from": active.slot.value if active else None, "fromVersion": active.version if active else None,
        }  # fmt: skip
        changes = [f"send all traffic of {place.project} {place.environment} to {row.version} in {row.slot}"]
        if active:
            changes.append(f"keep {active.version} in {active.slot} warm for {call.kit.policy.grace_hours:g} hours")
        return plans.plan_id("promote", plan, deploy.facts_of(pair)), plan, changes

    if params.dry_run:
        plan_id, plan, changes = plan_of(call.pair(place))
        where = {"projectName": place.project, "environment": place.environment, "planId": plan_id}
        return Outcome(
            Plan(plan_id=plan_id, plan=plan, changes=changes), f"Would promote {plan['version']} ({plan['to']}).",
            (NextCall("promote", where, "do exactly this"),),
        )  # fmt: skip

    async def decide(registry: Registry) -> promote.SwitchInput:
        project = await _ready(call, registry, params.project_name)
        pair = await registry.slots.pair(place)
        assert pair is not None
        row = promote.promotable(pair, slot)
        if params.plan_id not in (None, plan_of(pair)[0]):
            raise StalePlan("The environment changed since the plan was made; nothing was done.", hint="Make a new dry run.")
        return promote.promotion(project, pair, row, call.kit.policy)

    operation = await call.open(promote.SAGA, (place,), decide)
    if not params.wait:
        return _accepted(operation)
    operation, steps = await call.ended(operation.id)
    result = PromoteResult(**(operation.result or {}), operation_id=operation.id, steps=step_list(steps))
    where = {"projectName": place.project, "environment": place.environment}
    next_ = (NextCall("rollback", where, "return to the version before, at once"),) if result.grace_period else ()
    return Outcome(result, f"{result.version} ({result.active_slot}) has all traffic at {result.url}.", next_, operation.warnings)


async def _rollback(call: Call, params: RollbackParams) -> Outcome:
    call.project(params.project_name)
    place = Place(params.project_name, params.environment)
    call.pair(place)

    async def target(registry: Registry) -> tuple[Project, Pair, promote.SwitchInput]:
        project = await _ready(call, registry, params.project_name)
        pair = await registry.slots.pair(place)
        assert pair is not None
        current = pair.active.deployment_id if pair.active else None
        past = await registry.deployments.history(place, 50)
        good = next((each for each in past if each.promoted_at is not None and each.id != current), None)
        row = rollback.way_back(pair, call.kit.world.now(), good)
        return project, pair, replace(promote.promotion(project, pair, row, call.kit.policy), reason=params.reason)

    def plan_of(pair: Pair, value: promote.SwitchInput) -> tuple[str, dict[str, Any]]:
        plan = {
            "projectName": place.project, "environment": place.environment, "to": value.target.value, "version": value.version,
            "from": pair.active.slot.value if pair.active else None, "fromVersion": pair.active.version if pair.active else None,
        }  # fmt: skip
        return plans.plan_id("rollback", plan, deploy.facts_of(pair)), plan

    if params.dry_run:
        async with call.kit.store.read() as registry:
            _, pair, value = await target(registry)
        plan_id, plan = plan_of(pair, value)
        changes = [
            f"send all traffic back to {value.version} in {value.target}",
            f"keep {plan['fromVersion']} deployed, without traffic",
        ]
        return Outcome(
            Plan(plan_id=plan_id, plan=plan, changes=changes), f"Would return to {value.version} ({value.target}).",
            (NextCall("rollback", {"projectName": place.project, "environment": place.environment, "planId": plan_id}, "do exactly this"),),
        )  # fmt: skip

    async def decide(registry: Registry) -> promote.SwitchInput:
        _, pair, value = await target(registry)
        if params.plan_id not in (None, plan_of(pair, value)[0]):
            raise StalePlan("The environment changed since the plan was made; nothing was done.", hint="Make a new dry run.")
        return value

    operation = await call.open(rollback.SAGA, (place,), decide)
    if not params.wait:
        return _accepted(operation)
    operation, steps = await call.ended(operation.id)
    result = RollbackResult(**(operation.result or {}), operation_id=operation.id, steps=step_list(steps))
    where = {"projectName": place.project, "environment": place.environment}
    return Outcome(
        result, f"{result.version} ({result.active_slot}) has all traffic again; {result.from_version} stays deployed without traffic.",
        (NextCall("logs", where | {"slot": result.previous_slot}, "see what the other version printed"),), operation.warnings,
    )  # fmt: skip


TOOLS: tuple[Tool[Any], ...] = (
    Tool(
        "deploy", "Deploy a version", "Put a version into the idle slot, healthy, with a preview URL. Traffic is not touched.",
        DeployParams, DeployResult, Role.MEMBER, Risk.CHANGES, _deploy, long=True, agents_must_say=("environment",),
    ),
    Tool(
        "promote", "Promote the deployed version", "Move all traffic to the deployed slot at once; the old version stays warm as the way back.",
        PromoteParams, PromoteResult, Role.MEMBER, Risk.CHANGES, _promote, long=True, agents_must_say=("environment",),
    ),
    Tool(
        "rollback", "Roll back", "Move all traffic back to the slot in grace, at once.",
        RollbackParams, RollbackResult, Role.MEMBER, Risk.CHANGES, _rollback, long=True, agents_must_say=("environment",),
    ),
)  # fmt: skip
