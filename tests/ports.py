"""Ports for servers of the tests: each process of a run that has several takes them from a lane of its own."""

import os

from demo import server

LANE = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
LANES = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))


def free_block(size: int) -> int:
    """The first of `size` ports in a row that nobody has, nor will be given by another process of this run."""
    return server.free_block(size, LANE, LANES)
