"""P2, the crash matrix on real parts: `kill -9` at every journal point, restart, and an independent judge.

`make test` runs the small size: every step and moment of deploy (over a slot in grace), promote, rollback, cleanup and a
failing deploy's way back, with one second kill during each recovery. CODEB_TEST_SIZE=full runs all situations, project_delete,
the hand-over to autoPromote, and every second kill. The report is `.test-run/crash-{size}.json`.
"""

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from demo.images import Builder

from tests.e2e.cells import BY_NAME, Cell, cells, forward_points, undo_points
from tests.e2e.crash import Matrix, Outcome
from tests.e2e.nursery import QuickStage

pytestmark = [pytest.mark.docker, pytest.mark.proxy]

FULL = os.environ.get("CODEB_TEST_SIZE") == "full"
SIZE = "full" if FULL else "small"
AGAIN_EVERY = 3 if FULL else 6
BROKEN_UNDO = BY_NAME["deploy"].steps.index(next(step for step in BY_NAME["deploy"].steps if step.name == "health"))
HAND_OVER = [
    "deploy.commit.do.record", "deploy.tidy.do.before", "deploy.tidy.do.effect", "deploy.tidy.do.record",
    *forward_points(BY_NAME["promote"]),
]  # fmt: skip

SMALL_GROUPS = [
    ("deploy", "active and grace"), ("deploy of a broken image", "active and grace"), ("promote", "active and deployed"),
    ("rollback", "active and grace"), ("cleanup", "active and grace"), ("deploy of a broken image", "new environment"),
]  # fmt: skip
MORE_GROUPS = [
    ("deploy", "new environment"), ("deploy", "empty pair"), ("deploy", "active and deployed"),
    ("deploy of a broken image", "active and deployed"),
    ("promote", "deployed only"), ("cleanup", "active and deployed"), ("deploy and promote", "active and grace"),
    ("project_delete", "active and grace"),
]  # fmt: skip


def group(what: str, situation: str) -> list[Cell]:
    if what == "deploy of a broken image":
        points = undo_points(BY_NAME["deploy"], BROKEN_UNDO)
    elif what == "deploy and promote":
        points = HAND_OVER
    else:
        points = list(forward_points(BY_NAME[what]))
    return cells(what, situation, points, "all" if FULL and what != "deploy and promote" else "one")


@pytest.fixture(scope="module")
def matrix(request: pytest.FixtureRequest, images: dict[str, str], builder: Builder) -> Iterator[Matrix]:
    broken = "codebtest-app:broken"
    builder.static_exit(broken, 3)
    began = time.monotonic()
    stage = QuickStage(pairs=6)
    try:
        made = Matrix(stage, images | {"broken": broken})
        yield made
        made.close()
    finally:
        stage.close()
    line = report(made.outcomes, time.monotonic() - began)
    if (terminal := request.config.pluginmanager.getplugin("terminalreporter")) is not None:
        terminal.ensure_newline()
        terminal.write_line(line)


def report(outcomes: list[Outcome], seconds: float) -> str:
    """Write what was tried and what survived; the line that says it."""
    survived = sum(not each.faults for each in outcomes)
    slowest = max((each.recovery_seconds for each in outcomes), default=0.0)
    said = f"crash matrix ({SIZE}): {survived} of {len(outcomes)} cells survived in {seconds:.0f} s, slowest recovery {slowest} s"
    if resets := sum(len(each.resets) for each in outcomes):
        said += f"; {resets} connections reset by a reload of the proxy (tcp_migrate_req is off here)"
    path = Path(".test-run") / f"crash-{SIZE}.json"
    path.parent.mkdir(exist_ok=True)
    facts = {
        "size": SIZE, "tried": len(outcomes), "survived": survived, "seconds": round(seconds, 1), "line": said,
        "slowestRecoverySeconds": slowest, "cells": [vars(each) for each in outcomes],
    }  # fmt: skip
    path.write_text(json.dumps(facts, indent=1) + "\n")
    return said


@pytest.mark.timeout(7200 if FULL else 300)
@pytest.mark.parametrize(("what", "situation"), SMALL_GROUPS + (MORE_GROUPS if FULL else []))
def test_every_cell_survives(matrix: Matrix, what: str, situation: str) -> None:
    lived = [matrix.live(cell, number % AGAIN_EVERY == 0) for number, cell in enumerate(group(what, situation))]
    fallen = {each.cell: each.faults for each in lived if each.faults}
    assert not fallen, f"{len(fallen)} of {len(lived)} cells did not survive: {json.dumps(fallen, indent=1)}"
    assert lived


BESIDE = {"mend", "restart"}


def test_the_matrix_covers_every_step() -> None:
    """A step that no cell kills at would be a hole in the matrix.

    What nobody calls by name is killed elsewhere: mend in memory (`flows/test_crash_everywhere.py`), restart has one step.
    """
    everything = [cell for what, situation in SMALL_GROUPS + MORE_GROUPS for cell in group(what, situation)]
    covered = {cell.point.split(".do.")[0] for cell in everything if ".do." in cell.point}
    assert covered == {f"{saga.name}.{step.name}" for saga in BY_NAME.values() for step in saga.steps if saga.name not in BESIDE}
