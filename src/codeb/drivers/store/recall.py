"""The registry in memory: read whole once, then kept exact by what each transaction says it changed."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from sqlalchemy import select, update

from codeb.contracts.store import Snapshot
from codeb.drivers.store import rows
from codeb.drivers.store.journal import SqlJournal
from codeb.drivers.store.people import SqlKeys, SqlMembers, SqlTeams
from codeb.drivers.store.schema import meta, port_leases, project_slots, projects
from codeb.drivers.store.schema_names import domains, maintenances, previews
from codeb.drivers.store.transaction import Transaction
from codeb.model.domains import Domain, Maintenance
from codeb.model.journal import Operation
from codeb.model.names import Place
from codeb.model.ports import Lease
from codeb.model.previews import Preview
from codeb.model.slots import Pair
from codeb.model.specs import Project


@dataclass(frozen=True)
class Recalled:
    """The snapshot, and the open operations by id."""

    snapshot: Snapshot
    operations: dict[str, Operation]


EMPTY = Recalled(Snapshot(0, {}, {}, {}, {}), {})


async def _hosts(tx: Transaction, names: Sequence[str] | None) -> tuple[dict[str, Domain], dict[Place, Maintenance]]:
    """Domains and maintenance pages: of these projects, or of all."""
    some, pages = select(domains).order_by(domains.c.host), select(maintenances)
    if names is not None:
        some, pages = some.where(domains.c.project.in_(names)), pages.where(maintenances.c.project.in_(names))
    found = [rows.maintenance_of(row) for row in (await tx.read(pages)).all]
    held = [rows.domain_of(row) for row in (await tx.read(some)).all]
    return {each.host: each for each in held}, {each.place: each for each in found}


async def _previews(tx: Transaction, names: Sequence[str] | None) -> dict[Place, Preview]:
    """Until when previews are kept: of these projects, or of all."""
    some = select(previews) if names is None else select(previews).where(previews.c.project.in_(names))
    found = [rows.preview_of(row) for row in (await tx.read(some)).all]
    return {each.place: each for each in found}


async def _part(tx: Transaction, names: Sequence[str] | None) -> tuple[dict[str, Project], dict[Place, Pair], list[Lease]]:
    """Projects, pairs and leases: of these projects, or of all."""
    some, slots, leases = select(projects).order_by(projects.c.name), select(project_slots), select(port_leases)
    if names is not None:
        some = some.where(projects.c.name.in_(names))
        slots = slots.where(project_slots.c.project.in_(names))
        leases = leases.where(port_leases.c.project.in_(names))
    pairs = rows.pairs_of((await tx.read(slots)).all)
    environments: dict[str, list[str]] = {}
    for place in pairs:
        environments.setdefault(place.project, []).append(place.environment)
    found = [rows.project_of(row, environments.get(row["name"], ())) for row in (await tx.read(some)).all]
    return {each.name: each for each in found}, pairs, [rows.lease_of(row) for row in (await tx.read(leases)).all]


async def _with_people(tx: Transaction, former: Snapshot) -> Snapshot:
    """Keys, teams and members: few and seldom changed, so always all of them."""
    return replace(
        former,
        keys={key.sha256: key for key in await SqlKeys(tx).all()},
        teams={team.id: team for team in await SqlTeams(tx).all()},
        members={member.id: member for member in await SqlMembers(tx).all()},
    )


def _running(operations: dict[str, Operation]) -> dict[Place, Operation]:
    return {place: operation for operation in operations.values() for place in operation.places}


def _ordered(leases: Sequence[Lease]) -> tuple[Lease, ...]:
    return tuple(sorted(leases, key=lambda lease: (lease.server, lease.port)))


async def generation(tx: Transaction) -> int:
    return (await _birth(tx)).generation


async def _birth(tx: Transaction) -> Snapshot:
    """A snapshot that holds nothing but whose it is."""
    row = (await tx.read(select(meta))).one
    if row is None:
        return EMPTY.snapshot
    return replace(
        EMPTY.snapshot, generation=int(row["generation"]), registry_id=row["registry_id"], instance=row["instance"] or ""
    )


async def whole(tx: Transaction) -> Recalled:
    """Everything, as this transaction sees it."""
    bare = await _birth(tx)
    found, pairs, leases = await _part(tx, None)
    operations = {each.id: each for each in await SqlJournal(tx).open_ones()}
    bare = await _with_people(tx, bare)
    held, pages = await _hosts(tx, None)
    filled = replace(
        bare, projects=found, pairs=pairs, running=_running(operations), leases=_ordered(leases), domains=held,
        maintenances=pages, previews=await _previews(tx, None),
    )  # fmt: skip
    return Recalled(filled, operations)


async def after(tx: Transaction, former: Recalled, *, doubt: bool) -> Recalled:
    """What will be true once `tx` is committed. Called as its last act; reads only what it touched.

    Journal writes cost no statement here. When `former` is in doubt, or another process changed the registry meanwhile
    (the generation moved by more than one), everything is read again.
    """
    if tx.mirrored:
        await tx.write(update(meta).values(generation=meta.c.generation + 1))
        number = await generation(tx)
        doubt = doubt or number != former.snapshot.generation + 1
        former = replace(former, snapshot=replace(former.snapshot, generation=number))
    if doubt:
        return await whole(tx)
    if tx.projects:
        former = replace(former, snapshot=await _with_projects(tx, former.snapshot))
    if tx.keys:
        former = replace(former, snapshot=await _with_people(tx, former.snapshot))
    if tx.operations:
        merged = {**former.operations, **tx.operations}
        operations = {key: value for key, value in merged.items() if value is not None}
        former = replace(former, operations=operations, snapshot=replace(former.snapshot, running=_running(operations)))
    return former


async def _with_projects(tx: Transaction, former: Snapshot) -> Snapshot:
    touched = tx.projects
    found, pairs, leases = await _part(tx, sorted(touched))
    held, pages = await _hosts(tx, sorted(touched))
    kept = await _previews(tx, sorted(touched))
    return replace(
        former,
        projects=dict(sorted({**{k: v for k, v in former.projects.items() if k not in touched}, **found}.items())),
        pairs=dict(sorted({**{k: v for k, v in former.pairs.items() if k.project not in touched}, **pairs}.items())),
        leases=_ordered([*(each for each in former.leases if each.project not in touched), *leases]),
        domains=dict(sorted({**{k: v for k, v in former.domains.items() if v.project not in touched}, **held}.items())),
        maintenances={**{k: v for k, v in former.maintenances.items() if k.project not in touched}, **pages},
        previews={**{k: v for k, v in former.previews.items() if k.project not in touched}, **kept},
    )
