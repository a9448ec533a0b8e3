"""Undelete: a deleted project is as it was: the same slots, the same active versions live, a grace with its end as it was.

containers -> health -> firewall -> sites -> RESTORE

Containers answer before any traffic reaches them. A version that does not come up is no reason to keep the rest away: the
project comes back, and the answer says which version does not answer, and why. When Docker or the proxy is away, all is
undone and the project stays deleted.
"""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from codeb.contracts.store import Registry
from codeb.errors import Conflict, NotFound, StepFailed
from codeb.flows import firewall, mend
from codeb.flows.health import until_healthy
from codeb.flows.mend import MendInput, has_site
from codeb.flows.site import let_stand_in, prove
from codeb.model import deletion
from codeb.model.drift import wanted_live
from codeb.model.events import Event, Severity
from codeb.model.names import Place
from codeb.model.slots import Pair, SlotRow, State
from codeb.model.specs import Live, Site
from codeb.saga.step import Run, Saga, Step


@dataclass(frozen=True)
class UndeleteInput:
    """What the registry says of it, and what is to run again: every filled slot but those whose grace is over."""

    project: str
    parts: tuple[MendInput, ...]

    @property
    def rows(self) -> Iterator[tuple[MendInput, SlotRow]]:
        """Each slot that is to run, with its environment; the active ones first."""
        return ((part, part.pair[slot]) for part in self.parts if part.pair for slot in part.kept_up)


async def _containers(run: Run[UndeleteInput]) -> dict[str, Any]:
    """Each one by itself: what is wrong with one is told by its name."""
    faults = dict[str, str]()
    for part, row in run.input.rows:
        try:
            await mend.raised(Run(run.kit, run.operation, part, warnings=run.warnings), row)
        except (Conflict, NotFound, StepFailed) as fault:
            faults[row.container] = fault.message
    return faults


async def _aside_again(run: Run[UndeleteInput]) -> None:
    for part, row in run.input.rows:
        await run.kit.runtime.shelve(row.container, part.limits.stop_seconds)


async def _health(run: Run[UndeleteInput]) -> dict[str, Any]:
    """What does not answer, by container, and why."""
    faults = {name: str(said) for name, said in run.outputs["containers"].items()}

    async def ask(part: MendInput, row: SlotRow) -> None:
        assert part.site is not None
        try:
            await until_healthy(
                run.kit, row.container, container_port=row.container_port or part.container_port, host_port=row.port,
                path=part.site.path(row.slot), seconds=run.kit.policy.health_seconds,
            )  # fmt: skip
        except StepFailed as slow:
            faults[row.container] = slow.message

    await asyncio.gather(*(ask(part, row) for part, row in run.input.rows if row.container not in faults))
    return faults


async def _sites(run: Run[UndeleteInput]) -> dict[str, Any]:
    """What the public route of an environment does not say, by environment, and why."""
    faults = dict[str, str]()
    for part in run.input.parts:
        if part.site is None or part.pair is None or not (has_site(part.pair) or part.needs_site):
            continue
        wanted = wanted_live(part.pair, await mend.units_of(run.kit, part))
        active = part.pair.active
        down = active is not None and active.container in run.outputs["health"]
        # While the active version answers, the proxy is first to see so itself: only then may the older one stand in.
        await run.kit.proxy_upkeep.prepare(part.site, Live(wanted.slot, wanted.fallback and down))
        await mend.veil(run.kit, part)
        await run.kit.proxy.put_site(part.site)
        if active is None or down:
            continue
        if fault := await _answers(run, part.site, active):
            faults[part.place.key] = fault
        if wanted.fallback:
            run.warn(await let_stand_in(run.kit, part.site, active.slot))
    return faults


async def _answers(run: Run[UndeleteInput], site: Site, active: SlotRow) -> str:
    try:
        await prove(run.kit, site.hosts[0], site.path(active.slot), active.slot)
    except StepFailed as unproven:
        return unproven.message
    return ""


async def _firewall(run: Run[UndeleteInput]) -> None:
    """What was open for it is open again, before it has traffic."""
    await firewall.of_project(run.kit, run.input.project, also=(run.input.project,))


async def _closed_again(run: Run[UndeleteInput]) -> None:
    await firewall.of_project(run.kit, run.input.project, back=True)


async def _sites_gone(run: Run[UndeleteInput]) -> None:
    for part in run.input.parts:
        await run.kit.proxy.remove_site(part.place)


async def _restore(run: Run[UndeleteInput], registry: Registry) -> None:
    await registry.projects.set_state(run.input.project, deletion.READY)
    await registry.events.add(
        Event(
            id=run.kit.world.new_id("ev"), at=run.kit.world.now(), kind="project_restored", severity=Severity.INFO,
            text=f"Project {run.input.project} was brought back.", team=run.operation.team, project=run.input.project,
            operation_id=run.operation.id,
        )
    )  # fmt: skip


def _environment(run: Run[UndeleteInput], place: Place, pair: Pair) -> dict[str, Any]:
    active, grace = pair.active, pair.grace
    faults, routes = run.outputs["health"], run.outputs["sites"]
    problem = (faults.get(active.container) or routes.get(place.key)) if active else None
    return {
        "environment": place.environment, "url": run.kit.policy.url(place.host(run.kit.policy.base_domain)),
        "activeSlot": active.slot.value if active else None, "version": active.version if active else None,
        "answers": problem is None if active else None, "problem": problem,
        "graceExpiresAt": grace.grace_expires_at.isoformat() if grace and grace.grace_expires_at else None,
        "notAnswering": {row.slot.value: faults[row.container] for row in pair.rows if row.container in faults},
    }  # fmt: skip


def _result(run: Run[UndeleteInput]) -> dict[str, Any]:
    told = [_environment(run, part.place, part.pair) for part in run.input.parts if part.pair]
    return {"projectName": run.input.project, "environments": told}


SAGA: Saga[UndeleteInput] = Saga(
    name="undelete",
    version=2,
    input=UndeleteInput,
    steps=(
        Step("containers", "its containers are back and run", do=_containers, undo=_aside_again),
        Step("health", "ask each of them whether it answers", do=_health),
        Step("firewall", "what was open for it is open", do=_firewall, undo=_closed_again, apart=True),
        # Apart: no container's way back waits for a dead proxy; nothing of it had traffic before.
        Step("sites", "its sites are configured, the active versions live", do=_sites, undo=_sites_gone, apart=True),
        Step("restore", "the project is as it was", record=_restore, commits=True),
    ),
    deadline=lambda policy: policy.deploy_seconds,
    result=_result,
    summary=lambda value: f"bring project {value.project} back",
)


def slots_to_run(pair: Pair, over: SlotRow | None) -> list[SlotRow]:
    """The filled slots of an environment, the active one first; `over`: a grace that has ended, which stays aside."""
    filled = [row for row in pair.rows if row.state is not State.EMPTY and row is not over]
    return sorted(filled, key=lambda row: row.state is not State.ACTIVE)
