"""The static route of an environment, from the registry's facts."""

from codeb.contracts.kit import Kit, Policy
from codeb.errors import StepFailed
from codeb.model.names import Place, Slot
from codeb.model.slots import Pair
from codeb.model.specs import Answer, Project, Site

PROBE_SECONDS = 5.0


def site_of(project: Project, pair: Pair, policy: Policy) -> Site:
    place = pair.place
    return Site(
        place=place,
        hosts=(place.host(policy.base_domain),),
        preview_hosts=tuple((slot, place.preview_host(slot, policy.base_domain)) for slot in Slot),
        ports=tuple((slot, pair[slot].port) for slot in Slot),
        health_path=project.health_path,
    )


async def prove(kit: Kit, place: Place, host: str, path: str, slot: Slot, seconds: float = PROBE_SECONDS) -> None:
    """Ask through the public route until `slot` itself answers well. Raises `StepFailed` (code `not_proven`)."""
    route = kit.proxy.route(host)
    address = type(route)(route.host, route.port, path, route.host_header, route.tls)
    end = kit.world.monotonic() + seconds
    while True:
        answer = await kit.health.probe(address, PROBE_SECONDS)
        if answer.ok and answer.slot == slot.value:
            return
        if kit.world.monotonic() >= end:
            raise StepFailed(
                f"Through the proxy, {host}{path} is not answered by {slot.value}: {said(answer)}.",
                code="not_proven",
                hint="Look at health_check for the proxy, and at the logs of the slot.",
                details={"host": host, "path": path, "wanted": slot.value, "got": answer.slot, "status": answer.status},
            )
        await kit.world.sleep(0.02)


def said(answer: Answer) -> str:
    """One attempt in words."""
    if answer.status is None:
        return answer.reason
    return f"status {answer.status}" + (f" from {answer.slot}" if answer.slot else "")
