"""What a database says went wrong, in our words. The only place that reads its errors."""

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from sqlalchemy import Index, PrimaryKeyConstraint, UniqueConstraint
from sqlalchemy.exc import DataError as BadData
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError, ProgrammingError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from codeb.drivers.store.schema_hosts import metadata
from codeb.errors import CodebError, Conflict, InternalFault, Unavailable

log = logging.getLogger("codeb.store")

Columns = frozenset[str]

UNDEFINED_TABLE = "42P01"
"""as PostgreSQL says it; SQLite's is an `OperationalError`"""

TAKEN: dict[Columns, tuple[str, str]] = {
    frozenset({"projects.name"}): ("project_exists", "The project name is taken."),
    frozenset({"port_leases.server", "port_leases.port"}): ("port_taken", "The port is leased already."),
    frozenset({"answers.key_id", "answers.key"}): (
        "idempotency_race", "Another call with this idempotency key came first.",
    ),
    frozenset({"project_slots.project", "project_slots.environment"}): (
        "slot_conflict", "Two slots of one environment cannot both be active, nor both be in grace.",
    ),
    frozenset({"project_slots.project", "project_slots.environment", "project_slots.slot"}): (
        "environment_exists", "The environment has its slots already.",
    ),
    frozenset({"project_slots.adopted"}): ("adopted_already", "The container is in a slot already."),
    frozenset({"api_keys.id"}): ("key_exists", "The key exists already."),
    frozenset({"api_keys.sha256"}): ("key_exists", "The key exists already."),
    frozenset({"teams.id"}): ("team_exists", "The team's id is taken."),
    frozenset({"members.team", "members.name"}): ("member_exists", "The team has a member of this name."),
    frozenset({"members.id"}): ("member_exists", "The member is on record already."),
    frozenset({"deployments.id"}): ("deployment_exists", "The deployment is on record already."),
    frozenset({"approvals.requested_key", "approvals.body_sha256"}): (
        "approval_waiting", "The same call waits for an approval already.",
    ),
    frozenset({"project_envs.project", "project_envs.environment", "project_envs.number"}): (
        "env_version_exists", "This version of the environment variables was written meanwhile.",
    ),
    frozenset({"domains.host"}): ("domain_taken", "The domain is held already."),
    frozenset({"project_storage.project", "project_storage.environment", "project_storage.kind"}): (
        "storage_exists", "The environment has its own already.",
    ),
    frozenset({"project_storage.id"}): ("storage_exists", "It is on record already."),
    frozenset({"storage_passwords.storage_id", "storage_passwords.generation"}): (
        "rotation_pending", "A new password is being made already.",
    ),
    frozenset({"work_task_files.project", "work_task_files.path"}): (
        "file_locked", "Another branch holds one of the files.",
    ),
    frozenset({"operations.id"}): ("operation_exists", "The operation is on record already."),
}  # fmt: skip


def _unique_constraints() -> Iterator[tuple[str, Columns]]:
    for table in metadata.tables.values():
        for unique in (*table.constraints, *table.indexes):
            if isinstance(unique, PrimaryKeyConstraint | UniqueConstraint) or (isinstance(unique, Index) and unique.unique):
                yield str(unique.name), frozenset(f"{table.name}.{column.name}" for column in unique.columns)


BY_NAME = dict(_unique_constraints())


def violated(error: IntegrityError) -> Columns:
    """The columns of the unique constraint that said no; empty when it was one of another kind.

    PostgreSQL gives the name of the constraint, SQLite its columns.
    """
    diagnosis = getattr(error.orig, "diag", None)
    if diagnosis is not None:
        return BY_NAME.get(diagnosis.constraint_name or "", frozenset())
    found = re.search(r"UNIQUE constraint failed: ([\w., ]+)", str(error.orig))
    return frozenset(found.group(1).split(", ")) if found else frozenset()


def _foreign(error: IntegrityError) -> bool:
    return "foreign key" in str(error.orig).lower()


def conflict_of(error: IntegrityError) -> CodebError:
    """The `Conflict` a caller may see, or the fault of ours that it is."""
    known = TAKEN.get(violated(error))
    if known is not None:
        code, message = known
        return Conflict(f"{message} Nothing was changed.", code=code, hint="Look at what is there, then choose another.")
    if _foreign(error):
        return Conflict(
            "What this belongs to is not there any more. Nothing was changed.", code="project_gone",
            hint="Call project_list to see what exists.",
        )  # fmt: skip
    log.error("a constraint of the store was violated", exc_info=error)
    return InternalFault(f"a constraint of the store was violated: {error.orig}")


_QUIETLY: ContextVar[bool] = ContextVar("quietly", default=False)


@contextmanager
def quietly() -> Iterator[None]:
    """Without a line in the log for each try: that the database is away has been said."""
    token = _QUIETLY.set(True)
    try:
        yield
    finally:
        _QUIETLY.reset(token)


class Moved(Unavailable):
    """The database went away under this transaction; nothing of it counts, and the copy has taken over."""


def said(fault: BaseException) -> str:
    """Why, in the driver's first line."""
    cause = fault.__cause__ or fault
    return str(getattr(cause, "orig", cause)).partition("\n")[0][:300]


def unavailable(error: BaseException) -> Unavailable:
    """The 503 for a database that does not answer, is locked, full or unreadable; the reason goes to the log."""
    log.log(logging.DEBUG if _QUIETLY.get() else logging.ERROR, "the store does not answer: %s", error)
    return Unavailable(
        "The store does not answer, so this call was given up; what runs is not touched.",
        code="store_unavailable",
        hint="Call health_check; look at the database, its disk and the server's log. Then see what is there and try again.",
    )


@contextmanager
def translated() -> Iterator[None]:
    """Errors of the database leave as `Conflict`, `Unavailable` or `InternalFault`."""
    try:
        yield
    except IntegrityError as error:
        raise conflict_of(error) from error
    except (ProgrammingError, BadData) as error:
        # A table that is not there was dropped with the rest of the database, or that was replaced by another.
        if error.connection_invalidated or getattr(error.orig, "sqlstate", None) == UNDEFINED_TABLE:
            raise unavailable(error) from error
        log.error("the store refused a statement", exc_info=error)
        raise InternalFault(f"the store refused a statement: {error.orig}") from error
    except (OperationalError, DBAPIError, PoolTimeout, TimeoutError, OSError) as error:
        raise unavailable(error) from error
