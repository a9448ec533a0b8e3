"""P2, P1, P4: death at every journal point and around every outside effect of every saga, and of every recovery."""

import pytest

from tests.flows.crash import SCENES, Sweep

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("name", SCENES)
async def test_death_anywhere_is_recovered_from(name: str) -> None:
    sweep = await Sweep(SCENES[name]).run()
    print(name, sweep.deaths, sweep.states)
    assert sweep.faults == []
