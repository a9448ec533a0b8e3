"""What a call that began an operation was made of, so that its answer can be told by the operation's id."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    # Not in a batch, as 0002 says.
    op.add_column("answers", sa.Column("params", sa.JSON()))
    op.create_index("ix_answers_operation", "answers", ["operation_id"])


def downgrade() -> None:
    op.drop_index("ix_answers_operation", table_name="answers")
    op.drop_column("answers", "params")
