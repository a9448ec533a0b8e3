"""What makes a project as its `codeb.toml` says: the calls, in an order that is safe, and what no call may change in passing.

What the file does not name is left alone, and nothing is ever removed: whatever is there beyond the file is told, with the
call that a person makes who means it.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from codeb.model.domains import counterpart
from codeb.model.manifest import SETTINGS, Manifest, Name

PULL_REQUEST = re.compile(r"pr-[0-9]+")
PARTS = ("database", "redis")
TOOLS = {"database": "db_delete", "redis": "redis_delete"}
"""what ends one"""
WATCH = ("auto_rollback", "watch_seconds")


@dataclass(frozen=True)
class Host:
    """A domain as the server has it."""

    environment: str
    redirect_to: str | None = None


@dataclass(frozen=True)
class Standing:
    """What the server says of a project that is set up."""

    settings: Mapping[str, Any]
    """by their names in the file"""
    environments: Collection[str]
    storage: Collection[tuple[str, str]] = ()
    """(environment, `database` or `redis`)"""
    hosts: Mapping[str, Host] = field(default_factory=dict)


@dataclass(frozen=True)
class Change:
    """One call, and what it changes, a line for each."""

    lines: tuple[str, ...]
    tool: str
    params: Mapping[str, Any]
    waits: bool = False
    """whether what it acts on is made by a call before it"""


@dataclass(frozen=True)
class Differs:
    """What is not as the file says, and what somebody calls who wants it so."""

    text: str
    tool: str = ""
    params: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Plan:
    changes: tuple[Change, ...]
    differs: tuple[Differs, ...]

    @property
    def empty(self) -> bool:
        return not self.changes and not self.differs


def wire(name: str) -> str:
    """A key of the file as the tools' params call it."""
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


def compare(wanted: Manifest, there: Standing | None, updatable: Collection[str]) -> Plan:
    """`there`: None for a project that is not set up. `updatable`: the params of `project_update`, by wire name."""
    if there is None:
        return Plan(tuple(_anew(wanted)), ())
    settings, stuck = _settings(wanted, there, updatable)
    changes, differs = [*settings, *_parts(wanted, there)], [*stuck, *_beyond(wanted, there)]
    for name in wanted.domains or ():
        change, differ = _domain(wanted, name, there)
        changes += change
        differs += differ
    return Plan(tuple(changes), tuple(differs))


# a project that is not there


def _anew(wanted: Manifest) -> Iterator[Change]:
    """One operation for what it can carry, undone together; the rest after it."""
    first = next((each for each in wanted.domains or () if each.environment == wanted.places[0]), None)
    whole = [part for part in PARTS if set(_of(wanted, part)) == set(wanted.places)]
    said = {name: value for name in SETTINGS if (value := getattr(wanted, name)) is not None}
    watch = {name: said.pop(name) for name in WATCH if name in said}
    lines = [f"+ project {wanted.project}", *(f"+ {name} = {shown(value)}" for name, value in said.items())]
    lines += [f"+ environment {place}" for place in wanted.places]
    lines += [f"+ {part} of {place}" for part in whole for place in wanted.places]
    lines += [f"+ domain {_words(first)}"] if first else []
    params = {"projectName": wanted.project, "environments": list(wanted.places), **_wired(said), **dict.fromkeys(whole, True)}
    params |= {"domain": first.name} | _redirect(first) if first else {}
    yield Change(tuple(lines), "workflow_init", params)
    if watch:
        lines = [f"+ {name} = {shown(value)}" for name, value in watch.items()]
        yield Change(tuple(lines), "project_update", {"projectName": wanted.project, **_wired(watch)}, waits=True)
    for place in wanted.places:
        lacks = [part for part in PARTS if part not in whole and place in _of(wanted, part)]
        yield from (replace(each, waits=True) for each in _part(wanted, place, lacks, new=False))
    yield from (_setup(wanted, each, waits=True) for each in wanted.domains or () if each != first)


def _of(wanted: Manifest, part: str) -> tuple[str, ...]:
    """The environments that are to have a database, or a Redis."""
    return (wanted.database if part == "database" else wanted.redis) or ()


def _wired(said: Mapping[str, Any]) -> dict[str, Any]:
    return {wire(name): value for name, value in said.items()}


def _redirect(name: Name) -> dict[str, Any]:
    return {"redirect": True} if name.redirect else {}


# one that is there


def _settings(wanted: Manifest, there: Standing, updatable: Collection[str]) -> tuple[list[Change], list[Differs]]:
    lines, params, stuck = [], dict[str, Any](), []
    for name in SETTINGS:
        value, now = getattr(wanted, name), there.settings.get(name)
        if value is None or value == now:
            continue
        said = f"{name} = {shown(value)}" if now is None else f"{name}: {shown(now)} -> {shown(value)}"
        if wire(name) in updatable:
            lines.append(f"~ {said}")
            params[wire(name)] = value
        else:
            stuck.append(Differs(f"{said} cannot be changed on this server; to have it so, the project is made anew"))
    made = [Change(tuple(lines), "project_update", {"projectName": wanted.project, **params})] if lines else []
    return made, stuck


def _parts(wanted: Manifest, there: Standing) -> Iterator[Change]:
    """Environment by environment what it lacks, in one operation that opens the firewall too."""
    for place in wanted.places:
        lacks = [part for part in PARTS if place in _of(wanted, part) and (place, part) not in there.storage]
        needed = wanted.environments is not None or lacks or any(each.environment == place for each in wanted.domains or ())
        yield from _part(wanted, place, lacks, new=bool(needed) and place not in there.environments)


def _part(wanted: Manifest, place: str, lacks: list[str], *, new: bool) -> Iterator[Change]:
    if new or lacks:
        lines = [f"+ environment {place}"] * new + [f"+ {part} of {place}" for part in lacks]
        params = {"projectName": wanted.project, "environments": [place], **dict.fromkeys(lacks, True)}
        yield Change(tuple(lines), "workflow_init", params)


def _domain(wanted: Manifest, name: Name, there: Standing) -> tuple[list[Change], list[Differs]]:
    found, beside = there.hosts.get(name.name), there.hosts.get(counterpart(name.name))
    if found is None:
        return [_setup(wanted, name, waits=name.environment not in there.environments)], []
    if found.redirect_to or found.environment != name.environment:
        leads = f"sends its visitors to {found.redirect_to}" if found.redirect_to else f"leads to {found.environment}"
        return [], [_removal(f"domain {name.name} {leads}, and not to {name.environment}", name.name)]
    redirects = beside is not None and beside.redirect_to == name.name
    if name.redirect and not redirects:
        return [_setup(wanted, name, waits=False)], []
    if name.redirect is False and redirects:
        return [], [_removal(f"domain {counterpart(name.name)} sends its visitors to {name.name}", counterpart(name.name))]
    return [], []


def _setup(wanted: Manifest, name: Name, *, waits: bool) -> Change:
    params = {"projectName": wanted.project, "environment": name.environment, "domain": name.name, **_redirect(name)}
    return Change((f"+ domain {_words(name)}",), "domain_setup", params, waits)


def _words(name: Name) -> str:
    return f"{name.name} of {name.environment}" + (f", and {counterpart(name.name)} leads there" if name.redirect else "")


# what is there beyond the file


def _beyond(wanted: Manifest, there: Standing) -> Iterator[Differs]:
    for place in sorted(there.environments):
        # those of pull requests come and go by themselves
        if wanted.environments is not None and place not in wanted.environments and not PULL_REQUEST.fullmatch(place):
            yield Differs(f"environment {place} is not in the file", "port_release", _where(wanted, place))
    for place, part in sorted(there.storage):
        if getattr(wanted, part) is not None and place not in _of(wanted, part):
            yield Differs(f"{part} of {place} is not in the file", TOOLS[part], _where(wanted, place))
    named = {each.name for each in wanted.domains or ()}
    for host, found in sorted(there.hosts.items()):
        if wanted.domains is not None and host not in named and found.redirect_to not in named:
            yield _removal(f"domain {host} is not in the file", host)


def _where(wanted: Manifest, place: str) -> dict[str, Any]:
    return {"projectName": wanted.project, "environment": place}


def _removal(text: str, host: str) -> Differs:
    return Differs(text, "domain_delete", {"domain": host})


def shown(value: Any) -> str:
    """As the file says it."""
    return ("true" if value else "false") if isinstance(value, bool) else str(value)
