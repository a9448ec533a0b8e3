"""Domains: set up, list, delete."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from typing import Any

from pydantic import Field

from codeb.contracts.store import Registry
from codeb.errors import Conflict
from codeb.flows import domain_delete, domain_setup
from codeb.flows.mend import has_site
from codeb.flows.names import ZonePlan, planned, plans_of
from codeb.flows.ownership import Proof, leads_here, proof_of
from codeb.flows.site import site_of
from codeb.model.access import Role
from codeb.model.domains import Domain, DomainState, counterpart, domains_of, in_the_way, related, reserved
from codeb.model.journal import Operation
from codeb.model.names import Place
from codeb.tools import fields
from codeb.tools.call import Call
from codeb.tools.domain_status import STATUS
from codeb.tools.domain_views import (
    DomainView,
    RecordView,
    address_records,
    domain_view,
    mine,
    not_for_sale,
    plain,
    proof_records,
    sound_name,
    taken,
    visible,
)  # fmt: skip
from codeb.tools.drafts import Draft, draft
from codeb.tools.refusals import step_list
from codeb.tools.switches import accepted
from codeb.tools.tool import NextCall, Outcome, Risk, Tool


class SetupParams(fields.Long, fields.OnEnvironment):
    domain: fields.DomainName
    redirect: bool = Field(
        False, description="also take the name with www. in front (or without it), and send its visitors to this one"
    )


class SetupResult(fields.Result):
    domain: str
    project_name: str
    environment: str
    state: str
    url: str
    redirects_from: list[str]
    proof: str
    certificate: str
    set_at_registrar: list[RecordView]
    operation_id: str | None = None
    steps: list[dict[str, Any]] = []


class ListParams(fields.Params):
    project_name: fields.ProjectName | None = Field(None, description="without it: of every project you may see")
    limit: fields.Limit = 100
    after: fields.DomainName | None = Field(None, description="the last domain of the page before")


class ListResult(fields.Result):
    domains: list[DomainView]
    total: int
    more: bool


class DeleteParams(fields.Confirmed, fields.Long):
    domain: fields.DomainName
    confirm: str = Field("", max_length=253, description="the domain, typed once more where a policy asks for it")


class DeleteResult(fields.Result):
    domain: str
    project_name: str
    environment: str
    deleted: list[str]
    operation_id: str
    steps: list[dict[str, Any]] = []


# set up


@dataclass(frozen=True)
class _Wanted:
    """What a set-up is about: the names, the one that serves first; and those of them that are not the place's yet."""

    place: Place
    hosts: tuple[str, ...]
    fresh: tuple[Domain, ...]

    @property
    def proved(self) -> str:
        """The name whose proof covers all of them."""
        return min(self.hosts, key=len)


def _wanted(call: Call, params: SetupParams, known: Iterable[Domain]) -> _Wanted:
    """Raises `Conflict`: `domain_reserved`, `domain_elsewhere`."""
    host, place = sound_name(call, params.domain), Place(params.project_name, params.environment)
    base = call.kit.policy.base_domain
    hosts = (host, counterpart(host)) if params.redirect else (host,)
    there = {each.host: each for each in known if each.state is DomainState.ACTIVE and each.team == call.actor.team}
    fresh = []
    for name in hosts:
        if reserved(name, place, base) or (name != host and related(name, base)):
            raise not_for_sale(name, place.host(base))
        to = "" if name == host else host
        if name not in there:
            now, by = call.kit.world.now(), call.actor.name
            fresh.append(Domain(name, call.actor.team, *_at(place), DomainState.CLAIMED, now, by, redirect_to=to))
        elif (there[name].place, there[name].redirect_to) != (place, to):
            raise _elsewhere(call, there[name])
    return _Wanted(place, hosts, tuple(fresh))


def _at(place: Place) -> tuple[str, str]:
    return place.project, place.environment


def _elsewhere(call: Call, found: Domain) -> Conflict:
    seen = call.actor.sees_project(found.project, found.team)
    where = f"leads to {found.redirect_to or found.place.key}" if seen else "leads elsewhere in your team"
    return Conflict(
        f"The domain {found.host} {where} already; nothing was done.", code="domain_elsewhere",
        hint=f"To have it otherwise, call domain_delete for {found.host} first.", details={"domain": found.host},
    )  # fmt: skip


async def _setup(call: Call, params: SetupParams) -> Outcome:
    if not params.dry_run and (begun := (await call.began()).get("")):
        return await _came(call, params, begun)
    call.project(params.project_name)
    snapshot = call.kit.store.snapshot
    wanted = _wanted(call, params, snapshot.domains.values())
    call.pair(wanted.place)
    if not wanted.fresh:
        return await _there_already(call, params, wanted)
    known = snapshot.domains.values()
    proof = await proof_of(call.kit, wanted.proved, call.actor.team, wanted.place, known, snapshot.registry_id)
    if not proof.kind:
        return _pending(call, params, wanted, proof)
    _refuse_taken(call, wanted, known)
    fresh, plans = await planned(call.kit, [replace(each, proof=proof.kind) for each in wanted.fresh])
    drafted = _draft_setup(wanted, fresh, plans)
    if params.dry_run:
        said = params.model_dump(by_alias=True, mode="json", include={"project_name", "environment", "domain", "redirect"})
        return drafted.shown(f"Would set up {wanted.hosts[0]}.", NextCall("domain_setup", said | {"planId": drafted.id}, "do it"))
    drafted.still_fits(params)
    has = wanted.place in await call.kit.proxy.sites()

    async def decide(registry: Registry) -> domain_setup.SetupInput:
        return await _decided(call, registry, params, tuple(fresh), plans, has)

    operation = await call.open(domain_setup.SAGA, (wanted.place,), decide)
    return await _came(call, params, operation.id)


def _refuse_taken(call: Call, wanted: _Wanted, known: Collection[Domain]) -> None:
    for host in wanted.hosts:
        if in_the_way(host, call.actor.team, known):
            raise taken(host)


async def _decided(
    call: Call, registry: Registry, params: SetupParams, fresh: tuple[Domain, ...], plans: tuple[ZonePlan, ...], has: bool
) -> domain_setup.SetupInput:
    """The same once more, as this transaction sees it: it excludes every other writer."""
    project, known = await call.ready(registry, params.project_name), await registry.domains.all()
    wanted = _wanted(call, params, known)
    pair = await registry.slots.pair(wanted.place)
    _refuse_taken(call, wanted, known)
    if pair is None or [each.host for each in wanted.fresh] != [each.host for each in fresh]:
        raise Conflict("Things changed meanwhile; nothing was done.", code="state_moved", hint="Call it again.")
    names, now = {each.host for each in fresh}, domains_of(known, wanted.place)
    had = has or has_site(pair) or bool(now)
    return domain_setup.SetupInput(
        place=wanted.place, domains=fresh, before=tuple(each for each in known if each.host in names),
        site=site_of(project, pair, call.kit.policy, (*now, *fresh)),
        former=site_of(project, pair, call.kit.policy, now) if had else None, plans=plans,
    )  # fmt: skip


def _draft_setup(wanted: _Wanted, fresh: list[Domain], plans: tuple[ZonePlan, ...]) -> Draft:
    changes = [f"make the zone {plan.zone}" for plan in plans if plan.new]
    changes += [f"add {each.type} {each.name} -> {', '.join(each.values)}" for plan in plans for each in plan.records]
    changes += [
        f"send visitors of {each.host} to {each.redirect_to}" if each.redirect_to else f"serve {each.host}" for each in fresh
    ]
    plan = {
        "domain": wanted.hosts[0], "projectName": wanted.place.project, "environment": wanted.place.environment,
        "hosts": list(wanted.hosts), "state": "active", "proof": fresh[0].proof,
    }  # fmt: skip
    return draft("domain_setup", plan, changes, {"changes": changes}, {"hosts": list(wanted.hosts)})


def _answer(call: Call, params: SetupParams, wanted: tuple[str, ...], **more: Any) -> SetupResult:
    return SetupResult(
        domain=wanted[0], project_name=params.project_name, environment=params.environment, url=call.kit.policy.url(wanted[0]),
        redirects_from=list(wanted[1:]), **more,
    )  # fmt: skip


def _pending(call: Call, params: SetupParams, wanted: _Wanted, proof: Proof) -> Outcome:
    """Nothing was done, and nothing is held for anybody: it says what proves the name."""
    kit, host = call.kit, wanted.proved
    needed = proof_records(kit.store.snapshot.registry_id, call.actor.team, host)
    needed += address_records(wanted.hosts, kit.policy.public_addresses)
    said = f"{wanted.hosts[0]} is not proved to be yours yet; nothing was done. Set the TXT record, then call again."
    again = params.model_dump(by_alias=True, mode="json", include={"project_name", "environment", "domain", "redirect"})
    next_ = NextCall("domain_setup", again, "once the record is set")
    warnings = (f"The resolvers did not answer: {proof.why}",) if proof.why else ()
    if params.dry_run:
        plan = {"domain": wanted.hosts[0], "state": "pending", "setAtRegistrar": plain(needed)}
        return draft("domain_setup", plan, [], {"pending": True}).shown(said, None, *warnings)
    result = _answer(call, params, wanted.hosts, state="pending", proof="", certificate="none", set_at_registrar=needed)
    return Outcome(result, said, (next_,), warnings)


async def _there_already(call: Call, params: SetupParams, wanted: _Wanted) -> Outcome:
    if params.dry_run:
        plan = {"domain": wanted.hosts[0], "state": "active"}
        return draft("domain_setup", plan, [], {"there": True}).shown(f"{wanted.hosts[0]} is set up already.")
    return await _active(call, params, wanted.hosts, "unchanged", f"{wanted.hosts[0]} was set up already; nothing was done.")


async def _came(call: Call, params: SetupParams, operation_id: str) -> Outcome:
    if not params.wait:
        operation = await call.kit.store.consult(lambda registry: registry.journal.get(operation_id))
        assert operation is not None
        return accepted(operation)
    operation, steps = await call.ended(operation_id)
    host = sound_name(call, params.domain)
    hosts = (host, counterpart(host)) if params.redirect else (host,)
    certificate = str((operation.result or {}).get("certificate", ""))
    said = f"{host} leads to {params.project_name} {params.environment}: {call.kit.policy.url(host)}."
    outcome = await _active(call, params, hosts, certificate, said)
    assert isinstance(outcome.result, SetupResult)
    result = outcome.result.model_copy(update={"operation_id": operation.id, "steps": step_list(steps)})
    return replace(outcome, result=result, warnings=(*operation.warnings, *outcome.warnings))


async def _active(call: Call, params: SetupParams, hosts: tuple[str, ...], certificate: str, said: str) -> Outcome:
    """With what is left to do elsewhere, where the world does not find it here yet."""
    kit, warnings = call.kit, list[str]()
    rows = [row for row in (kit.store.snapshot.domains.get(host) for host in hosts) if row is not None]
    needed = []
    if rows and not await leads_here(kit, hosts[0]):
        needed = await _delegation(call, rows) or address_records(hosts, kit.policy.public_addresses)
        warnings.append(f"{hosts[0]} does not lead here yet, as this installation's resolvers see it.")
    if certificate == "awaited":
        warnings.append("The certificate comes once the name leads here; domain_status shows it.")
    pair = kit.store.snapshot.pair_of(Place(params.project_name, params.environment))
    if pair is not None and pair.active is None:
        warnings.append("No version is live, so it answers with a page that says so (503) until the first promote.")
    result = _answer(
        call, params, hosts, state="active", proof=rows[0].proof if rows else "", certificate=certificate, set_at_registrar=needed
    )
    look = NextCall("domain_status", {"domain": hosts[0]}, "see it as the world does")
    return Outcome(result, said, (look,), tuple(warnings))


async def _delegation(call: Call, rows: list[Domain]) -> list[RecordView]:
    """Which name servers to name for the zones that are kept here."""
    found, dns = [], call.kit.dns
    for zone in sorted({row.zone for row in rows if row.zone}) if dns else ():
        assert dns is not None
        names = {
            value for each in await dns.records(zone) or () if (each.name, each.type) == (zone, "NS") for value in each.values
        }
        why = f"gives {zone} to the name servers of this installation"
        found += [RecordView(name=zone, type="NS", value=name.rstrip("."), why=why) for name in sorted(names)]
    return found


# list, delete


async def _list(call: Call, params: ListParams) -> Outcome:
    if params.project_name is not None:
        call.project(params.project_name)
    held = visible(call, call.kit.store.snapshot.domains.values())
    held = [each for each in held if params.project_name in (None, each.project)]
    rest = [each for each in held if params.after is None or each.host > params.after]
    page = [domain_view(each, call.kit.policy) for each in rest[: params.limit]]
    said = f"{len(held)} domain{'' if len(held) == 1 else 's'}."
    return Outcome(ListResult(domains=page, total=len(held), more=len(rest) > params.limit), said)


def _going(found: Domain, known: Iterable[Domain]) -> tuple[Domain, ...]:
    """It, and the names that send their visitors to it."""
    beside = [each for each in domains_of(known, found.place) if each.redirect_to == found.host]
    return (found, *beside)


def _draft_delete(gone: tuple[Domain, ...], plans: tuple[ZonePlan, ...]) -> Draft:
    changes = [f"stop serving {each.host}" for each in gone]
    changes += [f"remove {each.type} {each.name}" for plan in plans for each in plan.records]
    hosts = [each.host for each in gone]
    plan = {"domain": hosts[0], "projectName": gone[0].project, "environment": gone[0].environment, "hosts": hosts}
    return draft("domain_delete", plan, changes, {"changes": changes}, {"hosts": hosts})


async def _delete(call: Call, params: DeleteParams) -> Outcome:
    if not params.dry_run and (begun := (await call.began()).get("")):
        return await _gone(call, params, begun)
    snapshot, addresses = call.kit.store.snapshot, call.kit.policy.public_addresses
    found = mine(call, params.domain, snapshot.domains.values())
    gone = _going(found, snapshot.domains.values())
    drafted = _draft_delete(gone, plans_of(gone, addresses))
    if params.dry_run:
        apply = NextCall("domain_delete", {"domain": found.host, "planId": drafted.id}, "delete it")
        return drafted.shown(f"Would delete {found.host}: it leads nowhere any more.", apply)

    async def decide(registry: Registry) -> domain_delete.DeleteInput:
        known = await registry.domains.all()
        held = mine(call, params.domain, known)
        project, pair = await call.ready(registry, held.project), await registry.slots.pair(held.place)
        going, now = _going(held, known), domains_of(known, held.place)
        if pair is None or held.place != found.place:
            raise Conflict("Things changed meanwhile; nothing was done.", code="state_moved", hint="Call it again.")
        plans = plans_of(going, addresses)
        _draft_delete(going, plans).still_fits(params)
        left = [each for each in now if each not in going]
        policy = call.kit.policy
        return domain_delete.DeleteInput(
            place=held.place, domains=going, site=site_of(project, pair, policy, left),
            former=site_of(project, pair, policy, now), plans=plans,
        )  # fmt: skip

    operation: Operation = await call.open(domain_delete.SAGA, (found.place,), decide)
    return await _gone(call, params, operation.id)


async def _gone(call: Call, params: DeleteParams, operation_id: str) -> Outcome:
    if not params.wait:
        operation = await call.kit.store.consult(lambda registry: registry.journal.get(operation_id))
        assert operation is not None
        return accepted(operation)
    operation, steps = await call.ended(operation_id)
    result = DeleteResult(**(operation.result or {}), operation_id=operation.id, steps=step_list(steps))
    return Outcome(result, f"{', '.join(result.deleted)} leads nowhere any more.", (), operation.warnings)


TOOLS: tuple[Tool[Any], ...] = (
    Tool(
        "domain_setup", "Set up a domain",
        "Give an environment a domain: DNS, proxy, HTTPS. Without proof that it is yours it says what to set. Again is fine.",
        SetupParams, SetupResult, Role.MEMBER, Risk.CHANGES, _setup, long=True, agents_must_say=("environment",),
    ),
    Tool(
        "domain_list", "List domains", "The domains of the projects you may see, by name.",
        ListParams, ListResult, Role.VIEWER, Risk.READS, _list,
    ),
    STATUS,
    Tool(
        "domain_delete", "Delete a domain",
        "Stop serving a domain and remove its DNS records; names that send their visitors to it go with it.",
        DeleteParams, DeleteResult, Role.ADMIN, Risk.DESTROYS, _delete, long=True, acts_on="domain",
    ),
)  # fmt: skip
