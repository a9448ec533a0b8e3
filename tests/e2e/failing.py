"""Images that are not fit for traffic, each in its own way, built from what is on this machine."""

import json
from dataclasses import dataclass, field
from typing import Any

from demo.images import HEALTHCHECK, Builder

REPOSITORY = "codebtest-unfit"
FAILS = ["python3", "-S", "-c", "raise SystemExit(1)"]
DEAF = "import signal,time; signal.signal(15, signal.SIG_IGN); print('deaf to SIGTERM', flush=True); time.sleep(600)"
ELSEWHERE = "import socket,time; s=socket.create_server(('', 3999)); print('listening on 3999', flush=True); time.sleep(600)"


@dataclass(frozen=True)
class Case:
    """One image and how a deploy of it has to end: its error code or "" for success, and within which seconds."""

    name: str
    code: str
    soonest: float
    latest: float
    says: str = ""
    """in the error's message or in the container's last lines"""
    timeout: float = 60.0
    env: dict[str, str] = field(default_factory=dict)
    healthcheck: list[str] | None = None
    command: str | None = None

    @property
    def tag(self) -> str:
        return f"{REPOSITORY}:{self.name}"

    def build(self, builder: Builder) -> None:
        if self.command is None:
            builder.app(self.tag, self.name, self.env, self.healthcheck, 0.3)
            return
        command = json.dumps(["python3", "-u", "-c", self.command])
        builder._build(self.tag, f"FROM {builder.base()}\nCMD {command}\n")


def health(value: str) -> dict[str, Any]:
    return {"HEALTH": value}


# Where a time-out ends it, the deploy may take that long, one last try and the container's own stop.
CASES = (
    Case("fit", "", 0, 5),
    Case("healthcheck", "", 0.3, 6, healthcheck=HEALTHCHECK),
    Case("healthcheck-fails", "healthcheck_failed", 0.5, 8, "HEALTHCHECK", healthcheck=FAILS),
    Case("exits", "container_exited", 0, 3, "cannot start: EXIT_CODE is 7", env={"EXIT_CODE": "7"}),
    Case("never-listens", "health_failed", 1.5, 5, "opens no port", timeout=2, env=health("never")),
    Case("hangs", "health_failed", 1.5, 5, "no answer within", timeout=2, env=health("hang")),
    Case("drips", "health_failed", 1.5, 5, "no answer within", timeout=2, env=health("drip")),
    Case("500-then-200", "", 0.1, 6, env=health("500-then-200:6")),
    Case("always-500", "health_failed", 1.5, 5, "status 500", timeout=2, env=health("500")),
    Case("redirects", "", 0, 5, env=health("redirect")),
    Case("wrong-port", "health_failed", 1.5, 5, "listening on 3999", timeout=2, command=ELSEWHERE),
    Case("slow-start", "", 2, 6, env={"START_DELAY": "2"}),
    Case("deaf", "health_failed", 1.5, 16, "deaf to SIGTERM", timeout=2, command=DEAF),
)
