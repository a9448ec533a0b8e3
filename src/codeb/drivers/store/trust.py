"""Whether a SQLite file is a registry that can be believed.

SQLite notices a page that is no page, not a bit that changed inside a row, and a write-ahead log that lost its end is to it
merely one that ends earlier. So the file is also held against the mirror files, which carry checksums and generations.
"""

import sqlite3
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from sqlalchemy import Connection, NullPool, create_engine, select, text
from sqlalchemy.exc import SQLAlchemyError

from codeb.drivers.files import distrust
from codeb.drivers.store import migrate, rows
from codeb.drivers.store.journal import OPEN
from codeb.drivers.store.mirrored import Registered
from codeb.drivers.store.schema import (
    api_keys,
    changes,
    members,
    meta,
    operations,
    port_leases,
    project_slots,
    projects,
    teams,
)  # fmt: skip
from codeb.drivers.store.schema_names import domains, maintenances, previews
from codeb.drivers.store.shelf import Reading

SIDES = ("-wal", "-shm")
MAGIC = b"SQLite format 3\0"


class Distrusted(Exception):
    """The file is not a registry to go on with; it says why."""


@dataclass(frozen=True)
class Found:
    """`registry` is None for a file in which no registry was begun."""

    registry: Registered | None
    whole: bool = True
    """whether it can be held against the mirror word for word: not a file of another version, nor a local copy in which is
    noted what its database may not have"""


@contextmanager
def reading(path: Path) -> Iterator[Connection]:
    """A connection that changes nothing, not even by recovering: what is looked at may have to be kept as it is."""
    # a rollback journal is left only by a death before the file became WAL; it must be played back to be read
    mode = "rw" if path.with_name(f"{path.name}-journal").exists() else "ro"
    address = f"file:{quote(str(path))}?mode={mode}"
    engine = create_engine(
        "sqlite://", creator=lambda: sqlite3.connect(address, uri=True, timeout=5), poolclass=NullPool, hide_parameters=True
    )
    with engine.connect() as connection:
        yield connection


def examine(path: Path, owners: Collection[int]) -> Found:
    """Read the registry of a SQLite file. Raises `Distrusted`, and `FileNotFoundError` when there is none."""
    if (why := distrust(path, owners)) is not None:
        raise Distrusted(why)
    for side in SIDES:
        beside = path.with_name(path.name + side)
        try:
            if (why := distrust(beside, owners)) is not None:
                raise Distrusted(why)
        except FileNotFoundError:
            continue
    try:
        return _look(path)
    except Distrusted:
        raise
    except (SQLAlchemyError, sqlite3.Error, OSError) as fault:
        raise Distrusted(f"{path} cannot be read: {getattr(fault, 'orig', None) or fault}") from fault
    except (ValueError, KeyError, TypeError, AttributeError) as fault:
        raise Distrusted(f"{path} holds values that are none: {fault}") from fault


def _look(path: Path) -> Found:
    if path.stat().st_size == 0 and not path.with_name(f"{path.name}-wal").exists():
        return Found(None)
    with path.open("rb") as file:
        if not (head := file.read(len(MAGIC))).startswith(MAGIC) and head:
            raise Distrusted(f"{path} is not a SQLite database")
    with reading(path) as connection:
        said = connection.execute(text("PRAGMA quick_check(1)")).scalar_one()
        if said != "ok":
            raise Distrusted(f"{path} is damaged: {said}")
        revision = migrate.recorded(connection)
        if revision is None:
            if connection.execute(text("SELECT count(*) FROM sqlite_master")).scalar_one():
                raise Distrusted(f"{path} has no schema of CodeB")
            return Found(None)
        if revision != migrate.HEAD:
            # an older one is migrated, a newer one refused, both further on
            return Found(_begun(connection), whole=False)
        for row in connection.execute(select(operations).where(operations.c.state.in_(OPEN))).mappings():
            rows.operation_of(row)
        pending = connection.execute(select(changes.c.seq).limit(1)).first() is not None
        return Found(registry_in(connection), whole=not pending)


def _begun(connection: Connection) -> Registered | None:
    """As much as a registry of another version surely says of itself."""
    found = connection.execute(text("SELECT generation, registry_id FROM meta")).all()
    if len(found) > 1:
        raise Distrusted("there are two registries in one file")
    return Registered(int(found[0][0]), (), (), (), (), (), registry_id=str(found[0][1])) if found else None


def registry_in(connection: Connection) -> Registered | None:
    """The registry part; None when none was begun."""
    about = connection.execute(select(meta)).mappings().all()
    if not about:
        return None
    pairs = rows.pairs_of(connection.execute(select(project_slots)).mappings().all())
    environments: dict[str, list[str]] = {}
    for place in pairs:
        environments.setdefault(place.project, []).append(place.environment)
    found = [rows.project_of(row, environments.get(row["name"], ())) for row in connection.execute(select(projects)).mappings()]
    leases = [rows.lease_of(row) for row in connection.execute(select(port_leases)).mappings()]
    keys = [rows.key_of(row) for row in connection.execute(select(api_keys).order_by(api_keys.c.id)).mappings()]
    owners = [rows.team_of(row) for row in connection.execute(select(teams)).mappings()]
    people = [rows.member_of(row) for row in connection.execute(select(members)).mappings()]
    held = [rows.domain_of(row) for row in connection.execute(select(domains).order_by(domains.c.host)).mappings()]
    pages = [rows.maintenance_of(row) for row in connection.execute(select(maintenances)).mappings()]
    kept = [rows.preview_of(row) for row in connection.execute(select(previews)).mappings()]
    return Registered(
        int(about[0]["generation"]), tuple(sorted(owners, key=lambda team: team.id)), tuple(keys),
        tuple(sorted(found, key=lambda project: project.name)), tuple(pairs.values()),
        tuple(sorted(leases, key=lambda lease: (lease.server, lease.port))),
        tuple(sorted(people, key=lambda member: member.id)), about[0]["registry_id"], about[0]["instance"],
        tuple(held), tuple(sorted(pages, key=lambda page: page.place)), tuple(sorted(kept, key=lambda each: each.place)),
    )  # fmt: skip


def compare(path: Path, found: Found, mirror: Reading) -> None:
    """Hold the file against the mirror. Raises `Distrusted` when it is an older one, another one, or says something else."""
    registry, copy = found.registry, mirror.registry
    if registry is None:
        if mirror.generation > 0:
            raise Distrusted(f"{path} is empty, and the registry's files are of generation {mirror.generation}")
        return
    if registry.generation < mirror.generation:
        raise Distrusted(f"{path} is of generation {registry.generation}, older than the registry's files ({mirror.generation})")
    if copy is None:
        return
    if copy.registry_id is not None and registry.registry_id != copy.registry_id:
        raise Distrusted(f"{path} is the registry of another installation")
    if copy.instance and registry.instance and copy.instance != registry.instance:
        raise Distrusted(f"{path} names another installation than the registry's files")
    comparable = mirror.exact and registry.generation == copy.generation and found.whole
    if comparable and not copy.says_the_same(registry):
        raise Distrusted(f"{path} does not say what the registry's files of the same generation say")
