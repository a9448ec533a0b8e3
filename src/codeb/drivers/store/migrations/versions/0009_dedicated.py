"""Storage in a container of its own: on which server, of which image, and its administrator's sealed password."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"

ADDED = ("server", "image", "sealed")


def upgrade() -> None:
    # Not in a batch, as 0002 says.
    for name in ADDED:
        op.add_column("project_storage", sa.Column(name, sa.Text()))


def downgrade() -> None:
    for name in reversed(ADDED):
        op.drop_column("project_storage", name)
