"""The feed of changed rows: what it notes, and how its rows are put into another database of the same schema.

Triggers note every changed row, so that no way of writing can be forgotten: on PostgreSQL always (`migrations/0002`), in a
local copy only while it stands in for the database, under the name of the transaction in `copy_state.written`.
"""

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Boolean, RowMapping, Select, Table, and_, delete, func, select, update
from sqlalchemy import text as sql

from codeb.drivers.store.columns import Plain, Utc
from codeb.drivers.store.schema import audit_logs, changes, meta
from codeb.drivers.store.schema_hosts import metadata
from codeb.drivers.store.transaction import Transaction, upsert

FED: tuple[Table, ...] = tuple(
    metadata.tables[name]
    for name in (
        "meta", "teams", "members", "api_keys", "projects", "port_leases", "project_slots", "project_envs", "domains",
        "maintenances", "previews", "deployments", "operations", "operation_steps", "operation_locks", "answers", "approvals",
        "events", "conflicts", "audit_pruned", "project_storage", "storage_passwords", "servers", "firewall_rules",
        "work_tasks", "work_task_files",
    )
)  # fmt: skip
"""in an order in which their foreign keys allow to fill them"""

REGISTERED = ("projects", "port_leases", "project_slots", "domains", "maintenances", "previews")
"""what of a project is held in memory and mirrored"""

NOTED = (*FED, audit_logs)
"""what a local copy notes: the audit log is not copied, but what was added to it meanwhile is passed on"""

Row = dict[str, Any]


@dataclass(frozen=True)
class Change:
    """One row as it was and as it is. Values are as columns have them: moments are aware, JSON is plain."""

    seq: int
    written: str
    table: Table
    act: str
    """INSERT, UPDATE or DELETE"""
    before: Row | None
    after: Row | None

    @property
    def key(self) -> Row:
        row = self.after or self.before or {}
        return {column.name: row[column.name] for column in self.table.primary_key}

    @property
    def project(self) -> str | None:
        row = self.after or self.before or {}
        found = row.get("name") if self.table.name == "projects" else row.get("project")
        return found if isinstance(found, str) else None


def _value(table: Table, name: str, value: Any, *, text: bool) -> Any:
    """What JSON made of a column, as the column has it. `text`: JSON columns came as text, as SQLite stores them."""
    if value is None:
        return None
    kind = table.c[name].type
    if isinstance(kind, Utc):
        moment = datetime.fromisoformat(value)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    if isinstance(kind, Plain):
        return json.loads(value) if text else value
    return bool(value) if isinstance(kind, Boolean) else value


def _row(table: Table, noted: Mapping[str, Any] | None, *, text: bool) -> Row | None:
    if noted is None:
        return None
    return {name: _value(table, name, value, text=text) for name, value in noted.items() if name in table.c}


def _changes(rows: Iterable[RowMapping], *, text: bool) -> list[Change]:
    found = []
    for row in rows:
        table = metadata.tables[row["kind"]]
        before, after = (_row(table, row[side], text=text) for side in ("before", "after"))
        found.append(Change(row["seq"], row["written"], table, row["act"], before, after))
    return found


async def after(tx: Transaction, seq: int, most: int = 5_000) -> list[Change]:
    """What the feed of this database has beyond `seq`, in its order; at most about `most`, ending with a whole transaction."""
    beyond = select(changes).where(changes.c.seq > seq).order_by(changes.c.seq).limit(most)
    rows = list((await tx.read(beyond)).all)
    if len(rows) == most:
        last = rows[-1]["written"]
        rest = select(changes).where((changes.c.seq > rows[-1]["seq"]) & (changes.c.written == last)).order_by(changes.c.seq)
        rows += (await tx.read(rest)).all
    return _changes(rows, text=tx.dialect == "sqlite")


async def of(tx: Transaction, names: Collection[str]) -> list[Change]:
    """What these transactions changed, in its order."""
    theirs = select(changes).where(changes.c.written.in_(names)).order_by(changes.c.seq)
    return _changes((await tx.read(theirs)).all, text=tx.dialect == "sqlite")


async def writers(tx: Transaction, seq: int) -> set[str]:
    """The names of all transactions beyond `seq`."""
    beyond = select(changes.c.written).where(changes.c.seq > seq).distinct()
    return {row["written"] for row in (await tx.read(beyond)).all}


async def newest(tx: Transaction) -> int:
    return int((await tx.read(select(func.coalesce(func.max(changes.c.seq), 0).label("seq")))).all[0]["seq"])


async def has(tx: Transaction, names: Collection[str]) -> set[str]:
    """Which transactions of these names landed here."""
    there = select(changes.c.written).where(changes.c.written.in_(names)).distinct()
    return {row["written"] for row in (await tx.read(there)).all}


async def prune(tx: Transaction, most: int) -> None:
    """Keep about the newest `most` changes. A copy that is further behind is made anew."""
    await tx.write(delete(changes).where(changes.c.seq <= await newest(tx) - most))


def _at(table: Table, key: Row) -> Any:
    return and_(*(table.c[name] == value for name, value in key.items()))


async def current(tx: Transaction, table: Table, key: Row) -> Row | None:
    """The row of this primary key as it is here."""
    found = (await tx.read(select(table).where(_at(table, key)))).one
    return dict(found) if found else None


async def apply(tx: Transaction, made: Sequence[Change], *, replaying: bool = False) -> None:
    """Bring these rows to what the changes say. Safe to repeat. Marks what of the registry in memory is to be read again.

    `replaying`: added to what others may have written, so the generation only grows.
    """
    for change in made:
        project = change.project
        if project is not None and change.table.name in REGISTERED:
            tx.touch(project)
        tx.keys = tx.keys or change.table.name in ("api_keys", "teams", "members")
        if replaying and change.table is meta:
            if change.act == "UPDATE":
                grown = func.greatest if tx.dialect == "postgresql" else func.max
                number = (change.after or {})["generation"]
                await tx.write(update(meta).values(generation=grown(meta.c.generation + 1, number)))
        elif change.after is None:
            await tx.write(delete(change.table).where(_at(change.table, change.key)))
        elif change.table is audit_logs:
            # One whose commit brought no answer may be there already: its place in its chain says so.
            values = {name: value for name, value in change.after.items() if name != "id"}
            await tx.write(tx.insert(audit_logs).on_conflict_do_nothing(), values)
        else:
            await tx.write(upsert(tx.dialect, change.table), change.after)


async def fits(tx: Transaction, made: Sequence[Change]) -> str:
    """Whether a transaction can be added here: every row it changes still is what it was there. Else which is not, in words."""
    seen: dict[tuple[str, tuple[Any, ...]], Row | None] = {}
    for change in made:
        if change.table in (meta, audit_logs):
            continue
        place = change.table.name, tuple(change.key.values())
        there = seen[place] if place in seen else await current(tx, change.table, change.key)
        if there != change.before:
            which = ", ".join(str(value) for value in change.key.values())
            now = "is not there any more" if there is None else "is there already" if change.before is None else "was changed"
            return f"{change.table.name} {which} {now}"
        seen[place] = change.after
    return ""


def everything(table: Table, most: int) -> Select[Any]:
    """All rows of a table that the registry needs; of history the newest `most`, of what is under way all."""
    whole = select(table)
    if table.name in ("deployments", "events"):
        return whole.where(table.c.id.in_(select(table.c.id).order_by(table.c.id.desc()).limit(most)))
    operations = metadata.tables["operations"]
    open_or_new = operations.c.state.in_(("running", "unwinding")) | operations.c.id.in_(
        select(operations.c.id).order_by(operations.c.id.desc()).limit(most)
    )
    if table.name == "operations":
        return whole.where(open_or_new)
    if table.name == "operation_steps":
        return whole.where(table.c.operation_id.in_(select(operations.c.id).where(open_or_new)))
    if table.name == "answers":
        return whole.order_by(table.c.created_at.desc()).limit(most)
    return whole


# in a local copy

COPY_STATE = """
CREATE TABLE IF NOT EXISTS copy_state (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    applied INTEGER NOT NULL,
    applied_written TEXT NOT NULL,
    written TEXT,
    away_since TEXT,
    why TEXT NOT NULL
)
"""


def _trigger(table: Table, act: str) -> str:
    def row(side: str) -> str:
        return "json_object(" + ", ".join(f"'{column.name}', {side}.\"{column.name}\"" for column in table.c) + ")"

    before = "NULL" if act == "INSERT" else row("OLD")
    after_ = "NULL" if act == "DELETE" else row("NEW")
    written = "(SELECT written FROM copy_state)"
    when = f"AFTER {act} ON {table.name} WHEN {written} IS NOT NULL"
    values = f"{written}, '{table.name}', '{act}', {before}, {after_}"
    note = "INSERT INTO changes (written, kind, act, before, after) VALUES"
    return f"CREATE TRIGGER note_{table.name}_{act.lower()} {when} BEGIN {note} ({values}); END"


def copy_statements() -> list[Any]:
    """What makes a SQLite registry one that can stand in: its position in the feed, and triggers that match its columns."""
    made = [sql(COPY_STATE)]
    for table in NOTED:
        for act in ("INSERT", "UPDATE", "DELETE"):
            made.append(sql(f"DROP TRIGGER IF EXISTS note_{table.name}_{act.lower()}"))
            made.append(sql(_trigger(table, act)))
    return made
