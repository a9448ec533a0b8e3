"""The sample app as a process of its own, and small servers that misbehave on purpose."""

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

APP = Path(__file__).parents[3] / "demo" / "app.py"

Serve = Callable[[int, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Running:
    process: subprocess.Popen[str]
    port: int


@pytest.fixture
def start_app() -> Iterator[Callable[..., Running]]:
    """Starts the app with these variables and waits until it says that it listens."""
    processes: list[subprocess.Popen[str]] = []

    def start(**variables: str) -> Running:
        port = free_port()
        env = {"PATH": os.environ["PATH"], "PORT": str(port), "CODEB_VERSION": "v1", "CODEB_SLOT": "blue", **variables}
        process = subprocess.Popen([sys.executable, str(APP)], env=env, stdout=subprocess.PIPE, text=True)
        processes.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == f"listening on 0.0.0.0:{port} version {env['CODEB_VERSION']} slot blue\n"
        return Running(process, port)

    yield start
    for process in processes:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


@contextlib.asynccontextmanager
async def faulty(serve: Serve) -> AsyncIterator[int]:
    """A server on a free port; `serve` gets the number of the connection, from 1."""
    numbers = 0
    tasks: set[asyncio.Task[None]] = set()

    async def handle(number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with contextlib.suppress(OSError, EOFError):
                await serve(number, reader, writer)
        finally:
            writer.close()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal numbers
        numbers += 1
        task = asyncio.create_task(handle(numbers, reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0)
