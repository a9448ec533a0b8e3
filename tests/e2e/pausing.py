"""A server that stops or kills itself at the very instruction a test names, and not before the test says so.

The test writes `stop <hook>` or `kill <hook>` into the file `pause-at` of the server's home; the first time the server comes
by that hook it takes the file away and sends itself SIGSTOP or SIGKILL. Hooks are the journal points of sagas, and the
moments between a question and what follows from its answer: `holds` (the lock is known to be ours, the act comes next),
`docker create`, `docker start`… (the engine did it, the answer is not looked at yet), `caddy load`, `commit` (not sent yet).
"""

import os
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from codeb.drivers.proxy.admin import Admin
from codeb.drivers.runtime import docker_client
from codeb.drivers.store.journal import SqlJournal
from codeb.drivers.store.postgres import _Transaction
from codeb.drivers.world import SystemWorld

SIGNALS = {"stop": signal.SIGSTOP, "kill": signal.SIGKILL}


def come_by(hook: str) -> None:
    """Stop here, if this is where the test wants it."""
    file = Path(os.environ.get("CODEB_HOME", "/nonexistent")) / "pause-at"
    try:
        how, _, wanted = file.read_text().partition(" ")
    except OSError:
        return
    if wanted == hook:
        file.unlink()
        os.kill(os.getpid(), SIGNALS[how])
        time.sleep(0.01)  # the signal is on its way


def _install() -> None:
    reached, holds, load, commit = SystemWorld.reached, SqlJournal.holds, Admin.load, _Transaction.commit
    answer: Any = docker_client._answer

    async def reached_(self: SystemWorld, point: str) -> None:
        come_by(point)
        await reached(self, point)

    async def holds_(self: SqlJournal, operation_id: str, fence: int) -> None:
        await holds(self, operation_id, fence)
        come_by("holds")

    async def load_(self: Admin, caddyfile: bytes) -> None:
        await load(self, caddyfile)
        come_by("caddy load")

    async def commit_(self: _Transaction) -> None:
        if self._alone:
            come_by("commit")
        await commit(self)

    @asynccontextmanager
    async def answer_(docker: Any, method: str, path: str, *args: Any, **more: Any) -> AsyncIterator[Any]:
        async with answer(docker, method, path, *args, **more) as response:
            if method != "GET":
                come_by(f"docker {path.rpartition('/')[2] if method == 'POST' else method.lower()}")
            yield response

    SystemWorld.reached = reached_  # type: ignore[method-assign]  # in a server of the tests only
    SqlJournal.holds = holds_  # type: ignore[method-assign]
    Admin.load = load_  # type: ignore[method-assign]
    _Transaction.commit = commit_  # type: ignore[method-assign]
    docker_client._answer = answer_


_install()
