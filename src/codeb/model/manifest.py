"""`codeb.toml` of a source tree: what its project is to be, kept and reviewed with the source (decision 21).

Each key is a param of the tools in their snake case. What the file does not name is nobody's business here: it stays as it
is. Variables and passwords have no place in it; CodeB keeps those. The server's own settings are another file of the same
name, in its home (CODEB_HOME).
"""

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from codeb.model import grammar, toml_text
from codeb.model.names import closest

FILE = "codeb.toml"
LARGEST = 65_536
TYPES = ("nextjs", "remix", "nodejs", "python", "go", "docker")
USUAL = ("production",)
"""the environments of a project that names none"""
MOST_ENVIRONMENTS, MOST_DOMAINS = 10, 100
VARIABLE = re.compile(r"[A-Z][A-Z0-9_]*")
VARIABLES = frozenset({"env", "environment_variables", "variables", "vars", "secrets", "secret", "password", "url"})
"""tables and keys under which people look for a place for variables"""
SECRET = ("_password", "_secret", "_token", "_key")
SERVERS = frozenset({
    "home", "host", "port", "database_url", "storage_database_url", "storage_redis_url", "master_key_file", "docker_host",
    "runtime", "caddy_bin", "caddy_dir", "http_port", "https_port", "tls", "base_domain", "image_registry",
    "image_registry_user", "image_registry_password", "pdns_url", "pdns_api_key", "grace_hours", "rate_limit",
    "health_timeout", "firewall",
})  # fmt: skip
"""settings of a server, by which its file is told from a tree's"""

HEADER = re.compile(r"\s*(\[{1,2})\s*([A-Za-z0-9_-]+)\s*\]{1,2}\s*(?:#.*)?")
KEY = re.compile(r"\s*[\"']?([A-Za-z0-9_-]+)[\"']?\s*(?:\.[^=]*)?=.*")


@dataclass(frozen=True)
class Name:
    """A domain, and the environment it leads to."""

    name: str
    environment: str
    redirect: bool | None = None
    """whether the name with www. in front (or without it) sends its visitors to this one; None: not said"""


@dataclass(frozen=True)
class Manifest:
    """What the file says; None: it does not say, so that stays as it is."""

    project: str
    environment: str | None = None
    """which one commands in this tree mean when they are not told; of no concern to the server"""
    type: str | None = None
    container_port: int | None = None
    health_path: str | None = None
    memory_mb: int | None = None
    cpus: float | None = None
    auto_rollback: bool | None = None
    watch_seconds: int | None = None
    environments: tuple[str, ...] | None = None
    database: tuple[str, ...] | None = None
    """the environments that have one"""
    redis: tuple[str, ...] | None = None
    domains: tuple[Name, ...] | None = None

    @property
    def places(self) -> tuple[str, ...]:
        """The environments it is about."""
        return self.environments or USUAL


SETTINGS = ("type", "container_port", "health_path", "memory_mb", "cpus", "auto_rollback", "watch_seconds")
"""what a project has as a whole"""


@dataclass(frozen=True)
class Fault:
    """What is wrong; nothing of what a value says is in it, since that may be a secret in the wrong place."""

    key: str
    problem: str
    line: int | None = None

    def __str__(self) -> str:
        return (
            f"line {self.line}, {self.key}: {self.problem}" if self.line and self.key else f"{self.key or FILE}: {self.problem}"
        )


class NotAManifest(ValueError):
    """Every fault there is, in the order of the file."""

    def __init__(self, *faults: Fault) -> None:
        super().__init__("; ".join(map(str, faults)))
        self.faults = tuple(sorted(faults, key=lambda each: each.line or 0))


# reading


def read(text: str) -> Manifest:
    """Raises `NotAManifest`."""
    if len(text) > LARGEST:
        raise NotAManifest(Fault("", f"is longer than {LARGEST} characters"))
    try:
        said = toml_text.parsed(text)
    except ValueError as fault:
        raise NotAManifest(Fault("", f"is not TOML: {fault}")) from None
    look = _Look(_lines(text))
    found = {name: look.value(name, said[name], check) for name, check in _PLAIN.items() if name in said}
    places = found.get("environments") or USUAL
    for name in ("database", "redis"):
        if name in said:
            found[name] = look.part(name, said[name], places)
    if "domains" in said:
        found["domains"] = look.domains(said["domains"], places)
    look.unknown("", said, KEYS)
    if "project" not in said:
        look.faults.append(Fault("project", "is missing: which project this tree is"))
    if look.faults:
        raise NotAManifest(*look.faults)
    return Manifest(**found)


def _lines(text: str) -> dict[str, int]:
    """Where each key stands, `domains[1].name` and the like; good enough to find it by."""
    found, table, counts = dict[str, int](), "", dict[str, int]()
    for number, line in enumerate(text.splitlines(), 1):
        if header := HEADER.fullmatch(line):
            table = header[2]
            if header[1] == "[[":
                counts[table] = counts.get(table, -1) + 1
                table = f"{table}[{counts[table]}]"
            found.setdefault(table, number)
            found.setdefault(header[2], number)
        elif key := KEY.fullmatch(line):
            found.setdefault(f"{table}.{key[1]}".lstrip("."), number)
    return found


def _whole(first: int, last: int) -> Callable[[Any], int]:
    def check(value: Any) -> int:
        if type(value) is not int or not first <= value <= last:
            raise ValueError(f"is a whole number from {first} to {last}")
        return value

    return check


def _cores(value: Any) -> float:
    if type(value) not in (int, float) or not 0.1 <= value <= 64:
        raise ValueError("is a number of cores from 0.1 to 64")
    return float(value)


def _truth(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("is true or false")
    return value


def _text(grammar_of_it: Callable[[str], str]) -> Callable[[Any], str]:
    def check(value: Any) -> str:
        if not isinstance(value, str):
            raise ValueError("is a text, in quotes")
        return grammar_of_it(value)

    return check


def _kind(text: str) -> str:
    if text not in TYPES:
        raise ValueError(f"is one of {', '.join(TYPES)}")
    return text


def _environments(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise ValueError('is a list of environments, such as ["production", "staging"]')
    if len(value) > MOST_ENVIRONMENTS or len(set(value)) != len(value):
        raise ValueError(f"names each environment once, and at most {MOST_ENVIRONMENTS}")
    return tuple(grammar.environment(each) for each in value)


def _some(value: Any) -> tuple[str, ...]:
    if not (found := _environments(value)):
        raise ValueError("names at least one environment")
    return found


def _domain(text: str) -> str:
    return grammar.domain(text, "localhost")


_PLAIN: Mapping[str, Callable[[Any], Any]] = {
    "project": _text(grammar.project_name), "environment": _text(grammar.environment), "type": _text(_kind),
    "container_port": _whole(1, 65535), "health_path": _text(grammar.health_path), "memory_mb": _whole(32, 262144),
    "cpus": _cores, "auto_rollback": _truth, "watch_seconds": _whole(0, 86400), "environments": _some,
}  # fmt: skip
KEYS = (*_PLAIN, "database", "redis", "domains")
PARTS = ("environments",)
DOMAINS = ("name", "environment", "redirect")


@dataclass
class _Look:
    """Goes through the file and notes whatever is wrong, so that all of it is said at once."""

    lines: Mapping[str, int]
    faults: list[Fault] = field(default_factory=list)

    def fault(self, where: str, problem: str) -> None:
        self.faults.append(Fault(where, problem, self.lines.get(where)))

    def value(self, where: str, value: Any, check: Callable[[Any], Any]) -> Any:
        try:
            return check(value)
        except ValueError as fault:
            self.fault(where, str(fault))
            return None

    def part(self, name: str, said: Any, places: tuple[str, ...]) -> tuple[str, ...]:
        """`[database]` alone is one for each environment."""
        if not isinstance(said, dict):
            self.fault(name, f"is a table: [{name}]")
            return ()
        self.unknown(name, said, PARTS)
        if "environments" not in said:
            return places
        found = self.value(f"{name}.environments", said["environments"], _environments) or ()
        self.known(f"{name}.environments", found, places)
        return tuple(found)

    def known(self, where: str, found: Collection[str], places: tuple[str, ...]) -> None:
        if other := [each for each in found if each not in places]:
            self.fault(where, f"{', '.join(other)} is none of its environments ({', '.join(places)})")

    def domains(self, said: Any, places: tuple[str, ...]) -> tuple[Name, ...]:
        if not isinstance(said, list) or not all(isinstance(each, dict) for each in said) or len(said) > MOST_DOMAINS:
            self.fault("domains", f"is a table for each domain, at most {MOST_DOMAINS}: [[domains]]")
            return ()
        found = [self.domain(f"domains[{number}]", each, places) for number, each in enumerate(said)]
        names = [each.name for each in found if each.name]
        for number, each in enumerate(found):
            if each.name and each.name in names[:number]:
                self.fault(f"domains[{number}].name", "is there twice")
        return tuple(found)

    def domain(self, where: str, said: dict[str, Any], places: tuple[str, ...]) -> Name:
        self.unknown(where, said, DOMAINS)
        if "name" not in said:
            self.fault(where, "has no name")
        name = self.value(f"{where}.name", said["name"], _text(_domain)) if "name" in said else None
        environment = self.value(f"{where}.environment", said.get("environment", places[0]), _text(grammar.environment))
        if environment is not None:
            self.known(f"{where}.environment", [environment], places)
        redirect = self.value(f"{where}.redirect", said["redirect"], _truth) if "redirect" in said else None
        return Name(name or "", environment or "", redirect)

    def unknown(self, where: str, said: Mapping[str, Any], known: tuple[str, ...]) -> None:
        for key in said:
            if key not in known:
                self.fault(f"{where}.{key}".lstrip("."), _why(where, key, known))


def _why(where: str, key: str, known: tuple[str, ...]) -> str:
    allowed = f"known are {', '.join(known)}"
    servers = not where and key in SERVERS
    if not servers and (VARIABLE.fullmatch(key) or key.lower() in VARIABLES or key.lower().endswith(SECRET)):
        return "variables and secrets are not kept in this file: `we env set` asks for the value, and CodeB keeps it sealed"
    near = [each for each in known if key and each.endswith(f"_{key.lower()}")] or closest(key, known, 1)
    meant = f"; did you mean {near[0]}?" if near else ""
    if servers:
        return f"is not known here{meant} It is a setting of a server, whose {FILE} is in its home (CODEB_HOME)"
    return f"is not known here{meant} {allowed.capitalize()}" if meant else f"is not known here; {allowed}"


# writing


def write(manifest: Manifest, notes: Mapping[str, str] | None = None) -> str:
    """The file that reads back as this; `notes`: what to say beside a key, such as where its value was seen."""
    lines = [
        f"# What {manifest.project} is to be: `we plan` says what differs from the server, `we apply` makes it so.",
        "# What is not named here stays as it is. No variables, no passwords: `we env set`.", "",
    ]  # fmt: skip
    for name in ("project", "environment", *SETTINGS, "environments"):
        if (value := getattr(manifest, name)) is not None:
            note = (notes or {}).get(name, "")
            lines.append(f"{name} = {_said(value)}" + (f"  # {note}" if note and note.isascii() and note.isprintable() else ""))
    if manifest.domains == ():
        lines.append("domains = []")
    for name in ("database", "redis"):
        if (places := getattr(manifest, name)) is not None:
            lines += ["", f"[{name}]", *([] if places == manifest.places else [f"environments = {_said(places)}"])]
    for each in manifest.domains or ():
        lines += ["", "[[domains]]", f"name = {_said(each.name)}", f"environment = {_said(each.environment)}"]
        lines += [] if each.redirect is None else [f"redirect = {_said(each.redirect)}"]
    return "\n".join(lines) + "\n"


def _said(value: Any) -> str:
    """Every text here has passed a grammar without quotes and backslashes."""
    if isinstance(value, tuple):
        return f"[{', '.join(_said(each) for each in value)}]"
    if isinstance(value, bool):
        return "true" if value else "false"
    return f'"{value}"' if isinstance(value, str) else repr(value)
