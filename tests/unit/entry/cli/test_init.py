"""`we init`: what is seen, what is written and never written over, what is called."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from codeb.entry.cli import exits
from codeb.entry.cli.beginnings import KEPT, PASSED
from codeb.entry.cli.surface import by_name
from codeb.model.manifest import Manifest, Name, read
from codeb.model.manifest_plan import PARTS, wire
from tests.unit.entry.cli.conftest import Fake, We

DONE = {"success": True, "summary": "Project shop is set up.", "next": [], "warnings": [], "created": True}
DRY = {**DONE, "dryRun": True, "planId": "plan_" + "0" * 32, "plan": {}, "changes": ["set up shop production"]}
REFUSED = {"success": False, "error": "The name shop is not available.", "code": "project_exists", "hint": "", "details": {}}
PACKAGE = {"name": "@acme/shop", "dependencies": {"next": "15"}, "scripts": {"start": "next start -p 3001"}}
CALL = {
    "projectName": "shop",
    "environments": ["production"],
    "type": "nextjs",
    "containerPort": 3001,
    "healthPath": "/api/health",
}


@pytest.fixture
def tree(here: Path) -> Path:
    (here / "package.json").write_text(json.dumps(PACKAGE))
    (here / "app/api/health").mkdir(parents=True)
    (here / "app/api/health/route.ts").touch()
    return here


def serves(fake: Fake) -> None:
    fake.says("workflow_init", DRY)
    fake.says("workflow_init", DONE)


def called(fake: Fake) -> list[dict[str, Any]]:
    """Without the dry runs, and without how they are followed."""
    return [{k: v for k, v in each.items() if k != "wait"} for each in fake.asked("workflow_init") if not each.get("dryRun")]


def test_a_tree_is_seen_its_file_written_and_its_project_set_up(fake: Fake, we: We, tree: Path) -> None:
    serves(fake)
    said = we("init")
    assert said.code == exits.OK, said
    assert "nextjs (package.json: next)" in said.err
    assert "3001 (package.json: scripts.start)" in said.err
    assert "missing: Dockerfile" in said.err
    assert fake.asked("workflow_init")[0] == {**CALL, "dryRun": True}
    assert called(fake) == [CALL]
    text = (tree / "codeb.toml").read_text()
    assert "container_port = 3001  # package.json: scripts.start" in text
    assert read(text) == Manifest(
        "shop", type="nextjs", container_port=3001, health_path="/api/health", environments=("production",)
    )


def test_what_is_said_counts_more_than_what_is_seen(fake: Fake, we: We, tree: Path, tmp_path: Path) -> None:
    serves(fake)
    said = we(
        "init", "My_Web", str(tree), "--database", "--redis", "--domain", "shop.example.com", "--redirect", "--port", "8080",
        "--environments", "production,staging", "--type", "remix", "--memory-mb", "1024", "--cpus", "2", "--no-firewall",
        "--health-path", "/up",
    )  # fmt: skip
    assert said.code == exits.OK, said
    wanted = {
        "projectName": "my-web", "environments": ["production", "staging"], "type": "remix", "containerPort": 8080,
        "healthPath": "/up", "memoryMb": 1024, "cpus": 2.0, "database": True, "redis": True, "domain": "shop.example.com",
        "redirect": True, "firewall": False,
    }  # fmt: skip
    assert called(fake) == [wanted]
    both = ("production", "staging")
    assert read((tree / "codeb.toml").read_text()) == Manifest(
        "my-web", type="remix", container_port=8080, health_path="/up", memory_mb=1024, cpus=2.0, environments=both,
        database=both, redis=both, domains=(Name("shop.example.com", "production", True),),
    )  # fmt: skip


@pytest.mark.parametrize("state", ["pending", "active"])
def test_a_name_that_is_not_proved_yet_is_told_with_what_proves_it(state: str, fake: Fake, we: We, tree: Path) -> None:
    serves(fake)
    record = {"name": "_codeb.example.com", "type": "TXT", "value": "codeb-verify=4711", "why": "proves it"}
    fake.says("domain_setup", {**DRY, "plan": {"state": state, "setAtRegistrar": [record]}})
    said = we("init", "--domain", "shop.example.com")
    assert said.code == exits.OK
    assert ("_codeb.example.com  TXT  codeb-verify=4711" in said.err) is (state == "pending")
    wanted = {"projectName": "shop", "environment": "production", "domain": "shop.example.com", "dryRun": True}
    assert fake.asked("domain_setup") == [wanted]


def test_again_is_harmless_and_the_file_is_what_counts(fake: Fake, we: We, tree: Path) -> None:
    serves(fake)
    (tree / "codeb.toml").write_text('project = "other"\ncontainer_port = 4000\n[database]\n')
    assert we("init").code == exits.OK
    wanted = {**CALL, "projectName": "other", "containerPort": 4000, "database": True}
    assert [{k: v for k, v in each.items() if k != "wait"} for each in fake.asked("workflow_init")] == [wanted]
    assert (tree / "codeb.toml").read_text() == 'project = "other"\ncontainer_port = 4000\n[database]\n'
    assert we("init", "other", "--port", "4000", "--database").code == exits.OK, "said the same"


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("shop",), '+project = "shop"'), (("--port", "4001"), "+container_port = 4001"), (("--redis",), "+[redis]"),
        (("--no-database",), "+environments = []"), (("--domain", "a.example.com"), '+name = "a.example.com"'),
        (("--environments", "production,staging"), '+environments = ["production", "staging"]'),
    ],
)  # fmt: skip
def test_a_file_that_says_something_else_is_not_written_over(
    words: tuple[str, ...], line: str, fake: Fake, we: We, tree: Path
) -> None:
    text = 'project = "other"\ncontainer_port = 4000\n[database]\n'
    (tree / "codeb.toml").write_text(text)
    said = we("init", *words)
    assert said.code == exits.FAILED
    assert f"  {line}" in said.err.splitlines()
    assert (tree / "codeb.toml").read_text() == text
    assert fake.calls == []


def test_what_the_server_refuses_leaves_no_file(fake: Fake, we: We, tree: Path) -> None:
    fake.says("workflow_init", REFUSED, 409)
    said = we("init")
    assert (said.code, "not available" in said.err) == (exits.FAILED, True)
    assert not (tree / "codeb.toml").exists()


def test_what_fails_after_it_is_written_goes_on_with_the_next_call(fake: Fake, we: We, tree: Path) -> None:
    fake.says("workflow_init", DRY)
    fake.says("workflow_init", REFUSED, 409)
    said = we("init")
    assert (said.code, "`we init` goes on from there" in said.err) == (exits.FAILED, True)
    assert read((tree / "codeb.toml").read_text()).project == "shop"


def test_a_dry_run_writes_nothing_and_shows_the_file(fake: Fake, we: We, tree: Path) -> None:
    fake.says("workflow_init", DRY)
    said = we("init", "--dry-run", "--database")
    assert said.code == exits.OK
    assert "Would write" in said.out
    assert "    [database]" in said.out.splitlines()
    assert "set up shop production" in said.out
    assert fake.asked("workflow_init") == [{**CALL, "database": True, "dryRun": True}]
    assert not (tree / "codeb.toml").exists()


def test_only_a_terminal_is_asked(fake: Fake, we: We, tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    serves(fake)
    asked: list[str] = []
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    monkeypatch.setattr("click.confirm", lambda text, **_: asked.append(text))
    said = we("init")
    assert (said.code, "Nothing was done" in said.err, len(asked)) == (exits.FAILED, True, 1)
    assert not (tree / "codeb.toml").exists()
    assert called(fake) == []
    assert we("init", "--yes").code == exits.OK
    assert len(asked) == 1


@pytest.mark.parametrize(
    "words",
    [
        ("a", "b", "c"), ("./nowhere",), ("-p", "a", "b"), ("x--y",), ("--environments", "prod"), ("--redirect",),
        ("--domain", "localhost"), ("--memory-mb", "1"), ("--type", "php"), ("--port", "0"), ("--health-path", "up"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_a_usage_error_and_nothing_is_done(words: tuple[str, ...], fake: Fake, we: We, tree: Path) -> None:
    said = we("init", *words)
    assert said.code == exits.USAGE, said
    assert fake.calls == []
    assert not (tree / "codeb.toml").exists()


def test_the_folder_names_what_nothing_else_does(fake: Fake, we: We, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    serves(fake)
    (tmp_path / "My_Site").mkdir()
    assert we("init", str(tmp_path / "My_Site")).code == exits.OK
    assert called(fake) == [{"projectName": "my-site", "environments": ["production"]}]
    (tmp_path / "0").mkdir()
    assert we("init", str(tmp_path / "0")).code == exits.USAGE


def test_a_file_in_the_way_is_left(fake: Fake, we: We, tree: Path) -> None:
    (tree / "codeb.toml").symlink_to(tree / "nowhere")
    assert we("init").code == exits.USAGE
    assert not (tree / "nowhere").exists()
    assert fake.calls == []


def test_what_init_does_not_set_up_is_left_to_apply(fake: Fake, we: We, tree: Path) -> None:
    fake.says("workflow_init", DONE)
    (tree / "codeb.toml").write_text('project = "shop"\nwatch_seconds = 90\n')
    said = we("init")
    assert (said.code, "`we plan`" in said.err) == (exits.OK, True)
    assert "watchSeconds" not in called(fake)[0]


def test_a_file_that_appears_meanwhile_is_left(fake: Fake, we: We, tree: Path) -> None:
    answer = fake.next
    fake.says("workflow_init", DRY)

    def meanwhile(tool: str) -> tuple[int, dict[str, Any]]:
        (tree / "codeb.toml").write_text("somebody else's")
        return answer(tool)

    fake.next = meanwhile  # type: ignore[method-assign]
    assert we("init").code == exits.USAGE
    assert (tree / "codeb.toml").read_text() == "somebody else's"
    assert called(fake) == []


def test_no_option_is_left_unheard(fake: Fake, we: We, tree: Path) -> None:
    """What the tool takes and the file does not keep goes with the call; nothing said is dropped in silence."""
    heard = {*map(wire, KEPT), *PASSED, *PARTS, "projectName", "environments", "domain", "redirect"}
    assert {each.name for each in by_name()["workflow_init"].params} == heard
    serves(fake)
    assert we("init", "--database", "--dedicated").code == exits.OK
    assert called(fake) == [{**CALL, "database": True, "dedicated": True}]
