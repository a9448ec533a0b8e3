"""P15: the loop that compares and mends by itself, tells each thing once, and neither thrashes nor fights."""

from dataclasses import replace
from itertools import pairwise

import pytest

from codeb.entry.reconciler import Reconciler
from tests.kit import PROD, Process, Rig, begin

pytestmark = pytest.mark.anyio

BLUE = "shop-production-blue"


def loop(process: Process) -> Reconciler:
    return Reconciler(process.kit, process.engine, process.audit)


async def events(rig: Rig) -> list[str]:
    async with rig.store.read() as registry:
        found = await registry.events.latest(team=None, project=None, limit=100, before=None)
    return [f"{each.kind} {each.data['kind']}" for each in reversed(list(found)) if each.kind.startswith("drift_")]


@pytest.mark.parametrize("state", ["empty", "new", "deployed", "active", "ready", "grace", "back"])
async def test_a_clean_system_is_left_alone_and_says_nothing(state: str) -> None:
    async with begin(state) as rig:
        process, before = rig.boot(), rig.print()
        for _ in range(2):
            await loop(process).round()
        assert (await events(rig), rig.effects(), rig.print()) == ([], [], before)
        assert process.kit.drift.at is not None
        assert process.kit.drift.left == ()


async def test_the_loop_mends_tells_once_and_leaves_an_audit_row() -> None:
    async with begin("active") as rig:
        process = rig.boot()
        rounds = loop(process)
        rig.machine.boxes.pop(BLUE)
        rig.proxy.strange.add("ghost-production")
        for _ in range(3):
            await rounds.round()
        assert sorted(await events(rig)) == [
            "drift_found container_gone", "drift_found route_dead", "drift_found site_of_nobody", "drift_gone route_dead",
            "drift_mended container_gone",
        ]  # fmt: skip
        assert [each.kind for each in process.kit.drift.left] == ["site_of_nobody"]
        async with rig.store.read() as registry:
            rows = [each for each in await registry.audit.latest(50) if each.entry == "timer"]
        assert [(each.tool, each.ok, each.key_id, each.team) for each in rows] == [("reconcile", True, None, "main")]
        rig.proxy.strange.clear()
        await rounds.round()
        assert (await events(rig))[-1] == "drift_gone site_of_nobody"


async def test_what_cannot_be_mended_is_tried_again_with_growing_pauses() -> None:
    async with begin("active") as rig:
        process = rig.boot()
        rounds, tries = loop(process), []
        rig.proxy.dead = rig.proxy.stuck = True
        real = rig.proxy.start

        async def start() -> None:
            tries.append(rig.clock.spent)
            await real()

        rig.proxy.start = start  # type: ignore[method-assign]
        for _ in range(60):
            await rounds.round()
            rig.clock.spent += 20
        pauses = [round(later - sooner, -1) for sooner, later in pairwise(sorted(set(tries)))]
        assert 4 <= len(pauses) < 10
        assert pauses == sorted(pauses)
        assert pauses[-1] >= 300
        assert (await events(rig)).count("drift_not_mended proxy_dead") == 1
        rig.proxy.stuck = False
        rig.clock.spent += 600
        await rounds.round()
        assert "drift_mended proxy_dead" in await events(rig)


async def test_somebody_who_undoes_it_again_and_again_is_not_fought_every_round() -> None:
    async with begin("active") as rig:
        process = rig.boot()
        rounds, mended = loop(process), 0
        for _ in range(30):
            rig.proxy.edited.add(PROD)
            await rounds.round()
            mended += PROD not in rig.proxy.edited
            rig.clock.spent += 20
        assert 5 <= mended < 15


async def test_only_the_process_that_leads_acts(monkeypatch: pytest.MonkeyPatch) -> None:
    async with begin("active") as rig:
        process = rig.boot()
        rig.machine.boxes.pop(BLUE)
        standing = replace(rig.store.standing, leads=False)
        monkeypatch.setattr(type(rig.store), "standing", property(lambda self: standing))
        await loop(process).round()
        assert (await events(rig), rig.effects()) == ([], [])
