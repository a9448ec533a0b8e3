"""Cleanup: empty a slot that is in grace or deployed. The active slot is never emptied.

fallback -> RETIRE -> remove
"""

from dataclasses import dataclass
from typing import Any

from codeb.contracts.store import Registry
from codeb.errors import StepFailed
from codeb.model import names
from codeb.model.events import Event, Severity
from codeb.model.names import Place, Slot
from codeb.model.slots import Pair, State
from codeb.model.specs import Site
from codeb.saga.step import Run, Saga, Step


@dataclass(frozen=True)
class CleanupInput:
    place: Place
    slot: Slot
    state: State
    version: str | None
    deployment_id: str | None
    stop_seconds: int
    why: str
    site: Site | None = None
    """the environment's site without this version, where that is another one"""
    adopted: str | None = None
    """the id of the container, where CodeB did not make it"""
    by_itself: bool = False
    """because its time was over, and not because somebody asked"""


async def _forbid(run: Run[CleanupInput]) -> None:
    if run.input.state is State.GRACE:
        await run.kit.proxy.set_fallback(run.input.place, False)


async def _allow(run: Run[CleanupInput]) -> None:
    if run.input.state is State.GRACE:
        await run.kit.proxy.set_fallback(run.input.place, True)


async def _retire(run: Run[CleanupInput], registry: Registry) -> None:
    value = run.input
    pair = await registry.slots.pair(value.place)
    if pair is None or pair[value.slot].deployment_id != value.deployment_id:
        raise StepFailed(f"{value.place.container(value.slot)} changed meanwhile.", code="state_moved", hint="Look again.")
    await give_up(registry, run.kit.policy.server, pair, value.slot)
    if value.by_itself:
        place, world = value.place, run.kit.world
        text = f"{value.version} ({value.slot}) of {place.project} {place.environment} is emptied: {value.why}."
        facts = {"slot": value.slot.value, "version": value.version, "deploymentId": value.deployment_id}
        await registry.events.add(
            Event(
                world.new_id("ev"), world.now(), "grace_ended", Severity.INFO, text, run.operation.team, place.project,
                place.environment, run.operation.id, facts,
            )
        )  # fmt: skip


async def give_up(registry: Registry, server: str, pair: Pair, slot: Slot) -> None:
    """The slot is empty, with the port of its pair; the one that an adopted container had brought is nobody's."""
    rest = pair.emptied(slot)
    if rest.port != pair[slot].port:
        await registry.leases.remove(server, [pair[slot].port])
    await registry.slots.put(rest)


async def _remove(run: Run[CleanupInput]) -> None:
    if run.input.adopted is not None:
        await run.kit.guests.remove(run.input.adopted, run.input.stop_seconds)
    name = run.input.place.container(run.input.slot)
    for each in (name, names.kept(name)):
        await run.kit.runtime.remove(each, run.input.stop_seconds)
    if run.input.site is not None:
        await run.kit.proxy.put_site(run.input.site)


def _result(run: Run[CleanupInput]) -> dict[str, Any]:
    value = run.input
    return {
        "projectName": value.place.project, "environment": value.place.environment, "slot": value.slot.value,
        "version": value.version, "was": value.state.value, "why": value.why,
    }  # fmt: skip


SAGA: Saga[CleanupInput] = Saga(
    name="cleanup",
    version=1,
    input=CleanupInput,
    steps=(
        Step("fallback", "the proxy stops using the slot as a fallback", do=_forbid, undo=_allow),
        Step("retire", "the slot is empty in the registry", record=_retire, commits=True),
        Step("remove", "its container is stopped and removed", do=_remove),
    ),
    deadline=lambda policy: policy.switch_seconds,
    result=_result,
    summary=lambda value: f"empty {value.slot} of {value.place.project} {value.place.environment} ({value.why})",
)
