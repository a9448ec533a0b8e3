"""Promote: move all traffic to the deployed slot at once, and prove it through the public route.

check -> SWITCH (flip the bit, prove) -> record -> fallback

The proxy's bit is the commit point: after a crash it says what is live. The old version goes into grace and becomes the
only fallback, after the flip and never before it.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from codeb.contracts.kit import Kit, Policy
from codeb.contracts.store import Registry
from codeb.errors import Conflict, StepFailed
from codeb.flows.health import until_healthy
from codeb.flows.site import let_stand_in, prove, site_of
from codeb.model.domains import Domain
from codeb.model.names import Place, Slot
from codeb.model.slots import Event, Pair, SlotRow, State
from codeb.model.specs import Project, Site
from codeb.saga.step import Run, Saga, Step

CHECK_SECONDS = 10.0
LANDED_SECONDS = 2.0


@dataclass(frozen=True)
class SwitchInput:
    """Traffic goes from `origin` (None: nobody had it) to `target`."""

    place: Place
    target: Slot
    origin: Slot | None
    target_port: int
    container_port: int
    health_path: str
    site: Site
    deployment_id: str
    image_id: str
    version: str
    digest: str
    grace_hours: float
    url: str
    reason: str = ""
    image: str = ""


def promotion(project: Project, pair: Pair, row: SlotRow, policy: Policy, domains: Iterable[Domain]) -> SwitchInput:
    """The input of a switch to `row`; `domains`: those that lead to the place."""
    active = pair.active
    site = site_of(project, pair, policy, domains)
    return SwitchInput(
        place=pair.place, target=row.slot, origin=active.slot if active else None, target_port=row.port,
        container_port=row.container_port or project.container_port, health_path=site.path(row.slot), site=site,
        deployment_id=row.deployment_id or "", image_id=row.image_id or "", version=row.version or "",
        digest=row.digest or "", grace_hours=policy.grace_hours, url=policy.url(site.hosts[0]),
        image=row.image or "",
    )  # fmt: skip


async def fit_for_traffic(kit: Kit, value: SwitchInput) -> None:
    """Healthy now, and the very thing that was deployed (P4). Raises `StepFailed`."""
    name = value.place.container(value.target)
    unit = await kit.runtime.look(name)
    if unit is not None and (unit.image_id != value.image_id or unit.deployment_id != value.deployment_id):
        raise StepFailed(
            f"{name} does not run what was deployed there.",
            code="not_what_was_deployed",
            hint="Somebody replaced the container. Deploy the version again.",
            details={"deployed": value.image_id, "running": unit.image_id},
        )
    await until_healthy(
        kit, name, container_port=value.container_port, host_port=value.target_port,
        path=value.health_path, seconds=CHECK_SECONDS,
    )  # fmt: skip


async def _check(run: Run[SwitchInput]) -> None:
    await fit_for_traffic(run.kit, run.input)
    await run.kit.proxy.put_site(run.input.site)


async def flip(run: Run[SwitchInput]) -> dict[str, Any]:
    """Move the traffic and see it move; the act that commits a promote and a rollback."""
    value = run.input
    began = run.kit.world.monotonic()
    await switch(run.kit, value.place, value.target)
    await prove(run.kit, value.site.hosts[0], value.health_path, value.target)
    return {"switchMs": round((run.kit.world.monotonic() - began) * 1000, 3)}


async def switch(kit: Kit, place: Place, target: Slot | None) -> None:
    """Forbid the fallback before the flip: the other slot may be one that must never have traffic.

    Where nobody is live the fallback's bit is out of sight: it may have been left or set there, and would hold with the flip.
    """
    now = await kit.proxy.live(place)
    if now.fallback or now.slot is None:
        await kit.proxy.set_fallback(place, False)
    await kit.proxy.set_live(place, target)


async def _unswitch(run: Run[SwitchInput]) -> None:
    await switch(run.kit, run.input.place, run.input.origin)


async def landed(run: Run[SwitchInput]) -> bool:
    """Whether the bit says the target is live, and the public route agrees."""
    value = run.input
    if (await run.kit.proxy.live(value.place)).slot is not value.target:
        return False
    try:
        await prove(run.kit, value.site.hosts[0], value.health_path, value.target, LANDED_SECONDS)
    except StepFailed:
        return False
    return True


async def _record(run: Run[SwitchInput], registry: Registry) -> dict[str, Any]:
    value, now = run.input, run.kit.world.now()
    pair = await registry.slots.pair(value.place)
    assert pair is not None
    ends = now + timedelta(hours=value.grace_hours)
    rows = [replace(pair[value.target].moved(Event.PROMOTE), promoted_at=now, promoted_by=run.operation.actor)]
    if value.origin is not None:
        rows.append(replace(pair[value.origin].moved(Event.SUPERSEDE), grace_expires_at=ends))
    await registry.slots.put(*rows)
    await registry.deployments.change(value.deployment_id, promoted_at=now)
    return {"graceEndsAt": ends.isoformat() if value.origin is not None else None}


async def _fallback(run: Run[SwitchInput]) -> None:
    value = run.input
    if value.origin is None:
        return
    unit = await run.kit.runtime.look(value.place.container(value.origin))
    if unit is not None and unit.running:
        run.warn(await let_stand_in(run.kit, value.site, value.target))
    else:
        run.warn(f"The previous version does not run: there is no way back to {value.origin} without a new deploy.")


def switched(value: SwitchInput) -> dict[str, Any]:
    """What every answer about a switch says."""
    return {
        "projectName": value.place.project, "environment": value.place.environment, "activeSlot": value.target.value,
        "previousSlot": value.origin.value if value.origin else None, "version": value.version, "digest": value.digest,
        "url": value.url,
    }  # fmt: skip


def _result(run: Run[SwitchInput]) -> dict[str, Any]:
    value, ends = run.input, run.outputs["record"]["graceEndsAt"]
    grace = {"slot": value.origin, "endsAt": ends, "hoursRemaining": value.grace_hours} if ends else None
    return switched(value) | {"gracePeriod": grace}


SAGA: Saga[SwitchInput] = Saga(
    name="promote",
    version=1,
    input=SwitchInput,
    steps=(
        Step("check", "the slot is healthy now and runs what was deployed; its site is configured", do=_check),
        Step(
            "switch", "flip the bit and see the new slot answer through the public route",
            do=flip, undo=_unswitch, commits=True, landed=landed,
        ),
        Step("record", "the new slot is active, the old one in grace", record=_record),
        Step("fallback", "the slot in grace may stand in when the active one is down", do=_fallback),
    ),
    deadline=lambda policy: policy.switch_seconds,
    result=_result,
    summary=lambda value: f"promote {value.version} ({value.target}) of {value.place.project} {value.place.environment}",
)  # fmt: skip


def promotable(pair: Pair, slot: Slot | None) -> SlotRow:
    """The row a promote would move traffic to. Raises `Conflict` (`nothing_to_promote`, `already_active`)."""
    row = pair[slot] if slot else pair.in_state(State.DEPLOYED)
    if row is not None and row.state is State.DEPLOYED:
        return row
    if row is not None and row.state is State.ACTIVE:
        raise Conflict(f"{row.slot} of {pair.place.key} is active already.", code="already_active", hint="Nothing is to be done.")
    where = f"{slot} of {pair.place.key} is {row.state}" if row else f"no slot of {pair.place.key} is deployed"
    raise Conflict(
        f"Nothing to promote: {where}.", code="nothing_to_promote",
        hint="Run deploy first." if not (row and row.state is State.GRACE) else "Use rollback to return to the slot in grace.",
    )  # fmt: skip
