"""What the command's exit code says. Shown by `we --help` and held to by tests."""

from collections.abc import Mapping
from typing import Any

OK = 0
FAILED = 1
USAGE = 2
DENIED = 3
NOT_FOUND = 4
UNREACHABLE = 5
BUSY = 6
FAULT = 7
DIFFERS = 8
INTERRUPTED = 130

WORDS = (
    (OK, "done"),
    (FAILED, "the call was refused, the operation failed, or a check of `we health`, `we doctor` or `we task check` fails"),
    (USAGE, "the command line or a settings file is wrong; nothing was asked"),
    (DENIED, "no valid key, or the key lacks the right"),
    (NOT_FOUND, "not there, or not yours"),
    (UNREACHABLE, "the server does not answer"),
    (BUSY, "another operation runs on this project and environment"),
    (FAULT, "the server, Docker, the proxy or the store has a fault"),
    (DIFFERS, "`we plan` and `we apply`: something is not as codeb.toml says"),
    (INTERRUPTED, "Ctrl-C; what was begun on the server goes on"),
)


def of(status: int, body: Mapping[str, Any]) -> int:
    """The exit code for an answer: its HTTP number and its envelope."""
    if status < 400:
        return OK
    if body.get("code") == "operation_in_progress":
        return BUSY
    if body.get("code") == "too_many_failures":
        return DENIED
    if (body.get("details") or {}).get("state") in ("failed", "cancelled"):
        return FAILED
    if status >= 500:
        return FAULT
    return {401: DENIED, 403: DENIED, 404: NOT_FOUND}.get(status, FAILED)
