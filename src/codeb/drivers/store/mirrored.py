"""What the mirror files say, and how it is read back: the registry part of the store as plain JSON and as values."""

import dataclasses
import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from codeb.contracts.store import Snapshot
from codeb.drivers.files import Unsound, owners_of, read_own
from codeb.drivers.store.rows import in_order
from codeb.model.access import Approval, Key, Member, Role, Team
from codeb.model.domains import Domain, DomainState, Maintenance
from codeb.model.names import Place, Slot
from codeb.model.ports import Lease
from codeb.model.previews import Preview
from codeb.model.slots import Pair, SlotRow, State
from codeb.model.specs import Limits, Project

Document = dict[str, Any]
P = TypeVar("P", Key, Team, Member)

KEYS, TEAMS, SSOT, MANIFEST = "api-keys.json", "teams.json", "ssot.json", "manifest.json"
FOLDERS = ("slots", "domains")
"""whose files are per environment, and per project"""


class Damaged(ValueError):
    """The file is not what was written."""


@dataclass(frozen=True)
class Registered:
    """All that a registry must not lose. `registry_id` and `instance` are None where they are not known."""

    generation: int
    teams: tuple[Team, ...]
    keys: tuple[Key, ...]
    projects: tuple[Project, ...]
    pairs: tuple[Pair, ...]
    leases: tuple[Lease, ...]
    members: tuple[Member, ...] = ()
    registry_id: str | None = None
    instance: str | None = None
    domains: tuple[Domain, ...] = ()
    maintenances: tuple[Maintenance, ...] = ()
    previews: tuple[Preview, ...] = ()

    def says_the_same(self, other: "Registered") -> bool:
        """Whether teams, members, keys, projects, slots, leases, domains, maintenance pages and previews are equal."""
        parts = ("teams", "members", "keys", "projects", "pairs", "leases", "domains", "maintenances", "previews")
        return all(getattr(self, name) == getattr(other, name) for name in parts)


def canonical(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def checksum(document: Mapping[str, Any]) -> str:
    """Over everything but itself."""
    return hashlib.sha256(canonical({key: value for key, value in document.items() if key != "checksum"})).hexdigest()


def verified(path: Path, owners: Collection[int] | None = None) -> Document:
    """The content of a mirror file of one of `owners` (None: ours, or its folder's). Raises `Damaged`, or
    `FileNotFoundError` when it is not there."""
    try:
        document = json.loads(read_own(path, owners_of(path.parent) if owners is None else owners))
        sound = isinstance(document, dict) and document.get("checksum") == checksum(document)
    except Unsound as why:
        raise Damaged(str(why)) from why
    except (ValueError, RecursionError) as error:
        raise Damaged(f"{path} is not JSON") from error
    if not sound or not isinstance(document.get("generation"), int):
        raise Damaged(f"{path} does not match its checksum")
    return dict(document)


# values to files


def _camel(name: str) -> str:
    head, *rest = name.split("_")
    return head + "".join(word.capitalize() for word in rest)


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, frozenset):
        return sorted(value)
    if isinstance(value, Role | Approval | DomainState):
        return value.value
    if isinstance(value, Mapping):
        return {_camel(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return value


def _slot(row: SlotRow) -> Document:
    fields = {name: getattr(row, name) for name in row.__dataclass_fields__ if name not in ("place", "slot")}
    return {**_plain(fields), "container": row.container}


def _slots(pair: Pair) -> Document:
    place = pair.place
    return {
        "project": place.project, "environment": place.environment,
        "active": pair.active.slot.value if pair.active else None,
        "blue": _slot(pair.blue), "green": _slot(pair.green),
    }  # fmt: skip


def _summary(pair: Pair) -> Document:
    return {row.slot.value: {"port": row.port, "state": row.state.value, "version": row.version} for row in pair.rows}


def _person(value: Key | Team | Member) -> Document:
    return _plain({name: getattr(value, name) for name in value.__dataclass_fields__})  # type: ignore[no-any-return]  # a dict


def documents(snapshot: Snapshot) -> dict[str, Document]:
    """Every file below the registry folder with its content, without generation and checksum; keys come first.

    A revocation is the change that must not be missed when the last of several files could not be written.
    """
    projects = {name: _plain(asdict(project)) for name, project in snapshot.projects.items()}
    for place, pair in snapshot.pairs.items():
        if place.project in projects:
            projects[place.project].setdefault("slots", {})[place.environment] = _summary(pair)
    names: dict[str, list[Document]] = {}
    for domain in snapshot.domains.values():
        if domain.held:
            names.setdefault(domain.project, []).append(_plain(asdict(domain)))
    return {
        KEYS: {"keys": {key.id: _person(key) for key in snapshot.keys.values()}},
        TEAMS: {
            "teams": {name: _person(team) for name, team in snapshot.teams.items()},
            "members": {name: _person(member) for name, member in snapshot.members.items()},
        },
        SSOT: {
            "projects": projects,
            "leases": [_plain(asdict(lease)) for lease in snapshot.leases],
            "domains": [_plain(asdict(domain)) for domain in snapshot.domains.values()],
            "maintenances": [_plain(asdict(page)) for _, page in sorted(snapshot.maintenances.items())],
            "previews": [_plain(asdict(each)) for _, each in sorted(snapshot.previews.items())],
        },
        **{f"domains/{name}.json": {"project": name, "domains": held} for name, held in sorted(names.items())},
        **{f"slots/{place.key}.json": _slots(pair) for place, pair in snapshot.pairs.items()},
    }


# files to values


def _said(kind: Any, document: Document) -> dict[str, Any]:
    """The fields of a dataclass that the document has; moments as such. One it lacks is one an older version had not."""
    fields = {}
    for name in (each.name for each in dataclasses.fields(kind)):
        if _camel(name) in document:
            value = document[_camel(name)]
            fields[name] = datetime.fromisoformat(value) if name.endswith("_at") and value is not None else value
    return fields


def _project(document: Document) -> Project:
    fields = _said(Project, document)
    limits = _said(Limits, fields["limits"])
    limits["capabilities"] = tuple(limits["capabilities"])
    fields |= {"limits": Limits(**limits), "environments": in_order(fields["environments"])}
    return Project(**fields)


def _key(document: Document) -> Key:
    fields = _said(Key, document)
    sets = {name: frozenset(fields[name]) for name in ("tools", "projects", "environments")}
    return Key(**{**fields, **sets, "role": Role(fields["role"]), "approval": Approval(fields.get("approval", "none"))})


def _pair(document: Document) -> Pair:
    place = Place(document["project"], document["environment"])
    rows = []
    for slot in Slot:
        fields = _said(SlotRow, document[slot.value])
        rows.append(SlotRow(**{**fields, "place": place, "slot": slot, "state": State(fields["state"])}))
    return Pair(*rows)


def _domain(document: Document) -> Domain:
    fields = _said(Domain, document)
    return Domain(**{**fields, "state": DomainState(fields["state"])})


def _maintenance(document: Document) -> Maintenance:
    return Maintenance(Place(**document["place"]), datetime.fromisoformat(document["since"]), document["by"])


def _preview(document: Document) -> Preview:
    return Preview(**{**_said(Preview, document), "place": Place(**document["place"])})


def keys_of(document: Document) -> dict[str, Key]:
    """By id. Raises `Damaged`."""
    try:
        return {name: _key(each) for name, each in document["keys"].items()}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise Damaged(f"{KEYS} does not hold keys") from error


def teams_of(document: Document) -> dict[str, Team]:
    """By id. An older version wrote their ids only. Raises `Damaged`."""
    try:
        said = document["teams"]
        if isinstance(said, list):
            return {each: Team(each) for each in said}
        found = {name: _said(Team, each) for name, each in said.items()}
        return {name: Team(**{**each, "approval": Approval(each["approval"])}) for name, each in found.items()}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise Damaged(f"{TEAMS} does not hold teams") from error


def members_of(document: Document) -> dict[str, Member]:
    """By id; an older version had none. Raises `Damaged`."""
    try:
        found = {name: _said(Member, each) for name, each in document.get("members", {}).items()}
        return {name: Member(**{**each, "role": Role(each["role"])}) for name, each in found.items()}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise Damaged(f"{TEAMS} does not hold members") from error


def slot_files(ssot: Document) -> dict[str, Document]:
    """The slot files that a registry of this content has, each with the short form of it that `ssot.json` repeats."""
    try:
        return {
            f"slots/{Place(name, environment).key}.json": summary
            for name, project in ssot["projects"].items()
            for environment, summary in project.get("slots", {}).items()
        }
    except (KeyError, TypeError, AttributeError) as error:
        raise Damaged(f"{SSOT} does not hold projects") from error


def fits(document: Document, summary: Document) -> bool:
    """Whether a slot file says what `ssot.json` says of it."""
    try:
        return _summary(_pair(document)) == summary
    except (KeyError, TypeError, ValueError, AttributeError):
        return False


def _by_id(found: Mapping[str, P]) -> tuple[P, ...]:
    return tuple(found[name] for name in sorted(found))


def registered(files: Mapping[str, Document], generation: int) -> Registered:
    """The values of one complete set of files. Raises `Damaged`."""
    try:
        ssot = files[SSOT]
        pairs = sorted((_pair(each) for name, each in files.items() if name.startswith("slots/")), key=lambda pair: pair.place)
        return Registered(
            generation, _by_id(teams_of(files[TEAMS])), _by_id(keys_of(files[KEYS])),
            tuple(_project(each) for _, each in sorted(ssot["projects"].items())), tuple(pairs),
            tuple(sorted((Lease(**each) for each in ssot["leases"]), key=lambda lease: (lease.server, lease.port))),
            _by_id(members_of(files[TEAMS])),
            domains=tuple(sorted(map(_domain, ssot.get("domains", [])), key=lambda domain: domain.host)),
            maintenances=tuple(sorted(map(_maintenance, ssot.get("maintenances", [])), key=lambda page: page.place)),
            previews=tuple(sorted(map(_preview, ssot.get("previews", [])), key=lambda each: each.place)),
        )  # fmt: skip
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise Damaged(f"the files do not hold a registry: {error}") from error
