"""Storage: what a project has on the storage server, and its sealed passwords."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

MOMENT = sa.DateTime(timezone=True)
ID = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")

FED = ("project_storage", "storage_passwords")
"""new tables whose changes are noted in `changes`, as 0002 has it"""


def upgrade() -> None:
    op.create_table(
        "project_storage",
        sa.Column("id", ID, nullable=False),
        sa.Column("project", sa.Text(), nullable=False),
        sa.Column("environment", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("port", sa.Integer(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("rotated_at", MOMENT),
        sa.Column("backup", sa.Text()),
        sa.PrimaryKeyConstraint("id", name="pk_project_storage"),
        sa.UniqueConstraint("project", "environment", "kind", name="uq_project_storage_place"),
        sa.ForeignKeyConstraint(["project"], ["projects.name"], name="fk_project_storage_project", ondelete="CASCADE"),
    )
    op.create_table(
        "storage_passwords",
        sa.Column("storage_id", ID, nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("sealed", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("storage_id", "generation", name="pk_storage_passwords"),
        sa.ForeignKeyConstraint(["storage_id"], ["project_storage.id"], name="fk_storage_passwords_storage", ondelete="CASCADE"),
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
