"""`we deploy .` with a builder that keeps its cache in the image registry: a machine that has built nothing yet takes from there
the steps that another one made. Docker 26 of a newer Debian, as this machine's own cannot; `make workflows`.
"""

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from demo.images import Builder

from tests.e2e.developer import Developer, forget
from tests.e2e.nursery import QuickStage
from tests.newer_docker import NewerDocker, newer_docker
from tests.ports import free_block
from tests.real_registry import RealRegistry, serving

pytestmark = [
    pytest.mark.docker, pytest.mark.proxy, pytest.mark.images, pytest.mark.netns, pytest.mark.release,
]  # fmt: skip

# the first stage is no part of the image: its steps are in the cache by `mode=max` alone
DOCKERFILE = """FROM {base} AS made
USER 0:0
RUN ["python3", "-c", "import time; time.sleep(4); open('/app/made', 'wb').write(bytes(range(256)) * 40000)"]
FROM {base}
COPY --from=made /app/made /app/
COPY app.py probe.py /app/
COPY note* /app/
"""
PLAIN = re.compile(r"│ #(\d+) (.*)")


@pytest.fixture(scope="module")
def registry() -> Iterator[RealRegistry]:
    with serving(free_block(1)) as found:
        yield found


@pytest.fixture(scope="module")
def docker(registry: RealRegistry) -> Iterator[NewerDocker]:
    with newer_docker() as found:
        found.reach(registry.port)
        yield found


def based(registry: RealRegistry) -> str:
    """The base of the sample app, where the other Docker can fetch it."""
    here, name = Builder(), f"{registry.address}/python"
    repository, _, tag = here.base().partition(":")
    here.engine.send("POST", f"/images/{repository}:{tag}/tag?repo={name}&tag=1")
    auth = {"X-Registry-Auth": registry.auth}
    here.engine.send("POST", f"/images/{name}/push?tag=1", headers=auth)
    here.remove(f"{name}:1")
    return f"{name}:1"


def steps(said: str) -> dict[str, str]:
    """What each step of the build is, and how it ended: CACHED, or DONE and its seconds."""
    names: dict[str, str] = {}
    ends: dict[str, str] = {}
    for number, text in PLAIN.findall(said):
        names.setdefault(number, text)
        if text.startswith(("CACHED", "DONE", "ERROR")):
            ends[number] = text
    return {names[number]: end for number, end in ends.items()}


def _manifest(registry: RealRegistry, repository: str, tag: str) -> dict[str, Any]:
    return dict(json.loads(registry.manifest(repository, tag)[2]))


def test_the_second_machine_takes_its_steps_from_the_image_registry(
    docker: NewerDocker, registry: RealRegistry, tmp_path: Path
) -> None:
    with QuickStage(**registry.settings) as stage:
        stage.call("project_create", projectName=stage.project, healthPath="/health")
        developer = Developer(stage, registry, tmp_path, docker.environment(tmp_path))
        (developer.tree / "Dockerfile").write_text(DOCKERFILE.format(base=based(registry)))
        commits: list[str] = []
        ends: list[dict[str, str]] = []
        for text in ("first", "second"):
            commits.append(developer.change(text))
            began = time.monotonic()
            said = developer.we("deploy", ".", "--promote")
            print(f"{text}: {time.monotonic() - began:.1f} s")
            assert said.returncode == 0, said.stderr
            assert "with BuildKit" in said.stderr
            assert "cannot keep its cache" not in said.stderr
            ends.append(steps(said.stderr))
            docker.forget()
        slow = [next(name for name in each if "time.sleep" in name) for each in ends]
        assert [each[name] == "CACHED" for each, name in zip(ends, slow, strict=True)] == [False, True]
        first, second = ([layer["digest"] for layer in _manifest(registry, stage.project, each)["layers"]] for each in commits)
        assert (first[:-1], len(first)) == (second[:-1], 4), "all but the last layer is what the first build made"
        assert first != second
        live = stage.call("slot_status", projectName=stage.project, environment="production")
        digests = [registry.manifest(stage.project, commit)[1]["docker-content-digest"] for commit in commits]
        assert [live["blue"]["digest"], live["green"]["digest"]] == digests
        assert (live["green"]["state"], live["blue"]["state"]) == ("active", "grace")
        kept = stage.call("registry_tags", repository=f"{stage.project}/buildcache")["tags"]
        assert [(each["tag"], each["neededBy"]) for each in kept] == [("latest", None)]
        forget(stage, registry)
