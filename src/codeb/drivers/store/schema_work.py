"""The tables of work items: what is worked on, on which branch, and which files it has to itself. The rest is in `schema`."""

from sqlalchemy import Boolean, Column, ForeignKeyConstraint, Index, PrimaryKeyConstraint, Table, Text, text

from codeb.drivers.store.columns import Id, Prose, Utc, metadata

work_tasks = Table(
    "work_tasks", metadata,
    Column("id", Id, nullable=False),
    Column("project", Text, nullable=False),
    Column("title", Prose, nullable=False),
    Column("branch", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("author", Prose, nullable=False),
    Column("created_by", Prose, nullable=False),
    Column("created_at", Utc, nullable=False),
    Column("updated_at", Utc, nullable=False),
    Column("description", Prose, nullable=False),
    Column("done_at", Utc),
    Column("deployed_at", Utc),
    Column("operation_id", Id),
    PrimaryKeyConstraint("id", name="pk_work_tasks"),
    ForeignKeyConstraint(["project"], ["projects.name"], name="fk_work_tasks_project", ondelete="CASCADE"),
    Index("ix_work_tasks_project", "project", "id"),
)  # fmt: skip

work_task_files = Table(
    "work_task_files", metadata,
    Column("task", Id, nullable=False),
    Column("project", Text, nullable=False),
    Column("branch", Text, nullable=False),
    Column("path", Text, nullable=False),
    Column("until", Utc),
    Column("first", Boolean, nullable=False),
    PrimaryKeyConstraint("task", "path", name="pk_work_task_files"),
    ForeignKeyConstraint(["task"], ["work_tasks.id"], name="fk_work_task_files_task", ondelete="CASCADE"),
    Index("ix_work_task_files_project", "project", "until"),
)  # fmt: skip
"""`first`: of those on one branch that share a path, the one that stands for it against every other branch."""

_first = text('"first"')
Index(
    "ux_work_task_files_path", work_task_files.c.project, work_task_files.c.path,
    unique=True, sqlite_where=_first, postgresql_where=_first,
)  # fmt: skip
