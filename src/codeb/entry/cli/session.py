"""One run of the command: whom it speaks to, what it assumes, and how a call ends in an exit code."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import click

from codeb.entry.cli import exits, settings, show
from codeb.entry.cli.client import Answer, Client, Unreachable
from codeb.entry.cli.surface import ToolView

PATIENCE_SECONDS = 60.0
"""how long a lost connection is tried again: longer than a restart of the server"""

BUDGET_SECONDS = 120.0
"""how long a key that has used up its calls is waited for in all: two windows as they are by default"""

Lost = Callable[[], None]


class Ended(Exception):
    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


@dataclass
class Session:
    api_url: str | None = None
    sleep: Callable[[float], None] = field(default=time.sleep)
    tree: Path | None = None
    """the source tree that the command is about; None: the folder it is called in"""
    told: bool = False
    """whether it was said that this command is older than the server"""

    @cached_property
    def client(self) -> Client:
        return Client(settings.where(self.api_url))

    @cached_property
    def repository(self) -> settings.Repository:
        found = settings.repository(self.tree)
        for text in found.warnings:
            show.warn(text)
        return found

    def place(self, params: dict[str, Any], tool: ToolView) -> dict[str, Any]:
        """Fill in project and environment from the repository's `codeb.toml`.

        A tool that destroys has its project named by the caller. The file's environment belongs to the file's project.
        """
        wanted = {each.name: each for each in tool.params}
        said = dict(params)
        if "projectName" not in wanted:
            return said
        if "projectName" not in said and wanted["projectName"].required and tool.risk != "destroys" and self.repository.project:
            said["projectName"] = self.repository.project
        mine = said.get("projectName") is not None and said["projectName"] == self.repository.project
        if mine and "environment" in wanted and "environment" not in said and self.repository.environment:
            said["environment"] = self.repository.environment
        return said

    def once(self, tool: str, params: dict[str, Any], *, key: str | None = None, seconds: float = 30) -> Answer:
        """One call; made again when the server says that this key has to wait, for then nothing was done."""
        left = BUDGET_SECONDS
        while True:
            answer = self.client.call(tool, params, key=key, seconds=seconds)
            if (old := answer.body.pop("versionWarning", None)) and not self.told:
                self.told = True
                show.warn(str(old))
            wait = answer.retry_after if answer.body.get("code") == "rate_limited" else 0.0
            if not 0.0 < wait <= left:
                return answer
            left -= wait
            show.warn(f"This key has used up its calls for now; asking again in {wait:g} s.")
            self.sleep(wait)

    def ask(self, tool: str, params: dict[str, Any], *, key: str | None = None, seconds: float = 30) -> Answer:
        """A call. With a `key` a call whose answer was lost is repeated until the server is back. Raises `Unreachable`."""
        try:
            return self.once(tool, params, key=key, seconds=seconds)
        except Unreachable as lost:
            if key is None or not lost.sent:
                raise
        show.warn("The connection was lost; asking again under the same key.")
        return self.patiently(tool, params, key=key, seconds=seconds)

    def patiently(
        self, tool: str, params: dict[str, Any], *, key: str | None = None, seconds: float = 30, lost: Lost | None = None
    ) -> Answer:
        """A call that may be repeated, repeated while the server is away; `lost` hears of it. Raises `Unreachable` in the end."""
        end, pause = time.monotonic() + PATIENCE_SECONDS, 0.2
        while True:
            try:
                answer = self.once(tool, params, key=key, seconds=seconds)
                # a server that is stopping answers 503, and another one follows it
                if answer.status != 503 or time.monotonic() > end:
                    return answer
            except Unreachable:
                if time.monotonic() > end:
                    raise
            if lost is not None:
                lost()
            self.sleep(pause)
            pause = min(pause * 1.6, 2.0)

    def good(self, tool: str, params: dict[str, Any], seconds: float = 30) -> dict[str, Any]:
        """The body of a call that only reads. Shows a failure and raises `Ended`."""
        answer = self.ask(tool, params, seconds=seconds)
        if not answer.ok:
            raise Ended(self.failed(answer))
        return answer.body

    def failed(self, answer: Answer) -> int:
        """Show a failure; gives its exit code."""
        show.failure(answer.body)
        if answer.status == 401:
            where = self.client.where
            show.err(f"  The key: {where.key_from}." if where.key is None else f"  The key came from {where.key_from}.")
        return exits.of(answer.status, answer.body)

    def raw(self, answer: Answer) -> int:
        """Show the server's envelope exactly as it was written, and nothing else."""
        show.out(answer.text)
        return exits.of(answer.status, answer.body)


def fresh_key() -> str:
    """A key under which one call has one effect, however often it is sent."""
    import uuid

    return f"we-{uuid.uuid4().hex}"


def unreachable(fault: Unreachable) -> int:
    show.err(click.style(f"✗ CodeB does not answer at {fault.url}: {fault.reason}.", fg="red"))
    show.err("  Start it with `we up`, or say where it is with --api-url or CODEB_API_URL; `we config` shows what is in force.")
    return exits.UNREACHABLE
