"""Adoption: a container that somebody else made becomes the active version of an environment, as it is."""

import contextlib
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any

from pydantic import Field

from codeb.contracts.store import Registry
from codeb.errors import Conflict, NotFound
from codeb.flows import adopt, envs
from codeb.flows.site import site_of
from codeb.model import guests
from codeb.model.access import Role
from codeb.model.guests import Binding, Guest
from codeb.model.names import Place, Slot
from codeb.model.ports import Lease
from codeb.model.slots import Pair, SlotRow, State
from codeb.model.specs import Project
from codeb.model.storage import Endpoint
from codeb.tools import fields
from codeb.tools.call import Call
from codeb.tools.drafts import Draft, draft, facts_of, reach
from codeb.tools.operators import only_operators
from codeb.tools.pairs import give_pair, new_pair, taken_outside
from codeb.tools.people import known, no_orphan
from codeb.tools.refusals import step_list
from codeb.tools.switches import accepted
from codeb.tools.tool import NextCall, Outcome, Risk, Tool

HEALTH_SECONDS = 15.0
"""it runs already: what does not answer by now is not waited for longer"""


class AdoptParams(fields.Long, fields.OnEnvironment):
    container: fields.Container
    container_port: fields.Port | None = Field(
        None, description="the port inside it that the application listens on; default: the one it publishes"
    )
    health_path: fields.HealthPath | None = Field(
        None, description="the path that answers 2xx or 3xx when healthy; default: the project's, or /"
    )
    type: fields.ProjectType = Field("docker", description="what kind of application it is, where the project is new")
    keep_env: bool = Field(False, description="take its variables over as the first version of the environment's, sealed")


class AdoptResult(fields.Result):
    project_name: str
    environment: str
    slot: str
    port: int
    container_port: int
    container: str
    container_id: str
    image: str
    digest: str
    version: str
    url: str
    deployment_id: str
    env_version: int | None
    operation_id: str
    steps: list[dict[str, Any]]


@dataclass(frozen=True)
class _Seen:
    """What was looked at before the transaction."""

    guest: Guest
    binding: Binding
    outside: Collection[int]
    has_site: bool


@dataclass(frozen=True)
class _Decided:
    value: adopt.AdoptInput
    project: Project
    pair: Pair
    """as it was, or was made"""


def _needed(call: Call) -> dict[int, str]:
    """Ports of this machine that CodeB's own parts answer at, which may be containers too."""
    kit, policy = call.kit, call.kit.policy
    host, _, port = policy.image_registry.rpartition(":")
    at = {
        "its image registry": Endpoint(host, int(port)) if port.isdecimal() else None,
        "the shared database server": kit.databases.where, "the shared Redis": kit.caches.where,
    }  # fmt: skip
    found = {each.port: what for what, each in at.items() if each is not None and each.loopback}
    return found | dict.fromkeys((policy.http_port, policy.https_port), "its proxy")


async def _look(call: Call, params: AdoptParams) -> _Seen:
    guest = await call.kit.guests.find(params.container)
    if guest is None:
        raise NotFound(
            f"There is no container {params.container} on this server; nothing was done.", code="container_not_found",
            hint="docker ps shows the names; an id needs 12 digits or more.",
        )  # fmt: skip
    guests.refuse(guest)
    guests.refuse_needed(guest, _needed(call))
    binding = guests.binding_of(guest, params.container_port)
    outside = await taken_outside(call)
    has_site = Place(params.project_name, params.environment) in await call.kit.proxy.sites()
    return _Seen(guest, binding, outside, has_site)


async def _project(registry: Registry, call: Call, params: AdoptParams, seen: _Seen) -> tuple[Project, bool]:
    """The project, and whether it was made for this."""
    name = params.project_name
    found = await registry.projects.get(name)
    if found is not None and not call.actor.sees_project(name, found.team):
        raise Conflict(f"The name {name} is not available.", code="project_exists", hint="Choose another name.")
    if found is not None:
        return await call.ready(registry, name), False
    made = Project(
        name=name, team=call.actor.team, type=params.type, container_port=seen.binding.inner,
        health_path=params.health_path or "/", created_at=call.kit.world.now(), created_by=call.actor.name,
    )  # fmt: skip
    await registry.projects.add(made)
    return made, True


async def _pair(registry: Registry, call: Call, place: Place, seen: _Seen) -> tuple[Pair, bool]:
    """Both slots, empty. Where the container's port is half of a free pair of the range, that pair."""
    pair, policy, port = await registry.slots.pair(place), call.kit.policy, seen.binding.port
    if pair is not None:
        used = [row.container for row in pair.rows if row.state is not State.EMPTY or row.adopted]
        if used:
            raise Conflict(
                f"{place.key} has versions already ({', '.join(used)}); nothing was done.", code="environment_in_use",
                hint="Deploy the container's image instead, or take it over as another environment or project.",
            )  # fmt: skip
        return pair, False
    blue = port - port % 2
    leased = {lease.port for lease in await registry.leases.all(policy.server)}
    span, partner = policy.ranges.of(place.environment), blue + 1 - port % 2
    if blue in span and blue + 1 in span and not {blue, blue + 1} & leased and partner not in seen.outside:
        return await give_pair(registry, call, place, blue), True
    return await new_pair(registry, call, place, set(seen.outside)), True


async def _decide(registry: Registry, call: Call, params: AdoptParams, seen: _Seen) -> _Decided:
    place, guest, port = Place(params.project_name, params.environment), seen.guest, seen.binding.port
    project, project_is_new = await _project(registry, call, params, seen)
    pair, pair_is_new = await _pair(registry, call, place, seen)
    slot = guests.slot_for(guest, place, [(row.slot, row.port) for row in pair.rows], port)
    if params.keep_env and (await envs.newest(call.kit, registry, place)).version is not None:
        raise Conflict(
            f"{place.key} has environment variables already; nothing was done.", code="env_exists",
            hint="Leave keepEnv out: they count, and env_set adds what is missing.",
        )  # fmt: skip
    if port != pair[slot].port:
        await registry.leases.add(Lease(call.kit.policy.server, port, place.project, place.environment, slot.value))
    path = params.health_path or project.health_path
    filled = SlotRow(place, slot, port, State.ACTIVE, health_path=path, adopted=guest.id, adopted_name=guest.name)
    after = Pair(*(filled if row.slot is slot else row for row in pair.rows))
    domains = call.kit.store.snapshot.domains_of(place)
    site = site_of(project, after, call.kit.policy, domains)
    return _Decided(
        adopt.AdoptInput(
            place=place, slot=slot, port=port, own_port=pair[slot].port, container=guest.id, name=guest.name,
            deployment_id=call.kit.world.new_id("dep"), image=guest.image, image_id=guest.image_id, digest=guest.digest,
            version=guests.version_of(guest.image), container_port=seen.binding.inner, health_path=path,
            health_seconds=min(call.kit.policy.health_seconds, HEALTH_SECONDS), site=site,
            former_site=site_of(project, pair, call.kit.policy, domains) if seen.has_site else None,
            project_is_new=project_is_new, pair_is_new=pair_is_new, keep_env=params.keep_env,
            url=call.kit.policy.url(site.hosts[0]),
        ),
        project, pair,
    )  # fmt: skip


def _draft(call: Call, seen: _Seen, decided: _Decided) -> Draft:
    value, guest, place = decided.value, seen.guest, decided.value.place
    plan = {
        "projectName": place.project, "environment": place.environment, "newProject": value.project_is_new,
        "container": guest.name, "containerId": guest.id, "image": value.image, "imageId": value.image_id,
        "digest": value.digest, "version": value.version, "slot": value.slot.value, "port": value.port,
        "containerPort": value.container_port, "healthPath": value.health_path, "url": value.url,
        "published": [f"{each.host}:{each.port}->{each.inner}" for each in guest.bindings],
        "variables": list(guest.env_names), "keepEnv": value.keep_env, "notCarriedOver": list(guest.lost),
        "nextPorts": {slot.value: decided.pair[slot].port for slot in Slot},
    }  # fmt: skip
    changes = [f"register project {place.project}"] if value.project_is_new else []
    if value.pair_is_new:
        changes.append(f"lease {decided.pair.blue.port} and {decided.pair.green.port} to {place.key}")
    if value.port != value.own_port:
        changes.append(f"lease {value.port} to {place.key} for as long as {guest.name} is there")
    changes.append(f"send {value.url} to {guest.name}, which is not touched")
    if value.keep_env:
        changes.append(f"write its variables as version 1 of {place.key}'s: {', '.join(guest.env_names) or 'none'}")
    changes.append("later, once a deployed version was promoted and the grace is over: stop and remove it, its volumes stay")
    row = replace(decided.pair[value.slot], port=value.port, deployment_id=value.deployment_id)
    touches = reach([row], call.kit.policy.base_domain, public=True, domains=call.kit.store.snapshot.domains.values())
    state = {"id": guest.id, "binding": str(seen.binding), "pair": facts_of(decided.pair), "site": seen.has_site}
    return draft("project_adopt", plan, changes, state, touches | {"containers": [guest.name]})


class _Undone(Exception):
    pass


async def _dry(call: Call, params: AdoptParams, seen: _Seen) -> Outcome:
    """Decide as the real thing would, in a transaction that is rolled back."""
    found: list[_Decided] = []

    async def act(registry: Registry) -> None:
        found.append(await _decide(registry, call, params, seen))
        raise _Undone

    with contextlib.suppress(_Undone):
        await call.kit.store.transact(act)
    decided = found[-1]
    drafted = _draft(call, seen, decided)
    said = {name: value for name, value in call.params.items() if name not in ("dryRun", "planId", "idempotencyKey", "wait")}
    apply = NextCall("project_adopt", {**said, "planId": drafted.id}, "do exactly this")
    place = decided.value.place
    warned = _warnings(seen, decided)
    return drafted.shown(f"Would take over {seen.guest.name} as {place.project} {place.environment}.", apply, *warned)


def _warnings(seen: _Seen, decided: _Decided) -> list[str]:
    return guests.warnings_of(seen.guest, decided.project.limits, seen.binding, keep_env=decided.value.keep_env)


async def _adopt(call: Call, params: AdoptParams) -> Outcome:
    only_operators(call, "any container of this server")
    no_orphan(known(call), call.actor)
    begun = {} if params.dry_run else await call.began()
    if begun:
        return await _taken(call, params, begun[""])
    seen = await _look(call, params)
    if params.dry_run:
        return await _dry(call, params, seen)
    warned: list[str] = []

    async def decide(registry: Registry) -> adopt.AdoptInput:
        decided = await _decide(registry, call, params, seen)
        if params.plan_id is not None:
            _draft(call, seen, decided).still_fits(params)
        warned[:] = _warnings(seen, decided)
        return decided.value

    operation = await call.open(adopt.SAGA, (Place(params.project_name, params.environment),), decide, warned=warned)
    return await _taken(call, params, operation.id)


async def _taken(call: Call, params: AdoptParams, operation_id: str) -> Outcome:
    if not params.wait:
        return accepted(await call.kit.store.consult(lambda registry: call.engine.find(registry, operation_id)))
    operation, steps = await call.ended(operation_id)
    result = AdoptResult(**(operation.result or {}), operation_id=operation.id, steps=step_list(steps))
    where = {"projectName": result.project_name, "environment": result.environment}
    deploy = NextCall("deploy", where | {"image": result.image}, "its first version that CodeB makes itself; then promote it")
    said = f"{result.container} is the active version of {result.project_name} {result.environment}, untouched, at {result.url}."
    return Outcome(result, said, (deploy,), operation.warnings)


TOOLS: tuple[Tool[Any], ...] = (
    Tool(
        "project_adopt", "Take over a running container",
        "Make a container that runs already the active version of an environment, without touching it.",
        AdoptParams, AdoptResult, Role.ADMIN, Risk.CHANGES, _adopt, long=True, agents_must_say=("environment",),
    ),
)  # fmt: skip
