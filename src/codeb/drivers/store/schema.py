"""The tables. One schema for SQLite and PostgreSQL; `migrations/` brings a database to it, a test holds the two together.

What must be unique is a constraint here. Rows that live and die together are tied by foreign keys; operations and
deployments are history and outlive their project. Every constraint is named, because PostgreSQL reports names.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Double,
    ForeignKeyConstraint,
    Index,
    Integer,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
    text,
    true,
)  # fmt: skip

import codeb.drivers.store.schema_names
import codeb.drivers.store.schema_storage
import codeb.drivers.store.schema_work  # noqa: F401  their tables are of the same schema
from codeb.drivers.store.columns import Id, Number, Plain, Prose, Utc
from codeb.drivers.store.columns import metadata as metadata

meta = Table(
    "meta", metadata,
    Column("id", Integer, nullable=False),
    Column("generation", BigInteger, nullable=False),
    Column("registry_id", Text, nullable=False),
    Column("created_at", Utc, nullable=False),
    Column("instance", Text),
    Column("master_key", Text),
    PrimaryKeyConstraint("id", name="pk_meta"),
    CheckConstraint("id = 1", name="ck_meta_single"),
)  # fmt: skip

teams = Table(
    "teams", metadata,
    Column("id", Text, nullable=False),
    Column("created_at", Utc, nullable=False),
    Column("display_name", Prose),
    Column("created_by", Prose),
    Column("approval", Text, nullable=False, server_default="none"),
    Column("deleted_at", Utc),
    PrimaryKeyConstraint("id", name="pk_teams"),
)  # fmt: skip

members = Table(
    "members", metadata,
    Column("id", Id, nullable=False),
    Column("team", Text, nullable=False),
    Column("name", Prose, nullable=False),
    Column("role", Text, nullable=False),
    Column("created_at", Utc, nullable=False),
    Column("created_by", Prose, nullable=False),
    Column("removed_at", Utc),
    PrimaryKeyConstraint("id", name="pk_members"),
    ForeignKeyConstraint(["team"], ["teams.id"], name="fk_members_team"),
)  # fmt: skip

_present = text("removed_at IS NULL")
Index("ux_members_name", members.c.team, members.c.name, unique=True, sqlite_where=_present, postgresql_where=_present)

api_keys = Table(
    "api_keys", metadata,
    Column("id", Id, nullable=False),
    Column("sha256", Text, nullable=False),
    Column("team", Text, nullable=False),
    Column("role", Text, nullable=False),
    Column("label", Prose, nullable=False),
    Column("tools", Plain, nullable=False),
    Column("projects", Plain, nullable=False),
    Column("environments", Plain, nullable=False),
    Column("created_at", Utc),
    Column("expires_at", Utc),
    Column("revoked_at", Utc),
    Column("member", Id),
    Column("preset", Text),
    Column("approval", Text, nullable=False, server_default="none"),
    Column("created_by", Prose),
    PrimaryKeyConstraint("id", name="pk_api_keys"),
    UniqueConstraint("sha256", name="uq_api_keys_sha256"),
)  # fmt: skip

projects = Table(
    "projects", metadata,
    Column("name", Text, nullable=False),
    Column("team", Text, nullable=False),
    Column("type", Text, nullable=False),
    Column("container_port", Integer, nullable=False),
    Column("health_path", Text, nullable=False),
    Column("limits", Plain, nullable=False),
    Column("created_at", Utc),
    Column("created_by", Prose, nullable=False),
    Column("state", Text, nullable=False),
    Column("auto_rollback", Boolean, nullable=False, server_default=true()),
    Column("watch_seconds", Integer, nullable=False, server_default="60"),
    Column("deleted_at", Utc),
    Column("repository", Text, nullable=False, server_default=""),
    PrimaryKeyConstraint("name", name="pk_projects"),
)  # fmt: skip

port_leases = Table(
    "port_leases", metadata,
    Column("server", Text, nullable=False),
    Column("port", Integer, nullable=False),
    Column("project", Text, nullable=False),
    Column("environment", Text, nullable=False),
    Column("slot", Text, nullable=False),
    PrimaryKeyConstraint("server", "port", name="pk_port_leases"),
    ForeignKeyConstraint(["project"], ["projects.name"], name="fk_port_leases_project", ondelete="CASCADE"),
    Index("ix_port_leases_project", "project"),
)  # fmt: skip

project_slots = Table(
    "project_slots", metadata,
    Column("project", Text, nullable=False),
    Column("environment", Text, nullable=False),
    Column("slot", Text, nullable=False),
    Column("port", Integer, nullable=False),
    Column("state", Text, nullable=False),
    Column("deployment_id", Id),
    Column("version", Text),
    Column("image", Text),
    Column("digest", Text),
    Column("image_id", Text),
    Column("deployed_at", Utc),
    Column("deployed_by", Prose),
    Column("promoted_at", Utc),
    Column("promoted_by", Prose),
    Column("grace_expires_at", Utc),
    Column("env_version", Integer),
    Column("container_port", Integer),
    Column("health_path", Text),
    Column("adopted", Text),
    Column("adopted_name", Text),
    PrimaryKeyConstraint("project", "environment", "slot", name="pk_project_slots"),
    ForeignKeyConstraint(["project"], ["projects.name"], name="fk_project_slots_project", ondelete="CASCADE"),
    CheckConstraint("slot IN ('blue', 'green')", name="ck_project_slots_slot"),
    Index("ux_project_slots_adopted", "adopted", unique=True),
)  # fmt: skip

for _state in ("active", "grace"):
    _only = text(f"state = '{_state}'")
    Index(
        f"ux_project_slots_one_{_state}", project_slots.c.project, project_slots.c.environment,
        unique=True, sqlite_where=_only, postgresql_where=_only,
    )  # fmt: skip

deployments = Table(
    "deployments", metadata,
    Column("id", Id, nullable=False),
    Column("project", Text, nullable=False),
    Column("environment", Text, nullable=False),
    Column("slot", Text, nullable=False),
    Column("version", Text, nullable=False),
    Column("image", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("created_at", Utc, nullable=False),
    Column("created_by", Prose, nullable=False),
    Column("operation_id", Id, nullable=False),
    Column("digest", Text),
    Column("image_id", Text),
    Column("ended_at", Utc),
    Column("promoted_at", Utc),
    Column("env_version", Integer),
    PrimaryKeyConstraint("id", name="pk_deployments"),
    Index("ix_deployments_place", "project", "environment", "id"),
)  # fmt: skip

project_envs = Table(
    "project_envs", metadata,
    Column("project", Text, nullable=False),
    Column("environment", Text, nullable=False),
    Column("number", Integer, nullable=False),
    Column("created_at", Utc, nullable=False),
    Column("created_by", Prose, nullable=False),
    Column("action", Text, nullable=False),
    Column("count", Integer, nullable=False),
    Column("difference", Plain, nullable=False),
    Column("sealed", Text, nullable=False),
    PrimaryKeyConstraint("project", "environment", "number", name="pk_project_envs"),
    ForeignKeyConstraint(["project"], ["projects.name"], name="fk_project_envs_project", ondelete="CASCADE"),
)  # fmt: skip
"""Versions of environment variables, only ever added. `sealed`: names and values; `difference`: names, to the one before."""

operations = Table(
    "operations", metadata,
    Column("id", Id, nullable=False),
    Column("tool", Text, nullable=False),
    Column("saga", Text, nullable=False),
    Column("saga_version", Integer, nullable=False),
    Column("project", Text, nullable=False),
    Column("places", Text, nullable=False),
    Column("place_count", Integer, nullable=False),
    Column("team", Text, nullable=False),
    Column("actor", Prose, nullable=False),
    Column("input", Plain, nullable=False),
    Column("state", Text, nullable=False),
    Column("created_at", Utc, nullable=False),
    Column("updated_at", Utc, nullable=False),
    Column("fence", BigInteger, nullable=False),
    Column("summary", Prose, nullable=False),
    Column("step", Text),
    Column("cancel_requested", Boolean, nullable=False),
    Column("result", Plain),
    Column("error", Plain),
    Column("warnings", Plain, nullable=False),
    Column("undo_faults", Plain, nullable=False),
    Column("resumed", Integer, nullable=False),
    Column("follows", Id),
    Column("ended_at", Utc),
    PrimaryKeyConstraint("id", name="pk_operations"),
    Index("ix_operations_team", "team", "id"),
    Index("ix_operations_project", "project", "id"),
    Index("ix_operations_state", "state"),
)  # fmt: skip

operation_steps = Table(
    "operation_steps", metadata,
    Column("operation_id", Id, nullable=False),
    Column("index", Integer, nullable=False),
    Column("name", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("started_at", Utc, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("duration_ms", Double),
    Column("output", Plain, nullable=False),
    Column("error", Prose),
    PrimaryKeyConstraint("operation_id", "index", name="pk_operation_steps"),
    ForeignKeyConstraint(["operation_id"], ["operations.id"], name="fk_operation_steps_operation", ondelete="CASCADE"),
)  # fmt: skip

operation_locks = Table(
    "operation_locks", metadata,
    Column("project", Text, nullable=False),
    Column("environment", Text, nullable=False),
    Column("operation_id", Id),
    Column("fence", BigInteger, nullable=False),
    Column("owner", Text),
    Column("renewed_at", Utc, nullable=False),
    PrimaryKeyConstraint("project", "environment", name="pk_operation_locks"),
    ForeignKeyConstraint(["operation_id"], ["operations.id"], name="fk_operation_locks_operation"),
    Index("ix_operation_locks_operation", "operation_id"),
)  # fmt: skip

answers = Table(
    "answers", metadata,
    Column("key_id", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("tool", Text, nullable=False),
    Column("body_sha256", Text, nullable=False),
    Column("created_at", Utc, nullable=False),
    Column("operation_id", Id),
    Column("answer", Plain),
    Column("sealed", Text),
    Column("params", Plain),
    PrimaryKeyConstraint("key_id", "key", name="pk_answers"),
    Index("ix_answers_operation", "operation_id"),
)  # fmt: skip
"""`sealed`: an answer that holds a secret, encrypted; never beside a plain one."""

approvals = Table(
    "approvals", metadata,
    Column("id", Id, nullable=False),
    Column("team", Text, nullable=False),
    Column("tool", Text, nullable=False),
    Column("project", Text),
    Column("environment", Text),
    Column("params", Plain, nullable=False),
    Column("body_sha256", Text, nullable=False),
    Column("plan_id", Text, nullable=False),
    Column("plan", Plain, nullable=False),
    Column("changes", Plain, nullable=False),
    Column("touches", Plain, nullable=False),
    Column("state", Text, nullable=False),
    Column("requested_key", Id, nullable=False),
    Column("requested_by", Prose, nullable=False),
    Column("created_at", Utc, nullable=False),
    Column("expires_at", Utc, nullable=False),
    Column("decided_key", Id),
    Column("decided_by", Prose),
    Column("decided_at", Utc),
    Column("reason", Prose),
    Column("used_at", Utc),
    Column("operation_id", Id),
    PrimaryKeyConstraint("id", name="pk_approvals"),
    Index("ix_approvals_team", "team", "id"),
    Index("ix_approvals_call", "requested_key", "body_sha256", "id"),
)  # fmt: skip
"""Plans that another identity has to agree to before they are applied."""

_waiting = text("state = 'waiting'")
Index(
    "ux_approvals_waiting", approvals.c.requested_key, approvals.c.body_sha256,
    unique=True, sqlite_where=_waiting, postgresql_where=_waiting,
)  # fmt: skip

audit_logs = Table(
    "audit_logs", metadata,
    Column("id", Number, autoincrement=True, nullable=False),
    Column("at", Utc, nullable=False),
    Column("correlation_id", Text, nullable=False),
    Column("entry", Text, nullable=False),
    Column("tool", Prose, nullable=False),
    Column("ok", Boolean, nullable=False),
    Column("code", Text, nullable=False),
    Column("key_id", Text),
    Column("team", Text),
    Column("role", Text),
    Column("ip", Text),
    Column("duration_ms", Double, nullable=False),
    Column("params", Plain, nullable=False),
    Column("summary", Prose, nullable=False),
    Column("chain", Text),
    Column("seq", BigInteger),
    Column("prev", Text),
    Column("hash", Text),
    PrimaryKeyConstraint("id", name="pk_audit_logs"),
    Index("ux_audit_logs_chain", "chain", "seq", unique=True),
    Index("ix_audit_logs_team", "team", "id"),
)  # fmt: skip
"""Each process's home writes one chain: `hash` covers the row and `prev`, the hash of the row before it."""

audit_pruned = Table(
    "audit_pruned", metadata,
    Column("chain", Text, nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("hash", Text, nullable=False),
    Column("at", Utc, nullable=False),
    PrimaryKeyConstraint("chain", name="pk_audit_pruned"),
)  # fmt: skip
"""Where a chain begins, once its oldest rows went by their age: the last one that is not there any more."""

events = Table(
    "events", metadata,
    Column("id", Id, nullable=False),
    Column("at", Utc, nullable=False),
    Column("kind", Text, nullable=False),
    Column("severity", Text, nullable=False),
    Column("team", Text),
    Column("project", Text),
    Column("environment", Text),
    Column("operation_id", Id),
    Column("text", Prose, nullable=False),
    Column("data", Plain, nullable=False),
    PrimaryKeyConstraint("id", name="pk_events"),
    Index("ix_events_project", "project", "id"),
)  # fmt: skip

conflicts = Table(
    "conflicts", metadata,
    Column("id", Id, nullable=False),
    Column("at", Utc, nullable=False),
    Column("written", Text, nullable=False),
    Column("operation_id", Id),
    Column("reason", Prose, nullable=False),
    Column("changes", Plain, nullable=False),
    Column("settled_at", Utc),
    Column("settled_by", Prose),
    PrimaryKeyConstraint("id", name="pk_conflicts"),
    UniqueConstraint("written", name="uq_conflicts_written"),
)  # fmt: skip
"""What was done while the database was away and could not be added to it when it came back. `written` names the transaction."""

changes = Table(
    "changes", metadata,
    Column("seq", Number, autoincrement=True, nullable=False),
    Column("written", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("act", Text, nullable=False),
    Column("before", Plain),
    Column("after", Plain),
    PrimaryKeyConstraint("seq", name="pk_changes"),
    Index("ix_changes_written", "written"),
)  # fmt: skip
"""Every changed row in its order, noted by triggers: what the local copy of a PostgreSQL registry follows, and in that copy
what was done without the database. `written` names the transaction, `kind` the table."""

leadership = Table(
    "leadership", metadata,
    Column("id", Integer, nullable=False),
    Column("term", BigInteger, nullable=False),
    Column("owner", Text, nullable=False),
    Column("address", Text, nullable=False),
    Column("acquired_at", Utc, nullable=False),
    Column("renewed_at", Utc, nullable=False),
    PrimaryKeyConstraint("id", name="pk_leadership"),
    CheckConstraint("id = 1", name="ck_leadership_single"),
)  # fmt: skip
"""Which of several CodeB processes on one database leads. `term` grows with every change of leader."""
