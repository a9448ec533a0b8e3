"""Registries of ports that other tools kept in files: what they claim.

Known shapes, and any mixture of them in one document:
`projects.{name}.ports.{environment}.{blue,green}`; `projects.{name}.{environment}.{blue,green}`;
`ports.allocated.{port}` or `allocated.{port}`, which is a project's name or `{project, slot}`;
lists of used ports (`usedPorts`, `ports.used`, `allocated`); and one project's own file, `{environment}.{blue,green}`.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from codeb.model import grammar
from codeb.model.names import Place
from codeb.model.ports import Ranges


@dataclass(frozen=True)
class Claim:
    """That this environment has these ports; one of them is None where the file names only the other."""

    place: Place
    blue: int | None
    green: int | None
    where: str
    """the place in the document, as a path"""

    @property
    def ports(self) -> tuple[int, ...]:
        return tuple(port for port in (self.blue, self.green) if port is not None)

    @property
    def whole(self) -> bool:
        """An even port and the one above it: what CodeB calls a pair."""
        return self.blue is not None and self.blue % 2 == 0 and self.green == self.blue + 1


@dataclass(frozen=True)
class Unread:
    """What stands in the document and cannot be taken as a claim, and why."""

    where: str
    why: str


@dataclass
class OldRegistry:
    claims: list[Claim] = field(default_factory=list)
    reserved: set[int] = field(default_factory=set)
    """ports that a list names as used, without saying by whom"""
    unread: list[Unread] = field(default_factory=list)


class NotARegistry(ValueError):
    """The text is no document of any of the shapes."""


def read(text: str, ranges: Ranges, project: str | None = None) -> OldRegistry:
    """What the document claims. `project`: whose it is, for a file that names none.

    Raises `NotARegistry` with a sentence for a person: no JSON, a name twice in one object, none of the shapes.
    """
    document = _parsed(text)
    found = OldRegistry()
    projects = document.get("projects")
    if isinstance(projects, dict):
        for name, said in projects.items():
            _project(found, str(name), said, f"projects.{name}")
    elif project is not None:
        _environments(found, project, document.get("ports", document), "")
    singles: dict[int, tuple[str, str | None, str]] = {}
    for where, said in _allocations(document):
        singles |= _singles(found, said, where)
    _lists(found, document)
    _together(found, singles, ranges)
    if not (found.claims or found.reserved or found.unread):
        raise NotARegistry(
            "it names no ports in any of the known shapes (projects, ports.allocated, usedPorts, or one project's environments)"
        )
    return found


def _parsed(text: str) -> dict[str, Any]:
    try:
        document = json.loads(text, object_pairs_hook=_object)
    except RecursionError:
        raise NotARegistry("it is nested too deeply") from None
    except ValueError as fault:
        raise NotARegistry(f"it is not JSON: {fault}") from None
    if not isinstance(document, dict):
        raise NotARegistry("it is JSON, but not an object")
    return document


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise NotARegistry(f"it says {twice!r} twice in one object, and which one holds cannot be known")
    return made


def _project(found: OldRegistry, name: str, said: Any, where: str) -> None:
    if not isinstance(said, dict):
        found.unread.append(Unread(where, "is not an object"))
        return
    ports = said.get("ports")
    if isinstance(ports, dict):
        _environments(found, name, ports, f"{where}.ports")
    else:
        _environments(found, name, said, where)


def _environments(found: OldRegistry, name: str, said: Any, where: str) -> None:
    """Every member that looks like a pair of an environment; other members (database, domain…) are not about ports."""
    for environment, pair in said.items() if isinstance(said, dict) else ():
        if not isinstance(pair, dict) or not {"blue", "green"} & set(pair):
            continue
        at = f"{where}.{environment}".lstrip(".")
        place = _place(found, name, environment, at)
        ports = {slot: pair.get(slot) for slot in ("blue", "green")}
        wrong = [slot for slot, port in ports.items() if port is not None and not _is_port(port)]
        found.unread += [Unread(f"{at}.{slot}", "is not a TCP port") for slot in wrong]
        if place is not None and not wrong:
            found.claims.append(Claim(place, ports["blue"], ports["green"], at))


def _is_port(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value < 65536


def _place(found: OldRegistry, name: str, environment: str, where: str) -> Place | None:
    try:
        return Place(grammar.project_name(name), grammar.environment(environment))
    except ValueError as fault:
        found.unread.append(Unread(where, str(fault)))
        return None


def _allocations(document: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    ports = document.get("ports")
    for where, said in (("ports.allocated", ports.get("allocated") if isinstance(ports, dict) else None),
                        ("allocated", document.get("allocated"))):  # fmt: skip
        if isinstance(said, dict):
            yield where, said


def _singles(found: OldRegistry, said: Mapping[str, Any], where: str) -> dict[int, tuple[str, str | None, str]]:
    """Port by port: whose it is, in which slot if that is said, and where it stands."""
    made: dict[int, tuple[str, str | None, str]] = {}
    for text, holder in said.items():
        at = f"{where}.{text}"
        name = holder.get("project", holder.get("projectName")) if isinstance(holder, dict) else holder
        slot = holder.get("slot") if isinstance(holder, dict) else None
        if not (text.isascii() and text.isdecimal() and _is_port(int(text[:6]))):
            found.unread.append(Unread(at, "is not a TCP port"))
        elif not isinstance(name, str):
            found.unread.append(Unread(at, "does not say which project has it"))
        else:
            made[int(text)] = (name, slot if slot in ("blue", "green") else None, at)
    return made


def _lists(found: OldRegistry, document: Mapping[str, Any]) -> None:
    ports = document.get("ports")
    lists = [document.get("usedPorts"), document.get("allocated")]
    lists += [ports.get("used"), ports.get("allocated")] if isinstance(ports, dict) else []
    for each in lists:
        if isinstance(each, list):
            found.reserved |= {port for port in each if _is_port(port)}


def _together(found: OldRegistry, singles: Mapping[int, tuple[str, str | None, str]], ranges: Ranges) -> None:
    """Single ports that a pair of the same project does not claim already, put together to pairs where they make one."""
    claimed = {(port, each.place.project) for each in found.claims for port in each.ports}
    for port, (name, slot, at) in sorted(singles.items()):
        place = _place(found, name, ranges.environment_of(port), at)
        if place is not None and (port, place.project) not in claimed:
            _claim(found, place, port, slot, at)


def _claim(found: OldRegistry, place: Place, port: int, slot: str | None, at: str) -> None:
    """One more port of a place: the other half of a claim that has only the even one, or a claim of its own."""
    half = next((each for each in found.claims if each.place == place and each.blue == port - 1 and each.green is None), None)
    if half is not None and slot != "blue":
        found.claims[found.claims.index(half)] = Claim(place, half.blue, port, half.where)
        return
    blue = slot == "blue" or (slot is None and port % 2 == 0)
    found.claims.append(Claim(place, port if blue else None, None if blue else port, at))
