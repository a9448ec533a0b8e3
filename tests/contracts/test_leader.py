"""P6: what a process may do that led, will lead or cannot tell: at the moments that a pause or a cut makes long."""

import asyncio
import contextlib
import fcntl
import json
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import psycopg
import pytest
from sqlalchemy import text

from codeb.contracts.kit import Kit
from codeb.contracts.store import Standing
from codeb.drivers.proxy import process
from codeb.drivers.proxy.caddyfile import CaddySettings
from codeb.drivers.proxy.sitefiles import SiteFiles
from codeb.drivers.runtime.docker_client import DockerClient
from codeb.drivers.store import leader
from codeb.drivers.store import postgres as driver
from codeb.drivers.store.leader import Leadership, Seat
from codeb.errors import FenceLost, Unavailable
from codeb.model.journal import OpState
from codeb.saga.engine import Engine
from codeb.saga.fence import fence_kit
from tests.contracts.test_store_twin import Machine, cut_off, machine, shop, until
from tests.postgres import postgres
from tests.stores import clock

__all__ = ["clock", "machine", "postgres"]

pytestmark = [pytest.mark.anyio]

GARBAGE: tuple[bytes | None, ...] = (
    None, b"", b"[]", b"null", b'{"term": "x", "owner": "y"}', b'{"term": true, "owner": "y"}', b"[" * 4000, b"\xff" * 9000,
    json.dumps({"term": 10**30, "owner": "y"}).encode(), b'{"term": 7}',
)  # fmt: skip


def leadership(folder: Path, owner: str = "one:1") -> Leadership:
    return Leadership(owner, f"http://{owner}", folder / "leader")


# the file


@pytest.mark.parametrize("garbage", GARBAGE, ids=range(len(GARBAGE)))
def test_a_file_that_is_none_of_ours_says_that_nobody_leads(tmp_path: Path, garbage: bytes | None) -> None:
    lead = leadership(tmp_path)
    lead._sign(3)
    assert lead.mine
    (tmp_path / "leader").unlink()
    if garbage is not None:
        (tmp_path / "leader").write_bytes(garbage)
    assert not lead.mine and lead._written() == {}
    with pytest.raises(FenceLost):
        lead.refuse_unless_mine()
    lead.claim_without_database()
    assert not lead.mine


def test_whoever_was_overtaken_between_the_database_and_the_file_leaves_the_file(tmp_path: Path) -> None:
    slow, quick = leadership(tmp_path), leadership(tmp_path, "two:1")
    quick._sign(5)
    with pytest.raises(FenceLost):
        slow._sign(4)
    assert quick.mine and not slow.mine


def test_another_ones_file_is_seen_whatever_its_time(tmp_path: Path) -> None:
    """Two files written within one tick of the kernel bear the same time."""
    import os

    one, two = leadership(tmp_path), leadership(tmp_path, "two:1")
    one._sign(1)
    assert one.mine
    stamp = (tmp_path / "leader").stat()
    two._sign(2)
    os.utime(tmp_path / "leader", ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    assert not one.mine and two.mine


@pytest.mark.postgres
@pytest.mark.parametrize("what", [None, b'{"term": "x"}', "folder"])
async def test_a_file_lost_while_leading_is_written_anew(machine: Machine, what: bytes | str | None) -> None:
    """Nobody stays without a leader for a file somebody deleted or overwrote."""
    twin = await machine.start()
    file = machine.folder / "leader"
    file.unlink()
    if isinstance(what, bytes):
        file.write_bytes(what)
    elif what:
        file.mkdir()
    assert not twin.standing.leads
    await until(lambda: twin.standing.leads, 6)
    await shop(twin)


# the lease


@pytest.mark.postgres
async def test_what_beginning_to_lead_takes_does_not_cost_the_lease(machine: Machine) -> None:
    """A proxy that is started for half a minute, or held by a stopped process, must not make the next one lead."""
    twin = await machine.start()
    begun, go_on = asyncio.Event(), asyncio.Event()
    tries = 0

    async def lead() -> None:
        nonlocal tries
        tries += 1
        if tries == 1:
            raise Unavailable("not yet")
        begun.set()
        await go_on.wait()

    twin.on_lead.append(lead)
    (machine.folder / "leader").unlink()
    await asyncio.wait_for(begun.wait(), 8)
    renewed = twin._lead._renewed
    await until(lambda: twin._lead._renewed > renewed + 1, 8)
    go_on.set()


@pytest.mark.postgres
async def test_after_an_absence_the_follower_lets_the_leader_come_back(machine: Machine) -> None:
    """The lease ran out while nobody could renew it. Whoever led did things meanwhile that the database does not know."""
    one, two = await machine.start("one"), await machine.start("two")
    await shop(one)
    machine.at.set("shut")
    await until(lambda: one.standing.degraded and two.standing.degraded, 6)
    await one.transact(lambda registry: registry.projects.set_watch("shop", auto_rollback=False, watch_seconds=9))
    with psycopg.connect(machine.address) as direct:
        direct.execute("UPDATE leadership SET renewed_at = clock_timestamp() - interval '1 minute'")
    async with cut_off(machine, one):
        two._lead._looked -= leader.LEASE_SECONDS
        machine.at.set("open")
        await until(lambda: not two.standing.degraded, 8)
        await asyncio.sleep(2.5)
        assert not two.standing.leads
    await until(lambda: not one.standing.degraded, 8)
    assert one.standing.leads and not two.standing.leads
    await until(lambda: two.snapshot.projects["shop"].watch_seconds == 9, 4)


def test_moments_without_the_database_do_not_put_off_a_take_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A follower that loses it for seconds again and again, under load, still takes over when the leader is dead."""
    now = 1000.0
    monkeypatch.setattr(leader.time, "monotonic", lambda: now)
    two, silent = leadership(tmp_path, "two:1"), Seat(1, "one:1", "", 11.0)
    for _ in range(4):
        two._looked = now
        now += leader.LEASE_SECONDS / 2 - 1
        two.returned()
        assert two.may_take(silent)
    two._looked = now
    now += leader.LEASE_SECONDS
    two.returned()
    assert not two.may_take(silent)
    now += leader.LEASE_SECONDS + 1
    assert two.may_take(silent)
    two.returned()
    assert two.may_take(Seat(1, "one:1", "", 1.7e9)), "it said goodbye"


def test_silence_that_was_heard_before_an_absence_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A follower that loses the database for long, while the leader is dead, need not wait the whole lease again."""
    now = 1000.0
    monkeypatch.setattr(leader.time, "monotonic", lambda: now)
    two = leadership(tmp_path, "two:1")
    two._looked, two._silent = now, two._counts(Seat(1, "one:1", "", 8.0))
    now += 7
    two.returned()
    assert not two.may_take(Seat(1, "one:1", "", 15.0)), "eight seconds of it are its own"
    now += 3
    two.returned()
    assert two.may_take(Seat(1, "one:1", "", 18.0))


@pytest.mark.postgres
async def test_a_leader_stopped_with_the_lock_in_hand_is_followed_in_time(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P6: in the middle of a write, as a follower loses the database for a moment. The server itself ends what was begun;
    until then the follower waits for nothing but its turn to take over."""
    monkeypatch.setattr(leader, "LEASE_SECONDS", 6.0)
    one, two = await machine.start("one"), await machine.start("two")
    assert one._watching is not None
    one._watching.cancel()
    stopped = driver.open_postgres(machine.address, driver.BRIEF)
    try:
        async with stopped.writing() as session:
            await session.run(text("SELECT 1"))
            two._lose(Unavailable("a look took too long"))
            began = asyncio.get_running_loop().time()
            await until(lambda: not two.standing.degraded, 3)
            with pytest.raises(FenceLost):
                await shop(two)
            assert not two.standing.degraded, "who waits for the lock has not lost the database"
            await until(lambda: two.standing.leads, 12)
            assert asyncio.get_running_loop().time() - began < leader.LEASE_SECONDS + 3.5
    finally:
        with contextlib.suppress(Exception):
            await stopped.close()
    await shop(two)


@pytest.mark.postgres
async def test_a_commit_without_an_answer_counts_for_nothing_once_another_leads(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped before its commit, which the server gave up meanwhile: it must not be done on the copy and added afterwards."""
    twin = await machine.start()
    await shop(twin)
    commit, ours = driver._Transaction.commit, ContextVar("ours", default=False)

    async def stopped(self: Any) -> None:
        if ours.get():
            leadership(machine.folder, "two:1")._sign(99)
            raise TimeoutError("the server gave it up")
        await commit(self)

    monkeypatch.setattr(driver._Transaction, "commit", stopped)
    ours.set(True)
    with pytest.raises(Unavailable) as refused:
        await shop(twin, "blog")
    assert refused.value.code == "not_leader"
    ours.set(False)
    await until(lambda: not twin.standing.degraded, 8)
    assert set(twin.snapshot.projects) == {"shop"}


# outside effects


class Store:
    """As much of a store as the fence and the engine ask. `then`: what is so when an answer arrives."""

    def __init__(self, then: Callable[["Store"], Any]) -> None:
        self.standing = Standing()
        self._then = then

    async def consult(self, act: Any) -> Any:
        return self._then(self)


def kit_of(**parts: Any) -> Kit:
    return Kit(**{**{each.name: cast("Any", SimpleNamespace()) for each in fields(Kit)}, **parts})


async def test_an_answer_that_is_an_hour_old_permits_nothing() -> None:
    """Stopped while the lock was looked up: it was held then, and by now another process leads."""
    acted = []

    def overtaken(store: Store) -> None:
        store.standing = Standing(leads=False)

    async def remove(name: str, seconds: int) -> None:
        acted.append(name)

    kit = fence_kit(kit_of(store=Store(overtaken), runtime=SimpleNamespace(remove=remove)), "op_1", 1)
    with pytest.raises(FenceLost):
        await kit.runtime.remove("shop", 1)
    assert acted == []


async def test_callers_of_a_deposed_process_hear_how_the_other_one_ended_it() -> None:
    """Its own course is over, the operation is not."""
    told = iter([OpState.RUNNING, OpState.RUNNING, OpState.SUCCEEDED])
    seen = []

    def state(store: Store) -> Any:
        seen.append(next(told))
        return SimpleNamespace(state=seen[-1])

    async def sleep(seconds: float) -> None:
        pass

    store = Store(state)
    store.standing = Standing(leads=False)
    engine = Engine(kit_of(store=store, world=SimpleNamespace(sleep=sleep)), (), "one:1")
    course = SimpleNamespace(finished=asyncio.Event())
    course.finished.set()
    engine._courses["op_1"] = cast("Any", course)
    await engine.wait("op_1", 5)
    assert seen[-1] is OpState.SUCCEEDED
    store.standing = Standing()
    await engine.wait("op_1", 5)


@pytest.mark.docker
async def test_docker_is_told_nothing_more_between_two_calls_of_one_verb() -> None:
    def never() -> None:
        raise FenceLost("not any more")

    client = DockerClient(permit=never)
    try:
        assert await client.call("GET", "version")
        for method, path in (("POST", "networks/create"), ("DELETE", "networks/codebtest-none")):
            with pytest.raises(FenceLost):
                await client.call(method, path, body={"Name": "codebtest-none"})
    finally:
        await client.close()


async def test_a_site_loaded_by_a_process_that_was_overtaken_meanwhile_is_not_written(tmp_path: Path) -> None:
    permitted = True

    def permit() -> None:
        if not permitted:
            raise FenceLost("not any more")

    async def load(text: bytes) -> None:
        nonlocal permitted
        permitted = False

    settings = CaddySettings(dir=tmp_path, binary=tmp_path / "caddy", http_port=1, https_port=2)
    settings.sites.mkdir(parents=True)
    files = SiteFiles(settings, cast("Any", SimpleNamespace(load=load)), permit)
    with pytest.raises(FenceLost):
        await files.apply("shop-production", b"new")
    assert files.names() == []
    with pytest.raises(FenceLost):
        await files.apply("shop-production", b"newer")


async def test_the_lock_of_a_stopped_process_is_left_to_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """P6: whoever begins to lead does not wait half a minute for one that may change nothing; nor does anybody who waits."""
    monkeypatch.setattr(process, "FREE_SECONDS", 0.3)
    with (tmp_path / "change.lock").open("w") as stopped:
        fcntl.flock(stopped, fcntl.LOCK_EX)
        order = []

        async def wait() -> None:
            async with process.only_one(tmp_path):
                order.append("waiter")
                await asyncio.sleep(0.3)
                order.append("waiter is done")

        waiting = asyncio.create_task(wait())
        await asyncio.sleep(0.1)
        await process.free(tmp_path)
        await asyncio.wait_for(waiting, 3)
        async with process.only_one(tmp_path):
            order.append("next")
    assert order == ["waiter", "waiter is done", "next"]
    await process.free(tmp_path)
    assert (tmp_path / "change.lock").exists()
