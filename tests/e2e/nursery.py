"""Servers that start in a moment: a process that has imported CodeB forks one whenever it is asked.

What is forked is a server process like any other, with an environment, a log and a death of its own; only the second
that Python takes to import everything is paid once instead of at every start. A crash matrix starts hundreds. Tests of the
start itself, and of the process from outside, take a `Stage`.
"""

import atexit
import json
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, cast

from tests.stage import Stage

PROGRAM = """
import json, os, sys
{load}
for line in sys.stdin:
    asked = json.loads(line)
    pid = os.fork()
    if pid == 0:
        os.setsid()
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        for at, name in enumerate((asked["out"], asked["log"]), 1):
            os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644), at)
        os.environ.clear()
        os.environ.update(asked["environment"])
        code = 1
        try:
            code = {run}
            sys.stdout.flush()
        finally:
            os._exit(code)
    print(pid, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
"""
SERVER = PROGRAM.format(load="from codeb.entry import server", run="server.main()")


class Nursery:
    """One server at a time: the next may be asked for once the one before has ended."""

    def __init__(self, program: str = SERVER) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0, start_new_session=True
        )
        self._said = b""

    def fork(self, environment: dict[str, str], log: Path, out: Path | None = None) -> "Forked":
        """`log` gets what it complains of, and without `out` all it says."""
        assert self._process.stdin is not None
        asked = {"environment": environment, "log": str(log), "out": str(out or log)}
        self._process.stdin.write(json.dumps(asked).encode() + b"\n")
        pid = self.said(60)
        assert pid is not None
        return Forked(self, pid)

    def said(self, seconds: float) -> int | None:
        """The next number it says, None when it says none in time."""
        assert self._process.stdout is not None
        end = time.monotonic() + seconds
        while b"\n" not in self._said:
            ready, _, _ = select.select([self._process.stdout], [], [], max(0.0, end - time.monotonic()))
            if not ready:
                return None
            more = os.read(self._process.stdout.fileno(), 64)
            assert more, "the nursery has died"
            self._said += more
        line, _, self._said = self._said.partition(b"\n")
        return int(line)

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(10)
        self._process.stdout.close()


IDLE: list[Nursery] = []
"""those whose server has ended: the next stage takes one of them over"""


@atexit.register
def _close_all() -> None:
    while IDLE:
        IDLE.pop().close()


class Forked:
    """As much of `subprocess.Popen` as a stage uses."""

    def __init__(self, nursery: Nursery, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._nursery = nursery

    def poll(self) -> int | None:
        if self.returncode is None:
            self.returncode = self._nursery.said(0)
        return self.returncode

    def wait(self, timeout: float = 60) -> int:
        if self.returncode is None:
            self.returncode = self._nursery.said(timeout)
        if self.returncode is None:
            raise subprocess.TimeoutExpired("server", timeout)
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)


class QuickStage(Stage):
    """A stage whose servers come from a nursery."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self._nursery = IDLE.pop() if IDLE else Nursery()

    def start(self, crash_at: str | None = None, wait: bool = True) -> None:
        environment = self.environment | ({"CODEB_CRASH_AT": crash_at} if crash_at else {})
        forked = self._nursery.fork(environment, self.home / "server.log")
        self.process = cast("subprocess.Popen[bytes]", forked)
        if wait:
            self.until_up()

    def close(self) -> None:
        super().close()
        IDLE.append(self._nursery)
