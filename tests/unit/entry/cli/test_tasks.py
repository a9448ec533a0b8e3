"""`we task …`: paths from where one stands, the branch that is checked out, and what ends with which code."""

import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.unit.entry.cli.conftest import Fake, We, fake, here, we

__all__ = ["fake", "here", "we"]

TASK = "task_0123456789abcdef0123456789ab"
DONE: dict[str, Any] = {"success": True, "summary": "It is done.", "next": [], "warnings": []}
LOCK = {
    "path": "src/pay.py", "lockedPath": "src", "taskId": TASK, "title": "Pay", "status": "draft", "branch": "feature/\u202epay",
    "author": "main/member/key_1", "until": "2999-01-01T00:00:00+00:00",
}  # fmt: skip


@pytest.fixture
def repo(here: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with a branch checked out, and a folder in it to stand in."""
    (here / ".git").rmdir()
    subprocess.run(["git", "init", "-q", "-b", "fix/cart", str(here)], check=True)
    (here / "codeb.toml").write_text('project = "shop"\n')
    (here / "src").mkdir()
    monkeypatch.chdir(here / "src")
    return here


def test_paths_are_the_repository_own_and_the_branch_is_the_one_checked_out(fake: Fake, we: We, repo: Path) -> None:
    fake.says("task_create", DONE)
    said = we("task", "create", "Pay by invoice", "pay.py", "../README.md", str(repo / "docs"), "--lock-ttl", "2h")
    assert (said.code, fake.asked("task_create")) == (
        0,
        [
            {
                "projectName": "shop", "title": "Pay by invoice", "branch": "fix/cart",
                "files": ["src/pay.py", "README.md", "docs"], "lockTtl": "2h",
            }
        ],
    )  # fmt: skip
    we("task", "create", "--title", "x", "--branch", "main", "-p", "blog", "--files", "lib")
    assert fake.asked("task_create")[1] == {"projectName": "blog", "title": "x", "branch": "main", "files": ["lib"]}
    for words in (["a title", "../../elsewhere"], ["a title", ".."], ["--title", "x", "y"], ["a title", "/etc/passwd"]):
        assert we("task", "create", *words).code == 2, words
    assert len(fake.asked("task_create")) == 2


def test_a_refusal_says_who_has_which_file(fake: Fake, we: We, repo: Path) -> None:
    refused = {"success": False, "error": "It is locked.", "code": "files_locked", "hint": "", "details": {"locks": [LOCK]}}
    fake.says("task_create", refused, 409)
    said = we("task", "create", "Pay", "pay.py")
    assert said.code == 1
    assert f"src/pay.py: {TASK} on feature/pay by main/member, free in " in said.err


def test_a_path_by_a_link_into_the_repository(fake: Fake, we: We, repo: Path, tmp_path: Path) -> None:
    fake.says("task_check", DONE | {"free": True, "locked": [], "own": []})
    (tmp_path / "link").symlink_to(repo / "src")
    assert we("task", "check", str(tmp_path / "link" / "pay.py")).code == 0
    assert fake.asked("task_check")[0]["paths"] == ["src/pay.py"]


def test_a_check_says_who_has_it_and_ends_so(fake: Fake, we: We, repo: Path) -> None:
    fake.says("task_check", DONE | {"free": False, "locked": [LOCK], "own": []})
    said = we("task", "check", "pay.py")
    assert fake.asked("task_check") == [{"projectName": "shop", "paths": ["src/pay.py"], "branch": "fix/cart"}]
    assert said.code == 1
    assert TASK in said.out and "feature/pay" in said.out and "main/member" in said.out and "key_1" not in said.out
    assert we("task", "check").code == 2
    fake.answers.clear()
    fake.says("task_check", DONE | {"free": True, "locked": [], "own": [LOCK]})
    free = we("task", "check", "pay.py", "--json")
    assert (free.code, '"free": true' in free.out) == (0, True)


def test_outside_a_repository_paths_are_as_they_are_said(fake: Fake, we: We, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(here.parent.parent))
    (here / ".git").rmdir()
    fake.says("task_check", DONE | {"free": True, "locked": [], "own": []})
    assert we("task", "check", "src/pay.py", "-p", "shop").code == 0
    assert fake.asked("task_check")[0]["paths"] == ["src/pay.py"]
    said = we("task", "create", "Pay", "-p", "shop")
    assert (said.code, "--branch" in said.err) == (2, True)


def test_a_task_or_a_message_is_completed_and_not_both(fake: Fake, we: We, here: Path) -> None:
    fake.says("task_complete", DONE)
    (here / "message").write_text(f"Pay\n\nTask: {TASK}\n")
    for words, params in (
        ([TASK], {"taskId": TASK}),
        (["--task-id", TASK], {"taskId": TASK}),
        (["-m", f"Pay ({TASK})"], {"commitMessage": f"Pay ({TASK})"}),
        (["--message", ""], {"commitMessage": ""}),
        (["-F", "message"], {"commitMessage": f"Pay\n\nTask: {TASK}\n"}),
        (["--commit-message", "message", "--operation-id", "op_0123456789abcdef"],
         {"commitMessage": f"Pay\n\nTask: {TASK}\n", "operationId": "op_0123456789abcdef"}),
    ):  # fmt: skip
        fake.calls.clear()
        assert we("task", "complete", *words).code == 0, words
        assert fake.asked("task_complete") == [params]
    fake.calls.clear()
    for wrong in ([], [TASK, "-m", "x"], ["-m", "x", "-F", "message"], [TASK, "--task-id", TASK]):
        assert we("task", "complete", *wrong).code == 2, wrong
    assert fake.calls == []


def test_the_list_is_of_the_project_one_stands_in(fake: Fake, we: We, repo: Path) -> None:
    row = {
        "taskId": TASK, "projectName": "shop", "title": "Pay\u202e later", "branch": "feature/pay", "status": "review",
        "author": "ana", "createdAt": "2026-03-01T12:00:00+00:00", "updatedAt": "2026-03-01T12:00:00+00:00",
    }  # fmt: skip
    fake.says("task_list", DONE | {"tasks": [row], "more": True})
    said = we("task", "list", "--status", "review")
    assert said.code == 0 and TASK in said.out and "Pay later" in said.out and f"--before {TASK}" in said.err
    we("task", "list", "--all")
    we("task", "list", "-p", "blog")
    assert fake.asked("task_list") == [{"projectName": "shop", "status": "review"}, {}, {"projectName": "blog"}]
    assert we("task", "list", "--all", "-p", "blog").code == 2
    fake.answers.clear()
    fake.says("task_list", DONE | {"summary": "0 tasks, newest first.", "tasks": [], "more": False})
    assert we("task", "list").out == "0 tasks, newest first.\n"


def test_the_rest_falls_out_of_the_catalogue(fake: Fake, we: We, repo: Path) -> None:
    fake.says("task_update", DONE)
    assert we("task", "update", TASK, "--status", "in-progress", "--add-files", "a", "--add-files", "b").code == 0
    assert fake.asked("task_update") == [{"taskId": TASK, "status": "in-progress", "addFiles": ["a", "b"]}]
