"""P2, P1, P4: death at every journal point of every saga, and again at every point of the recovery."""

import pytest

from tests.flows.crash import SCENES, Sweep

pytestmark = pytest.mark.anyio

CELLS = {name: (0, 0) for name in SCENES}


@pytest.mark.parametrize("name", SCENES)
async def test_death_at_every_journal_point_and_once_more_in_the_recovery(name: str) -> None:
    sweep = Sweep(SCENES[name])
    points = await sweep.journal()
    print(name, points, sweep.cells)
    assert sweep.faults == []


@pytest.mark.parametrize("name", SCENES)
async def test_death_around_every_effect_outside(name: str) -> None:
    sweep = Sweep(SCENES[name])
    await sweep.inside()
    print(name, sweep.cells)
    assert sweep.faults == []
