"""GitHub workflows away from GitHub: four checkers of their text, and a runner of their jobs. Needs Node 20 or newer and npm.

The runner evaluates expressions by GitHub's own library and runs steps under bash as a runner does; its own head says what it
does not do. Programs are fetched once, into `.test-run/actions`.
"""

import fcntl
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

SOURCES = Path(__file__).parent / "fixtures/actions"
KEPT = Path(os.environ.get("CODEB_TEST_ACTIONS", ".test-run/actions"))
NODE_PACKAGES = (
    "@actions/languageservice@0.3.61", "@actions/expressions@0.3.61", "yaml@2.9.1", "vscode-languageserver-textdocument@1.0.16",
    "esbuild@0.28.2",
)  # fmt: skip
PYTHON_PACKAGES = ("zizmor==1.32.0", "check-jsonschema==0.39.0")


def _run(
    *words: str | Path, folder: Path | None = None, seconds: float = 600, text: str = ""
) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(words, cwd=folder, input=text, capture_output=True, text=True, timeout=seconds, check=False)


def _good(*words: str | Path, folder: Path | None = None) -> None:
    said = _run(*words, folder=folder)
    assert said.returncode == 0, f"{words}\n{said.stdout}\n{said.stderr}"


@dataclass(frozen=True)
class Ran:
    """What a run of a workflow came to, by job."""

    jobs: Mapping[str, Any]

    def result(self, job: str) -> str:
        return str(self.jobs[job]["result"])

    def log(self, job: str) -> str:
        return "\n".join(f"== {each['name']}: {each['result']}\n{each['log']}" for each in self.jobs[job]["steps"])

    def steps(self, job: str) -> dict[str, str]:
        return {each["name"]: each["result"] for each in self.jobs[job]["steps"]}


class Actions:
    """The programs, fetched when they are first needed."""

    def __init__(self) -> None:
        KEPT.mkdir(parents=True, exist_ok=True)
        self.folder = KEPT.resolve()
        with (self.folder / "lock").open("a") as turn:
            fcntl.flock(turn, fcntl.LOCK_EX)
            if not (self.folder / "venv/bin/zizmor").exists():
                _good(sys.executable, "-m", "venv", self.folder / "venv")
                _good(self.folder / "venv/bin/pip", "install", "--quiet", *PYTHON_PACKAGES)
            if not (self.folder / "node_modules/esbuild").exists():
                _good("npm", "install", "--no-audit", "--no-fund", "--silent", *NODE_PACKAGES, folder=self.folder)
            for name in ("lint", "run"):
                shutil.copy(SOURCES / f"{name}.mjs", self.folder)
                # in one file: some of them import JSON in a way that Node refuses
                whole = ["--bundle", "--platform=node", "--format=cjs", f"--outfile={name}.cjs", "--log-level=error"]
                _good("npx", "esbuild", f"{name}.mjs", *whole, folder=self.folder)

    def faults(self, files: Sequence[Path]) -> list[str]:
        """What any of the four finds: GitHub's parser, the JSON schema, zizmor, shellcheck."""
        said = _run("node", self.folder / "lint.cjs", *files)
        assert said.returncode == 0, said.stderr
        found = [f"{file}: {each}" for file, faults in json.loads(said.stdout).items() for each in faults]
        programs = self.folder / "venv/bin"
        schema = _run(programs / "check-jsonschema", "-q", "--builtin-schema", "vendor.github-workflows", *files)
        audit = _run(programs / "zizmor", "-q", "--offline", "--no-progress", "--format", "plain", *files)
        found += [each.stdout + each.stderr for each in (schema, audit) if each.returncode]
        for file in files:
            for name, job in yaml.safe_load(file.read_text())["jobs"].items():
                for step in job["steps"]:
                    shell = _run("shellcheck", "-s", "bash", "-S", "warning", "-f", "gcc", "-", text=step.get("run", ""))
                    found += [f"{file} {name} {step.get('name')}: {shell.stdout}"] if shell.returncode else []
        return found

    def run(self, workflow: Path, tree: Path, context: Mapping[str, Any]) -> Ran:
        file = self.folder / f"context-{os.getpid()}.json"
        file.write_text(json.dumps(context))
        said = _run("node", self.folder / "run.cjs", workflow, tree, file)
        file.unlink()
        assert said.returncode == 0, said.stderr
        return Ran(json.loads(said.stdout))
