"""Domains as answers show them, and the refusals about them."""

from collections.abc import Iterable, Sequence
from typing import Any

from codeb.contracts.kit import Policy
from codeb.errors import Conflict, InvalidParams, NotFound
from codeb.model import grammar
from codeb.model.domains import Domain, DomainState, addresses_of, proof_name, proof_value
from codeb.model.names import did_you_mean
from codeb.tools import fields
from codeb.tools.call import Call


class DomainView(fields.Result):
    domain: str
    project_name: str
    environment: str
    state: str
    url: str
    redirect_to: str | None
    dns: str
    proof: str
    created_at: str


class RecordView(fields.Result):
    """What the owner of a name sets where its DNS is kept."""

    name: str
    type: str
    value: str
    why: str


def domain_view(domain: Domain, policy: Policy) -> DomainView:
    return DomainView(
        domain=domain.host, project_name=domain.project, environment=domain.environment, state=domain.state.value,
        url=policy.url(domain.host), redirect_to=domain.redirect_to or None,
        dns="managed" if domain.zone else "elsewhere", proof=domain.proof, created_at=domain.created_at.isoformat(),
    )  # fmt: skip


def sound_name(call: Call, text: str) -> str:
    """A name below `.localhost` is one only where that is the base domain. Raises `InvalidParams`."""
    try:
        return grammar.domain(text, call.kit.policy.base_domain)
    except ValueError as fault:
        problem = {"field": "domain", "problem": str(fault)}
        raise InvalidParams(f"domain: {fault}; nothing was done.", details={"fields": [problem]}) from fault


def visible(call: Call, domains: Iterable[Domain]) -> list[Domain]:
    """Those in force that this caller may see, by name."""
    projects = call.projects()
    return sorted(
        (
            each for each in domains
            if each.state is DomainState.ACTIVE and each.project in projects and call.actor.may_touch(each.environment)
        ),
        key=lambda each: each.host,
    )  # fmt: skip


def mine(call: Call, host: str, domains: Iterable[Domain]) -> Domain:
    """Raises `NotFound` (`domain_not_found`), the same for one that is not there and one that is another team's."""
    known = {each.host: each for each in visible(call, domains)}
    if host in known:
        return known[host]
    raise NotFound(
        f"There is no domain {host}.", code="domain_not_found",
        hint=did_you_mean(host, known) or "See domain_list, or set it up with domain_setup.",
    )  # fmt: skip


def taken(host: str) -> Conflict:
    """To somebody who proved the name. Who has it is not said."""
    return Conflict(
        f"The domain {host}, or one above or below it, is in use here by somebody else; nothing was done.",
        code="domain_taken", hint="A name and everything below it belong to one team. Ask whoever runs this installation.",
        details={"domain": host},
    )  # fmt: skip


def not_for_sale(host: str, own: str) -> Conflict:
    return Conflict(
        f"The domain {host} belongs to the names that this installation gives itself; nothing was done.",
        code="domain_reserved", hint=f"Below the base domain this environment has {own}; choose that, or a domain of your own.",
        details={"domain": host},
    )  # fmt: skip


def proof_records(registry_id: str, team: str, host: str) -> list[RecordView]:
    why = f"proves that {host} is yours; it may be removed once the domain is set up"
    return [RecordView(name=proof_name(host), type="TXT", value=proof_value(registry_id, team, host), why=why)]


def address_records(hosts: Sequence[str], addresses: Sequence[str]) -> list[RecordView]:
    sets = [each for host in hosts for each in addresses_of(host, addresses)]
    why = "leads its visitors here"
    return [RecordView(name=each.name, type=each.type, value=value, why=why) for each in sets for value in each.values]


def plain(records: Iterable[RecordView]) -> list[dict[str, Any]]:
    return [each.model_dump(by_alias=True) for each in records]
