"""Is the new container fit for traffic? Asked in three ways, nothing needed inside the image."""

from collections.abc import Sequence
from typing import Any

from codeb.contracts.kit import Kit
from codeb.errors import StepFailed
from codeb.flows.site import said
from codeb.model.specs import Address, Health, LogLine, Unit

LOG_LINES = 20
FIRST_PAUSE, LONGEST_PAUSE = 0.01, 1.0
PROBE_SECONDS, SHORTEST_PROBE = 5.0, 0.2


async def until_healthy(kit: Kit, name: str, *, container_port: int, host_port: int, path: str, seconds: float) -> dict[str, Any]:
    """Return once the container runs (and its HEALTHCHECK, where it has one, says healthy), and `path` answers 2xx/3xx on
    its own address and on the published port.

    Raises `StepFailed` with the container's last lines: `container_exited` and `healthcheck_failed` at once,
    `health_failed` when `seconds` are over. The pause between tries is a tenth of the time spent, 10 ms to 1 s.
    """
    began = kit.world.monotonic()
    tries, restarts = 0, None
    while True:
        tries += 1
        unit = await kit.runtime.look(name)
        # A container that the runtime restarted long ago is as good as any; one that it restarts now is not.
        restarts = unit.restarts if unit is not None and restarts is None else restarts
        await _refuse_the_dead(kit, name, unit, restarts)
        assert unit is not None
        left = seconds - (kit.world.monotonic() - began)
        patience = min(PROBE_SECONDS, max(left, SHORTEST_PROBE))
        waiting = await _what_is_missing(kit, unit, container_port, host_port, path, patience)
        spent = kit.world.monotonic() - began
        if not waiting:
            return {"tries": tries, "dockerHealth": unit.health.value, "afterMs": round(spent * 1000)}
        pause = min(max(FIRST_PAUSE, spent / 10), LONGEST_PAUSE)
        if spent + pause > seconds:
            raise await _failed(
                kit, name, "health_failed", f"{name} was not healthy after {seconds:g} s: {waiting}.",
                f"See that the application listens on port {container_port} of all addresses (0.0.0.0)"
                f" and answers {path} with 2xx or 3xx.",
            )  # fmt: skip
        await kit.world.sleep(pause)


async def _what_is_missing(kit: Kit, unit: Unit, container_port: int, host_port: int, path: str, patience: float) -> str:
    """What keeps it from being healthy, in words; empty when nothing does."""
    published = await kit.health.probe(Address("127.0.0.1", host_port, path), patience)
    if not published.ok:
        return f"127.0.0.1:{host_port}{path} gave {said(published)}"
    if unit.address is None:
        return "it has no address in its network"
    own = await kit.health.probe(Address(unit.address, container_port, path), patience)
    if not own.ok:
        return f"{unit.address}:{container_port}{path} gave {said(own)}"
    if unit.health is Health.STARTING:
        return "its HEALTHCHECK has not reported yet"
    return ""


async def _refuse_the_dead(kit: Kit, name: str, unit: Unit | None, restarts: int | None) -> None:
    if unit is None:
        raise StepFailed(f"{name} is gone: somebody removed it.", code="container_gone", hint="Deploy again.")
    if not unit.running or unit.restarts != restarts:
        code = "" if unit.exit_code is None else f" with exit code {unit.exit_code}"
        raise await _failed(
            kit, name, "container_exited", f"{name} stopped by itself{code}.",
            "Its last lines say why; mend the image or its configuration and deploy again.", exitCode=unit.exit_code,
        )  # fmt: skip
    if unit.health is Health.UNHEALTHY:
        raise await _failed(
            kit, name, "healthcheck_failed", f"The image's own HEALTHCHECK says that {name} is unhealthy.",
            "Run the HEALTHCHECK's command in the image and mend what it reports.",
        )  # fmt: skip


async def _failed(kit: Kit, name: str, code: str, message: str, hint: str, **more: Any) -> StepFailed:
    lines: Sequence[LogLine] = await kit.logs.tail(name, LOG_LINES)
    return StepFailed(message, code=code, hint=hint, details={**more, "container": name, "logs": [line.text for line in lines]})
