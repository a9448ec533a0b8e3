"""Where the world differs from the registry: every kind of mismatch, told from facts alone.

Each function compares one kind of fact with the registry's ground and returns its mismatches. An environment with an
operation under way is not on the ground: there the two differ on purpose.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from codeb.model import deletion, names
from codeb.model.domains import Domain
from codeb.model.events import Severity, Unreplayed
from codeb.model.names import Place, Slot
from codeb.model.slots import Pair, SlotRow, State, grace_expired
from codeb.model.specs import Answer, Live, Project, Unit

LOOPBACK = "127.0.0.1"


class Remedy(StrEnum):
    MENDED = "mended"
    """CodeB mends it by itself"""
    REPORTED = "reported"
    """a person decides: to mend it could cut traffic or lose something"""


@dataclass(frozen=True)
class Mismatch:
    """One difference. `kind` is a stable machine word; `kind` and `where` together name the same one in every round."""

    kind: str
    where: str
    text: str
    """what is so"""
    repair: str
    """what mends it, in words"""
    policy: Remedy
    place: Place | None = None
    slot: Slot | None = None
    port: int | None = None
    severity: Severity = Severity.WARN
    subject: str = ""
    """the container, network or file that a repair acts on, where that is not told by place and slot"""

    @property
    def key(self) -> str:
        return f"{self.kind} {self.where}"

    @property
    def mendable(self) -> bool:
        return self.policy is Remedy.MENDED


@dataclass(frozen=True)
class Configured:
    """What the proxy has, compared with the sites it should have."""

    runs: bool
    loaded: bool | None = None
    """whether the running configuration is the one on disk; None: it could not be told"""
    missing: frozenset[Place] = frozenset()
    edited: frozenset[Place] = frozenset()
    strange: tuple[str, ...] = ()
    """names of site files that are nobody's"""


@dataclass(frozen=True)
class Ground:
    """What the registry says. `pairs` are the environments at rest; `busy` those with an operation under way."""

    now: datetime
    projects: Mapping[str, Project] = field(default_factory=dict)
    pairs: Mapping[Place, Pair] = field(default_factory=dict)
    busy: frozenset[Place] = frozenset()
    units: Mapping[str, Unit] | None = None
    """containers of this installation by name; None: nobody could say"""
    owed: str = ""
    """who did things without the database that the registry does not have yet"""
    half_deleted: tuple[str, ...] = ()
    """projects that are being deleted, or set up, and nobody works on it"""
    domains: Mapping[Place, Sequence[Domain]] = field(default_factory=dict)
    """those in force"""
    maintenances: Collection[Place] = ()
    """where the maintenance page is to be shown"""

    @property
    def rows(self) -> list[SlotRow]:
        return [row for _, pair in sorted(self.pairs.items()) for row in pair.rows]


@dataclass
class LastRound:
    """What the last round of reconciliation left as it is; one per process, written by the timer, read by whoever reports."""

    at: datetime | None = None
    left: tuple[Mismatch, ...] = ()


def unseen(part: str, why: str) -> Mismatch:
    """A part that could not be looked at: never taken for well."""
    text = f"{part} could not be looked at: {why}"
    return Mismatch("unseen", part, text, "See health_check; it is looked at again every round.", Remedy.REPORTED)


# containers


def as_deployed(row: SlotRow, unit: Unit | None) -> bool:
    """Whether this container is the one that the registry has in the slot, running or not."""
    return unit is not None and (unit.deployment_id, unit.image_id) == (row.deployment_id, row.image_id)


def fit_to_stand_in(row: SlotRow | None, units: Mapping[str, Unit]) -> bool:
    """Whether the container of a slot in grace runs and is what was deployed there."""
    if row is None or row.state is not State.GRACE:
        return False
    unit = units.get(row.container)
    return unit is not None and unit.running and as_deployed(row, unit)


def of_slot(row: SlotRow, units: Mapping[str, Unit], now: datetime) -> list[Mismatch]:
    """Where the container of one slot differs. Cheap when nothing does."""
    unit = units.get(row.container)
    if row.state is State.EMPTY:
        return [_slot(row, "container_stray", f"{row.container} exists although the slot is empty",
                      "slot_status says more; remove it by hand if it is not needed")] if unit is not None else []  # fmt: skip
    if unit is None:
        return [_absent(row, units, now)]
    if not as_deployed(row, unit):
        of = f"of deployment {unit.deployment_id or 'unknown'}, not {row.deployment_id}"
        if unit.deployment_id == row.deployment_id:
            of = "of another image than was deployed"
        alarm = Severity.ALARM if row.state is State.ACTIVE else Severity.WARN
        return [_slot(row, "container_other", f"{row.container} is {of}", f"deploy {row.place.key} again", severity=alarm)]
    found = []
    if not unit.running:
        kept_up = _kept_up(row, now)
        repair = "it is started again" if kept_up is Remedy.MENDED else f"deploy {row.version} again, or slot_cleanup"
        found.append(_slot(row, "container_stopped", f"{row.container} is stopped", repair, kept_up))
    elif row.port not in [port for _, port in unit.published]:
        text = f"{row.container} does not publish {row.port}"
        found.append(_slot(row, "not_published", text, f"deploy {row.place.key} again", port=row.port))
    if unit.running and not unit.kept and not row.adopted and _kept_up(row, now) is Remedy.MENDED:
        text = f"{row.container} would not come up again after Docker or the machine was restarted"
        found.append(_slot(row, "container_unkept", text, "it gets its restart policy back", Remedy.MENDED))
    if any(at != LOOPBACK for at, _ in unit.published):
        text = f"{row.called} is published beyond {LOOPBACK}"
        grave = Severity.WARN if row.adopted else Severity.ALARM
        found.append(_slot(row, "published_beyond", text, f"deploy {row.place.key} again, at once", severity=grave))
    return found


def _slot(
    row: SlotRow, kind: str, text: str, repair: str, policy: Remedy = Remedy.REPORTED, *,
    severity: Severity = Severity.WARN, port: int | None = None, subject: str = "",
) -> Mismatch:  # fmt: skip
    return Mismatch(kind, row.container, text, repair, policy, row.place, row.slot, port, severity, subject)


def _kept_up(row: SlotRow, now: datetime) -> Remedy:
    """CodeB keeps alive what has traffic or may have it; a grace that is over is about to be emptied."""
    alive = row.state is State.ACTIVE or (row.state is State.GRACE and not grace_expired(row, now))
    return Remedy.MENDED if alive else Remedy.REPORTED


def _absent(row: SlotRow, units: Mapping[str, Unit], now: datetime) -> Mismatch:
    """The container of a filled slot does not stand under its name: set aside, renamed, or gone."""
    alarm = Severity.ALARM if row.state is State.ACTIVE else Severity.WARN
    if row.adopted:
        text = f"{row.called} is gone from {row.container}, and CodeB, which did not make it, cannot make it again"
        return _slot(row, "adopted_gone", text, f"deploy a version to {row.place.key} and promote it", severity=alarm)
    aside = units.get(names.kept(row.container))
    if aside is not None and as_deployed(row, aside):
        text = f"{row.container} does not exist: it stands aside as {aside.name}"
        return _slot(row, "container_aside", text, "it is brought back", Remedy.MENDED, subject=aside.name)
    renamed = next((each for each in units.values() if as_deployed(row, each)), None)
    if renamed is not None:
        text = f"{row.container} does not exist: it was renamed {renamed.name}"
        return _slot(row, "container_renamed", text, "it gets its name back", Remedy.MENDED, subject=renamed.name)
    policy = _kept_up(row, now)
    repair = (
        "it is made again from what was deployed" if policy is Remedy.MENDED else f"deploy {row.version} again, or slot_cleanup"
    )
    return _slot(row, "container_gone", f"{row.container} does not exist", repair, policy, severity=alarm, port=row.port)


def strays(ground: Ground) -> list[Unit]:
    """Containers of this installation that no slot explains."""
    units = ground.units or {}
    filled = {row.container: row for row in ground.rows if row.state is not State.EMPTY}
    explained = set(filled)
    for row in filled.values():
        if row.container not in units:
            explained.add(_absent(row, units, ground.now).subject)
    return [
        unit for name, unit in sorted(units.items())
        if name not in explained and home(unit) not in ground.busy
    ]  # fmt: skip


def home(unit: Unit) -> Place | None:
    """The environment a container belongs to: by its labels, else by its name."""
    by_label = names.parse_place(f"{unit.project}-{unit.environment}")
    by_name = names.parse_container(unit.name)
    return by_label or (by_name[0] if by_name else None)


def of_containers(ground: Ground, ended: Collection[str]) -> list[Mismatch]:
    """All slots at rest, and what no slot explains. `ended` are the operations known to be over, of those that made strays."""
    if ground.units is None:
        return []
    found = [
        each for row in ground.rows if row.state is not State.EMPTY
        for each in of_slot(row, ground.units, ground.now)
    ]  # fmt: skip
    return found + [_stray(unit, unit.operation_id in ended) for unit in strays(ground)]


def _stray(unit: Unit, ended: bool) -> Mismatch:
    parsed, place = names.parse_container(unit.name), home(unit)
    safe = ended and place is not None and parsed is not None
    aside = unit.name == names.kept(unit.name.removesuffix(".kept"))
    text = f"{unit.name} is left from {unit.operation_id}" if aside else f"{unit.name} belongs to no slot"
    if parsed is not None and not aside and place is not None:
        text = f"{unit.name} exists although the slot is empty"
    repair = "it is removed: its operation is over" if safe else "remove it by hand if it is not needed"
    policy = Remedy.MENDED if safe else Remedy.REPORTED
    slot = parsed[1] if parsed else None
    kind = "container_left_aside" if aside else "container_stray"
    return Mismatch(kind, unit.name, text, repair, policy, place, slot, subject=unit.name)


# ports


def of_ports(ground: Ground, published: Mapping[int, str], listening: Collection[int]) -> list[Mismatch]:
    """Leased ports that somebody else has, and containers named like ours on ports that nobody leased."""
    rows = {row.port: row for row in ground.rows}
    found = [each for _, row in sorted(rows.items()) if (each := _taken(ground, row, published.get(row.port), listening))]
    for port, name in sorted(published.items()):
        owner = names.parse_container(name)
        if owner is None or port in rows or owner[0] in ground.busy or owner[0].project not in ground.projects:
            continue
        repair = "port_register, or remove the container"
        text = f"{name} publishes {port} without a lease"
        found.append(Mismatch("not_leased", f"{name} {port}", text, repair, Remedy.REPORTED, *owner, port))
    return found


def _taken(ground: Ground, row: SlotRow, holder: str | None, listening: Collection[int]) -> Mismatch | None:
    ours = {row.container, names.kept(row.container)}
    if holder in ours or (holder is None and row.port not in listening) or (row.adopted and _publishes(row, ground.units)):
        return None
    unit = (ground.units or {}).get(holder or "")
    if unit is not None and as_deployed(row, unit):
        return None
    if holder is None and row.state is not State.EMPTY and _publishes(row, ground.units):
        return None
    pair, other = ground.pairs[row.place], holder or "another program"
    idle = all(each.state is State.EMPTY for each in pair.rows)
    blocks = "the next deploy" if row.state is State.EMPTY else row.container
    repair = f"port_sync with fix gives {row.place.key} another pair" if idle else f"stop {other}, or it blocks {blocks}"
    text = f"{row.port} is leased to {row.container} but used by {other}"
    return Mismatch("used_by_other", f"{row.container} {row.port}", text, repair, Remedy.REPORTED, row.place, row.slot, row.port)


def _publishes(row: SlotRow, units: Mapping[str, Unit] | None) -> bool:
    """Whether the listener may be our own container: without a word of the runtime it may."""
    unit = None if units is None else units.get(row.container)
    return units is None or (unit is not None and row.port in [port for _, port in unit.published])


# proxy


def of_proxy(ground: Ground, configured: Configured) -> list[Mismatch]:
    """The proxy's process and its static sites."""
    found = []
    if not configured.runs:
        text, repair = "The proxy does not run: no site is served", "it is started again"
        found.append(Mismatch("proxy_dead", "proxy", text, repair, Remedy.MENDED, severity=Severity.ALARM))
    elif configured.loaded is False and not configured.missing | configured.edited:
        text, repair = "The proxy runs another configuration than the one on disk", "the one on disk is loaded again"
        found.append(Mismatch("proxy_differs", "proxy", text, repair, Remedy.MENDED))
    elif configured.loaded is None:
        found.append(unseen("The running configuration of the proxy", "its admin socket does not answer"))
    for kind, places, what in (
        ("site_missing", configured.missing, "has no site in the proxy"),
        ("site_edited", configured.edited, "has a site file that was changed by hand"),
    ):
        for place in sorted(places & ground.pairs.keys()):
            text = f"{place.key} {what}"
            found.append(Mismatch(kind, place.key, text, "it is written anew and loaded", Remedy.MENDED, place))
    known = {place.key for place in (*ground.pairs, *ground.busy)}
    for name in configured.strange:
        if name not in known:
            text = f"The proxy has a site {name} of no environment"
            found.append(Mismatch("site_of_nobody", name, text, "remove its file by hand if it is not needed", Remedy.REPORTED))
    return found


def wanted_live(pair: Pair, units: Mapping[str, Unit] | None) -> Live:
    """What the switch has to say: traffic to the active slot alone; the other one stands in only while in grace and fit."""
    active = pair.active
    if active is None:
        return Live(None)
    return Live(active.slot, units is not None and fit_to_stand_in(pair.grace, units))


def of_switches(ground: Ground, live: Mapping[Place, Live]) -> list[Mismatch]:
    """What would happen to the next request, against what the registry says."""
    found = []
    for place in sorted(live.keys() & ground.pairs.keys()):
        pair, now = ground.pairs[place], live[place]
        wanted = wanted_live(pair, ground.units)
        if now.slot is not wanted.slot:
            text = f"The switch of {place.key} says {now.slot or 'nobody'}, the registry {wanted.slot or 'nobody'}"
            repair, policy = "it is set again", Remedy.MENDED
            if ground.owed and now.slot is not None:
                repair, policy = f"wait for {ground.owed}, which changed things without the database", Remedy.REPORTED
            found.append(
                Mismatch("switch_wrong", place.key, text, repair, policy, place, wanted.slot, severity=Severity.ALARM)
            )  # fmt: skip
        elif now.slot is not None and now.fallback and (pair.grace is None or (ground.units is not None and not wanted.fallback)):
            text = f"{now.slot.other} of {place.key} may stand in and is no version that may have traffic"
            found.append(
                Mismatch("fallback_wrong", place.key, text, "it is forbidden", Remedy.MENDED, place, now.slot.other,
                         severity=Severity.ALARM)
            )  # fmt: skip
        elif now.slot is not None and wanted.fallback and not now.fallback:
            text = f"The version in grace of {place.key} does not stand in when the active one is down"
            found.append(Mismatch("fallback_missing", place.key, text, "it is allowed", Remedy.MENDED, place, now.slot.other))
    return found


def of_routes(ground: Ground, live: Mapping[Place, Live], answers: Mapping[Place, Answer]) -> list[Mismatch]:
    """What the public route really answers, where the switch says the right thing."""
    found = []
    for place in sorted(answers.keys() & ground.pairs.keys()):
        pair, answer = ground.pairs[place], answers[place]
        active = pair.active
        if active is None or live.get(place, Live(None)).slot is not active.slot or answer.slot == active.slot.value:
            continue
        said = f"status {answer.status}" if answer.status is not None else answer.reason
        if answer.slot is not None:
            stands_in = pair.grace is not None and pair.grace.slot.value == answer.slot
            kind, text = (
                ("stands_in", "in grace stands in") if stands_in else ("route_wrong", "answers, which must not have traffic")
            )
            text = f"{place.key}: {answer.slot} {text}, not {active.slot}"
            repair = (
                f"see why {active.slot} does not answer: logs, slot_status"
                if stands_in
                else "the proxy is looked after each round"
            )
        else:
            kind, text = "route_dead", f"{place.key}: nobody answers at its public route ({said})"
            repair = f"see why {active.slot} does not answer: logs, health_check"
        alarm = Severity.WARN if kind == "stands_in" else Severity.ALARM
        found.append(Mismatch(kind, place.key, text, repair, Remedy.REPORTED, place, active.slot, severity=alarm))
    return found


# the rest


def of_networks(ground: Ground, networks: Iterable[str]) -> list[Mismatch]:
    """Networks of this installation whose project is not in the registry."""
    known = {names.network(project) for project in (*ground.projects, *(place.project for place in ground.busy))}
    found = []
    for name in sorted(set(networks) - known):
        ours = name.startswith(names.network(""))
        repair = "it is removed" if ours else "remove it by hand if it is not needed"
        policy = Remedy.MENDED if ours else Remedy.REPORTED
        text = f"The network {name} belongs to no project"
        found.append(Mismatch("network_of_nobody", name, text, repair, policy, subject=name.removeprefix(names.network(""))))
    return found


def of_deletions(ground: Ground) -> list[Mismatch]:
    """Deletions, and set-ups, that stopped half way: nothing of such a project is mended."""
    new = {name for name, project in ground.projects.items() if project.state == deletion.CREATING}
    words = {True: ("setup", "set up", "workflow_init"), False: ("deletion", "deleted", "project_delete")}
    return [
        Mismatch(f"{what}_unfinished", name, f"Project {name} is half {done}", f"call {tool} again", Remedy.REPORTED)
        for name in ground.half_deleted for what, done, tool in (words[name in new],)
    ]  # fmt: skip


def of_conflicts(left: Sequence[Unreplayed]) -> list[Mismatch]:
    """What was done while the database was away and could not be added to it (P9)."""
    return [
        Mismatch(
            "conflict", each.id, f"Done while the database was away and not in it: {each.written} ({each.reason})",
            "look at what it changed, then settle it", Remedy.REPORTED, severity=Severity.ALARM,
        )
        for each in left
    ]  # fmt: skip
