"""The static route of an environment, from the registry's facts."""

from collections.abc import Iterable
from dataclasses import replace

from codeb.contracts.kit import Kit, Policy
from codeb.errors import StepFailed
from codeb.model.domains import Domain
from codeb.model.names import Place, Slot
from codeb.model.slots import Pair, State
from codeb.model.specs import Address, Answer, Project, Site

PROBE_SECONDS = 5.0
STAND_IN_SECONDS = 15.0
"""longer than the proxy takes to look again at a slot that was down"""


def site_of(project: Project, pair: Pair, policy: Policy, domains: Iterable[Domain], *, fresh: Slot | None = None) -> Site:
    """`domains`: those that lead to the place; `fresh`: a slot that a deploy fills anew, as the project is now."""
    place, named = pair.place, sorted(domains, key=lambda domain: domain.host)
    own = place.host(policy.base_domain)
    path, other = (path_of(project, pair, slot, fresh) for slot in Slot)
    return Site(
        place=place,
        hosts=(own, *(each.host for each in named if each.host != own and not each.redirect_to)),
        redirects=tuple((each.host, each.redirect_to) for each in named if each.redirect_to),
        preview_hosts=tuple((slot, place.preview_host(slot, policy.base_domain)) for slot in Slot),
        ports=tuple((slot, pair.own_port(slot) if slot is fresh else pair[slot].port) for slot in Slot),
        health_path=path,
        own_paths=() if other == path else ((Slot.GREEN, other),),
    )


def path_of(project: Project, pair: Pair, slot: Slot, fresh: Slot | None = None) -> str:
    """Where a slot is asked. An empty one is written like the other: a change of the project leaves sites in use as they are."""
    row = pair[slot]
    if row.state is State.EMPTY and slot is not fresh:
        row = pair[slot.other]
    if row.state is State.EMPTY or row.slot is fresh:
        return project.health_path
    return row.health_path or project.health_path


async def put_back(kit: Kit, place: Place, former: Site | None) -> None:
    """Have the site of a place as it was before; None: there was none. Safe to repeat."""
    if former is None:
        await kit.proxy.remove_site(place)
    else:
        await kit.proxy.put_site(former)


async def prove(kit: Kit, host: str, path: str, slot: Slot, seconds: float = PROBE_SECONDS, *, standing_in: bool = False) -> None:
    """Ask through the public route until `slot` itself answers well. Raises `StepFailed` (code `not_proven`)."""
    address = replace(kit.proxy.route(host, standing_in=standing_in), path=path)
    began = kit.world.monotonic()
    while True:
        answer = await kit.health.probe(address, PROBE_SECONDS)
        if answer.ok and answer.slot == slot.value:
            return
        spent = kit.world.monotonic() - began
        if spent >= seconds:
            raise StepFailed(
                f"Through the proxy, {host}{path} is not answered by {slot.value}: {said(answer)}.",
                code="not_proven",
                hint="Look at health_check for the proxy, and at the logs of the slot.",
                details={"host": host, "path": path, "wanted": slot.value, "got": answer.slot, "status": answer.status},
            )
        await kit.world.sleep(max(0.02, spent / 10))


async def let_stand_in(kit: Kit, site: Site, live: Slot) -> str:
    """Allow the fallback, once the proxy itself takes the live slot for healthy; a warning if it never does.

    The proxy looks at both slots every few seconds. One that it last saw down, while its container was being replaced,
    it would pass over for the old version as soon as that may stand in. So the way is tried first, by requests of our own
    that nobody else's follow. A new version that is down meanwhile needs the old one at once. Safe to repeat.
    """
    end, warning = kit.world.monotonic() + STAND_IN_SECONDS, ""
    own = Address("127.0.0.1", site.port(live), site.path(live))
    while True:
        try:
            await prove(kit, site.hosts[0], site.path(live), live, seconds=0, standing_in=True)
        except StepFailed as passed_over:
            if kit.world.monotonic() < end and (await kit.health.probe(own, PROBE_SECONDS)).ok:
                await kit.world.sleep(0.2)
                continue
            warning = f"The proxy does not take the new version for healthy, the old one stands in: {passed_over.message}"
        break
    await kit.proxy.set_fallback(site.place, True)
    return warning


def said(answer: Answer) -> str:
    """One attempt in words."""
    if answer.status is None:
        return answer.reason
    return f"status {answer.status}" + (f" from {answer.slot}" if answer.slot else "")
