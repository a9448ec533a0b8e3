"""Servers: the machines there are, and the rules of their firewall."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"

MOMENT = sa.DateTime(timezone=True)

FED = ("servers", "firewall_rules")
"""new tables whose changes are noted in `changes`, as 0002 has it"""


def upgrade() -> None:
    op.create_table(
        "servers",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("roles", sa.JSON(), nullable=False),
        sa.Column("addresses", sa.JSON(), nullable=False),
        sa.Column("docker_host", sa.Text()),
        sa.Column("created_at", MOMENT),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_servers"),
    )  # fmt: skip
    op.create_table(
        "firewall_rules",
        sa.Column("server", sa.Text(), nullable=False),
        sa.Column("transport", sa.Text(), nullable=False),
        sa.Column("port", sa.Integer(), nullable=False),
        sa.Column("cidr", sa.Text(), nullable=False),
        sa.Column("project", sa.Text(), nullable=False),
        sa.Column("purpose", sa.Text(), nullable=False),
        sa.Column("created_at", MOMENT),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("server", "transport", "port", "cidr", "project", name="pk_firewall_rules"),
        sa.CheckConstraint("port BETWEEN 1 AND 65535", name="ck_firewall_rules_port"),
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
