"""Reading the mirror files back: which of them belong together, and what a registry rebuilt from them may say.

What counts is the newest set that is known to be whole. A key is as narrow as any sound copy says it is: one that is
revoked anywhere stays revoked, one that a newer copy does not have is not taken from an older one. So it is with members,
whom a removal anywhere removes, and with teams, whose policy only grows stricter.
"""

import os
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from codeb.drivers.store.migrate import HEAD
from codeb.drivers.store.mirrored import (
    FOLDERS,
    KEYS,
    MANIFEST,
    SSOT,
    TEAMS,
    Damaged,
    Document,
    P,
    Registered,
    fits,
    keys_of,
    members_of,
    registered,
    slot_files,
    teams_of,
    verified,
)  # fmt: skip
from codeb.model.access import Key, Member, Team

PREV = ".prev"


@dataclass(frozen=True)
class Reading:
    """`registry` is None when no whole set was found. `generation` is the newest that any sound file names."""

    registry: Registered | None
    generation: int
    faults: tuple[str, ...]
    """a sentence for each file that cannot be believed, and for what is missing"""
    present: bool
    """whether there is any mirror file, sound or not"""
    home_id: str | None = None
    exact: bool = False
    """whether the set is the one its manifest names, in the form this version writes: it can be compared with the store"""


def read(folder: Path, owners: Collection[int]) -> Reading:
    """Never raises: what cannot be read is a fault."""
    found: dict[str, Document] = {}
    faults = []
    try:
        names = _names(folder)
    except (OSError, Damaged) as why:
        return Reading(None, 0, (f"{folder} cannot be read: {why}",), present=os.path.lexists(folder))
    for name in names:
        try:
            found[name] = verified(folder / name, owners)
        except FileNotFoundError:
            continue
        except Damaged as fault:
            faults.append(str(fault))
    newest = max((each["generation"] for each in found.values()), default=0)
    manifest = found.get(MANIFEST)
    about = manifest or found.get(MANIFEST + PREV, {})
    try:
        chosen = _chosen(found, manifest, newest, asked=not {MANIFEST, MANIFEST + PREV} & set(names))
        registry = registered(chosen, manifest["generation"] if manifest else newest)
        registry = _narrowed(registry, chosen, found)
    except Damaged as fault:
        return Reading(None, newest, (*faults, f"{fault}."), present=bool(names), home_id=about.get("home"))
    except (KeyError, TypeError, AttributeError) as fault:
        return Reading(None, newest, (*faults, f"{MANIFEST} is of another form: {fault!r}."), present=bool(names))
    registry = replace(registry, registry_id=about.get("registryId"), instance=about.get("instance"))
    exact = manifest is not None and newest == manifest["generation"] and manifest["format"] == HEAD
    return Reading(registry, newest, tuple(faults), present=bool(names), home_id=about.get("home"), exact=exact)


def _names(folder: Path) -> list[str]:
    """What there is to read, relative to the folder; nothing that is hidden or set aside."""
    if not os.path.lexists(folder):
        return []
    if folder.is_symlink():
        raise Damaged("it is a link")
    names = [entry.name for entry in os.scandir(folder)]
    for part in FOLDERS:
        if (folder / part).is_symlink():
            raise Damaged(f"its {part} are a link")
        if (folder / part).is_dir():
            names += [f"{part}/{entry.name}" for entry in os.scandir(folder / part)]
    return sorted(name for name in names if name.removesuffix(PREV).endswith(".json") and not Path(name).name.startswith("."))


def _chosen(found: Mapping[str, Document], manifest: Document | None, newest: int, *, asked: bool) -> dict[str, Document]:
    """The files that make a whole registry. `asked`: there is no manifest at all, as an older version had none, or a person
    removed it to be content with the newest copies that can be read. Raises `Damaged`, saying what is missing."""
    if manifest is None:
        return _by_name(found, previous=asked)
    if manifest["generation"] < newest:
        # Either a death between the files and their manifest, or the manifest is an old one that was put back.
        try:
            return _by_name(found, previous=False)
        except Damaged:
            pass
    return _listed(found, manifest)


def _listed(found: Mapping[str, Document], manifest: Document) -> dict[str, Document]:
    chosen, missing = {}, []
    for name, wanted in manifest["files"].items():
        if name.startswith("domains/"):
            # for people; all of it is in ssot.json
            continue
        for copy in (name, name + PREV):
            if copy in found and found[copy]["checksum"] == wanted:
                chosen[name] = found[copy]
                break
        else:
            missing.append(name)
    if missing:
        raise Damaged(f"no sound copy of {', '.join(missing)} that is as new as {MANIFEST} says was found")
    return chosen


def _by_name(found: Mapping[str, Document], *, previous: bool) -> dict[str, Document]:
    """Each file as it is, in agreement with each other; with `previous` its former copy where it cannot be read."""

    def of(name: str) -> Document:
        document = found.get(name) or (found.get(name + PREV) if previous else None)
        if document is None:
            raise Damaged(f"no sound copy of {name} was found")
        return document

    chosen = {name: of(name) for name in (KEYS, TEAMS, SSOT)}
    for name, summary in slot_files(chosen[SSOT]).items():
        chosen[name] = of(name)
        if not previous and not fits(chosen[name], summary):
            raise Damaged(f"{name} and {SSOT} are not of the same time")
    return chosen


def _narrowed(registry: Registered, chosen: Mapping[str, Document], found: Mapping[str, Document]) -> Registered:
    """Keys, members and teams, each as narrow as any sound copy of its file says."""

    def copies(name: str) -> list[Document]:
        return [found[copy] for copy in (name, name + PREV) if copy in found]

    def narrow(
        name: str, of: Callable[[Document], Mapping[str, P]], ours: Iterable[P], both: Callable[[P, P], P]
    ) -> tuple[P, ...]:
        known = {each.id: each for each in ours}
        for copy in copies(name):
            others = of(copy)
            if copy["generation"] > chosen[name]["generation"]:
                known = {id_: each for id_, each in known.items() if id_ in others}
            known = {id_: both(each, others[id_]) if id_ in others else each for id_, each in known.items()}
        return tuple(known[id_] for id_ in sorted(known))

    return replace(
        registry, keys=narrow(KEYS, keys_of, registry.keys, _key), teams=narrow(TEAMS, teams_of, registry.teams, _team),
        members=narrow(TEAMS, members_of, registry.members, _member),
    )  # fmt: skip


def earlier(one: datetime | None, other: datetime | None) -> datetime | None:
    """Of two ends the one that comes first; None: none."""
    return min((each for each in (one, other) if each is not None), default=None)


def _key(key: Key, other: Key) -> Key:
    revoked, expires = earlier(key.revoked_at, other.revoked_at), earlier(key.expires_at, other.expires_at)
    return replace(key, revoked_at=revoked, expires_at=expires)


def _team(team: Team, other: Team) -> Team:
    deleted = earlier(team.deleted_at, other.deleted_at)
    return replace(team, deleted_at=deleted, approval=team.approval.stricter(other.approval))


def _member(member: Member, other: Member) -> Member:
    return replace(member, removed_at=earlier(member.removed_at, other.removed_at), role=member.role.lesser(other.role))
