"""Who calls and what they were told: keys, teams and idempotency keys."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import insert, select, update

from codeb.contracts.store import Remembered
from codeb.drivers.store import rows
from codeb.drivers.store.schema import answers, api_keys, members, teams
from codeb.drivers.store.transaction import Transaction
from codeb.model.access import Key, Member, Team


class SqlKeys:
    def __init__(self, tx: Transaction) -> None:
        self._tx = tx

    async def add(self, key: Key) -> None:
        """Raises `Conflict` (`key_exists`)."""
        self._tx.keys = True
        await self._tx.claim(insert(api_keys), rows.key_values(key))

    async def all(self) -> Sequence[Key]:
        """Revoked and expired ones too, oldest first."""
        return [rows.key_of(row) for row in (await self._tx.read(select(api_keys).order_by(api_keys.c.id))).all]

    async def teams(self) -> Sequence[str]:
        return [row["id"] for row in (await self._tx.read(select(teams.c.id).order_by(teams.c.id))).all]

    async def team_rows(self) -> Sequence[Team]:
        """Deleted ones too, by id."""
        return [rows.team_of(row) for row in (await self._tx.read(select(teams).order_by(teams.c.id))).all]

    async def members(self) -> Sequence[Member]:
        """Removed ones too, oldest first."""
        return [rows.member_of(row) for row in (await self._tx.read(select(members).order_by(members.c.id))).all]

    async def add_team(self, team: str) -> None:
        """Safe to repeat."""
        self._tx.keys = True
        statement = self._tx.insert(teams).values(id=team, created_at=self._tx.now())
        await self._tx.write(statement.on_conflict_do_nothing())


class SqlAnswers:
    def __init__(self, tx: Transaction) -> None:
        self._tx = tx

    async def find(self, key_id: str, key: str) -> Remembered | None:
        row = (await self._tx.read(select(answers).where((answers.c.key_id == key_id) & (answers.c.key == key)))).one
        return rows.remembered_of(row) if row else None

    async def put(self, remembered: Remembered) -> None:
        await self._tx.claim(insert(answers), rows.remembered_values(remembered))

    async def complete(self, key_id: str, key: str, answer: Mapping[str, Any] | None, sealed: str | None = None) -> None:
        """A key that is not there stays so."""
        this = (answers.c.key_id == key_id) & (answers.c.key == key)
        plain = None if answer is None else dict(answer)
        await self._tx.write(update(answers).where(this).values(answer=plain, sealed=sealed))
