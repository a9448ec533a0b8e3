"""Rights: members, settings of teams, what a key may be told, approvals, sealed answers, the audit log as a chain."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

MOMENT = sa.DateTime(timezone=True)
ID = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")

FED = ("members", "approvals", "audit_pruned")
"""new tables whose changes are noted in `changes`, as 0002 has it"""


def _added() -> dict[str, tuple[sa.Column[Any], ...]]:
    """Made anew for each database: a column belongs to one table."""
    return {
        "teams": (
            sa.Column("display_name", sa.Text()),
            sa.Column("created_by", sa.Text()),
            sa.Column("approval", sa.Text(), nullable=False, server_default="none"),
            sa.Column("deleted_at", MOMENT),
        ),
        "api_keys": (
            sa.Column("member", ID),
            sa.Column("preset", sa.Text()),
            sa.Column("approval", sa.Text(), nullable=False, server_default="none"),
            sa.Column("created_by", sa.Text()),
        ),
        "projects": (sa.Column("deleted_at", MOMENT),),
        "answers": (sa.Column("sealed", sa.Text()),),
        "meta": (sa.Column("master_key", sa.Text()),),
        "audit_logs": (
            sa.Column("chain", sa.Text()),
            sa.Column("seq", sa.BigInteger()),
            sa.Column("prev", sa.Text()),
            sa.Column("hash", sa.Text()),
        ),
    }


def upgrade() -> None:
    # Not in a batch, as 0002 says.
    for table, columns in _added().items():
        for column in columns:
            op.add_column(table, column)
    op.create_index("ux_audit_logs_chain", "audit_logs", ["chain", "seq"], unique=True)
    op.create_index("ix_audit_logs_team", "audit_logs", ["team", "id"])
    op.create_table(
        "members",
        sa.Column("id", ID, nullable=False),
        sa.Column("team", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("removed_at", MOMENT),
        sa.PrimaryKeyConstraint("id", name="pk_members"),
        sa.ForeignKeyConstraint(["team"], ["teams.id"], name="fk_members_team"),
    )  # fmt: skip
    present = sa.text("removed_at IS NULL")
    op.create_index("ux_members_name", "members", ["team", "name"], unique=True, sqlite_where=present, postgresql_where=present)
    op.create_table(
        "approvals",
        sa.Column("id", ID, nullable=False),
        sa.Column("team", sa.Text(), nullable=False),
        sa.Column("tool", sa.Text(), nullable=False),
        sa.Column("project", sa.Text()),
        sa.Column("environment", sa.Text()),
        sa.Column("params", sa.JSON(), nullable=False),
        sa.Column("body_sha256", sa.Text(), nullable=False),
        sa.Column("plan_id", sa.Text(), nullable=False),
        sa.Column("plan", sa.JSON(), nullable=False),
        sa.Column("changes", sa.JSON(), nullable=False),
        sa.Column("touches", sa.JSON(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("requested_key", ID, nullable=False),
        sa.Column("requested_by", sa.Text(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("expires_at", MOMENT, nullable=False),
        sa.Column("decided_key", ID),
        sa.Column("decided_by", sa.Text()),
        sa.Column("decided_at", MOMENT),
        sa.Column("reason", sa.Text()),
        sa.Column("used_at", MOMENT),
        sa.Column("operation_id", ID),
        sa.PrimaryKeyConstraint("id", name="pk_approvals"),
    )  # fmt: skip
    op.create_index("ix_approvals_team", "approvals", ["team", "id"])
    op.create_index("ix_approvals_call", "approvals", ["requested_key", "body_sha256", "id"])
    waiting, call = sa.text("state = 'waiting'"), ["requested_key", "body_sha256"]
    op.create_index("ux_approvals_waiting", "approvals", call, unique=True, sqlite_where=waiting, postgresql_where=waiting)
    op.create_table(
        "audit_pruned",
        sa.Column("chain", sa.Text(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("hash", sa.Text(), nullable=False),
        sa.Column("at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("chain", name="pk_audit_pruned"),
    )  # fmt: skip
    if op.get_bind().dialect.name == "postgresql":
        for table in FED:
            op.execute(
                f"CREATE TRIGGER note_change AFTER INSERT OR UPDATE OR DELETE ON {table} "
                "FOR EACH ROW EXECUTE FUNCTION codeb_note_change()"
            )


def downgrade() -> None:
    # The triggers go with their tables.
    for table in FED:
        op.drop_table(table)
    op.drop_index("ix_audit_logs_team", "audit_logs")
    op.drop_index("ux_audit_logs_chain", "audit_logs")
    for table, columns in _added().items():
        for column in reversed(columns):
            op.drop_column(table, column.name)
