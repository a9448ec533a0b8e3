"""What may be changed of a project that is set up."""

from typing import Any

from pydantic import Field

from codeb.contracts.store import Registry
from codeb.errors import InvalidParams
from codeb.model.access import Role
from codeb.model.deletion import is_deleted
from codeb.model.specs import Project
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


class UpdateResult(fields.Result):
    project: ProjectView
    changed: list[str]


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
        if is_deleted(found):
            raise gone(found)
        fresh = _draft_update(found, params)
        fresh.still_fits(params)
        await registry.projects.set_watch(
            name, auto_rollback=fresh.plan["autoRollback"], watch_seconds=fresh.plan["watchSeconds"]
        )  # fmt: skip
        return UpdateResult(project=await shown(registry, call, name), changed=list(fresh.changes))

    done = await call.change(act, lambda result: result.model_dump(by_alias=True, mode="json"))
    return Outcome(done, f"{name}: {', '.join(done.changed)}." if done.changed else f"{name} was as asked already.")


TOOLS: tuple[Tool[Any], ...] = (
    Tool(
        "project_update", "Change a project's watch",
        "Set whether traffic goes back by itself when the active version stays unhealthy, and how long it is watched.",
        UpdateParams, UpdateResult, Role.MEMBER, Risk.CHANGES, _update,
    ),
)  # fmt: skip
