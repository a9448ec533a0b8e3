"""Work items: tasks with their branch, and the files each holds for a while."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"

MOMENT = sa.DateTime(timezone=True)
ID = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")

FED = ("work_tasks", "work_task_files")
"""new tables whose changes are noted in `changes`, as 0002 has it"""


def upgrade() -> None:
    op.create_table(
        "work_tasks",
        sa.Column("id", ID, nullable=False),
        sa.Column("project", sa.Text(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("branch", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("author", sa.Text(), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("updated_at", MOMENT, nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("done_at", MOMENT),
        sa.Column("deployed_at", MOMENT),
        sa.Column("operation_id", ID),
        sa.PrimaryKeyConstraint("id", name="pk_work_tasks"),
        sa.ForeignKeyConstraint(["project"], ["projects.name"], name="fk_work_tasks_project", ondelete="CASCADE"),
    )  # fmt: skip
    op.create_index("ix_work_tasks_project", "work_tasks", ["project", "id"])
    op.create_table(
        "work_task_files",
        sa.Column("task", ID, nullable=False),
        sa.Column("project", sa.Text(), nullable=False),
        sa.Column("branch", sa.Text(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("until", MOMENT),
        sa.Column("first", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("task", "path", name="pk_work_task_files"),
        sa.ForeignKeyConstraint(["task"], ["work_tasks.id"], name="fk_work_task_files_task", ondelete="CASCADE"),
    )  # fmt: skip
    op.create_index("ix_work_task_files_project", "work_task_files", ["project", "until"])
    first = sa.text('"first"')
    op.create_index(
        "ux_work_task_files_path", "work_task_files", ["project", "path"], unique=True, sqlite_where=first, postgresql_where=first
    )
    if op.get_bind().dialect.name == "postgresql":
        for table in FED:
            op.execute(
                f"CREATE TRIGGER note_change AFTER INSERT OR UPDATE OR DELETE ON {table} "
                "FOR EACH ROW EXECUTE FUNCTION codeb_note_change()"
            )


def downgrade() -> None:
    # The triggers go with their tables.
    for table in reversed(FED):
        op.drop_table(table)
