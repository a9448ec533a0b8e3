"""Init: a project with its environments, and what they need, from nothing. Again is harmless: only what is missing is made."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from pydantic import Field

from codeb.contracts.store import Registry
from codeb.errors import Conflict, Forbidden, PublicError
from codeb.flows import domain_setup, init
from codeb.flows.firewall import LOCK, FirewallInput
from codeb.flows.init import InitInput, NewPlace
from codeb.flows.storage import StorageInput
from codeb.model.access import Role
from codeb.model.conflicts import busy
from codeb.model.deletion import CREATING, READY, is_deleted
from codeb.model.firewall import Rule
from codeb.model.names import Place
from codeb.model.specs import Limits, Project
from codeb.model.storage import ENV, Endpoint, Kind, Storage
from codeb.tools import domain_plans, domains, fields, storage_plans
from codeb.tools.call import Call
from codeb.tools.domain_plans import Outlook
from codeb.tools.drafts import Draft, draft
from codeb.tools.firewall import to_app_servers
from codeb.tools.pairs import new_pair, taken_outside
from codeb.tools.people import known, no_orphan
from codeb.tools.projects import ProjectView, shown
from codeb.tools.refusals import gone, step_list
from codeb.tools.switches import accepted
from codeb.tools.tool import NextCall, Outcome, Risk, Tool

PATIENT = ("workflow_init", "firewall_allow", "firewall_deny", "firewall_sync")
"""what holds the firewall for moments: several projects are set up at once, one after the other"""
PURPOSE = {Kind.POSTGRES: "database", Kind.REDIS: "redis"}
SETTINGS = ("type", "container_port", "health_path", "memory_mb", "cpus")


class InitParams(fields.Long):
    project_name: fields.ProjectName
    type: fields.ProjectType = Field("docker", description="what kind of application it is")
    environments: list[fields.Environment] = Field(
        ["production"], min_length=1, max_length=10, description="environments to set up now; others come with their first deploy"
    )
    container_port: fields.Port = Field(3000, description="the port the application listens on inside its container (PORT)")
    health_path: fields.HealthPath = "/"
    memory_mb: int = Field(512, ge=32, le=262144, description="memory limit of a container, MiB")
    cpus: float = Field(1.0, ge=0.1, le=64, description="CPU limit of a container, cores")
    database: bool = Field(False, description="a PostgreSQL database for each of the environments")
    redis: bool = Field(False, description="a part of the Redis for each of the environments")
    dedicated: bool = Field(False, description="these in containers of their own, each on a leased port")
    firewall: bool = Field(
        True, description="let the app servers reach the storage ports, and nobody else, where CodeB guards them"
    )
    domain: fields.DomainName | None = Field(None, description="a domain for the first of the environments: DNS, proxy, HTTPS")
    redirect: bool = Field(
        False, description="also take the name with www. in front (or without it), and send its visitors to this one"
    )


class StorageLine(fields.Result):
    environment: str
    kind: str
    name: str
    host: str
    port: int
    env: list[str]
    """names of the values that deployments get"""


class InitResult(fields.Result):
    project: ProjectView
    created: bool
    storage: list[StorageLine] = []
    opened: list[str] = []
    """what was opened in the firewall"""
    domain: domains.SetupResult | None = None
    operation_id: str | None = None
    """None: nothing outside the registry was to be made"""
    steps: list[dict[str, Any]] = []


@dataclass
class _Made:
    """What one transaction decides: what is to be made, and why something is not."""

    created: bool = False
    project: Project | None = None
    places: list[NewPlace] = field(default_factory=list)
    new_storage: list[StorageInput] = field(default_factory=list)
    rules: list[Rule] = field(default_factory=list)
    names: domain_setup.SetupInput | None = None
    warnings: list[str] = field(default_factory=list)

    @property
    def outside(self) -> bool:
        """Whether anything outside the registry is to be made."""
        return bool(self.new_storage or self.rules or self.names)

    @property
    def input(self) -> InitInput:
        assert self.project is not None
        name, rules = self.project.name, tuple(self.rules)
        touched = tuple(sorted({rule.opening for rule in rules}))
        opening = (FirewallInput(touched, rules, about=f"open what {name} needs", also=(name,)),) if rules else ()
        return InitInput(
            name, self.created, tuple(self.places), tuple(self.new_storage), opening, (self.names,) if self.names else ()
        )


@dataclass(frozen=True)
class _Ask:
    """One call, with what was seen outside before its transaction."""

    call: Call
    params: InitParams
    ports: set[int]
    where: dict[Kind, storage_plans.Outlook]
    """where what is asked for would be"""
    name: Outlook | None
    """None: no domain is asked for"""

    @property
    def places(self) -> tuple[Place, ...]:
        return _places(self.params)

    @property
    def setup(self) -> domain_plans.SetupParams | None:
        return _setup(self.params)


def _places(params: InitParams) -> tuple[Place, ...]:
    return tuple(Place(params.project_name, each) for each in dict.fromkeys(params.environments))


def _setup(params: InitParams) -> domain_plans.SetupParams | None:
    if params.domain is None:
        return None
    return domain_plans.SetupParams(
        project_name=params.project_name, environment=params.environments[0], domain=params.domain, redirect=params.redirect
    )


async def _look(call: Call, params: InitParams) -> _Ask:
    """Raises what the parts raise where they cannot be had: nothing was done then."""
    place, setup = Place(params.project_name, params.environments[0]), _setup(params)
    kinds = [kind for kind, asked in ((Kind.POSTGRES, params.database), (Kind.REDIS, params.redis)) if asked]
    return _Ask(
        call, params, await taken_outside(call),
        {kind: await storage_plans.outlook(call, place, kind, params.dedicated) for kind in kinds},
        await domain_plans.outlook(call, setup) if setup else None,
    )  # fmt: skip


# what it comes to, in one transaction


async def _decide(ask: _Ask, registry: Registry) -> _Made:
    """Put on record what is missing, and say what of it is to be made outside."""
    made = _Made()
    await _project(ask, registry, made)
    for place in ask.places:
        if await registry.slots.pair(place) is None:
            pair = await new_pair(registry, ask.call, place, ask.ports)
            made.places.append(NewPlace(place, tuple(row.port for row in pair.rows)))
    reached = {(kind, await _storage(ask, registry, made, place, kind)): None for place in ask.places for kind in ask.where}
    # what has a container of its own comes with its opening
    for kind, where in reached if ask.params.firewall and not ask.params.dedicated else ():
        rules, why = await to_app_servers(ask.call, registry, ask.params.project_name, where, PURPOSE[kind])
        made.rules += rules
        made.warnings += [why] if why else []
    if ask.name is not None and not ask.name.there and ask.name.proved:
        assert ask.setup is not None and made.project is not None
        made.names = await domain_plans.decided(ask.call, registry, ask.setup, ask.name, made.project)
    if made.created and not made.outside:
        # nothing follows in which it could fail
        await registry.projects.set_state(ask.params.project_name, READY)
    return made


async def _project(ask: _Ask, registry: Registry, made: _Made) -> None:
    """Raises `Conflict`: `project_exists`, `project_deleted`."""
    call, params = ask.call, ask.params
    found = await registry.projects.get(params.project_name)
    if found is not None and is_deleted(found) and call.actor.sees_project(found.name, found.team):
        raise gone(found)
    if found is not None and found.state == CREATING and found.team == call.actor.team:
        await _abandoned(registry, found)
        found = None
    if found is not None and (found.team != call.actor.team or found.state != READY or _differs(found, params)):
        raise Conflict(
            f"Project {params.project_name} exists with other settings.", code="project_exists",
            hint="See project_get, and project_update. Without these settings, or with the same ones, this call is fine.",
            details={"differs": _differs(found, params)} if found.team == call.actor.team else {},
        )  # fmt: skip
    made.created, made.project = found is None, found or _new(call, params)
    if made.created:
        await registry.projects.add(made.project)


async def _abandoned(registry: Registry, found: Project) -> None:
    """One that is half set up, and nobody works on it: what set it up was lost with the registry it was in. Raises `Busy`."""
    for each in found.environments:
        if running := await registry.journal.running(Place(found.name, each)):
            raise busy(running)
    await registry.rules.remove_of(found.name)
    await registry.projects.remove(found.name)


def _new(call: Call, params: InitParams) -> Project:
    return Project(
        name=params.project_name, team=call.actor.team, type=params.type, container_port=params.container_port,
        health_path=params.health_path, limits=Limits(memory_mb=params.memory_mb, cpus=params.cpus), state=CREATING,
        created_at=call.kit.world.now(), created_by=call.actor.name,
    )  # fmt: skip


def _differs(found: Project, params: InitParams) -> list[str]:
    """The settings that were said and are others, by their names on the wire. What was not said is as it is."""
    there = (found.type, found.container_port, found.health_path, found.limits.memory_mb, found.limits.cpus)
    return [
        InitParams.model_fields[name].alias or name for name, value in zip(SETTINGS, there, strict=True)
        if name in params.model_fields_set and getattr(params, name) != value
    ]  # fmt: skip


async def _storage(ask: _Ask, registry: Registry, made: _Made, place: Place, kind: Kind) -> Endpoint:
    """Where it is, or will be."""
    found = await registry.storages.get(place, kind)
    if found is not None:
        storage_plans.fits(found, ask.params.dedicated)
        return Endpoint(found.host, found.port)
    new = await storage_plans.begin(ask.call, registry, place, kind, ask.where[kind])
    made.new_storage.append(new)
    assert new.at is not None
    return new.at


def _drafted(ask: _Ask, made: _Made) -> Draft:
    project = ask.params.project_name
    changes = [f"set up {project} {new.place.environment}: a pair of ports, hosts" for new in made.places]
    for each in made.new_storage:
        changes += storage_plans.making(ask.call, each.kind, each.name, each.place.environment, ask.where[each.kind].spot.server)
    changes += [f"open {each.opening} on {each.server} for {project} ({each.purpose})" for each in made.rules]
    plan = {
        "projectName": project, "environments": [each.environment for each in ask.places], "exists": not made.created,
        "storage": [
            {"environment": each.place.environment, "kind": each.kind.value, "name": each.name} for each in made.new_storage
        ],
        "firewall": [str(each.opening) for each in made.rules], "domain": None,
    }  # fmt: skip
    touches: dict[str, list[Any]] = {}
    if ask.name is not None and made.names is not None:
        names = domain_plans.draft_setup(ask.name)
        changes, plan["domain"], touches = changes + names.changes, names.plan, names.touches
    elif ask.name is not None:
        host = ask.name.wanted.hosts[0]
        plan["domain"] = {"domain": host, "state": "active" if ask.name.there else "pending"}
    asked = ask.params.model_dump(exclude={"dry_run", "plan_id", "idempotency_key", "wait"})
    return draft("workflow_init", plan, changes, {"params": asked, "changes": changes}, touches)


# the call


async def _init(call: Call, params: InitParams) -> Outcome:
    _may(call, params)
    if not params.dry_run and (begun := (await call.began()).get("")):
        return await _came(call, params, begun)
    ask, made, drafted = await call.patiently(lambda: _seen(call, params), PATIENT)
    if params.dry_run:
        said = params.model_dump(by_alias=True, exclude_defaults=True, exclude={"dry_run"})
        apply = NextCall("workflow_init", {**said, "planId": drafted.id}, "do exactly this")
        summary = f"Would set up {params.project_name}." if drafted.changes else f"{params.project_name} is set up already."
        return drafted.shown(summary, apply, *made.warnings, *_not_yet(ask))
    drafted.still_fits(params)
    if not made.outside:
        return await _registered(ask)
    held = (*ask.places, *((LOCK,) if made.rules else ()))

    async def decide(registry: Registry) -> InitInput:
        now, _ = await _rehearsed(ask, registry)
        if now.rules and not made.rules:
            raise Conflict("Things changed meanwhile; nothing was done.", code="state_moved", hint="Call it again.")
        return now.input

    operation = await call.open(init.SAGA, held, decide, patient=PATIENT, warned=made.warnings)
    return await _came(call, params, operation.id)


async def _seen(call: Call, params: InitParams) -> tuple[_Ask, _Made, Draft]:
    ask = await _look(call, params)
    return ask, *await call.rehearse(lambda registry: _rehearsed(ask, registry))


async def _rehearsed(ask: _Ask, registry: Registry) -> tuple[_Made, Draft]:
    made = await _decide(ask, registry)
    drafted = _drafted(ask, made)
    drafted.still_fits(ask.params)
    return made, drafted


def _may(call: Call, params: InitParams) -> None:
    """Raises `NotFound` (`team_not_found`), `Conflict` (`project_exists`), `Forbidden`."""
    no_orphan(known(call), call.actor)
    exists = call.kit.store.snapshot.projects.get(params.project_name)
    if exists is not None and not call.actor.sees_project(params.project_name, exists.team):
        raise Conflict(f"The name {params.project_name} is not available.", code="project_exists", hint="Choose another name.")
    for each in params.environments:
        if not call.actor.may_touch(each):
            raise Forbidden(f"This key does not reach {each}; nothing was done.", hint="Use a key for that environment.")


async def _registered(ask: _Ask) -> Outcome:
    """Nothing but rows is missing: one transaction, and no operation."""
    call, params = ask.call, ask.params

    async def act(registry: Registry) -> InitResult:
        made, _ = await _rehearsed(ask, registry)
        if made.outside:
            raise Conflict("Things changed meanwhile; nothing was done.", code="state_moved", hint="Call it again.")
        lines = await _lines(registry, ask.places)
        return InitResult(project=await shown(registry, call, params.project_name), created=made.created, storage=lines)

    done = await call.change(act, lambda result: result.model_dump(by_alias=True, mode="json"))
    return await _told(call, params, done, "", ())


async def _came(call: Call, params: InitParams, operation_id: str) -> Outcome:
    if not params.wait:
        operation = await call.kit.store.consult(lambda registry: call.engine.find(registry, operation_id))
        return accepted(operation)
    operation, steps = await call.ended(operation_id)
    told = operation.result or {}

    async def look(registry: Registry) -> InitResult:
        return InitResult(
            project=await shown(registry, call, params.project_name), created=bool(told.get("created")),
            storage=await _lines(registry, _places(params)), opened=list(told.get("opened", ())), operation_id=operation.id,
            steps=step_list(steps),
        )  # fmt: skip

    call.project(params.project_name)
    result = await call.kit.store.consult(look)
    return await _told(call, params, result, str(told.get("certificate", "")), operation.warnings)


async def _lines(registry: Registry, places: Iterable[Place]) -> list[StorageLine]:
    found = [await registry.storages.get(place, kind) for place in places for kind in Kind]
    return [_line(each) for each in found if each is not None and each.ready]


def _line(each: Storage) -> StorageLine:
    return StorageLine(
        environment=each.place.environment, kind=each.kind.value, name=each.name, host=each.host, port=each.port,
        env=list(ENV[each.kind]),
    )  # fmt: skip


async def _told(call: Call, params: InitParams, result: InitResult, certificate: str, warnings: tuple[str, ...]) -> Outcome:
    """With the domain as it is: set up, or what proves it."""
    first = {"projectName": params.project_name, "environment": params.environments[0], "version": "1.0.0"}
    nexts = [NextCall("deploy", first, "put a first version into a slot")]
    setup = _setup(params)
    said = f"is set up for {', '.join(dict.fromkeys(params.environments))}." if result.created else "is set up; nothing was lost."
    try:
        named = await _domain(call, setup, certificate) if setup is not None else None
    except PublicError as fault:
        # what was done is done, whoever does not answer now
        named, warnings = None, (*warnings, f"How {params.domain} stands cannot be told now: {fault.message} See domain_status.")
    if named is not None:
        assert isinstance(named.result, domains.SetupResult)
        if named.result.state == "pending":
            said += f" {named.summary}"
            nexts = [*named.next, *nexts]
        result, warnings = result.model_copy(update={"domain": named.result}), (*warnings, *named.warnings)
    return Outcome(result, f"Project {params.project_name} {said}", tuple(nexts), tuple(dict.fromkeys(warnings)))


async def _domain(call: Call, setup: domain_plans.SetupParams, certificate: str) -> Outcome:
    there = call.kit.store.snapshot.domains.get(setup.domain)
    if there is not None and there.place == Place(setup.project_name, setup.environment) and there.held:
        return await domains.active(call, setup, certificate or "unchanged", "")
    return await domains.pending(call, setup, (await domain_plans.outlook(call, setup)).proof)


def _not_yet(ask: _Ask) -> tuple[str, ...]:
    if ask.name is None or ask.name.there or ask.name.proved:
        return ()
    return (f"{ask.name.wanted.hosts[0]} is not proved to be yours yet: it would be left out, and the answer says what to set.",)


TOOLS: tuple[Tool[Any], ...] = (
    Tool(
        "workflow_init", "Set up a project",
        "A project from nothing: ports and hosts for each environment, database, Redis, firewall, domain. Again is harmless.",
        InitParams, InitResult, Role.MEMBER, Risk.CHANGES, _init, long=True, aliases=("project_create",),
    ),
)  # fmt: skip
