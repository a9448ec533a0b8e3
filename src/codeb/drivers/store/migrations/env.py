"""What alembic runs. The connection comes from `migrate.py`, and so does the transaction."""

from typing import Any, Literal

from alembic import context

from codeb.drivers.store.columns import Plain, Prose, Utc
from codeb.drivers.store.schema_hosts import metadata

FROZEN = {Utc: "sa.DateTime(timezone=True)", Prose: "sa.Text()", Plain: "sa.JSON()"}


def frozen(kind: str, item: Any, _: object) -> str | Literal[False]:
    """A migration names plain types: it must still mean the same when ours have moved on."""
    return FROZEN.get(type(item), False) if kind == "type" else False


connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=metadata,
    transactional_ddl=True,
    render_as_batch=True,
    render_item=frozen,
    compare_type=True,
    # On SQLite a boolean default is reported as drift that is none.
    compare_server_default=connection.dialect.name != "sqlite",
)
with context.begin_transaction():
    context.run_migrations()
