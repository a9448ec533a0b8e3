"""The kinds of columns, the same on SQLite and PostgreSQL: moments, text of others, JSON, ids, numbers that count up."""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, DateTime, Dialect, Integer, MetaData, Text
from sqlalchemy.types import TypeDecorator

metadata = MetaData()
"""all tables of the schema, whichever file defines them"""


class Utc(TypeDecorator[datetime]):
    """An aware moment, UTC. SQLite forgets the zone, so it is put back; a naive value is refused on both."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a moment without a zone is not stored")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Prose(TypeDecorator[str]):
    """Text that may come from a container: what PostgreSQL cannot hold (NUL, half characters) becomes U+FFFD on both."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:
        if value is None:
            return None
        return str(value).replace("\0", "\ufffd").encode("utf-16", "surrogatepass").decode("utf-16", "replace")


class Plain(TypeDecorator[Any]):
    """Plain JSON; None is NULL. `json`, not `jsonb`: it keeps the order of keys and an escaped NUL."""

    impl = JSON(none_as_null=True)
    cache_ok = True


Id = Text().with_variant(Text(collation="C"), "postgresql")
"""Ordered by bytes on both, because later ids sort later."""

Number = BigInteger().with_variant(Integer, "sqlite")
"""SQLite counts up only a column that is exactly INTEGER."""
