"""Deploy: put a version into the idle slot, with a preview."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from pydantic import Field

from codeb.contracts.store import Registry
from codeb.errors import InvalidParams, Unavailable
from codeb.flows import deploy, envs
from codeb.flows.image_needs import not_while_deleting
from codeb.flows.site import site_of
from codeb.model import grammar
from codeb.model.access import Role
from codeb.model.journal import Operation, StepRow
from codeb.model.names import Place
from codeb.model.slots import Pair, State
from codeb.tools import fields
from codeb.tools.call import Call
from codeb.tools.drafts import Draft, draft, facts_of, reach
from codeb.tools.pairs import new_pair, taken_outside
from codeb.tools.refusals import ending, step_list
from codeb.tools.switches import PromoteResult, accepted
from codeb.tools.tool import NextCall, Outcome, Risk, Tool


class DeployParams(fields.Confirmed, fields.Long, fields.OnEnvironment):
    image: fields.ImageRef | None = Field(None, description="default: {imageRegistry}/{project}:{version}")
    version: fields.Version | None = Field(None, description="default: the image's tag")
    auto_promote: bool = Field(False, description="promote at once when the deploy succeeded")
    health_path: fields.HealthPath | None = None
    timeout: float = Field(60, ge=1, le=540, description="seconds the version has to become healthy")


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
    env_version: int | None = None
    """of the environment variables it runs with; null: there are none"""
    operation_id: str
    steps: list[dict[str, Any]]
    promoted: dict[str, Any] | None = None


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


async def _plan(
    call: Call,
    params: DeployParams,
    registry: Registry,
    outside: set[int],
    site_is_new: bool,
    stopped: set[str | None],
) -> deploy.DeployInput:
    """Read the registry, choose the slot, fix everything an undo will need.

    `site_is_new` and `stopped` (deployments whose container does not run) were seen before this transaction: another
    deploy may have ended since, so they count only where the registry does not know better.
    """
    began = call.kit.world.monotonic()
    project = await call.ready(registry, params.project_name)
    place = Place(params.project_name, params.environment)
    image, version = _what(call, params)
    validated = call.kit.world.monotonic()
    pair = await registry.slots.pair(place)
    pair_is_new = pair is None
    if (kept := await registry.previews.get(place)) is not None and kept.ending:
        raise ending(kept)
    if pair is None:
        _refuse_new_while_away(call, place)
        pair = await new_pair(registry, call, place, outside)
    row = pair.deploy_target()
    # opened now, so that a vault that is shut is told before anything is done
    variables = (await envs.newest(call.kit, registry, place)).version
    # The site keeps the project's own path: its health checks ask the other slot too.
    domains = call.kit.store.snapshot.domains_of(place)
    before, site = (site_of(project, pair, call.kit.policy, domains, fresh=fresh) for fresh in (None, row.slot))
    if params.health_path is not None:
        project = replace(project, health_path=params.health_path)
    return deploy.DeployInput(
        place=place, slot=row.slot, port=site.port(row.slot), image=image, version=version,
        deployment_id=call.kit.world.new_id("dep"), container_port=project.container_port, health_path=project.health_path,
        health_seconds=params.timeout, limits=project.limits, site=site, pair_is_new=pair_is_new,
        site_is_new=site_is_new and all(each.state is State.EMPTY for each in pair.rows),
        auto_promote=params.auto_promote, former_state=row.state, former_version=row.version,
        former_runs=row.state is not State.EMPTY and row.deployment_id not in stopped,
        former_site=before if before != site else None, former_container_port=row.container_port,
        former_adopted=row.taken_over,
        preview_url=call.kit.policy.url(dict(site.preview_hosts)[row.slot]),
        env_version=variables.number if variables else None,
        validate_ms=(validated - began) * 1000, slot_ms=(call.kit.world.monotonic() - validated) * 1000,
    )  # fmt: skip


def draft_of(call: Call, value: deploy.DeployInput, pair: Pair) -> Draft:
    active, former = pair.active, {"state": value.former_state.value, "version": value.former_version}
    plan = {
        "projectName": value.place.project, "environment": value.place.environment, "slot": value.slot.value, "port": value.port,
        "image": value.image, "version": value.version, "healthPath": value.health_path, "autoPromote": value.auto_promote,
        "replaces": None if value.former_state is State.EMPTY else former, "graceEnded": value.former_state is State.GRACE,
        "activeVersion": active.version if active else None, "previewUrl": value.preview_url, "newSite": value.site_is_new,
        "envVersion": value.env_version,
    }  # fmt: skip
    changes = [f"start {value.image} as {value.container} on 127.0.0.1:{value.port}"]
    if value.former_state is not State.EMPTY:
        what = value.former_version if value.former_adopted is None else pair[value.slot].called
        changes.append(f"replace {what} ({value.former_state}) in {value.slot}")
    if value.former_state is State.GRACE:
        changes.append("give up the way back: the grace version is replaced once the new one is healthy")
    if value.site_is_new:
        changes.append("add the environment's site to the proxy (a reload)")
    if value.auto_promote:
        changes.append(f"send all traffic to {value.version}")
    both = pair.rows if value.auto_promote else (pair[value.slot],)
    names = call.kit.store.snapshot.domains.values()
    touches = reach(both, call.kit.policy.base_domain, public=value.auto_promote, previews=True, domains=names)
    return draft("deploy", plan, changes, facts_of(pair), touches)


def _refuse_new_while_away(call: Call, place: Place) -> None:
    """A new environment takes ports, and they are the database's to give (P7). Raises `Unavailable`."""
    if call.kit.store.standing.degraded:
        raise Unavailable(
            f"The database does not answer, and {place.key} would be a new environment; nothing was done.",
            code="degraded", hint="Environments that exist can be deployed to meanwhile. Try again once it is back.",
        )  # fmt: skip


async def deciding(call: Call, params: DeployParams) -> Callable[[Registry], Awaitable[deploy.DeployInput]]:
    """Look at what has to be seen before a transaction; gives what decides in one what is deployed.

    Raises for what is to be refused anyway, the decision as `_plan` does.
    """
    call.project(params.project_name)
    place = Place(params.project_name, params.environment)
    _what(call, params)
    known = call.kit.store.snapshot.pair_of(place)
    outside = set() if known else await taken_outside(call)
    site_is_new = place not in await call.kit.proxy.sites()
    there = [row for row in known.rows if row.state is not State.EMPTY] if known else []
    stopped = {row.deployment_id for row in there if not await deploy.former_runs(call.kit, row.container)}

    async def decide(registry: Registry) -> deploy.DeployInput:
        value = await _plan(call, params, registry, outside, site_is_new, stopped)
        if not params.dry_run:
            await not_while_deleting(registry, call.kit.policy, value.image)
        if params.plan_id is not None:
            pair = await registry.slots.pair(place)
            assert pair is not None
            draft_of(call, value, pair).still_fits(params)
        return value

    return decide


async def _deploy(call: Call, params: DeployParams) -> Outcome:
    decide, place = await deciding(call, params), Place(params.project_name, params.environment)
    if params.dry_run:
        return await _dry(call, place, decide)
    operation = await call.open(deploy.SAGA, (place,), decide)
    if not params.wait:
        return accepted(operation)
    operation, steps = await call.ended(operation.id)
    return await _deployed(call, params, operation, steps)


async def _dry(call: Call, place: Place, decide: Callable[[Registry], Awaitable[deploy.DeployInput]]) -> Outcome:
    async def act(registry: Registry) -> tuple[deploy.DeployInput, Draft]:
        value = await decide(registry)
        pair = await registry.slots.pair(place)
        assert pair is not None
        return value, draft_of(call, value, pair)

    value, drafted = await call.rehearse(act)
    params = {
        "projectName": place.project, "environment": place.environment, "image": value.image, "version": value.version,
        "planId": drafted.id,
        # what else was said, or it would be another plan
        **{name: call.params[name] for name in ("autoPromote", "healthPath", "timeout") if name in call.params},
    }  # fmt: skip
    warnings: tuple[str, ...] = ()
    if value.former_state is State.GRACE:
        warnings = ("The grace version in this slot is given up: after a success there is no rollback to it.",)
    said = f"Would put {value.version} into {value.slot} of {place.project} {place.environment}."
    return drafted.shown(said, NextCall("deploy", params, "do exactly this"), *warnings)


async def _deployed(call: Call, params: DeployParams, operation: Operation, steps: list[StepRow]) -> Outcome:
    result = DeployResult(**(operation.result or {}), operation_id=operation.id, steps=step_list(steps))
    where = {"projectName": result.project_name, "environment": result.environment}
    warnings = operation.warnings
    if result.grace_ended:
        warnings += ("The version that was in grace in this slot is gone; there is no rollback until the next promote.",)
    if not params.auto_promote:
        said = f"{result.version} runs in {result.slot}, healthy, at {result.preview_url}; traffic is unchanged."
        return Outcome(result, said, (NextCall("promote", where, "send all traffic to it"),), warnings)
    promoted, promote_steps = await call.ended(await follower(call, operation))
    taken = PromoteResult(**(promoted.result or {}), operation_id=promoted.id, steps=step_list(promote_steps))
    result = result.model_copy(update={"promoted": taken.model_dump(by_alias=True, mode="json")})
    return Outcome(
        result, f"{result.version} runs in {result.slot} and has all traffic at {taken.url}.",
        (NextCall("rollback", where, "return to the version before"),), warnings + promoted.warnings,
    )  # fmt: skip


async def follower(call: Call, operation: Operation) -> str:
    """The promote that took over this deploy's lock as it ended."""
    later = await call.kit.store.consult(
        lambda registry: registry.journal.history(
            team=operation.team, project=operation.project, environment=operation.environment, open_only=False,
            limit=50, before=None,
        )
    )  # fmt: skip
    return next(each.id for each in later if each.follows == operation.id)


TOOLS: tuple[Tool[Any], ...] = (
    Tool(
        "deploy", "Deploy a version",
        "Put a version into the idle slot, healthy, with a preview URL. Traffic is not touched.",
        DeployParams, DeployResult, Role.MEMBER, Risk.CHANGES, _deploy, long=True, without_database=True,
        risky=lambda params: params.auto_promote and fields.in_production(params), agents_must_say=("environment",),
    ),
)  # fmt: skip
