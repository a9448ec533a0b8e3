"""What proves that a name is a team's: looked for in the world, nothing changed."""

from collections.abc import Collection
from dataclasses import dataclass

from codeb.contracts.kit import Kit
from codeb.model.domains import Domain, anothers, covered, proof_name, proof_value
from codeb.model.names import Place

LOOKUP_SECONDS = 5.0


@dataclass(frozen=True)
class Proof:
    """`kind` as in `Domain.proof`; empty: none was found, and `why` says what the resolvers said."""

    kind: str = ""
    why: str = ""


async def proof_of(kit: Kit, host: str, team: str, place: Place, known: Collection[Domain], registry_id: str) -> Proof:
    """The base domain's own host of the place, a name below one of the team's, the TXT record, or the address.

    That a name leads here is no proof where another team has it, or had it: then it led here for that team, and its record
    may just have been left behind.
    """
    if host == place.host(kit.policy.base_domain):
        return Proof("own")
    if covered(host, team, known):
        return Proof("parent")
    said = await kit.outside.lookup(proof_name(host), "TXT", LOOKUP_SECONDS)
    if proof_value(registry_id, team, host) in said.values:
        return Proof("txt")
    if not anothers(host, team, known) and await leads_here(kit, host):
        return Proof("address")
    return Proof(why=said.reason)


async def leads_here(kit: Kit, host: str) -> bool:
    """Whether the name resolves, as the world sees it, to our public addresses and to nothing else."""
    ours, found = set(kit.policy.public_addresses), set[str]()
    for kind in ("A", "AAAA"):
        found |= set((await kit.outside.lookup(host, kind, LOOKUP_SECONDS)).values)
    return bool(found) and found <= ours
