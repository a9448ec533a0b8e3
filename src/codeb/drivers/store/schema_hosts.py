"""The tables about machines. Whoever needs every table there is takes `metadata` from here."""

from sqlalchemy import CheckConstraint, Column, Integer, PrimaryKeyConstraint, Table, Text

from codeb.drivers.store.columns import Plain, Prose, Utc
from codeb.drivers.store.schema import metadata

__all__ = ["firewall_rules", "metadata", "servers"]

servers = Table(
    "servers", metadata,
    Column("name", Text, nullable=False),
    Column("roles", Plain, nullable=False),
    Column("addresses", Plain, nullable=False),
    Column("docker_host", Text),
    Column("created_at", Utc),
    Column("created_by", Prose, nullable=False),
    PrimaryKeyConstraint("name", name="pk_servers"),
)  # fmt: skip

firewall_rules = Table(
    "firewall_rules", metadata,
    Column("server", Text, nullable=False),
    Column("transport", Text, nullable=False),
    Column("port", Integer, nullable=False),
    Column("cidr", Text, nullable=False),
    Column("project", Text, nullable=False),
    Column("purpose", Text, nullable=False),
    Column("created_at", Utc),
    Column("created_by", Prose, nullable=False),
    PrimaryKeyConstraint("server", "transport", "port", "cidr", "project", name="pk_firewall_rules"),
    CheckConstraint("port BETWEEN 1 AND 65535", name="ck_firewall_rules_port"),
)  # fmt: skip
"""`project`: `-` for a rule of the installation. Not tied to the project's row: purge takes them from the firewall first."""
