"""What the procedures about domains share: records put and taken away, and what a new name would need in DNS."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from codeb.contracts.kit import Kit
from codeb.errors import Conflict, StepFailed
from codeb.model.domains import Domain, RecordSet, addresses_of, below, said_at, wanted_at
from codeb.model.specs import Address

SERVED_SECONDS = 10.0
CERTIFICATE_SECONDS = 20.0
HANDSHAKE_SECONDS = 5.0


@dataclass(frozen=True)
class ZonePlan:
    """What of one zone on our DNS server belongs to a domain, or will."""

    zone: str
    records: tuple[RecordSet, ...]
    new: bool = False
    """no such zone was there when this was decided"""


def plans_of(domains: Sequence[Domain], addresses: Sequence[str]) -> tuple[ZonePlan, ...]:
    """The records that CodeB keeps for these domains, by zone."""
    zones: dict[str, list[RecordSet]] = {}
    for domain in domains:
        if domain.zone:
            zones.setdefault(domain.zone, []).extend(addresses_of(domain.host, addresses))
    return tuple(ZonePlan(zone, tuple(records)) for zone, records in sorted(zones.items()))


async def planned(kit: Kit, domains: Sequence[Domain]) -> tuple[list[Domain], tuple[ZonePlan, ...]]:
    """Where the records of these new names would go: each domain with the zone in which CodeB will keep them.

    Names that no zone here could hold, and those whose record is there and right already, are somebody else's to keep.
    Raises `Conflict` (`dns_record_exists`) when another record stands there: it is never touched. `Unavailable`.
    """
    addresses, placed = kit.policy.public_addresses, list[Domain]()
    if kit.dns is None or not addresses:
        return list(domains), ()
    new: set[str] = set()
    for domain in domains:
        zone = await kit.dns.zone_of(domain.host)
        if zone is None and domain.proof != "address" and kit.dns.makes_zones:
            zone = min((each.host for each in domains if below(domain.host, each.host)), key=len)
            new.add(zone)
        there = said_at(domain.host, await kit.dns.records(zone) or ()) if zone else {}
        if there and there != wanted_at(domain.host, addresses):
            raise Conflict(
                f"Another record of {domain.host} stands in our DNS; it is not touched, and nothing was done.",
                code="dns_record_exists", hint="Remove it there if it is not needed, then call again.",
                details={"domain": domain.host, "zone": zone, "records": {kind: list(said) for kind, said in there.items()}},
            )  # fmt: skip
        placed.append(domain if there or zone is None else replace(domain, zone=zone))
    plans = plans_of(placed, addresses)
    return placed, tuple(replace(plan, new=plan.zone in new) for plan in plans)


async def put_records(kit: Kit, plan: ZonePlan) -> None:
    """Have them there. Raises `StepFailed` (`dns_record_exists`) for what somebody put there meanwhile."""
    if kit.dns is None:
        raise StepFailed("DNS is not managed here any more.", code="dns_unavailable", hint="Set CODEB_PDNS_URL again.")
    found = await kit.dns.records(plan.zone) or ()
    for name in sorted({each.name for each in plan.records}):
        there, wanted = said_at(name, found), said_at(name, plan.records)
        if there.items() - wanted.items():
            raise StepFailed(
                f"Another record of {name} stands in our DNS; it is not touched.", code="dns_record_exists",
                hint="Remove it there if it is not needed, then call again.", details={"domain": name, "zone": plan.zone},
            )  # fmt: skip
    await kit.dns.change(plan.zone, plan.records, ())


async def restore_records(kit: Kit, plan: ZonePlan) -> None:
    """Have the addresses of our names as they should be, whatever was made of them; the zone too when it is gone."""
    if kit.dns is None:
        return
    if await kit.dns.records(plan.zone) is None:
        await kit.dns.make_zone(plan.zone)
    kept = {(each.name, each.type) for each in plan.records}
    names = {each.name for each in plan.records}
    drop = [
        each for each in await kit.dns.records(plan.zone) or ()
        if each.name in names and each.type in ("A", "AAAA") and (each.name, each.type) not in kept
    ]  # fmt: skip
    await kit.dns.change(plan.zone, plan.records, drop)


async def take_back(kit: Kit, plan: ZonePlan) -> None:
    """Remove what `put_records` put, where it still says that; what else stands there is not ours. Safe to repeat."""
    if kit.dns is None:
        return
    found = set(await kit.dns.records(plan.zone) or ())
    await kit.dns.change(plan.zone, (), [each for each in plan.records if each in found])


async def drop_records(kit: Kit, plan: ZonePlan) -> None:
    """Remove the addresses of our names, whatever they say by now. Safe to repeat, and where the zone is gone."""
    if kit.dns is None:
        return
    names = {each.name for each in plan.records}
    found = await kit.dns.records(plan.zone) or ()
    await kit.dns.change(plan.zone, (), [each for each in found if each.name in names and each.type in ("A", "AAAA")])


async def until_served(kit: Kit, plan: ZonePlan) -> None:
    """Ask the server itself, by real queries, until it answers with them. Raises `StepFailed` (`not_served`)."""
    assert kit.dns is not None
    end = kit.world.monotonic() + SERVED_SECONDS
    for records in plan.records:
        while (served := await kit.dns.served(records.name, records.type)) != tuple(sorted(records.values)):
            if kit.world.monotonic() >= end:
                raise StepFailed(
                    f"The DNS server does not answer with the new {records.type} record of {records.name}.", code="not_served",
                    hint="Look at the log of PowerDNS.", details={"wanted": list(records.values), "served": list(served)},
                )  # fmt: skip
            await kit.world.sleep(0.2)


def https_entry(kit: Kit, host: str) -> Address:
    """Where a browser's request for `host` enters the proxy, as this machine reaches it."""
    return replace(kit.proxy.route(host), port=kit.policy.https_port, tls=True)


async def until_certified(kit: Kit, host: str) -> None:
    """Shake hands with the proxy until it shows a certificate for `host`. Raises `StepFailed` (`no_certificate`)."""
    end, reason = kit.world.monotonic() + CERTIFICATE_SECONDS, ""
    while True:
        shown = await kit.outside.certificate(https_entry(kit, host), HANDSHAKE_SECONDS)
        if shown.covers:
            return
        reason = shown.reason or "it is for another name, or over"
        if kit.world.monotonic() >= end:
            raise StepFailed(
                f"The proxy shows no certificate for {host}: {reason}.", code="no_certificate",
                hint="Look at health_check for the proxy, and at its log.", details={"domain": host, "reason": reason},
            )  # fmt: skip
        await kit.world.sleep(0.25)
