"""A real server on a socket, in a process of its own, for a test that measures how long its answers take.

python -m tests.entry.clocked [leak]    prints its port and a text of each kind as JSON; ends with its input
"""

import asyncio
import hashlib
import json
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import uvicorn

from codeb.contracts.store import Snapshot
from codeb.entry.http import Http
from codeb.entry.http.protocol import guarded
from codeb.gate import authenticate, entrance
from codeb.model.access import Actor, Member, Role
from codeb.model.secret import Secret
from codeb.wiring import House
from tests.kit import OWNER, START, Rig, add_key, begin

LEAK = "leak"
ROUNDS = 60
"""of the hash that the planted leak gives to known keys: some 40 microseconds"""


def plant() -> None:
    """Have authentication tell by its time: an unknown key is refused early, a known one goes through a slow hash first."""
    honest = authenticate.authenticate

    def leaky(token: Secret | None, registry: Snapshot, now: Any, *, development: bool = False) -> Actor:
        if token is not None and authenticate.digest(token) in registry.keys:
            hashlib.pbkdf2_hmac("sha256", token.reveal().encode(), b"salt", ROUNDS)
        return honest(token, registry, now, development=development)

    entrance.authenticate = leaky


async def kinds(rig: Rig) -> dict[str, Secret]:
    """A text of each kind that is no valid key, all of one length."""
    real = OWNER.reveal()
    process = rig.boot()
    gone = Member("mem_1", "main", "ana", Role.OWNER, START, "", START)
    async with rig.store.write() as registry:
        await registry.members.add(gone)
    found = {
        "unknown": Secret("codeb_none_owner_" + "x" * 32), "again": Secret("codeb_none_owner_" + "y" * 32),
        "last character wrong": Secret(real[:-1] + "x"), "first character wrong": Secret("x" + real[1:]),
        "malformed": Secret("?" * len(real)), "revoked": await add_key(rig, revoked_at=START),
        "expired": await add_key(rig, expires_at=START - timedelta(days=1)),
        "of a removed member": await add_key(rig, member="mem_1"),
    }  # fmt: skip
    assert {len(each.reveal()) for each in found.values()} == {len(real)}
    for each in found.values():
        await process.refused("project_list", 401, "unauthenticated", key=each)
    return found


async def main(*, leaks: bool) -> None:
    async with begin("active") as rig:
        said = {name: text.reveal() for name, text in (await kinds(rig)).items()}
        if leaks:
            plant()
        process, http = rig.boot(), Http()
        http.bind(House(process.kit, process.engine, process.gate, process.audit, Path("owner.key")))
        server = uvicorn.Server(
            uvicorn.Config(http.app(), port=0, http=guarded(http.raw), ws="none", lifespan="off", log_level="critical")
        )
        running, writing = asyncio.create_task(server._serve()), asyncio.create_task(process.audit.run())
        while not server.started:
            await asyncio.sleep(0.01)
        print(json.dumps({"port": server.servers[0].sockets[0].getsockname()[1], "keys": said}), flush=True)
        await asyncio.to_thread(sys.stdin.read)
        server.should_exit = True
        await running
        writing.cancel()


if __name__ == "__main__":
    asyncio.run(main(leaks=LEAK in sys.argv[1:]))
