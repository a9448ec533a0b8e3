"""Words for people: sentences, aligned columns, colours where there is a terminal. Text of applications is made harmless."""

import os
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import click

from codeb.entry.cli.surface import suggestion

ENVELOPE = frozenset(
    (
        "success",
        "summary",
        "next",
        "warnings",
        "duration",
        "timestamp",
        "correlationId",
        "versionWarning",
        "error",
        "code",
        "untrusted",
    )
)
COLOURS = {
    "waiting": "yellow", "approved": "green", "rejected": "red",
    "active": "green", "healthy": "green", "pass": "green", "succeeded": "green", "done": "green", "running": "cyan",
    "deployed": "cyan", "grace": "yellow", "warn": "yellow", "unwinding": "yellow", "starting": "yellow", "undone": "yellow",
    "cancelled": "yellow", "unhealthy": "red", "missing": "red", "stopped": "red", "fail": "red", "failed": "red",
    "empty": "bright_black", "none": "bright_black",
}  # fmt: skip
MOST_LISTED = 3
COLOUR_CODE = re.compile(r"\x1b\[[0-9;]*m")
# an escape sequence of any other kind, or a control character, may steer the terminal it is printed to
STEERING = re.compile(
    r"\x1b[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b\[(?![0-9;]*m)[0-?]*[ -/]*[@-~]?|\x1b(?!\[)[ -/]*[0-~]?"
    r"|[\x00-\x08\x0b-\x1a\x1c-\x1f\x7f\x80-\x9f\u202a-\u202e\u2066-\u2069]"
)


def harmless(text: str) -> str:
    """Text that somebody else wrote, without anything that steers a terminal; colours stay."""
    kept = STEERING.sub("", text)
    return kept + "\x1b[0m" if "\x1b[" in kept else kept


def out(text: str = "") -> None:
    click.echo(text, color=_colours())


def err(text: str = "") -> None:
    click.echo(text, err=True, color=_colours())


def _colours() -> bool | None:
    """None: where there is a terminal. NO_COLOR forbids them even there."""
    return False if os.environ.get("NO_COLOR") else None


def colour(word: str) -> str:
    """A state in its colour."""
    return click.style(word, fg=COLOURS[word]) if word in COLOURS else word


def warn(text: str) -> None:
    err(click.style(f"! {harmless(text)}", fg="yellow"))


def _width(text: str) -> int:
    return len(COLOUR_CODE.sub("", text))


def table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Columns, aligned, without frames: as good for `grep` and `awk` as for eyes."""
    body = [["-" if cell in (None, "") else str(cell) for cell in row] for row in rows]
    widths = [max(_width(row[at]) for row in [list(head), *body]) for at in range(len(head))]
    for row in [[click.style(word, bold=True) for word in head], *body]:
        cells = [cell + " " * (width - _width(cell)) for cell, width in zip(row, widths, strict=True)]
        out("  ".join(cells).rstrip())


def ago(iso: str | None) -> str:
    """How long ago an instant was, or how far ahead it is."""
    from datetime import UTC, datetime

    if not iso:
        return "-"
    seconds = (datetime.now(UTC) - datetime.fromisoformat(iso)).total_seconds()
    ahead, seconds = seconds < 0, abs(seconds)
    for size, word in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            text = f"{seconds / size:.0f} {word}"
            break
    else:
        text = f"{seconds:.0f} s"
    return f"in {text}" if ahead else f"{text} ago"


def person(name: str | None) -> str:
    """Who did something; the id of a key is too long for a table."""
    return harmless(name or "").partition("/key_")[0]


def milliseconds(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.0f} ms" if value < 10_000 else f"{value / 1000:.1f} s"


def after(body: Mapping[str, Any]) -> None:
    """What every answer ends with: warnings, and what is likely next."""
    for text in body.get("warnings", []):
        warn(str(text))
    for each in body.get("next", []):
        command = suggestion(str(each.get("tool")), dict(each.get("params") or {}))
        err(f"  next: {click.style(command, bold=True)}" + (f"  ({each['why']})" if each.get("why") else ""))


def failure(body: Mapping[str, Any]) -> None:
    """A refusal or a failed operation: the sentence, its evidence, what to do."""
    details = body.get("details") or {}
    err(click.style(f"✗ {harmless(str(body.get('error', 'the call failed')))}", fg="red"))
    for each in details.get("fields", []):
        if isinstance(each, Mapping):
            err(f"    {each.get('field')}: {harmless(str(each.get('problem')))}")
    planned(details)
    for lock in details.get("locks", []):
        words = [harmless(str(lock[name])) for name in ("path", "taskId", "branch")]
        err(f"    {words[0]}: {words[1]} on {words[2]} by {person(lock['author'])}, free {ago(lock['until'])}")
    for line in [*details.get("logs", []), *(details[name] for name in ("github", "reason") if details.get(name))]:
        err(click.style("    │ ", fg="bright_black") + harmless(str(line)))
    if hint := body.get("hint"):
        err(f"  {harmless(str(hint))}")
    if operation := details.get("operationId"):
        err(f"  The operation is on record: {click.style(f'we ops {operation}', bold=True)}")
    if body.get("code") == "internal" and body.get("correlationId"):
        err(f"  Its id in the server's log: {body['correlationId']}")
    after(body)


def planned(details: Mapping[str, Any]) -> None:
    """What a call that waits for somebody would change, and how far that reaches."""
    if "planId" not in details:
        return
    for change in details.get("changes", []):
        err(f"  - {harmless(str(change))}")
    for what, those in (details.get("touches") or {}).items():
        if those:
            err(f"  {what}: {harmless(', '.join(str(each) for each in those))}")
    if details.get("approvalId") and details.get("state") == "waiting":
        command = suggestion("approve", {"approvalId": str(details["approvalId"])})
        err(f"  for somebody else: {click.style(command, bold=True)}, until {ago(details.get('expiresAt'))}")


def success(body: Mapping[str, Any]) -> None:
    """Any answer: its sentence, its data, its warnings and what is next."""
    out(str(body.get("summary", "")))
    facts({name: value for name, value in body.items() if name not in ENVELOPE})
    after(body)


def facts(data: Mapping[str, Any], indent: str = "  ") -> None:
    """Plain JSON values as lines and tables."""
    plain = {name: value for name, value in data.items() if not _nested(value)}
    width = max((len(name) for name in plain), default=0)
    for name, value in plain.items():
        if value not in (None, "", [], {}):
            out(f"{indent}{name:<{width}}  {_word(value)}")
    for name, value in data.items():
        if isinstance(value, Mapping) and value:
            out(f"{indent}{name}")
            facts(value, indent + "  ")
        elif _nested(value) and isinstance(value, list):
            columns = [key for key in value[0] if not any(_nested(row.get(key)) for row in value)]
            out()
            table(columns, [[_brief(row.get(key)) for key in columns] for row in value])


def _nested(value: Any) -> bool:
    rows = isinstance(value, list) and bool(value) and all(isinstance(each, Mapping) for each in value)
    return rows or (isinstance(value, Mapping) and bool(value))


def _brief(value: Any) -> str:
    """In a table a long list would push everything else off the screen."""
    if isinstance(value, list) and len(value) > MOST_LISTED:
        return f"{_word(value[:MOST_LISTED])}, … ({len(value)})"
    return _word(value)


def _word(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(_word(each) for each in value)
    return "" if value is None else colour(harmless(str(value)))


def flush() -> None:
    sys.stdout.flush()
