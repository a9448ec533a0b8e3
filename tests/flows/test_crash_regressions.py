"""What the crash matrix and the reading that went with it found once, each held by a test of its own."""

import asyncio
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from codeb.contracts.kit import Kit
from codeb.drivers.runtime.memory_machine import Behaviour
from codeb.errors import StepFailed, Unavailable
from codeb.flows import deploy
from codeb.model.journal import Operation, OpState
from codeb.model.names import Slot
from codeb.model.slots import State
from codeb.model.specs import Address, Answer
from tests.flows.faults import Fault, flaky_store
from tests.kit import PROD, Died, Process, Rig, begin

pytestmark = pytest.mark.anyio

WHERE = {"projectName": "shop", "environment": "production"}


def die_at(process: Process, wanted: str) -> None:
    def see(point: str) -> None:
        if point == wanted:
            raise Died(point)

    process.world.at_point = see


async def newest(rig: Rig) -> Operation:
    async with rig.store.read() as registry:
        past = await registry.journal.history(
            team="main", project=None, environment=None, open_only=False, limit=1, before=None
        )  # fmt: skip
    return past[0]


async def restart(rig: Rig) -> Process:
    await rig.store.refresh()
    process = rig.boot()
    await process.engine.resume()
    await process.settle()
    return process


async def test_a_second_start_keeps_the_reason_of_the_failure() -> None:
    async with begin("active") as rig:
        process = rig.boot()

        def see(point: str) -> None:
            if point == "deploy.start.do.before":
                rig.machine.behaviours.clear()  # every image is gone
            if point == "deploy.start.undo.before":
                raise Died(point)

        process.world.at_point = see
        await process.ask("deploy", **WHERE, image="shop:2")
        noted = (await newest(rig)).error
        assert process.world.dead
        assert noted is not None
        assert (noted["code"], noted["status"]) == ("image_not_found", 404)
        await restart(rig)
        ended = await newest(rig)
    assert (ended.state, ended.error) == (OpState.FAILED, noted)


async def test_an_undo_that_failed_before_the_crash_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first process could not undo `start` and died before it could say so: the second does not forget it."""
    async with begin("active") as rig:
        rig.image("bad", exits=3)

        async def cannot(run: Any) -> None:
            raise StepFailed("it is stuck")

        steps = [replace(step, undo=cannot) if step.name == "start" else step for step in deploy.SAGA.steps]
        with monkeypatch.context() as patch:
            patch.setattr(deploy, "SAGA", replace(deploy.SAGA, steps=tuple(steps)))
            process = rig.boot()
            die_at(process, "deploy.clear.undo.before")
            await process.ask("deploy", **WHERE, image="shop:bad")
        assert process.world.dead
        assert "shop-production-green" in rig.machine.boxes
        await restart(rig)
        assert await rig.faults() == []
        assert (await newest(rig)).undo_faults == ()
        assert "shop-production-green" not in rig.machine.boxes


async def test_a_grace_that_starts_slowly_is_a_fallback_again_and_no_undo_fault() -> None:
    async with begin("grace") as rig:
        rig.image("bad", exits=3)
        pair = rig.store.snapshot.pair_of(PROD)
        assert pair is not None
        assert pair.grace is not None
        row = pair.grace
        rig.machine.behaviours[str(row.image_id)] = replace(rig.machine.behaviours[str(row.image_id)], answers_after=10_000)
        box = rig.machine.boxes[row.container]
        box.behaviour = rig.machine.behaviours[str(row.image_id)]
        process, began = rig.boot(), rig.clock.spent
        said = await process.ask("deploy", **WHERE, image="shop:bad")
        ended = await newest(rig)
        assert said.body["code"] == "container_exited"
        assert ended.undo_faults == ()
        assert "does not answer yet" in ended.warnings[0]
        assert rig.clock.spent - began < 30, "one wait for the old version, not three"
        assert (await rig.proxy.live(PROD)).fallback


async def test_a_deploy_with_its_own_health_path_leaves_the_site_and_the_grace_as_they_were() -> None:
    async with begin("grace") as rig:
        rig.image("bad", exits=3)
        before = rig.proxy.loaded[PROD]
        await rig.boot().ask("deploy", **WHERE, image="shop:bad", healthPath="/only-new-versions-have-this")
        assert rig.proxy.loaded[PROD] == before
        asked = [address.path for address in rig.health.probed if address.path == "/only-new-versions-have-this"]
        assert asked == [], "the version in grace was asked for the new version's path"
        said = await rig.boot().ask("deploy", **WHERE, image="shop:2", healthPath="/ready")
        assert said.ok, said.body
        assert rig.proxy.loaded[PROD] == before, "the active version would be judged by the new version's path"


async def test_what_another_deploy_did_meanwhile_is_not_overlooked() -> None:
    """Facts seen before the transaction: a deploy that ended in between made them old."""
    async with begin("new") as rig:
        first, second = rig.boot(), rig.boot()
        rig.image("bad", exits=3)

        @asynccontextmanager
        async def late() -> Any:
            assert (await first.ask("deploy", **WHERE, image="shop:1")).ok
            assert (await first.ask("promote", **WHERE)).ok
            assert (await first.ask("deploy", **WHERE, image="shop:2")).ok
            yield

        real, done = second.engine.open, False

        async def after_the_other(*args: Any, **more: Any) -> Any:
            nonlocal done
            if not done:
                done = True
                async with late():
                    pass
            return await real(*args, **more)

        second.engine.open = after_the_other  # type: ignore[method-assign]
        said = await second.ask("deploy", **WHERE, image="shop:bad")
        assert said.body["code"] == "container_exited"
        assert await rig.faults() == []
        pair = rig.store.snapshot.pair_of(PROD)
        assert pair is not None
        assert {row.state for row in pair.rows} == {State.ACTIVE, State.DEPLOYED}
        assert PROD in rig.proxy.loaded


async def test_an_operation_whose_caller_went_away_at_the_commit_is_resumed() -> None:
    async with begin("active") as rig:
        process = rig.boot()
        real = rig.store.write

        @asynccontextmanager
        async def write() -> Any:
            async with real() as registry:
                yield registry
            rig.store.write = real  # type: ignore[method-assign]
            raise asyncio.CancelledError

        rig.store.write = write  # type: ignore[method-assign]
        with pytest.raises(asyncio.CancelledError):
            await process.ask("deploy", **WHERE, image="shop:2")
        assert (await newest(rig)).state is OpState.RUNNING
        assert await process.engine.resume() == [(await newest(rig)).id]
        await process.settle()
        assert (await newest(rig)).state is OpState.FAILED
        assert await rig.faults() == []


async def test_a_switch_of_which_nothing_can_be_told_is_taken_back() -> None:
    async with begin("ready") as rig:
        process = rig.boot()
        die_at(process, "promote.switch.do.effect")
        await process.ask("promote", **WHERE)
        await rig.store.refresh()
        real, asked = rig.proxy.live, 0

        async def unreadable(place: Any) -> Any:
            nonlocal asked
            asked += 1
            if asked == 1:
                raise OSError("input/output error")
            return await real(place)

        def with_bad_disk(kit: Kit) -> Kit:
            rig.proxy.live = unreadable  # type: ignore[method-assign]
            return kit

        second = rig.boot(with_bad_disk)
        await second.engine.resume()
        await second.settle()
        assert (await newest(rig)).state is OpState.FAILED
        assert await rig.faults() == []


async def test_docker_gone_for_a_moment_does_not_lose_an_undo() -> None:
    async with begin("grace") as rig:
        process = rig.boot()
        die_at(process, "deploy.health.do.before")
        await process.ask("deploy", **WHERE, image="shop:2")
        tries = 0
        real = rig.machine.awake

        async def awake() -> None:
            nonlocal tries
            tries += 1
            if tries <= 5:
                raise Unavailable("Docker does not answer.")
            await real()

        rig.machine.awake = awake  # type: ignore[method-assign]
        await restart(rig)
        assert tries > 5
        assert (await newest(rig)).undo_faults == ()
        assert await rig.faults() == []


def passed_over(rig: Rig, until: float) -> None:
    """The way that all requests would take with the fallback allowed leads to the old version, until that second."""
    route, probe = rig.proxy.route, rig.health.probe
    tried = "/tried-first"

    def marked(host: str, *, standing_in: bool = False) -> Address:
        return replace(route(host), host_header=host + tried) if standing_in else route(host)

    async def behind(address: Address, seconds: float) -> Answer:
        if address.host_header is None or not address.host_header.endswith(tried):
            return await probe(address, seconds)
        if rig.clock.spent < until:
            return Answer(200, slot="blue")
        return await probe(replace(address, host_header=address.host_header.removesuffix(tried)), seconds)

    rig.proxy.route = marked  # type: ignore[method-assign]
    rig.health.probe = behind  # type: ignore[method-assign]


async def test_the_old_version_may_stand_in_only_once_the_proxy_knows_the_new_one() -> None:
    async with begin("ready") as rig:
        process, known = rig.boot(), rig.clock.spent + 4
        passed_over(rig, until=known)
        allowed: list[float] = []
        rig.machine.trap = lambda what: allowed.append(rig.clock.spent) if what.endswith("fallback shop-production on") else None
        said = await process.ask("promote", **WHERE)
        assert said.ok, said.body
        assert allowed, "the fallback was never allowed"
        assert min(allowed) >= known, "the old version was let in while the proxy took the new one for down"
        assert said.body["warnings"] == []
        rig.machine.trap = None
        assert await rig.faults() == []


async def test_the_old_version_stands_in_at_once_for_a_new_one_that_died() -> None:
    async with begin("ready") as rig:
        process, began = rig.boot(), rig.clock.spent
        passed_over(rig, until=float("inf"))

        def see(point: str) -> None:
            if point == "promote.fallback.do.before":
                rig.machine.boxes["shop-production-green"].behaviour = Behaviour(status=500)

        process.world.at_point = see
        said = await process.ask("promote", **WHERE)
        assert said.ok, said.body
        assert "stands in" in said.body["warnings"][0]
        assert rig.clock.spent - began < 1
        assert (await rig.proxy.live(PROD)).fallback


async def test_a_site_that_another_deploy_made_is_not_taken_away_again() -> None:
    async with begin("new") as rig:
        first, second = rig.boot(), rig.boot()
        real, done = second.engine.open, False

        async def after_the_other(*args: Any, **more: Any) -> Any:
            nonlocal done
            if not done:
                done = True
                assert (await first.ask("deploy", **WHERE, image="shop:1", autoPromote=True)).ok
                rig.health.broken.add(dict(rig.proxy.loaded[PROD].preview_hosts)[Slot.GREEN])
            return await real(*args, **more)

        second.engine.open = after_the_other  # type: ignore[method-assign]
        said = await second.ask("deploy", **WHERE, image="shop:2")
        assert said.body["code"] == "not_proven", said.body
        assert PROD in rig.proxy.loaded
        assert await rig.faults() == []


async def test_who_reads_what_came_of_a_commit_without_an_answer_finds_the_snapshot_no_older() -> None:
    """An operation went on from such a commit while status still told of before. Found by the fault sweep."""
    async with begin("active") as rig:
        fault = Fault(0, "lost", only="store.commit", on=True)
        with flaky_store(rig, fault), pytest.raises(Unavailable):
            await rig.store.transact(lambda registry: registry.projects.set_watch("shop", auto_rollback=True, watch_seconds=5))
        stored = await rig.store.consult(lambda registry: registry.projects.get("shop"))
        assert (fault.hit, stored and stored.watch_seconds) == ("store.commit", 5)
        assert rig.store.snapshot.projects["shop"].watch_seconds == 5


async def test_a_death_while_ports_are_released_leaves_no_site_of_nobody() -> None:
    """An emptied environment keeps its site until then. Found by the stateful model."""
    async with begin("deployed") as rig:
        process = rig.boot()
        await process.ok("slot_cleanup", **WHERE, slot="blue", force=True)
        for moment in ("before", "after"):

            def die(point: str, moment: str = moment) -> None:
                if point.startswith(f"{moment} proxy remove_site"):
                    raise Died(point)

            rig.machine.trap = die
            with pytest.raises(Died):
                await process.ask("port_release", **WHERE)
            rig.machine.trap = None
            assert await rig.faults() == []
        await process.ok("port_release", **WHERE)
        assert (await rig.faults(), rig.proxy.loaded) == ([], {})
