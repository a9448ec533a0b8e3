"""What the container in a slot listens on and is asked, as it was deployed; and containers that CodeB took over."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"

ADDED = (("container_port", sa.Integer()), ("health_path", sa.Text()), ("adopted", sa.Text()), ("adopted_name", sa.Text()))
"""empty in what was there before: it runs as its project says, and CodeB made it"""


def upgrade() -> None:
    # One by one: SQLite adds a column in place, and makes a table anew for everything else.
    for name, kind in ADDED:
        op.add_column("project_slots", sa.Column(name, kind))
    op.create_index("ux_project_slots_adopted", "project_slots", ["adopted"], unique=True)


def downgrade() -> None:
    op.drop_index("ux_project_slots_adopted", table_name="project_slots")
    for name, _ in reversed(ADDED):
        op.drop_column("project_slots", name)
