"""In place of a storage server that is not set: every verb says so."""

from collections.abc import Collection, Mapping
from typing import NoReturn

from codeb.errors import Conflict
from codeb.model.secret import Secret
from codeb.model.storage import Found, Holding


class _Absent:
    where = None

    def __init__(self, what: str, setting: str) -> None:
        self._what, self._setting = what, setting

    def _refuse(self) -> NoReturn:
        raise Conflict(
            f"This CodeB has no {self._what} to give parts of; nothing was done.", code="storage_not_set",
            hint=f"Set {self._setting} and start CodeB again.",
        )  # fmt: skip

    async def allow(self, what: Holding, entry: bool) -> None:
        self._refuse()

    async def dump(self, what: Holding, stem: str) -> str:
        self._refuse()

    async def drop(self, what: Holding) -> None:
        self._refuse()

    async def all(self) -> Mapping[str, Found]:
        self._refuse()


class NoDatabases(_Absent):
    def __init__(self) -> None:
        super().__init__("PostgreSQL", "CODEB_STORAGE_DATABASE_URL")

    async def admit(self, what: Holding, generation: int, password: Secret) -> None:
        self._refuse()

    async def make(self, what: Holding) -> None:
        self._refuse()

    async def keep(self, what: Holding, generations: Collection[int]) -> None:
        self._refuse()


class NoCaches(_Absent):
    def __init__(self) -> None:
        super().__init__("Redis", "CODEB_STORAGE_REDIS_URL")

    async def admit(self, what: Holding, passwords: Mapping[int, Secret]) -> None:
        self._refuse()
