"""Maintenance: a page in front of one environment's site, on and off."""

from typing import Any

from codeb.contracts.store import Registry
from codeb.errors import Conflict
from codeb.flows import maintenance
from codeb.flows.site import site_of
from codeb.model.access import Role
from codeb.model.names import Place
from codeb.tools import fields
from codeb.tools.call import Call
from codeb.tools.drafts import draft
from codeb.tools.switches import accepted
from codeb.tools.tool import NextCall, Outcome, Risk, Tool


class MaintenanceParams(fields.Long, fields.OnEnvironment):
    pass


class MaintenanceResult(fields.Result):
    project_name: str
    environment: str
    maintenance: bool
    since: str | None
    changed: bool
    operation_id: str | None = None


async def _on(call: Call, params: MaintenanceParams) -> Outcome:
    return await _set(call, params, True)


async def _off(call: Call, params: MaintenanceParams) -> Outcome:
    return await _set(call, params, False)


async def _set(call: Call, params: MaintenanceParams, shown: bool) -> Outcome:
    word, place = "on" if shown else "off", Place(params.project_name, params.environment)
    if not params.dry_run and (begun := (await call.began()).get("")):
        return await _came(call, params, begun)
    call.project(place.project)
    call.pair(place)
    snapshot = call.kit.store.snapshot
    now, drawn = snapshot.maintenances.get(place), await call.kit.curtain.drawn(place)
    if (now is not None, drawn) == (shown, shown) and not params.dry_run:
        since = now.since.isoformat() if now else None
        result = MaintenanceResult(
            project_name=place.project, environment=place.environment, maintenance=shown, since=since, changed=False
        )  # fmt: skip
        return Outcome(result, f"Maintenance of {place.key} was {word} already.")
    hosts = [place.host(call.kit.policy.base_domain), *(each.host for each in snapshot.domains_of(place))]
    effect = "show the maintenance page at" if shown else "take the maintenance page away from"
    changes = [f"{effect} {host}" for host in hosts] if (now is not None) is not shown else []
    where = {"projectName": place.project, "environment": place.environment}
    drafted = draft(f"maintenance_{word}", where | {"maintenance": shown}, changes, {"was": now is not None}, {"hosts": hosts})
    if params.dry_run:
        apply = NextCall(f"maintenance_{word}", where | {"planId": drafted.id}, "do it")
        return drafted.shown(f"Would turn maintenance of {place.key} {word}.", apply)
    drafted.still_fits(params)
    had = place in await call.kit.proxy.sites()

    async def decide(registry: Registry) -> maintenance.PageInput:
        project, pair = await call.ready(registry, place.project), await registry.slots.pair(place)
        if pair is None:
            raise Conflict(f"The environment {place.key} is gone meanwhile.", code="environment_gone", hint="See project_get.")
        page = await registry.maintenances.get(place)
        return maintenance.PageInput(
            place=place, shown=shown, before=page is not None, since=page.since if page else call.kit.world.now(),
            site=site_of(project, pair, call.kit.policy, call.kit.store.snapshot.domains_of(place)), site_is_new=not had,
        )  # fmt: skip

    return await _came(call, params, (await call.open(maintenance.SAGA, (place,), decide)).id)


async def _came(call: Call, params: MaintenanceParams, operation_id: str) -> Outcome:
    if not params.wait:
        operation = await call.kit.store.consult(lambda registry: registry.journal.get(operation_id))
        assert operation is not None
        return accepted(operation)
    operation, _ = await call.ended(operation_id)
    result = MaintenanceResult(**(operation.result or {}), changed=True, operation_id=operation.id)
    where = {"projectName": params.project_name, "environment": params.environment}
    if not result.maintenance:
        return Outcome(result, f"The maintenance page of {' '.join(where.values())} is away.", (), operation.warnings)
    off = NextCall("maintenance_off", where, "take the page away")
    said = f"Visitors of {' '.join(where.values())} see the maintenance page; previews stay reachable."
    return Outcome(result, said, (off,), operation.warnings)


TOOLS: tuple[Tool[Any], ...] = (
    Tool(
        "maintenance_on", "Turn maintenance on",
        "Show a maintenance page in front of an environment's public hosts at once; previews stay reachable.",
        MaintenanceParams, MaintenanceResult, Role.MEMBER, Risk.CHANGES, _on, long=True, without_database=True,
        agents_must_say=("environment",),
    ),
    Tool(
        "maintenance_off", "Turn maintenance off", "Take the maintenance page away at once.",
        MaintenanceParams, MaintenanceResult, Role.MEMBER, Risk.CHANGES, _off, long=True, without_database=True,
        agents_must_say=("environment",),
    ),
)  # fmt: skip
