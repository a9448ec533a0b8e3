"""The database: is it there, of the schema this version knows, whole, and does it keep what it confirmed?"""

import asyncio
import shlex
import sqlite3
import time
from collections.abc import Mapping
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from codeb.config import Settings
from codeb.drivers.store.migrate import FOLDER, HEAD
from codeb.entry.doctor.clock import compared
from codeb.model.settings import PLAIN
from codeb.model.specs import Finding

SECONDS = 8.0
SLOW_MS = 50.0
BIG_WAL = 64 * 1024 * 1024
OLDEST_POSTGRES = 130_000
APART = 5.0
"""seconds between its clock and ours beyond which records are hard to read side by side"""
ASKED = """
SELECT current_setting('server_version_num')::int AS version, current_setting('server_encoding') AS encoding,
       current_setting('fsync') AS fsync, current_setting('synchronous_commit') AS commit,
       current_setting('full_page_writes') AS pages, pg_is_in_recovery() AS standby,
       current_setting('default_transaction_read_only') AS read_only, extract(epoch FROM clock_timestamp())::float8 AS now,
       to_regclass('alembic_version') IS NOT NULL AS known, to_regclass('operations') IS NOT NULL AS used
"""


async def check(settings: Settings) -> list[Finding]:
    try:
        url = make_url(settings.store_url.reveal())
    except ArgumentError:
        url = URL.create("none")
    match url.drivername.partition("+")[0]:
        case "sqlite":
            return await asyncio.to_thread(_sqlite, Path(url.database or ""))
        case "postgresql" | "postgres":
            return await _postgres(url)
    fix = "CODEB_DATABASE_URL is postgresql://user:password@host:5432/name, or unset for SQLite"
    return [Finding("database", "fail", "CODEB_DATABASE_URL names no database CodeB knows.", fix)]


def schema(found: str | None) -> Finding:
    """Which revision it has against the one this version works on."""
    known = {path.name.partition("_")[0] for path in (FOLDER / "versions").glob("[0-9]*.py")}
    if found == HEAD:
        return Finding("schema", "pass", f"Schema {HEAD}, that of this version.")
    if found is None:
        return Finding("schema", "pass", f"It is empty: the first start gives it schema {HEAD}.")
    if found in known:
        text = f"Schema {found}; this version works on {HEAD} and migrates it when it starts."
        return Finding("schema", "warn", text, "Make a backup of it, then: we down && we up -d")
    text = f"Schema {found} is of a newer CodeB; this one (schema {HEAD}) will not start on it."
    return Finding("schema", "fail", text, "Start the newer version again, or restore a backup made by this one")


def _sqlite(path: Path) -> list[Finding]:
    if not path.exists():
        return [Finding("database", "pass", f"{path} is made by the first start.")]
    quoted = shlex.quote(str(path))
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=SECONDS)) as database:
            said = [str(row[0]) for row in database.execute("PRAGMA quick_check(3)")]
            if said != ["ok"]:
                raise sqlite3.DatabaseError("; ".join(said)[:500])
            tables = {row[0] for row in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            row = database.execute("SELECT version_num FROM alembic_version").fetchone() if "alembic_version" in tables else None
            newest = database.execute("SELECT max(updated_at) FROM operations").fetchone()[0] if "operations" in tables else None
            mode = database.execute("PRAGMA journal_mode").fetchone()[0]
    except sqlite3.OperationalError as fault:
        fix = f"See who may read it: ls -l {quoted}; as its owner: we doctor"
        return [Finding("database", "fail", f"{path} cannot be read: {fault}.", fix)]
    except sqlite3.DatabaseError as fault:
        fix = f"we down; keep {quoted} aside and restore the newest backup; its readable copies are in registry/"
        return [Finding("database", "fail", f"{path} is damaged: {fault}.", fix)]
    found = [Finding("database", "pass", f"SQLite, {path.stat().st_size // 1024} KiB, whole, journal {mode}.")]
    wal = path.with_name(f"{path.name}-wal")
    if wal.exists() and wal.stat().st_size > BIG_WAL:
        text = f"Its write-ahead log has {wal.stat().st_size >> 20} MiB: some process reads without end, or it was never closed."
        found.append(Finding("database log", "warn", text, "we down && we up -d"))
    moment = datetime.fromisoformat(newest).replace(tzinfo=UTC) if newest else None
    return [*found, schema(row[0] if row else None), compared(moment, datetime.now(UTC), "the newest operation on record")]


async def _postgres(url: URL) -> list[Finding]:
    import psycopg  # not for those who have SQLite

    where = f"PostgreSQL at {url.host or 'its socket'}:{url.port or 5432}, database {url.database}"
    named = {**url.translate_connect_args(username="user", database="dbname"), **url.query}
    try:
        async with asyncio.timeout(SECONDS):
            began = time.monotonic()
            async with await psycopg.AsyncConnection.connect(**{"connect_timeout": 3, **named}, autocommit=True) as connection:
                opened = (time.monotonic() - began) * 1000
                return await _asked(connection, where, opened)
    except TimeoutError:
        text = f"{where} takes the connection and does not answer within {SECONDS:g} s."
        return [Finding("database", "fail", text, "See whether it hangs, or a firewall swallows its answers: pg_isready")]
    except psycopg.Error as fault:
        why = str(fault).strip().splitlines()[0] if str(fault).strip() else type(fault).__name__
        ready = f"pg_isready -h {url.host or '/var/run/postgresql'} -p {url.port or 5432}"
        fix = f"Start it (systemctl start postgresql), or correct CODEB_DATABASE_URL; to see: {ready}"
        return [Finding("database", "fail", f"{where} cannot be used: {_without_password(why, url)}", fix)]


def _without_password(text: str, url: URL) -> str:
    for word in (url.password, *(value for name, value in url.query.items() if name not in PLAIN)):
        text = text.replace(str(word), "…") if word else text
    return text


async def _asked(connection: Any, where: str, opened: float) -> list[Finding]:
    import psycopg.rows

    async with connection.cursor(row_factory=psycopg.rows.dict_row) as cursor:
        began = time.monotonic()
        await cursor.execute(ASKED)
        said = await cursor.fetchone()
        took = (time.monotonic() - began) * 1000
        revision, newest = None, None
        if said["known"]:
            await cursor.execute("SELECT version_num FROM alembic_version")
            row = await cursor.fetchone()
            revision = row["version_num"] if row else None
        if said["used"]:
            await cursor.execute("SELECT max(updated_at) AS newest FROM operations")
            newest = (await cursor.fetchone())["newest"]
    version = f"{said['version'] // 10_000}.{said['version'] % 10_000}"
    found = [
        Finding("database", "pass", f"{where}: version {version}, {took:.1f} ms a query, {opened:.0f} ms a connection."),
        schema(revision), *kept(said),
    ]  # fmt: skip
    if took > SLOW_MS:
        text = f"A query takes {took:.0f} ms: every call of CodeB waits for several."
        found.append(
            Finding("database speed", "warn", text, "Move it nearer, or see what it is busy with: SELECT * FROM pg_stat_activity")
        )
    if (apart := abs(said["now"] - time.time())) > APART:
        text = f"Its clock and this machine's are {apart:.0f} s apart."
        found.append(Finding("database clock", "warn", text, "On both: timedatectl set-ntp true"))
    return [*found, compared(newest, datetime.now(UTC), "the newest operation on record")]


def kept(said: Mapping[str, Any]) -> list[Finding]:
    """Whether this PostgreSQL is one to trust a registry to."""
    name, found = "database settings", list[Finding]()
    if said["version"] < OLDEST_POSTGRES:
        found.append(
            Finding(name, "warn", "It is older than PostgreSQL 13 and gets no more fixes.", "Upgrade it: pg_upgradecluster")
        )
    if said["encoding"] != "UTF8":
        text = f"It keeps text as {said['encoding']}: names and logs would be refused or altered."
        found.append(Finding(name, "fail", text, "CREATE DATABASE codeb ENCODING 'UTF8' TEMPLATE template0;"))
    for key, wrong in (("fsync", "fsync"), ("pages", "full_page_writes")):
        if said[key] == "off":
            text = f"{wrong} is off: a power cut may damage everything it holds."
            found.append(Finding(name, "fail", text, f"ALTER SYSTEM SET {wrong} = on; SELECT pg_reload_conf();"))
    if said["commit"] == "off":
        text = "synchronous_commit is off: the last moments before a power cut are lost, though they were confirmed."
        found.append(Finding(name, "warn", text, "ALTER SYSTEM SET synchronous_commit = on; SELECT pg_reload_conf();"))
    if said["standby"] or said["read_only"] == "on":
        text = "It takes no writes: " + ("it is a standby." if said["standby"] else "default_transaction_read_only is on.")
        found.append(Finding(name, "fail", text, "Point CODEB_DATABASE_URL at the primary, or promote this one"))
    return found or [Finding(name, "pass", "It keeps what it confirmed (fsync, full pages, synchronous commit), in UTF8.")]
