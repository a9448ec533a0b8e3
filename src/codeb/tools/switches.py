"""Promote and rollback: which slot has the traffic."""

from dataclasses import replace
from typing import Any

from pydantic import Field

from codeb.contracts.store import Registry
from codeb.errors import Conflict
from codeb.flows import promote, rollback
from codeb.model.access import Role
from codeb.model.journal import Operation
from codeb.model.names import Place, Slot
from codeb.model.slots import Pair
from codeb.tools import fields
from codeb.tools.call import Call
from codeb.tools.drafts import Draft, draft, facts_of, reach
from codeb.tools.refusals import step_list
from codeb.tools.tool import Accepted, NextCall, Outcome, Risk, Tool


class PromoteParams(fields.Confirmed, fields.Long, fields.OnEnvironment):
    slot: fields.SlotName | None = Field(None, description="default: the slot that is deployed")


class RollbackParams(fields.Confirmed, fields.Long, fields.OnEnvironment):
    reason: fields.Reason = ""


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


def accepted(operation: Operation) -> Outcome:
    """The answer of an operation that is not waited for."""
    return Outcome(
        Accepted(operation_id=operation.id, state=operation.state.value), f"Begun: {operation.summary}.",
        (NextCall("operation_get", {"operationId": operation.id, "waitSeconds": 30}, "follow it"),),
    )  # fmt: skip


def _behind_a_page(call: Call, place: Place) -> tuple[str, ...]:
    if place not in call.kit.store.snapshot.maintenances:
        return ()
    return ("Its maintenance page is shown: visitors see this version once maintenance_off was called.",)


async def _there(registry: Registry, place: Place) -> Pair:
    pair = await registry.slots.pair(place)
    if pair is None:
        raise Conflict(f"The environment {place.key} is gone meanwhile.", code="environment_gone", hint="See project_get.")
    return pair


def _draft_promote(call: Call, pair: Pair, slot: Slot | None) -> Draft:
    row, active, place = promote.promotable(pair, slot), pair.active, pair.place
    plan = {
        "projectName": place.project, "environment": place.environment, "to": row.slot.value, "version": row.version,
        "digest": row.digest, "from": active.slot.value if active else None, "fromVersion": active.version if active else None,
    }  # fmt: skip
    changes = [f"send all traffic of {place.project} {place.environment} to {row.version} in {row.slot}"]
    if active:
        changes.append(f"keep {active.version} in {active.slot} warm for {call.kit.policy.grace_hours:g} hours")
    if active and active.adopted:
        changes.append(f"remove {active.called} after that: CodeB stops and removes it, its volumes stay")
    moved = [each for each in (row, active) if each]
    names = call.kit.store.snapshot.domains.values()
    touches = reach(moved, call.kit.policy.base_domain, public=True, domains=names)
    return draft("promote", plan, changes, facts_of(pair), touches)


async def _promote(call: Call, params: PromoteParams) -> Outcome:
    call.project(params.project_name)
    place = Place(params.project_name, params.environment)
    pair, slot = call.pair(place), Slot(params.slot) if params.slot else None
    where = {"projectName": place.project, "environment": place.environment}
    if params.dry_run:
        drafted = _draft_promote(call, pair, slot)
        apply = NextCall("promote", where | {"planId": drafted.id}, "do exactly this")
        return drafted.shown(f"Would promote {drafted.plan['version']} ({drafted.plan['to']}).", apply)

    async def decide(registry: Registry) -> promote.SwitchInput:
        project, now_there = await call.ready(registry, place.project), await _there(registry, place)
        row = promote.promotable(now_there, slot)
        _draft_promote(call, now_there, slot).still_fits(params)
        return promote.promotion(project, now_there, row, call.kit.policy, call.kit.store.snapshot.domains_of(place))

    operation = await call.open(promote.SAGA, (place,), decide)
    if not params.wait:
        return accepted(operation)
    operation, steps = await call.ended(operation.id)
    result = PromoteResult(**(operation.result or {}), operation_id=operation.id, steps=step_list(steps))
    next_ = (NextCall("rollback", where, "return to the version before, at once"),) if result.grace_period else ()
    said = f"{result.version} ({result.active_slot}) has all traffic at {result.url}."
    return Outcome(result, said, next_, (*operation.warnings, *_behind_a_page(call, place)))


def _draft_rollback(call: Call, pair: Pair, value: promote.SwitchInput) -> Draft:
    active, place = pair.active, pair.place
    plan = {
        "projectName": place.project, "environment": place.environment, "to": value.target.value, "version": value.version,
        "from": active.slot.value if active else None, "fromVersion": active.version if active else None,
    }  # fmt: skip
    changes = [f"send all traffic back to {value.version} in {value.target}"]
    changes.append(f"keep {plan['fromVersion']} deployed, without traffic")
    moved = [each for each in (pair[value.target], active) if each]
    names = call.kit.store.snapshot.domains.values()
    touches = reach(moved, call.kit.policy.base_domain, public=True, domains=names)
    return draft("rollback", plan, changes, facts_of(pair), touches)


async def _way_back(call: Call, registry: Registry, place: Place, reason: str) -> tuple[Pair, promote.SwitchInput]:
    """Where a rollback would go, or the refusal that names the deploy which brings the last good version back."""
    project, pair = await call.ready(registry, place.project), await _there(registry, place)
    current = pair.active.deployment_id if pair.active else None
    past = await registry.deployments.history(place, 50)
    good = next((each for each in past if each.promoted_at is not None and each.id != current), None)
    row = rollback.way_back(pair, call.kit.world.now(), good)
    domains = call.kit.store.snapshot.domains_of(place)
    return pair, replace(promote.promotion(project, pair, row, call.kit.policy, domains), reason=reason)


async def _rollback(call: Call, params: RollbackParams) -> Outcome:
    call.project(params.project_name)
    place = Place(params.project_name, params.environment)
    call.pair(place)
    where = {"projectName": place.project, "environment": place.environment}
    if params.dry_run:
        found = await call.kit.store.consult(lambda registry: _way_back(call, registry, place, params.reason))
        drafted = _draft_rollback(call, *found)
        apply = NextCall("rollback", where | {"planId": drafted.id}, "do exactly this")
        return drafted.shown(f"Would return to {drafted.plan['version']} ({drafted.plan['to']}).", apply)

    async def decide(registry: Registry) -> promote.SwitchInput:
        pair, value = await _way_back(call, registry, place, params.reason)
        _draft_rollback(call, pair, value).still_fits(params)
        return value

    operation = await call.open(rollback.SAGA, (place,), decide)
    if not params.wait:
        return accepted(operation)
    operation, steps = await call.ended(operation.id)
    result = RollbackResult(**(operation.result or {}), operation_id=operation.id, steps=step_list(steps))
    said = f"{result.version} ({result.active_slot}) has all traffic again; {result.from_version} stays deployed without traffic."
    look = NextCall("logs", where | {"slot": result.previous_slot}, "see what the other version printed")
    return Outcome(result, said, (look,), (*operation.warnings, *_behind_a_page(call, place)))


TOOLS: tuple[Tool[Any], ...] = (
    Tool(
        "promote", "Promote the deployed version",
        "Move all traffic to the deployed slot at once; the old version stays warm as the way back.",
        PromoteParams, PromoteResult, Role.MEMBER, Risk.CHANGES, _promote, long=True, without_database=True,
        risky=fields.in_production, agents_must_say=("environment",),
    ),
    Tool(
        "rollback", "Roll back", "Move all traffic back to the slot in grace, at once.",
        RollbackParams, RollbackResult, Role.MEMBER, Risk.CHANGES, _rollback, long=True, without_database=True,
        risky=fields.in_production, agents_must_say=("environment",),
    ),
)  # fmt: skip
