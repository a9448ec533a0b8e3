"""Before a SQLite registry is opened: can it be believed, and what is there instead when it cannot (P10).

A file that is not believed is kept beside (`codeb.db.damaged-20260301T120000Z`) and a registry is rebuilt from the mirror
files. A home in which something is missing is never taken for a new one: when nothing sound is left, the start is refused.
"""

import asyncio
import logging
import os
import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from sqlalchemy import Connection, Engine, insert
from sqlalchemy.dialects.sqlite import insert as add_row
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from codeb.drivers.files import Unsound, owners_of, read_own, sync_folder
from codeb.drivers.identity import new_instance, recorded_instance
from codeb.drivers.store import migrate, rows, salvage
from codeb.drivers.store.local import NAME
from codeb.drivers.store.mirror import Mirror
from codeb.drivers.store.mirrored import Registered
from codeb.drivers.store.schema import (
    api_keys,
    deployments,
    members,
    meta,
    port_leases,
    project_slots,
    projects,
    teams,
)  # fmt: skip
from codeb.drivers.store.schema_names import domains, maintenances, previews
from codeb.drivers.store.shelf import Reading, earlier
from codeb.drivers.store.sqlite import engine
from codeb.drivers.store.trust import SIDES, Distrusted, compare, examine
from codeb.errors import Unavailable
from codeb.model.access import Key, Team
from codeb.model.specs import Deployment

log = logging.getLogger("codeb.store")

OWNER_KEY = re.compile(rb"codeb_[a-z0-9-]+_owner_[A-Za-z0-9_-]{24,64}\s*")


@dataclass(frozen=True)
class Rescued:
    """`notes` are sentences for people: what was found damaged, where it is now, what was rebuilt from what, what is lost."""

    notes: tuple[str, ...] = ()


async def make_sound(
    path: Path,
    home: Path,
    mirror: Mirror | None,
    now: Callable[[], datetime],
    *,
    proxy: Path | None = None,
    copy: bool = False,
) -> Rescued:
    """Have at `path` a registry that can be believed, or nothing where nothing was begun. Call it before opening.

    `proxy` is its folder (None: `{home}/caddy`): what is configured there is a sign of an installation. `copy`: the
    file is a local copy, and the truth is in a database; where nothing is to be had it is left out instead of refused.
    Raises `Unavailable` (`registry_lost`) when what was here is lost: it says what to do. Safe to repeat, at any point.
    """
    return await asyncio.to_thread(_Case(path, home, mirror, now, proxy or home / "caddy", copy).settle)


def signs(home: Path, proxy: Path) -> list[Path]:
    """What says that CodeB has worked in this home, besides its store and its mirror."""
    found = [path for path in (home / "instance",) if os.path.lexists(path)]
    with suppress(OSError, Unsound):
        # a file of this name that holds no key is nobody's
        if OWNER_KEY.fullmatch(read_own(home / "owner.key", owners_of(home))):
            found.append(home / "owner.key")
    return found + served(proxy)


def served(proxy: Path) -> list[Path]:
    """What the proxy has of sites: some of it, if anything."""
    found: list[Path] = []
    for folder in (proxy / "sites", proxy / "slots"):
        with suppress(OSError):
            found += sorted(path for path in folder.iterdir() if not path.name.startswith("."))[:3]
    return found


def registry_file(url: str, home: Path) -> Path | None:
    """The SQLite file of a store at this address: the registry, or the local copy of one on a server; None: in memory."""
    try:
        address = make_url(url)
    except ArgumentError:
        return None  # refused where it is opened
    if address.get_backend_name() != "sqlite":
        return home / NAME
    return Path(address.database).absolute() if address.database and address.database != ":memory:" else None


def known_id(home: Path, mirror: Mirror, store: Path | None) -> str:
    """The id of this home: as its registry says, or the mirror, which have it with a checksum or a constraint, else as its
    file says; a new one only for a home that never had any.

    `store` is its SQLite registry; None for one on a server, which several homes may share. Raises `Unavailable`
    (`instance_lost`): with a new id the containers that run would be strangers.
    """
    found = salvage.instance_in(store) if store is not None and store.is_file() else None
    found = found or mirror.read().home_id or recorded_instance(home)
    if found is None and (os.path.lexists(home / "instance") or (store is not None and salvage.projects_in(store))):
        raise _nameless(home)
    mirror.home_id = found or new_instance()
    return mirror.home_id


def registry_lost(why: str, left: Sequence[str], faults: Sequence[str] = ()) -> Unavailable:
    """The start that is refused, because a new registry would be taken for the old one. `left`: what says there was one."""
    return Unavailable(
        f"The registry is lost: {why}. Nothing was changed; what runs is not touched.",
        code="registry_lost",
        hint="Restore a backup of the home. When single files in its registry folder are damaged, remove manifest.json and "
        "manifest.json.prev there to go on with the newest copies that can be read. To really begin anew, move these away: "
        f"{', '.join(left)}.",
        details={"left": list(left), "faults": list(faults)},
    )


def _nameless(home: Path) -> Unavailable:
    return Unavailable(
        f"{home}/instance is gone or damaged, and nothing else says which id this installation has. Nothing was changed; what "
        "runs is not touched.",
        code="instance_lost",
        hint="Write into it what `docker ps -a --format '{{.Label \"codeb.instance\"}}'` shows for your containers; or, when "
        "there are none, remove it.",
    )


class _Case:
    """One look at one file; everything here works in a thread."""

    def __init__(
        self, path: Path, home: Path, mirror: Mirror | None, now: Callable[[], datetime], proxy: Path, copy: bool
    ) -> None:  # fmt: skip
        self.path, self.home, self.mirror, self.proxy, self.copy = path, home, mirror, proxy, copy
        self.now = now
        self.fresh = path.with_name(f".{path.name}.rebuilt")
        self.notes: list[str] = []

    def settle(self) -> Rescued:
        owners = owners_of(self.home)
        self._make_writable(owners)
        said = self.mirror.read() if self.mirror is not None else Reading(None, 0, (), present=False)
        try:
            found = examine(self.path, owners)
            compare(self.path, found, said)
            if found.registry is None and not self.copy:
                self._refuse_if_lost(said, "it is empty")
        except Distrusted as why:
            return self._replace(said, f"{why}")
        except FileNotFoundError:
            if self.copy and (said.registry is None or said.registry.registry_id is None):
                return self._noted(said)
            if said.present or (not self.copy and signs(self.home, self.proxy)):
                return self._replace(said, f"{self.path} is gone")
            return Rescued()
        return self._noted(said)

    def _noted(self, said: Reading) -> Rescued:
        """The store is sound; the mirror sets its damaged files aside and writes them anew with the first flush."""
        if self.mirror is not None and os.path.lexists(self.mirror.folder):
            self.notes += [f"{fault}: it is set aside and written anew from the store." for fault in said.faults]
        return self._told()

    def _told(self) -> Rescued:
        for note in self.notes:
            log.error("%s", note)
        return Rescued(tuple(self.notes))

    def _make_writable(self, owners: frozenset[int]) -> None:
        """Our own file that somebody made read-only is ours to write again."""
        for file in (self.path, *(self.path.with_name(self.path.name + side) for side in SIDES)):
            with suppress(OSError):
                found = file.lstat()
                if file.is_file() and not file.is_symlink() and found.st_uid in owners and found.st_mode & 0o600 != 0o600:
                    file.chmod(found.st_mode & 0o777 | 0o600)
                    self.notes.append(f"{file} was not writable; it is again.")

    # when it is not believed

    def _refuse_if_lost(self, said: Reading, why: str) -> None:
        """An empty store in a home that was used. The first start writes `instance` and `owner.key` after the store was begun."""
        if said.present or signs(self.home, self.proxy):
            raise Distrusted(f"{self.path} is not a registry: {why}")

    def _replace(self, said: Reading, why: str) -> Rescued:
        if self.copy and (said.registry is None or said.registry.registry_id is None):
            return self._without(why)
        if said.registry is None:
            raise self._lost(said, why)
        generation, registry = 0, said.registry
        if os.path.lexists(self.path) and not self.path.is_symlink() and self.path.is_file():
            generation, registry = salvage.generation_in(self.path), _narrowed(registry, self.path)
        if registry.registry_id is None:
            registry = replace(registry, registry_id=secrets.token_hex(16))
        registry = replace(registry, generation=max(generation, said.generation, registry.generation) + 1)
        counts, forgotten = self._build(registry)
        aside = self._aside()
        self.fresh.rename(self.path)
        sync_folder(self.path.parent)
        self._tell(said, why, aside, generation, counts, forgotten)
        return self._told()

    def _tell(
        self, said: Reading, why: str, aside: Path | None, generation: int, counts: Mapping[str, int], forgotten: int
    ) -> None:  # fmt: skip
        kept = f" It is kept as {aside}." if aside is not None else ""
        self.notes.append(f"The registry could not be used: {why}.{kept}")
        self.notes.append(f"It was rebuilt from the files in {self.home}/registry, generation {said.generation}.")
        if generation > said.generation:
            self.notes.append(f"Its changes after generation {said.generation}, up to {generation}, are not in it.")
        told = ", ".join(f"{count} {name}" for name, count in counts.items() if count and name != "operation_locks")
        self.notes.append(f"Of its history came over: {told}." if told else "Its history could not be read: operations, "
                          "deployments, answers and the audit log begin anew.")  # fmt: skip
        if forgotten:
            self.notes.append(f"{forgotten} operations were under way; they are forgotten: call reconcile to see what they left.")
        self.notes += [f"{fault}: it is set aside and written anew." for fault in said.faults]

    def _without(self, why: str) -> Rescued:
        """A local copy that nothing is there to rebuild from: the database has it all."""
        aside = self._aside()
        kept = f" It is kept as {aside}." if aside is not None else ""
        self.notes.append(f"The local copy could not be used: {why}.{kept} It is made anew from the database.")
        return self._told()

    def _lost(self, said: Reading, why: str) -> Unavailable:
        left = [str(path) for path in (self.path, self.home / "registry") if os.path.lexists(path)]
        left += [str(path) for path in signs(self.home, self.proxy)]
        for fault in said.faults:
            log.error("%s", fault)
        return registry_lost(f"{why}, and {self.home}/registry holds no whole copy of it", left, said.faults)

    def _aside(self) -> Path | None:
        """Keep the file with what belongs to it; gives its new name."""
        stamp = self.now().strftime("%Y%m%dT%H%M%SZ")
        number = 1
        while True:
            spare = self.path.with_name(f"{self.path.name}.damaged-{stamp}" + (f"-{number}" if number > 1 else ""))
            if not any(os.path.lexists(spare.with_name(spare.name + side)) for side in ("", *SIDES)):
                break
            number += 1
        for side in (*SIDES, "-journal"):
            with suppress(FileNotFoundError):
                self.path.with_name(self.path.name + side).rename(spare.with_name(spare.name + side))
        if not os.path.lexists(self.path):
            return None
        self.path.rename(spare)
        return spare

    def _build(self, registry: Registered) -> tuple[dict[str, int], int]:
        """The new registry, whole and on disk, beside the old one. Gives what of the history came over."""
        for side in ("", *SIDES):
            self.fresh.with_name(self.fresh.name + side).unlink(missing_ok=True)
        self.fresh.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        made = engine(self.fresh, begin="BEGIN IMMEDIATE")
        try:
            migrate.upgrade(made)
            with made.begin() as connection:
                _fill(connection, registry, self.now())
                counts, forgotten = _history(self.path, connection)
                _remember_deployed(connection, registry, self.now())
            _settle(made)
        finally:
            made.dispose()
        return counts, forgotten


def _history(path: Path, connection: Connection) -> tuple[dict[str, int], int]:
    return salvage.history(path, connection) if path.is_file() and not path.is_symlink() else ({}, 0)


def _fill(connection: Connection, registry: Registered, now: datetime) -> None:
    def put(table: object, values: list[dict[str, object]]) -> None:
        if values:
            connection.execute(insert(table), values)  # type: ignore[arg-type]  # a Table, whatever its columns

    put(meta, [{"id": 1, "generation": registry.generation, "registry_id": registry.registry_id, "created_at": now,
                "instance": registry.instance}])  # fmt: skip
    put(teams, [rows.team_values(replace(team, created_at=team.created_at or now)) for team in registry.teams])
    put(members, [rows.member_values(member) for member in registry.members])
    put(api_keys, [rows.key_values(key) for key in registry.keys])
    put(projects, [rows.project_values(project) for project in registry.projects])
    put(project_slots, [rows.slot_values(row) for pair in registry.pairs for row in pair.rows])
    put(port_leases, [vars(lease) for lease in registry.leases])
    put(domains, [rows.domain_values(domain) for domain in registry.domains])
    put(maintenances, [rows.maintenance_values(page) for page in registry.maintenances])
    put(previews, [rows.preview_values(each) for each in registry.previews])


def _remember_deployed(connection: Connection, registry: Registered, now: datetime) -> None:
    """What stands in a slot has a deployment, whose row every switch writes to: as the slot tells it, when history did not."""
    for row in (row for pair in registry.pairs for row in pair.rows if row.deployment_id is not None):
        told = Deployment(
            row.deployment_id or "", row.place, row.slot, row.version or "", row.image or "", "success",
            row.deployed_at or now, row.deployed_by or "", "", row.digest, row.image_id, row.deployed_at, row.promoted_at,
            row.env_version,
        )  # fmt: skip
        connection.execute(add_row(deployments).values(**rows.deployment_values(told)).on_conflict_do_nothing())


def _settle(made: Engine) -> None:
    """Everything in the one file, so that one rename brings it into place."""
    with made.connect() as connection:
        raw = connection.connection.driver_connection
        assert raw is not None
        if connection.in_transaction():
            connection.rollback()
        raw.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _narrowed(registry: Registered, path: Path) -> Registered:
    """What the file which was set aside calls ended stays so, and a policy as strict: the mirror may have been behind."""
    revoked, expires = (salvage.ended_in(path, end) for end in (api_keys.c.revoked_at, api_keys.c.expires_at))
    removed, deleted = (salvage.ended_in(path, end) for end in (members.c.removed_at, teams.c.deleted_at))
    policies = salvage.policies_in(path)

    def key(each: Key) -> Key:
        first = earlier(each.revoked_at, revoked.get(each.id))
        return replace(each, revoked_at=first, expires_at=earlier(each.expires_at, expires.get(each.id)))

    def team(each: Team) -> Team:
        approval = each.approval.stricter(policies.get(each.id, each.approval))
        return replace(each, deleted_at=each.deleted_at or deleted.get(each.id), approval=approval)

    return replace(
        registry, keys=tuple(key(each) for each in registry.keys),
        members=tuple(replace(each, removed_at=each.removed_at or removed.get(each.id)) for each in registry.members),
        teams=tuple(team(each) for each in registry.teams),
    )  # fmt: skip
