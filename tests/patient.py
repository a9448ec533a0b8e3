"""A machine to be examined: `we doctor` run on it as a person would, and what it says by the name of each check."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

SECONDS = 90.0


@dataclass(frozen=True)
class Examined:
    code: int
    checks: list[dict[str, Any]]
    lines: str

    def named(self, name: str) -> dict[str, Any]:
        """The worst finding of this name."""
        found = [each for each in self.checks if each["name"] == name]
        assert found, f"no check {name}: {self.checks}"
        return sorted(found, key=lambda each: ("fail", "warn", "pass").index(each["status"]))[0]

    @property
    def failed(self) -> list[str]:
        return [f"{each['name']}: {each['text']}" for each in self.checks if each["status"] == "fail"]

    def says(self, name: str, status: str, text: str, fix: str) -> None:
        """This check has this status, and its words and its repair contain these."""
        found = self.named(name)
        assert found["status"] == status, found
        assert text in found["text"], found
        assert fix in found["fix"], found
        assert (self.code == 1) == bool(self.failed), (self.code, self.failed)


def examine(settings: Mapping[str, str], before: tuple[str, ...] = ()) -> Examined:
    """`we doctor --json` with these CODEB_* variables and no others; `before` is put in front of the command."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CODEB_")}
    if "CODEB_DOCKER_HOST" in os.environ:
        kept["CODEB_DOCKER_HOST"] = os.environ["CODEB_DOCKER_HOST"]
    environment = kept | {f"CODEB_{name}": value for name, value in settings.items()}
    command = [*before, sys.executable, "-m", "codeb.entry.cli.main", "doctor", "--json"]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert ended.returncode in (0, 1), ended.stderr
    said = json.loads(ended.stdout)
    assert said["failed"] == sum(each["status"] == "fail" for each in said["checks"])
    for each in said["checks"]:
        assert each["fix"] or each["status"] == "pass", f"a fault without a repair: {each}"
    return Examined(ended.returncode, said["checks"], ended.stdout)
