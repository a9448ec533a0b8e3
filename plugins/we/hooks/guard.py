"""Before a shell command, an edit or a call of CodeB. Answers nothing, a question, or no; a guard that fails says no.

python3 guard.py shell|edit|call    with the call as JSON on standard input
"""

from __future__ import annotations

import json
import os
import sys
import threading
from typing import Any, Dict

SECONDS = 8.0
"""less than what hooks.json gives it: who does not answer in time is not heard at all"""
BLOCKED = 2
"""the exit code that keeps the call from being made"""


def give_up(why: str) -> None:
    """Say no and end, from whatever thread."""
    sys.stderr.write(
        f"CodeB's guard could not look at this call ({why}), so it is not made. Tell the person; `we claude status` says more.\n"
    )
    sys.stderr.flush()
    os._exit(BLOCKED)


def judged(kind: str, asked: Dict[str, Any]) -> Any:
    """The verdict on one call, or None."""
    given, folder = asked["tool_input"], asked.get("cwd") or os.getcwd()
    if kind == "shell":
        import shell_rules

        return shell_rules.judge(given["command"], folder)
    if kind == "edit":
        import edit_rules

        return edit_rules.judge(given.get("file_path") or given["notebook_path"], folder)
    import tool_rules

    return tool_rules.judge_mcp(asked["tool_name"], given)


def main() -> None:
    watch = threading.Timer(SECONDS, give_up, ["it took too long"])
    watch.daemon = True
    watch.start()
    try:
        kind = sys.argv[1]
        if kind not in ("shell", "edit", "call"):
            raise ValueError("no such guard")
        verdict = judged(kind, json.loads(sys.stdin.buffer.read()))
        if verdict is not None:
            said = {
                "hookEventName": "PreToolUse",
                "permissionDecision": verdict.decision,
                "permissionDecisionReason": verdict.reason,
            }
            sys.stdout.write(json.dumps({"hookSpecificOutput": said}) + "\n")
            sys.stdout.flush()
    except BaseException as fault:
        give_up(type(fault).__name__)


if __name__ == "__main__":
    main()
