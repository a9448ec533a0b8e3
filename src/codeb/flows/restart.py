"""Restart: the container of the active slot gets another life, under the lock of its place.

RESTART
"""

from dataclasses import dataclass
from typing import Any

from codeb.contracts.kit import Kit
from codeb.errors import StepFailed
from codeb.model.names import Place, Slot
from codeb.model.specs import Unit
from codeb.saga.step import Run, Saga, Step

STOP_SECONDS = 10
"""for one that does not do its work any more: it may have long stopped listening to signals as well"""


@dataclass(frozen=True)
class RestartInput:
    """`life` is the one that is to end: whoever finds another one running has nothing to do."""

    place: Place
    slot: Slot
    deployment_id: str
    version: str
    life: str
    why: str
    stop_seconds: int = STOP_SECONDS


def life_of(unit: Unit) -> str:
    """Which run of which container this is."""
    return f"{unit.id}@{unit.started}"


async def _unit(kit: Kit, value: RestartInput) -> Unit | None:
    unit = await kit.runtime.look(value.place.container(value.slot))
    return unit if unit is not None and unit.deployment_id == value.deployment_id else None


async def _restart(run: Run[RestartInput]) -> dict[str, Any]:
    value = run.input
    name = value.place.container(value.slot)
    unit = await _unit(run.kit, value)
    if unit is None:
        raise StepFailed(
            f"{name} is not what was deployed there.", code="container_gone", hint="Call reconcile, or deploy again."
        )
    if unit.running and life_of(unit) != value.life:
        return {"life": life_of(unit), "byUs": False}
    await run.kit.restarter.restart(name, value.stop_seconds)
    unit = await _unit(run.kit, value)
    return {"life": life_of(unit) if unit else "", "byUs": True}


async def _leave_running(run: Run[RestartInput]) -> None:
    """A restart that was cut half-way has stopped it: it is started. Nothing to do where it runs or is gone."""
    unit = await _unit(run.kit, run.input)
    if unit is not None and not unit.running:
        await run.kit.restarter.restart(unit.name, run.input.stop_seconds)


async def _landed(run: Run[RestartInput]) -> bool:
    unit = await _unit(run.kit, run.input)
    return unit is not None and unit.running and life_of(unit) != run.input.life


def _result(run: Run[RestartInput]) -> dict[str, Any]:
    value, done = run.input, run.outputs.get("restart", {})
    return {
        "projectName": value.place.project, "environment": value.place.environment, "slot": value.slot.value,
        "version": value.version, "why": value.why, "byUs": bool(done.get("byUs", True)),
    }  # fmt: skip


SAGA: Saga[RestartInput] = Saga(
    name="restart",
    version=1,
    input=RestartInput,
    steps=(
        Step(
            "restart", "the container is stopped, if it runs, and started",
            do=_restart, undo=_leave_running, commits=True, landed=_landed,
        ),
    ),
    deadline=lambda policy: policy.switch_seconds,
    result=_result,
    summary=lambda value: f"restart {value.version} ({value.slot}) of {value.place.project} {value.place.environment}",
)  # fmt: skip
