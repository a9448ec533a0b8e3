"""Slots: status, list, cleanup."""

from datetime import datetime
from typing import Any

from pydantic import Field

from codeb.contracts.kit import Policy
from codeb.contracts.sight import Seen
from codeb.contracts.store import Registry
from codeb.errors import Conflict, InvalidParams, StalePlan
from codeb.flows import cleanup
from codeb.flows.site import site_of
from codeb.model.access import Role
from codeb.model.drift import of_slot
from codeb.model.journal import Operation
from codeb.model.names import Place, Slot
from codeb.model.slots import Pair, SlotRow, State, grace_expired, grace_left
from codeb.model.specs import Health, Project, Site, Unit
from codeb.tools import fields
from codeb.tools.call import Call
from codeb.tools.drafts import draft, facts_of, reach
from codeb.tools.refusals import not_ready
from codeb.tools.tool import Accepted, NextCall, Outcome, Risk, Tool


class SlotView(fields.Result):
    slot: str
    state: str
    port: int
    version: str | None = None
    image: str | None = None
    digest: str | None = None
    deployment_id: str | None = None
    env_version: int | None = None
    adopted: str | None = None
    """the name of its container, where CodeB took it over and did not make it"""
    deployed_at: str | None = None
    deployed_by: str | None = None
    promoted_at: str | None = None
    promoted_by: str | None = None
    health: str
    grace_expires_at: str | None = None
    grace_hours_remaining: float | None = None
    preview_url: str | None = None
    drift: list[str] = []


class RunningView(fields.Result):
    operation_id: str
    tool: str
    step: str | None
    started_at: str
    started_by: str


class StatusResult(fields.Result):
    project_name: str
    environment: str
    url: str
    active_slot: str | None
    blue: SlotView
    green: SlotView
    operation: RunningView | None
    drift: list[str]
    domains: list[str] = []
    maintenance_since: str | None = None
    observed_at: str


class ListParams(fields.Params):
    project_name: fields.ProjectName | None = None
    limit: fields.Limit = 100
    after: str | None = Field(None, max_length=80, description="the `key` of the last row of the page before")


class SlotsRow(fields.Result):
    key: str
    project_name: str
    environment: str
    url: str
    blue: SlotView
    green: SlotView
    operation: RunningView | None


class ListResult(fields.Result):
    environments: list[SlotsRow]
    total: int
    more: bool


class CleanupParams(fields.Confirmed, fields.Long):
    project_name: fields.ProjectName | None = Field(None, description="without it: every expired grace slot you may see")
    environment: fields.Environment = "production"
    slot: fields.SlotName | None = None
    force: bool = Field(False, description="empty the named deployed or grace slot although its time is not over")


class CleanupResult(fields.Result):
    emptied: list[dict[str, Any]]
    refused: list[dict[str, Any]]


def hosts_at(call: Call, place: Place) -> list[str]:
    """The domains that lead to a place."""
    return [each.host for each in call.kit.store.snapshot.domains_of(place)]


def page_since(call: Call, place: Place) -> str | None:
    """Since when its maintenance page is shown."""
    page = call.kit.store.snapshot.maintenances.get(place)
    return page.since.isoformat() if page else None


def view(row: SlotRow, seen: Seen, policy: Policy, now: datetime) -> SlotView:
    """One slot as the registry has it, with what the runtime says of it."""
    unit = seen.units.get(row.container)
    left = grace_left(row, now)
    return SlotView.model_construct(
        slot=row.slot.value, state=row.state.value, port=row.port, version=row.version, image=row.image, digest=row.digest,
        deployment_id=row.deployment_id, env_version=row.env_version, adopted=row.adopted_name,
        deployed_at=_iso(row.deployed_at), deployed_by=row.deployed_by,
        promoted_at=_iso(row.promoted_at), promoted_by=row.promoted_by, health=_health(row, unit, seen),
        grace_expires_at=_iso(row.grace_expires_at),
        grace_hours_remaining=None if left is None else round(left.total_seconds() / 3600, 2),
        preview_url=None if row.state is State.EMPTY else policy.url(row.place.preview_host(row.slot, policy.base_domain)),
        drift=_drift(row, seen, now),
    )  # fmt: skip


def _iso(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat()


def _health(row: SlotRow, unit: Unit | None, seen: Seen) -> str:
    if row.state is State.EMPTY:
        return "none"
    if seen.fault:
        return "unknown"
    if unit is None:
        return "missing"
    if not unit.running:
        return "stopped"
    return {Health.UNHEALTHY: "unhealthy", Health.STARTING: "starting"}.get(
        unit.health, "healthy" if unit.health is Health.HEALTHY else "running"
    )


def _drift(row: SlotRow, seen: Seen, now: datetime) -> list[str]:
    """Where the runtime says something else than the registry. Nothing is said when the runtime could not be asked."""
    return [] if seen.fault else [each.text for each in of_slot(row, seen.units, now)]


def running_view(operation: Operation | None) -> RunningView | None:
    if operation is None:
        return None
    return RunningView(
        operation_id=operation.id, tool=operation.tool, step=operation.step,
        started_at=operation.created_at.isoformat(), started_by=operation.actor,
    )  # fmt: skip


async def _status(call: Call, params: fields.OnEnvironment) -> Outcome:
    call.project(params.project_name)
    place = Place(params.project_name, params.environment)
    pair = call.pair(place)
    seen = await call.kit.sight.look()
    snapshot = call.kit.store.snapshot
    facts = (pair, snapshot.running.get(place), snapshot.domains, snapshot.maintenances.get(place))
    known = seen.memo.get(place)
    if known is None or any(then is not now for then, now in zip(known[0], facts, strict=True)):
        known = seen.memo[place] = (facts, _told(call, pair, seen, facts[1]))
    told: Outcome = known[1]
    return told


def _told(call: Call, pair: Pair, seen: Seen, running: Operation | None) -> Outcome:
    """The answer of `slot_status`, true as long as pair, look, running operation, domains and maintenance are the same."""
    place, policy, now = pair.place, call.kit.policy, call.kit.world.now()
    blue, green = (view(row, seen, policy, now) for row in pair.rows)
    # while an operation runs, registry and runtime differ on purpose
    drift = [] if running else blue.drift + green.drift
    active = pair.active
    result = StatusResult.model_construct(
        project_name=place.project, environment=place.environment, url=policy.url(place.host(policy.base_domain)),
        active_slot=active.slot.value if active else None, blue=blue, green=green,
        operation=running_view(running), drift=drift, observed_at=seen.at.isoformat(),
        domains=hosts_at(call, place), maintenance_since=page_since(call, place),
    )  # fmt: skip
    said = f"{active.slot} is active with {active.version}" if active else "nothing is active yet"
    said += "; its maintenance page is shown" if result.maintenance_since else ""
    warnings = [f"The container runtime does not answer: {seen.fault}"] if seen.fault else []
    if drift:
        warnings.append("The runtime differs from the registry: " + "; ".join(drift))
    return Outcome(
        result,
        f"{place.project} {place.environment}: {said}.",
        _next(place, pair.in_state(State.DEPLOYED)),
        tuple(warnings),
    )


def _next(place: Place, deployed: SlotRow | None) -> tuple[NextCall, ...]:
    if deployed is None:
        return ()
    params = {"projectName": place.project, "environment": place.environment}
    return (NextCall("promote", params, f"send all traffic to {deployed.version} in {deployed.slot}"),)


async def _list(call: Call, params: ListParams) -> Outcome:
    visible = call.projects()
    if params.project_name is not None:
        call.project(params.project_name)
    seen, policy, now = await call.kit.sight.look(), call.kit.policy, call.kit.world.now()
    snapshot = call.kit.store.snapshot
    wanted = sorted(
        (place.key, place)
        for place in snapshot.pairs
        if place.project in visible and params.project_name in (None, place.project)
    )
    rest = [(key, place) for key, place in wanted if params.after is None or key > params.after]
    rows = []
    for key, place in rest[: params.limit]:
        blue, green = (view(row, seen, policy, now) for row in snapshot.pairs[place].rows)
        rows.append(
            SlotsRow(
                key=key, project_name=place.project, environment=place.environment,
                url=policy.url(place.host(policy.base_domain)),
                blue=blue, green=green, operation=running_view(snapshot.running.get(place)),
            )
        )  # fmt: skip
    result = ListResult(environments=rows, total=len(wanted), more=len(rest) > params.limit)
    return Outcome(result, f"{len(wanted)} environment{'' if len(wanted) == 1 else 's'}.")


def _candidates(call: Call, params: CleanupParams) -> list[SlotRow]:
    """The slots a cleanup would empty. Raises for a named slot that must not be."""
    now, snapshot = call.kit.world.now(), call.kit.store.snapshot
    if params.project_name is None:
        if params.force or params.slot:
            raise InvalidParams(
                "force and slot need a projectName; nothing was done.",
                details={"fields": [{"field": "projectName", "problem": "is missing"}]},
            )
        visible = call.projects()
        pairs = [pair for place, pair in sorted(snapshot.pairs.items()) if place.project in visible]
        return [pair.grace for pair in pairs if pair.grace and grace_expired(pair.grace, now)]
    call.project(params.project_name)
    pair = call.pair(Place(params.project_name, params.environment))
    if params.slot is None:
        return [pair.grace] if pair.grace and (grace_expired(pair.grace, now) or params.force) else []
    row = pair[Slot(params.slot)]
    if row.state is State.ACTIVE:
        raise Conflict(
            f"{row.container} is active and is never emptied.",
            code="slot_active",
            hint="Promote another version first.",
        )
    if row.state is State.EMPTY:
        return []
    if not params.force and not grace_expired(row, now):
        raise Conflict(
            f"{row.container} is {row.state}; its time is not over.",
            code="not_expired",
            hint="Say force: true to give it up.",
        )
    return [row]


def _site_after(call: Call, project: Project, pair: Pair, slot: Slot) -> Site | None:
    """The site once this slot is empty; None: it stays as it is."""
    named = call.kit.store.snapshot.domains_of(pair.place)
    rest = Pair(*(pair.emptied(slot) if row.slot is slot else row for row in pair.rows))
    now, then = (site_of(project, each, call.kit.policy, named) for each in (pair, rest))
    return then if then != now else None


async def empty_slot(call: Call, row: SlotRow, why: str, *, by_itself: bool = False) -> Operation:
    """Begin the cleanup of one slot."""
    project = call.kit.store.snapshot.projects[row.place.project]

    async def decide(registry: Registry) -> cleanup.CleanupInput:
        if fault := not_ready(await registry.projects.get(row.place.project) or project):
            raise fault
        pair = await registry.slots.pair(row.place)
        now_there = pair[row.slot] if pair else row
        if now_there.deployment_id != row.deployment_id or now_there.state is not row.state:
            raise StalePlan(f"{row.container} changed meanwhile; nothing was done.", hint="Look at slot_status and ask again.")
        return cleanup.CleanupInput(
            place=row.place, slot=row.slot, state=row.state, version=row.version, deployment_id=row.deployment_id,
            stop_seconds=project.limits.stop_seconds, why=why, by_itself=by_itself, adopted=now_there.adopted,
            site=_site_after(call, project, pair, row.slot) if pair else None,
        )  # fmt: skip

    return await call.open(cleanup.SAGA, (row.place,), decide, part=f"#{row.container}")


async def _begun(call: Call, params: CleanupParams) -> list[Operation]:
    """The cleanups that this idempotency key began before: they count, whatever their slots hold by now."""
    named = Place(params.project_name, params.environment) if params.project_name else None
    pairs = [pair for place, pair in sorted(call.kit.store.snapshot.pairs.items()) if named in (None, place)]
    found = await call.began(*(f"#{row.container}" for pair in pairs for row in pair.rows))

    async def read(registry: Registry) -> list[Operation]:
        return [await call.engine.find(registry, each) for each in found.values()]

    return await call.kit.store.consult(read) if found else []


async def _cleanup(call: Call, params: CleanupParams) -> Outcome:
    begun = [] if params.dry_run else await _begun(call, params)
    rows = [] if begun and params.project_name else _candidates(call, params)
    plan = {"empty": [{"container": row.container, "state": row.state.value, "version": row.version} for row in rows]}
    changes = [f"remove {row.called} ({row.version}, {row.state})" for row in rows]
    state = {row.container: facts_of(call.pair(row.place)) for row in rows}
    touches = reach(rows, call.kit.policy.base_domain, previews=True)
    drafted = draft("slot_cleanup", plan, changes, state, touches)
    if params.dry_run:
        return drafted.shown(f"Would empty {len(rows)} slots.")
    if not begun:
        drafted.still_fits(params)
    why = "by force" if params.force else "its grace is over"
    if not params.wait and len(rows) + len(begun) == 1:
        operation = begun[0] if begun else await empty_slot(call, rows[0], why)
        container = operation.places[0].container(Slot(operation.input["slot"]))
        return Outcome(Accepted(operation_id=operation.id, state=operation.state.value), f"Emptying {container}.")
    return await _emptied(call, rows, begun, why)


async def _emptied(call: Call, rows: list[SlotRow], begun: list[Operation], why: str) -> Outcome:
    """Wait for those begun before, then empty the others one after the other."""
    emptied: list[dict[str, Any]] = []
    refused: list[dict[str, Any]] = []
    warnings: list[str] = []
    work: list[Operation | SlotRow] = [*begun, *rows]
    for each in work:
        try:
            operation, _ = await call.ended((each if isinstance(each, Operation) else await empty_slot(call, each, why)).id)
        except Conflict as fault:
            container = each.container if isinstance(each, SlotRow) else each.places[0].container(Slot(each.input["slot"]))
            refused.append({"container": container, "code": fault.code, "error": fault.message})
            continue
        emptied.append({**(operation.result or {}), "operationId": operation.id})
        warnings.extend(operation.warnings)
    said = f"{len(emptied)} slot{'' if len(emptied) == 1 else 's'} emptied"
    return Outcome(
        CleanupResult(emptied=emptied, refused=refused),
        said + (f", {len(refused)} refused." if refused else "."),
        (),
        tuple(warnings),
    )


TOOLS: tuple[Tool[Any], ...] = (
    Tool(
        "slot_status", "Show both slots",
        "Both slots of an environment: state, version, health, grace, running operation, drift.",
        fields.OnEnvironment, StatusResult, Role.VIEWER, Risk.READS, _status,
    ),
    Tool(
        "slot_list", "List slots", "All environments you may see with both slots.",
        ListParams, ListResult, Role.VIEWER, Risk.READS, _list,
    ),
    Tool(
        "slot_cleanup", "Empty slots",
        "Empty expired grace slots; with force a named deployed or grace slot. Never the active one.",
        CleanupParams, CleanupResult, Role.ADMIN, Risk.DESTROYS, _cleanup, long=True, without_database=True,
        risky=lambda params: params.force,
    ),
)  # fmt: skip
