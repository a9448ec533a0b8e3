"""Domain setup: one name, or one and the name beside it that sends its visitors there, from nothing to HTTPS.

CLAIM -> zones -> records -> resolves -> site -> certificate -> RECORD

The claim is a row of the store, made in the transaction that opens: a second team meets the constraint before anything is
done outside. Whatever fails takes everything back, the claim too.
"""

from dataclasses import dataclass, replace
from typing import Any

from codeb.contracts.store import Registry
from codeb.errors import PublicError
from codeb.flows.names import ZonePlan, put_records, take_back, until_certified, until_served
from codeb.flows.site import put_back
from codeb.model.domains import Domain, DomainState
from codeb.model.journal import Operation
from codeb.model.names import Place
from codeb.model.specs import Site
from codeb.saga.step import Run, Saga, Step


@dataclass(frozen=True)
class SetupInput:
    place: Place
    domains: tuple[Domain, ...]
    """as they are claimed; the one that was asked for first"""
    before: tuple[Domain, ...]
    """rows of these names that were on record, released"""
    site: Site
    """with its new names"""
    former: Site | None
    """as it was; None: there was none"""
    plans: tuple[ZonePlan, ...]

    @property
    def hosts(self) -> tuple[str, ...]:
        return tuple(domain.host for domain in self.domains)


async def _claim(value: SetupInput, operation: Operation, registry: Registry) -> None:
    await registry.domains.claim(*value.domains)


async def _unclaim(run: Run[SetupInput], registry: Registry, fault: PublicError) -> None:
    await registry.domains.remove(*run.input.hosts)
    await registry.domains.put(*run.input.before)


async def _zones(run: Run[SetupInput]) -> dict[str, Any]:
    made = [plan.zone for plan in run.input.plans if plan.new]
    for zone in made:
        assert run.kit.dns is not None
        await run.kit.dns.make_zone(zone)
    return {"made": made}


async def _unzone(run: Run[SetupInput]) -> None:
    """Only one that we made and that holds nothing of anybody."""
    for plan in run.input.plans:
        if plan.new and run.kit.dns is not None:
            await run.kit.dns.drop_zone(plan.zone)


async def _records(run: Run[SetupInput]) -> None:
    for plan in run.input.plans:
        await put_records(run.kit, plan)


async def _unrecord(run: Run[SetupInput]) -> None:
    for plan in run.input.plans:
        await take_back(run.kit, plan)


async def _resolves(run: Run[SetupInput]) -> None:
    for plan in run.input.plans:
        await until_served(run.kit, plan)


async def _site(run: Run[SetupInput]) -> dict[str, Any]:
    return {"proxyReloaded": await run.kit.proxy.put_site(run.input.site)}


async def _unsite(run: Run[SetupInput]) -> None:
    await put_back(run.kit, run.input.place, run.input.former)


async def _certificate(run: Run[SetupInput]) -> dict[str, Any]:
    """Our own authority certifies at once. A public one does once the name leads here from everywhere: that is not waited for."""
    tls = run.kit.policy.tls
    if tls == "internal":
        for host in run.input.hosts:
            await until_certified(run.kit, host)
    return {"certificate": {"internal": "shown", "auto": "awaited", "off": "off"}[tls]}


async def _record(run: Run[SetupInput], registry: Registry) -> None:
    await registry.domains.put(*(replace(domain, state=DomainState.ACTIVE) for domain in run.input.domains))


def _result(run: Run[SetupInput]) -> dict[str, Any]:
    return {"certificate": run.outputs["certificate"]["certificate"]}


SAGA: Saga[SetupInput] = Saga(
    name="domain_setup",
    version=1,
    input=SetupInput,
    steps=(
        Step("zones", "our DNS server has the zone", do=_zones, undo=_unzone),
        Step("records", "its names lead to this installation", do=_records, undo=_unrecord),
        Step("resolves", "ask the DNS server itself for them", do=_resolves),
        # Apart: a dead proxy keeps no record and no zone where it should not be.
        Step("site", "the proxy serves the names", do=_site, undo=_unsite, apart=True),
        Step("certificate", "see the certificate in a handshake with the proxy", do=_certificate),
        Step("record", "the names are the project's", record=_record, commits=True),
    ),
    deadline=lambda policy: policy.switch_seconds,
    result=_result,
    summary=lambda value: f"set up {value.hosts[0]} for {value.place.project} {value.place.environment}",
    opened=_claim,
    failed=_unclaim,
)
