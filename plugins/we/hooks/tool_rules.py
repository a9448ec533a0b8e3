"""Which calls of CodeB a person is asked about first, and in which words. `tools.json` is made from the catalogue."""

from __future__ import annotations

import json
import re
from functools import lru_cache
from pathlib import Path
from typing import Any, Dict

from verdict import Verdict, ask

SERVERS = re.compile(r"mcp__(?:plugin_we_)?codeb__([A-Za-z0-9_-]+)")
ELSEWHERE = re.compile(r"staging|preview|pr-[0-9]+")
"""environments whose traffic is not production's"""
THROUGH = {"tool_find": "", "tool_read": "", "tool_change": "tool"}
"""tools that only the assistants' door has; through the last one any other changing tool is called, named in its arguments"""
CONSEQUENCES = {
    "deploy": "A version goes into the idle slot of {place}, over one in grace there; live traffic stays where it is.",
    "promote": "All traffic of {place} moves to the version that is deployed now.",
    "rollback": "All traffic of {place} moves back to the version before.",
    "project_delete": "{place} is taken down: all its environments, sites and containers. It can be brought back for 7 days.",
    "domain_delete": "Visitors of {domain} reach {place} by that name no more.",
    "slot_cleanup": "Slots of {place} are emptied: what was in grace there is no way back any more.",
    "env_set": "Variables of {place} change with its next deploy.",
    "env_sync": "The variables of {place} are replaced with its next deploy.",
    "env_restore": "The variables of {place} become those of an earlier version with its next deploy.",
    "maintenance_on": "Visitors of {place} see a maintenance page.",
    "maintenance_off": "Visitors of {place} see the application again.",
    "db_delete": "The database of {place} is deleted, with a final dump.",
    "redis_delete": "The Redis data of {place} are deleted, with a final dump.",
    "approve": "A call that waits for a person's approval is made. It is not the assistant's to approve.",
    "pr_merge": "The pull request is merged; where a push deploys, it is deployed.",
    "token_create": "A new key to CodeB is made and shown in this conversation.",
    "token_rotate": "A key is exchanged, and the new one shown in this conversation.",
    "workflow_init": "{place} is set up: ports, hosts and what else was asked for.",
}
ALWAYS = frozenset(("approve", "pr_merge", "token_create", "token_rotate"))
"""asked about whatever the environment"""
NEVER = frozenset(("workflow_init", "operation_cancel", "reject"))
"""set-up touches nothing that is there; a stop and a no make nothing worse"""


@lru_cache(maxsize=None)
def tools() -> Dict[str, Dict[str, Any]]:
    """By name and other names: title, risk, role, whether it has an environment and whether a dry run is its default."""
    said: Dict[str, Dict[str, Any]] = json.loads(Path(__file__).with_name("tools.json").read_text(encoding="utf-8"))
    return said


def judge_mcp(name: str, arguments: dict[str, Any]) -> Verdict | None:
    """One call through the assistants' door, by its whole name."""
    match = SERVERS.fullmatch(name)
    if match is None:
        return None
    tool = match[1]
    if tool in THROUGH:
        if not THROUGH[tool]:
            return None
        tool, arguments = str(arguments.get("tool", "")), inner(arguments)
    return judge(tool, arguments)


def inner(arguments: dict[str, Any]) -> dict[str, Any]:
    said = arguments.get("arguments", {})
    if isinstance(said, str):
        said = json.loads(said)
    return said if isinstance(said, dict) else {}


def judge(tool: str, params: dict[str, Any]) -> Verdict | None:
    """One call by the tool's own name. A tool that is not known is asked about: better once too often."""
    known = tools().get(tool)
    if known is None:
        return ask(f"This plugin does not know the tool {tool!r}, so a person decides. `we claude install` brings it up to date.")
    name = known["name"]
    if known["risk"] == "reads" or name in NEVER or params.get("dryRun", known["dryRun"]) is True:
        return None
    where = str(params.get("environment", "production")) if known["environment"] else None
    beyond = known["risk"] == "destroys" or known["role"] in ("admin", "owner") or name in ALWAYS
    if not beyond and (where is None or ELSEWHERE.fullmatch(where)):
        return None
    return ask(_consequence(name, known, params, where))


def _consequence(name: str, known: dict[str, Any], params: dict[str, Any], where: Any) -> str:
    project = _short(params.get("projectName", params.get("project", "this project")))
    place = f"{project} in {_short(where)}" if where else project
    if name == "deploy" and params.get("autoPromote"):
        return f"{name}: the version is deployed to {place} and promoted at once: all traffic moves to it."
    text = CONSEQUENCES.get(name, known["title"] + (" ({place})." if "projectName" in params else "."))
    return f"{name}: {text.format(place=place, domain=_short(params.get('domain', 'the domain')))}"


def _short(value: Any) -> str:
    """A word of the call for a person to read: it may come from anywhere."""
    text = "".join(char for char in str(value) if char.isprintable())
    return text if len(text) <= 60 else text[:59] + "…"
