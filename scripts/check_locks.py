"""Whether requirements/*.txt still fit pyproject.toml: what it asks for is pinned there, with hashes, in a version it allows.

python scripts/check_locks.py [FOLDER]
"""

import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PIN = re.compile(r"(?P<name>[A-Za-z0-9._-]+)==(?P<version>[^ ;]+)(?: ; [^\\]+)?(?: \\)?")
HASH = re.compile(r"    --hash=sha256:[0-9a-f]{64}(?: \\)?")


def pins(text: str) -> tuple[dict[str, str], list[str]]:
    """The pinned version of each package, and the lines that are neither a pin with hashes nor a hash."""
    found: dict[str, str] = {}
    odd: list[str] = []
    lines = text.splitlines()
    for line, following in zip(lines, [*lines[1:], ""], strict=True):
        if pin := PIN.fullmatch(line):
            found[canonicalize_name(pin["name"])] = pin["version"]
            if not HASH.fullmatch(following):
                odd.append(line)
        elif not HASH.fullmatch(line):
            odd.append(line)
    return found, odd


def asked(project: dict[str, Any], extras: list[str]) -> list[Requirement]:
    """What the project, its way of being built and these extras ask for."""
    said = [*project["build-system"]["requires"], *project["project"]["dependencies"]]
    for extra in extras:
        said += project["project"]["optional-dependencies"][extra]
    return [Requirement(each) for each in said]


def findings(root: Path) -> Iterator[str]:
    """What does not fit, as `path: what`."""
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    locks: dict[str, dict[str, str]] = {}
    for name, extras in {"server": ["server"], "dev": list(project["project"]["optional-dependencies"])}.items():
        lock = f"requirements/{name}.txt"
        locks[name], odd = pins((root / lock).read_text(encoding="utf-8"))
        yield from (f"{lock}: not a pin with hashes: {line.strip()}" for line in odd)
        for requirement in asked(project, extras):
            version = locks[name].get(canonicalize_name(requirement.name))
            if version is None:
                yield f"{lock}: {requirement.name} is missing (make lock)"
            elif not requirement.specifier.contains(version, prereleases=True):
                yield f"{lock}: {requirement.name} {version} is not {requirement.specifier} (make lock)"
    for package, version in locks["server"].items():
        if locks["dev"].get(package) != version:
            yield f"requirements/dev.txt: {package} is not {version} as in server.txt (make lock)"


def main(root: Path) -> int:
    found = list(findings(root))
    for each in found:
        print(each)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parent.parent))
