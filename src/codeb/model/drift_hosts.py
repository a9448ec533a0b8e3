"""Where public names differ from the registry: records on our DNS server, and pages in front of sites."""

from collections.abc import Collection, Mapping, Sequence

from codeb.model.domains import Domain, RecordSet, said_at, wanted_at
from codeb.model.drift import Ground, Mismatch, Remedy
from codeb.model.events import Severity
from codeb.model.names import Place


def kept_names(ground: Ground) -> list[Domain]:
    """The domains of places at rest whose addresses CodeB keeps."""
    return [each for place in sorted(ground.pairs) for each in ground.domains.get(place, ()) if each.zone]


def of_records(ground: Ground, zones: Mapping[str, Sequence[RecordSet] | None], addresses: Sequence[str]) -> list[Mismatch]:
    """Lost and changed addresses of our names. Other records of a zone are nobody's business here."""
    found = []
    for domain in kept_names(ground):
        if domain.zone not in zones:
            continue
        there, wanted = zones[domain.zone], wanted_at(domain.host, addresses)
        said = said_at(domain.host, there or ())
        if there is not None and said == wanted:
            continue
        kind, text, repair, policy = _told(domain, there is None, said)
        found.append(Mismatch(kind, domain.host, text, repair, policy, domain.place, severity=Severity.ALARM))
    return found


def _told(domain: Domain, gone: bool, said: Mapping[str, Sequence[str]]) -> tuple[str, str, str, Remedy]:
    if gone:
        return "dns_zone_lost", f"The zone {domain.zone} of {domain.host} is gone", "it is made again", Remedy.MENDED
    if "CNAME" in said:
        text = f"{domain.host} has a CNAME record to {', '.join(said['CNAME'])} in place of its address"
        return "dns_record_foreign", text, "remove the CNAME by hand, then the address comes back", Remedy.REPORTED
    if not said:
        return "dns_record_lost", f"The DNS record of {domain.host} is gone", "it is put back", Remedy.MENDED
    told = ", ".join(value for values in said.values() for value in values)
    return "dns_record_changed", f"The DNS record of {domain.host} says {told}", "it is put right", Remedy.MENDED


def of_curtains(ground: Ground, drawn: Collection[Place]) -> list[Mismatch]:
    """The maintenance page is shown where the registry says so, and nowhere else."""
    found = []
    for place in sorted(ground.pairs):
        if (place in drawn) is (place in ground.maintenances):
            continue
        shown = "is shown although it is not in maintenance" if place in drawn else "is not shown although it is in maintenance"
        text, repair = f"{place.key}: the maintenance page {shown}", "it is put right"
        found.append(Mismatch("maintenance_wrong", place.key, text, repair, Remedy.MENDED, place, severity=Severity.ALARM))
    return found
