"""What the registry says of work items, without times and ids."""

import sqlite3
from contextlib import closing
from typing import Any

from codeb.drivers.store.sql import SqlStore
from codeb.drivers.store.sqlite import SqliteDatabase

ROWS = """
SELECT t.project, t.title, t.description, t.branch, t.status, t.done_at IS NULL, t.deployed_at IS NULL, t.operation_id, f.branch,
       f.path, f.until IS NULL, f."first"
FROM work_tasks t LEFT JOIN work_task_files f ON f.task = t.id ORDER BY 1, 2, 4, 5, 10, 12
"""


def work(store: SqlStore) -> dict[str, Any]:
    """The part of a rig's print that is about tasks and their files."""
    assert isinstance(store._database, SqliteDatabase)
    with closing(sqlite3.connect(store._database.path)) as database:
        return {"tasks": database.execute(ROWS).fetchall()}
