"""Ports: which pair belongs to whom, by every source there is."""

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from codeb.contracts.store import Registry
from codeb.errors import Conflict, InvalidParams
from codeb.model.access import Role
from codeb.model.instances import parse_instance
from codeb.model.names import Place, parse_container
from codeb.model.ports import Lease
from codeb.model.slots import Pair, State
from codeb.tools import fields
from codeb.tools.call import Call
from codeb.tools.drafts import Draft, draft, reach
from codeb.tools.pairs import drop_pair, give_pair, new_pair, taken_outside
from codeb.tools.tool import NextCall, Outcome, Risk, Tool


class Where(fields.OnEnvironment):
    pass


class AllocateParams(fields.Changing, fields.OnEnvironment):
    pass


class ReleaseParams(fields.Confirmed, fields.OnEnvironment):
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
    known = call.kit.store.snapshot.pair_of(place)
    span = call.kit.policy.ranges.of(place.environment)
    changes = [] if known else [f"lease the lowest free pair of {span} for {place.key}"]
    drafted = draft("port_allocate", {"place": place.key, "exists": known is not None}, changes, {})
    if params.dry_run:
        return drafted.shown(changes[0] if changes else f"{place.key} has a pair already.")
    drafted.still_fits(params)
    outside = await taken_outside(call)

    async def act(registry: Registry) -> PairResult:
        await call.ready(registry, place.project)
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
            raise Conflict(f"Port {port} is published by another container.", code="port_taken", hint="See port_check.")
    known = call.kit.store.snapshot.pair_of(place)
    plan = {"place": place.key, "blue": params.blue, "green": params.green}
    state = {"has": known.blue.port if known else None}
    drafted = draft("port_register", plan, [f"lease {params.blue} and {params.green} to {place.key}"], state)
    if params.dry_run:
        return drafted.shown("Would register the pair.")
    drafted.still_fits(params)

    async def act(registry: Registry) -> PairResult:
        await call.ready(registry, place.project)
        pair = await registry.slots.pair(place)
        if pair is not None and pair.blue.port == params.blue:
            return _pair_result(call, pair, False)
        if pair is not None:
            await _refuse_in_use(registry, pair)
            await drop_pair(registry, call, pair)
        return _pair_result(call, await give_pair(registry, call, place, params.blue), True)

    done = await call.change(act, _wire)
    return Outcome(done, f"{place.key} has blue {done.blue} and green {done.green}.", _deploy_next(place))


async def _refuse_in_use(registry: Registry, pair: Pair) -> None:
    """Raises `Conflict` (`pair_in_use`) when something stands in a slot or an operation runs."""
    running = await registry.journal.running(pair.place)
    used = [row.container for row in pair.rows if row.state is not State.EMPTY]
    if running or used:
        holder = running.id if running else ", ".join(used)
        raise Conflict(
            f"{pair.place.key} still uses its ports ({holder}); nothing was changed.", code="pair_in_use",
            hint="Empty both slots first (slot_cleanup), or delete the project.",
        )  # fmt: skip


def _container(lease: Lease) -> str:
    return f"{Place(lease.project, lease.environment).key}-{lease.slot}"


def _views(call: Call, published: Mapping[int, str], listening: frozenset[int], wanted: set[int] | None = None) -> list[PortView]:
    """One row per port that any source knows. Names of projects the caller may not see are said as `another team`."""
    visible = call.projects(deleted=True)
    leases = {lease.port: lease for lease in call.kit.store.snapshot.leases if lease.server == call.kit.policy.server}

    def named(container: str) -> str:
        slot = parse_container(container)
        place = slot[0] if slot else parse_instance(container)
        return container if place is None or place.project in visible else "another team"

    every = wanted if wanted is not None else set(leases) | set(published)
    return [
        PortView(
            port=port, free=port not in leases and port not in published and port not in listening,
            leased=named(_container(leases[port])) if port in leases else None,
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
        mine |= {_container(lease) for lease in call.kit.store.snapshot.leases if lease.project == params.project_name}
        rows = [row for row in rows if row.leased in mine or row.runtime in mine]
    ranges = call.kit.policy.ranges
    return Outcome(
        ListResult(
            server=call.kit.policy.server, ports=rows[: params.limit], more=len(rows) > params.limit,
            ranges={"production": str(ranges.production), "staging": str(ranges.staging), "preview": str(ranges.preview)},
        ),
        f"{sum(1 for row in rows if row.leased)} ports leased.",
    )  # fmt: skip


def _draft_release(call: Call, pair: Pair) -> Draft:
    held = [row.port for row in pair.rows]
    changes = [f"release {held}", f"remove the site of {pair.place.key}"]
    touches = reach(pair.rows, call.kit.policy.base_domain, public=True, previews=True)
    state = {row.slot.value: [row.state.value, row.port] for row in pair.rows}
    return draft("port_release", {"place": pair.place.key, "ports": held}, changes, state, touches)


async def _release(call: Call, params: ReleaseParams) -> Outcome:
    call.project(params.project_name)
    place = Place(params.project_name, params.environment)
    pair = call.pair(place)
    held = [row.port for row in pair.rows]
    drafted = _draft_release(call, pair)
    published = await call.kit.ports.published()
    used = [published[port] for port in held if port in published]
    if used:
        raise Conflict(
            f"{place.key} still uses its ports ({', '.join(used)}); nothing was released.", code="pair_in_use",
            hint="Empty both slots first (slot_cleanup), or delete the project.",
        )  # fmt: skip
    if params.dry_run:
        return drafted.shown(f"Would release {held}.")
    drafted.still_fits(params)
    # The site first: after a death in between an environment without a site is well, a site without an environment is not.
    await call.kit.store.consult(lambda registry: _refuse_in_use(registry, pair))
    await call.kit.proxy.remove_site(place)

    async def act(registry: Registry) -> PairResult:
        await call.ready(registry, place.project)
        now_there = await registry.slots.pair(place)
        if now_there is None:
            raise Conflict(f"{place.key} has no ports any more.", code="environment_gone", hint="See project_get.")
        _draft_release(call, now_there).still_fits(params)
        await _refuse_in_use(registry, now_there)
        await drop_pair(registry, call, now_there)
        await registry.previews.remove(place)
        return _pair_result(call, now_there, False)

    done = await call.change(act, _wire)
    return Outcome(done, f"{place.key} gave back {done.blue} and {done.green}.")


TOOLS: tuple[Tool[Any], ...] = (
    Tool(
        "port_allocate", "Allocate ports", "Lease the lowest free pair to an environment; the one it has, if it has one.",
        AllocateParams, PairResult, Role.MEMBER, Risk.CHANGES, _allocate,
    ),
    Tool(
        "port_get", "Show ports", "The pair of an environment.",
        Where, PairResult, Role.VIEWER, Risk.READS, _get,
    ),
    Tool(
        "port_register", "Adopt ports", "Lease a pair that a project uses already.",
        RegisterParams, PairResult, Role.MEMBER, Risk.CHANGES, _register,
    ),
    Tool(
        "port_check", "Check a port", "Is it free; who has it, by which source.",
        CheckParams, PortView, Role.VIEWER, Risk.READS, _check,
    ),
    Tool(
        "port_list", "List ports", "The map of ports: leased, published by the runtime, listening.",
        ListParams, ListResult, Role.VIEWER, Risk.READS, _list,
    ),
    Tool(
        "port_release", "Release ports", "Give back the pair of an environment that runs nothing.",
        ReleaseParams, PairResult, Role.ADMIN, Risk.DESTROYS, _release,
    ),
)  # fmt: skip
