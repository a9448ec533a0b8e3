"""Survival: watch window per project, events, conflicts of a replay, the feed of changes, and who leads."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

MOMENT = sa.DateTime(timezone=True)
ID = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

FED = (
    "teams", "api_keys", "projects", "port_leases", "project_slots", "deployments", "operations", "operation_steps",
    "operation_locks", "answers", "events", "conflicts", "meta",
)  # fmt: skip
"""tables whose changes are noted in `changes`"""

NOTE = """
CREATE FUNCTION codeb_note_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO changes (written, kind, act, before, after) VALUES (
        coalesce(current_setting('codeb.written', true), ''), TG_TABLE_NAME, TG_OP,
        CASE WHEN TG_OP <> 'INSERT' THEN row_to_json(OLD) END,
        CASE WHEN TG_OP <> 'DELETE' THEN row_to_json(NEW) END
    );
    RETURN NULL;
END $$
"""


def upgrade() -> None:
    # Not in a batch: on SQLite that makes the table anew and drops the old one, and with it what its foreign keys cascade to.
    op.add_column("meta", sa.Column("instance", sa.Text()))
    op.add_column("projects", sa.Column("auto_rollback", sa.Boolean(), nullable=False, server_default=sa.true()))
    op.add_column("projects", sa.Column("watch_seconds", sa.Integer(), nullable=False, server_default="60"))
    op.create_table(
        "events",
        sa.Column("id", ID, nullable=False),
        sa.Column("at", MOMENT, nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("severity", sa.Text(), nullable=False),
        sa.Column("team", sa.Text()),
        sa.Column("project", sa.Text()),
        sa.Column("environment", sa.Text()),
        sa.Column("operation_id", ID),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("data", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_events"),
    )  # fmt: skip
    op.create_index("ix_events_project", "events", ["project", "id"])
    op.create_table(
        "conflicts",
        sa.Column("id", ID, nullable=False),
        sa.Column("at", MOMENT, nullable=False),
        sa.Column("written", sa.Text(), nullable=False),
        sa.Column("operation_id", ID),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("changes", sa.JSON(), nullable=False),
        sa.Column("settled_at", MOMENT),
        sa.Column("settled_by", sa.Text()),
        sa.PrimaryKeyConstraint("id", name="pk_conflicts"),
        sa.UniqueConstraint("written", name="uq_conflicts_written"),
    )  # fmt: skip
    op.create_table(
        "changes",
        sa.Column("seq", NUMBER, autoincrement=True, nullable=False),
        sa.Column("written", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("act", sa.Text(), nullable=False),
        sa.Column("before", sa.JSON()),
        sa.Column("after", sa.JSON()),
        sa.PrimaryKeyConstraint("seq", name="pk_changes"),
    )  # fmt: skip
    op.create_index("ix_changes_written", "changes", ["written"])
    op.create_table(
        "leadership",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("term", sa.BigInteger(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("acquired_at", MOMENT, nullable=False),
        sa.Column("renewed_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_leadership"),
        sa.CheckConstraint("id = 1", name="ck_leadership_single"),
    )  # fmt: skip
    if op.get_bind().dialect.name == "postgresql":
        op.execute(NOTE)
        for table in FED:
            op.execute(
                f"CREATE TRIGGER note_change AFTER INSERT OR UPDATE OR DELETE ON {table} "
                "FOR EACH ROW EXECUTE FUNCTION codeb_note_change()"
            )


def downgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        for table in FED:
            op.execute(f"DROP TRIGGER note_change ON {table}")
        op.execute("DROP FUNCTION codeb_note_change()")
    for table in ("leadership", "changes", "conflicts", "events"):
        op.drop_table(table)
    op.drop_column("projects", "watch_seconds")
    op.drop_column("projects", "auto_rollback")
    op.drop_column("meta", "instance")
