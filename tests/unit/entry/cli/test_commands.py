"""Every tool has a command with all its params, and `next` calls come back as commands that mean the same."""

import io
import json
import shlex
from pathlib import Path
from typing import Any

import click
import pytest

from codeb.entry.cli.main import root
from codeb.entry.cli.options import options
from codeb.entry.cli.surface import Param, ToolView, suggestion, tools
from codeb.tools.catalog import BY_NAME, TOOLS
from tests.unit.entry.cli.conftest import Fake, We

OK = {"success": True, "summary": "Done.", "next": [], "warnings": []}


def find(tool: ToolView) -> click.Command:
    found: click.Command = root()
    for word in tool.words.split():
        assert isinstance(found, click.Group)
        found = found.commands[word]
    return found


def sample(param: Param) -> Any:
    if param.enum:
        return [param.enum[0]] if param.type == "array" else param.enum[0]
    return {"string": "-a b'c", "integer": 7, "number": 1.5, "boolean": True, "array": ["x", "y"]}[param.type]


def test_the_command_line_knows_the_catalogue() -> None:
    assert [tool.name for tool in tools()] == [tool.name for tool in TOOLS]


@pytest.mark.parametrize("tool", tools(), ids=lambda tool: tool.name)
def test_every_param_is_an_option(tool: ToolView) -> None:
    wire = {each.alias for each in BY_NAME[tool.name].params.model_fields.values()}
    assert {each.name for each in tool.params} == wire
    wire -= {each.name for each in tool.params if each.secret}
    made = {each.name for each in options(tool)}
    found = find(tool)
    there = {each.name for each in found.get_params(click.Context(found))}
    assert wire <= made
    assert wire <= there
    assert not [each.name for each in tool.params if each.secret and each.name in there], "nothing secret on a command line (S11)"
    assert "as_json" in there


@pytest.mark.parametrize("tool", [t for t in tools() if t.name != "health_check"], ids=lambda tool: tool.name)
def test_spoken_comes_back_as_the_same_params(
    tool: ToolView, fake: Fake, we: We, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    left_out = ("wait", "idempotencyKey", "dryRun")
    params = {each.name: sample(each) for each in tool.params if each.name not in left_out and not each.secret}
    (here / ".env").write_text("A=1")
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"info")))
    fake.says(tool.name, {**OK, "whole": True})
    extra = ["--yes"] if tool.risk == "destroys" else []
    said = we(*shlex.split(tool.spoken(params))[1:], "--json", *extra)
    assert said.code == 0, said.err
    files = {".env": None}
    instead = {
        "workflow_scan": {"files": files},
        "env_set": {"values": {"LOG_LEVEL": "info"}},
        "env_sync": {"envContent": "A=1"},
        "env_scan": {"envContent": "A=1"},
    }
    assert fake.asked(tool.name) == [params | instead.get(tool.name, {})]


def test_a_secret_is_not_spoken() -> None:
    tool = next(each for each in tools() if each.name == "env_set")
    assert tool.spoken({"projectName": "shop", "values": {"A": "canary"}}) == "we env set LOG_LEVEL -p shop"


def test_a_false_flag_is_sent_and_an_unsaid_one_is_not(fake: Fake, we: We) -> None:
    fake.says("port_sync", OK)
    we("port", "sync", "--no-fix", "--json")
    we("port", "sync", "--json")
    assert fake.asked("port_sync") == [{"fix": False}, {}]


def test_a_list_is_repeatable_and_the_first_required_param_needs_no_name(fake: Fake, we: We) -> None:
    fake.says("workflow_init", OK)
    we("project", "create", "shop", "--environments", "production", "--environments", "staging", "--json")
    assert fake.asked("workflow_init") == [{"projectName": "shop", "environments": ["production", "staging"]}]


def test_the_text_of_a_file_is_sent_for_its_name(fake: Fake, we: We, tmp_path: Path) -> None:
    file = tmp_path / "ssot.json"
    file.write_text('{"usedPorts": [4100]}\n', encoding="utf-8")
    fake.says("port_import", OK)
    assert we("port", "import", str(file), "--fix", "--json").code == 0
    assert fake.asked("port_import") == [{"content": '{"usedPorts": [4100]}\n', "fix": True}]
    said = we("port", "import", str(tmp_path / "nowhere.json"))
    assert said.code == 2
    assert "cannot read" in said.err
    file.write_bytes(b"\xff\xfe")
    assert we("port", "import", str(file)).code == 2
    assert len(fake.asked("port_import")) == 1


def test_a_name_said_twice_differently_is_refused(fake: Fake, we: We) -> None:
    said = we("port", "get", "shop", "--project", "other")
    assert said.code == 2
    assert fake.calls == []


@pytest.mark.parametrize(
    ("word", "params"),
    [("1.4.2", {"version": "1.4.2"}), ("shop:1", {"image": "shop:1"}), ("host/shop", {"image": "host/shop"})],
)
def test_what_to_deploy(word: str, params: dict[str, str], fake: Fake, we: We) -> None:
    fake.says("deploy", OK)
    we("deploy", word, "-p", "shop", "--promote", "--json")
    assert fake.asked("deploy") == [{"projectName": "shop", "autoPromote": True, **params}]


def test_deploy_of_nothing_is_a_usage_error(fake: Fake, we: We) -> None:
    assert we("deploy", "-p", "shop").code == 2
    assert fake.calls == []


@pytest.mark.parametrize(
    ("typed", "meant"),
    [("depoly", "`deploy`"), ("stauts", "`status`"), ("port_allocate", "`we port allocate`"), ("health_check", "`we health`")],
)
def test_a_misspelt_command_is_answered_with_the_near_one(typed: str, meant: str, we: We) -> None:
    said = we(typed)
    assert said.code == 2
    assert meant in said.err


def test_a_misspelt_verb_too(we: We) -> None:
    assert "`allocate`" in we("port", "alocate").err


def test_the_next_call_to_follow_is_short_and_an_unknown_tool_is_called_raw() -> None:
    assert suggestion("operation_get", {"operationId": "op_1", "waitSeconds": 30}) == "we ops op_1 --follow"
    raw = suggestion("later_tool", {"a": "b c"})
    assert shlex.split(raw) == ["we", "tool", "later_tool", json.dumps({"a": "b c"})]


def test_tool_sends_what_it_is_given(fake: Fake, we: We) -> None:
    fake.says("port_check", {**OK, "port": 4100})
    said = we("tool", "port_check", '{"port": 4100}')
    assert (said.code, fake.asked("port_check")) == (0, [{"port": 4100}])
    assert "4100" in said.out
    assert we("tool", "port_check", "[]").code == 2
    assert we("tool", "port_check", "{").code == 2


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(shell: str, we: We) -> None:
    said = we("completion", shell)
    assert said.code == 0
    assert "_WE_COMPLETE" in said.out


def test_a_clean_up_without_a_plan_shows_one_and_says_how_to_go_on(fake: Fake, we: We) -> None:
    plan = {"dryRun": True, "planId": "plan_1", "changes": ["delete shop@sha256:0 (v1; 9 bytes)"], "plan": {}, "warnings": []}
    again = {"tool": "registry_gc", "params": {"keep": 3, "planId": "plan_1"}, "why": "do exactly this"}
    fake.says("registry_gc", {"success": True, "summary": "Would delete 1 manifest.", **plan, "next": [again]})
    said = we("registry", "gc", "--keep", "3", "--yes")
    assert fake.asked("registry_gc") == [{"keep": 3, "wait": False}]
    assert (said.code, "Nothing was changed." in said.out, "delete shop@sha256:0" in said.out) == (0, True, True)
    assert "we registry gc --keep 3 --plan-id plan_1" in said.err


def test_completion_offers_commands_and_projects(fake: Fake, we: We) -> None:
    from click.shell_completion import ShellComplete

    fake.says("project_list", {**OK, "projects": [{"projectName": "shop"}, {"projectName": "blog"}]})
    complete = ShellComplete(root(), {}, "we", "_WE_COMPLETE")
    assert "deploy" in [each.value for each in complete.get_completions([], "dep")]
    assert [each.value for each in complete.get_completions(["promote", "-p"], "s")] == ["shop"]


def test_completion_is_silent_without_a_server(we: We, monkeypatch: pytest.MonkeyPatch) -> None:
    from click.shell_completion import ShellComplete

    monkeypatch.setenv("CODEB_API_URL", "http://127.0.0.1:1")
    assert ShellComplete(root(), {}, "we", "_WE_COMPLETE").get_completions(["promote", "-p"], "s") == []
