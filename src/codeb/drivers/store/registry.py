"""Projects, slots, port leases and deployments."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import delete, func, insert, or_, select, update

from codeb.drivers.store import rows
from codeb.drivers.store.schema import deployments, port_leases, project_slots, projects
from codeb.drivers.store.transaction import Transaction
from codeb.errors import Conflict, InternalFault, NotFound
from codeb.model.names import Place
from codeb.model.ports import Lease
from codeb.model.slots import Pair, SlotRow, State
from codeb.model.specs import Deployment, Project

_SLOTS, _LEASES, _DEPLOYMENTS = project_slots.c, port_leases.c, deployments.c


class SqlProjects:
    def __init__(self, tx: Transaction) -> None:
        self._tx = tx

    async def add(self, project: Project) -> None:
        self._tx.touch(project.name)
        try:
            await self._tx.claim(insert(projects), rows.project_values(project))
        except Conflict as taken:
            if taken.code != "project_exists":
                raise
            raise Conflict(
                f"The project name {project.name} is taken. Nothing was changed.", code=taken.code,
                hint="Choose another name, or call project_list to see yours.", details={"projectName": project.name},
            ) from taken  # fmt: skip

    async def get(self, name: str) -> Project | None:
        found = await self._load([name])
        return found[0] if found else None

    async def all(self) -> Sequence[Project]:
        return await self._load(None)

    async def _load(self, names: Sequence[str] | None) -> list[Project]:
        some = select(projects).order_by(projects.c.name)
        slots = select(_SLOTS.project, _SLOTS.environment).distinct()
        if names is not None:
            some, slots = some.where(projects.c.name.in_(names)), slots.where(_SLOTS.project.in_(names))
        environments: dict[str, list[str]] = {}
        for row in (await self._tx.read(slots)).all:
            environments.setdefault(row["project"], []).append(row["environment"])
        return [rows.project_of(row, environments.get(row["name"], ())) for row in (await self._tx.read(some)).all]

    async def set_state(self, name: str, state: str, deleted_at: datetime | None = None) -> None:
        """Raises `NotFound` when there is no such project."""
        self._tx.touch(name)
        values = {"state": state, "deleted_at": deleted_at}
        if not await self._tx.write(update(projects).where(projects.c.name == name).values(**values)):
            raise NotFound(f"There is no project {name}.", code="project_not_found", hint="Call project_list.")

    async def set_watch(self, name: str, *, auto_rollback: bool, watch_seconds: int) -> None:
        """Raises `NotFound` when there is no such project."""
        self._tx.touch(name)
        values = {"auto_rollback": auto_rollback, "watch_seconds": watch_seconds}
        if not await self._tx.write(update(projects).where(projects.c.name == name).values(**values)):
            raise NotFound(f"There is no project {name}.", code="project_not_found", hint="Call project_list.")

    async def set_form(self, project: Project) -> None:
        """Raises `NotFound` when there is no such project."""
        name, said = project.name, rows.project_values(project)
        self._tx.touch(name)
        values = {each: said[each] for each in ("type", "container_port", "health_path", "limits")}
        if not await self._tx.write(update(projects).where(projects.c.name == name).values(**values)):
            raise NotFound(f"There is no project {name}.", code="project_not_found", hint="Call project_list.")

    async def set_repository(self, name: str, repository: str) -> None:
        """Raises `NotFound` when there is no such project."""
        self._tx.touch(name)
        if not await self._tx.write(update(projects).where(projects.c.name == name).values(repository=repository)):
            raise NotFound(f"There is no project {name}.", code="project_not_found", hint="Call project_list.")

    async def remove(self, name: str) -> None:
        """Slots and leases go with it by their foreign keys. Safe to repeat."""
        self._tx.touch(name)
        await self._tx.write(delete(projects).where(projects.c.name == name))


class SqlSlots:
    def __init__(self, tx: Transaction) -> None:
        self._tx = tx

    async def pair(self, place: Place) -> Pair | None:
        here = (_SLOTS.project == place.project) & (_SLOTS.environment == place.environment)
        return rows.pairs_of((await self._tx.read(select(project_slots).where(here))).all).get(place)

    async def pairs(self) -> Sequence[Pair]:
        return list(rows.pairs_of((await self._tx.read(select(project_slots))).all).values())

    async def add(self, pair: Pair) -> None:
        """Raises `Conflict`: `environment_exists`, or `project_gone` when there is no such project."""
        self._tx.touch(pair.place.project)
        await self._tx.claim(insert(project_slots).values([rows.slot_values(row) for row in pair.rows]))

    async def remove(self, place: Place) -> None:
        """Safe to repeat."""
        self._tx.touch(place.project)
        here = (_SLOTS.project == place.project) & (_SLOTS.environment == place.environment)
        await self._tx.write(delete(project_slots).where(here))

    async def put(self, *slots: SlotRow) -> None:
        """Raises `Conflict`: `slot_conflict`, or `environment_gone` when a row to replace is not there."""
        # Constraints look at every row as it changes, so rows that swap states step aside first.
        if len(slots) > 1:
            for slot in slots:
                await self._change(slot, {"state": State.EMPTY.value})
        for slot in slots:
            await self._change(slot, rows.slot_values(slot))

    async def _change(self, slot: SlotRow, values: dict[str, Any]) -> None:
        self._tx.touch(slot.place.project)
        here = (
            (_SLOTS.project == slot.place.project)
            & (_SLOTS.environment == slot.place.environment)
            & (_SLOTS.slot == slot.slot.value)
        )
        if not await self._tx.claim(update(project_slots).where(here).values(**values)):
            raise Conflict(
                f"The environment {slot.place.environment} of {slot.place.project} is not there any more.",
                code="environment_gone", hint="Call project_get to see what exists.",
            )  # fmt: skip


class SqlLeases:
    def __init__(self, tx: Transaction) -> None:
        self._tx = tx

    async def add(self, *leases: Lease) -> None:
        """All or none. The `Conflict` names who holds which port."""
        if not leases:
            return
        for lease in leases:
            self._tx.touch(lease.project)
        try:
            await self._tx.claim(insert(port_leases).values([vars(lease) for lease in leases]))
        except Conflict as taken:
            if taken.code != "port_taken":
                raise
            raise await self._held(leases, taken) from taken

    async def _held(self, wanted: Sequence[Lease], taken: Conflict) -> Conflict:
        asked = {(lease.server, lease.port) for lease in wanted}
        ports = select(port_leases).where(_LEASES.port.in_(sorted({port for _, port in asked})))
        found = [rows.lease_of(row) for row in (await self._tx.read(ports)).all]
        held = [lease for lease in found if (lease.server, lease.port) in asked]
        if not held:
            return taken
        said = ", ".join(f"{lease.port} on {lease.server}" for lease in held)
        return Conflict(
            f"Port {said} is leased already. Nothing was changed.", code="port_taken",
            hint="Call port_allocate for a free pair.", details={"ports": [lease.port for lease in held]},
        )  # fmt: skip

    async def all(self, server: str) -> Sequence[Lease]:
        there = select(port_leases).where(_LEASES.server == server).order_by(_LEASES.port)
        return [rows.lease_of(row) for row in (await self._tx.read(there)).all]

    async def remove(self, server: str, ports: Sequence[int]) -> None:
        """Safe to repeat."""
        these = (_LEASES.server == server) & _LEASES.port.in_(list(ports))
        for row in (await self._tx.read(select(_LEASES.project).where(these).distinct())).all:
            self._tx.touch(row["project"])
        await self._tx.write(delete(port_leases).where(these))


class SqlDeployments:
    def __init__(self, tx: Transaction) -> None:
        self._tx = tx

    async def add(self, deployment: Deployment) -> None:
        """Raises `Conflict` (`deployment_exists`)."""
        await self._tx.claim(insert(deployments), rows.deployment_values(deployment))

    async def change(self, deployment_id: str, **fields: Any) -> None:
        """Raises `NotFound` when there is no such deployment."""
        if unknown := fields.keys() - (Deployment.__dataclass_fields__.keys() - {"id", "place", "slot"}):
            raise InternalFault(f"a deployment has no changeable {', '.join(sorted(unknown))}")
        if not await self._tx.write(update(deployments).where(_DEPLOYMENTS.id == deployment_id).values(**fields)):
            raise NotFound(f"There is no deployment {deployment_id}.", code="deployment_not_found", hint="Call slot_status.")

    async def get(self, deployment_id: str) -> Deployment | None:
        row = (await self._tx.read(select(deployments).where(_DEPLOYMENTS.id == deployment_id))).one
        return rows.deployment_of(row) if row else None

    async def history(self, place: Place, limit: int) -> Sequence[Deployment]:
        here = (_DEPLOYMENTS.project == place.project) & (_DEPLOYMENTS.environment == place.environment)
        newest = select(deployments).where(here).order_by(_DEPLOYMENTS.id.desc()).limit(limit)
        return [rows.deployment_of(row) for row in (await self._tx.read(newest)).all]

    async def wanted(self, successes: int) -> Sequence[Deployment]:
        here = (_DEPLOYMENTS.project, _DEPLOYMENTS.environment)
        promoted = _DEPLOYMENTS.promoted_at.is_not(None)
        turn = func.row_number().over(partition_by=(*here, _DEPLOYMENTS.status), order_by=_DEPLOYMENTS.id.desc())
        live = func.row_number().over(partition_by=(*here, promoted), order_by=_DEPLOYMENTS.id.desc())
        ranked = select(_DEPLOYMENTS.id, turn.label("turn"), live.label("live")).subquery()
        chosen = or_(
            _DEPLOYMENTS.status == "pending",
            (_DEPLOYMENTS.status == "success") & (ranked.c.turn <= successes),
            promoted & (ranked.c.live <= 2),
        )
        found = select(deployments).join(ranked, ranked.c.id == _DEPLOYMENTS.id).where(chosen).order_by(_DEPLOYMENTS.id.desc())
        return [rows.deployment_of(row) for row in (await self._tx.read(found)).all]
