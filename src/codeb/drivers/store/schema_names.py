"""The tables of public names: who holds which domain, where a maintenance page stands, until when a preview is kept."""

from sqlalchemy import Boolean, Column, ForeignKeyConstraint, Index, Integer, PrimaryKeyConstraint, Table, Text

from codeb.drivers.store.columns import Prose, Utc, metadata

domains = Table(
    "domains", metadata,
    Column("host", Text, nullable=False),
    Column("team", Text, nullable=False),
    Column("project", Text, nullable=False),
    Column("environment", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("created_at", Utc, nullable=False),
    Column("created_by", Prose, nullable=False),
    Column("redirect_to", Text, nullable=False),
    Column("zone", Text, nullable=False),
    Column("proof", Text, nullable=False),
    PrimaryKeyConstraint("host", name="pk_domains"),
    Index("ix_domains_project", "project"),
)  # fmt: skip
"""A name is held once, whichever team has it. It outlives its project: what was released is remembered."""

maintenances = Table(
    "maintenances", metadata,
    Column("project", Text, nullable=False),
    Column("environment", Text, nullable=False),
    Column("since", Utc, nullable=False),
    Column("by", Prose, nullable=False),
    PrimaryKeyConstraint("project", "environment", name="pk_maintenances"),
    ForeignKeyConstraint(["project"], ["projects.name"], name="fk_maintenances_project", ondelete="CASCADE"),
)  # fmt: skip

previews = Table(
    "previews", metadata,
    Column("project", Text, nullable=False),
    Column("environment", Text, nullable=False),
    Column("ttl_hours", Integer, nullable=False),
    Column("expires_at", Utc, nullable=False),
    Column("created_at", Utc, nullable=False),
    Column("created_by", Prose, nullable=False),
    Column("ending", Boolean, nullable=False),
    PrimaryKeyConstraint("project", "environment", name="pk_previews"),
    ForeignKeyConstraint(["project"], ["projects.name"], name="fk_previews_project", ondelete="CASCADE"),
)  # fmt: skip
