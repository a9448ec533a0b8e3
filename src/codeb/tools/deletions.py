"""The end of a project: delete, undelete, purge."""

from dataclasses import asdict
from typing import Any

from pydantic import Field

from codeb.contracts.store import Registry
from codeb.errors import Conflict, InvalidParams
from codeb.flows import project_delete, project_purge, undelete
from codeb.flows.mend import MendInput
from codeb.flows.site import site_of
from codeb.flows.storage import input_of
from codeb.flows.storage_delete import EndInput
from codeb.model.access import Role
from codeb.model.deletion import DELETED, KEPT_DAYS, PURGING, is_deleted, purge_at
from codeb.model.domains import Domain
from codeb.model.journal import Operation
from codeb.model.names import Place
from codeb.model.slots import Pair, State, grace_expired
from codeb.model.specs import Project
from codeb.tools import fields
from codeb.tools.call import Call
from codeb.tools.drafts import Draft, draft, reach
from codeb.tools.projects import pairs_of
from codeb.tools.refusals import gone, unknown_project
from codeb.tools.tool import Accepted, NextCall, Outcome, Risk, Tool


class DeleteParams(fields.Confirmed, fields.Long):
    project_name: fields.ProjectName
    confirm: str = Field("", max_length=64, description="the project's name, typed once more")
    purge: bool = Field(False, description="of a deleted project: remove what is left of it now, for good")


class DeleteResult(fields.Result):
    project_name: str
    deleted: bool
    purged: bool
    deleted_at: str | None
    backup: str | None
    released_ports: list[int]
    operation_id: str


class UndeleteParams(fields.Long):
    project_name: fields.ProjectName


class BackView(fields.Result):
    environment: str
    url: str
    active_slot: str | None
    version: str | None
    answers: bool | None
    problem: str | None
    grace_expires_at: str | None
    not_answering: dict[str, str]


class UndeleteResult(fields.Result):
    project_name: str
    environments: list[BackView]
    operation_id: str


# what is common


def _places(project: str, pairs: list[Pair]) -> tuple[Place, ...]:
    """What is locked: a project without environments still needs something."""
    return tuple(pair.place for pair in pairs) or (Place(project, "production"),)


async def _there(registry: Registry, call: Call, name: str, locked: tuple[Place, ...]) -> tuple[Project, list[Pair]]:
    """The project and its environments as this transaction sees them. Raises `NotFound`, `Conflict` (`state_moved`)."""
    found = await registry.projects.get(name)
    if found is None or not call.actor.sees_project(name, found.team):
        raise unknown_project(name, call.projects())
    every = [await registry.slots.pair(Place(name, each)) for each in sorted(found.environments)]
    pairs = [pair for pair in every if pair is not None]
    if set(_places(name, pairs)) != set(locked):
        raise Conflict(f"{name} has other environments by now; nothing was done.", code="state_moved", hint="Call it again.")
    return found, pairs


async def _names(registry: Registry, project: str) -> list[Domain]:
    return [each for each in await registry.domains.all() if each.held and each.project == project]


# delete


def _document(project: Project, pairs: list[Pair], history: list[Any], domains: list[Domain]) -> dict[str, Any]:
    return {
        "project": _plain(asdict(project)),
        "slots": [_plain(asdict(row)) for pair in pairs for row in pair.rows],
        "deployments": [_plain(asdict(each)) for each in history],
        "domains": [_plain(asdict(each)) for each in domains],
    }


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return value if isinstance(value, str | int | float | bool | None) else str(value)


def _draft_delete(call: Call, project: Project, pairs: list[Pair], purge: bool) -> Draft:
    held = [row for pair in pairs for row in pair.rows]
    containers = [row.container for row in held if row.deployment_id]
    environments = [pair.place.environment for pair in pairs]
    plan = {
        "projectName": project.name, "environments": environments, "ports": [row.port for row in held],
        "containers": containers, "purge": purge,
    }  # fmt: skip
    changes = [f"{'remove' if purge else 'stop and set aside'} container {name}" for name in containers]
    if purge:
        changes += [f"release ports {plan['ports']}", f"give up the name {project.name}"]
    else:
        changes += [f"remove the sites of {', '.join(environments) or 'no environment'}"]
    state: dict[str, Any] = {row.container: [row.state.value, row.deployment_id] for row in held}
    names = call.kit.store.snapshot.domains.values()
    touches = reach(held, call.kit.policy.base_domain, public=not purge, previews=not purge, domains=names)
    return draft("project_delete", plan, changes, {**state, "project": [project.state, str(project.deleted_at)]}, touches)


async def _delete(call: Call, params: DeleteParams) -> Outcome:
    if not params.dry_run and (begun := await call.begun()):
        return await _deleting(call, params, begun)
    project = call.project(params.project_name, deleted=True)
    name, pairs = project.name, pairs_of(call, project.name)
    # one that is being purged has only that end
    purge = params.purge or project.state == PURGING
    _refuse_wrong_end(project, purge)
    drafted = _draft_delete(call, project, pairs, purge)
    if params.dry_run:
        said = {"projectName": name, "confirm": name, "purge": purge, "planId": drafted.id}
        apply = NextCall("project_delete", said, "purge it" if purge else "delete it")
        kept = "for good" if purge else f"traffic to it ends at once, and undelete brings it back for {KEPT_DAYS} days"
        return drafted.shown(f"Would delete {name}: {kept}.", apply)
    if params.confirm != name:
        raise InvalidParams(
            f"To delete {name}, its name has to be typed as confirm; nothing was done.", hint=f'Add "confirm": "{name}".',
            details={"fields": [{"field": "confirm", "problem": "is not the project's name"}]},
        )  # fmt: skip
    drafted.still_fits(params)
    operation = await (
        begin_purge(call, project, "it was asked for", params) if purge else _begin_delete(call, project, pairs, params)
    )
    return await _deleting(call, params, operation)


def _refuse_wrong_end(project: Project, purge: bool) -> None:
    """Raises `Conflict`: `project_deleted` for one to delete, `not_deleted` for one to purge."""
    if not purge and is_deleted(project):
        fault = gone(project)
        fault.hint += " To remove what is left of it now, say purge: true."
        raise fault
    if purge and not is_deleted(project):
        raise Conflict(
            f"Project {project.name} is not deleted, so there is nothing to purge; nothing was done.", code="not_deleted",
            hint="Delete it first, without purge.",
        )  # fmt: skip


async def _begin_delete(call: Call, project: Project, pairs: list[Pair], params: DeleteParams) -> Operation:
    name, locked = project.name, _places(project.name, pairs)

    async def decide(registry: Registry) -> project_delete.DeleteInput:
        found, pairs = await _there(registry, call, name, locked)
        _refuse_wrong_end(found, purge=False)
        _draft_delete(call, found, pairs, purge=False).still_fits(params)
        rows = [row for pair in pairs for row in pair.rows]
        named = await _names(registry, name)
        history = [each for pair in pairs for each in await registry.deployments.history(pair.place, 50)]
        return project_delete.DeleteInput(
            project=name, places=tuple(pair.place for pair in pairs),
            kept=tuple(row.container for row in rows if row.state is not State.EMPTY),
            unwanted=tuple(row.container for row in rows if row.state is State.EMPTY),
            document=_document(found, pairs, history, named), stop_seconds=found.limits.stop_seconds,
        )  # fmt: skip

    return await call.open(project_delete.SAGA, locked, decide)


async def begin_purge(call: Call, project: Project, why: str, params: DeleteParams | None = None) -> Operation:
    """Begin the end of a deleted project. Raises `Conflict` (`not_deleted`) when it came back meanwhile."""
    name, locked = project.name, _places(project.name, pairs_of(call, project.name))

    async def decide(registry: Registry) -> project_purge.PurgeInput:
        found, pairs = await _there(registry, call, name, locked)
        _refuse_wrong_end(found, purge=True)
        if found.deleted_at != project.deleted_at:
            # brought back and deleted again: another seven days
            raise Conflict(f"Project {name} was deleted anew; nothing was done.", code="state_moved", hint="Call it again.")
        if params is not None:
            _draft_delete(call, found, pairs, purge=True).still_fits(params)
        return project_purge.PurgeInput(
            project=name, places=tuple(pair.place for pair in pairs),
            ports=tuple(row.port for pair in pairs for row in pair.rows),
            adopted=tuple(row.taken_over for pair in pairs for row in pair.rows if row.taken_over),
            stop_seconds=found.limits.stop_seconds, why=why,
            domains=tuple(await _names(registry, name)),
            storage=tuple(EndInput(input_of(each), each.backup) for each in await registry.storages.all(name)),
        )  # fmt: skip

    return await call.open(project_purge.SAGA, locked, decide)


async def _deleting(call: Call, params: DeleteParams, operation: Operation) -> Outcome:
    name = params.project_name
    if not params.wait:
        return Outcome(Accepted(operation_id=operation.id, state=operation.state.value), f"Deleting {name}.")
    operation, _ = await call.ended(operation.id)
    result = DeleteResult(**(operation.result or {}), operation_id=operation.id)
    if result.purged:
        return Outcome(result, f"Nothing is left of project {name} but its final record.", (), operation.warnings)
    if operation.saga == project_delete.SAGA.name and result.deleted:
        back = NextCall("undelete", {"projectName": name}, f"bring it back, within {KEPT_DAYS} days")
        said = f"Project {name} is deleted; it can be brought back for {KEPT_DAYS} days."
        return Outcome(result, said, (back,), operation.warnings)
    purge = operation.saga == project_purge.SAGA.name
    again = NextCall("project_delete", {"projectName": name, "confirm": name, "purge": purge}, "finish the deletion")
    return Outcome(result, f"Project {name} is only partly {'purged' if purge else 'deleted'}.", (again,), operation.warnings)


# undelete


def _refuse_undelete(project: Project) -> None:
    """Raises `Conflict`: `not_deleted`, `project_deleting`, or `project_deleted` when it is too late."""
    if project.state == PURGING:
        raise gone(project)
    if project.state == "deleting":
        raise Conflict(
            f"The deletion of {project.name} stopped half way; nothing was done.", code="project_deleting",
            hint="Finish it with project_delete, then undelete.",
        )  # fmt: skip
    if project.state != DELETED:
        raise Conflict(f"Project {project.name} is not deleted.", code="not_deleted", hint="Nothing is to be done.")


def _back(call: Call, project: Project, pairs: list[Pair]) -> undelete.UndeleteInput:
    policy, now = call.kit.policy, call.kit.world.now()
    parts = []
    for pair in pairs:
        over = pair.grace if pair.grace and grace_expired(pair.grace, now) else None
        rows = undelete.slots_to_run(pair, over)
        page = pair.place in call.kit.store.snapshot.maintenances
        named = call.kit.store.snapshot.domains_of(pair.place)
        parts.append(
            MendInput(
                place=pair.place, pair=pair, site=site_of(project, pair, policy, named), container_port=project.container_port,
                limits=project.limits, kept_up=tuple(row.slot for row in rows),
                needs_site=bool(named) or page, maintenance=page,
            )
        )  # fmt: skip
    return undelete.UndeleteInput(project=project.name, parts=tuple(parts))


async def _undelete(call: Call, params: UndeleteParams) -> Outcome:
    if not params.dry_run and (begun := await call.begun()):
        return await _coming_back(call, params, begun)
    project = call.project(params.project_name, deleted=True)
    name, pairs = project.name, pairs_of(call, project.name)
    _refuse_undelete(project)
    rows = [row for _, row in _back(call, project, pairs).rows]
    drafted = draft(
        "undelete", {"projectName": name, "containers": [row.container for row in rows], "until": str(purge_at(project))},
        [f"start {row.container} ({row.version}, {row.state})" for row in rows],
        {"deletedAt": str(project.deleted_at), "rows": [[row.container, row.deployment_id] for row in rows]},
    )  # fmt: skip
    if params.dry_run:
        apply = NextCall("undelete", {"projectName": name, "planId": drafted.id}, "bring it back")
        return drafted.shown(f"Would bring {name} back as it was.", apply)
    drafted.still_fits(params)
    locked = _places(name, pairs)

    async def decide(registry: Registry) -> undelete.UndeleteInput:
        found, pairs = await _there(registry, call, name, locked)
        _refuse_undelete(found)
        return _back(call, found, pairs)

    return await _coming_back(call, params, await call.open(undelete.SAGA, locked, decide))


async def _coming_back(call: Call, params: UndeleteParams, operation: Operation) -> Outcome:
    name = params.project_name
    if not params.wait:
        return Outcome(Accepted(operation_id=operation.id, state=operation.state.value), f"Bringing {name} back.")
    operation, _ = await call.ended(operation.id)
    result = UndeleteResult(**(operation.result or {}), operation_id=operation.id)
    bad = [each for each in result.environments if each.answers is False]
    well = [
        f"{each.environment} answers with {each.version} ({each.active_slot})" for each in result.environments if each.answers
    ]
    said = f"Project {name} is back" + (f": {', '.join(well)}" if well else "")
    if bad:
        said += "; not answering: " + "; ".join(f"{each.environment} ({each.problem})" for each in bad)
    next_calls = tuple(
        NextCall("logs", {"projectName": name, "environment": each.environment}, "see why it does not answer") for each in bad
    )
    return Outcome(result, said.rstrip(".") + ".", next_calls, operation.warnings)


TOOLS: tuple[Tool[Any], ...] = (
    Tool(
        "project_delete", "Delete a project",
        "End traffic and stop containers; undelete brings it back for 7 days. With purge, what is left of it goes now.",
        DeleteParams, DeleteResult, Role.ADMIN, Risk.DESTROYS, _delete, long=True,
    ),
    Tool(
        "undelete", "Bring a project back",
        "Bring a deleted project back as it was: the same slots, the same version live; says whether it answers.",
        UndeleteParams, UndeleteResult, Role.ADMIN, Risk.CHANGES, _undelete, long=True,
    ),
)  # fmt: skip
