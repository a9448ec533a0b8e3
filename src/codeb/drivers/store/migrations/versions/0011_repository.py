"""Where the source of a project is."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    # Not in a batch, as 0002 says.
    op.add_column("projects", sa.Column("repository", sa.Text(), nullable=False, server_default=""))


def downgrade() -> None:
    op.drop_column("projects", "repository")
