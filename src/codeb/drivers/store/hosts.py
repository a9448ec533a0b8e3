"""Public names and maintenance pages."""

from collections.abc import Sequence

from sqlalchemy import ColumnElement, delete, insert, select

from codeb.drivers.store import rows
from codeb.drivers.store.schema_names import domains, maintenances
from codeb.drivers.store.transaction import Transaction, upsert
from codeb.errors import Conflict
from codeb.model.domains import Domain, DomainState, Maintenance
from codeb.model.names import Place


class SqlDomains:
    def __init__(self, tx: Transaction) -> None:
        self._tx = tx

    async def all(self) -> Sequence[Domain]:
        return [rows.domain_of(row) for row in (await self._tx.read(select(domains).order_by(domains.c.host))).all]

    async def claim(self, *claimed: Domain) -> None:
        for each in claimed:
            self._tx.touch(each.project)
            free = (domains.c.host == each.host) & (domains.c.state == DomainState.RELEASED.value)
            await self._tx.write(delete(domains).where(free))
            try:
                await self._tx.claim(insert(domains), rows.domain_values(each))
            except Conflict as taken:
                raise Conflict(
                    f"The domain {each.host} is held already. Nothing was changed.", code=taken.code,
                    hint="See domain_list for yours.", details={"domain": each.host},
                ) from taken  # fmt: skip

    async def put(self, *held: Domain) -> None:
        for each in held:
            self._tx.touch(each.project)
            await self._tx.write(upsert(self._tx.dialect, domains), rows.domain_values(each))

    async def remove(self, *hosts: str) -> None:
        these = domains.c.host.in_(hosts)
        for row in (await self._tx.read(select(domains.c.project).where(these).distinct())).all:
            self._tx.touch(row["project"])
        await self._tx.write(delete(domains).where(these))


class SqlMaintenances:
    def __init__(self, tx: Transaction) -> None:
        self._tx = tx

    async def get(self, place: Place) -> Maintenance | None:
        row = (await self._tx.read(select(maintenances).where(_at(place)))).one
        return rows.maintenance_of(row) if row else None

    async def put(self, maintenance: Maintenance) -> None:
        self._tx.touch(maintenance.place.project)
        await self._tx.claim(upsert(self._tx.dialect, maintenances), rows.maintenance_values(maintenance))

    async def remove(self, place: Place) -> None:
        self._tx.touch(place.project)
        await self._tx.write(delete(maintenances).where(_at(place)))


def _at(place: Place) -> ColumnElement[bool]:
    return (maintenances.c.project == place.project) & (maintenances.c.environment == place.environment)
