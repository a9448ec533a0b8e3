"""Domain status: DNS, certificate and answer of a domain, each as somebody outside sees it."""

import asyncio
from collections.abc import Sequence

from codeb.contracts.kit import Kit
from codeb.contracts.outside import Certificate
from codeb.model.access import Role
from codeb.model.domains import may_be_visited
from codeb.model.specs import Address, Answer
from codeb.tools import fields
from codeb.tools.call import Call
from codeb.tools.domain_views import DomainView, domain_view, mine
from codeb.tools.tool import NextCall, Outcome, Risk, Tool

SECONDS = 5.0
"""for each look"""


class StatusParams(fields.Params):
    domain: fields.DomainName


class DnsView(fields.Result):
    status: str
    addresses: list[str]
    expected: list[str]
    text: str


class TlsView(fields.Result):
    status: str
    issuer: str | None = None
    expires_at: str | None = None
    days_left: int | None = None
    trusted: bool | None = None
    text: str


class HttpView(fields.Result):
    status: str
    code: int | None = None
    slot: str | None = None
    text: str


class StatusResult(fields.Result):
    domain: DomainView
    dns: DnsView
    tls: TlsView
    http: HttpView
    maintenance: bool
    observed_at: str


async def resolve(kit: Kit, host: str) -> DnsView:
    """What a name leads to, as resolvers say. `here`: to our addresses alone; `elsewhere`, `nowhere`, `unknown`."""
    looked = await asyncio.gather(*(kit.outside.lookup(host, kind, SECONDS) for kind in ("A", "AAAA")))
    found, ours = sorted({value for each in looked for value in each.values}), list(kit.policy.public_addresses)
    reason = next((each.reason for each in looked if each.reason), "")
    if found and set(found) <= set(ours):
        status, text = "here", f"{host} leads here."
    elif found:
        status, text = "elsewhere", f"{host} leads to {', '.join(found)}."
        text += "" if ours else " CODEB_PUBLIC_ADDRESSES does not say where visitors reach this installation."
    elif reason:
        status, text = "unknown", f"What {host} leads to could not be learnt: {reason}"
    else:
        status, text = "nowhere", f"{host} has no address."
    return DnsView(status=status, addresses=found, expected=ours, text=text)


def _entry(kit: Kit, host: str, addresses: Sequence[str], *, tls: bool) -> Address | str:
    """Where to connect: every address was looked at first, and it is one of them (S14). Else why not."""
    ours = kit.policy.public_addresses
    if not addresses:
        return "there is no address to connect to"
    if bad := [each for each in addresses if not may_be_visited(each, ours)]:
        return f"{', '.join(bad)} is no public address, so nothing is asked of it"
    chosen = addresses[0]
    own = (kit.policy.https_port, kit.policy.http_port) if chosen in ours else (443, 80)
    return Address(chosen, own[0] if tls else own[1], host_header=host, tls=tls)


async def _tls(kit: Kit, host: str, entry: Address | str) -> TlsView:
    if kit.policy.tls == "off":
        return TlsView(status="off", text="This installation serves plain HTTP.")
    if isinstance(entry, str):
        return TlsView(status="unknown", text=f"Not asked: {entry}.")
    shown: Certificate = await kit.outside.certificate(entry, SECONDS)
    if shown.issuer is None:
        return TlsView(status="fail", text=f"No certificate: {shown.reason}")
    left = (shown.expires_at - kit.world.now()).days if shown.expires_at else None
    status = "pass" if shown.covers else "fail"
    said = f"{'A' if shown.covers else 'No valid'} certificate for {host}, issued by {shown.issuer}"
    if shown.covers and not shown.trusted:
        status, said = "warn", f"{said}, which browsers know only when told"
    return TlsView(
        status=status, issuer=shown.issuer, expires_at=shown.expires_at.isoformat() if shown.expires_at else None,
        days_left=left, trusted=shown.trusted, text=f"{said}; it ends in {left} days." if left is not None else f"{said}.",
    )  # fmt: skip


async def _http(kit: Kit, entry: Address | str) -> HttpView:
    if isinstance(entry, str):
        return HttpView(status="unknown", text=f"Not asked: {entry}.")
    got: Answer = await kit.outside.visit(entry, SECONDS)
    if got.status is None:
        return HttpView(status="fail", text=f"No answer: {got.reason}")
    by = f" from {got.slot}" if got.slot else ""
    return HttpView(status="pass" if got.ok else "fail", code=got.status, slot=got.slot, text=f"It answers {got.status}{by}.")


async def _status(call: Call, params: StatusParams) -> Outcome:
    kit = call.kit
    found = mine(call, params.domain, kit.store.snapshot.domains.values())
    dns = await resolve(kit, found.host)
    entry = _entry(kit, found.host, dns.addresses, tls=kit.policy.tls != "off")
    tls, http = await asyncio.gather(_tls(kit, found.host, entry), _http(kit, entry))
    page = found.place in kit.store.snapshot.maintenances
    result = StatusResult(
        domain=domain_view(found, kit.policy), dns=dns, tls=tls, http=http, maintenance=page,
        observed_at=kit.world.now().isoformat(),
    )  # fmt: skip
    said = f"{dns.text} {tls.text} {http.text}" + (" Its maintenance page is shown." if page else "")
    where = {"projectName": found.project, "environment": found.environment}
    next_ = (NextCall("slot_status", where, "see what stands behind it"),) if http.status == "fail" else ()
    return Outcome(result, said, next_)


STATUS: Tool[StatusParams] = Tool(
    "domain_status", "Show a domain's status",
    "DNS, certificate and answer of a domain, each as seen from outside.",
    StatusParams, StatusResult, Role.VIEWER, Risk.READS, _status,
)  # fmt: skip
