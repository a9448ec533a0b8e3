"""The database in another network: a network namespace with two wires to this one, each of which can be pulled.

In the namespace a forwarder hands what comes over the wires to PostgreSQL's unix socket. A wire that is pulled (its link is
down) drops every packet without a word, also those of connections that are open: what a partition does.
"""

import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol

FORWARDER = """
import asyncio, sys
async def pump(reader, writer):
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()
async def serve(reader, writer):
    try:
        far_reader, far_writer = await asyncio.open_unix_connection(sys.argv[1])
    except OSError:
        writer.close()
        return
    await asyncio.gather(pump(reader, far_writer), pump(far_reader, writer))
async def main():
    async with await asyncio.start_server(serve, "0.0.0.0", 5432) as server:
        print("ready", flush=True)
        await server.serve_forever()
asyncio.run(main())
"""


class Way(Protocol):
    """From a server to its database. States: open, silent."""

    host: str
    port: int

    def set(self, state: str) -> None: ...


def _ip(*args: str) -> None:
    subprocess.run(["ip", *args], check=True, capture_output=True, timeout=20)


def possible() -> bool:
    """Whether this machine lets us make network namespaces."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        return False
    name = f"codebtest-{random.randrange(16**6):06x}"
    try:
        _ip("netns", "add", name)
    except (OSError, subprocess.SubprocessError):
        return False
    _ip("netns", "del", name)
    return True


class Wire:
    """One pair of virtual interfaces; the database is at the far end."""

    port = 5432

    def __init__(self, namespace: str, near: str, far: str, net: str) -> None:
        self.host = f"{net}.2"
        self._namespace, self._near, self._far = namespace, near, far
        _ip("link", "add", near, "type", "veth", "peer", "name", far, "netns", namespace)
        _ip("addr", "add", f"{net}.1/30", "dev", near)
        _ip("link", "set", near, "up")
        _ip("-n", namespace, "addr", "add", f"{net}.2/30", "dev", far)
        _ip("-n", namespace, "link", "set", far, "up")

    def set(self, state: str) -> None:
        _ip("-n", self._namespace, "link", "set", self._far, {"open": "up", "silent": "down"}[state])

    def cut(self) -> None:
        """Take it out, for good."""
        with suppress(subprocess.SubprocessError):
            _ip("link", "del", self._near)


@contextmanager
def wires(unix_socket: Path) -> Iterator[tuple[Wire, Wire]]:
    """Two of them to the PostgreSQL behind this socket; gone at the end."""
    mark = f"{random.randrange(16**5):05x}"
    namespace, made = f"codebtest-{mark}", list[Wire]()
    _ip("netns", "add", namespace)
    try:
        part = random.randrange(16, 250)
        for index in (0, 1):
            made.append(Wire(namespace, f"cbt{mark}{index}", f"cbf{mark}{index}", f"10.213.{part + index}"))
        program = ["ip", "netns", "exec", namespace, sys.executable, "-c", FORWARDER, str(unix_socket)]
        forwarder = subprocess.Popen(program, stdout=subprocess.PIPE)
        try:
            assert forwarder.stdout is not None
            assert forwarder.stdout.readline() == b"ready\n"
            yield made[0], made[1]
        finally:
            forwarder.kill()
            forwarder.wait(10)
            forwarder.stdout.close()
    finally:
        for wire in made:
            wire.cut()
        time.sleep(0.05)
        _ip("netns", "del", namespace)
