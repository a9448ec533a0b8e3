"""The master key: is it there, for its owner alone, and the one that the registry's secrets are sealed with?"""

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from codeb.config import Settings
from codeb.drivers.vault.keyfile import KeyFile
from codeb.errors import PublicError
from codeb.model.specs import Finding

NAME = "master key"
SECONDS = 8.0
IN_FORCE = "SELECT master_key FROM meta"


async def check(settings: Settings) -> list[Finding]:
    path = settings.master_key
    try:
        ids = [each.id for each in KeyFile(settings.home, settings.master_key_file).read()]
    except PublicError as fault:
        return [Finding(NAME, "fail", fault.message, fault.hint)]
    try:
        in_force = await _in_force(settings)
    except Exception as fault:  # what the registry says is no condition for what the file is; the database has its own check
        if not ids:
            return [
                Finding(NAME, "warn", f"{path} is not there, and the registry cannot be asked.", "we doctor, once it answers")
            ]
        text = f"{path} is for its owner alone; whether it is the registry's cannot be seen ({type(fault).__name__})."
        return [Finding(NAME, "pass", text)]
    return [_compared(path, ids, in_force)]


def _compared(path: Path, ids: list[str], in_force: str | None) -> Finding:
    if not ids and in_force is None:
        return Finding(NAME, "pass", f"{path} is made by the first start.")
    if not ids:
        text = f"{path} is gone, and what is sealed in the registry needs its key {in_force}."
        return Finding(NAME, "fail", text, f"Put the kept copy back at {path}; only if it is lost: we keys rotate-master --lost")
    if in_force is not None and in_force not in ids:
        text = f"{path} has the key {ids[0]}, and the registry is sealed with {in_force}."
        return Finding(NAME, "fail", text, f"Copy the file of the home that has it to {path}, mode 0600")
    if len(ids) > 1:
        return Finding(NAME, "warn", f"{path} has {len(ids)} keys: a change of it did not end.", "we keys rotate-master")
    return Finding(NAME, "pass", f"{path} is for its owner alone, and the registry's ({ids[0]}).")


async def _in_force(settings: Settings) -> str | None:
    """What the registry names; None where there is none yet, or one of an older schema. Raises what the database raises."""
    try:
        url = make_url(settings.store_url.reveal())
    except ArgumentError:
        return None
    if url.get_backend_name() == "sqlite":
        return await asyncio.to_thread(_of_file, Path(url.database or ""))
    import psycopg  # not for those who have SQLite

    named = {**url.translate_connect_args(username="user", database="dbname"), **url.query}
    async with asyncio.timeout(SECONDS):
        async with await psycopg.AsyncConnection.connect(**{"connect_timeout": 3, **named}, autocommit=True) as connection:
            try:
                row = await (await connection.execute(IN_FORCE)).fetchone()
            except (psycopg.errors.UndefinedTable, psycopg.errors.UndefinedColumn):
                return None
    return row[0] if row else None


def _of_file(path: Path) -> str | None:
    if not path.exists():
        return None
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=SECONDS)) as database:
        columns = {row[1] for row in database.execute("PRAGMA table_info(meta)")}
        row = database.execute(IN_FORCE).fetchone() if "master_key" in columns else None
    return row[0] if row else None
