"""The end of a preview: because somebody says so, because its time is over, or because its pull request is."""

from codeb.contracts.store import Registry
from codeb.errors import Conflict
from codeb.flows import preview_delete
from codeb.flows.mend import MendInput
from codeb.flows.preview_delete import PreviewEndInput
from codeb.flows.project_purge import PurgeInput
from codeb.flows.site import site_of
from codeb.flows.storage import input_of
from codeb.flows.storage_delete import EndInput
from codeb.model import previews
from codeb.model.access import Approval, Role
from codeb.model.domains import Domain
from codeb.model.journal import Operation
from codeb.model.names import Place
from codeb.model.previews import Preview
from codeb.model.slots import Pair
from codeb.model.specs import Project
from codeb.model.storage import Kind, Storage
from codeb.tools import fields
from codeb.tools.call import Call
from codeb.tools.drafts import Draft, draft, facts_of, reach
from codeb.tools.refusals import degraded
from codeb.tools.switches import accepted
from codeb.tools.tool import NextCall, Outcome


class DeleteParams(fields.Long):
    project_name: fields.ProjectName
    pull_request: fields.PullRequest

    @property
    def environment(self) -> str:
        """What a key has to reach."""
        return previews.environment_of(self.pull_request)


class DeleteResult(fields.Result):
    project_name: str
    environment: str
    pull_request: int
    deleted: bool
    """false: there was none, or something of it is still to be removed"""
    why: str
    released_ports: list[int]
    operation_id: str | None
    """null: there was nothing to do"""


async def begin_end(
    call: Call, place: Place, why: str, params: DeleteParams | None = None, *, still: Preview | None = None, part: str = ""
) -> Operation:
    """Begin the removal of a preview; `still`: only if it is as it was when that was decided.

    Raises `Conflict`: `preview_renewed`, `preview_storage`; and as `Call.ready` and `Call.open` do.
    """
    sited = place in await call.kit.proxy.sites()

    async def decide(registry: Registry) -> PreviewEndInput:
        if (standing := call.kit.store.standing).degraded:
            raise degraded("preview_delete", standing)
        project = await call.ready(registry, place.project)
        pair, held = await registry.slots.pair(place), await registry.storages.all(place.project)
        if still is not None and await registry.previews.get(place) != still:
            raise Conflict(f"{place.key} was renewed meanwhile; nothing was done.", code="preview_renewed")
        stored = [each for each in held if each.place == place]
        _refuse_storage(call, place, stored)
        if params is not None:
            _draft_delete(call, place, pair, stored).still_fits(params)
        rows = pair.rows if pair else ()
        named = [each for each in await registry.domains.all() if each.held and each.place == place]
        rest = PurgeInput(
            project=place.project, places=(place,), ports=tuple(pair.own_port(row.slot) for row in rows) if pair else (),
            stop_seconds=project.limits.stop_seconds, why=why, domains=tuple(named),
            storage=tuple(EndInput(input_of(each), each.backup) for each in stored),
            adopted=tuple(row.taken_over for row in rows if row.taken_over),
        )  # fmt: skip
        number, before = previews.number_of(place.environment) or 0, _as_it_is(call, project, pair, named) if sited else None
        return PreviewEndInput(place, rest, number, why, before)

    return await call.open(preview_delete.SAGA, (place,), decide, part=part)


def _as_it_is(call: Call, project: Project, pair: Pair | None, named: list[Domain]) -> MendInput | None:
    """What it takes to have its site again, should the removal not come to pass."""
    if pair is None:
        return None
    return MendInput(
        place=pair.place, pair=pair, site=site_of(project, pair, call.kit.policy, named), container_port=project.container_port,
        limits=project.limits, needs_site=True, maintenance=pair.place in call.kit.store.snapshot.maintenances,
    )  # fmt: skip


def _refuse_storage(call: Call, place: Place, stored: list[Storage]) -> None:
    """Raises `Conflict` (`preview_storage`): data goes only where this caller could have removed it by itself, just so."""
    if not stored or (call.actor.role.covers(Role.ADMIN) and call.actor.approval is Approval.NONE):
        return
    names = {Kind.POSTGRES: "db_delete", Kind.REDIS: "redis_delete"}
    first = [names[each.kind] for each in stored]
    raise Conflict(
        f"{place.key} has storage of its own ({', '.join(each.name for each in stored)}), which goes with it; nothing was done.",
        code="preview_storage", hint=f"An admin removes it first ({', '.join(first)}), or calls preview_delete.",
    )  # fmt: skip


def _draft_delete(call: Call, place: Place, pair: Pair | None, stored: list[Storage]) -> Draft:
    rows = pair.rows if pair else ()
    held = [row.called for row in rows if row.deployment_id]
    plan = {
        "projectName": place.project, "environment": place.environment, "containers": held, "ports": [row.port for row in rows],
        "storage": [each.name for each in stored],
    }  # fmt: skip
    changes = [f"remove container {name}" for name in held]
    changes += [f"dump and remove {each.kind} {each.name}" for each in stored]
    if pair is not None:
        changes += [f"remove the site and the variables of {place.key}", f"release ports {plan['ports']}"]
    names = call.kit.store.snapshot.domains.values()
    touches = reach(rows, call.kit.policy.base_domain, public=True, previews=True, domains=names)
    return draft("preview_delete", plan, changes, facts_of(pair) if pair else {}, touches)


def _nothing(params: DeleteParams) -> Outcome:
    result = DeleteResult(
        project_name=params.project_name, environment=params.environment, pull_request=params.pull_request, deleted=False,
        why="", released_ports=[], operation_id=None,
    )  # fmt: skip
    return Outcome(result, f"There is no preview of pull request {params.pull_request} of {params.project_name}.")


async def delete(call: Call, params: DeleteParams) -> Outcome:
    if not params.dry_run and (begun := await call.begun()):
        return await _deleted(call, params, begun)
    call.project(params.project_name)
    place, snapshot = Place(params.project_name, params.environment), call.kit.store.snapshot
    pair = snapshot.pair_of(place)
    if params.dry_run:
        stored = [each for each in await call.kit.store.consult(lambda r: r.storages.all(place.project)) if each.place == place]
        _refuse_storage(call, place, stored)
        drafted = _draft_delete(call, place, pair, stored)
        said = {"projectName": place.project, "pullRequest": params.pull_request, "planId": drafted.id}
        return drafted.shown(f"Would remove {place.key} for good.", NextCall("preview_delete", said, "remove it"))
    if pair is None and place not in snapshot.previews and not await _has_variables(call, place):
        return _nothing(params)
    operation = await begin_end(call, place, "it was asked for", params)
    return await _deleted(call, params, operation)


async def _has_variables(call: Call, place: Place) -> bool:
    """They may have been written before there was a preview, which then never came to be."""
    return await call.kit.store.consult(lambda registry: registry.envs.newest(place)) is not None


async def _deleted(call: Call, params: DeleteParams, operation: Operation) -> Outcome:
    if not params.wait:
        return accepted(operation)
    operation, _ = await call.ended(operation.id)
    result = DeleteResult(**(operation.result or {}), operation_id=operation.id)
    if result.deleted:
        return Outcome(result, f"Nothing is left of {params.project_name} {params.environment}.", (), operation.warnings)
    again = NextCall("preview_delete", {"projectName": params.project_name, "pullRequest": params.pull_request}, "finish it now")
    said = f"{params.project_name} {params.environment} is only partly removed; it is tried again by itself."
    return Outcome(result, said, (again,), operation.warnings)
