"""What databases and parts of a Redis have in common: made, told, given a new password, deleted."""

from typing import Any

from pydantic import Field

from codeb.contracts.store import Registry
from codeb.errors import Conflict, InvalidParams
from codeb.flows import storage_create, storage_delete, storage_rotate
from codeb.flows.storage import StorageInput, input_of, new_password
from codeb.flows.storage_delete import EndInput
from codeb.flows.storage_servers import Spot, spot_for
from codeb.model.journal import Operation
from codeb.model.names import Place
from codeb.model.storage import ENV, Kind, Storage, name_of, still_need
from codeb.tools import fields
from codeb.tools.call import Call
from codeb.tools.drafts import Draft, draft, reach
from codeb.tools.storage_plans import WORDS, begin, being_deleted, fits, making, missing, outlook
from codeb.tools.switches import accepted
from codeb.tools.tool import NextCall, Outcome


class StorageParams(fields.Long, fields.OnEnvironment):
    dedicated: bool = Field(
        False, description="a container of its own on a storage server, on a leased port, instead of a part of the shared server"
    )


class RotateParams(fields.Confirmed, fields.Long, fields.OnEnvironment):
    end_former: bool = Field(False, description="make no new password: end the former one now, whatever container still uses it")


class DeleteParams(fields.Confirmed, fields.Long, fields.OnEnvironment):
    confirm: str = Field("", max_length=64, description="the project's name, typed once more")


class CreateResult(fields.Result):
    project_name: str
    environment: str
    name: str
    host: str
    port: int
    created: bool
    server: str | None
    """where its container is, if it has one of its own"""
    env: list[str]
    """names of the values that deployments get"""
    operation_id: str | None


class RotateResult(fields.Result):
    project_name: str
    environment: str
    name: str
    rotated: bool
    generation: int
    former_ended: bool
    still_needed_by: list[str]
    """slots whose containers know the former password only"""
    operation_id: str


class DeleteResult(fields.Result):
    project_name: str
    environment: str
    name: str
    backup: str | None
    """its final dump; None: there was nothing to dump"""
    deleted: bool
    operation_id: str


def cuts_production(params: RotateParams) -> bool:
    """Whether running containers may lose their way to it."""
    return params.end_former and fields.in_production(params)


# what is common


CREATING = {
    (Kind.POSTGRES, False): storage_create.DATABASE, (Kind.REDIS, False): storage_create.REDIS,
    (Kind.POSTGRES, True): storage_create.OWN_DATABASE, (Kind.REDIS, True): storage_create.OWN_REDIS,
}  # fmt: skip
"""by kind, and by whether it is to have a container of its own"""


def _where(params: fields.OnEnvironment) -> dict[str, Any]:
    return {"projectName": params.project_name, "environment": params.environment}


async def _look(call: Call, place: Place, kind: Kind) -> Storage | None:
    return await call.kit.store.consult(lambda registry: registry.storages.get(place, kind))


async def _held(call: Call, registry: Registry, place: Place, kind: Kind) -> Storage:
    """Raises `NotFound` (`storage_not_found`), and what `Call.ready` raises."""
    await call.ready(registry, place.project)
    found = await registry.storages.get(place, kind)
    if found is None:
        raise missing(place, kind)
    return found


def _facts(found: Storage | None) -> dict[str, Any]:
    return {"storage": [found.id, found.state.value, found.generation] if found else None}


# create


def _draft_create(call: Call, place: Place, kind: Kind, found: Storage | None, spot: Spot | None) -> Draft:
    name = name_of(place, kind)
    own = {"dedicated": True, "server": spot.name} if spot and spot.server else {}
    plan = {
        "projectName": place.project, "environment": place.environment, "name": name, "host": spot.host if spot else None,
        "port": spot.port if spot else None, "env": list(ENV[kind]), **own,
    }  # fmt: skip
    changes = [] if found else making(call, kind, name, place.environment, spot.server if spot else None)
    return draft(f"{WORDS[kind][0]}_create", plan, changes, _facts(found))


def _as_it_is(found: Storage) -> Outcome:
    result = CreateResult(
        project_name=found.place.project, environment=found.place.environment, name=found.name, host=found.host,
        port=found.port, created=False, server=found.server, env=list(ENV[found.kind]), operation_id=None,
    )  # fmt: skip
    return Outcome(result, f"{found.place.key} has the {WORDS[found.kind][1]} {found.name} already.")


async def create(call: Call, params: StorageParams, kind: Kind) -> Outcome:
    if not params.dry_run and (begun := await call.begun()):
        return await _created(call, params, begun)
    call.project(params.project_name)
    place = Place(params.project_name, params.environment)
    call.pair(place)
    found = await _look(call, place, kind)
    if found is not None and not params.dry_run:
        fits(found, params.dedicated)
        return _as_it_is(found)
    if found is not None and not found.ready:
        raise being_deleted(found)
    seen = await outlook(call, place, kind, params.dedicated)
    if params.dry_run:
        drafted = _draft_create(call, place, kind, found, seen.spot)
        own = {"dedicated": True} if params.dedicated else {}
        apply = NextCall(call.tool, _where(params) | own | {"planId": drafted.id}, "do it")
        return drafted.shown(f"Would create the {WORDS[kind][1]} {drafted.plan['name']}." if not found else "It is there.", apply)

    async def decide(registry: Registry) -> StorageInput:
        await call.ready(registry, place.project)
        now = await spot_for(call.kit, registry, kind, params.dedicated)
        _draft_create(call, place, kind, await registry.storages.get(place, kind), now).still_fits(params)
        return await begin(call, registry, place, kind, seen)

    saga = CREATING[kind, params.dedicated]
    return await _created(call, params, await call.open(saga, (place,), decide))


async def _created(call: Call, params: StorageParams, operation: Operation) -> Outcome:
    if not params.wait:
        return accepted(operation)
    operation, _ = await call.ended(operation.id)
    result = CreateResult(**(operation.result or {}), operation_id=operation.id)
    said = f"{result.name} is there for {params.project_name} {params.environment}; deployments get {', '.join(result.env)}."
    return Outcome(result, said, (_deploy(params),), operation.warnings)


def _deploy(params: fields.OnEnvironment) -> NextCall:
    return NextCall("deploy", {**_where(params), "version": "1.0.0"}, "a deployment gets these variables")


# a new password


def _draft_rotate(call: Call, kind: Kind, found: Storage, needed: tuple[str, ...], end: bool) -> Draft:
    plan = {
        "projectName": found.place.project, "environment": found.place.environment, "name": found.name, "endFormer": end,
        "stillNeededBy": list(needed),
    }  # fmt: skip
    done = f"end the former password of {found.name}" if end else f"make a new password for {found.name}"
    cut = [f"the container in {slot} is not let in any more" for slot in needed] if end else []
    kept = [] if end else ["let the one in use in, until no slot needs it"]
    pair = call.kit.store.snapshot.pair_of(found.place)
    rows = [row for row in pair.rows if row.slot.value in needed] if pair and end else []
    touches = reach(rows, call.kit.policy.base_domain)
    return draft(f"{WORDS[kind][0]}_rotate", plan, [done, *cut, *kept], _facts(found), touches)


async def _may_rotate(call: Call, registry: Registry, place: Place, kind: Kind, end: bool) -> tuple[Storage, tuple[str, ...]]:
    """Raises `Conflict`: `rotation_pending`, `no_former_password`, `storage_deleting`."""
    found = await _held(call, registry, place, kind)
    if not found.ready:
        raise being_deleted(found)
    needed = still_need(found, await registry.slots.pair(place))
    former = any(each.generation < found.generation for each in await registry.storages.passwords(found.id))
    if end and not former:
        raise Conflict(
            f"{found.name} has one password only; nothing was done.", code="no_former_password",
            hint="Without endFormer a new one is made.",
        )  # fmt: skip
    if former and not end:
        why = f"the containers in {', '.join(needed)} know only the former one" if needed else "the former one is about to end"
        raise Conflict(
            f"{found.name} got a new password at {found.rotated_at}, and {why}; nothing was done.", code="rotation_pending",
            hint="Deploy and promote, and let the grace end, or end the former one at once with endFormer.",
            details={"stillNeededBy": list(needed)},
        )  # fmt: skip
    return found, needed


async def rotate(call: Call, params: RotateParams, kind: Kind) -> Outcome:
    if not params.dry_run and (begun := await call.begun()):
        return await _rotated(call, params, begun, kind)
    call.project(params.project_name)
    place, end = Place(params.project_name, params.environment), params.end_former
    if params.dry_run:
        found, needed = await call.kit.store.consult(lambda registry: _may_rotate(call, registry, place, kind, end))
        drafted = _draft_rotate(call, kind, found, needed, end)
        apply = NextCall(call.tool, _where(params) | {"endFormer": end, "planId": drafted.id}, "do it")
        return drafted.shown(f"Would {drafted.changes[0]}.", apply)

    async def decide(registry: Registry) -> StorageInput:
        found, needed = await _may_rotate(call, registry, place, kind, end)
        _draft_rotate(call, kind, found, needed, end).still_fits(params)
        if not end:
            await new_password(call.kit, registry, found.id, found.generation + 1)
        return input_of(found)

    saga = storage_rotate.END if end else storage_rotate.ROTATE
    return await _rotated(call, params, await call.open(saga, (place,), decide), kind)


async def _rotated(call: Call, params: RotateParams, operation: Operation, kind: Kind) -> Outcome:
    if not params.wait:
        return accepted(operation)
    operation, _ = await call.ended(operation.id)
    place = Place(params.project_name, params.environment)
    found, pair = await _look(call, place, kind), call.kit.store.snapshot.pair_of(place)
    told = operation.result or {}
    needed = still_need(found, pair) if found and not told.get("formerEnded") else ()
    result = RotateResult(**told, still_needed_by=list(needed), operation_id=operation.id)
    if result.former_ended:
        return Outcome(result, f"Only the new password of {result.name} lets in.", (), operation.warnings)
    said = f"{result.name} has a new password. The former one lets in until no slot needs it"
    said += f": now {', '.join(needed)}." if needed else ", so it ends within seconds."
    return Outcome(result, said, (), operation.warnings)


async def begin_end(call: Call, storage: Storage) -> Operation:
    """End the former password of a storage that no slot needs any more. Raises `Conflict` (`rotation_pending`) where one does."""

    async def decide(registry: Registry) -> StorageInput:
        found, needed = await _may_rotate(call, registry, storage.place, storage.kind, end=True)
        if needed:
            raise Conflict(f"{', '.join(needed)} need the former password of {found.name}.", code="rotation_pending")
        return input_of(found)

    return await call.open(storage_rotate.END, (storage.place,), decide)


# delete


def _draft_delete(call: Call, kind: Kind, found: Storage) -> Draft:
    pair = call.kit.store.snapshot.pair_of(found.place)
    rows = [row for row in pair.rows if row.deployment_id] if pair else []
    running = [row.container for row in rows]
    plan = {
        "projectName": found.place.project, "environment": found.place.environment, "name": found.name, "containers": running,
        "backup": found.backup,
    }  # fmt: skip
    changes = [*([] if found.backup else [f"dump {found.name} to a file"]), f"delete {found.name} with its logins"]
    changes += [f"{name} is not let in any more" for name in running]
    return draft(
        f"{WORDS[kind][0]}_delete", plan, changes, {**_facts(found), "running": running}, reach(rows, call.kit.policy.base_domain)
    )


async def delete(call: Call, params: DeleteParams, kind: Kind) -> Outcome:
    if not params.dry_run and (begun := await call.begun()):
        return await _deleted(call, params, begun)
    name, place = call.project(params.project_name).name, Place(params.project_name, params.environment)
    found = await call.kit.store.consult(lambda registry: _held(call, registry, place, kind))
    drafted = _draft_delete(call, kind, found)
    if params.dry_run:
        apply = NextCall(call.tool, _where(params) | {"confirm": name, "planId": drafted.id}, "delete it")
        return drafted.shown(f"Would delete {found.name} after a final dump.", apply)
    if params.confirm != name:
        raise InvalidParams(
            f"To delete {found.name}, the project's name has to be typed as confirm; nothing was done.",
            hint=f'Add "confirm": "{name}".', details={"fields": [{"field": "confirm", "problem": "is not the project's name"}]},
        )  # fmt: skip

    async def decide(registry: Registry) -> EndInput:
        there = await _held(call, registry, place, kind)
        _draft_delete(call, kind, there).still_fits(params)
        return EndInput(input_of(there), there.backup)

    return await _deleted(call, params, await call.open(storage_delete.SAGA, (place,), decide))


async def _deleted(call: Call, params: DeleteParams, operation: Operation) -> Outcome:
    if not params.wait:
        return accepted(operation)
    operation, _ = await call.ended(operation.id)
    result = DeleteResult(**(operation.result or {}), operation_id=operation.id)
    if result.deleted:
        return Outcome(
            result, f"{result.name} is deleted; its final dump is {result.backup or 'not there'}.", (), operation.warnings
        )
    again = NextCall(call.tool, _where(params) | {"confirm": params.project_name}, "finish the deletion")
    return Outcome(result, f"{result.name} is only partly deleted.", (again,), operation.warnings)
