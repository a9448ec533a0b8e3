"""Bring a database to the schema of this version. Alembic is loaded only when there is something to do."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, Engine, inspect, text

from codeb.errors import InternalFault, Unavailable

if TYPE_CHECKING:
    from alembic.config import Config

HEAD = "0013"
"""the newest revision in `migrations/versions`; a test compares"""

FOLDER = Path(__file__).with_name("migrations")


def recorded(connection: Connection) -> str | None:
    """The revision the database says it has; None for an empty one."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one_or_none()


def config(connection: Connection | None = None) -> "Config":
    """Alembic's configuration, without a file. Its commands work on `connection`, in its transaction."""
    from alembic.config import Config  # 190 ms that a start with nothing to migrate does not pay

    made = Config()
    made.set_main_option("script_location", str(FOLDER))
    made.set_main_option("path_separator", "os")
    made.attributes["connection"] = connection
    return made


@contextmanager
def _beginning(engine: Engine) -> Iterator[Connection]:
    """A transaction in which a table of SQLite can be made anew: dropping the old one would else delete what hangs on it."""
    with engine.connect() as connection:
        if connection.dialect.name == "sqlite":
            # Inside a transaction it has no effect, and the connection is thrown away afterwards.
            connection.connection.cursor().execute("PRAGMA foreign_keys=OFF")
        with connection.begin():
            yield connection


def _check_ties(connection: Connection) -> None:
    """Raises `InternalFault` when a migration left a row whose owner is gone."""
    if connection.dialect.name == "sqlite" and (loose := connection.exec_driver_sql("PRAGMA foreign_key_check").all()):
        raise InternalFault(f"the migration would leave rows without what they belong to: {loose[:3]}")


def upgrade(engine: Engine) -> None:
    """To `HEAD`, in one transaction that excludes other starters: all of it or nothing. Forward only.

    Raises `Unavailable` (`store_newer`) for a revision this version does not know, and what SQLAlchemy raises.
    """
    with _beginning(engine) as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(7778742049)"))
        former = recorded(connection)
        if former == HEAD:
            return
        from alembic import command
        from alembic.script import ScriptDirectory

        settings = config(connection)
        known = {script.revision for script in ScriptDirectory.from_config(settings).walk_revisions()}
        if former is not None and former not in known:
            raise Unavailable(
                f"The store has schema {former}, which this version of CodeB (schema {HEAD}) does not know. Nothing was changed.",
                code="store_newer", hint="Start the newer version again, or restore a backup made by this one.",
            )  # fmt: skip
        command.upgrade(settings, "head")
        _check_ties(connection)
