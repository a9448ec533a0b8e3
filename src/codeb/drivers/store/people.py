"""Who calls and what they were told: keys, teams and idempotency keys."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import insert, select, update

from codeb.contracts.store import Remembered
from codeb.drivers.store import rows
from codeb.drivers.store.schema import answers, api_keys, members, teams
from codeb.drivers.store.transaction import Transaction
from codeb.model.access import Approval, Key, Member, Role, Team


class SqlKeys:
    def __init__(self, tx: Transaction) -> None:
        self._tx = tx

    async def add(self, key: Key) -> None:
        self._tx.keys = True
        await self._tx.claim(insert(api_keys), rows.key_values(key))

    async def all(self) -> Sequence[Key]:
        return [rows.key_of(row) for row in (await self._tx.read(select(api_keys).order_by(api_keys.c.id))).all]

    async def revoke(self, at: datetime, *key_ids: str) -> None:
        self._tx.keys = True
        these = api_keys.c.id.in_(key_ids) & api_keys.c.revoked_at.is_(None)
        await self._tx.write(update(api_keys).where(these).values(revoked_at=at))

    async def expire(self, at: datetime, key_id: str) -> None:
        self._tx.keys = True
        later = api_keys.c.expires_at.is_(None) | (api_keys.c.expires_at > at)
        await self._tx.write(update(api_keys).where((api_keys.c.id == key_id) & later).values(expires_at=at))


class SqlTeams:
    def __init__(self, tx: Transaction) -> None:
        self._tx = tx

    async def add(self, team: Team) -> None:
        self._tx.keys = True
        values = rows.team_values(team)
        await self._tx.claim(insert(teams), {**values, "created_at": values["created_at"] or self._tx.now()})

    async def ensure(self, team_id: str) -> None:
        self._tx.keys = True
        statement = self._tx.insert(teams).values(id=team_id, created_at=self._tx.now())
        await self._tx.write(statement.on_conflict_do_nothing())

    async def all(self) -> Sequence[Team]:
        return [rows.team_of(row) for row in (await self._tx.read(select(teams).order_by(teams.c.id))).all]

    async def set(self, team_id: str, *, display_name: str, approval: Approval) -> None:
        self._tx.keys = True
        changed = update(teams).where(teams.c.id == team_id).values(display_name=display_name, approval=approval.value)
        await self._tx.write(changed)

    async def delete(self, at: datetime, team_id: str) -> None:
        self._tx.keys = True
        this = (teams.c.id == team_id) & teams.c.deleted_at.is_(None)
        await self._tx.write(update(teams).where(this).values(deleted_at=at))


class SqlMembers:
    def __init__(self, tx: Transaction) -> None:
        self._tx = tx

    async def add(self, member: Member) -> None:
        self._tx.keys = True
        values = rows.member_values(member)
        await self._tx.claim(insert(members), {**values, "created_at": values["created_at"] or self._tx.now()})

    async def all(self) -> Sequence[Member]:
        return [rows.member_of(row) for row in (await self._tx.read(select(members).order_by(members.c.id))).all]

    async def set_role(self, member_id: str, role: Role) -> None:
        self._tx.keys = True
        this = (members.c.id == member_id) & members.c.removed_at.is_(None)
        await self._tx.write(update(members).where(this).values(role=role.value))

    async def remove(self, at: datetime, *member_ids: str) -> None:
        self._tx.keys = True
        these = members.c.id.in_(member_ids) & members.c.removed_at.is_(None)
        await self._tx.write(update(members).where(these).values(removed_at=at))


class SqlAnswers:
    def __init__(self, tx: Transaction) -> None:
        self._tx = tx

    async def find(self, key_id: str, key: str) -> Remembered | None:
        row = (await self._tx.read(select(answers).where((answers.c.key_id == key_id) & (answers.c.key == key)))).one
        return rows.remembered_of(row) if row else None

    async def that_began(self, key_id: str, operation_id: str) -> Remembered | None:
        this = (answers.c.operation_id == operation_id) & (answers.c.key_id == key_id) & answers.c.params.is_not(None)
        row = (await self._tx.read(select(answers).where(this).order_by(answers.c.key).limit(1))).one
        return rows.remembered_of(row) if row else None

    async def put(self, remembered: Remembered) -> None:
        await self._tx.claim(insert(answers), rows.remembered_values(remembered))

    async def complete(self, key_id: str, key: str, answer: Mapping[str, Any] | None, sealed: str | None = None) -> None:
        """A key that is not there stays so."""
        this = (answers.c.key_id == key_id) & (answers.c.key == key)
        plain = None if answer is None else dict(answer)
        await self._tx.write(update(answers).where(this).values(answer=plain, sealed=sealed))
