"""One round of mending: what was found is put right, each environment under its own lock, and then looked at again."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from codeb.contracts.kit import Kit
from codeb.contracts.store import Registry
from codeb.errors import PublicError
from codeb.flows import firewall, mend, storage_look, storage_mend
from codeb.flows.observers import Survey, survey
from codeb.flows.storage import StorageInput
from codeb.model import drift_instances, drift_previews
from codeb.model.drift import Mismatch
from codeb.model.names import Place
from codeb.model.pulls import PullState
from codeb.tools.call import Call
from codeb.tools.preview_ends import begin_end
from codeb.tools.refusals import not_ready

PLACES_AT_ONCE = 4
WAIT_SECONDS = 300.0

CallFor = Callable[[Place | None], Call]
"""in whose name an environment is mended; None: what belongs to no environment"""


@dataclass
class Tried:
    """What came of it, by key of the mismatch. `again` is the look afterwards."""

    operations: dict[str, str] = field(default_factory=dict)
    why_not: dict[str, str] = field(default_factory=dict)
    parts: dict[str, str] = field(default_factory=dict)
    """who had found it"""
    again: Survey | None = None

    def mended(self, each: Mismatch) -> bool:
        """Whether it was to be mended and is no longer so. What could not be looked at again is not mended."""
        if self.again is None or not each.mendable:
            return False
        now = self.again.by_part.get(self.parts.get(each.key, ""), ())
        return not any(left.kind == "unseen" or left.key == each.key for left in now)


async def mend_all(kit: Kit, seen: Survey, chosen: Sequence[Mismatch], call_for: CallFor) -> Tried:
    """Mend the chosen ones of what was seen. What fails is told in `why_not`; nothing is raised for it."""
    tried = Tried(parts={each.key: part for part, found in seen.by_part.items() for each in found})
    todo = [each for each in chosen if each.mendable]
    if not todo:
        return tried
    whole = {each.kind: each for each in todo if each.place is None}
    if dead := whole.get("proxy_dead"):
        # before everything else: no site is served
        await _proxy(kit, dead, tried)
    places, turns = dict[Place, list[Mismatch]](), asyncio.Semaphore(PLACES_AT_ONCE)
    # an app that is started again asks for its database at once
    for each in todo:
        if each.kind.startswith(drift_instances.KIND):
            await _storage(each, call_for(each.place), tried)
    over = {each.place: each for each in todo if each.kind == drift_previews.KIND}
    await asyncio.gather(*(_preview(each, call_for(each.place), tried, turns) for each in over.values()))
    for each in todo:
        # of what has just been removed nothing is to be mended
        if each.place is not None and each.place not in over and not each.kind.startswith(drift_instances.KIND):
            places.setdefault(each.place, []).append(each)
    await asyncio.gather(*(_place(kit, seen, place, found, call_for(place), tried, turns) for place, found in places.items()))
    if differs := whole.get("proxy_differs") or (dead if dead and dead.key in tried.why_not else None):
        # after the sites: what is on disk is what it should be by now
        await _proxy(kit, differs, tried)
    await _networks(kit, (each for each in todo if each.kind == "network_of_nobody"), tried)
    if wall := [each for each in todo if each.kind.startswith("firewall_")]:
        await _firewall(kit, wall, call_for(None), tried)
    tried.again = await survey(kit, only={*places, *(place for place in over if place is not None)})
    for left in tried.again.found:
        if left.key in {each.key for each in todo}:
            tried.why_not.setdefault(left.key, "it is still so; it is tried again later")
    return tried


async def _place(
    kit: Kit, seen: Survey, place: Place, found: list[Mismatch], call: Call, tried: Tried, turns: asyncio.Semaphore
) -> None:
    async def decide(registry: Registry) -> mend.MendInput:
        project, pair = await registry.projects.get(place.project), await registry.slots.pair(place)
        if project is not None and (fault := not_ready(project)):
            raise fault
        named, page = kit.store.snapshot.domains_of(place), await registry.maintenances.get(place)
        return mend.mending(place, project, pair, found, seen.units, kit.policy, named, page is not None)

    try:
        async with turns:
            operation = await call.open(mend.SAGA, (place,), decide, part=f"#{place.key}")
            tried.operations |= {each.key: operation.id for each in found}
            operation, _ = await call.ended(operation.id, WAIT_SECONDS)
        if operation.warnings:
            tried.why_not |= {each.key: " ".join(operation.warnings) for each in found}
    except PublicError as fault:
        tried.why_not |= {each.key: fault.message for each in found}


async def _preview(each: Mismatch, call: Call, tried: Tried, turns: asyncio.Semaphore) -> None:
    """Its pull request is over: it is removed, unless it was deployed again meanwhile."""
    assert each.place is not None
    still = call.kit.store.snapshot.previews.get(each.place)
    if still is None or not drift_previews.is_quiet(still, call.kit.world.now()):
        return
    try:
        async with turns:
            why = drift_previews.why(each.place, PullState(each.subject))
            operation = await begin_end(call, each.place, why, still=still, part=f"#{each.place.key}")
            tried.operations[each.key] = operation.id
            operation, _ = await call.ended(operation.id, WAIT_SECONDS)
        if not (operation.result or {}).get("deleted"):
            tried.why_not[each.key] = " ".join(operation.warnings)
    except PublicError as fault:
        tried.why_not[each.key] = fault.message


async def _storage(each: Mismatch, call: Call, tried: Tried) -> None:
    """Its container runs again. Data that is gone is none of these: it is told and not mended."""

    async def decide(registry: Registry) -> StorageInput:
        return await storage_look.mending(registry, each)

    assert each.place is not None
    try:
        operation = await call.open(storage_mend.SAGA, (each.place,), decide, part=f"#{each.where}")
        tried.operations[each.key] = operation.id
        operation, _ = await call.ended(operation.id, WAIT_SECONDS)
        if operation.warnings:
            tried.why_not[each.key] = " ".join(operation.warnings)
    except PublicError as fault:
        tried.why_not[each.key] = fault.message


async def _proxy(kit: Kit, each: Mismatch, tried: Tried) -> None:
    try:
        await kit.proxy_upkeep.start()
        tried.why_not.pop(each.key, None)
    except PublicError as fault:
        said = fault.details.get("log")
        tried.why_not[each.key] = fault.message + (f" {said[-1]}" if said else "")


async def _networks(kit: Kit, found: Iterable[Mismatch], tried: Tried) -> None:
    for each in found:
        try:
            await kit.networks.remove_network(each.subject)
        except PublicError as fault:
            tried.why_not[each.key] = fault.message


async def _firewall(kit: Kit, found: Sequence[Mismatch], call: Call, tried: Tried) -> None:
    """What is missing is opened again, and what was edited is written anew; nothing that stands open is closed."""
    try:
        value = await firewall.mending(kit, fixed=False)
        operation = await call.open(firewall.SAGA, (firewall.LOCK,), lambda _: _decided(value), part="#firewall")
        tried.operations |= {each.key: operation.id for each in found}
        await call.ended(operation.id, WAIT_SECONDS)
    except PublicError as fault:
        tried.why_not |= {each.key: fault.message for each in found}


async def _decided(value: firewall.FirewallInput) -> firewall.FirewallInput:
    return value
