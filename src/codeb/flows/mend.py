"""Mend: have one environment as the registry says, whatever somebody else did to it. Forward only, on what is seen.

ACCEPT -> site -> switch -> stand in -> containers -> fallback -> names -> strays

Traffic comes first: who must not have it loses it before anything else is mended, and who may stand in does so before
slow containers are started. Each step looks before it acts, so a repetition after a crash finds its work done.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from codeb.contracts.kit import Kit, Policy
from codeb.contracts.store import Registry
from codeb.errors import NotFound, PublicError, StepFailed
from codeb.flows import envs
from codeb.flows.health import until_healthy
from codeb.flows.names import ZonePlan, plans_of, restore_records
from codeb.flows.promote import switch
from codeb.flows.rollback import pinned
from codeb.flows.site import let_stand_in, site_of
from codeb.flows.units import unit_of_slot
from codeb.model import names
from codeb.model.domains import Domain
from codeb.model.drift import Mismatch, wanted_live
from codeb.model.names import Place, Slot
from codeb.model.slots import Pair, SlotRow, State
from codeb.model.specs import Limits, Live, Project, Site, Unit
from codeb.saga.step import Run, Saga, Step

HEALTHY_SECONDS = 15.0
"""how long a container that was started may take to answer before it may stand in; whoever supervises goes on looking"""
STRAY_STOP_SECONDS = 10


@dataclass(frozen=True)
class Stray:
    """A container that nothing explains. It is removed only as long as it is of this operation."""

    name: str
    operation_id: str


@dataclass(frozen=True)
class MendInput:
    """What the registry says, fixed in the transaction that opens; while the lock is held nobody else changes it."""

    place: Place
    pair: Pair | None
    site: Site | None
    container_port: int
    limits: Limits
    kept_up: tuple[Slot, ...] = ()
    """slots whose container is to run: the active one first, then the one in grace"""
    strays: tuple[Stray, ...] = ()
    found: tuple[str, ...] = ()
    """keys of the mismatches that are the reason, for the record"""
    needs_site: bool = False
    """whether it is to have a site although no version stands in a slot"""
    maintenance: bool = False
    """whether the maintenance page is to be shown"""
    plans: tuple[ZonePlan, ...] = ()
    """the records of its names, where they are to be put right"""


def mending(
    place: Place, project: Project | None, pair: Pair | None, found: list[Mismatch], units: dict[str, Unit], policy: Policy,
    domains: Sequence[Domain], maintenance: bool,
) -> MendInput:  # fmt: skip
    """The input that mends these mismatches of one environment, to which these domains lead."""
    mended = [each for each in found if each.mendable]
    strays = [Stray(each.subject, units[each.subject].operation_id) for each in mended if each.kind in STRAYS]
    kept_up = [row.slot for row in (pair.active, pair.grace) if row is not None] if pair else []
    lost = {each.slot for each in mended if each.kind.startswith("container_")}
    return MendInput(
        place=place, pair=pair, site=site_of(project, pair, policy, domains) if project and pair else None,
        container_port=project.container_port if project else 0, limits=project.limits if project else Limits(),
        kept_up=tuple(slot for slot in kept_up if slot in lost), strays=tuple(strays), found=tuple(each.key for each in mended),
        needs_site=bool(domains) or maintenance, maintenance=maintenance,
        plans=plans_of(domains, policy.public_addresses) if any(each.kind.startswith("dns_") for each in mended) else (),
    )  # fmt: skip


STRAYS = frozenset({"container_stray", "container_left_aside"})


async def _accept(run: Run[MendInput], registry: Registry) -> None:
    """From here on forward: each later step mends one thing more, and nothing that is mended is to be spoilt again."""


async def units_of(kit: Kit, value: MendInput) -> dict[str, Unit]:
    """The containers of this environment's slots."""
    seen = [await kit.runtime.look(value.place.container(slot)) for slot in Slot]
    return {unit.name: unit for unit in seen if unit is not None}


async def _site(run: Run[MendInput]) -> dict[str, Any]:
    value = run.input
    if value.site is None or value.pair is None:
        return {}
    if not (has_site(value.pair) or value.needs_site) and value.place not in await run.kit.proxy.sites():
        return {}
    await run.kit.proxy_upkeep.prepare(value.site, wanted_live(value.pair, await units_of(run.kit, value)))
    await veil(run.kit, value)
    if not await run.kit.proxy_upkeep.runs():
        run.warn("The proxy does not run; it loads the site when it is started.")
        return {}
    return {"proxyReloaded": await run.kit.proxy.put_site(value.site)}


async def veil(kit: Kit, value: MendInput) -> None:
    """The maintenance page is shown, or not, before anything else may have traffic."""
    if await kit.curtain.drawn(value.place) is not value.maintenance:
        await kit.curtain.draw(value.place, value.maintenance)


def has_site(pair: Pair) -> bool:
    """A site comes with the first deploy; an environment that was emptied may have kept its own."""
    return any(row.state is not State.EMPTY for row in pair.rows)


async def _switch(run: Run[MendInput]) -> dict[str, Any]:
    """Who must not have traffic loses it: the fallback is forbidden before the bit is set, and wherever nobody fit stands."""
    value, kit = run.input, run.kit
    if value.pair is None:
        return {}
    now, wanted = await kit.proxy.live(value.place), wanted_live(value.pair, await units_of(kit, value))
    if now.slot is not wanted.slot:
        await switch(kit, value.place, wanted.slot)
    elif now.fallback and not wanted.fallback:
        await kit.proxy.set_fallback(value.place, False)
    return {"was": now.slot, "is": wanted.slot}


async def _stand_in(run: Run[MendInput]) -> None:
    """The version in grace stands in again, if it is fit for it; the proxy takes a healthy active one first all the same."""
    value, kit = run.input, run.kit
    if value.pair is None or value.site is None:
        return
    wanted: Live = wanted_live(value.pair, await units_of(kit, value))
    now = await kit.proxy.live(value.place)
    if wanted.slot is not None and now.slot is wanted.slot and wanted.fallback and not now.fallback:
        run.warn(await let_stand_in(kit, value.site, wanted.slot))


async def _containers(run: Run[MendInput]) -> dict[str, Any]:
    """Each kept slot has its container, running: brought back, given its name again, started, or made anew."""
    value, done = run.input, dict[str, Any]()
    faults: list[PublicError] = []
    for slot in value.kept_up:
        assert value.pair is not None
        row = value.pair[slot]
        try:
            done[row.container] = await raised(run, row)
            await _answers(run, row)
        except PublicError as fault:
            faults.append(fault)
    if faults:
        raise faults[0]
    return done


async def raised(run: Run[MendInput], row: SlotRow) -> str:
    """Have it running under its name, as it was deployed; how, in a word. Safe to repeat."""
    kit, how = run.kit, "started"
    unit = await kit.runtime.look(row.container)
    if unit is None and row.adopted:
        raise StepFailed(
            f"{row.called} is gone, and CodeB, which did not make it, cannot make it again.", code="container_gone",
            hint="Deploy a version, and promote it.",
        )  # fmt: skip
    if unit is None:
        unit, how = await _brought_back(kit, row)
    if unit is None:
        unit, how = await _made(run, row), "made again"
    if unit.deployment_id != row.deployment_id:
        raise StepFailed(
            f"{row.container} is another container than the one that was deployed; it was left as it is.",
            code="not_what_was_deployed", hint="Remove it if it is not needed, or deploy the version again.",
        )  # fmt: skip
    if not unit.running and not unit.restarting:
        await kit.restarter.restart(row.container, run.input.limits.stop_seconds)
    await kit.runtime.keep(row.container)
    return how


async def _brought_back(kit: Kit, row: SlotRow) -> tuple[Unit | None, str]:
    """The very container that was deployed, standing elsewhere: set aside, or renamed by hand."""
    for unit in await kit.runtime.units():
        if unit.deployment_id != row.deployment_id or unit.image_id != row.image_id:
            continue
        if unit.name == names.kept(row.container):
            await kit.runtime.unshelve(row.container, start=True)
            return await kit.runtime.look(row.container), "brought back"
        await kit.upkeep.name_back(unit.name, row.container)
        return await kit.runtime.look(row.container), "named again"
    return None, ""


async def _made(run: Run[MendInput], row: SlotRow) -> Unit:
    """A container as it was deployed: same image, deployment, port, variables. Raises `NotFound` (`image_not_found`), and what
    `envs.values_of` does."""
    value = run.input
    spec = unit_of_slot(
        row.place, row.slot, deployment_id=row.deployment_id or "", operation_id=run.operation.id, version=row.version or "",
        image_id=row.image_id or "", port=row.port, container_port=row.container_port or value.container_port,
        limits=value.limits, env=await envs.values_of(run.kit, row.place, row.env_version),
    )  # fmt: skip
    try:
        return await run.kit.runtime.run(spec)
    except NotFound:
        # Somebody removed the image as well: whoever gave it out may still have it.
        await run.kit.images.resolve(pinned(row.image or "", row.digest, row.image_id))
        return await run.kit.runtime.run(spec)


async def _answers(run: Run[MendInput], row: SlotRow) -> None:
    assert run.input.site is not None
    try:
        await until_healthy(
            run.kit, row.container, container_port=row.container_port or run.input.container_port, host_port=row.port,
            path=run.input.site.path(row.slot), seconds=HEALTHY_SECONDS,
        )  # fmt: skip
    except StepFailed as slow:
        run.warn(f"{row.container} runs again and does not answer well: {slow.message}")


async def _strays(run: Run[MendInput]) -> None:
    for stray in run.input.strays:
        unit = await run.kit.runtime.look(stray.name)
        if unit is not None and unit.operation_id == stray.operation_id:
            await run.kit.runtime.remove(stray.name, STRAY_STOP_SECONDS)


async def _names(run: Run[MendInput]) -> None:
    for plan in run.input.plans:
        await restore_records(run.kit, plan)


def _result(run: Run[MendInput]) -> dict[str, Any]:
    value = run.input
    failed = [step.name for step in SAGA.steps if step.name not in run.outputs]
    return {
        "projectName": value.place.project, "environment": value.place.environment, "found": list(value.found),
        "containers": run.outputs.get("containers", {}), "notDone": failed,
    }  # fmt: skip


SAGA: Saga[MendInput] = Saga(
    name="mend",
    version=2,
    input=MendInput,
    steps=(
        Step("accept", "what the registry says is what is to be", record=_accept, commits=True),
        Step("site", "its site is written and loaded as it should be", do=_site),
        Step("switch", "who must not have traffic loses it", do=_switch),
        Step("stand_in", "a version in grace that runs may stand in", do=_stand_in),
        Step("containers", "the containers of the active and the grace slot run", do=_containers),
        Step("fallback", "a version in grace that runs again may stand in", do=_stand_in),
        Step("names", "the DNS records of its domains say what they should", do=_names),
        Step("strays", "what an ended operation left behind is removed", do=_strays),
    ),
    deadline=lambda policy: policy.switch_seconds,
    result=_result,
    summary=lambda value: f"mend {value.place.project} {value.place.environment}",
)  # fmt: skip
