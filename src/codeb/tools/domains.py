"""Domains: set up, list, delete."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from pydantic import Field

from codeb.contracts.store import Registry
from codeb.errors import Conflict
from codeb.flows import domain_delete, domain_setup
from codeb.flows.names import ZonePlan, plans_of
from codeb.flows.ownership import Proof, leads_here
from codeb.flows.site import site_of
from codeb.model.access import Role
from codeb.model.domains import Domain, counterpart, domains_of
from codeb.model.journal import Operation
from codeb.model.names import Place
from codeb.tools import fields
from codeb.tools.call import Call
from codeb.tools.domain_plans import SetupParams, Wanted, decided, draft_setup, outlook
from codeb.tools.domain_status import STATUS
from codeb.tools.domain_views import (
    DomainView,
    RecordView,
    address_records,
    domain_view,
    mine,
    plain,
    proof_records,
    sound_name,
    visible,
)  # fmt: skip
from codeb.tools.drafts import Draft, draft
from codeb.tools.refusals import step_list
from codeb.tools.switches import accepted
from codeb.tools.tool import NextCall, Outcome, Risk, Tool


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


async def _setup(call: Call, params: SetupParams) -> Outcome:
    if not params.dry_run and (begun := (await call.began()).get("")):
        return await _came(call, params, begun)
    call.project(params.project_name)
    call.pair(Place(params.project_name, params.environment))
    seen = await outlook(call, params)
    if seen.there:
        return await _there_already(call, params, seen.wanted)
    if not seen.proved:
        return await pending(call, params, seen.proof)
    drafted = draft_setup(seen)
    if params.dry_run:
        said = params.model_dump(by_alias=True, mode="json", include={"project_name", "environment", "domain", "redirect"})
        apply = NextCall("domain_setup", said | {"planId": drafted.id}, "do it")
        return drafted.shown(f"Would set up {seen.wanted.hosts[0]}.", apply)
    drafted.still_fits(params)

    async def decide(registry: Registry) -> domain_setup.SetupInput:
        return await decided(call, registry, params, seen, await call.ready(registry, params.project_name))

    operation = await call.open(domain_setup.SAGA, (seen.wanted.place,), decide)
    return await _came(call, params, operation.id)


def _hosts(call: Call, params: SetupParams) -> tuple[str, ...]:
    host = sound_name(call, params.domain)
    return (host, counterpart(host)) if params.redirect else (host,)


def _answer(call: Call, params: SetupParams, wanted: tuple[str, ...], **more: Any) -> SetupResult:
    return SetupResult(
        domain=wanted[0], project_name=params.project_name, environment=params.environment, url=call.kit.policy.url(wanted[0]),
        redirects_from=list(wanted[1:]), **more,
    )  # fmt: skip


async def pending(call: Call, params: SetupParams, proof: Proof) -> Outcome:
    """Nothing was done, and nothing is held for anybody: it says what proves the name."""
    kit, hosts = call.kit, _hosts(call, params)
    needed = proof_records(kit.store.snapshot.registry_id, call.actor.team, min(hosts, key=len))
    needed += address_records(hosts, kit.policy.public_addresses)
    said = f"{hosts[0]} is not proved to be yours yet; nothing was done. Set the TXT record, then call again."
    again = params.model_dump(by_alias=True, mode="json", include={"project_name", "environment", "domain", "redirect"})
    next_ = NextCall("domain_setup", again, "once the record is set")
    warnings = (f"The resolvers did not answer: {proof.why}",) if proof.why else ()
    if params.dry_run:
        plan = {"domain": hosts[0], "state": "pending", "setAtRegistrar": plain(needed)}
        return draft("domain_setup", plan, [], {"pending": True}).shown(said, None, *warnings)
    result = _answer(call, params, hosts, state="pending", proof="", certificate="none", set_at_registrar=needed)
    return Outcome(result, said, (next_,), warnings)


async def _there_already(call: Call, params: SetupParams, wanted: Wanted) -> Outcome:
    if params.dry_run:
        plan = {"domain": wanted.hosts[0], "state": "active"}
        return draft("domain_setup", plan, [], {"there": True}).shown(f"{wanted.hosts[0]} is set up already.")
    return await active(call, params, "unchanged", f"{wanted.hosts[0]} was set up already; nothing was done.")


async def _came(call: Call, params: SetupParams, operation_id: str) -> Outcome:
    if not params.wait:
        operation = await call.kit.store.consult(lambda registry: registry.journal.get(operation_id))
        assert operation is not None
        return accepted(operation)
    operation, steps = await call.ended(operation_id)
    host = sound_name(call, params.domain)
    certificate = str((operation.result or {}).get("certificate", ""))
    said = f"{host} leads to {params.project_name} {params.environment}: {call.kit.policy.url(host)}."
    outcome = await active(call, params, certificate, said)
    assert isinstance(outcome.result, SetupResult)
    result = outcome.result.model_copy(update={"operation_id": operation.id, "steps": step_list(steps)})
    return replace(outcome, result=result, warnings=(*operation.warnings, *outcome.warnings))


async def active(call: Call, params: SetupParams, certificate: str, said: str) -> Outcome:
    """With what is left to do elsewhere, where the world does not find it here yet."""
    kit, warnings, hosts = call.kit, list[str](), _hosts(call, params)
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
