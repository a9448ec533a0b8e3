"""Pull requests over the whole way: a real server, its HTTP client, and GitHub's API as the stand-in has it. The token stays
where it belongs (S11).
"""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.nursery import QuickStage
from tests.e2e.sweep import Canary, hits, left
from tests.github import TOKEN, Github, github
from tests.stage import Stage

pytestmark = [pytest.mark.docker, pytest.mark.proxy]
SHOP = "acme/shop"


@pytest.fixture(scope="module")
def host() -> Iterator[Github]:
    with github() as found:
        yield found


def others(stage: Stage) -> Iterator[tuple[str, bytes]]:
    """What others on the machine see of it."""
    yield "environment of Caddy", Path(f"/proc/{stage.proxy_pid}/environ").read_bytes()
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            yield f"cmdline of {process.name}", (process / "cmdline").read_bytes()


def test_a_pull_request_is_made_reviewed_and_merged_and_its_task_is_done(host: Github) -> None:
    repo, seen = host.make(SHOP, "feature/pay", "other"), list[tuple[str, bytes]]()
    theirs = host.open(SHOP, "other")
    with QuickStage(GITHUB_TOKEN=TOKEN, GITHUB_URL=host.url) as stage:
        who = {"projectName": stage.project}

        def call(tool: str, **params: Any) -> dict[str, Any]:
            said: dict[str, Any] = stage.call(tool, **who, **params)
            seen.append((tool, repr(said).encode()))
            return said

        call("project_create")
        call("project_update", repository=SHOP)
        task = call("task_create", title="Pay", branch="feature/pay", files=["src/pay.py"])["task"]["taskId"]
        made = call("pr_create", branch="feature/pay", title="Pay by invoice", text="Because.")
        ours = made["pullRequest"]
        assert [each["pullRequest"] for each in call("pr_list")["pulls"]] == [ours, theirs]
        status, said = stage.ask("pr_review", {**who, "pullRequest": ours, "sha": made["sha"], "verdict": "approve"})
        assert (status, said["code"], said["untrusted"]) == (409, "github_refused", ["details.github"]), said
        call("pr_review", pullRequest=theirs, sha=repo.branches["other"], verdict="approve")
        assert [each["state"] for each in repo.reviews[theirs]] == ["APPROVED"]
        # GitHub does it, and its answer is lost each time it is told
        host.mute = True
        merged = call("pr_merge", pullRequest=ours, sha=made["sha"], method="squash")
        host.mute = False
        assert (merged["state"], merged["mergedAs"]) == ("merged", repo.branches["main"])
        assert len([each for each in host.calls if each[0] == "PUT"]) == 1
        assert [each["taskId"] for each in call("git_sync")["tasksDone"]] == [task]
        findings = {each["name"]: each["status"] for each in stage.call("health_check")["checks"]}
        assert findings["github"] == "pass"
        for tool in ("operation_list", "audit_list", "event_list", "health_check", "project_list"):
            seen.append((tool, repr(stage.call(tool)).encode()))
        seen += others(stage)
        assert stage.stop() == 0
        assert (
            hits([Canary("the token of GitHub", TOKEN.encode())], iter([*seen, *left(stage), ("log", stage.log.encode())])) == []
        )
        assert "Traceback" not in stage.log
