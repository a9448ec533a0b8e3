"""Projects: create, list, get, delete."""

from dataclasses import asdict
from typing import Any

from pydantic import Field

from codeb.contracts.store import Registry
from codeb.errors import Conflict, InvalidParams, StalePlan
from codeb.flows import project_delete
from codeb.model import plans, ports
from codeb.model.access import Role
from codeb.model.names import Place, Slot
from codeb.model.ports import Lease
from codeb.model.slots import Pair, SlotRow
from codeb.model.specs import Limits, Project
from codeb.tools import fields
from codeb.tools.call import Call, unknown_project
from codeb.tools.slots import SlotView, view
from codeb.tools.tool import Accepted, NextCall, Outcome, Plan, Risk, Tool


class CreateParams(fields.Changing):
    project_name: fields.ProjectName
    type: fields.ProjectType = Field("docker", description="what kind of application it is")
    environments: list[fields.Environment] = Field(
        ["production"],
        min_length=1,
        max_length=10,
        description="environments to set up now; others come with their first deploy",
    )
    container_port: fields.Port = Field(3000, description="the port the application listens on inside its container (PORT)")
    health_path: fields.HealthPath = "/"
    memory_mb: int = Field(512, ge=32, le=262144, description="memory limit of a container, MiB")
    cpus: float = Field(1.0, ge=0.1, le=64, description="CPU limit of a container, cores", strict=False)


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


class DeleteParams(fields.Long):
    project_name: fields.ProjectName
    confirm: str = Field("", max_length=64, description="the project's name, typed once more")


class DeleteResult(fields.Result):
    project_name: str
    deleted: bool
    backup: str
    released_ports: list[int]
    operation_id: str


def project_view(call: Call, project: Project) -> ProjectView:
    pairs = [pair for place, pair in sorted(call.kit.store.snapshot.pairs.items()) if place.project == project.name]
    policy = call.kit.policy
    return ProjectView(
        project_name=project.name, team=project.team, type=project.type, state=project.state,
        container_port=project.container_port, health_path=project.health_path, memory_mb=project.limits.memory_mb,
        cpus=project.limits.cpus, created_at=project.created_at.isoformat() if project.created_at else None,
        environments=[
            EnvironmentView(
                environment=pair.place.environment, url=policy.url(pair.place.host(policy.base_domain)),
                blue=pair.blue.port, green=pair.green.port,
            )
            for pair in pairs
        ],
    )  # fmt: skip


async def taken_outside(call: Call) -> set[int]:
    """Ports that containers publish or that something listens on: read before the transaction."""
    return set(await call.kit.ports.published()) | set(await call.kit.ports.listening())


async def new_pair(registry: Registry, call: Call, place: Place, outside: set[int]) -> Pair:
    """Lease the lowest free pair and make both slots of the environment. Raises `Conflict` (`ports_exhausted`)."""
    policy = call.kit.policy
    leased = {lease.port for lease in await registry.leases.all(policy.server)}
    try:
        blue, green = ports.lowest_free_pair(policy.ranges.of(place.environment), leased | outside)
    except ports.Exhausted as fault:
        raise Conflict(
            f"{place.key} gets no ports: {fault}.", code="ports_exhausted",
            hint="Release pairs that are no longer used (port_list), or widen the range in the configuration.",
        ) from fault  # fmt: skip
    pair = Pair(SlotRow(place, Slot.BLUE, blue), SlotRow(place, Slot.GREEN, green))
    await registry.slots.add(pair)
    await registry.leases.add(
        *(Lease(policy.server, row.port, place.project, place.environment, row.slot.value) for row in pair.rows)
    )
    return pair


def _same(project: Project, params: CreateParams) -> bool:
    asked = (params.type, params.container_port, params.health_path, params.memory_mb, params.cpus)
    limits = project.limits
    return asked == (project.type, project.container_port, project.health_path, limits.memory_mb, limits.cpus)


async def _create(call: Call, params: CreateParams) -> Outcome:
    name = params.project_name
    wanted = list(dict.fromkeys(params.environments))
    exists = call.kit.store.snapshot.projects.get(name)
    if exists is not None and not call.actor.sees_project(name, exists.team):
        raise Conflict(f"The name {name} is not available.", code="project_exists", hint="Choose another name.")
    outside = await taken_outside(call)
    plan = {"projectName": name, "environments": wanted, "exists": exists is not None}
    plan_id = plans.plan_id(
        "project_create", plan, {"params": params.model_dump(exclude={"dry_run", "plan_id", "idempotency_key"})}
    )
    if params.dry_run:
        changes = [
            f"set up {name} {each}: a pair of ports, hosts"
            for each in wanted
            if call.kit.store.snapshot.pair_of(Place(name, each)) is None
        ]
        return Outcome(Plan(plan_id=plan_id, plan=plan, changes=changes), f"Would set up {name}.")
    if params.plan_id not in (None, plan_id):
        raise StalePlan("The plan no longer fits: the project or the request changed.", hint="Make a new dry run.")

    async def act(registry: Registry) -> bool:
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

    created = await call.change(act, lambda made: {"created": made})
    view_ = project_view(call, call.kit.store.snapshot.projects[name])
    first = view_.environments[0].environment if wanted == ["production"] else wanted[0]
    return Outcome(
        CreateResult(project=view_, created=created),
        f"Project {name} is set up for {', '.join(wanted)}."
        if created
        else f"Project {name} was set up already; nothing was lost.",
        (
            NextCall(
                "deploy",
                {"projectName": name, "environment": first, "version": "1.0.0"},
                "put a first version into a slot",
            ),
        ),
    )


async def _list(call: Call, params: ListParams) -> Outcome:
    names = sorted(call.projects())
    rest = [name for name in names if params.after is None or name > params.after]
    page = [project_view(call, call.projects()[name]) for name in rest[: params.limit]]
    more = len(rest) > params.limit
    return Outcome(
        ListResult(projects=page, total=len(names), more=more), f"{len(names)} project{'' if len(names) == 1 else 's'}."
    )


async def _get(call: Call, params: GetParams) -> Outcome:
    project = call.project(params.project_name)
    seen = await call.kit.sight.look()
    now = call.kit.world.now()
    slots = {
        place.environment: [view(row, seen, call.kit.policy, now) for row in pair.rows]
        for place, pair in sorted(call.kit.store.snapshot.pairs.items())
        if place.project == project.name
    }
    return Outcome(
        GetResult(project=project_view(call, project), slots=slots),
        f"{project.name}: {', '.join(slots) or 'no environment'}.",
    )


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


async def _delete(call: Call, params: DeleteParams) -> Outcome:
    project = call.project(params.project_name)
    pairs = [pair for place, pair in sorted(call.kit.store.snapshot.pairs.items()) if place.project == project.name]
    places = tuple(pair.place for pair in pairs)
    held = tuple(row.port for pair in pairs for row in pair.rows)
    plan: dict[str, Any] = {
        "projectName": project.name, "environments": [place.environment for place in places], "ports": list(held),
        "containers": [row.container for pair in pairs for row in pair.rows if row.deployment_id],
    }  # fmt: skip
    state = {row.container: [row.state.value, row.deployment_id] for pair in pairs for row in pair.rows}
    plan_id = plans.plan_id("project_delete", plan, state)
    if params.dry_run:
        changes = [f"remove container {name}" for name in plan["containers"]]
        changes += [
            f"release ports {list(held)}",
            f"remove the sites of {', '.join(plan['environments']) or 'no environment'}",
        ]
        return Outcome(
            Plan(plan_id=plan_id, plan=plan, changes=changes),
            f"Would delete {project.name} with everything it has; traffic to it ends at once.",
            (
                NextCall(
                    "project_delete",
                    {"projectName": project.name, "confirm": project.name, "planId": plan_id},
                    "delete it",
                ),
            ),
        )
    if params.confirm != params.project_name:
        raise InvalidParams(
            f"To delete {project.name}, its name has to be typed as confirm; nothing was done.",
            hint=f'Add "confirm": "{project.name}".',
            details={"fields": [{"field": "confirm", "problem": "is not the project's name"}]},
        )
    if params.plan_id not in (None, plan_id):
        raise StalePlan("The project changed since the plan was made; nothing was done.", hint="Make a new dry run.")

    async def decide(registry: Registry) -> project_delete.DeleteInput:
        found = await registry.projects.get(project.name)
        if found is None:
            raise unknown_project(project.name, call.projects())
        history = [each for place in places for each in await registry.deployments.history(place, 50)]
        return project_delete.DeleteInput(
            project=project.name, places=places, ports=held, document=_document(found, pairs, history),
            stop_seconds=found.limits.stop_seconds,
        )  # fmt: skip

    # a project without environments still needs something to lock
    operation = await call.open(project_delete.SAGA, places or (Place(project.name, "production"),), decide)
    if not params.wait:
        return Outcome(Accepted(operation_id=operation.id, state=operation.state.value), f"Deleting {project.name}.")
    operation, _ = await call.ended(operation.id)
    result = DeleteResult(**(operation.result or {}), operation_id=operation.id)
    done = f"Project {project.name} is deleted." if result.deleted else f"Project {project.name} is only partly deleted."
    again = (NextCall("project_delete", {"projectName": project.name, "confirm": project.name}, "finish the deletion"),)
    return Outcome(result, done, () if result.deleted else again, operation.warnings)


TOOLS: tuple[Tool[Any], ...] = (
    Tool(
        "project_create", "Create a project", "Set up a project: ports for both slots of each environment, hosts. Again is harmless.",
        CreateParams, CreateResult, Role.MEMBER, Risk.CHANGES, _create,
    ),
    Tool("project_list", "List projects", "The projects you may see, by name.", ListParams, ListResult, Role.VIEWER, Risk.READS, _list),
    Tool("project_get", "Show a project", "One project with all its slots.", GetParams, GetResult, Role.VIEWER, Risk.READS, _get),
    Tool(
        "project_delete", "Delete a project", "Remove containers, sites, network and ports of a project; a final record is kept.",
        DeleteParams, DeleteResult, Role.ADMIN, Risk.DESTROYS, _delete, long=True,
    ),
)  # fmt: skip
