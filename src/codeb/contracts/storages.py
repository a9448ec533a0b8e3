"""What we need remembered of storage: a role of `contracts.store.Registry`."""

from collections.abc import Sequence
from typing import Any, Protocol

from codeb.model.names import Place
from codeb.model.storage import Kind, Password, Storage


class Storages(Protocol):
    """What projects have on the storage server, and its passwords, sealed for `about_storage`."""

    async def add(self, storage: Storage) -> None:
        """Raises `Conflict` (code `storage_exists`) when the environment has one of this kind."""

    async def get(self, place: Place, kind: Kind) -> Storage | None: ...

    async def all(self, project: str | None = None) -> Sequence[Storage]: ...

    async def change(self, storage_id: str, **fields: Any) -> None: ...

    async def remove(self, storage_id: str) -> None:
        """With its passwords. Safe to repeat."""

    async def passwords(self, storage_id: str) -> Sequence[Password]:
        """All generations that are on record, oldest first."""

    async def rotating(self) -> Sequence[Storage]:
        """Those that have a password older than the one in force."""

    async def put_password(self, password: Password) -> None: ...

    async def drop_passwords(self, storage_id: str, keep: int) -> None:
        """All generations but this one. Safe to repeat."""
