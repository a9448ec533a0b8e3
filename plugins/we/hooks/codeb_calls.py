"""Calls of CodeB from a shell: `we …`, `curl …/api/…`, the Engine's and the proxy's sockets. Asked about as the tools are."""

from __future__ import annotations

import json
import re
from typing import Any

import shell_inner
import tool_rules
from shell_text import Run
from shell_words import unsure
from verdict import Verdict, ask, deny

OWN = frozenset("up config doctor completion status ops ports health logs audit plan init cancel approvals claude".split())
"""commands that are no tool, or only look"""
SPOKEN = {("keys", "rotate-master"): "keys_rotate"}
HTTP = frozenset(("curl", "wget", "http", "https", "xh", "httpie", "curlie"))
PATH = re.compile(r".*?/api/([a-z]+)(?:/([a-z]+))?/?(?:[?#].*)?")
CHANGING_METHODS = ("POST", "PUT", "PATCH", "DELETE")
SENDS = re.compile(r"-d|--data.*|--json|-F|--form|-T|--upload-file|--post-data.*|--post-file.*|--body-data.*")
BODIES = ("-d", "--data", "--data-raw", "--data-binary", "--json", "--post-data")
CURL_VALUES = frozenset("AbcCdDeEFhHKmoPQrtTuUwxXyYz")
"""letters of curl's options that take a value: in the same word, or the next one"""
ITEM = re.compile(r"[A-Za-z0-9_.\[\]-]+(?::=|=(?!=)|@).*", re.DOTALL)
"""what httpie sends: with one it is a POST"""
CALL = "tools/call"
UNSEEN = "That calls CodeB, and what is sent cannot be read from here. The plugin's own tools are asked about one by one."
READS = frozenset(("tools", "audit", "logs"))


def command(run: Run) -> Verdict | None:
    """`we`, or the module behind it."""
    words = run.words[1:]
    if run.program.startswith("python") and words[:1] == ["-m"] and words[1:2] == ["codeb.entry.cli.main"]:
        words = words[2:]
    elif run.program != "we":
        return None
    while words and words[0].startswith("-"):
        words = words[2:] if words[0] == "--api-url" else words[1:]
    if not words or "--help" in words or "-h" in words:
        return None
    first, second = words[0], words[1] if len(words) > 1 else ""
    if first == "down":
        return (
            deny("`we down --all` takes every site down.")
            if "--all" in words
            else ask("`we down` stops CodeB; what it deployed goes on.")
        )
    if first == "claude" and second == "remove":
        return ask("That ends the guards of CodeB's plugin. It is a person's to decide.")
    if first == "mcp":
        return ask("`we mcp` speaks to CodeB past the tools that are listed. The plugin's own tools are asked about one by one.")
    if first == "apply":
        return (
            None
            if "--dry-run" in words
            else ask("`we apply` changes what differs from codeb.toml, in production too. `we plan` shows it.")
        )
    if first == "tool":
        return tool_rules.judge(second, _object(next((word for word in words[2:] if word.startswith("{")), "{}")))
    if first in OWN:
        return None
    name = SPOKEN.get((first, second)) or next((each for each in (f"{first}_{second}", first) if each in tool_rules.tools()), "")
    if not name:
        return None if not unsure(first + second) else ask("Which command of `we` that is cannot be told from here.")
    return tool_rules.judge(name, _spoken(words[1:]))


def _spoken(words: list[str]) -> dict[str, Any]:
    """What the options say of the few params that count."""
    said: dict[str, Any] = {}
    names = {"-e": "environment", "--env": "environment", "--environment": "environment", "-p": "projectName"}
    names |= {"--project": "projectName", "--project-name": "projectName", "--domain": "domain"}
    for at, word in enumerate(words):
        flag, tied, value = word.partition("=")
        if flag in names:
            said[names[flag]] = value if tied else (words[at + 1] if at + 1 < len(words) else "")
        elif re.fullmatch(r"-e[a-z].*", word):
            said["environment"] = word[2:]
        elif word in ("--dry-run", "--no-dry-run"):
            said["dryRun"] = word == "--dry-run"
        elif word in ("--promote", "--auto-promote"):
            said["autoPromote"] = True
    return said


def over_http(run: Run) -> Verdict | None:
    """CodeB's API with the key in the hand, the Engine's socket, the proxy's admin endpoint."""
    if run.program in ("socat", "nc", "ncat", "netcat"):
        if any(word.endswith((".sock", ".sock,")) and ("docker" in word or "admin" in word) for word in run.words):
            return ask("That speaks to the Engine or the proxy past CodeB.")
        return None
    if run.program not in HTTP:
        return None
    words = _apart(run.words[1:]) if run.program in ("curl", "curlie") else run.words[1:]
    method = _method([run.program, *words])
    socket = _after(words, "--unix-socket", "--abstract-unix-socket")
    if method in CHANGING_METHODS:
        if "admin" in socket or any(re.search(r"(?:localhost|127\.0\.0\.1|\[::1\]):2019\b", word) for word in words):
            return deny(
                "That changes the proxy's configuration past CodeB. Use domain_setup, promote, rollback or maintenance_on."
            )
        if socket:
            return deny("That changes containers or images past CodeB. Use deploy, promote, rollback or slot_cleanup.")
    sent = _object(_after(words, *BODIES) or run.fed or _piped(run) or "")
    if method in CHANGING_METHODS and any(re.fullmatch(r"[^?#]*/mcp/?", word) for word in words):
        said = sent.get("params", {})
        if not sent:
            return ask(UNSEEN)
        return (
            tool_rules.judge_mcp(f"mcp__codeb__{said.get('name')}", said.get("arguments", {}))
            if sent.get("method") == CALL
            else None
        )
    match = next((found for word in words if (found := PATH.fullmatch(word))), None)
    if match is None or method not in CHANGING_METHODS or (match[1] in READS and not match[2]):
        return None
    tool = str(sent.get("tool", "")) if match[1] == "tool" and not match[2] else "_".join(part for part in match.groups() if part)
    params = sent.get("params", {}) if match[1] == "tool" else sent
    if not tool:
        return ask(UNSEEN)
    if tool not in tool_rules.tools() and match[1] != "tool":
        # the path of another program's API
        return None
    return tool_rules.judge(tool, params if isinstance(params, dict) else {})


def in_code(address: str) -> Verdict | None:
    """The address of one of our calls in a program of another language: what is sent there is not read."""
    match = PATH.fullmatch(address)
    tool = "_".join(part for part in match.groups() if part) if match else ""
    if tool == "tool" or tool_rules.tools().get(tool, {"risk": "reads"})["risk"] != "reads":
        return ask("That calls CodeB past the tools that are listed. The plugin's own tools are asked about one by one.")
    return None


def _piped(run: Run) -> str:
    return shell_inner.written_by(run.fed_by) or ""


def _apart(words: list[str]) -> list[str]:
    """curl's short options one by one: `-sd x` is `-s -d x`, `-sXPOST` is `-s -X POST`."""
    made: list[str] = []
    for word in words:
        if not re.fullmatch(r"-[A-Za-z#0-9].+", word, re.DOTALL):
            made.append(word)
            continue
        for at, letter in enumerate(word[1:], 2):
            made.append(f"-{letter}")
            if letter in CURL_VALUES:
                made += [word[at:]] if word[at:] else []
                break
    return made


def _method(words: list[str]) -> str:
    said = _after(words, "-X", "--request", "--method")
    tied = next((word[2:] for word in words if re.fullmatch(r"-X[A-Z]+", word)), "")
    if said or tied:
        return (said or tied).upper()
    if any(word in CHANGING_METHODS for word in words):
        return next(word for word in words if word in CHANGING_METHODS)
    if words[0] in ("http", "https", "xh", "httpie") and any(ITEM.fullmatch(word) for word in words[2:]):
        return "POST"
    return "POST" if any(SENDS.fullmatch(word.partition("=")[0]) or re.fullmatch(r"-d.+", word) for word in words) else "GET"


def _after(words: list[str], *names: str) -> str:
    for at, word in enumerate(words):
        if word in names and at + 1 < len(words):
            return words[at + 1]
        if word.partition("=")[0] in names and "=" in word:
            return word.partition("=")[2]
    return ""


def _object(text: str) -> dict[str, Any]:
    try:
        said = json.loads(text)
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}
