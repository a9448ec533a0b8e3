"""Versions of environment variables: only ever added, and gone with their project or their preview."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Select, delete, func, insert, select

from codeb.drivers.store import rows
from codeb.drivers.store.schema import project_envs
from codeb.drivers.store.transaction import Transaction
from codeb.model.envs import EnvVersion
from codeb.model.names import Place

_ALL = project_envs.c
_TOLD = [column for column in _ALL if column is not _ALL.sealed]


class SqlEnvs:
    def __init__(self, tx: Transaction) -> None:
        self._tx = tx

    async def add(self, version: EnvVersion) -> None:
        await self._tx.claim(insert(project_envs), rows.env_values(version))

    async def get(self, place: Place, number: int) -> EnvVersion | None:
        return await self._one(select(project_envs).where(*_at(place), _ALL.number == number))

    async def newest(self, place: Place, until: datetime | None = None) -> EnvVersion | None:
        some = select(project_envs).where(*_at(place))
        if until is not None:
            some = some.where(_ALL.created_at <= until)
        return await self._one(some.order_by(_ALL.number.desc()).limit(1))

    async def first(self, place: Place) -> EnvVersion | None:
        return await self._one(select(project_envs).where(*_at(place)).order_by(_ALL.number).limit(1))

    async def _one(self, statement: Select[Any]) -> EnvVersion | None:
        row = (await self._tx.read(statement)).one
        return rows.env_of(row) if row else None

    async def history(self, place: Place, limit: int, before: int | None = None) -> Sequence[EnvVersion]:
        some = select(*_TOLD).where(*_at(place))
        if before is not None:
            some = some.where(_ALL.number < before)
        return [rows.env_of(row) for row in (await self._tx.read(some.order_by(_ALL.number.desc()).limit(limit))).all]

    async def remove(self, place: Place) -> None:
        await self._tx.write(delete(project_envs).where(*_at(place)))

    async def heads(self) -> Mapping[Place, datetime]:
        newest = select(_ALL.project, _ALL.environment, func.max(_ALL.created_at).label("at"))
        found = (await self._tx.read(newest.group_by(_ALL.project, _ALL.environment))).all
        return {Place(row["project"], row["environment"]): row["at"] for row in found}


def _at(place: Place) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return _ALL.project == place.project, _ALL.environment == place.environment
