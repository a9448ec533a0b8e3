"""Previews: until when the environment of a pull request is kept."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"

MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "previews",
        sa.Column("project", sa.Text(), nullable=False),
        sa.Column("environment", sa.Text(), nullable=False),
        sa.Column("ttl_hours", sa.Integer(), nullable=False),
        sa.Column("expires_at", MOMENT, nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("ending", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("project", "environment", name="pk_previews"),
        sa.ForeignKeyConstraint(["project"], ["projects.name"], name="fk_previews_project", ondelete="CASCADE"),
    )
    if op.get_bind().dialect.name == "postgresql":
        op.execute(
            "CREATE TRIGGER note_change AFTER INSERT OR UPDATE OR DELETE ON previews "
            "FOR EACH ROW EXECUTE FUNCTION codeb_note_change()"
        )


def downgrade() -> None:
    # The trigger goes with its table.
    op.drop_table("previews")
