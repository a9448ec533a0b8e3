"""P2: a `kill -9` at every point of a deletion in the image registry: it is as before, or it is finished after the restart."""

import contextlib
import os
from datetime import UTC, datetime

import pytest

from tests import oracle
from tests.e2e.nursery import QuickStage
from tests.ports import free_block
from tests.real_registry import serving

pytestmark = [pytest.mark.docker, pytest.mark.proxy, pytest.mark.images]
STEPS = ("look", "retire", "erase")
POINTS = [f"image_delete.{step}.do.{moment}" for step in STEPS for moment in ("before", "effect", "record")]
# what is on record of it is written with the commit
POINTS.remove("image_delete.look.do.record")
TRIED = POINTS if os.environ.get("CODEB_TEST_SIZE") == "full" else [POINTS[1], POINTS[4], POINTS[6]]
"""in memory all of them are, in every size: `flows/test_crash_everywhere.py`"""


def test_a_deletion_survives_its_death_at_any_point() -> None:
    with serving(free_block(1)) as registry, QuickStage(**registry.settings) as stage:
        stage.call("project_create", projectName=stage.project)
        for point in TRIED:
            registry.image(f"{stage.project}:kept", datetime(2026, 1, 2, tzinfo=UTC))
            registry.image(f"{stage.project}:gone", datetime(2026, 1, 1, tzinfo=UTC))
            stage.stop()
            stage.start(crash_at=point)
            with contextlib.suppress(OSError):
                stage.ask("registry_delete", {"repository": stage.project, "tag": "gone"})
            assert stage.until_dead() == -9
            stage.start()
            oracle.settle(stage)
            said = stage.call("operation_list", limit=1)["operations"][0]["state"]
            tags = {each["tag"] for each in stage.call("registry_tags", repository=stage.project)["tags"]}
            # the commit is of the store alone: what was killed within its transaction never was
            committed = POINTS.index(point) >= POINTS.index("image_delete.retire.do.record")
            assert (said, tags) == (("succeeded", {"kept"}) if committed else ("failed", {"kept", "gone"})), point
            assert stage.call("operation_list", running=True)["operations"] == []
