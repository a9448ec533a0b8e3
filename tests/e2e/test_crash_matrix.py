"""P2, P15, the crash matrix on real parts: `kill -9` at every journal point, restart, and an independent judge.

`make test` runs the small size: every step and moment of deploy (over a slot in grace), promote, rollback, cleanup and a
failing deploy's way back, with one second kill during each recovery, and a few points of what CodeB does by itself (mend,
restart). CODEB_TEST_SIZE=full runs all situations, project_delete, the hand-over to autoPromote, and every second kill.

The database is a dimension of it: SQLite, and PostgreSQL with its local copy, where the copy has to agree at each end. There
the small size runs a handful of cells, the full size every point once. The reports are `.test-run/crash-{size}*.json`.
"""

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from demo.images import Builder

from tests.e2e.cells import BY_HAND, BY_NAME, Cell, cells, forward_points, undo_points
from tests.e2e.crash import Matrix, Outcome
from tests.e2e.nursery import QuickStage
from tests.e2e.seaside import seaside
from tests.postgres import Server, postgres

__all__ = ["postgres"]

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
    ("project_delete", "active and grace"), ("mend of a lost container", "active and grace"),
    ("mend of everything", "active and grace"), ("restart", "active and grace"),
]  # fmt: skip
FEW_BY_HAND = [
    Cell("mend of everything", "active and grace", "mend.accept.do.effect", "mend.switch.do.before"),
    Cell("mend of everything", "active and grace", "mend.containers.do.effect", "mend.fallback.do.effect"),
    Cell("restart", "active and grace", "restart.restart.do.before", "restart.restart.undo.effect"),
    Cell("restart", "active and grace", "restart.restart.do.effect"),
]
FEW_ON_POSTGRES = [
    Cell("deploy", "active and grace", "deploy.commit.do.effect", "deploy.start.undo.before"),
    Cell("promote", "active and deployed", "promote.switch.do.effect", "promote.record.do.effect"),
    Cell("mend of a lost container", "active and grace", "mend.containers.do.effect"),
    Cell("restart", "active and grace", "restart.restart.do.before", "restart.restart.undo.record"),
]


def group(what: str, situation: str, seconds: str = "all" if FULL else "one") -> list[Cell]:
    if what == "deploy of a broken image":
        points = undo_points(BY_NAME["deploy"], BROKEN_UNDO)
    elif what == "deploy and promote":
        points = HAND_OVER
    else:
        points = list(forward_points(BY_NAME[BY_HAND.get(what, what)]))
    return cells(what, situation, points, seconds if what not in ("deploy and promote", "mend of a lost container") else "one")


@pytest.fixture(scope="module")
def broken(builder: Builder) -> dict[str, str]:
    builder.static_exit("codebtest-app:broken", 3)
    return {"broken": "codebtest-app:broken"}


@pytest.fixture(scope="module")
def matrix(request: pytest.FixtureRequest, images: dict[str, str], broken: dict[str, str]) -> Iterator[Matrix]:
    began = time.monotonic()
    stage = QuickStage(pairs=6)
    try:
        made = Matrix(stage, images | broken)
        yield made
        made.close()
    finally:
        stage.close()
    say(request, report(made.outcomes, time.monotonic() - began))


@pytest.fixture(scope="module")
def matrix_on_postgres(
    request: pytest.FixtureRequest, postgres: Server, images: dict[str, str], broken: dict[str, str]
) -> Iterator[Matrix]:
    """With PostgreSQL and the local copy; at each end the two agree, and nothing is left that could not be added."""
    began = time.monotonic()
    with seaside(postgres, 6) as shore:
        assert isinstance(shore.stage, QuickStage)
        made = Matrix(shore.stage, images | broken, lambda: shore.agreed() + [str(row) for row in shore.rows(CONFLICTS)])
        yield made
        made.close()
    say(request, report(made.outcomes, time.monotonic() - began, "-postgres"))


CONFLICTS = "select * from conflicts"


def say(request: pytest.FixtureRequest, line: str) -> None:
    if (terminal := request.config.pluginmanager.getplugin("terminalreporter")) is not None:
        terminal.ensure_newline()
        terminal.write_line(line)


def report(outcomes: list[Outcome], seconds: float, where: str = "") -> str:
    """Write what was tried and what survived; the line that says it."""
    survived = sum(not each.faults for each in outcomes)
    slowest = max((each.recovery_seconds for each in outcomes), default=0.0)
    said = f"crash matrix ({SIZE}{where}): {survived} of {len(outcomes)} cells survived in {seconds:.0f} s"
    said += f", slowest recovery {slowest} s"
    if resets := sum(len(each.resets) for each in outcomes):
        said += f"; {resets} connections reset by a reload of the proxy (tcp_migrate_req is off here)"
    path = Path(".test-run") / f"crash-{SIZE}{where}.json"
    path.parent.mkdir(exist_ok=True)
    facts = {
        "size": SIZE, "tried": len(outcomes), "survived": survived, "seconds": round(seconds, 1), "line": said,
        "slowestRecoverySeconds": slowest, "cells": [vars(each) for each in outcomes],
    }  # fmt: skip
    path.write_text(json.dumps(facts, indent=1) + "\n")
    return said


GROUPS = SMALL_GROUPS + MORE_GROUPS if FULL else SMALL_GROUPS
ON_SQLITE = [group(*each) for each in GROUPS] + ([] if FULL else [FEW_BY_HAND])
ON_POSTGRES = [group(*each, "one") for each in GROUPS] if FULL else [FEW_ON_POSTGRES]
NAMES = [f"{what}-{situation}" for what, situation in GROUPS]


@pytest.mark.timeout(7200 if FULL else 300)
@pytest.mark.parametrize("these", ON_SQLITE, ids=NAMES if FULL else [*NAMES, "by hand"])
def test_every_cell_survives(matrix: Matrix, these: list[Cell]) -> None:
    live(matrix, these)


@pytest.mark.postgres
@pytest.mark.timeout(7200 if FULL else 300)
@pytest.mark.parametrize("these", ON_POSTGRES, ids=NAMES if FULL else ["a handful"])
def test_every_cell_survives_on_postgres(matrix_on_postgres: Matrix, these: list[Cell]) -> None:
    """P2, P9: with the local copy, which says the same as the database afterwards."""
    live(matrix_on_postgres, these)


def live(matrix: Matrix, these: list[Cell]) -> None:
    lived = [matrix.live(cell, number % AGAIN_EVERY == 0) for number, cell in enumerate(these)]
    fallen = {each.cell: each.faults for each in lived if each.faults}
    assert not fallen, f"{len(fallen)} of {len(lived)} cells did not survive: {json.dumps(fallen, indent=1)}"
    assert lived


STORAGE = {"db_create", "redis_create", "storage_rotate", "storage_end", "storage_delete"}
DEDICATED = {"db_create_dedicated", "redis_create_dedicated", "storage_mend"}
ELSEWHERE = {
    "undelete", "project_purge", "domain_setup", "domain_delete", "maintenance", "image_delete", "firewall", "workflow_init",
    "project_adopt", "preview_create", "preview_delete", "pull_change", *STORAGE, *DEDICATED,
}  # fmt: skip
"""killed at every step in memory (`flows/test_crash_everywhere.py`), on real parts in `test_undelete.py`, `test_domains.py`,
`test_images_killed.py`, `test_firewall.py`, `test_storage.py`, `test_adopt.py`, `test_previews.py` and, four points of
`workflow_init` with containers of its own (long), `test_four_hosts.py`"""


def test_the_matrix_covers_every_step() -> None:
    """A step that no cell kills at would be a hole in the matrix."""
    everything = [cell for what, situation in SMALL_GROUPS + MORE_GROUPS for cell in group(what, situation)]
    covered = {cell.point.split(".do.")[0] for cell in everything if ".do." in cell.point}
    assert covered == {
        f"{saga.name}.{step.name}" for saga in BY_NAME.values() for step in saga.steps if saga.name not in ELSEWHERE
    }
