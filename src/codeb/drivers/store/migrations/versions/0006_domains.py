"""Domains: who has which public name; and where a maintenance page stands."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

MOMENT = sa.DateTime(timezone=True)

FED = ("domains", "maintenances")
"""new tables whose changes are noted in `changes`, as 0002 has it"""


def upgrade() -> None:
    op.create_table(
        "domains",
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("team", sa.Text(), nullable=False),
        sa.Column("project", sa.Text(), nullable=False),
        sa.Column("environment", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("redirect_to", sa.Text(), nullable=False),
        sa.Column("zone", sa.Text(), nullable=False),
        sa.Column("proof", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("host", name="pk_domains"),
    )
    op.create_index("ix_domains_project", "domains", ["project"])
    op.create_table(
        "maintenances",
        sa.Column("project", sa.Text(), nullable=False),
        sa.Column("environment", sa.Text(), nullable=False),
        sa.Column("since", MOMENT, nullable=False),
        sa.Column("by", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("project", "environment", name="pk_maintenances"),
        sa.ForeignKeyConstraint(["project"], ["projects.name"], name="fk_maintenances_project", ondelete="CASCADE"),
    )
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
