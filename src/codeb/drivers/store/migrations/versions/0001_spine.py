"""The spine: projects, slots, port leases, deployments, the journal with its locks, keys, answers and the audit log."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

MOMENT = sa.DateTime(timezone=True)
ID = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "answers",
        sa.Column("key_id", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("tool", sa.Text(), nullable=False),
        sa.Column("body_sha256", sa.Text(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("operation_id", ID),
        sa.Column("answer", sa.JSON()),
        sa.PrimaryKeyConstraint("key_id", "key", name="pk_answers"),
    )  # fmt: skip
    op.create_table(
        "api_keys",
        sa.Column("id", ID, nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("team", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("label", sa.Text(), nullable=False),
        sa.Column("tools", sa.JSON(), nullable=False),
        sa.Column("projects", sa.JSON(), nullable=False),
        sa.Column("environments", sa.JSON(), nullable=False),
        sa.Column("created_at", MOMENT),
        sa.Column("expires_at", MOMENT),
        sa.Column("revoked_at", MOMENT),
        sa.PrimaryKeyConstraint("id", name="pk_api_keys"),
        sa.UniqueConstraint("sha256", name="uq_api_keys_sha256"),
    )  # fmt: skip
    op.create_table(
        "audit_logs",
        sa.Column("id", NUMBER, autoincrement=True, nullable=False),
        sa.Column("at", MOMENT, nullable=False),
        sa.Column("correlation_id", sa.Text(), nullable=False),
        sa.Column("entry", sa.Text(), nullable=False),
        sa.Column("tool", sa.Text(), nullable=False),
        sa.Column("ok", sa.Boolean(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("key_id", sa.Text()),
        sa.Column("team", sa.Text()),
        sa.Column("role", sa.Text()),
        sa.Column("ip", sa.Text()),
        sa.Column("duration_ms", sa.Double(), nullable=False),
        sa.Column("params", sa.JSON(), nullable=False),
        sa.Column("summary", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_audit_logs"),
    )  # fmt: skip
    op.create_table(
        "deployments",
        sa.Column("id", ID, nullable=False),
        sa.Column("project", sa.Text(), nullable=False),
        sa.Column("environment", sa.Text(), nullable=False),
        sa.Column("slot", sa.Text(), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("image", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("operation_id", ID, nullable=False),
        sa.Column("digest", sa.Text()),
        sa.Column("image_id", sa.Text()),
        sa.Column("ended_at", MOMENT),
        sa.Column("promoted_at", MOMENT),
        sa.PrimaryKeyConstraint("id", name="pk_deployments"),
    )  # fmt: skip
    op.create_index("ix_deployments_place", "deployments", ["project", "environment", "id"])
    op.create_table(
        "meta",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.Column("registry_id", sa.Text(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.CheckConstraint("id = 1", name="ck_meta_single"),
        sa.PrimaryKeyConstraint("id", name="pk_meta"),
    )  # fmt: skip
    op.create_table(
        "operations",
        sa.Column("id", ID, nullable=False),
        sa.Column("tool", sa.Text(), nullable=False),
        sa.Column("saga", sa.Text(), nullable=False),
        sa.Column("saga_version", sa.Integer(), nullable=False),
        sa.Column("project", sa.Text(), nullable=False),
        sa.Column("places", sa.Text(), nullable=False),
        sa.Column("place_count", sa.Integer(), nullable=False),
        sa.Column("team", sa.Text(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("input", sa.JSON(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("updated_at", MOMENT, nullable=False),
        sa.Column("fence", sa.BigInteger(), nullable=False),
        sa.Column("summary", sa.Text(), nullable=False),
        sa.Column("step", sa.Text()),
        sa.Column("cancel_requested", sa.Boolean(), nullable=False),
        sa.Column("result", sa.JSON()),
        sa.Column("error", sa.JSON()),
        sa.Column("warnings", sa.JSON(), nullable=False),
        sa.Column("undo_faults", sa.JSON(), nullable=False),
        sa.Column("resumed", sa.Integer(), nullable=False),
        sa.Column("follows", ID),
        sa.Column("ended_at", MOMENT),
        sa.PrimaryKeyConstraint("id", name="pk_operations"),
    )  # fmt: skip
    op.create_index("ix_operations_project", "operations", ["project", "id"])
    op.create_index("ix_operations_state", "operations", ["state"])
    op.create_index("ix_operations_team", "operations", ["team", "id"])
    op.create_table(
        "projects",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("team", sa.Text(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("container_port", sa.Integer(), nullable=False),
        sa.Column("health_path", sa.Text(), nullable=False),
        sa.Column("limits", sa.JSON(), nullable=False),
        sa.Column("created_at", MOMENT),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_projects"),
    )  # fmt: skip
    op.create_table(
        "teams",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_teams"),
    )  # fmt: skip
    op.create_table(
        "operation_locks",
        sa.Column("project", sa.Text(), nullable=False),
        sa.Column("environment", sa.Text(), nullable=False),
        sa.Column("operation_id", ID),
        sa.Column("fence", sa.BigInteger(), nullable=False),
        sa.Column("owner", sa.Text()),
        sa.Column("renewed_at", MOMENT, nullable=False),
        sa.ForeignKeyConstraint(["operation_id"], ["operations.id"], name="fk_operation_locks_operation"),
        sa.PrimaryKeyConstraint("project", "environment", name="pk_operation_locks"),
    )  # fmt: skip
    op.create_index("ix_operation_locks_operation", "operation_locks", ["operation_id"])
    op.create_table(
        "operation_steps",
        sa.Column("operation_id", ID, nullable=False),
        sa.Column("index", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("started_at", MOMENT, nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("duration_ms", sa.Double()),
        sa.Column("output", sa.JSON(), nullable=False),
        sa.Column("error", sa.Text()),
        sa.ForeignKeyConstraint(["operation_id"], ["operations.id"], name="fk_operation_steps_operation", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("operation_id", "index", name="pk_operation_steps"),
    )  # fmt: skip
    op.create_table(
        "port_leases",
        sa.Column("server", sa.Text(), nullable=False),
        sa.Column("port", sa.Integer(), nullable=False),
        sa.Column("project", sa.Text(), nullable=False),
        sa.Column("environment", sa.Text(), nullable=False),
        sa.Column("slot", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["project"], ["projects.name"], name="fk_port_leases_project", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("server", "port", name="pk_port_leases"),
    )  # fmt: skip
    op.create_index("ix_port_leases_project", "port_leases", ["project"])
    op.create_table(
        "project_slots",
        sa.Column("project", sa.Text(), nullable=False),
        sa.Column("environment", sa.Text(), nullable=False),
        sa.Column("slot", sa.Text(), nullable=False),
        sa.Column("port", sa.Integer(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("deployment_id", ID),
        sa.Column("version", sa.Text()),
        sa.Column("image", sa.Text()),
        sa.Column("digest", sa.Text()),
        sa.Column("image_id", sa.Text()),
        sa.Column("deployed_at", MOMENT),
        sa.Column("deployed_by", sa.Text()),
        sa.Column("promoted_at", MOMENT),
        sa.Column("promoted_by", sa.Text()),
        sa.Column("grace_expires_at", MOMENT),
        sa.CheckConstraint("slot IN ('blue', 'green')", name="ck_project_slots_slot"),
        sa.ForeignKeyConstraint(["project"], ["projects.name"], name="fk_project_slots_project", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("project", "environment", "slot", name="pk_project_slots"),
    )  # fmt: skip
    only = sa.text("state = 'active'")
    op.create_index(
        "ux_project_slots_one_active", "project_slots", ["project", "environment"],
        unique=True, sqlite_where=only, postgresql_where=only,
    )  # fmt: skip
    only = sa.text("state = 'grace'")
    op.create_index(
        "ux_project_slots_one_grace", "project_slots", ["project", "environment"],
        unique=True, sqlite_where=only, postgresql_where=only,
    )  # fmt: skip


def downgrade() -> None:
    op.drop_table("project_slots")
    op.drop_table("port_leases")
    op.drop_table("operation_steps")
    op.drop_table("operation_locks")
    op.drop_table("teams")
    op.drop_table("projects")
    op.drop_table("operations")
    op.drop_table("meta")
    op.drop_table("deployments")
    op.drop_table("audit_logs")
    op.drop_table("api_keys")
    op.drop_table("answers")
