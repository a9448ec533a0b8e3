"""Previews: until when each is kept."""

from sqlalchemy import ColumnElement, delete, select

from codeb.drivers.store import rows
from codeb.drivers.store.schema_names import previews
from codeb.drivers.store.transaction import Transaction, upsert
from codeb.model.names import Place
from codeb.model.previews import Preview


class SqlPreviews:
    def __init__(self, tx: Transaction) -> None:
        self._tx = tx

    async def get(self, place: Place) -> Preview | None:
        row = (await self._tx.read(select(previews).where(_at(place)))).one
        return rows.preview_of(row) if row else None

    async def put(self, preview: Preview) -> None:
        self._tx.touch(preview.place.project)
        await self._tx.claim(upsert(self._tx.dialect, previews), rows.preview_values(preview))

    async def remove(self, place: Place) -> None:
        self._tx.touch(place.project)
        await self._tx.write(delete(previews).where(_at(place)))


def _at(place: Place) -> ColumnElement[bool]:
    return (previews.c.project == place.project) & (previews.c.environment == place.environment)
