"""Ports: which pair belongs to whom, by every source there is."""

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from codeb.contracts.store import Registry
from codeb.errors import Conflict, InvalidParams, StalePlan
from codeb.model import plans
from codeb.model.access import Role
from codeb.model.names import Place, Slot, parse_container
from codeb.model.ports import Lease
from codeb.model.slots import Pair, SlotRow, State
from codeb.tools import fields
from codeb.tools.call import Call
from codeb.tools.projects import new_pair, taken_outside
from codeb.tools.tool import NextCall, Outcome, Plan, Risk, Tool


class Where(fields.OnEnvironment):
    pass


class AllocateParams(fields.Changing, fields.OnEnvironment):
    pass


class PairResult(fields.Result):
    project_name: str
    environment: str
    server: str
    blue: int
    green: int
    created: bool = False


class RegisterParams(fields.Changing, fields.OnEnvironment):
    blue: fields.Port
    green: fields.Port


class CheckParams(fields.Params):
    port: fields.Port


class PortView(fields.Result):
    port: int
    free: bool
    leased: str | None
    """container name of the slot that has the lease"""
    runtime: str | None
    """container that publishes it"""
    listening: bool


class ListParams(fields.Params):
    project_name: fields.ProjectName | None = None
    limit: fields.Limit = 1000
    after: int = Field(0, ge=0, le=65535, description="the last port of the page before")


class ListResult(fields.Result):
    server: str
    ports: list[PortView]
    ranges: dict[str, str]
    more: bool


class SyncParams(fields.Changing):
    fix: bool = Field(False, description="mend what is safe to mend")


class DriftView(fields.Result):
    port: int
    kind: str
    text: str
    repair: str
    mended: bool = False


class SyncResult(fields.Result):
    drift: list[DriftView]
    mended: int


def _pair_result(call: Call, pair: Pair, created: bool) -> PairResult:
    return PairResult(
        project_name=pair.place.project, environment=pair.place.environment, server=call.kit.policy.server,
        blue=pair.blue.port, green=pair.green.port, created=created,
    )  # fmt: skip


def _wire(result: PairResult) -> Mapping[str, Any]:
    return result.model_dump(by_alias=True, mode="json")


async def _allocate(call: Call, params: AllocateParams) -> Outcome:
    call.project(params.project_name)
    place = Place(params.project_name, params.environment)
    outside = await taken_outside(call)
    known = call.kit.store.snapshot.pair_of(place)
    plan_id = plans.plan_id("port_allocate", {"place": place.key}, {"has": known is not None})
    if params.dry_run:
        changes = (
            [] if known else [f"lease the lowest free pair of {call.kit.policy.ranges.of(place.environment)} for {place.key}"]
        )
        return Outcome(
            Plan(plan_id=plan_id, plan={"place": place.key, "exists": known is not None}, changes=changes),
            f"{len(changes)} change.",
        )
    if params.plan_id not in (None, plan_id):
        raise StalePlan("The leases changed since the plan was made; nothing was done.", hint="Make a new dry run.")

    async def act(registry: Registry) -> PairResult:
        pair = await registry.slots.pair(place)
        if pair is not None:
            return _pair_result(call, pair, False)
        return _pair_result(call, await new_pair(registry, call, place, outside), True)

    done = await call.change(act, _wire)
    return Outcome(done, f"{place.key} has blue {done.blue} and green {done.green}.", _deploy_next(place))


def _deploy_next(place: Place) -> tuple[NextCall, ...]:
    params = {"projectName": place.project, "environment": place.environment, "version": "1.0.0"}
    return (NextCall("deploy", params, "put a version into a slot"),)


async def _get(call: Call, params: Where) -> Outcome:
    call.project(params.project_name)
    pair = call.pair(Place(params.project_name, params.environment))
    return Outcome(_pair_result(call, pair, False), f"{pair.place.key} has blue {pair.blue.port} and green {pair.green.port}.")


def _check_pair(call: Call, params: RegisterParams) -> None:
    span = call.kit.policy.ranges.of(params.environment)
    problems = []
    if params.blue % 2 or params.green != params.blue + 1:
        problems.append({"field": "green", "problem": "blue is even, and green is the port above it"})
    problems += [
        {"field": name, "problem": f"lies outside {span}, the range of {params.environment}"}
        for name in ("blue", "green")
        if getattr(params, name) not in span
    ]
    if problems:
        raise InvalidParams("These two ports are not a pair of this environment; nothing was done.", details={"fields": problems})


async def _register(call: Call, params: RegisterParams) -> Outcome:
    call.project(params.project_name)
    _check_pair(call, params)
    place = Place(params.project_name, params.environment)
    published = await call.kit.ports.published()
    for port in (params.blue, params.green):
        owner = parse_container(published.get(port, ""))
        if owner is not None and owner[0] != place:
            raise Conflict(f"Port {port} is published by {published[port]}.", code="port_taken", hint="See port_check.")
    plan_id = plans.plan_id("port_register", {"place": place.key, "blue": params.blue}, {"published": sorted(published)})
    if params.dry_run:
        plan = {"place": place.key, "blue": params.blue, "green": params.green}
        return Outcome(
            Plan(plan_id=plan_id, plan=plan, changes=[f"lease {params.blue} and {params.green} to {place.key}"]),
            "Would register the pair.",
        )
    if params.plan_id not in (None, plan_id):
        raise StalePlan("Ports in use changed since the plan was made; nothing was done.", hint="Make a new dry run.")

    async def act(registry: Registry) -> PairResult:
        pair = await registry.slots.pair(place)
        if pair is not None and pair.blue.port == params.blue:
            return _pair_result(call, pair, False)
        if pair is not None and any(row.state is not State.EMPTY for row in pair.rows):
            raise Conflict(
                f"{place.key} has {pair.blue.port}/{pair.green.port} and runs something there.", code="pair_in_use",
                hint="Empty both slots first, or keep the pair it has.",
            )  # fmt: skip
        return _pair_result(call, await _give(registry, call, place, pair, params.blue), True)

    done = await call.change(act, _wire)
    return Outcome(done, f"{place.key} has blue {done.blue} and green {done.green}.", _deploy_next(place))


async def _give(registry: Registry, call: Call, place: Place, former: Pair | None, blue: int) -> Pair:
    """Lease exactly this pair, in place of the one the environment had."""
    if former is not None:
        await _drop(registry, call, former)
    pair = Pair(SlotRow(place, Slot.BLUE, blue), SlotRow(place, Slot.GREEN, blue + 1))
    await registry.slots.add(pair)
    await registry.leases.add(
        *(Lease(call.kit.policy.server, row.port, place.project, place.environment, row.slot.value) for row in pair.rows)
    )
    return pair


async def _drop(registry: Registry, call: Call, pair: Pair) -> None:
    await registry.slots.remove(pair.place)
    await registry.leases.remove(call.kit.policy.server, [row.port for row in pair.rows])


def _views(call: Call, published: Mapping[int, str], listening: frozenset[int], wanted: set[int] | None = None) -> list[PortView]:
    """One row per port that any source knows. Names of projects the caller may not see are said as `another team`."""
    visible = call.projects()
    leases = {lease.port: lease for lease in call.kit.store.snapshot.leases if lease.server == call.kit.policy.server}

    def named(container: str) -> str:
        ours = parse_container(container)
        return container if ours is None or ours[0].project in visible else "another team"

    every = wanted if wanted is not None else set(leases) | set(published)
    return [
        PortView(
            port=port, free=port not in leases and port not in published and port not in listening,
            leased=named(Place(leases[port].project, leases[port].environment).container(Slot(leases[port].slot))) if port in leases else None,
            runtime=named(published[port]) if port in published else None, listening=port in listening,
        )
        for port in sorted(every)
    ]  # fmt: skip


async def _check(call: Call, params: CheckParams) -> Outcome:
    published, listening = await call.kit.ports.published(), await call.kit.ports.listening()
    found = _views(call, published, listening, {params.port})[0]
    by = [f"leased to {found.leased}"] if found.leased else []
    by += [f"published by {found.runtime}"] if found.runtime else []
    by += ["something listens on it"] if found.listening and not found.runtime else []
    return Outcome(found, f"Port {params.port} is {'free' if found.free else ' and '.join(by)}.")


async def _list(call: Call, params: ListParams) -> Outcome:
    published, listening = await call.kit.ports.published(), await call.kit.ports.listening()
    rows = [row for row in _views(call, published, listening) if row.port > params.after]
    if params.project_name is not None:
        call.project(params.project_name)
        mine = {
            pair_row.container
            for place, pair in call.kit.store.snapshot.pairs.items()
            if place.project == params.project_name
            for pair_row in pair.rows
        }
        rows = [row for row in rows if row.leased in mine or row.runtime in mine]
    ranges = call.kit.policy.ranges
    return Outcome(
        ListResult(
            server=call.kit.policy.server, ports=rows[: params.limit], more=len(rows) > params.limit,
            ranges={"production": str(ranges.production), "staging": str(ranges.staging), "preview": str(ranges.preview)},
        ),
        f"{sum(1 for row in rows if row.leased)} ports leased.",
    )  # fmt: skip


async def _release(call: Call, params: AllocateParams) -> Outcome:
    call.project(params.project_name)
    place = Place(params.project_name, params.environment)
    pair = call.pair(place)
    published = await call.kit.ports.published()
    plan = {"place": place.key, "ports": [row.port for row in pair.rows]}
    plan_id = plans.plan_id("port_release", plan, {row.slot.value: row.state.value for row in pair.rows})
    used = [row.container for row in pair.rows if row.state is not State.EMPTY or row.port in published]
    if used:
        raise Conflict(
            f"{place.key} still uses its ports ({', '.join(used)}); nothing was released.", code="pair_in_use",
            hint="Empty both slots first (slot_cleanup), or delete the project.",
        )  # fmt: skip
    if params.dry_run:
        return Outcome(Plan(plan_id=plan_id, plan=plan, changes=[f"release {plan['ports']}"]), f"Would release {plan['ports']}.")
    if params.plan_id not in (None, plan_id):
        raise StalePlan("The slots changed since the plan was made; nothing was done.", hint="Make a new dry run.")
    had_site = place in await call.kit.proxy.sites()

    async def act(registry: Registry) -> PairResult:
        now_there = await registry.slots.pair(place)
        running = await registry.journal.running(place)
        if running or now_there is None or any(row.state is not State.EMPTY for row in now_there.rows):
            raise Conflict(
                f"{place.key} is in use meanwhile; nothing was released.",
                code="pair_in_use",
                hint="Look at slot_status.",
            )
        await _drop(registry, call, now_there)
        return _pair_result(call, now_there, False)

    done = await call.change(act, _wire)
    if had_site:
        await call.kit.proxy.remove_site(place)
    return Outcome(done, f"{place.key} gave back {done.blue} and {done.green}.")


async def _sync(call: Call, params: SyncParams) -> Outcome:
    drift = await _find_drift(call)
    plan = {"mend": [row.port for row in drift if row.repair.startswith("mend:")]}
    plan_id = plans.plan_id("port_sync", plan, {str(row.port): row.kind for row in drift})
    if params.dry_run:
        return Outcome(Plan(plan_id=plan_id, plan=plan, changes=[row.repair for row in drift]), f"{len(drift)} differences.")
    if params.plan_id not in (None, plan_id):
        raise StalePlan("The ports changed since the plan was made; nothing was done.", hint="Make a new dry run.")
    if params.fix and plan["mend"]:
        outside = await taken_outside(call)

        async def act(registry: Registry) -> list[int]:
            return await _mend(registry, call, drift, outside)

        mended = await call.change(act, lambda ports: {"mended": ports})
        drift = [row.model_copy(update={"mended": row.port in mended}) for row in drift]
    count = sum(1 for row in drift if row.mended)
    said = "Registry and runtime agree." if not drift else f"{len(drift)} differences, {count} mended."
    return Outcome(SyncResult(drift=drift, mended=count), said)


async def _find_drift(call: Call) -> list[DriftView]:
    """Registry against runtime and sockets, among what the caller may see."""
    published, listening = await call.kit.ports.published(), await call.kit.ports.listening()
    visible, snapshot = call.projects(), call.kit.store.snapshot
    rows = {row.port: row for place, pair in snapshot.pairs.items() if place.project in visible for row in pair.rows}
    drift = []
    for port, row in sorted(rows.items()):
        busy = row.place in snapshot.running
        if busy:
            continue
        if row.state is not State.EMPTY and published.get(port) != row.container:
            drift.append(
                DriftView(
                    port=port,
                    kind="not_published",
                    text=f"{row.container} does not publish {port}",
                    repair=f"deploy {row.place.key} again",
                )
            )
        elif row.state is State.EMPTY and (port in published or port in listening):
            holder = published.get(port) or "another program"
            pair = snapshot.pairs[row.place]
            free = all(each.state is State.EMPTY for each in pair.rows)
            repair = f"mend: give {row.place.key} another pair" if free else f"stop {holder}, or it blocks the next deploy"
            drift.append(
                DriftView(
                    port=port,
                    kind="used_by_other",
                    text=f"{port} is leased to {row.container} but used by {holder}",
                    repair=repair,
                )
            )
    for port, name in sorted(published.items()):
        owner = parse_container(name)
        if owner is not None and owner[0].project in visible and port not in rows:
            drift.append(
                DriftView(
                    port=port,
                    kind="not_leased",
                    text=f"{name} publishes {port} without a lease",
                    repair="port_register, or remove the container",
                )
            )
    return drift


async def _mend(registry: Registry, call: Call, drift: list[DriftView], outside: set[int]) -> list[int]:
    """Move environments without any container away from ports that others took."""
    places = {call.kit.store.snapshot.pairs[place].place for place in call.kit.store.snapshot.pairs}
    mended: list[int] = []
    for row in drift:
        if not row.repair.startswith("mend:"):
            continue
        for place in places:
            pair = await registry.slots.pair(place)
            if pair is None or row.port not in [each.port for each in pair.rows]:
                continue
            if any(each.state is not State.EMPTY for each in pair.rows) or await registry.journal.running(place):
                continue
            await _drop(registry, call, pair)
            await new_pair(registry, call, place, outside)
            mended.append(row.port)
    return mended


TOOLS: tuple[Tool[Any], ...] = (
    Tool(
        "port_allocate",
        "Allocate ports",
        "Lease the lowest free pair to an environment; the one it has, if it has one.",
        AllocateParams,
        PairResult,
        Role.MEMBER,
        Risk.CHANGES,
        _allocate,
    ),
    Tool("port_get", "Show ports", "The pair of an environment.", Where, PairResult, Role.VIEWER, Risk.READS, _get),
    Tool(
        "port_register",
        "Adopt ports",
        "Lease a pair that a project uses already.",
        RegisterParams,
        PairResult,
        Role.MEMBER,
        Risk.CHANGES,
        _register,
    ),
    Tool(
        "port_check",
        "Check a port",
        "Is it free; who has it, by which source.",
        CheckParams,
        PortView,
        Role.VIEWER,
        Risk.READS,
        _check,
    ),
    Tool(
        "port_list",
        "List ports",
        "The map of ports: leased, published by the runtime, listening.",
        ListParams,
        ListResult,
        Role.VIEWER,
        Risk.READS,
        _list,
    ),
    Tool(
        "port_release",
        "Release ports",
        "Give back the pair of an environment that runs nothing.",
        AllocateParams,
        PairResult,
        Role.ADMIN,
        Risk.DESTROYS,
        _release,
    ),
    Tool(
        "port_sync",
        "Compare ports",
        "Compare registry and runtime; with fix mend what is safe.",
        SyncParams,
        SyncResult,
        Role.ADMIN,
        Risk.CHANGES,
        _sync,
    ),
)
