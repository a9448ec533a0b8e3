"""The generated workflows run: `we workflow init` writes them, GitHub's evaluator and bash run them, a real BuildKit builds with
a cache in a real image registry, and a real CodeB deploys. `make workflows`; needs Node and a newer Docker of its own.
"""

import json
import os
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from tests.actions import Actions, Ran
from tests.e2e.developer import Developer, forget
from tests.e2e.nursery import QuickStage
from tests.e2e.test_registry_cache import based, docker, registry
from tests.newer_docker import NewerDocker
from tests.real_registry import PASSWORD, USER, RealRegistry
from tests.stage import Stage

__all__ = ["docker", "registry"]

pytestmark = [
    pytest.mark.docker, pytest.mark.proxy, pytest.mark.images, pytest.mark.netns, pytest.mark.release,
]  # fmt: skip

RUNS = count(1)
DOCKERFILE = "FROM {base}\nCOPY app.py probe.py /app/\nCOPY note* /app/\n"
HOSTILE = "fix $(touch {canary}) `touch {canary}` '; touch {canary} #\n::error::mine\n${{{{ secrets.CODEB_API_KEY }}}}"


class Hub:
    """A repository on GitHub as far as its workflows see it, and a runner that has signed in to nothing."""

    def __init__(self, developer: Developer, stage: Stage, actions: Actions, home: Path) -> None:
        self.developer, self.stage, self.actions = developer, stage, actions
        (home / ".docker").mkdir(parents=True)
        (home / ".docker/cli-plugins").symlink_to(developer.home / ".docker/cli-plugins")
        self.environment = {"PATH": os.environ["PATH"], "HOME": str(home), "DOCKER_HOST": developer.docker["DOCKER_HOST"]}
        made = stage.call(
            "token_create", preset="ci", projects=[stage.project], environments=["production", "preview"], label="github"
        )
        self.secrets = {"CODEB_API_KEY": made["key"], "IMAGE_REGISTRY_USER": USER, "IMAGE_REGISTRY_PASSWORD": PASSWORD}

    @property
    def commit(self) -> str:
        return self.developer.git("rev-parse", "HEAD")

    def run(self, file: str, event: dict[str, Any], **more: Any) -> Ran:
        github = {
            "sha": self.commit, "ref": "refs/heads/main", "repository": "example/shop", "run_id": next(RUNS), "run_attempt": 1,
            "event": event, **more.pop("github", {}),
        }  # fmt: skip
        context = {
            "github": github, "secrets": self.secrets | more.pop("secrets", {}), "vars": {}, "inputs": more.pop("inputs", {}),
            "environment": self.environment,
        }  # fmt: skip
        ran = self.actions.run(self.developer.tree / ".github/workflows" / file, self.developer.tree, context)
        for name in ("CODEB_API_KEY", "IMAGE_REGISTRY_PASSWORD"):
            assert self.secrets[name] not in json.dumps(ran.jobs)
        return ran

    def push(self, message: str = "a change", **more: Any) -> Ran:
        return self.run("deploy.yml", {"head_commit": {"message": message}}, github={"event_name": "push"}, **more)

    def dispatch(self, action: str, reason: str = "", **github: str) -> Ran:
        about = {"event_name": "workflow_dispatch", **github}
        return self.run("deploy.yml", {}, github=about, inputs={"action": action, "reason": reason})

    def pull(self, action: str, repository: str = "example/shop", author: str = "ana") -> Ran:
        head = {"sha": self.commit, "ref": "fix", "repo": {"full_name": repository}}
        pull = {"number": 12, "head": head, "user": {"login": author}}
        event = {"action": action, "pull_request": pull}
        return self.run("preview.yml", event, github={"event_name": "pull_request", "ref": "refs/pull/12/merge"})

    def slots(self, environment: str = "production") -> dict[str, Any]:
        return self.stage.call("slot_status", projectName=self.stage.project, environment=environment)

    @property
    def deployments(self) -> list[str | None]:
        now = self.slots()
        return [now[name]["deploymentId"] for name in ("blue", "green")]


@pytest.fixture(scope="module")
def actions() -> Actions:
    return Actions()


@pytest.fixture(scope="module")
def hub(docker: NewerDocker, registry: RealRegistry, actions: Actions, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    folder = tmp_path_factory.mktemp("developer")
    with QuickStage(**registry.settings) as stage:
        stage.call("project_create", projectName=stage.project, healthPath="/health")
        developer = Developer(stage, registry, folder, docker.environment(folder))
        (developer.tree / "Dockerfile").write_text(DOCKERFILE.format(base=based(registry)))
        developer.change("workflows")
        written = developer.we("workflow", "init")
        assert written.returncode == 0, written.stderr
        yield Hub(developer, stage, actions, folder / "runner")
        forget(stage, registry)


def test_what_is_written_passes_all_four(hub: Hub, actions: Actions, tmp_path: Path) -> None:
    """Every variant: GitHub's own parser, the schema, zizmor, shellcheck."""
    variants = {
        "plain": [], "promoting": ["--auto-promote", "--runner-labels", "self-hosted", "--runner-labels", "linux"],
        "none": ["--cache", "none", "--branch", "release/v1", "-e", "staging"],
        "s3": ["--cache", "s3", "--s3-endpoint", "https://s3.example.com:9000", "--s3-bucket", "build-cache"],
        "part": ["--context", "apps/web"],
    }  # fmt: skip
    files = []
    for name, words in variants.items():
        body = json.loads(hub.developer.we("workflow", "init", "--json", *words).stdout)
        assert body["success"], body
        for each in body["files"]:
            path = tmp_path / name / each["path"]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(each["content"])
            files.append(path)
    assert len(files) == 10
    assert actions.faults(files) == []
    bad = files[0].parent / "bad.yml"
    bad.write_text(
        files[0].read_text().replace("contents: read", "contents: all").replace("quoted() {", "quoted() {\n          if x")
    )
    assert len(actions.faults([bad])) >= 2, "the checkers see faults"


def test_a_push_is_built_deployed_and_verified_and_completes_its_task(hub: Hub, registry: RealRegistry) -> None:
    task = hub.stage.call("task_create", projectName=hub.stage.project, title="Pay by invoice", branch="main")
    identity = task["task"]["taskId"]
    hub.developer.change("first")
    ran = hub.push(f"Invoices ({identity})")
    assert ran.result("deploy") == "success", ran.log("deploy")
    assert set(ran.steps("deploy").values()) == {"success"}
    assert ran.result("switch") == "skipped"
    blue = hub.slots()["blue"]
    digest = registry.manifest(hub.stage.project, hub.commit)[1]["docker-content-digest"]
    assert (blue["state"], blue["version"], blue["digest"]) == ("deployed", hub.commit, digest)
    assert hub.stage.call("task_get", taskId=identity)["task"]["status"] == "done"

    promoted = hub.dispatch("promote")
    assert (promoted.result("switch"), promoted.result("deploy")) == ("success", "skipped"), promoted.log("switch")
    assert hub.slots()["activeSlot"] == "blue"


def test_the_next_one_begins_with_its_cache_is_promoted_and_taken_back(hub: Hub, docker: NewerDocker, tmp_path: Path) -> None:
    """What the commit says is text: nothing of it is run here or by the runner."""
    canary = tmp_path / "canary"
    docker.forget()
    hub.developer.change("second")
    ran = hub.push(HOSTILE.format(canary=canary) + " task_" + "0" * 28)
    assert ran.result("deploy") == "success", ran.log("deploy")
    assert not canary.exists()
    assert "inferred cache manifest type" in ran.log("deploy"), "the cache was there, and was read"
    assert hub.slots()["green"]["version"] == hub.commit
    assert hub.dispatch("promote").result("switch") == "success"
    assert hub.slots()["activeSlot"] == "green"
    back = hub.dispatch("rollback", f"$(touch {canary}) '\"\n::error::mine")
    assert back.result("switch") == "success", back.log("switch")
    assert hub.slots()["activeSlot"] == "blue"
    assert not canary.exists()


def test_one_that_promotes_by_itself_says_that_the_task_is_live(hub: Hub) -> None:
    """Written anew over a file that nobody changed; what was verified is what gets the traffic."""
    assert hub.developer.we("workflow", "init", "--auto-promote").returncode == 0
    task = hub.stage.call("task_create", projectName=hub.stage.project, title="At once", branch="main")["task"]["taskId"]
    hub.developer.change("third")
    ran = hub.push(f"At once: {task}")
    assert ran.result("deploy") == "success", ran.log("deploy")
    now = hub.slots()
    assert now[now["activeSlot"]]["version"] == hub.commit
    assert hub.stage.call("task_get", taskId=task)["task"]["status"] == "deployed"


def test_a_wrong_key_builds_nothing(hub: Hub) -> None:
    before = hub.deployments
    ran = hub.push(secrets={"CODEB_API_KEY": "codeb_main_member_" + "0" * 32})
    assert ran.result("deploy") == "failure"
    steps = ran.steps("deploy")
    assert (steps["What this job needs"], steps["Ready"], steps["Build and push"]) == ("success", "failure", "skipped")
    assert "::error::CodeB refused scan: " in ran.log("deploy")
    none = hub.push(secrets={"CODEB_API_KEY": ""})
    assert "The repository has no secret CODEB_API_KEY." in none.log("deploy")
    assert hub.deployments == before


def test_a_broken_build_and_a_version_that_dies_deploy_nothing(hub: Hub) -> None:
    file, before = hub.developer.tree / "Dockerfile", hub.deployments
    kept = file.read_text()
    file.write_text(kept + 'RUN ["python3", "-c", "print(\'::add-path::/tmp/x\'); raise SystemExit(3)"]\n')
    broken = hub.push()
    assert broken.steps("deploy")["Build and push"] == "failure"
    assert broken.steps("deploy")["Deploy"] == "skipped"
    file.write_text(kept + "ENV EXIT_CODE=3\n")
    hub.developer.change("dies")
    dies = hub.push()
    file.write_text(kept)
    assert dies.steps("deploy")["Deploy"] == "failure", dies.log("deploy")
    assert dies.steps("deploy")["Verify"] == "skipped"
    assert "did not succeed" in dies.log("deploy")
    assert hub.deployments == before
    for log in (broken.log("deploy"), dies.log("deploy")):
        _only_ours_are_commands(log)


def _only_ours_are_commands(log: str) -> None:
    """What the runner would take for a command is what the steps say themselves."""
    ends = ""
    for line in log.splitlines():
        if ends:
            ends = "" if line == f"::{ends}::" else ends
        elif line.startswith("::stop-commands::"):
            ends = line.removeprefix("::stop-commands::")
        else:
            assert not line.startswith("::") or line.startswith("::error::"), line
            assert "add-path" not in line
    assert ends == ""


def test_another_branch_switches_nothing(hub: Hub) -> None:
    before = hub.slots()["activeSlot"]
    for action in ("deploy", "promote", "rollback"):
        ran = hub.dispatch(action, ref="refs/heads/other")
        assert {ran.result("deploy"), ran.result("switch")} == {"skipped"}
    assert hub.slots()["activeSlot"] == before


def test_a_pull_request_has_a_preview_until_it_closes(hub: Hub) -> None:
    """And one of somebody else's repository has none: it would run with our secrets."""
    for stranger in (hub.pull("opened", repository="stranger/shop"), hub.pull("opened", author="dependabot[bot]")):
        assert {stranger.result(each) for each in ("preview", "remove")} == {"skipped"}
    hub.developer.change("of the pull request")
    opened = hub.pull("opened")
    assert (opened.result("preview"), opened.result("remove")) == ("success", "skipped"), opened.log("preview")
    kept = hub.stage.call("preview_list", projectName=hub.stage.project)["previews"]
    assert [(each["pullRequest"], each["state"], each["version"]) for each in kept] == [(12, "live", hub.commit)]
    assert kept[0]["url"] in opened.jobs["preview"]["summary"]
    assert hub.stage.public(f"{hub.stage.project}-pr-12.localhost")[0] == 200
    hub.developer.change("more of it")
    again = hub.pull("synchronize")
    assert again.result("preview") == "success", again.log("preview")
    now = hub.stage.call("preview_list", projectName=hub.stage.project)["previews"]
    assert [(each["url"], each["version"]) for each in now] == [(kept[0]["url"], hub.commit)]
    for _ in range(2):
        closed = hub.pull("closed")
        assert (closed.result("remove"), closed.result("preview")) == ("success", "skipped"), closed.log("remove")
    assert hub.stage.call("preview_list", projectName=hub.stage.project)["previews"] == []
