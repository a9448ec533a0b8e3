"""The official Inspector against a real server on real parts: both revisions over HTTP, and `we mcp` over stdio."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from demo.images import Builder

import codeb
from tests.conformance.tools import Tools
from tests.e2e.nursery import QuickStage
from tests.stage import Stage

ERAS = ("modern", "legacy")
OK, NO_KEY, TOOL_ERROR = 0, 3, 5
SOURCE = Path(codeb.__file__).parents[1]
WE = "from codeb.entry.cli.main import main; main()"
IMAGE = "codebtest-app"
SECONDS = 180.0


@dataclass(frozen=True)
class Try:
    """One run: what is asked, with which exit it has to end, and what its output has to say."""

    name: str
    words: tuple[str, ...]
    exit: int
    says: Callable[[str], bool]


def _has(*parts: str) -> Callable[[str], bool]:
    return lambda said: all(part in said for part in parts)


def _tool(name: str, **params: Any) -> tuple[str, ...]:
    return ("--method", "tools/call", "--tool-name", name, "--tool-args-json", json.dumps(params))


def tries(project: str) -> tuple[Try, ...]:
    where = {"projectName": project, "environment": "production"}
    uri = f"codeb://projects/{project}/production/slots"
    typo = {"projectName": project, "evironment": "production"}
    prompt = ("--prompt-name", "ship", "--prompt-args", f"projectName={project}", "environment=production")
    return (
        Try("tools/list --strict", ("--method", "tools/list", "--strict"), OK, _has('"deploy"', '"promote"')),
        Try("tools/call, a read", _tool("slot_status", **where), OK, _has('"activeSlot"', '"success"')),
        Try("tools/call, a deploy", _tool("deploy", **where, image=f"{IMAGE}:v1"), OK, _has('"previewUrl"')),
        Try("tools/call, an error", _tool("slot_status", projectName="nobody-here", environment="production"), TOOL_ERROR,
            _has("no project nobody-here")),
        Try("tools/call, a typo", _tool("slot_status", **typo), TOOL_ERROR, _has("evironment")),
        Try("resources/list", ("--method", "resources/list"), OK, _has("codeb://overview", "codeb://guide")),
        Try("resources/templates/list", ("--method", "resources/templates/list"), OK, _has("codeb://operations/{operationId}")),
        Try("resources/read", ("--method", "resources/read", "--uri", uri), OK, _has("activeSlot", project)),
        Try("prompts/list", ("--method", "prompts/list"), OK, _has("ship", "why_did_it_fail", "roll_back")),
        Try("prompts/get", ("--method", "prompts/get", *prompt), OK, _has("Ship the version", project)),
    )  # fmt: skip


@contextmanager
def real_server() -> Iterator[Stage]:
    builder = Builder()
    builder.app(f"{IMAGE}:v1", "v1")
    with QuickStage() as stage:
        stage.call("project_create", projectName=stage.project, healthPath="/health")
        yield stage


def over_http(tools: Tools, stage: Stage) -> list[str]:
    """The faults; empty: all as it has to be."""
    faults, target = [], ("--server-url", f"http://127.0.0.1:{stage.api_port}/mcp", "--transport", "http")
    keyed = (*target, "--header", f"Authorization: Bearer {stage.key}")
    for era in ERAS:
        for each in tries(stage.project):
            faults += _run(tools, f"{era} {each.name}", each, (*keyed, "--protocol-era", era))
        if era == "modern" and not followed(stage):
            faults.append("modern: the deploy was no task that the Inspector followed")
        wrong = Try("401", ("--method", "tools/list"), NO_KEY, lambda said: True)
        stranger = (
            *target,
            "--header",
            "Authorization: Bearer codeb_main_owner_wrongwrongwrongwrongwrong",
            "--protocol-era",
            era,
        )
        faults += _run(tools, f"{era} 401", wrong, stranger)
    return faults


def followed(stage: Stage) -> bool:
    """Whether somebody looked at a task: nothing else here asks for an operation."""
    rows = stage.ask("audit_list", {"tool": "operation_get"})[1]["rows"]
    return any(row["entry"] == "mcp" for row in rows)


def over_stdio(tools: Tools, stage: Stage) -> list[str]:
    """`we mcp`, which speaks to the same server."""
    own = (
        "-e", f"CODEB_API_URL=http://127.0.0.1:{stage.api_port}", "-e", f"CODEB_API_KEY={stage.key}",
        "-e", f"HOME={stage.home}", "-e", f"PYTHONPATH={SOURCE}", "--protocol-era", "modern",
    )  # fmt: skip
    we = (sys.executable, "-c", WE, "mcp")
    faults = []
    for each in tries(stage.project)[:2]:
        faults += _run(tools, f"stdio {each.name}", each, own, we)
    return faults


def _run(tools: Tools, name: str, each: Try, how: tuple[str, ...], target: tuple[str, ...] = ()) -> list[str]:
    command = [*tools.inspector, "--cli", *how, *each.words, "--format", "json", "-q", *target]
    said = subprocess.run(
        command, env=tools.environment, cwd=tools.root, capture_output=True, text=True, check=False, timeout=SECONDS
    )
    well = said.returncode == each.exit and each.says(said.stdout + said.stderr)
    print(f"  {'ok  ' if well else 'FAIL'} {name}", flush=True)
    return [] if well else [f"{name}: exit {said.returncode}, not {each.exit}: {(said.stdout + said.stderr)[-600:]}"]
