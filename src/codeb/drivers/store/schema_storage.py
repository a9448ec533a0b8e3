"""The tables of storage: what an environment has on the storage server, and its passwords. The rest is in `schema`."""

from sqlalchemy import Column, ForeignKeyConstraint, Integer, PrimaryKeyConstraint, Table, Text, UniqueConstraint

from codeb.drivers.store.columns import Id, Prose, Utc, metadata

project_storage = Table(
    "project_storage", metadata,
    Column("id", Id, nullable=False),
    Column("project", Text, nullable=False),
    Column("environment", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("host", Text, nullable=False),
    Column("port", Integer, nullable=False),
    Column("state", Text, nullable=False),
    Column("generation", Integer, nullable=False),
    Column("created_at", Utc, nullable=False),
    Column("created_by", Prose, nullable=False),
    Column("rotated_at", Utc),
    Column("backup", Text),
    Column("server", Text),
    Column("image", Text),
    Column("sealed", Text),
    PrimaryKeyConstraint("id", name="pk_project_storage"),
    UniqueConstraint("project", "environment", "kind", name="uq_project_storage_place"),
    ForeignKeyConstraint(["project"], ["projects.name"], name="fk_project_storage_project", ondelete="CASCADE"),
)  # fmt: skip
"""What an environment has on the storage server: one database, one part of a Redis."""

storage_passwords = Table(
    "storage_passwords", metadata,
    Column("storage_id", Id, nullable=False),
    Column("generation", Integer, nullable=False),
    Column("sealed", Text, nullable=False),
    PrimaryKeyConstraint("storage_id", "generation", name="pk_storage_passwords"),
    ForeignKeyConstraint(
        ["storage_id"], ["project_storage.id"], name="fk_storage_passwords_storage", ondelete="CASCADE"
    ),
)  # fmt: skip
"""Beside the one in force: one that is being made, or one that running containers still know."""
