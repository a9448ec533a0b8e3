"""An operation as it goes: its steps on the terminal, and how it ended."""

import itertools
import sys
import threading
import time
from typing import Any

import click

from codeb.entry.cli import show
from codeb.entry.cli.client import Answer
from codeb.entry.cli.session import Session

WAIT_SECONDS = 20
BREATH_SECONDS = 0.1
"""between two looks: steps that take no time are seen together, and a promote is two calls, not one for each of its steps"""
LONGEST_BREATH = 2.0
TERMINAL = frozenset(("succeeded", "failed", "cancelled"))
ENDS = {"done": "✓", "failed": "✗", "undone": "↶", "undo_failed": "✗"}
WORDS = {"done": "done", "failed": "failed", "undone": "undone", "undo_failed": "could not be undone"}
FRAMES = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"


class Refused(Exception):
    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.status)
        self.answer = answer


class Plain:
    """A line as each step ends: for logs of CI and for files."""

    def __init__(self) -> None:
        self._said: dict[int, str] = {}
        self._away = False

    def __enter__(self) -> "Plain":
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def show(self, steps: list[dict[str, Any]]) -> None:
        """What changed since the last time."""
        self._away = False
        for at, step in enumerate(steps):
            status, before = step["status"], self._said.get(at)
            if status == before or status not in ENDS:
                continue
            # a step that failed may be undone before anybody looked
            if status == "undone" and step.get("error") and before != "failed":
                self.line("failed", step)
            self._said[at] = status
            self.line(status, step)

    def line(self, status: str, step: dict[str, Any]) -> None:
        timed = step.get("durationMs") is not None and status != "undone"
        spent = f" in {show.milliseconds(step['durationMs'])}" if timed else ""
        self._print(f"  {step['name']}: {WORDS[status]}{spent}")

    def lost(self) -> None:
        """Said once for each time the server goes away."""
        if not self._away:
            self._away = True
            self._print("  The server does not answer; the operation goes on as soon as it is back. Trying again.")

    def _print(self, text: str) -> None:
        show.err(text)


class Live(Plain):
    """The same on a terminal: the step that runs turns at the bottom, with its time."""

    def __init__(self) -> None:
        super().__init__()
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._running: tuple[str, float] | None = None
        self._thread = threading.Thread(target=self._turn, daemon=True)

    def __enter__(self) -> "Live":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        _draw("")

    def show(self, steps: list[dict[str, Any]]) -> None:
        super().show(steps)
        now = next((step for step in steps if step["status"] in ("intent", "undoing")), None)
        name = None if now is None else ("undoing " if now["status"] == "undoing" else "") + now["name"]
        with self._lock:
            if name is None:
                self._running = None
            elif self._running is None or self._running[0] != name:
                self._running = (name, time.monotonic())

    def line(self, status: str, step: dict[str, Any]) -> None:
        tone = {"done": "green", "undone": "yellow"}.get(status, "red")
        spent = "undone" if status == "undone" else show.milliseconds(step.get("durationMs"))
        self._print(f"  {click.style(ENDS[status], fg=tone)} {step['name']:<12}{spent:>9}")

    def _turn(self) -> None:
        for frame in itertools.cycle(FRAMES):
            if self._stop.wait(0.1):
                return
            with self._lock:
                if self._running is not None:
                    name, since = self._running
                    _draw(f"  {frame} {name:<12}{time.monotonic() - since:>7.1f} s")

    def _print(self, text: str) -> None:
        with self._lock:
            _draw("")
            show.err(text)


def _draw(text: str) -> None:
    """Over the last line. Not through click: without colours it would take the erasing away too."""
    sys.stderr.write(f"\r\x1b[2K{text}")
    sys.stderr.flush()


def screen() -> Plain:
    """A live one where there is a terminal that can draw it."""
    encoding = (getattr(sys.stderr, "encoding", "") or "").lower().replace("-", "")
    return Live() if sys.stderr.isatty() and encoding == "utf8" else Plain()


def follow(session: Session, operation_id: str, on: Plain) -> dict[str, Any]:
    """The answer of `operation_get` once the operation has ended.

    Raises `Refused` when the server will not tell, `Unreachable` when it stays away for a minute: the operation goes on.
    """
    params = {"operationId": operation_id, "waitSeconds": WAIT_SECONDS, "seen": 0}
    before, pause = None, BREATH_SECONDS

    def lost() -> None:
        # a server that was started anew counts changes from the beginning: the call is repeated without what the old one said
        params["seen"] = 0
        on.lost()

    while True:
        answer = session.patiently("operation_get", params, seconds=WAIT_SECONDS + 15, lost=lost)
        if not answer.ok:
            raise Refused(answer)
        body = answer.body
        on.show(body["steps"])
        if body["operation"]["state"] in TERMINAL:
            return body
        # where nobody counts, because the operation waits to be taken up again, the answer comes at once
        pause = min(pause * 1.5, LONGEST_BREATH) if body["changes"] == before else BREATH_SECONDS
        session.sleep(pause)
        params["seen"] = before = body["changes"]


def successor(session: Session, operation: dict[str, Any]) -> str | None:
    """The operation that grew out of this one, such as the promote of a deploy with --promote."""
    params = {"projectName": operation["projectName"], "environment": operation["environment"], "limit": 20}
    answer = session.patiently("operation_list", params)
    if not answer.ok:
        raise Refused(answer)
    ids = [each["operationId"] for each in answer.body["operations"] if each.get("follows") == operation["operationId"]]
    return ids[-1] if ids else None
