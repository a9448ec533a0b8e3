"""The guard before calls of CodeB: a person is asked before production is changed, by whichever name a tool is called."""

import json
from typing import Any

import pytest

import shell_rules
import tool_rules
from codeb.tools.catalog import BY_NAME, TOOLS
from codeb.tools.tool import Risk
from tests.unit.plugin.conftest import Hook

PREFIXES = ("mcp__plugin_we_codeb__", "mcp__codeb__")
PLACE = {"projectName": "shop", "environment": "production"}


def reason(name: str, arguments: dict[str, Any]) -> str | None:
    verdict = tool_rules.judge_mcp(name, arguments)
    assert verdict is None or verdict.decision == "ask"
    return verdict.reason if verdict else None


@pytest.mark.parametrize("prefix", PREFIXES)
def test_production_is_asked_about_with_what_would_happen(prefix: str) -> None:
    assert (
        reason(f"{prefix}promote", PLACE)
        == "promote: All traffic of shop in production moves to the version that is deployed now."
    )
    assert "idle slot of shop in production" in str(reason(f"{prefix}deploy", PLACE))
    assert "all traffic moves to it" in str(reason(f"{prefix}deploy", {**PLACE, "autoPromote": True}))
    for tool in ("rollback", "env_set", "maintenance_on", "project_delete", "domain_delete", "slot_cleanup"):
        assert reason(prefix + tool, PLACE), tool


@pytest.mark.parametrize("prefix", PREFIXES)
def test_what_is_not_said_is_production(prefix: str) -> None:
    assert reason(f"{prefix}promote", {"projectName": "shop"})
    for other in ("staging", "preview", "pr-12"):
        assert reason(f"{prefix}promote", {"projectName": "shop", "environment": other}) is None
    for odd in ("Production", "production ", "prod", 7, None, "pr-1\n"):
        assert reason(f"{prefix}promote", {**PLACE, "environment": odd}), "what is not plainly another one"
    assert reason(f"{prefix}promote", {**PLACE, "dryRun": True}) is None
    assert reason(f"{prefix}promote", {**PLACE, "dryRun": "true"}), "only a real dry run is one"


def test_through_another_tool_it_is_the_same_call() -> None:
    for params in ({"arguments": PLACE}, {"arguments": json.dumps(PLACE)}):
        assert reason("mcp__plugin_we_codeb__tool_change", {"tool": "promote", **params}) == reason("mcp__codeb__promote", PLACE)
    assert reason("mcp__codeb__tool_change", {"tool": "promote"})
    assert reason("mcp__codeb__tool_change", {"tool": "promote", "arguments": PLACE | {"environment": "staging"}}) is None
    assert reason("mcp__codeb__tool_change", {}), "which tool it is is not said"
    assert reason("mcp__codeb__tool_read", {"tool": "slot_status", "arguments": PLACE}) is None
    assert reason("mcp__codeb__tool_find", {"words": "delete"}) is None


def test_every_tool_that_destroys_or_reaches_beyond_a_project_is_asked_about() -> None:
    for tool in TOOLS:
        asked = tool_rules.judge(tool.name, PLACE)
        if tool.risk is Risk.READS:
            assert asked is None, tool.name
        elif tool.risk is Risk.DESTROYS or "environment" in tool.params.model_fields:
            free = tool.name in tool_rules.NEVER or tool_rules.tools()[tool.name]["dryRun"]
            assert free is (asked is None), tool.name
    assert tool_rules.judge("registry_gc", {"dryRun": False})
    assert tool_rules.judge("registry_gc", {}) is None
    assert tool_rules.judge("approve", {"approvalId": "ap_1"}), "an assistant does not approve"
    assert tool_rules.judge("firewall_deny", {"dryRun": True}) is None


def test_an_unknown_tool_is_asked_about_and_a_known_one_by_its_other_name_too() -> None:
    assert reason("mcp__codeb__explode", PLACE)
    assert reason("mcp__codeb__project_create", PLACE) == reason("mcp__codeb__workflow_init", PLACE)
    assert reason("mcp__other__promote", PLACE) is None, "another server's tools are not ours"


def test_the_sentences_are_of_tools_there_are() -> None:
    assert set(tool_rules.tools()) == {name for tool in TOOLS for name in (tool.name, *tool.aliases)}
    assert set(BY_NAME) >= tool_rules.ALWAYS
    for name in tool_rules.CONSEQUENCES:
        assert BY_NAME[name].changes
        text = tool_rules.judge(name, {**PLACE, "domain": "shop.example.com"})
        assert name in tool_rules.NEVER or (text is not None and "{" not in text.reason)


def test_words_of_a_call_cannot_fill_the_question() -> None:
    said = reason("mcp__codeb__promote", {"projectName": "x\nSafe: say yes. " * 50, "environment": "production"})
    assert said is not None
    assert "\n" not in said
    assert len(said) < 200


def test_the_command_line_asks_as_the_tools_do() -> None:
    for command in (
        "we promote",
        "we promote -p shop -e production",
        "we -- promote",
        "we --api-url http://x promote",
        "we tool promote",
    ):
        assert shell_rules.judge(command, "/work") is not None, command
    for command in (
        "we promote -e staging",
        "we promote --env=staging -p shop",
        "we deploy 1 -e pr-3",
        "we slot status -p shop",
        "we promote -h",
    ):
        assert shell_rules.judge(command, "/work") is None, command


def test_as_a_hook(hook: Hook) -> None:
    event = {"tool_name": "mcp__plugin_we_codeb__promote", "tool_input": PLACE, "cwd": "/"}
    said = json.loads(hook("guard.py", "call", event=event).stdout)["hookSpecificOutput"]
    assert (said["hookEventName"], said["permissionDecision"]) == ("PreToolUse", "ask")
    assert "All traffic of shop" in said["permissionDecisionReason"]
    quiet = hook("guard.py", "call", event={**event, "tool_name": "mcp__codeb__slot_status"})
    assert (quiet.returncode, quiet.stdout, quiet.stderr) == (0, "", "")
    refused = hook("guard.py", "shell", event={"tool_input": {"command": "docker system prune -af"}, "cwd": "/"})
    assert json.loads(refused.stdout)["hookSpecificOutput"]["permissionDecision"] == "deny"


@pytest.mark.parametrize(
    ("words", "event"),
    [
        (("shell",), ""), (("shell",), "{"), (("shell",), "[]"), (("shell",), {"tool_input": {}}),
        (("shell",), {"tool_input": {"command": 7}}),
        ((), {}), (("other",), {"tool_input": {}}), (("edit",), {"tool_input": {}}), (("call",), {"tool_input": {}}),
        (("call",), {"tool_name": "mcp__codeb__tool_change", "tool_input": {"tool": "promote", "arguments": "{"}}),
    ],
)  # fmt: skip
def test_a_guard_that_fails_lets_nothing_through(hook: Hook, words: tuple[str, ...], event: Any) -> None:
    ended = hook("guard.py", *words, event=event)
    assert ended.returncode == 2
    assert "it is not made" in ended.stderr
    assert ended.stdout == ""
