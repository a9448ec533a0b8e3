"""What the registry knows of work items, on every kind of database: a path is held by one branch at a time (P7, P10, S31)."""

import asyncio
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from codeb.drivers.store.sql import SqlStore
from codeb.errors import Conflict, NotFound
from codeb.model.work import FileLock, Status, Task, in_the_way, overlap
from tests.contracts.harms import begin, populate
from tests.postgres import postgres, postgres_server
from tests.stores import KINDS, SHARED, START, Clock, Opener, clock, opener, project, store, url

__all__ = ["clock", "opener", "postgres", "postgres_server", "store", "url"]

pytestmark = pytest.mark.anyio

HOUR = timedelta(hours=1)
ALL = tuple(Status)


def task(number: int = 1, branch: str = "feature/pay", name: str = "shop", **more: object) -> Task:
    fields = {"title": f"Task {number}", "status": Status.DRAFT, "author": "ana", "created_by": "acme/member/key_1"}
    return Task(f"task_{number:028x}", name, branch=branch, created_at=START, updated_at=START, **{**fields, **more})  # type: ignore[arg-type]


def lock(of: Task, path: str, hours: float = 1) -> FileLock:
    return FileLock(of.id, of.project, of.branch, path, START + hours * HOUR)


A, B, OTHER = task(1), task(2), task(3, "fix/cart")


async def given(store: SqlStore, *tasks: Task) -> None:
    async with store.write() as registry:
        for name in sorted({each.project for each in tasks}):
            if await registry.projects.get(name) is None:
                await registry.projects.add(project(name))
        for each in tasks:
            await registry.tasks.put(each)


async def held(store: SqlStore, clock: Clock) -> list[tuple[str, str]]:
    async with store.read() as registry:
        return [(each.path, each.task[-1]) for each in await registry.tasks.locks("shop", clock())]


async def hold(store: SqlStore, clock: Clock, *locks: FileLock) -> None:
    async with store.write() as registry:
        await registry.tasks.hold(clock(), *locks)


async def release(store: SqlStore, of: Task, paths: Sequence[str] | None = None) -> None:
    async with store.write() as registry:
        await registry.tasks.release(of.id, paths)


@pytest.mark.parametrize("url", KINDS, indirect=True)
async def test_a_task_comes_back_as_it_was_said_last(store: SqlStore) -> None:
    await given(store, A)
    last = replace(
        A, title="Pay 💳 later\u0000", description="because", status=Status.DEPLOYED, branch="x", updated_at=START + HOUR,
        done_at=START, deployed_at=START + HOUR, operation_id="op_1",
    )  # fmt: skip
    await given(store, last)
    async with store.write() as registry:
        assert await registry.tasks.get(A.id) == replace(last, title="Pay 💳 later�")
        assert await registry.tasks.get(B.id) is None
        with pytest.raises(Conflict) as refused:
            await registry.tasks.put(task(9, name="ghost"))
        assert refused.value.code == "project_gone"


@pytest.mark.parametrize("url", KINDS, indirect=True)
async def test_they_are_found_by_project_status_and_branch_newest_first(store: SqlStore) -> None:
    rows = [A, replace(B, status=Status.REVIEW), OTHER, task(4, name="blog"), task(5, name="cart")]
    await given(store, *rows)
    async with store.read() as registry:
        find = registry.tasks.find
        assert list(await find(["shop", "blog"], statuses=ALL, limit=9)) == [rows[3], rows[2], rows[1], rows[0]]
        assert list(await find(["shop"], statuses=ALL, limit=2)) == [rows[2], rows[1]]
        assert list(await find(["shop"], statuses=ALL, limit=2, before=rows[1].id)) == [rows[0]]
        assert list(await find(["shop"], statuses=[Status.REVIEW, Status.DONE], limit=9)) == [rows[1]]
        assert list(await find(["shop"], statuses=ALL, branch="fix/cart", limit=9)) == [rows[2]]
        assert list(await find([], statuses=ALL, limit=9)) == []


@pytest.mark.parametrize("url", KINDS, indirect=True)
async def test_another_branch_is_refused_by_the_database_itself(store: SqlStore, clock: Clock) -> None:
    """All or none; the transaction goes on."""
    await given(store, A, B, OTHER, task(4, "fix/cart", "blog"))
    await hold(store, clock, lock(A, "src/pay.py"), lock(A, "docs"))
    async with store.write() as registry:
        with pytest.raises(Conflict) as refused:
            await registry.tasks.hold(clock(), lock(OTHER, "README.md"), lock(OTHER, "docs"))
        assert refused.value.code == "file_locked"
        await registry.tasks.hold(clock(), lock(task(4, "fix/cart", "blog"), "docs"))
        with pytest.raises(NotFound):
            await registry.tasks.hold(clock(), lock(task(9), "x"))
    assert await held(store, clock) == [("docs", "1"), ("src/pay.py", "1")]


@pytest.mark.parametrize("url", KINDS, indirect=True)
async def test_a_branch_holds_what_it_shares_until_its_last_task_gives_it_back(store: SqlStore, clock: Clock) -> None:
    await given(store, A, B, OTHER)
    await hold(store, clock, lock(A, "a"), lock(A, "b"))
    await hold(store, clock, lock(B, "a"))
    await hold(store, clock, lock(B, "a", 5))
    assert await held(store, clock) == [("a", "1"), ("a", "2"), ("b", "1")]
    await release(store, A)
    await release(store, A)
    assert await held(store, clock) == [("a", "2")]
    with pytest.raises(Conflict):
        await hold(store, clock, lock(OTHER, "a"))
    await release(store, B, ["elsewhere"])
    await release(store, B, ["a"])
    await hold(store, clock, lock(OTHER, "a"), lock(OTHER, "b"))
    assert await held(store, clock) == [("a", "3"), ("b", "3")]
    async with store.read() as registry:
        assert list(await registry.tasks.files(A.id)) == [replace(lock(A, path), until=None) for path in ("a", "b")]


@pytest.mark.parametrize("url", KINDS, indirect=True)
async def test_what_is_over_is_free_without_a_timer(store: SqlStore, clock: Clock) -> None:
    await given(store, A, B, OTHER)
    await hold(store, clock, lock(A, "a", 1), lock(A, "b", 1), lock(A, "c", 3))
    await hold(store, clock, lock(B, "b", 2))
    clock.jump(hours=1)
    assert await held(store, clock) == [("b", "2"), ("c", "1")]
    with pytest.raises(Conflict):
        await hold(store, clock, lock(OTHER, "a", 9), lock(OTHER, "b", 9))
    await hold(store, clock, lock(OTHER, "a", 9))
    with pytest.raises(Conflict):
        await hold(store, clock, lock(A, "a", 9))
    clock.jump(hours=2)
    assert await held(store, clock) == [("a", "3")]
    await hold(store, clock, lock(OTHER, "b", 9), lock(OTHER, "c", 9))


@pytest.mark.parametrize("url", KINDS, indirect=True)
async def test_they_go_with_their_project(store: SqlStore, clock: Clock) -> None:
    await given(store, A, task(4, name="blog"))
    await hold(store, clock, lock(A, "a"))
    async with store.write() as registry:
        await registry.projects.remove("shop")
    async with store.read() as registry:
        assert [each.id for each in await registry.tasks.find(["shop", "blog"], statuses=ALL, limit=9)] == [task(4).id]
        assert list(await registry.tasks.files(A.id)) == []


@pytest.mark.parametrize("url", SHARED, indirect=True)
async def test_what_was_looked_at_is_still_so_when_it_is_written(opener: Opener, clock: Clock) -> None:
    """P7: folders and what is in them, by two processes at once: whoever looks and holds in one transaction is alone in it."""
    stores = [await opener(), await opener()]
    parts = ["src", "src/a", "src/a/b.py", "src/b", "lib", "lib/x"]
    tasks = [task(number, f"branch-{number % 5}") for number in range(40)]
    await given(stores[0], *tasks)

    async def ask(number: int) -> None:
        mine, wanted = tasks[number], parts[number % 6]
        async with stores[number % 2].write() as registry:
            if not in_the_way([wanted], mine.branch, await registry.tasks.locks("shop", clock())):
                await registry.tasks.hold(clock(), lock(mine, wanted))

    await asyncio.gather(*map(ask, range(40)))
    async with stores[0].read() as registry:
        found = list(await registry.tasks.locks("shop", clock()))
    assert len(found) > 1
    assert [(a, b) for a in found for b in found if a.branch != b.branch and overlap(a.path, b.path)] == []


async def test_a_registry_that_is_rebuilt_keeps_them(tmp_path: Path, clock: Clock) -> None:
    """P10: as far as they can be read, and their project is one that is known."""
    home = tmp_path / "home"
    store, _ = await begin(home, clock)
    await populate(store)
    await given(store, A, B, OTHER, task(4, name="ghost"))
    await hold(store, clock, lock(A, "a"), lock(B, "a"), lock(OTHER, "b"), lock(task(4, name="ghost"), "c"))
    async with store.write() as registry:
        await registry.tasks.release(OTHER.id)
    await store.flush()
    await store.close()
    with closing(sqlite3.connect(home / "codeb.db")) as database:
        # not what the registry's files say, so none of it is believed
        database.execute("UPDATE api_keys SET role = 'owner'")
        database.execute("UPDATE work_tasks SET project = 'spook' WHERE project = 'ghost'")
        database.execute("UPDATE work_tasks SET status = 'x' WHERE id = ?", (A.id,))
        database.commit()
    rebuilt, _ = await begin(home, clock)
    assert rebuilt.rescued.notes  # type: ignore[attr-defined]
    async with rebuilt.read() as registry:
        assert list(await registry.tasks.find(["shop", "ghost", "spook"], statuses=ALL, limit=9)) == [OTHER, B]
        assert list(await registry.tasks.files(OTHER.id)) == [replace(lock(OTHER, "b"), until=None)]
    assert await held(rebuilt, clock) == [("a", "2")]
    with pytest.raises(Conflict):
        await hold(rebuilt, clock, lock(OTHER, "a"))
    await rebuilt.close()


@pytest.mark.parametrize("url", SHARED, indirect=True)
async def test_of_many_who_ask_at_once_one_gets_it(opener: Opener, clock: Clock) -> None:
    """P7: 64 branches through two processes on one database; each path has one holder, and nobody has half."""
    stores = [await opener(), await opener()]
    tasks = [task(number, f"branch-{number}") for number in range(64)]
    await given(stores[0], *tasks)
    paths = [f"src/{number}" for number in range(8)]

    async def ask(number: int) -> bool:
        wanted = (paths[number % 8], paths[(number + 1) % 8])
        try:
            await hold(stores[number % 2], clock, *(lock(tasks[number], path) for path in wanted))
        except Conflict as refused:
            assert refused.code == "file_locked"
            return False
        return True

    won = await asyncio.gather(*map(ask, range(64)))
    async with stores[1].read() as registry:
        found = await registry.tasks.locks("shop", clock())
        assert len({each.path for each in found}) == len(found) == 2 * sum(won) > 0
        assert {each.task for each in found} == {tasks[number].id for number, got in enumerate(won) if got}
