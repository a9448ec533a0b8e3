"""Servers and the firewall of `tests.kit`: printed, and compared with the registry."""

import contextlib
import sqlite3
from typing import Any

from codeb.drivers.firewall.memory import MemoryFirewall
from codeb.drivers.store.sql import SqlStore
from codeb.drivers.store.sqlite import SqliteDatabase
from codeb.flows import firewall
from codeb.model.firewall import wanted

RULES = "SELECT server, transport, port, cidr, project FROM firewall_rules"


def machines(store: SqlStore) -> dict[str, Any]:
    """Servers and firewall rules on record, without times."""
    assert isinstance(store._database, SqliteDatabase)
    with contextlib.closing(sqlite3.connect(store._database.path)) as database:
        return {
            "servers": database.execute("SELECT name, roles, addresses, docker_host FROM servers ORDER BY 1").fetchall(),
            "rules": database.execute(f"{RULES} ORDER BY 1, 2, 3, 4, 5").fetchall(),
        }


async def wall_faults(store: SqlStore, wall: MemoryFirewall) -> list[str]:
    """Where the firewall is not what the rules of projects that are not deleted say."""
    async with store.read() as registry:
        rules, live = await firewall.rows(registry)
    want = {str(each) for each in wanted(rules, None, live)}
    found = [] if wall.unproven is None else ["a change of the firewall is not proven"]
    return found + [f"{each} is open and not asked for, or the reverse" for each in sorted(want ^ set(map(str, wall.ours)))]
