"""Projects: list, get."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from pydantic import Field

from codeb.contracts.sight import Seen
from codeb.contracts.store import Registry
from codeb.model.access import Role
from codeb.model.deletion import is_deleted, purge_at
from codeb.model.names import Place
from codeb.model.slots import Pair
from codeb.model.specs import Project
from codeb.tools import fields
from codeb.tools.call import Call
from codeb.tools.slots import SlotView, hosts_at, page_since, view
from codeb.tools.tool import NextCall, Outcome, Risk, Tool


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
    repository: str
    created_at: str | None
    deleted_at: str | None = None
    purge_at: str | None = None
    environments: list[EnvironmentView]


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
        repository=project.repository, created_at=_iso(project.created_at), deleted_at=_iso(project.deleted_at),
        purge_at=_iso(purge_at(project)),
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
        "project_list", "List projects", "The projects you may see, by name.",
        ListParams, ListResult, Role.VIEWER, Risk.READS, _list,
    ),
    Tool(
        "project_get", "Show a project", "One project with all its slots.",
        GetParams, GetResult, Role.VIEWER, Risk.READS, _get,
    ),
)  # fmt: skip
