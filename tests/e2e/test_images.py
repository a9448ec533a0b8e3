"""`we deploy .` on real parts: a source tree is built by the Docker of this machine, pushed to Debian's docker-registry, deployed
behind Caddy by the digest that was pushed; then the image registry is cleaned up, and what runs still can be fetched.
"""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.e2e.developer import Developer, forget
from tests.e2e.nursery import QuickStage
from tests.ports import free_block
from tests.real_registry import PASSWORD, USER, RealRegistry, serving
from tests.stage import Stage

pytestmark = [pytest.mark.docker, pytest.mark.proxy, pytest.mark.images]


@pytest.fixture(scope="module")
def registry() -> Iterator[RealRegistry]:
    with serving(free_block(1)) as found:
        yield found


@pytest.fixture(scope="module")
def stage(registry: RealRegistry) -> Iterator[Stage]:
    sign_in = {"IMAGE_REGISTRY": registry.address, "IMAGE_REGISTRY_USER": USER, "IMAGE_REGISTRY_PASSWORD": PASSWORD}
    with QuickStage(**sign_in) as found:
        yield found
        forget(found, registry)


@pytest.fixture(scope="module")
def developer(stage: Stage, registry: RealRegistry, tmp_path_factory: pytest.TempPathFactory) -> Developer:
    stage.call("project_create", projectName=stage.project, healthPath="/health")
    return Developer(stage, registry, tmp_path_factory.mktemp("developer"))


def slots(stage: Stage) -> dict[str, Any]:
    return stage.call("slot_status", projectName=stage.project, environment="production")


def test_a_source_tree_is_live_in_one_go(developer: Developer, stage: Stage, registry: RealRegistry) -> None:
    commit = developer.change("first")
    said = developer.we("deploy", ".", "--promote")
    assert said.returncode == 0, said.stderr
    status, headers, _ = registry.manifest(stage.project, commit)
    assert status == 200
    blue = slots(stage)["blue"]
    assert (blue["state"], blue["version"], blue["digest"]) == ("active", commit, headers["docker-content-digest"])
    assert blue["image"] == f"{registry.address}/{stage.project}:{commit}@{headers['docker-content-digest']}"
    assert stage.public(f"{stage.project}.localhost")[0] == 200
    assert "keeps no cache" in said.stderr or "BuildKit" in said.stderr
    assert PASSWORD not in said.stderr + said.stdout


def test_what_is_not_committed_has_a_version_of_its_own(developer: Developer, stage: Stage) -> None:
    (developer.tree / "note-2.txt").write_text("not committed")
    said = developer.we("deploy", ".", "--json")
    (developer.tree / "note-2.txt").unlink()
    assert said.returncode == 0, said.stderr
    body = json.loads(said.stdout)
    assert body["version"].startswith(developer.git("rev-parse", "--short=12", "HEAD") + "-")


def test_a_build_that_fails_says_why_and_touches_nothing(developer: Developer, stage: Stage) -> None:
    before, file = slots(stage), developer.tree / "Dockerfile"
    kept = file.read_text()
    file.write_text(kept + 'RUN ["python3", "-c", "print(\'codebtest went wrong here\'); raise SystemExit(3)"]\n')
    said = developer.we("deploy", ".")
    file.write_text(kept)
    assert said.returncode == 1
    assert "could not be built" in said.stderr
    assert said.stderr.count("codebtest went wrong here") >= 2
    assert slots(stage)["green"] == before["green"]


def test_a_push_that_is_refused_says_what_to_do(developer: Developer) -> None:
    file = developer.home / ".docker/config.json"
    kept = file.read_text()
    file.write_text("{}")
    said = developer.we("deploy", ".")
    file.write_text(kept)
    assert (said.returncode, "could not be pushed" in said.stderr, "docker login" in said.stderr) == (1, True, True), said.stderr


def test_what_runs_stays_and_what_nobody_needs_goes(developer: Developer, stage: Stage, registry: RealRegistry) -> None:
    versions = []
    for number in range(2):
        versions.append(developer.change(f"promoted {number}"))
        assert developer.we("deploy", ".", "--promote").returncode == 0
    for number in range(3):
        registry.image(f"{stage.project}:idle-{number}", None if number == 2 else _built(number))
    held = {slots(stage)[slot]["digest"] for slot in ("blue", "green")}
    rows = {each["tag"]: each for each in stage.call("registry_tags", repository=stage.project)["tags"]}
    assert {row["digest"] for row in rows.values() if row["neededBy"]} >= held
    assert rows[versions[-1]]["neededBy"].endswith("is active")
    for version in versions:
        status, body = stage.ask("registry_delete", {"repository": stage.project, "tag": version})
        assert (status, body["code"]) == (409, "image_needed")
    shown = stage.call("registry_gc", projectName=stage.project, keep=1)
    gone = stage.call("registry_gc", projectName=stage.project, keep=1, planId=shown["planId"])
    assert gone["tags"] == [f"{stage.project}:idle-0", f"{stage.project}:idle-1"]
    assert gone["left"] == []
    before = registry.stored()
    registry.collect()
    assert registry.stored() < before
    # the way back does not need the machine's own copies
    for digest in held:
        assert registry.manifest(stage.project, digest)[0] == 200
    assert stage.call("rollback", projectName=stage.project, environment="production")["version"] == versions[0]


def _built(number: int) -> datetime:
    return datetime(2020, 1, 1 + number, tzinfo=UTC)


def test_a_version_that_is_only_in_the_registry_is_fetched_with_the_password(stage: Stage, registry: RealRegistry) -> None:
    """The engine is shown what CODEB_IMAGE_REGISTRY_USER and _PASSWORD say, though it was never logged in."""
    digest = slots(stage)["blue"]["digest"]
    registry.tag(stage.project, "again", digest)
    said = stage.call("deploy", projectName=stage.project, environment="production", version="again")
    assert said["digest"] == digest
    assert said["warnings"] == []
