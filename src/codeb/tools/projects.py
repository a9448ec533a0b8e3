"""Projects: create, list, get, update, delete."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from pydantic import Field

from codeb.contracts.store import Registry
from codeb.errors import Conflict, InvalidParams
from codeb.flows import project_delete
from codeb.model.access import Role
from codeb.model.journal import Operation
from codeb.model.names import Place
from codeb.model.slots import Pair
from codeb.model.specs import Limits, Project
from codeb.tools import fields
from codeb.tools.call import Call, unknown_project
from codeb.tools.drafts import Draft, draft, reach
from codeb.tools.pairs import new_pair, taken_outside
from codeb.tools.slots import SlotView, view
from codeb.tools.tool import Accepted, NextCall, Outcome, Risk, Tool


class CreateParams(fields.Changing):
    project_name: fields.ProjectName
    type: fields.ProjectType = Field("docker", description="what kind of application it is")
    environments: list[fields.Environment] = Field(
        ["production"], min_length=1, max_length=10, description="environments to set up now; others come with their first deploy"
    )
    container_port: fields.Port = Field(3000, description="the port the application listens on inside its container (PORT)")
    health_path: fields.HealthPath = "/"
    memory_mb: int = Field(512, ge=32, le=262144, description="memory limit of a container, MiB")
    cpus: float = Field(1.0, ge=0.1, le=64, description="CPU limit of a container, cores")


class EnvironmentView(fields.Result):
    environment: str
    url: str
    blue: int
    green: int


class ProjectView(fields.Result):
    project_name: str
    team: str
    type: str
    state: str
    container_port: int
    health_path: str
    memory_mb: int
    cpus: float
    auto_rollback: bool
    watch_seconds: int
    created_at: str | None
    environments: list[EnvironmentView]


class CreateResult(fields.Result):
    project: ProjectView
    created: bool


class ListParams(fields.Params):
    limit: fields.Limit = 100
    after: fields.ProjectName | None = Field(None, description="the last name of the page before")


class ListResult(fields.Result):
    projects: list[ProjectView]
    total: int
    more: bool


class GetParams(fields.Params):
    project_name: fields.ProjectName


class GetResult(fields.Result):
    project: ProjectView
    slots: dict[str, list[SlotView]]


class UpdateParams(fields.Changing):
    project_name: fields.ProjectName
    auto_rollback: bool | None = Field(
        None, description="whether traffic goes back by itself when the active version stays unhealthy; default: as it is"
    )
    watch_seconds: int | None = Field(
        None, ge=0, le=86400, description="how long after a promote the active version is watched closely; default: as it is"
    )


class UpdateResult(fields.Result):
    project: ProjectView
    changed: list[str]


class DeleteParams(fields.Confirmed, fields.Long):
    project_name: fields.ProjectName
    confirm: str = Field("", max_length=64, description="the project's name, typed once more")


class DeleteResult(fields.Result):
    project_name: str
    deleted: bool
    backup: str
    released_ports: list[int]
    operation_id: str


def pairs_of(call: Call, project: str) -> list[Pair]:
    """The environments of a project, in the order of their names."""
    return [pair for place, pair in sorted(call.kit.store.snapshot.pairs.items()) if place.project == project]


def project_view(call: Call, project: Project, pairs: Sequence[Pair] | None = None) -> ProjectView:
    """`pairs`: as a transaction sees them; otherwise as the registry has them now."""
    policy = call.kit.policy
    return ProjectView(
        project_name=project.name, team=project.team, type=project.type, state=project.state,
        container_port=project.container_port, health_path=project.health_path, memory_mb=project.limits.memory_mb,
        cpus=project.limits.cpus, auto_rollback=project.auto_rollback, watch_seconds=project.watch_seconds,
        created_at=project.created_at.isoformat() if project.created_at else None,
        environments=[
            EnvironmentView(
                environment=pair.place.environment, url=policy.url(pair.place.host(policy.base_domain)),
                blue=pair.blue.port, green=pair.green.port,
            )
            for pair in (pairs_of(call, project.name) if pairs is None else pairs)
        ],
    )  # fmt: skip


async def _shown(registry: Registry, call: Call, name: str) -> ProjectView:
    """A project as this transaction sees it."""
    project = await registry.projects.get(name)
    assert project is not None
    pairs = [await registry.slots.pair(Place(name, each)) for each in sorted(project.environments)]
    return project_view(call, project, [pair for pair in pairs if pair is not None])


# create


def _same(project: Project, params: CreateParams) -> bool:
    asked = (params.type, params.container_port, params.health_path, params.memory_mb, params.cpus)
    limits = project.limits
    return asked == (project.type, project.container_port, project.health_path, limits.memory_mb, limits.cpus)


def _draft_create(call: Call, params: CreateParams, wanted: list[str]) -> Draft:
    name, snapshot = params.project_name, call.kit.store.snapshot
    missing = [each for each in wanted if snapshot.pair_of(Place(name, each)) is None]
    plan = {"projectName": name, "environments": wanted, "exists": name in snapshot.projects}
    asked = params.model_dump(exclude={"dry_run", "plan_id", "idempotency_key"})
    changes = [f"set up {name} {each}: a pair of ports, hosts" for each in missing]
    return draft("project_create", plan, changes, {"params": asked, "missing": missing})


async def _create(call: Call, params: CreateParams) -> Outcome:
    name, wanted = params.project_name, list(dict.fromkeys(params.environments))
    exists = call.kit.store.snapshot.projects.get(name)
    if exists is not None and not call.actor.sees_project(name, exists.team):
        raise Conflict(f"The name {name} is not available.", code="project_exists", hint="Choose another name.")
    drafted = _draft_create(call, params, wanted)
    if params.dry_run:
        return drafted.shown(f"Would set up {name}." if drafted.changes else f"{name} is set up already.")
    drafted.still_fits(params)
    outside = await taken_outside(call)

    async def act(registry: Registry) -> CreateResult:
        created = await _set_up(registry, call, params, wanted, outside)
        return CreateResult(project=await _shown(registry, call, name), created=created)

    done = await call.change(act, lambda result: result.model_dump(by_alias=True, mode="json"))
    said = f"is set up for {', '.join(wanted)}." if done.created else "was set up already; nothing was lost."
    first = {"projectName": name, "environment": wanted[0], "version": "1.0.0"}
    return Outcome(
        done, f"Project {name} {said}",
        (NextCall("deploy", first, "put a first version into a slot"),),
    )  # fmt: skip


async def _set_up(registry: Registry, call: Call, params: CreateParams, wanted: list[str], outside: set[int]) -> bool:
    """The project and its environments, those that are missing; True when the project is new."""
    name = params.project_name
    found = await registry.projects.get(name)
    if found is not None and (found.team != call.actor.team or found.state != "ready" or not _same(found, params)):
        raise Conflict(
            f"Project {name} exists with other settings.", code="project_exists",
            hint="See project_get; project_create again with the same settings is fine.",
        )  # fmt: skip
    if found is None:
        limits = Limits(memory_mb=params.memory_mb, cpus=params.cpus)
        await registry.projects.add(
            Project(
                name=name, team=call.actor.team, type=params.type, container_port=params.container_port,
                health_path=params.health_path, limits=limits, created_at=call.kit.world.now(), created_by=call.actor.name,
            )
        )  # fmt: skip
    for each in wanted:
        if await registry.slots.pair(Place(name, each)) is None:
            await new_pair(registry, call, Place(name, each), outside)
    return found is None


# list, get


async def _list(call: Call, params: ListParams) -> Outcome:
    visible = call.projects()
    rest = [name for name in sorted(visible) if params.after is None or name > params.after]
    page = [project_view(call, visible[name]) for name in rest[: params.limit]]
    said = f"{len(visible)} project{'' if len(visible) == 1 else 's'}."
    return Outcome(ListResult(projects=page, total=len(visible), more=len(rest) > params.limit), said)


async def _get(call: Call, params: GetParams) -> Outcome:
    project = call.project(params.project_name)
    seen, now = await call.kit.sight.look(), call.kit.world.now()
    slots = {
        pair.place.environment: [view(row, seen, call.kit.policy, now) for row in pair.rows]
        for pair in pairs_of(call, project.name)
    }
    return Outcome(
        GetResult(project=project_view(call, project), slots=slots), f"{project.name}: {', '.join(slots) or 'no environment'}."
    )


# update


def _draft_update(project: Project, params: UpdateParams) -> Draft:
    wanted = {"autoRollback": params.auto_rollback, "watchSeconds": params.watch_seconds}
    now = {"autoRollback": project.auto_rollback, "watchSeconds": project.watch_seconds}
    plan = {key: now[key] if value is None else value for key, value in wanted.items()}
    changes = [f"set {key} from {_word(now[key])} to {_word(plan[key])}" for key in plan if plan[key] != now[key]]
    return draft("project_update", {"projectName": project.name, **plan}, changes, now)


def _word(value: bool | int) -> str:
    return ("on" if value else "off") if isinstance(value, bool) else str(value)


async def _update(call: Call, params: UpdateParams) -> Outcome:
    name = call.project(params.project_name).name
    if params.auto_rollback is None and params.watch_seconds is None:
        raise InvalidParams(
            "Say what is to change; nothing was done.", hint="Give autoRollback, watchSeconds or both.",
            details={"fields": [{"field": each, "problem": "missing"} for each in ("autoRollback", "watchSeconds")]},
        )  # fmt: skip
    drafted = _draft_update(call.project(name), params)
    if params.dry_run:
        apply = NextCall("project_update", {**drafted.plan, "planId": drafted.id}, "do exactly this")
        return drafted.shown(f"Would change {name}." if drafted.changes else f"{name} is as asked already.", apply)

    async def act(registry: Registry) -> UpdateResult:
        found = await registry.projects.get(name)
        if found is None or not call.actor.sees_project(name, found.team):
            raise unknown_project(name, call.projects())
        fresh = _draft_update(found, params)
        fresh.still_fits(params)
        await registry.projects.set_watch(
            name, auto_rollback=fresh.plan["autoRollback"], watch_seconds=fresh.plan["watchSeconds"]
        )  # fmt: skip
        return UpdateResult(project=await _shown(registry, call, name), changed=list(fresh.changes))

    done = await call.change(act, lambda result: result.model_dump(by_alias=True, mode="json"))
    return Outcome(done, f"{name}: {', '.join(done.changed)}." if done.changed else f"{name} was as asked already.")


# delete


def _document(project: Project, pairs: list[Pair], history: list[Any]) -> dict[str, Any]:
    return {
        "project": _plain(asdict(project)),
        "slots": [_plain(asdict(row)) for pair in pairs for row in pair.rows],
        "deployments": [_plain(asdict(each)) for each in history],
    }


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return value if isinstance(value, str | int | float | bool | None) else str(value)


def _draft_delete(call: Call, project: Project, pairs: list[Pair]) -> Draft:
    held = [row for pair in pairs for row in pair.rows]
    containers = [row.container for row in held if row.deployment_id]
    environments = [pair.place.environment for pair in pairs]
    plan = {
        "projectName": project.name, "environments": environments, "ports": [row.port for row in held], "containers": containers,
    }  # fmt: skip
    changes = [f"remove container {name}" for name in containers]
    changes += [f"release ports {plan['ports']}", f"remove the sites of {', '.join(environments) or 'no environment'}"]
    state = {row.container: [row.state.value, row.deployment_id] for row in held}
    return draft("project_delete", plan, changes, state, reach(held, call.kit.policy.base_domain, public=True, previews=True))


async def _delete(call: Call, params: DeleteParams) -> Outcome:
    if not params.dry_run and (begun := await call.began()):
        # by now there may be no such project
        earlier = begun[""]
        return await _deleting(call, params, await call.kit.store.consult(lambda registry: call.engine.find(registry, earlier)))
    project = call.project(params.project_name)
    name, pairs = project.name, pairs_of(call, project.name)
    drafted = _draft_delete(call, project, pairs)
    if params.dry_run:
        apply = NextCall("project_delete", {"projectName": name, "confirm": name, "planId": drafted.id}, "delete it")
        return drafted.shown(f"Would delete {name} with everything it has; traffic to it ends at once.", apply)
    if params.confirm != name:
        raise InvalidParams(
            f"To delete {name}, its name has to be typed as confirm; nothing was done.", hint=f'Add "confirm": "{name}".',
            details={"fields": [{"field": "confirm", "problem": "is not the project's name"}]},
        )  # fmt: skip
    drafted.still_fits(params)
    places = tuple(pair.place for pair in pairs)

    async def decide(registry: Registry) -> project_delete.DeleteInput:
        found = await registry.projects.get(name)
        if found is None:
            raise unknown_project(name, call.projects())
        there = [pair for pair in await registry.slots.pairs() if pair.place.project == name]
        _draft_delete(call, found, sorted(there, key=lambda pair: pair.place)).still_fits(params)
        history = [each for place in places for each in await registry.deployments.history(place, 50)]
        return project_delete.DeleteInput(
            project=name, places=places, ports=tuple(row.port for pair in pairs for row in pair.rows),
            document=_document(found, pairs, history), stop_seconds=found.limits.stop_seconds,
        )  # fmt: skip

    # a project without environments still needs something to lock
    operation = await call.open(project_delete.SAGA, places or (Place(name, "production"),), decide)
    return await _deleting(call, params, operation)


async def _deleting(call: Call, params: DeleteParams, operation: Operation) -> Outcome:
    name = params.project_name
    if not params.wait:
        return Outcome(Accepted(operation_id=operation.id, state=operation.state.value), f"Deleting {name}.")
    operation, _ = await call.ended(operation.id)
    result = DeleteResult(**(operation.result or {}), operation_id=operation.id)
    if result.deleted:
        return Outcome(result, f"Project {name} is deleted.", (), operation.warnings)
    again = NextCall("project_delete", {"projectName": name, "confirm": name}, "finish the deletion")
    return Outcome(result, f"Project {name} is only partly deleted.", (again,), operation.warnings)


TOOLS: tuple[Tool[Any], ...] = (
    Tool(
        "project_create", "Create a project",
        "Set up a project: ports for both slots of each environment, hosts. Again is harmless.",
        CreateParams, CreateResult, Role.MEMBER, Risk.CHANGES, _create,
    ),
    Tool(
        "project_list", "List projects", "The projects you may see, by name.",
        ListParams, ListResult, Role.VIEWER, Risk.READS, _list,
    ),
    Tool(
        "project_get", "Show a project", "One project with all its slots.",
        GetParams, GetResult, Role.VIEWER, Risk.READS, _get,
    ),
    Tool(
        "project_update", "Change a project's watch",
        "Set whether traffic goes back by itself when the active version stays unhealthy, and how long it is watched.",
        UpdateParams, UpdateResult, Role.MEMBER, Risk.CHANGES, _update,
    ),
    Tool(
        "project_delete", "Delete a project",
        "Remove containers, sites, network and ports of a project; a final record is kept.",
        DeleteParams, DeleteResult, Role.ADMIN, Risk.DESTROYS, _delete, long=True,
    ),
)  # fmt: skip
