"""Shared by all tests."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.ports import LANES

HERE = Path(__file__).parent


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Tests marked `long` run in the full size only (`make test-full`), those marked `release` when a target of their own asks
    for them; pytest says how many were left out.
    """
    asked = {"long": os.environ.get("CODEB_TEST_SIZE") == "full", "release": "CODEB_RELEASE_TESTS" in os.environ}
    without = [name for name, wanted in asked.items() if not wanted]
    if left_out := [each for each in items if any(map(each.get_closest_marker, without))]:
        items[:] = [each for each in items if each not in left_out]
        config.hook.pytest_deselected(items=left_out)
    quiet = {each.path for each in items if each.get_closest_marker("quiet")}
    items.sort(key=lambda each: (each.path in quiet, _room_of(each)))


ROOMS = ("e2e", "contracts", "flows", "entry", "unit")
"""in the order in which their files are given out: the long ones first, so that no process has one left when the others end"""


def _room_of(item: pytest.Item) -> int:
    """Files with quiet tests come last of all, among themselves: each of their tests would hold up whatever else goes on."""
    return next((at for at, name in enumerate(ROOMS) if HERE / name in item.path.parents), len(ROOMS))


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """A test marked `quiet` has the machine to itself, also when the run has several processes: the others wait."""
    if LANES == 1:
        return (yield)
    with _room(fcntl.LOCK_EX if item.get_closest_marker("quiet") else fcntl.LOCK_SH):
        return (yield)


@contextmanager
def _room(how: int) -> Iterator[None]:
    """Whoever waits to be alone holds the door, so that nobody slips in before; the locks of a process go with it."""
    folder = Path(".test-run")
    folder.mkdir(exist_ok=True)
    with (folder / "door").open("a") as door, (folder / "room").open("a") as room:
        fcntl.flock(door, fcntl.LOCK_EX)
        fcntl.flock(room, how)
        fcntl.flock(door, fcntl.LOCK_UN)
        yield
