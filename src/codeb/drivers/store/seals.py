"""What of the store is sealed, wherever it is: for a change of the master key, and to know which keys are needed."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Table, and_, func, literal_column, select, tuple_, update

from codeb.contracts.store import Sealed
from codeb.drivers.store.schema import answers, meta, project_envs
from codeb.drivers.store.schema_storage import project_storage, storage_passwords
from codeb.drivers.store.transaction import Transaction
from codeb.model.sealed import NAMED, about_answer, about_env, about_instance, about_storage


@dataclass(frozen=True)
class Place:
    """A table with something sealed in its column `sealed`, and what its rows are sealed for, by their primary key."""

    table: Table
    about: Callable[..., str]

    @property
    def under(self) -> ColumnElement[str]:
        """The part of the text that names its key."""
        # no parameters: PostgreSQL takes two of the same value for two expressions, and refuses to group by one of them
        return func.substr(self.table.c.sealed, literal_column("1"), literal_column(str(NAMED)))


PLACES: Mapping[str, Place] = {
    place.table.name: place
    for place in (
        Place(answers, about_answer),
        Place(project_envs, about_env),
        Place(storage_passwords, about_storage),
        Place(project_storage, about_instance),
    )
}
"""every table that holds something sealed: one that is missing here is not sealed anew, and keeps no key alive"""

CHANGING = " changing"
"""after the id of the key in force, until everything is sealed with it"""


class SqlSeals:
    def __init__(self, tx: Transaction) -> None:
        self._tx = tx

    async def in_force(self) -> str | None:
        found = await self._said()
        return found.removesuffix(CHANGING) if found else None

    async def use(self, key_id: str, *, changing: bool = False) -> None:
        await self._tx.write(update(meta).values(master_key=f"{key_id}{CHANGING}" if changing else key_id))

    async def changing(self) -> bool:
        return (await self._said() or "").endswith(CHANGING)

    async def _said(self) -> str | None:
        row = (await self._tx.read(select(meta.c.master_key))).one
        return row["master_key"] if row else None

    async def named(self) -> Mapping[str, int]:
        """A text that is not of the form counts as sealed under a key of no name."""
        found: dict[str, int] = {}
        for place in PLACES.values():
            counted = select(place.under.label("name"), func.count().label("count")).where(place.table.c.sealed.is_not(None))
            for row in (await self._tx.read(counted.group_by(place.under))).all:
                name = row["name"].removeprefix("v1.")
                found[name] = found.get(name, 0) + row["count"]
        return found

    async def others(self, key_id: str, *, after: Sealed | None, limit: int) -> Sequence[Sealed]:
        names = list(PLACES)
        for name in names[names.index(after.table) if after else 0 :]:
            place = PLACES[name]
            keys = list(place.table.primary_key)
            some = select(*keys, place.table.c.sealed).where(place.table.c.sealed.is_not(None), place.under != f"v1.{key_id}")
            if after is not None and after.table == name:
                some = some.where(tuple_(*keys) > tuple_(*after.key))
            rows = (await self._tx.read(some.order_by(*keys).limit(limit))).all
            if rows:
                found = [(tuple(row[key.name] for key in keys), row["sealed"]) for row in rows]
                return [Sealed(name, key, place.about(*key), text) for key, text in found]
        return []

    async def replace(self, row: Sealed, text: str) -> None:
        table = PLACES[row.table].table
        this = and_(*(column == value for column, value in zip(table.primary_key, row.key, strict=True)))
        await self._tx.write(update(table).where(this, table.c.sealed == row.text).values(sealed=text))
