"""Rows to model values and back."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from sqlalchemy import RowMapping

from codeb.contracts.store import Remembered
from codeb.model.access import Approval, Key, Member, Role, Team
from codeb.model.approvals import Decision, PlanApproval
from codeb.model.chain import AuditRow
from codeb.model.domains import Domain, DomainState, Maintenance
from codeb.model.envs import Difference, EnvVersion
from codeb.model.events import Event, Severity, Unreplayed
from codeb.model.journal import Operation, OpState, StepRow, StepState
from codeb.model.names import Place, Slot
from codeb.model.ports import Lease
from codeb.model.previews import Preview
from codeb.model.slots import Pair, SlotRow, State
from codeb.model.specs import Deployment, Limits, Project
from codeb.model.storage import Kind, Password, Stage, Storage

Values = dict[str, Any]

ENVIRONMENTS = ("production", "staging", "preview")
"""the order in which a project's environments are told; pull requests follow"""


def _flat(value: Any, place: Place) -> Values:
    """The fields of a frozen value with its place as two columns."""
    fields = {name: getattr(value, name) for name in value.__dataclass_fields__ if name != "place"}
    return {**fields, "project": place.project, "environment": place.environment}


def _unflat(row: RowMapping) -> Values:
    values: Values = dict(row)
    values["place"] = Place(values.pop("project"), values.pop("environment"))
    values["slot"] = Slot(values["slot"])
    return values


def project_values(project: Project) -> Values:
    """`environments` is not among them: a project has those its slots say."""
    values = {name: getattr(project, name) for name in project.__dataclass_fields__ if name != "environments"}
    return {**values, "limits": asdict(project.limits)}


def project_of(row: RowMapping, environments: Iterable[str]) -> Project:
    limits = row["limits"]
    return Project(**{
        **row,
        "limits": Limits(**{**limits, "capabilities": tuple(limits["capabilities"])}),
        "environments": in_order(environments),
    })  # fmt: skip


def in_order(environments: Iterable[str]) -> tuple[str, ...]:
    """Production, staging, preview, then pull requests by number."""

    def rank(name: str) -> tuple[int, int, str]:
        known = ENVIRONMENTS.index(name) if name in ENVIRONMENTS else len(ENVIRONMENTS)
        return known, len(name), name

    return tuple(sorted(set(environments), key=rank))


def slot_values(row: SlotRow) -> Values:
    return {**_flat(row, row.place), "slot": row.slot.value, "state": row.state.value}


def pairs_of(rows: Iterable[RowMapping]) -> dict[Place, Pair]:
    found: dict[Place, dict[Slot, SlotRow]] = {}
    for row in rows:
        slot = SlotRow(**{**_unflat(row), "state": State(row["state"])})
        found.setdefault(slot.place, {})[slot.slot] = slot
    return {place: Pair(both[Slot.BLUE], both[Slot.GREEN]) for place, both in sorted(found.items())}


def lease_of(row: RowMapping) -> Lease:
    return Lease(**row)


def domain_values(domain: Domain) -> Values:
    return {**{name: getattr(domain, name) for name in domain.__dataclass_fields__}, "state": domain.state.value}


def domain_of(row: RowMapping) -> Domain:
    return Domain(**{**row, "state": DomainState(row["state"])})


def maintenance_values(maintenance: Maintenance) -> Values:
    return _flat(maintenance, maintenance.place)


def maintenance_of(row: RowMapping) -> Maintenance:
    return Maintenance(Place(row["project"], row["environment"]), row["since"], row["by"])


def preview_values(preview: Preview) -> Values:
    return _flat(preview, preview.place)


def preview_of(row: RowMapping) -> Preview:
    values: Values = dict(row)
    return Preview(Place(values.pop("project"), values.pop("environment")), **values)


def deployment_values(deployment: Deployment) -> Values:
    return {**_flat(deployment, deployment.place), "slot": deployment.slot.value}


def deployment_of(row: RowMapping) -> Deployment:
    return Deployment(**_unflat(row))


def env_values(version: EnvVersion) -> Values:
    made = {name: list(names) for name, names in vars(version.difference).items()}
    return {**_flat(version, version.place), "difference": made}


def env_of(row: RowMapping) -> EnvVersion:
    """One whose sealed text was not asked for has none."""
    values: Values = dict(row)
    place = Place(values.pop("project"), values.pop("environment"))
    made = Difference(**{name: tuple(names) for name, names in values.pop("difference").items()})
    return EnvVersion(place=place, difference=made, **values)


def key_values(key: Key) -> Values:
    sets = {name: sorted(getattr(key, name)) for name in ("tools", "projects", "environments")}
    values = {name: getattr(key, name) for name in key.__dataclass_fields__}
    return {**values, "role": key.role.value, "approval": key.approval.value, **sets}


def key_of(row: RowMapping) -> Key:
    sets = {name: frozenset(row[name]) for name in ("tools", "projects", "environments")}
    return Key(**{**row, "role": Role(row["role"]), "approval": Approval(row["approval"]), **sets})


def team_values(team: Team) -> Values:
    return {**{name: getattr(team, name) for name in team.__dataclass_fields__}, "approval": team.approval.value}


def team_of(row: RowMapping) -> Team:
    return Team(**{**row, "approval": Approval(row["approval"]), "display_name": row["display_name"] or ""})


def member_values(member: Member) -> Values:
    return {**{name: getattr(member, name) for name in member.__dataclass_fields__}, "role": member.role.value}


def member_of(row: RowMapping) -> Member:
    return Member(**{**row, "role": Role(row["role"])})


def place_mark(project: str, environment: str) -> str:
    """How one place stands in the text of all places of an operation; names hold neither spaces nor slashes."""
    return f" {project}/{environment} "


def places_text(places: Sequence[Place]) -> str:
    return "".join(place_mark(place.project, place.environment) for place in places)


def _places_of(text: str) -> tuple[Place, ...]:
    return tuple(Place(*mark.split("/")) for mark in text.split())


def operation_fields(fields: Mapping[str, Any]) -> Values:
    """Some fields of an operation as columns."""
    values: Values = dict(fields)
    for name in ("warnings", "undo_faults"):
        if name in values:
            values[name] = list(values[name])
    if "state" in values:
        values["state"] = OpState(values["state"]).value
    return values


def operation_values(operation: Operation) -> Values:
    values = operation_fields({name: getattr(operation, name) for name in operation.__dataclass_fields__})
    return {
        **values, "places": places_text(operation.places), "place_count": len(operation.places),
        "project": operation.project,
    }  # fmt: skip


def operation_of(row: RowMapping) -> Operation:
    values: Values = dict(row)
    del values["project"], values["place_count"]
    values["places"] = _places_of(values["places"])
    values["state"] = OpState(values["state"])
    values["warnings"], values["undo_faults"] = tuple(values["warnings"]), tuple(values["undo_faults"])
    return Operation(**values)


def step_values(row: StepRow) -> Values:
    return {**{name: getattr(row, name) for name in row.__dataclass_fields__}, "state": row.state.value}


def step_of(row: RowMapping) -> StepRow:
    return StepRow(**{**row, "state": StepState(row["state"])})


def remembered_values(remembered: Remembered) -> Values:
    plain = {name: None if (said := getattr(remembered, name)) is None else dict(said) for name in ("answer", "params")}
    return {**{name: getattr(remembered, name) for name in remembered.__dataclass_fields__}, **plain}


def remembered_of(row: RowMapping) -> Remembered:
    return Remembered(**row)


def audit_values(row: AuditRow) -> Values:
    return {**{name: getattr(row, name) for name in row.__dataclass_fields__}, "params": dict(row.params)}


def audit_of(row: RowMapping) -> AuditRow:
    values: Values = dict(row)
    del values["id"]
    return AuditRow(**values)


def event_values(event: Event) -> Values:
    values = {name: getattr(event, name) for name in event.__dataclass_fields__}
    return {**values, "severity": event.severity.value, "data": dict(event.data)}


def event_of(row: RowMapping) -> Event:
    return Event(**{**row, "severity": Severity(row["severity"])})


def approval_values(asked: PlanApproval) -> Values:
    values = {name: getattr(asked, name) for name in asked.__dataclass_fields__}
    maps = {name: dict(values[name]) for name in ("params", "plan", "touches")}
    return {**values, **maps, "changes": list(asked.changes), "state": asked.state.value}


def approval_of(row: RowMapping) -> PlanApproval:
    return PlanApproval(**{**row, "state": Decision(row["state"]), "changes": tuple(row["changes"])})


def storage_values(storage: Storage) -> Values:
    return {**_flat(storage, storage.place), "kind": storage.kind.value, "state": storage.state.value}


def storage_of(row: RowMapping) -> Storage:
    values: Values = dict(row)
    place = Place(values.pop("project"), values.pop("environment"))
    return Storage(**{**values, "place": place, "kind": Kind(row["kind"]), "state": Stage(row["state"])})


def password_of(row: RowMapping) -> Password:
    return Password(**row)


def conflict_values(conflict: Unreplayed) -> Values:
    values = {name: getattr(conflict, name) for name in conflict.__dataclass_fields__}
    return {**values, "changes": [dict(each) for each in conflict.changes]}


def conflict_of(row: RowMapping) -> Unreplayed:
    return Unreplayed(**{**row, "changes": tuple(row["changes"])})
