"""What is written down and told beside the calls: a line after each deploy, promote and rollback, an overview at the start of a
session, a summary at its end. Whatever goes wrong here, the session goes on.

python3 record.py after|start|end    with the event as JSON on standard input
"""

from __future__ import annotations

import json
import os
import sys
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Dict

Body = Dict[str, Any]

FILE = "assistant.jsonl"
LARGEST = 2**20
"""then the file begins anew, and the one before is kept"""
MOST = 500
"""characters of an overview"""
WORTH_A_LINE = frozenset(("deploy", "promote", "rollback"))
KEPT = ("slot", "version", "activeSlot", "operationId", "deploymentId", "state", "code")


def file() -> Path:
    return Path.home() / ".codeb" / FILE


def write(line: Body) -> None:
    """Add one line, readable by its owner only."""
    path = file()
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if path.exists() and path.stat().st_size > LARGEST:
        path.replace(path.with_suffix(".jsonl.1"))
    handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        os.fchmod(handle, 0o600)
        os.write(handle, (json.dumps(line) + "\n").encode())
    finally:
        os.close(handle)


def after(event: Body) -> str:
    """A line for a call that moved something: what, where, how it ended. Of an answer only its ids and states."""
    import tool_rules

    match = tool_rules.SERVERS.fullmatch(event["tool_name"])
    tool, params = (match[1], event["tool_input"]) if match else ("", {})
    if tool == "tool_change":
        tool, params = str(params.get("tool", "")), tool_rules.inner(params)
    if tool not in WORTH_A_LINE or params.get("dryRun") is True:
        return ""
    said = _body(event.get("tool_response"))
    line = {"at": _now(), "session": _plain(event.get("session_id")), "tool": tool}
    line |= {name: _plain(params[name]) for name in ("projectName", "environment") if name in params}
    line |= {name: _plain(said[name]) for name in KEPT if isinstance(said.get(name), str)}
    # one that runs in the background has begun, and no more is known of it here
    line["ended"] = "badly" if said.get("success") is False else "well" if said.get("success") is True else "not yet"
    if said.get("success") is True and "operationId" in said and "slot" not in said and "activeSlot" not in said:
        line["ended"] = "not yet"
    write(line)
    return ""


def _body(response: object) -> Body:
    """The envelope in what a client makes of an answer: the data themselves, or a text of them somewhere inside."""
    if isinstance(response, str):
        try:
            response = json.loads(response)
        except ValueError:
            return {}
    if isinstance(response, list):
        return next((found for each in response if (found := _body(each))), {})
    if not isinstance(response, dict):
        return {}
    if "success" in response:
        return response
    return next(
        (found for name in ("structuredContent", "content", "text", "result") if (found := _body(response.get(name)))), {}
    )


def start(event: Body) -> str:
    """What stands where, in names that CodeB's own grammar allows and nothing else."""
    import codeb_server
    import repository

    found = repository.around(Path(event.get("cwd") or os.getcwd()))
    project = found.project if found else None
    try:
        said = codeb_server.ask_tool("slot_list", {"limit": 20} | ({"projectName": project} if project else {}))
    except codeb_server.NoAnswer as fault:
        text = f"CodeB: {fault}"
    else:
        rows = [_row(each) for each in said.get("environments", [])]
        text = (
            "CodeB"
            + (f", project {project}" if project else "")
            + ": "
            + ("; ".join(rows) if rows else "nothing is deployed yet")
            + "."
        )
    if len(text) > MOST:
        text = text[: MOST - 1] + "…"
    return json.dumps({"hookSpecificOutput": {"hookEventName": "SessionStart", "additionalContext": text}})


def _row(row: Body) -> str:
    slots = [
        f"{each['slot']} {each['state']} {each['version'] or ''}".strip()
        for each in (row["blue"], row["green"])
        if each["state"] != "empty"
    ]
    running = f", {row['operation']['tool']} runs" if row.get("operation") else ""
    return _plain(f"{row['projectName']} {row['environment']}: {', '.join(slots) or 'empty'}{running}")


def end(event: Body) -> str:
    """How many calls of this session moved something."""
    session = _plain(event.get("session_id"))
    counts: Dict[str, int] = {}
    for text in file().read_text(encoding="utf-8").splitlines() if file().exists() else []:
        line = json.loads(text)
        if line.get("session") == session and line.get("tool") in WORTH_A_LINE:
            word = f"{line['tool']} {line['ended']}"
            counts[word] = counts.get(word, 0) + 1
    if not counts:
        return ""
    write({"at": _now(), "session": session, "summary": counts})
    told = ", ".join(f"{count} × {word}" for word, count in sorted(counts.items()))
    return f"CodeB in this session: {told}. Details: ~/.codeb/{FILE}"


def _plain(value: object) -> str:
    text = "".join(char for char in str(value) if char.isprintable())
    return text[:120]


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def main() -> None:
    try:
        said = {"after": after, "start": start, "end": end}[sys.argv[1]](json.loads(sys.stdin.buffer.read()))
        if said:
            sys.stdout.write(said + "\n")
    except Exception as fault:
        sys.stderr.write(f"CodeB's record: {type(fault).__name__}\n")


if __name__ == "__main__":
    main()
