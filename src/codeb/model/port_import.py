"""What of an old registry of ports can be leased as it says, what cannot and why, and which pair would be free instead."""

from collections.abc import Mapping, Set
from dataclasses import dataclass
from enum import StrEnum

from codeb.model.names import Place
from codeb.model.old_ports import Claim, OldRegistry
from codeb.model.ports import Exhausted, Ranges, lowest_free_pair


class Verdict(StrEnum):
    CLEAN = "clean"
    """can be leased as the file says"""
    HELD = "held"
    """is leased so already"""
    OTHER = "other"
    """the environment has another pair in the registry, which holds"""
    CONFLICT = "conflict"
    UNAVAILABLE = "unavailable"
    """the project is not the caller's to set up"""


@dataclass(frozen=True)
class Facts:
    """What is true now, on this server."""

    ranges: Ranges
    pairs: Mapping[Place, tuple[int, int]]
    leased: Mapping[int, Place]
    published: Mapping[int, Place | None]
    """by a container: of this place, or of nobody CodeB knows"""
    listening: Set[int]
    closed: Set[Place] = frozenset()
    """places that are not the caller's to set up"""


@dataclass(frozen=True)
class Judged:
    claim: Claim
    verdict: Verdict
    why: tuple[str, ...] = ()
    proposed: tuple[int, int] | None = None
    """a pair that is free by every source and that nothing in the file claims; for a conflict"""


def judge(old: OldRegistry, facts: Facts) -> list[Judged]:
    """Every claim, in the order of the file.

    A port that two claim is nobody's, but for two cases: the one whose container publishes it has it, and a whole
    pair holds against a single port. One that is leased to somebody else, or that a container of somebody else
    publishes, is a collision too.
    """
    taken = set(facts.leased) | set(facts.published) | set(facts.listening) | old.reserved
    taken |= {port for each in old.claims for port in each.ports}
    judged, given = [], dict(facts.pairs)
    for claim in old.claims:
        one = _one(claim, old, facts, given)
        if one.verdict is Verdict.CONFLICT and claim.place not in given:
            try:
                proposed = lowest_free_pair(facts.ranges.of(claim.place.environment), taken)
            except Exhausted as fault:
                one = Judged(claim, Verdict.CONFLICT, (*one.why, str(fault)))
            else:
                taken |= set(proposed)
                given[claim.place] = proposed
                one = Judged(claim, Verdict.CONFLICT, one.why, proposed)
        elif one.verdict is Verdict.CLEAN and claim.blue is not None and claim.green is not None:
            given[claim.place] = (claim.blue, claim.green)
        judged.append(one)
    return judged


def _one(claim: Claim, old: OldRegistry, facts: Facts, given: Mapping[Place, tuple[int, int]]) -> Judged:
    if claim.place in facts.closed:
        return Judged(claim, Verdict.UNAVAILABLE, (f"the name {claim.place.project} is not available to this key",))
    has = given.get(claim.place)
    if has is not None:
        if set(claim.ports) <= set(has):
            return Judged(claim, Verdict.HELD)
        return Judged(claim, Verdict.OTHER, (f"{claim.place.key} has {has[0]} and {has[1]}",))
    why = tuple(dict.fromkeys([*_shape(claim, facts.ranges), *_rivals(claim, old, facts), *_others(claim, facts)]))
    return Judged(claim, Verdict.CONFLICT if why else Verdict.CLEAN, why)


def _shape(claim: Claim, ranges: Ranges) -> list[str]:
    span = ranges.of(claim.place.environment)
    faults = [f"{port} lies outside {span}, the range of {claim.place.environment}" for port in claim.ports if port not in span]
    if not claim.whole:
        said = f"blue {claim.blue or 'missing'}, green {claim.green or 'missing'}"
        faults.append(f"{said}: blue is to be even, and green the port above it")
    return faults


def _rivals(claim: Claim, old: OldRegistry, facts: Facts) -> list[str]:
    if any(facts.published.get(port) == claim.place for port in claim.ports):
        return []
    return [
        f"{port} is claimed for {other.place.key} too ({other.where})"
        for other in old.claims
        if other.place != claim.place and not (claim.whole and not other.whole)
        for port in other.ports
        if port in claim.ports
    ]


def _others(claim: Claim, facts: Facts) -> list[str]:
    said = []
    for port in claim.ports:
        holder, shown = facts.leased.get(port), facts.published.get(port)
        if holder is not None and holder != claim.place:
            said.append(f"{port} is leased to another environment")
        elif shown is not None and shown != claim.place:
            said.append(f"{port} is published by a container of another environment")
    return said
