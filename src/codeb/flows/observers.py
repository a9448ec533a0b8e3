"""Whoever looks at a part of the world and says where it differs from the registry. A new part is one observer more."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, field, replace

from codeb.contracts.kit import Kit
from codeb.contracts.store import Registry, Snapshot
from codeb.errors import PublicError
from codeb.flows import firewall, preview_look, storage_look
from codeb.flows.mend import has_site
from codeb.flows.site import site_of
from codeb.model import deletion, drift, drift_hosts, drift_previews
from codeb.model.domains import Domain, DomainState
from codeb.model.drift import Ground, Mismatch
from codeb.model.names import Place
from codeb.model.specs import Answer, Live, Unit

log = logging.getLogger("codeb.drift")

LOOK_SECONDS = 20.0
"""for one part; one that takes longer counts as not looked at"""
PROBE_SECONDS = 5.0
PROBES_AT_ONCE = 16
PROBE_TRIES, PROBE_PAUSE = 3, 0.3
"""a route that does not say what it should is asked again: a request that met a container in its last second is no finding"""

Look = Callable[[Kit, Ground, Collection[Place]], Awaitable[Sequence[Mismatch]]]


@dataclass(frozen=True)
class Observer:
    """Looks at one part. What it raises, or that it takes too long, is a finding of its own: never that all is well.

    It is given the registry's ground and the places of interest: a dear look may leave the others out.
    """

    name: str
    look: Look


@dataclass(frozen=True)
class Survey:
    """What one look at everything found, by observer."""

    ground: Ground
    by_part: dict[str, tuple[Mismatch, ...]] = field(default_factory=dict)

    @property
    def found(self) -> list[Mismatch]:
        return [each for part in self.by_part.values() for each in part]

    @property
    def units(self) -> dict[str, Unit]:
        return dict(self.ground.units or {})


async def _containers(kit: Kit, ground: Ground, of: Collection[Place]) -> Sequence[Mismatch]:
    made_by = {unit.operation_id for unit in drift.strays(ground) if unit.operation_id}

    async def act(registry: Registry) -> set[str]:
        found = [await registry.journal.get(each) for each in sorted(made_by)]
        return {each.id for each in found if each is not None and each.state.terminal}

    return drift.of_containers(ground, await kit.store.consult(act) if made_by else ())


async def _ports(kit: Kit, ground: Ground, of: Collection[Place]) -> Sequence[Mismatch]:
    return drift.of_ports(ground, await kit.ports.published(), await kit.ports.listening())


async def _proxy(kit: Kit, ground: Ground, of: Collection[Place]) -> Sequence[Mismatch]:
    pairs = [pair for place, pair in sorted(ground.pairs.items()) if place.project in ground.projects]
    named = ground.domains
    wanted = [site_of(ground.projects[p.place.project], p, kit.policy, named.get(p.place, ())) for p in pairs]
    configured = await kit.proxy_upkeep.configured(wanted)
    due = frozenset(p.place for p in pairs if has_site(p) or p.place in named or p.place in ground.maintenances)
    return drift.of_proxy(ground, replace(configured, missing=configured.missing & due))


async def _live(kit: Kit, ground: Ground) -> dict[Place, Live]:
    return {place: await kit.proxy.live(place) for place in ground.pairs}


async def _switches(kit: Kit, ground: Ground, of: Collection[Place]) -> Sequence[Mismatch]:
    drawn = [place for place in ground.pairs if await kit.curtain.drawn(place)]
    return [*drift.of_switches(ground, await _live(kit, ground)), *drift_hosts.of_curtains(ground, drawn)]


async def _routes(kit: Kit, ground: Ground, of: Collection[Place]) -> Sequence[Mismatch]:
    if not await kit.proxy_upkeep.runs():
        return []
    live, turns = await _live(kit, ground), asyncio.Semaphore(PROBES_AT_ONCE)

    async def ask(place: Place) -> Answer:
        route = kit.proxy.route(place.host(kit.policy.base_domain))
        active = ground.pairs[place].active
        address = replace(route, path=(active and active.health_path) or ground.projects[place.project].health_path)
        async with turns:
            answer = await kit.health.probe(address, PROBE_SECONDS)
            for _ in range(PROBE_TRIES - 1):
                if answer.slot == live[place].slot:
                    break
                await kit.world.sleep(PROBE_PAUSE)
                answer = await kit.health.probe(address, PROBE_SECONDS)
        return answer

    asked = [place for place in sorted(ground.pairs) if place in of and ground.pairs[place].active is not None]
    answers = await asyncio.gather(*(ask(place) for place in asked))
    return drift.of_routes(ground, live, dict(zip(asked, answers, strict=True)))


async def _dns(kit: Kit, ground: Ground, of: Collection[Place]) -> Sequence[Mismatch]:
    zones = {domain.zone for domain in drift_hosts.kept_names(ground)}
    if kit.dns is None or not zones:
        return []
    found = {zone: await kit.dns.records(zone) for zone in sorted(zones)}
    return drift_hosts.of_records(ground, found, kit.policy.public_addresses)


async def _networks(kit: Kit, ground: Ground, of: Collection[Place]) -> Sequence[Mismatch]:
    return drift.of_networks(ground, await kit.upkeep.networks())


async def _registry(kit: Kit, ground: Ground, of: Collection[Place]) -> Sequence[Mismatch]:
    left = await kit.store.consult(lambda registry: registry.conflicts.open_ones())
    return drift.of_deletions(ground) + drift.of_conflicts(left)


async def _firewall(kit: Kit, ground: Ground, of: Collection[Place]) -> Sequence[Mismatch]:
    return await firewall.differences(kit)


async def _storage(kit: Kit, ground: Ground, of: Collection[Place]) -> Sequence[Mismatch]:
    return [*await storage_look.differences(kit), *await storage_look.shared(kit, ground)]


async def _previews(kit: Kit, ground: Ground, of: Collection[Place]) -> Sequence[Mismatch]:
    return drift_previews.of_previews(await preview_look.states(kit, ground.pairs.keys() & set(of)))


OBSERVERS: tuple[Observer, ...] = (
    Observer("containers", _containers),
    Observer("ports", _ports),
    Observer("proxy", _proxy),
    Observer("switches", _switches),
    Observer("routes", _routes),
    Observer("dns", _dns),
    Observer("networks", _networks),
    Observer("registry", _registry),
    Observer("firewall", _firewall),
    Observer("storage", _storage),
    Observer("previews", _previews),
)


def ground_of(kit: Kit, snapshot: Snapshot, units: dict[str, Unit] | None) -> Ground:
    """The environments at rest; what is deleted, or being deleted, is nobody's to mend."""
    deleting = {name for name, project in snapshot.projects.items() if project.state != deletion.READY}
    busy = frozenset(
        place for place in {*snapshot.pairs, *snapshot.running} if place in snapshot.running or place.project in deleting
    )
    worked_on = {place.project for place in snapshot.running}
    pairs = {place: pair for place, pair in snapshot.pairs.items() if place not in busy}
    deleted = {name for name in deleting if snapshot.projects[name].state == deletion.DELETED}
    half = tuple(sorted(deleting - deleted - worked_on))
    named: dict[Place, list[Domain]] = {}
    for domain in snapshot.domains.values():
        if domain.state is DomainState.ACTIVE:
            named.setdefault(domain.place, []).append(domain)
    return Ground(
        kit.world.now(),
        snapshot.projects,
        pairs,
        busy,
        units,
        kit.store.standing.owed,
        half,
        named,
        frozenset(snapshot.maintenances),
    )


async def survey(kit: Kit, only: Collection[Place] | None = None, parts: Collection[str] | None = None) -> Survey:
    """Look at every part, all at once. `only`: places whose routes are asked; `parts`: observers that look.

    An environment that moved while this looked is left out: the next round sees it at rest.
    """
    before = kit.store.snapshot
    units, fault = await _units(kit)
    ground = ground_of(kit, before, units)
    chosen = [each for each in OBSERVERS if parts is None or each.name in parts]
    of = ground.pairs.keys() if only is None else only
    found = await asyncio.gather(*(_bounded(each, kit, ground, of) for each in chosen))
    after = kit.store.snapshot
    moved = {place for place in {*before.pairs, *after.pairs} if before.pairs.get(place) != after.pairs.get(place)}
    moved |= after.running.keys()
    rest = {each.name: tuple(m for m in part if m.place not in moved) for each, part in zip(chosen, found, strict=True)}
    if fault is not None:
        rest["containers"] = (fault, *rest.get("containers", ()))
    return Survey(ground, rest)


async def _units(kit: Kit) -> tuple[dict[str, Unit] | None, Mismatch | None]:
    try:
        async with asyncio.timeout(LOOK_SECONDS):
            return {unit.name: unit for unit in await kit.runtime.units()}, None
    except Exception as fault:
        return None, drift.unseen("containers", _said("containers", fault))


async def _bounded(observer: Observer, kit: Kit, ground: Ground, of: Collection[Place]) -> Sequence[Mismatch]:
    try:
        async with asyncio.timeout(LOOK_SECONDS):
            return await observer.look(kit, ground, of)
    except Exception as fault:
        return [drift.unseen(observer.name, _said(observer.name, fault))]


def _said(part: str, fault: Exception) -> str:
    if isinstance(fault, PublicError):
        return fault.message
    if isinstance(fault, TimeoutError):
        return f"it took longer than {LOOK_SECONDS:g} s"
    log.error("%s could not be looked at", part, exc_info=fault)
    return "the server's log has the reason"
