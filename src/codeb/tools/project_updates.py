"""What may be changed of a project that is set up: its watch at once, what its containers are like from the next deploy on."""

from dataclasses import asdict, replace
from typing import Any

from pydantic import Field
from pydantic.alias_generators import to_camel

from codeb.contracts.store import Registry
from codeb.errors import Forbidden, InvalidParams
from codeb.flows.pulls import may_use, not_granted
from codeb.model.access import Role
from codeb.model.deletion import is_deleted
from codeb.model.names import Place
from codeb.model.slots import State
from codeb.model.specs import Limits, Project
from codeb.tools import fields
from codeb.tools.call import Call
from codeb.tools.drafts import Draft, draft
from codeb.tools.projects import ProjectView, shown
from codeb.tools.refusals import gone, unknown_project
from codeb.tools.tool import NextCall, Outcome, Risk, Tool


class UpdateParams(fields.Changing):
    project_name: fields.ProjectName
    auto_rollback: bool | None = Field(
        None, description="whether traffic goes back by itself when the active version stays unhealthy; default: as it is"
    )
    watch_seconds: int | None = Field(
        None, ge=0, le=86400, description="how long after a promote the active version is watched closely; default: as it is"
    )
    type: fields.ProjectType | None = Field(None, description="what kind of application it is; default: as it is")
    repository: fields.GitRepository | None = Field(
        None, description="where its source is at GitHub, owner/name or none, said by an admin; default: as it is"
    )
    container_port: fields.Port | None = Field(
        None, description="the port the application listens on, from the next deploy on; default: as it is"
    )
    health_path: fields.HealthPath | None = Field(
        None, description="the path that answers 2xx or 3xx when healthy, from the next deploy on; default: as it is"
    )
    memory_mb: int | None = Field(
        None, ge=32, le=262144, description="memory limit of a container, MiB, from the next deploy on; default: as it is"
    )
    cpus: float | None = Field(
        None, ge=0.1, le=64, description="CPU limit of a container, cores, from the next deploy on; default: as it is"
    )


AT_ONCE = ("auto_rollback", "watch_seconds", "type", "repository")
LATER = ("container_port", "health_path", "memory_mb", "cpus")
WIRE = {name: to_camel(name) for name in (*AT_ONCE, *LATER)}


class UpdateResult(fields.Result):
    project: ProjectView
    changed: list[str]
    from_next_deploy: list[str] = []
    """names of what takes effect with the next deploy; what runs goes on as it was deployed"""


def _said(project: Project) -> dict[str, Any]:
    """What may be changed, as it is."""
    return {
        "auto_rollback": project.auto_rollback, "watch_seconds": project.watch_seconds, "type": project.type,
        "repository": project.repository or fields.NOWHERE,
        "container_port": project.container_port, "health_path": project.health_path,
        "memory_mb": project.limits.memory_mb, "cpus": project.limits.cpus,
    }  # fmt: skip


def _draft_update(project: Project, params: UpdateParams) -> Draft:
    now = _said(project)
    asked = {name: getattr(params, name) for name in now}
    plan = {name: now[name] if value is None else value for name, value in asked.items()}
    changes = [
        f"set {WIRE[name]} from {_word(now[name])} to {_word(plan[name])}{', from the next deploy on' if name in LATER else ''}"
        for name in plan if plan[name] != now[name]
    ]  # fmt: skip
    told = {"projectName": project.name, **{WIRE[name]: value for name, value in plan.items()}}
    return draft("project_update", told, changes, now)


def _word(value: Any) -> str:
    return ("on" if value else "off") if isinstance(value, bool) else f"{value:g}" if isinstance(value, float) else str(value)


def _waiting(former: Project, params: UpdateParams) -> list[str]:
    now = _said(former)
    return [WIRE[name] for name in LATER if getattr(params, name) not in (None, now[name])]


def _reached(call: Call, project: Project) -> None:
    """These settings are those of all environments. Raises `Forbidden` where the key reaches some of them only."""
    if beyond := sorted(each for each in project.environments if not call.actor.may_touch(each)):
        raise Forbidden(
            f"This key does not reach {', '.join(beyond)} of {project.name}, which has the same settings; nothing was done.",
            hint="Use a key for all environments of the project.",
        )  # fmt: skip


def _may_say(call: Call, project: Project, wanted: str | None) -> None:
    """Whose repository it is to be is no member's to say: what is merged and who reads it hang on it. Raises `Forbidden`."""
    if wanted in (None, project.repository or fields.NOWHERE):
        return
    if not call.actor.role.covers(Role.ADMIN):
        raise Forbidden(
            f"Where the source of {project.name} is, an admin says; nothing was done.", hint="Ask an admin or owner of your team."
        )
    if wanted != fields.NOWHERE and not may_use(call.kit, project.team, wanted):
        raise not_granted(project.team)


async def _update(call: Call, params: UpdateParams) -> Outcome:
    project = call.project(params.project_name)
    name = project.name
    _reached(call, project)
    if all(getattr(params, each) is None for each in WIRE):
        raise InvalidParams(
            "Say what is to change; nothing was done.", hint=f"Give one or more of {', '.join(WIRE.values())}.",
            details={"fields": [{"field": each, "problem": "missing"} for each in WIRE.values()]},
        )  # fmt: skip
    _may_say(call, project, params.repository)
    drafted = _draft_update(project, params)
    if params.dry_run:
        apply = NextCall("project_update", {**drafted.plan, "planId": drafted.id}, "do exactly this")
        return drafted.shown(f"Would change {name}." if drafted.changes else f"{name} is as asked already.", apply)

    async def act(registry: Registry) -> UpdateResult:
        found = await registry.projects.get(name)
        if found is None or not call.actor.sees_project(name, found.team):
            raise unknown_project(name, call.projects())
        if is_deleted(found):
            raise gone(found)
        _reached(call, found)
        _may_say(call, found, params.repository)
        fresh = _draft_update(found, params)
        fresh.still_fits(params)
        await _write(registry, found, params)
        waiting = _waiting(found, params)
        return UpdateResult(project=await shown(registry, call, name), changed=list(fresh.changes), from_next_deploy=waiting)

    done = await call.change(act, lambda result: result.model_dump(by_alias=True, mode="json"))
    if not done.changed:
        return Outcome(done, f"{name} was as asked already.")
    said = f"{name}: {', '.join(done.changed)}."
    return Outcome(done, said + (" What runs goes on as it was deployed." if done.from_next_deploy else ""))


async def _write(registry: Registry, found: Project, params: UpdateParams) -> None:
    """The project; and what was deployed before slots remembered it for themselves keeps what it was deployed with."""
    new = {name: now if getattr(params, name) is None else getattr(params, name) for name, now in _said(found).items()}
    await registry.projects.set_watch(found.name, auto_rollback=new["auto_rollback"], watch_seconds=new["watch_seconds"])
    repository = "" if new["repository"] == fields.NOWHERE else new["repository"]
    if repository != found.repository:
        await registry.projects.set_repository(found.name, repository)
    if not (_waiting(found, params) or new["type"] != found.type):
        return
    for environment in found.environments:
        pair = await registry.slots.pair(Place(found.name, environment))
        for row in pair.rows if pair else ():
            kept = replace(
                row, container_port=row.container_port or found.container_port, health_path=row.health_path or found.health_path
            )
            if row.state is not State.EMPTY and kept != row:
                await registry.slots.put(kept)
    limits = Limits(**{**asdict(found.limits), "memory_mb": new["memory_mb"], "cpus": new["cpus"]})
    form = {name: new[name] for name in ("type", "container_port", "health_path")}
    await registry.projects.set_form(replace(found, **form, limits=limits))


TOOLS: tuple[Tool[Any], ...] = (
    Tool(
        "project_update", "Change a project",
        "Set type, watch and repository at once; port, health path, memory and CPUs of its containers from the next deploy on.",
        UpdateParams, UpdateResult, Role.MEMBER, Risk.CHANGES, _update,
    ),
)  # fmt: skip
