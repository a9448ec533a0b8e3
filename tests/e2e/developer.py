"""Somebody with a source tree, a `docker login` and the command line, somewhere else on this machine."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from demo.images import APP, HEALTH_PROBE, Builder

from tests.real_registry import RealRegistry
from tests.stage import Stage


class Developer:
    def __init__(self, stage: Stage, registry: RealRegistry, folder: Path, docker: Mapping[str, str] | None = None) -> None:
        """`docker` is what the environment says of a Docker that is not this machine's own."""
        self.stage, self.registry, self.home, self.docker = stage, registry, folder, docker or {}
        self.tree = folder / "shop"
        self.tree.mkdir()
        shutil.copy(APP, self.tree)
        shutil.copy(HEALTH_PROBE, self.tree)
        (self.tree / "Dockerfile").write_text(f"FROM {Builder().base()}\nCOPY app.py probe.py /app/\nCOPY note* /app/\n")
        (self.tree / "note.txt").write_text("for the classic builder one has to be there")
        (self.tree / ".dockerignore").write_text("secret*\n.git\n")
        (self.tree / "secret.txt").write_text("never sent")
        (self.tree / "codeb.toml").write_text(f'project = "{stage.project}"\nenvironment = "production"\n')
        (folder / ".docker").mkdir(exist_ok=True)
        auth = {"auths": {registry.address: {"auth": "Y29kZWJ0ZXN0OmNvZGVidGVzdC1wYXNz"}}}
        (folder / ".docker/config.json").write_text(json.dumps(auth))
        for words in (["init", "-q"], ["add", "."], self._commit("first")):
            self.git(*words)

    def _commit(self, text: str) -> list[str]:
        return ["-c", "user.name=codebtest", "-c", "user.email=codebtest@example.com", "commit", "-q", "-m", text]

    def git(self, *words: str) -> str:
        said = subprocess.run(["git", "-C", self.tree, *words], check=True, capture_output=True, text=True, env=self.environment)
        return said.stdout.strip()

    @property
    def environment(self) -> dict[str, str]:
        mine = {
            name: os.environ[name] for name in ("PATH", "PYTHONPATH", "DOCKER_HOST", "CODEB_DOCKER_HOST") if name in os.environ
        }
        return {
            **mine, "HOME": str(self.home), "CODEB_API_URL": f"http://127.0.0.1:{self.stage.api_port}",
            "CODEB_API_KEY": self.stage.key, **self.docker,
        }  # fmt: skip

    def change(self, text: str) -> str:
        """Another commit; gives its short name."""
        (self.tree / "note.txt").write_text(text)
        self.git("add", ".")
        self.git(*self._commit(text))
        return self.git("rev-parse", "--short=12", "HEAD")

    def we(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "codeb.entry.cli.main", *words], cwd=self.tree, env=self.environment, capture_output=True,
            text=True, timeout=240,
        )  # fmt: skip


def forget(stage: Stage, registry: RealRegistry) -> None:
    """What this machine's Docker fetched from that registry, or built for it, goes."""
    _, said = stage.engine.call("GET", "/images/json")
    for image in json.loads(said):
        for name in [*(image["RepoTags"] or []), *(image["RepoDigests"] or [])]:
            if name.startswith(f"{registry.address}/"):
                stage.engine.call("DELETE", f"/images/{name}?force=true")
