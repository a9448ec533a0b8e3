"""Domains: who may have which name, what proves that it is theirs, and which DNS records belong to it.

A name is owned by one team, with everything below it (S27): a second team gets neither a name that is owned, nor one
below it, nor one above it. What is at or below the base domain is the installation's: a place has its own host there.
"""

import hashlib
import ipaddress
import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from codeb.model.names import Place

PROOF_LABEL = "_codeb"
PROOF_PREFIX = "codeb-verify="
TTL = 60
"""of what CodeB serves, in seconds: a name that moves is found again soon"""


class DomainState(StrEnum):
    CLAIMED = "claimed"
    """its set-up is under way"""
    ACTIVE = "active"
    RELEASED = "released"
    """nobody's any more; kept, because a record that somebody left behind is no proof for the next one"""


@dataclass(frozen=True)
class Domain:
    """One name that a team owns, and the place it leads to."""

    host: str
    team: str
    project: str
    environment: str
    state: DomainState
    created_at: datetime
    created_by: str = ""
    redirect_to: str = ""
    """the name its visitors are sent to; empty: it is served itself"""
    zone: str = ""
    """the zone on our DNS server in which CodeB keeps its addresses; empty: they are kept by somebody else"""
    proof: str = ""
    """what proved it: `txt`, `address`, `parent`, or `own` for a place's own host below the base domain"""

    @property
    def place(self) -> Place:
        return Place(self.project, self.environment)

    @property
    def held(self) -> bool:
        return self.state is not DomainState.RELEASED


@dataclass(frozen=True)
class Maintenance:
    """A page stands in front of a place's site."""

    place: Place
    since: datetime
    by: str = ""


# who may have it


def below(name: str, above: str) -> bool:
    """Whether `name` is `above` or below it."""
    return name == above or name.endswith("." + above)


def related(one: str, other: str) -> bool:
    return below(one, other) or below(other, one)


def in_the_way(host: str, team: str, known: Iterable[Domain]) -> Domain | None:
    """What of another team keeps this name from `team`."""
    return next((each for each in known if each.held and each.team != team and related(host, each.host)), None)


def reserved(host: str, place: Place, base: str) -> bool:
    """Whether the name is the installation's: related to the base domain, and not this place's own host there."""
    return related(host, base) and host != place.host(base)


def anothers(host: str, team: str, known: Iterable[Domain]) -> bool:
    """Whether the name, or one above or below it, is another team's, or was."""
    return any(each.team != team and related(host, each.host) for each in known)


def covered(host: str, team: str, known: Iterable[Domain]) -> bool:
    """Whether the team has proved this name, or one above it, before."""
    return any(each.state is DomainState.ACTIVE and each.team == team and below(host, each.host) for each in known)


def domains_of(known: Iterable[Domain], place: Place) -> list[Domain]:
    """Those of a place that are in force, by name."""
    return sorted((each for each in known if each.place == place and each.state is DomainState.ACTIVE), key=lambda one: one.host)


def counterpart(host: str) -> str:
    """The same name with `www.` in front, or without it."""
    return host.removeprefix("www.") if host.startswith("www.") else f"www.{host}"


def proof_name(host: str) -> str:
    return f"{PROOF_LABEL}.{host}"


def proof_value(registry_id: str, team: str, host: str) -> str:
    """What the owner of `host` puts into DNS to say that it is this team's. No secret: it helps nobody but that team."""
    digest = hashlib.sha256(f"codeb domain\0{registry_id}\0{team}\0{host}".encode()).hexdigest()
    return PROOF_PREFIX + digest[:40]


NOT_PUBLIC = tuple(ipaddress.ip_network(each) for each in ("64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "2001::/32"))
"""IPv6 that carries an IPv4 address inside, which may be any"""


def may_be_visited(address: str, ours: Collection[str]) -> bool:
    """Whether a name may make us connect there (S14): a public address, or one that is said to be our own."""
    if address in ours:
        return True
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(found, ipaddress.IPv6Address) and (
        found.scope_id or found.ipv4_mapped or any(found in each for each in NOT_PUBLIC)
    ):
        return False
    return found.is_global and not found.is_multicast and not found.is_reserved


# records


RECORD_TYPES = ("A", "AAAA", "CNAME", "TXT", "CAA", "MX")
CAA = re.compile(r'([0-9]{1,3}) (issue|issuewild|iodef) "([!#-\[\]-~ ]{0,255})"')
MX = re.compile(r"([0-9]{1,5}) ([a-z0-9.-]{1,253})")
RECORD_NAME = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9])?")
TEXT = re.compile(r"[!#-\[\]-~ ]{1,255}")


@dataclass(frozen=True)
class RecordSet:
    """All records of one type at one name. Names have no final dot; the value of a TXT has no quotes."""

    name: str
    type: str
    values: tuple[str, ...]
    ttl: int = TTL


def checked(records: RecordSet) -> RecordSet:
    """The same, its values in the form in which they compare. Raises `ValueError` for what must not be put into DNS (S28)."""
    if not records.values:
        raise ValueError("a record has a value")
    if not _is_name(records.name):
        raise ValueError(f"{records.name[:100]!r} is no name of a record")
    values = tuple(sorted({_value(records.type, value) for value in records.values}))
    if records.type == "CNAME" and len(values) != 1:
        raise ValueError("a CNAME has one value")
    return RecordSet(records.name, records.type, values, records.ttl)


def _value(kind: str, text: str) -> str:
    """Each type by its own grammar."""
    if kind == "A":
        return str(ipaddress.IPv4Address(text))
    if kind == "AAAA" and "%" not in text:
        return str(ipaddress.IPv6Address(text))
    if kind == "CNAME" and _is_name(text):
        return text
    if kind == "TXT" and TEXT.fullmatch(text):
        return text
    if kind == "CAA" and (found := CAA.fullmatch(text)) and int(found[1]) <= 255:
        return text
    if kind == "MX" and (found := MX.fullmatch(text)) and int(found[1]) <= 65535 and _is_name(found[2]):
        return text
    if kind not in RECORD_TYPES:
        raise ValueError(f"records of type {kind[:20]!r} are not made; only {', '.join(RECORD_TYPES)}")
    raise ValueError(f"{text[:100]!r} is no value of a {kind} record")


def _is_name(text: str) -> bool:
    labels = text.split(".")
    return len(text) <= 253 and len(labels) >= 2 and all(RECORD_NAME.fullmatch(label) for label in labels)


def addresses_of(host: str, addresses: Sequence[str]) -> tuple[RecordSet, ...]:
    """The records that lead a name to these addresses: an A set, an AAAA set, or both."""
    parsed = [ipaddress.ip_address(each) for each in addresses]
    found = []
    for kind, version in (("A", 4), ("AAAA", 6)):
        if values := tuple(str(each) for each in parsed if each.version == version):
            found.append(checked(RecordSet(host, kind, values)))
    return tuple(found)


def said_at(host: str, found: Iterable[RecordSet]) -> dict[str, tuple[str, ...]]:
    """What of A, AAAA and CNAME stands at a name, by type."""
    kinds = ("A", "AAAA", "CNAME")
    return {each.type: tuple(sorted(each.values)) for each in found if each.name == host and each.type in kinds}


def wanted_at(host: str, addresses: Sequence[str]) -> dict[str, tuple[str, ...]]:
    return said_at(host, addresses_of(host, addresses))


def zones_above(host: str) -> list[str]:
    """The names that a zone holding `host` may have, the longest first."""
    labels = host.split(".")
    return [".".join(labels[at:]) for at in range(len(labels) - 1)]
