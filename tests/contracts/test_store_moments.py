"""Moments in which things meet in the database's stand-in: a turn that comes late, a stop as news come."""

import asyncio
from typing import Any

import pytest

from tests.contracts.test_store_twin import Machine, clock, machine, postgres, project, same

__all__ = ["clock", "machine", "postgres"]

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]


class Late:
    """The twin's turn, for which one task waits until it is let go on."""

    def __init__(self, turn: asyncio.Lock) -> None:
        self.turn, self.who, self.waits, self.go = turn, "", asyncio.Event(), asyncio.Event()

    async def __aenter__(self) -> None:
        task = asyncio.current_task()
        if task is not None and task.get_name() == self.who:
            self.waits.set()
            await self.go.wait()
        await self.turn.acquire()

    async def __aexit__(self, *_: Any) -> None:
        self.turn.release()

    def locked(self) -> bool:
        return self.turn.locked()


async def test_a_write_that_waits_while_the_database_comes_and_goes_lands_in_the_copy(machine: Machine) -> None:
    """Found by a database that flaps: it was given up, and the deploy with it."""
    twin = await machine.start()
    late = Late(twin._turn)
    twin._turn = late  # type: ignore[assignment]
    await machine.lose(twin)
    late.who = "writer"

    async def act(registry: Any) -> None:
        machine.at.set("shut")
        await registry.projects.add(project("blog"))

    writing = asyncio.create_task(twin.transact(act), name="writer")
    await late.waits.wait()
    await machine.find(twin)
    late.go.set()
    await writing
    assert twin.standing.degraded and "blog" in twin.snapshot.projects
    await machine.find(twin)
    await same(twin)


async def test_a_stop_in_the_moment_in_which_news_come_is_a_stop(machine: Machine) -> None:
    """Found as a run that never ended: `asyncio.wait_for` of CPython 3.11 forgets a cancellation that comes just then."""
    twin = await machine.start()
    await asyncio.sleep(0.05)
    twin._wake.set()
    await asyncio.sleep(0)
    closing = asyncio.create_task(twin.close())
    done, _ = await asyncio.wait({closing}, timeout=8)
    closing.cancel()
    assert done == {closing}
