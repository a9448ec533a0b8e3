"""Pairs of ports for environments: leased and made in one transaction, given back in one."""

from codeb.contracts.store import Registry
from codeb.errors import Conflict
from codeb.model import ports
from codeb.model.names import Place, Slot
from codeb.model.ports import Lease
from codeb.model.slots import Pair, SlotRow
from codeb.tools.call import Call


async def taken_outside(call: Call) -> set[int]:
    """Ports that containers publish or that something listens on: read before the transaction."""
    return set(await call.kit.ports.published()) | set(await call.kit.ports.listening())


async def new_pair(registry: Registry, call: Call, place: Place, outside: set[int]) -> Pair:
    """Lease the lowest free pair and make both slots of the environment. Raises `Conflict` (`ports_exhausted`)."""
    policy = call.kit.policy
    leased = {lease.port for lease in await registry.leases.all(policy.server)}
    try:
        blue, _ = ports.lowest_free_pair(policy.ranges.of(place.environment), leased | outside)
    except ports.Exhausted as fault:
        raise Conflict(
            f"{place.key} gets no ports: {fault}.", code="ports_exhausted",
            hint="Release pairs that are no longer used (port_list), or widen the range in the configuration.",
        ) from fault  # fmt: skip
    return await give_pair(registry, call, place, blue)


async def give_pair(registry: Registry, call: Call, place: Place, blue: int) -> Pair:
    """Lease exactly this pair. Raises `Conflict` (`port_taken`)."""
    pair = Pair(SlotRow(place, Slot.BLUE, blue), SlotRow(place, Slot.GREEN, blue + 1))
    await registry.slots.add(pair)
    server = call.kit.policy.server
    await registry.leases.add(*(Lease(server, row.port, place.project, place.environment, row.slot.value) for row in pair.rows))
    return pair


async def drop_pair(registry: Registry, call: Call, pair: Pair) -> None:
    """The environment and its leases are no more."""
    await registry.slots.remove(pair.place)
    await registry.leases.remove(call.kit.policy.server, [row.port for row in pair.rows])
