"""What projects have on the storage server, and its sealed passwords."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import delete, insert, select, update

from codeb.drivers.store import rows
from codeb.drivers.store.schema_storage import project_storage, storage_passwords
from codeb.drivers.store.transaction import Transaction
from codeb.errors import InternalFault
from codeb.model.names import Place
from codeb.model.storage import Kind, Password, Storage

_HERE, _WORDS = project_storage.c, storage_passwords.c
CHANGEABLE = frozenset({"state", "generation", "rotated_at", "backup"})


class SqlStorages:
    def __init__(self, tx: Transaction) -> None:
        self._tx = tx

    async def add(self, storage: Storage) -> None:
        await self._tx.claim(insert(project_storage), rows.storage_values(storage))

    async def get(self, place: Place, kind: Kind) -> Storage | None:
        this = (_HERE.project == place.project) & (_HERE.environment == place.environment) & (_HERE.kind == kind.value)
        row = (await self._tx.read(select(project_storage).where(this))).one
        return rows.storage_of(row) if row else None

    async def all(self, project: str | None = None) -> Sequence[Storage]:
        some = select(project_storage).order_by(_HERE.project, _HERE.environment, _HERE.kind)
        if project is not None:
            some = some.where(_HERE.project == project)
        return [rows.storage_of(row) for row in (await self._tx.read(some)).all]

    async def change(self, storage_id: str, **fields: Any) -> None:
        if unknown := fields.keys() - CHANGEABLE:
            raise InternalFault(f"a storage has no changeable {', '.join(sorted(unknown))}")
        if "state" in fields:
            fields["state"] = str(fields["state"])
        await self._tx.write(update(project_storage).where(_HERE.id == storage_id).values(**fields))

    async def remove(self, storage_id: str) -> None:
        await self._tx.write(delete(project_storage).where(_HERE.id == storage_id))

    async def passwords(self, storage_id: str) -> Sequence[Password]:
        its = select(storage_passwords).where(_WORDS.storage_id == storage_id).order_by(_WORDS.generation)
        return [rows.password_of(row) for row in (await self._tx.read(its)).all]

    async def rotating(self) -> Sequence[Storage]:
        older = select(_WORDS.storage_id).where((_WORDS.storage_id == _HERE.id) & (_WORDS.generation < _HERE.generation))
        some = select(project_storage).where(older.exists()).order_by(_HERE.id)
        return [rows.storage_of(row) for row in (await self._tx.read(some)).all]

    async def put_password(self, password: Password) -> None:
        await self._tx.claim(insert(storage_passwords), vars(password))

    async def drop_passwords(self, storage_id: str, keep: int) -> None:
        others = (_WORDS.storage_id == storage_id) & (_WORDS.generation != keep)
        await self._tx.write(delete(storage_passwords).where(others))
