"""Projects: create, list, get."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from pydantic import Field

from codeb.contracts.sight import Seen
from codeb.contracts.store import Registry
from codeb.errors import Conflict
from codeb.model.access import Role
from codeb.model.deletion import READY, is_deleted, purge_at
from codeb.model.names import Place
from codeb.model.slots import Pair
from codeb.model.specs import Limits, Project
from codeb.tools import fields
from codeb.tools.call import Call
from codeb.tools.drafts import Draft, draft
from codeb.tools.pairs import new_pair, taken_outside
from codeb.tools.people import known, no_orphan
from codeb.tools.refusals import gone
from codeb.tools.slots import SlotView, hosts_at, page_since, view
from codeb.tools.tool import NextCall, Outcome, Risk, Tool


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
    domains: list[str] = []
    maintenance_since: str | None = None


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
    deleted_at: str | None = None
    purge_at: str | None = None
    environments: list[EnvironmentView]


class CreateResult(fields.Result):
    project: ProjectView
    created: bool


class ListParams(fields.Params):
    deleted: bool = Field(False, description="also those that are deleted and can still be brought back")
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
        created_at=_iso(project.created_at), deleted_at=_iso(project.deleted_at), purge_at=_iso(purge_at(project)),
        environments=[
            EnvironmentView(
                environment=pair.place.environment, url=policy.url(pair.place.host(policy.base_domain)),
                blue=pair.blue.port, green=pair.green.port, domains=hosts_at(call, pair.place),
                maintenance_since=page_since(call, pair.place),
            )
            for pair in (pairs_of(call, project.name) if pairs is None else pairs)
        ],
    )  # fmt: skip


def _iso(at: datetime | None) -> str | None:
    return at.isoformat() if at else None


async def shown(registry: Registry, call: Call, name: str) -> ProjectView:
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
    no_orphan(known(call), call.actor)
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
        return CreateResult(project=await shown(registry, call, name), created=created)

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
    if found is not None and is_deleted(found) and call.actor.sees_project(name, found.team):
        raise gone(found)
    if found is not None and (found.team != call.actor.team or found.state != READY or not _same(found, params)):
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
    visible = call.projects(deleted=params.deleted)
    rest = [name for name in sorted(visible) if params.after is None or name > params.after]
    page = [project_view(call, visible[name]) for name in rest[: params.limit]]
    said = f"{len(visible)} project{'' if len(visible) == 1 else 's'}."
    return Outcome(ListResult(projects=page, total=len(visible), more=len(rest) > params.limit), said)


async def _get(call: Call, params: GetParams) -> Outcome:
    project = call.project(params.project_name, deleted=True)
    seen, now = await call.kit.sight.look(), call.kit.world.now()
    if is_deleted(project):
        # that nothing of it runs is how it should be
        return _get_deleted(call, project, now)
    slots = {
        pair.place.environment: [view(row, seen, call.kit.policy, now) for row in pair.rows]
        for pair in pairs_of(call, project.name)
    }
    return Outcome(
        GetResult(project=project_view(call, project), slots=slots), f"{project.name}: {', '.join(slots) or 'no environment'}."
    )


def _aside(slot: SlotView) -> SlotView:
    return slot if slot.health == "none" else slot.model_copy(update={"health": "stopped", "drift": []})


def _get_deleted(call: Call, project: Project, now: datetime) -> Outcome:
    slots = {
        pair.place.environment: [_aside(view(row, Seen(now), call.kit.policy, now)) for row in pair.rows]
        for pair in pairs_of(call, project.name)
    }
    back = NextCall("undelete", {"projectName": project.name}, "bring it back as it was")
    until = purge_at(project)
    said = f"{project.name} is deleted; it can be brought back until {until}." if until else f"{project.name} is being purged."
    return Outcome(GetResult(project=project_view(call, project), slots=slots), said, (back,) if until else ())


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
)  # fmt: skip
