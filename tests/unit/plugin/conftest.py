"""The plugin's hooks are programs of their own: here they are imported as they are, and run as they are."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[3]
PLUGIN = ROOT / "plugins" / "we"
HOOKS = PLUGIN / "hooks"

Hook = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(autouse=True)
def person(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Whose machine it is: nobody's settings count."""
    for name in (
        "CODEB_HOME",
        "CODEB_CADDY_DIR",
        "CLAUDE_PLUGIN_OPTION_URL",
        "CLAUDE_PLUGIN_OPTION_API_KEY",
        "CLAUDE_PLUGIN_ROOT",
    ):
        monkeypatch.delenv(name, raising=False)
    home = tmp_path / "ann"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    return home


@pytest.fixture
def hook(person: Path) -> Hook:
    """Run a hook as hooks.json does, on a bare interpreter that knows nothing of this environment."""

    def run(script: str, *words: str, event: Any, **variables: str) -> "subprocess.CompletedProcess[str]":
        text = event if isinstance(event, str) else json.dumps(event)
        return subprocess.run(
            [sys.executable, "-E", "-S", str(HOOKS / script), *words], input=text, capture_output=True, text=True, timeout=30,
            cwd=person, env={"HOME": str(person), "PATH": "/usr/bin:/bin", **variables},
        )  # fmt: skip

    return run
