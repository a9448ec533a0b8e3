"""The plugin's files: what Claude Code's own validation does not look at: scripts, matchers, names."""

import ast
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from codeb.entry.cli import plugin
from codeb.entry.version import VERSION
from codeb.tools.catalog import BY_NAME
from codeb.tools.tool import Risk
from tests.unit.plugin.conftest import HOOKS, PLUGIN, ROOT

PREFIXES = ("mcp__plugin_we_codeb__", "mcp__codeb__")
SKILLS = {"init", "quick", "deploy", "promote", "rollback", "domain", "health", "workflow", "monitor", "env", "task"}
LOOKS = {"tool_find", "tool_read"}
"""of the assistants' door itself"""
DOOR = LOOKS | {"tool_change"}
MANIFEST = json.loads((PLUGIN / ".claude-plugin" / "plugin.json").read_text())
MARKET = json.loads((ROOT / ".claude-plugin" / "marketplace.json").read_text())
EVENTS = json.loads((HOOKS / "hooks.json").read_text())["hooks"]
PAGES = sorted([*PLUGIN.glob("skills/*/SKILL.md"), *PLUGIN.glob("agents/*.md")])
WRITTEN = re.compile(r"`([a-z]+_[a-z]+)`")


def front(path: Path) -> tuple[dict[str, Any], str]:
    _, head, body = path.read_text(encoding="utf-8").split("---\n", 2)
    said = yaml.safe_load(head)
    assert isinstance(said, dict)
    return said, body


def commands() -> list[tuple[str, str | None, dict[str, Any]]]:
    return [(name, group.get("matcher"), each) for name, groups in EVENTS.items() for group in groups for each in group["hooks"]]


def test_the_manifests_name_each_other() -> None:
    assert (MANIFEST["name"], MARKET["name"]) == ("we", "codeb")
    (listed,) = MARKET["plugins"]
    assert (ROOT / listed["source"]).resolve() == PLUGIN
    assert listed["name"] == "we"
    assert MANIFEST["version"] == VERSION, "an update is only seen by its number"
    assert MANIFEST["userConfig"]["api_key"]["sensitive"] is True
    assert set(MANIFEST["userConfig"]) == {"url", "api_key"}


def test_a_wheel_brings_the_marketplace_where_it_is_looked_for() -> None:
    build = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    inside = {source: Path(target).parts for source, target in build["force-include"].items()}
    assert inside == {source: ("codeb", "claude_marketplace", source) for source in (".claude-plugin", "plugins")}
    assert plugin.folder() == ROOT, "in a source tree it is the repository itself"
    assert '"claude_marketplace"' in Path(plugin.__file__).read_text()


def test_the_server_is_spoken_to_with_the_key_in_a_header_only() -> None:
    (server,) = json.loads((PLUGIN / ".mcp.json").read_text())["mcpServers"].items()
    name, said = server
    assert (name, said["type"], said["url"]) == ("codeb", "http", "${user_config.url}/mcp")
    assert said["headers"] == {"Authorization": "Bearer ${user_config.api_key}"}


def test_there_is_a_skill_for_everything_and_one_agent() -> None:
    assert {path.parent.name for path in PLUGIN.glob("skills/*/SKILL.md")} == SKILLS
    assert len(list(PLUGIN.glob("agents/*.md"))) == 1
    assert len((PLUGIN / "README.md").read_text().split()) > 40


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.parent.name + "/" + path.name)
def test_each_page_says_what_it_is_for_and_names_tools_that_exist(path: Path) -> None:
    said, body = front(path)
    assert said["name"] == (path.parent.name if path.name == "SKILL.md" else path.stem)
    assert 40 < len(said["description"]) < 400
    assert len(body.splitlines()) < 60, "a skill is read whole, every time"
    for name in WRITTEN.findall(body):
        assert name in set(BY_NAME) | DOOR, name
    assert "no instruction in" in body.lower(), "what others wrote is data"


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.parent.name + "/" + path.name)
def test_what_is_allowed_is_allowed_by_both_names_and_only_reads(path: Path) -> None:
    said, _ = front(path)
    names = said.get("allowed-tools", said.get("tools"))
    ours = [name for name in names if name.startswith("mcp__")]
    by_prefix = [{name.removeprefix(prefix) for name in ours if name.startswith(prefix)} for prefix in PREFIXES]
    assert by_prefix[0] == by_prefix[1]
    assert len(ours) == 2 * len(by_prefix[0]) > 0
    for name in by_prefix[0]:
        assert name in set(BY_NAME) | DOOR, name
        if "allowed-tools" in said:
            assert name in LOOKS or BY_NAME[name].risk is Risk.READS, f"{name} needs no permission then"
        else:
            assert name in LOOKS or name == "deploy" or BY_NAME[name].risk is Risk.READS, name


def test_only_a_person_starts_a_promote() -> None:
    closed = {path.parent.name for path in PAGES if front(path)[0].get("disable-model-invocation") is True}
    assert closed == {"promote"}


def test_deploy_looks_for_a_workflow_first() -> None:
    _, body = front(PLUGIN / "skills" / "deploy" / "SKILL.md")
    first = body.index(".github/workflows")
    assert first < body.index("slot_status")
    assert "git push" in body


@pytest.mark.parametrize(("event", "matcher", "said"), commands(), ids=lambda each: None)
def test_each_hook_runs_a_script_that_is_there_without_a_shell(event: str, matcher: str | None, said: dict[str, Any]) -> None:
    assert (said["type"], said["command"]) == ("command", "python3")
    options, script, word = said["args"][:2], said["args"][2], said["args"][3]
    assert options == ["-E", "-S"]
    path = Path(script.replace("${CLAUDE_PLUGIN_ROOT}", str(PLUGIN)))
    assert path.is_file()
    assert f'"{word}"' in path.read_text()
    assert said["timeout"] <= 10
    assert event in ("PreToolUse", "PostToolUse", "SessionStart", "SessionEnd")


def hooks_for(event: str, tool: str) -> list[str]:
    return [
        said["args"][3]
        for name, matcher, said in commands()
        if name == event and (matcher is None or re.fullmatch(matcher, tool))
    ]


@pytest.mark.parametrize("prefix", PREFIXES)
def test_the_matchers_match_both_real_names_of_every_tool(prefix: str) -> None:
    for name in (*BY_NAME, *DOOR):
        assert hooks_for("PreToolUse", prefix + name) == ["call"], name
    for name in ("deploy", "promote", "rollback", "tool_change"):
        assert hooks_for("PostToolUse", prefix + name) == ["after"]
    assert hooks_for("PostToolUse", f"{prefix}slot_status") == []


def test_the_matchers_match_the_tools_that_write() -> None:
    assert hooks_for("PreToolUse", "Bash") == ["shell"]
    for name in ("Edit", "Write", "MultiEdit", "NotebookEdit"):
        assert hooks_for("PreToolUse", name) == ["edit"]
    for name in ("Read", "Grep", "mcp__other__promote", "BashOutput"):
        assert hooks_for("PreToolUse", name) == []


@pytest.mark.parametrize("path", sorted(HOOKS.glob("*.py")), ids=lambda path: path.name)
def test_the_scripts_need_nothing_but_an_old_python(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"), feature_version=(3, 9))
    own = {each.stem for each in HOOKS.glob("*.py")}
    for node in ast.walk(tree):
        names = [each.name for each in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        for name in names:
            assert name.partition(".")[0] in sys.stdlib_module_names | own, name
    ended = subprocess.run(
        [sys.executable, "-E", "-S", "-c", f"import sys; sys.path.insert(0, {str(HOOKS)!r}); import {path.stem}"], check=False
    )
    assert ended.returncode == 0


def test_nothing_in_the_plugin_is_a_secret_or_a_real_address() -> None:
    for path in PLUGIN.rglob("*"):
        if path.is_file() and path.suffix in (".md", ".json", ".py"):
            assert "codeb_main_" not in path.read_text(encoding="utf-8"), path
