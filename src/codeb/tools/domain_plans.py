"""What setting up a domain comes to: which names, what proves them, and where their records go."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field, replace

from pydantic import Field

from codeb.contracts.store import Registry
from codeb.errors import Conflict
from codeb.flows import domain_setup
from codeb.flows.mend import has_site
from codeb.flows.names import ZonePlan, planned
from codeb.flows.ownership import Proof, proof_of
from codeb.flows.site import site_of
from codeb.model.domains import Domain, DomainState, counterpart, domains_of, in_the_way, related, reserved
from codeb.model.names import Place
from codeb.model.specs import Project
from codeb.tools import fields
from codeb.tools.call import Call
from codeb.tools.domain_views import not_for_sale, sound_name, taken
from codeb.tools.drafts import Draft, draft


class SetupParams(fields.Long, fields.OnEnvironment):
    domain: fields.DomainName
    redirect: bool = Field(
        False, description="also take the name with www. in front (or without it), and send its visitors to this one"
    )


@dataclass(frozen=True)
class Wanted:
    """What a set-up is about: the names, the one that serves first; and those of them that are not the place's yet."""

    place: Place
    hosts: tuple[str, ...]
    fresh: tuple[Domain, ...]

    @property
    def proved(self) -> str:
        """The name whose proof covers all of them."""
        return min(self.hosts, key=len)


@dataclass(frozen=True)
class Outlook:
    """What was seen of it outside, before any transaction. Without a proof nothing may be set up."""

    wanted: Wanted
    proof: Proof = field(default_factory=Proof)
    plans: tuple[ZonePlan, ...] = ()
    has_site: bool = False
    """whether the proxy has a site of the place"""

    @property
    def there(self) -> bool:
        """Whether all of it is set up already."""
        return not self.wanted.fresh

    @property
    def proved(self) -> bool:
        return bool(self.proof.kind)


def wanted(call: Call, params: SetupParams, known: Iterable[Domain]) -> Wanted:
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
            at = place.project, place.environment
            fresh.append(Domain(name, call.actor.team, *at, DomainState.CLAIMED, now, by, redirect_to=to))
        elif (there[name].place, there[name].redirect_to) != (place, to):
            raise _elsewhere(call, there[name])
    return Wanted(place, hosts, tuple(fresh))


def _elsewhere(call: Call, found: Domain) -> Conflict:
    seen = call.actor.sees_project(found.project, found.team)
    where = f"leads to {found.redirect_to or found.place.key}" if seen else "leads elsewhere in your team"
    return Conflict(
        f"The domain {found.host} {where} already; nothing was done.", code="domain_elsewhere",
        hint=f"To have it otherwise, call domain_delete for {found.host} first.", details={"domain": found.host},
    )  # fmt: skip


async def outlook(call: Call, params: SetupParams) -> Outlook:
    """Look for a proof of what is not set up yet, and for where its records would go.

    Raises `Conflict`: `domain_reserved`, `domain_elsewhere`, `domain_taken`, `dns_record_exists`; `Unavailable`.
    """
    snapshot = call.kit.store.snapshot
    known = snapshot.domains.values()
    found = wanted(call, params, known)
    if not found.fresh:
        return Outlook(found)
    proof = await proof_of(call.kit, found.proved, call.actor.team, found.place, known, snapshot.registry_id)
    if not proof.kind:
        return Outlook(found, proof)
    _refuse_taken(call, found, known)
    fresh, plans = await planned(call.kit, [replace(each, proof=proof.kind) for each in found.fresh])
    return Outlook(replace(found, fresh=tuple(fresh)), proof, plans, found.place in await call.kit.proxy.sites())


def _refuse_taken(call: Call, found: Wanted, known: Collection[Domain]) -> None:
    for host in found.hosts:
        if in_the_way(host, call.actor.team, known):
            raise taken(host)


async def decided(
    call: Call, registry: Registry, params: SetupParams, seen: Outlook, project: Project
) -> domain_setup.SetupInput:
    """The same once more, as this transaction sees it: it excludes every other writer."""
    known = await registry.domains.all()
    found = wanted(call, params, known)
    pair = await registry.slots.pair(found.place)
    _refuse_taken(call, found, known)
    fresh = seen.wanted.fresh
    if pair is None or [each.host for each in found.fresh] != [each.host for each in fresh]:
        raise Conflict("Things changed meanwhile; nothing was done.", code="state_moved", hint="Call it again.")
    names, now = {each.host for each in fresh}, domains_of(known, found.place)
    had = seen.has_site or has_site(pair) or bool(now)
    return domain_setup.SetupInput(
        place=found.place, domains=fresh, before=tuple(each for each in known if each.host in names),
        site=site_of(project, pair, call.kit.policy, (*now, *fresh)),
        former=site_of(project, pair, call.kit.policy, now) if had else None, plans=seen.plans,
    )  # fmt: skip


def draft_setup(seen: Outlook) -> Draft:
    found, plans = seen.wanted, seen.plans
    changes = [f"make the zone {plan.zone}" for plan in plans if plan.new]
    changes += [f"add {each.type} {each.name} -> {', '.join(each.values)}" for plan in plans for each in plan.records]
    changes += [
        f"send visitors of {each.host} to {each.redirect_to}" if each.redirect_to else f"serve {each.host}"
        for each in found.fresh
    ]
    plan = {
        "domain": found.hosts[0], "projectName": found.place.project, "environment": found.place.environment,
        "hosts": list(found.hosts), "state": "active", "proof": seen.proof.kind,
    }  # fmt: skip
    return draft("domain_setup", plan, changes, {"changes": changes}, {"hosts": list(found.hosts)})
