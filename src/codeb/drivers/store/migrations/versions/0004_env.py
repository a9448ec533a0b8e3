"""Environment variables: versions of them, sealed, and which of them a deployment runs with."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

MOMENT = sa.DateTime(timezone=True)

TOLD = ("deployments", "project_slots")
"""tables that name a version"""


def upgrade() -> None:
    # Not in a batch, as 0002 says.
    for table in TOLD:
        op.add_column(table, sa.Column("env_version", sa.Integer()))
    op.create_table(
        "project_envs",
        sa.Column("project", sa.Text(), nullable=False),
        sa.Column("environment", sa.Text(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("difference", sa.JSON(), nullable=False),
        sa.Column("sealed", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("project", "environment", "number", name="pk_project_envs"),
        sa.ForeignKeyConstraint(["project"], ["projects.name"], name="fk_project_envs_project", ondelete="CASCADE"),
    )
    if op.get_bind().dialect.name == "postgresql":
        # as 0002 has it: the local copy follows this table too
        op.execute(
            "CREATE TRIGGER note_change AFTER INSERT OR UPDATE OR DELETE ON project_envs "
            "FOR EACH ROW EXECUTE FUNCTION codeb_note_change()"
        )


def downgrade() -> None:
    # The trigger goes with its table.
    op.drop_table("project_envs")
    for table in TOLD:
        op.drop_column(table, "env_version")
