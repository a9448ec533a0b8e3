"""What an environment needs round it: variables, names, certificates, storage. One line each, never longer than its time."""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import replace

from codeb.contracts.outside import Certificate
from codeb.contracts.store import Registry
from codeb.errors import PublicError
from codeb.flows import envs
from codeb.flows.names import HANDSHAKE_SECONDS, https_entry
from codeb.flows.storage import input_of, serving
from codeb.model.names import Place
from codeb.model.specs import Finding
from codeb.model.storage import Kind, Storage
from codeb.tools.call import Call
from codeb.tools.domain_status import DnsView, resolve

ENDING_DAYS = 14
"""a certificate that a public authority gave is renewed long before: one that ends so soon is not being renewed"""
MOST_HOSTS, AT_ONCE = 200, 16
LOG = "Look at domain_status, and at the proxy's log."
CREATES = {Kind.POSTGRES: ("database", "db_create"), Kind.REDIS: ("redis", "redis_create")}


def names_of(call: Call, place: Place) -> list[str]:
    """The public names of an environment that others have to resolve: its own host below a real base domain, and its domains."""
    base = call.kit.policy.base_domain
    own = [] if base == "localhost" or base.endswith(".localhost") else [place.host(base)]
    return list(dict.fromkeys([*own, *(each.host for each in call.kit.store.snapshot.domains_of(place))]))


async def variables(call: Call, place: Place) -> Finding:
    """Whether the next deploy gets its variables: an environment may have none, but what it has must open."""
    try:
        held = await call.kit.store.consult(lambda registry: envs.newest(call.kit, registry, place))
    except PublicError as fault:
        return Finding("env", "fail", fault.message, fault.hint)
    if held.version is None:
        return Finding("env", "pass", "no variables; env_set writes some")
    count = len(held.env.values)
    return Finding("env", "pass", f"version {held.number}, {count} variable{'' if count == 1 else 's'}")


async def dns(call: Call, place: Place) -> Finding:
    """Whether visitors are led here, as the world's resolvers say."""
    hosts = names_of(call, place)
    if not hosts:
        return Finding("dns", "pass", "below .localhost: nothing to be looked up")
    views = await asyncio.gather(*(resolve(call.kit, each) for each in hosts[:MOST_HOSTS]))
    bad = [view for view in views if view.status != "here"]
    if not bad:
        return Finding("dns", "pass", f"{', '.join(hosts)}: here")
    return Finding("dns", "warn", " ".join(view.text for view in bad), _led_here(bad))


def _led_here(bad: Sequence[DnsView]) -> str:
    expected = bad[0].expected
    if not expected:
        return "Set CODEB_PUBLIC_ADDRESSES to where visitors reach the proxy."
    return f"Set their records to {', '.join(expected)}; domain_status says more of each."


async def certificate(call: Call, place: Place) -> Finding:
    """Whether the proxy shows a valid certificate for each of its names. What is missing keeps nobody from deploying."""
    if call.kit.policy.tls == "off":
        return Finding("certificate", "pass", "this installation serves plain HTTP")
    if place not in await call.kit.proxy.sites():
        return Finding("certificate", "pass", "it comes with the site, at the first deploy")
    own = place.host(call.kit.policy.base_domain)
    hosts = dict.fromkeys([own, *(each.host for each in call.kit.store.snapshot.domains_of(place))])
    found = await certificates(call, hosts, "certificate")
    return replace(found, status="warn") if found.status == "fail" else found


async def certificates(call: Call, hosts: Iterable[str], name: str = "certificates") -> Finding:
    """One line for all of these names, at most 200 of them, as the proxy of this machine shows them."""
    turns, every = asyncio.Semaphore(AT_ONCE), list(hosts)

    async def ask(host: str) -> tuple[str, Certificate]:
        async with turns:
            return host, await call.kit.outside.certificate(https_entry(call.kit, host), HANDSHAKE_SECONDS)

    shown = await asyncio.gather(*(ask(host) for host in every[:MOST_HOSTS]))
    missing = [f"{host}: {one.reason or 'it is for another name, or over'}" for host, one in shown if not one.covers]
    ending = [f"{host} ends in {left} days" for host, one in shown if (left := _left(call, one)) is not None]
    if missing:
        return Finding(name, "fail", "no valid certificate: " + "; ".join(missing[:10]), LOG)
    if ending:
        return Finding(name, "warn", "; ".join(ending[:10]), f"It is not being renewed. {LOG}")
    more = f", the first {MOST_HOSTS} of {len(every)}" if len(every) > MOST_HOSTS else ""
    return Finding(name, "pass", f"{len(shown)} valid{more}")


def _left(call: Call, one: Certificate) -> int | None:
    """Days, where that is few. Our own authority gives them for hours, and renews them by itself."""
    if not one.covers or not one.trusted or one.expires_at is None:
        return None
    left = (one.expires_at - call.kit.world.now()).days
    return left if left < ENDING_DAYS else None


async def storage(call: Call, place: Place, kind: Kind) -> Finding:
    """Whether the environment's own is on the server, and answers where its containers ask."""
    name, makes = CREATES[kind]

    async def look(registry: Registry) -> Storage | None:
        return await registry.storages.get(place, kind)

    held = await call.kit.store.consult(look)
    if held is None:
        return Finding(name, "pass", f"none; {makes} makes one")
    if not held.ready:
        return Finding(name, "warn", f"{held.name} is {held.state}", f"Call {makes} again, or delete it.")
    try:
        found = await (await serving(call.kit, input_of(held))).all()
    except PublicError as fault:
        return Finding(name, "fail", fault.message, fault.hint)
    if held.name not in found:
        lost = f"{held.name} is on record and gone from the server"
        return Finding(name, "fail", lost, "Restore it there from a backup; or delete it here, and make a new, empty one.")
    return Finding(name, "pass", f"{held.name} at {held.host}:{held.port}")
