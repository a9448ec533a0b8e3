"""`we plan` and `we apply`: what is asked, what is shown, what is called, and what is not when something moved."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from codeb.entry.cli import exits
from tests.unit.entry.cli.conftest import Fake, We

OK = {"success": True, "summary": "Done.", "next": [], "warnings": []}
PROJECT = {
    "projectName": "shop", "team": "main", "type": "docker", "state": "ready", "containerPort": 3000, "healthPath": "/",
    "memoryMb": 512, "cpus": 1.0, "autoRollback": True, "watchSeconds": 60,
}  # fmt: skip
FILE = 'project = "shop"\nauto_rollback = false\nwatch_seconds = 90\n[[domains]]\nname = "shop.example.com"\n'
UPDATE = {"projectName": "shop", "autoRollback": False, "watchSeconds": 90}
SETUP = {"projectName": "shop", "environment": "production", "domain": "shop.example.com"}
PLANS = {"project_update": "plan_" + "1" * 32, "domain_setup": "plan_" + "2" * 32}


def project(**more: Any) -> dict[str, Any]:
    return {**OK, "project": {**PROJECT, "environments": [{"environment": "production"}], **more}, "slots": {}}


def domains(*names: tuple[str, str | None]) -> dict[str, Any]:
    return {**OK, "more": False, "domains": [{"domain": n, "environment": "production", "redirectTo": to} for n, to in names]}


def drafted(tool: str, *changes: str) -> dict[str, Any]:
    return {**OK, "dryRun": True, "planId": PLANS[tool], "plan": {}, "changes": list(changes)}


def before(fake: Fake) -> None:
    """The project is there, as it is by default; once everything is called it is as the file says."""
    fake.says("project_get", project())
    fake.says("project_get", project(autoRollback=False, watchSeconds=90))
    fake.says("domain_list", domains())
    fake.says("domain_list", domains(("shop.example.com", None)))


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Somebody sits there and answers."""

    def answers(word: bool) -> None:
        monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
        monkeypatch.setattr("click.confirm", lambda *_, **__: word)

    return answers


def test_a_plan_only_reads_and_says_by_its_exit_code_whether_something_differs(fake: Fake, we: We, here: Path) -> None:
    (here / "codeb.toml").write_text(FILE)
    before(fake)
    said = we("plan")
    assert said.code == exits.DIFFERS == 8
    assert "~ auto_rollback: true -> false" in said.out
    assert "+ domain shop.example.com of production" in said.out
    assert f"we tool domain_setup '{json.dumps(SETUP)}'" in said.out
    assert {name for name, _, _ in fake.calls} == {"project_get", "domain_list"}, "storage is not asked for: it is not named"
    again = we("plan", str(here))
    assert (again.code, again.out) == (exits.OK, "shop is as codeb.toml says.\n")


def test_a_plan_as_json(fake: Fake, we: We, here: Path) -> None:
    (here / "codeb.toml").write_text('project = "shop"\nenvironments = ["production", "staging"]\ndomains = []\n')
    fake.says("project_get", project())
    fake.says("domain_list", domains(("old.example.com", None), ("www.old.example.com", "old.example.com")))
    body = json.loads(we("plan", "--json").out)
    assert body["project"] == "shop"
    assert [(each["tool"], each["params"]) for each in body["changes"]] == [
        ("workflow_init", {"projectName": "shop", "environments": ["staging"]})
    ]
    assert [(each["tool"], each["params"]["domain"]) for each in body["differs"]] == [
        ("domain_delete", "old.example.com"), ("domain_delete", "www.old.example.com"),
    ]  # fmt: skip


def test_what_apply_cannot_change_is_told_and_is_no_success(fake: Fake, we: We, here: Path) -> None:
    (here / "codeb.toml").write_text('project = "shop"\n[database]\nenvironments = []\n')
    fake.says("project_get", project())
    fake.says("db_list", {**OK, "storage": [{"environment": "production", "kind": "postgres"}]})
    for command in ("plan", "apply"):
        said = we(command)
        assert said.code == exits.DIFFERS
        assert "database of production is not in the file; apply does not change that" in said.out
        assert "we db delete -p shop -e production" in said.out
    assert {name for name, _, _ in fake.calls} == {"project_get", "db_list"}


def test_apply_calls_each_change_with_the_plan_of_its_own_dry_run(fake: Fake, we: We, here: Path) -> None:
    (here / "codeb.toml").write_text(FILE)
    before(fake)
    for tool, done in (("project_update", OK), ("domain_setup", {**OK, "state": "active"})):
        fake.says(tool, drafted(tool, "this"))
        if tool == "domain_setup":
            fake.says(tool, drafted(tool, "this"))
        fake.says(tool, done)
    said = we("apply", "--yes")
    assert said.code == exits.OK, said
    assert fake.asked("project_update") == [{**UPDATE, "dryRun": True}, {**UPDATE, "planId": PLANS["project_update"]}]
    first, again, real = fake.asked("domain_setup")
    assert first == again == {**SETUP, "dryRun": True}
    assert real == {**SETUP, "planId": PLANS["domain_setup"], "wait": False}
    assert said.out.rstrip().endswith("shop is as codeb.toml says.")
    order = [name for name, params, _ in fake.calls if not params.get("dryRun")]
    assert order.index("project_update") < order.index("domain_setup")


def test_nothing_is_applied_unless_somebody_says_so(fake: Fake, we: We, here: Path, terminal: Any) -> None:
    (here / "codeb.toml").write_text(FILE)
    fake.says("project_get", project())
    fake.says("domain_list", domains())
    for tool in PLANS:
        fake.says(tool, drafted(tool))
    assert we("apply").code == exits.USAGE
    terminal(False)
    said = we("apply")
    assert (said.code, "Nothing was applied" in said.err) == (exits.FAILED, True)
    assert all(params.get("dryRun") for name, params, _ in fake.calls if name in PLANS)


def test_a_refused_dry_run_applies_nothing(fake: Fake, we: We, here: Path) -> None:
    (here / "codeb.toml").write_text(FILE)
    before(fake)
    fake.says("project_update", drafted("project_update"))
    fake.says("domain_setup", {"success": False, "error": "It is taken.", "code": "domain_taken", "hint": "", "details": {}}, 409)
    said = we("apply", "--yes")
    assert (said.code, "It is taken." in said.err) == (exits.FAILED, True)
    assert fake.asked("project_update") == [{**UPDATE, "dryRun": True}]


def test_it_stops_at_the_first_failure_and_says_what_was_applied(fake: Fake, we: We, here: Path) -> None:
    (here / "codeb.toml").write_text(FILE)
    before(fake)
    stale = {
        "success": False,
        "error": "Things changed since the plan was made.",
        "code": "stale_plan",
        "hint": "",
        "details": {},
    }
    fake.says("project_update", drafted("project_update"))
    fake.says("project_update", stale, 409)
    fake.says("domain_setup", drafted("domain_setup"))
    said = we("apply", "--yes")
    assert said.code == exits.FAILED
    assert "Applied: 0 of 2 calls" in said.err
    assert "not applied: + domain shop.example.com" in said.err
    assert all(params.get("dryRun") for params in fake.asked("domain_setup"))


def test_a_later_call_that_would_do_more_than_was_shown_is_not_made(fake: Fake, we: We, here: Path) -> None:
    (here / "codeb.toml").write_text(FILE)
    before(fake)
    fake.says("project_update", drafted("project_update"))
    fake.says("project_update", OK)
    fake.says("domain_setup", drafted("domain_setup", "make the zone", "serve it"))
    fake.says("domain_setup", drafted("domain_setup", "take it from another"))
    said = we("apply", "--yes")
    assert said.code == exits.FAILED
    assert "something else by now" in said.err
    assert "Applied: 1 of 2 calls" in said.err
    assert all(params.get("dryRun") for params in fake.asked("domain_setup"))


def test_a_domain_that_waits_for_its_proof_is_not_done(fake: Fake, we: We, here: Path) -> None:
    (here / "codeb.toml").write_text('project = "shop"\n[[domains]]\nname = "shop.example.com"\n')
    fake.says("project_get", project())
    fake.says("domain_list", domains())
    fake.says("domain_setup", drafted("domain_setup"))
    fake.says(
        "domain_setup", {**OK, "state": "pending", "operationId": None, "setAtRegistrar": [{"name": "_codeb.shop.example.com"}]}
    )
    said = we("apply", "--yes")
    assert said.code == exits.DIFFERS
    assert "_codeb.shop.example.com" in said.out
    assert said.out.count("+ domain shop.example.com") == 2


def test_all_that_is_wrong_with_the_file_is_told_and_nothing_is_asked(fake: Fake, we: We, here: Path) -> None:
    (here / "codeb.toml").write_text('project = "shop"\ntype = "php"\nTOKEN = "canary"\n')
    for command in ("plan", "apply"):
        said = we(command)
        assert said.code == exits.USAGE
        assert "line 2, type: is one of nextjs" in said.err
        assert "line 3, TOKEN: variables and secrets" in said.err
        assert "canary" not in said.out + said.err
    assert fake.calls == []


def test_where_there_is_no_file_and_where_it_is_the_servers(fake: Fake, we: We, here: Path, tmp_path: Path) -> None:
    said = we("plan")
    assert (said.code, "we init" in said.err) == (exits.USAGE, True)
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "codeb.toml").write_text("port = 9101\n")
    said = we("plan", str(tmp_path / "home"))
    assert (said.code, "settings of the server" in said.err) == (exits.USAGE, True)
    (here / "codeb.toml").write_bytes(b"\xff\xfe")
    assert we("plan").code == exits.USAGE
    assert fake.calls == []


def test_a_deleted_project_is_not_set_up_anew(fake: Fake, we: We, here: Path) -> None:
    (here / "codeb.toml").write_text('project = "shop"\n')
    fake.says("project_get", project(state="deleted") | {"next": [{"tool": "undelete", "params": {"projectName": "shop"}}]})
    said = we("apply", "--yes")
    assert (said.code, "shop is deleted" in said.err, "we undelete" in said.err) == (exits.FAILED, True, True)


def test_many_domains_are_read_page_by_page(fake: Fake, we: We, here: Path) -> None:
    (here / "codeb.toml").write_text(
        'project = "shop"\n[[domains]]\nname = "a.example.com"\n[[domains]]\nname = "b.example.com"\n'
    )
    fake.says("project_get", project())
    fake.says("domain_list", {**domains(("a.example.com", None)), "more": True})
    fake.says("domain_list", domains(("b.example.com", None)))
    assert we("plan").code == exits.OK
    assert [each.get("after") for each in fake.asked("domain_list")] == [None, "a.example.com"]
