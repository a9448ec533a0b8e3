"""Rollback: move all traffic back to the slot in grace. Needs no pull, build or start.

check -> SWITCH (forbid the fallback, flip the bit, prove) -> record -> log
"""

from datetime import datetime
from typing import Any

from codeb.contracts.store import Registry
from codeb.errors import Conflict, StepFailed
from codeb.flows.promote import SwitchInput, fit_for_traffic, flip, landed, switch, switched
from codeb.model.names import Place
from codeb.model.slots import Event, Pair, SlotRow, grace_expired
from codeb.model.specs import Deployment
from codeb.saga.step import Run, Saga, Step


async def _check(run: Run[SwitchInput]) -> None:
    value = run.input
    try:
        await fit_for_traffic(run.kit, value)
    except StepFailed as fault:
        hint, details = redeploy(value.place, pinned(value.image, value.digest, value.image_id), value.version)
        raise StepFailed(
            f"The slot in grace is unhealthy, so there is no version to return to at once: {fault.message}",
            code="grace_unhealthy", hint=hint, details={**fault.details, **details, "cause": fault.code},
        ) from fault  # fmt: skip


async def _unswitch(run: Run[SwitchInput]) -> None:
    """As it was: the active slot live again, the slot in grace its fallback again."""
    value = run.input
    await switch(run.kit, value.place, value.origin)
    await run.kit.proxy.set_fallback(value.place, True)


async def _record(run: Run[SwitchInput], registry: Registry) -> dict[str, Any]:
    value, now = run.input, run.kit.world.now()
    pair = await registry.slots.pair(value.place)
    assert pair is not None
    assert value.origin is not None
    await registry.slots.put(pair[value.target].moved(Event.RETURN), pair[value.origin].moved(Event.DEMOTE))
    await registry.deployments.change(value.deployment_id, promoted_at=now)
    return {"at": now.isoformat(), "fromVersion": pair[value.origin].version}


async def _log(run: Run[SwitchInput]) -> None:
    value, recorded = run.input, run.outputs["record"]
    entry = {
        "at": recorded["at"], "operationId": run.operation.id, "project": value.place.project,
        "environment": value.place.environment, "from": value.origin, "fromVersion": recorded["fromVersion"],
        "to": value.target, "toVersion": value.version, "by": run.operation.actor, "reason": value.reason,
    }  # fmt: skip
    await run.kit.records.append(f"rollbacks/{value.place.project}", entry, key=run.operation.id)


def _result(run: Run[SwitchInput]) -> dict[str, Any]:
    return switched(run.input) | {"fromVersion": run.outputs["record"]["fromVersion"], "reason": run.input.reason}


SAGA: Saga[SwitchInput] = Saga(
    name="rollback",
    version=1,
    input=SwitchInput,
    steps=(
        Step("check", "the slot in grace is healthy now and runs what was deployed", do=_check),
        Step(
            "switch", "forbid the fallback, flip the bit, see the old version answer through the public route",
            do=flip, undo=_unswitch, commits=True, landed=landed,
        ),
        Step("record", "the slot in grace is active, the bad version deployed", record=_record),
        Step("log", "one line for people in logs/rollbacks", do=_log),
    ),
    deadline=lambda policy: policy.switch_seconds,
    result=_result,
    summary=lambda value: f"roll {value.place.project} {value.place.environment} back to {value.version} ({value.target})",
)  # fmt: skip


def way_back(pair: Pair, now: datetime, last_good: Deployment | None) -> SlotRow:
    """The slot in grace that a rollback would return to.

    Raises `Conflict`: `nothing_active`, `no_grace` or `grace_expired`, naming the deploy that brings the last good version back.
    """
    hint, details = "Deploy the version you want and promote it.", dict[str, Any]()
    if last_good is not None:
        image = pinned(last_good.image, last_good.digest, last_good.image_id)
        hint, details = redeploy(pair.place, image, last_good.version)
    if pair.active is None:
        raise Conflict(f"No version of {pair.place.key} is active.", code="nothing_active", hint=hint, details=details)
    if pair.grace is None:
        raise Conflict(
            f"No slot of {pair.place.key} is in grace: there is no version to return to.",
            code="no_grace", hint=hint, details=details,
        )  # fmt: skip
    if grace_expired(pair.grace, now):
        raise Conflict(f"The grace of {pair.place.key} is over.", code="grace_expired", hint=hint, details=details)
    return pair.grace


def redeploy(place: Place, image: str, version: str) -> tuple[str, dict[str, Any]]:
    """Hint and details that name the call which brings a version back."""
    call = {"projectName": place.project, "environment": place.environment, "image": image, "version": version}
    why = "bring the last good version back; then promote it"
    return f"Deploy {image} again, then promote.", {"redeploy": {"tool": "deploy", "params": call, "why": why}}


def pinned(image: str, digest: str | None, image_id: str | None) -> str:
    """The reference of an image that ran, by digest where an image registry gave it one."""
    if digest is None or digest == image_id:
        return image
    repository = image.partition("@")[0]
    head, slash, last = repository.rpartition("/")
    return f"{head}{slash}{last.partition(':')[0]}@{digest}"
