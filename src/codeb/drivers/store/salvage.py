"""Taking what is history out of a registry that is not believed any more, into the one that was rebuilt in its place.

Nothing that grants or decides anything is taken: no key, no project, no slot, no open operation. An end is, of a key, a
member or a team: it only narrows.
"""

import logging
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Column, Connection, Integer, Label, Table, func, literal_column, select
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.exc import SQLAlchemyError

from codeb.drivers.store import migrate
from codeb.drivers.store.journal import OPEN
from codeb.drivers.store.schema import (
    answers,
    audit_logs,
    audit_pruned,
    conflicts,
    deployments,
    events,
    meta,
    operation_locks,
    operation_steps,
    operations,
    project_envs,
    projects,
    teams,
)  # fmt: skip
from codeb.drivers.store.schema_work import work_task_files, work_tasks
from codeb.drivers.store.trust import reading
from codeb.model.access import Approval
from codeb.model.work import Status

log = logging.getLogger("codeb.store")

Row = dict[str, Any]

CHUNK = 500
FAULTS = (SQLAlchemyError, ValueError, KeyError, TypeError)

HISTORY: tuple[Table, ...] = (
    operations, operation_steps, deployments, audit_logs, audit_pruned, events, conflicts, answers, operation_locks,
    project_envs, work_tasks, work_task_files,
)  # fmt: skip


def generation_in(path: Path) -> int:
    """As far as it can be read; 0 otherwise."""
    try:
        with reading(path) as source:
            return int(source.execute(select(meta.c.generation)).scalar() or 0)
    except FAULTS:
        return 0


def instance_in(path: Path) -> str | None:
    """The id on the containers of the installation, as far as it can be read."""
    try:
        with reading(path) as source:
            return source.execute(select(meta.c.instance)).scalar()
    except FAULTS:
        return None


def projects_in(path: Path) -> int:
    """How many projects it has, as far as it can be read."""
    try:
        with reading(path) as source:
            return int(source.execute(select(func.count()).select_from(projects)).scalar() or 0)
    except FAULTS:
        return 0


def ended_in(path: Path, end: Column[Any]) -> dict[str, datetime]:
    """When this file says that rows end, by id: `end` is that column of their table. None when it cannot be read."""
    ids, found = end.table.c.id, {}
    try:
        with reading(path) as source:
            # only these two: a file of an older version lacks others
            found = {row[ids.name]: row[end.name] for row in _each(source, end.table, (ids, end)) if row[end.name] is not None}
    except FAULTS:
        pass
    return found


def policies_in(path: Path) -> dict[str, Approval]:
    """What this file says the teams ask for, by id. None that cannot be read, or is no policy."""
    found: dict[str, Approval] = {}
    try:
        with reading(path) as source:
            for row in _each(source, teams, (teams.c.id, teams.c.approval)):
                if row["approval"] in list(Approval):
                    found[row["id"]] = Approval(row["approval"])
    except FAULTS:
        pass
    return found


def history(path: Path, target: Connection) -> tuple[dict[str, int], int]:
    """Copy what has ended. Gives how many rows of each table came over, and how many operations under way did not."""
    counts = {table.name: 0 for table in HISTORY}
    whole: set[str] = set()
    forgotten = 0
    known = set(target.execute(select(projects.c.name)).scalars())
    try:
        with reading(path) as source:
            if migrate.recorded(source) != migrate.HEAD:
                return counts, 0
            for table in HISTORY:
                taken = []
                for row in _each(source, table):
                    if table is operations and row["state"] in OPEN:
                        forgotten += 1
                    elif (kept := _kept(table, row, whole, known)) is not None:
                        taken.append(kept)
                        if table in (operations, work_tasks):
                            whole.add(row["id"])
                for start in range(0, len(taken), CHUNK):
                    target.execute(insert(table).on_conflict_do_nothing(), taken[start : start + CHUNK])
                counts[table.name] = len(taken)
    except FAULTS as fault:
        log.warning("the history in %s could not be read whole: %s", path, fault)
    return counts, forgotten


def _kept(table: Table, row: Row, whole: set[str], known: set[str]) -> Row | None:
    """`whole`: the operations and tasks that were taken; `known`: the projects there are."""
    if table is operation_steps:
        return row if row["operation_id"] in whole else None
    if table is work_tasks:
        return row if row["project"] in known and row["status"] in list(Status) else None
    if table is work_task_files:
        return row if row["task"] in whole else None
    if table is deployments:
        return row if row["status"] in ("success", "failed") else None
    if table is answers:
        return row if row["answer"] is not None or row["sealed"] is not None else None
    if table is project_envs:
        # no one can have made one up without the master key
        return row if row["project"] in known else None
    if table is operation_locks:
        # freed, with a number that nobody has: a holder of before can write nothing
        return {**row, "operation_id": None, "owner": None, "fence": row["fence"] + 1}
    return row


def _each(source: Connection, table: Table, columns: Sequence[Column[Any]] = ()) -> Iterator[Row]:
    """Every row that can be read, in the order of the file; one that holds garbage is passed over."""
    place: Label[int] = literal_column("rowid", Integer).label("codeb_rowid")
    last = -(2**63)
    while True:
        beyond = select(place).select_from(table).where(literal_column("rowid") > last).order_by(place).limit(CHUNK)
        try:
            numbers = list(source.execute(beyond).scalars())
        except FAULTS as fault:
            log.warning("%s of a damaged registry could not be read to its end: %s", table.name, fault)
            return
        if not numbers:
            return
        yield from _rows(source, table, numbers, columns)
        last = numbers[-1]


def _rows(source: Connection, table: Table, numbers: Sequence[int], columns: Sequence[Column[Any]]) -> Iterator[Row]:
    these = select(*(columns or table.c)).where(literal_column("rowid").in_(numbers))
    try:
        yield from [dict(row) for row in source.execute(these).mappings()]
    except FAULTS:
        for number in numbers if len(numbers) > 1 else ():
            yield from _rows(source, table, [number], columns)
