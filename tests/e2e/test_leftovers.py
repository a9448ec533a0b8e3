"""P2, P10: what a killed server was writing when it died is gone after the next start."""

import time

import pytest

from tests.stage import Stage

pytestmark = [pytest.mark.proxy]


def test_half_written_files_are_removed_at_the_next_start(stage: Stage) -> None:
    stage.kill()
    half = [
        stage.home / ".owner.key.x1y2z3.tmp", stage.home / "backups" / "projects" / ".shop.json.x1y2z3.tmp",
        stage.home / "caddy" / ".Caddyfile.x1y2z3.tmp", stage.home / "caddy" / "sites" / ".shop-production.caddy.x1y2z3.tmp",
        stage.home / "registry" / ".ssot.json.tmp",
    ]  # fmt: skip
    for path in half:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("half a sec")
    folder = stage.home / "caddy" / "slots" / ".shop-production.x1y2z3"
    folder.mkdir()
    (folder / "hold").touch()
    key = stage.key

    stage.start()
    stage.call("project_create", projectName=stage.project)  # the mirror writes with the first change

    for _ in range(50):
        left = [path for path in (*half, folder) if path.exists()]
        if not left:
            break
        time.sleep(0.1)
    assert left == []
    assert stage.key == key
