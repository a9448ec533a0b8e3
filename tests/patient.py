"""A machine to be examined: `we doctor` run on it as a person would, and what it says by the name of each check."""

import atexit
import functools
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.e2e.nursery import PROGRAM, Nursery

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


DOCTOR = PROGRAM.format(
    load="""
from codeb.drivers.runtime import docker_client
from codeb.entry.cli.main import main
from codeb.entry.doctor import examine
docker_client.CALL_SECONDS = 3.0
""",
    run='main(["doctor", "--json"])',
)
"""has imported all that the doctor needs; and waits three seconds, not fifteen, for a Docker that says nothing"""


@functools.cache
def nursery() -> Nursery:
    made = Nursery(DOCTOR)
    atexit.register(made.close)
    return made


def examine(settings: Mapping[str, str], before: tuple[str, ...] = ()) -> Examined:
    """`we doctor --json` with these CODEB_* variables and no others; `before` is put in front of the command."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CODEB_")}
    if "CODEB_DOCKER_HOST" in os.environ:
        kept["CODEB_DOCKER_HOST"] = os.environ["CODEB_DOCKER_HOST"]
    environment = kept | {f"CODEB_{name}": value for name, value in settings.items()}
    with tempfile.TemporaryDirectory(prefix="codebtest-doctor-") as folder:
        out, log = Path(folder, "out"), Path(folder, "log")
        if before:
            command = [*before, sys.executable, "-m", "codeb.entry.cli.main", "doctor", "--json"]
            with out.open("wb") as one, log.open("wb") as other:
                code = subprocess.run(command, env=environment, stdout=one, stderr=other, timeout=SECONDS, check=False).returncode
        else:
            code = nursery().fork(environment, log, out).wait(SECONDS)
        assert code in (0, 1), log.read_text()
        said = out.read_text()
        findings = json.loads(said)
    assert findings["failed"] == sum(each["status"] == "fail" for each in findings["checks"])
    for each in findings["checks"]:
        assert each["fix"] or each["status"] == "pass", f"a fault without a repair: {each}"
    return Examined(code, findings["checks"], said)
