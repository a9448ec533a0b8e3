"""The state of everything: one line per part."""

import asyncio
import shutil
from typing import Any

from codeb.model.access import Role
from codeb.model.drift import of_slot
from codeb.model.slots import State
from codeb.model.specs import Finding
from codeb.tools import fields
from codeb.tools.call import Call
from codeb.tools.tool import Outcome, Risk, Tool

CHECK_SECONDS = 5.0
DISK_WARN, DISK_FAIL = 10 * 2**30, 2**30


class HealthParams(fields.Params):
    pass


class FindingView(fields.Result):
    name: str
    status: str
    text: str
    fix: str = ""


class HealthResult(fields.Result):
    status: str
    checks: list[FindingView]


async def bounded(name: str, check: Any) -> Finding:
    try:
        async with asyncio.timeout(CHECK_SECONDS):
            return await check()  # type: ignore[no-any-return]
    except TimeoutError:
        return Finding(name, "fail", f"did not answer within {CHECK_SECONDS:g} s", "See that it runs.")


def disk(call: Call) -> Finding:
    free = shutil.disk_usage(call.kit.policy.home).free
    text = f"{free / 2**30:.1f} GiB free in {call.kit.policy.home}"
    if free < DISK_WARN:
        return Finding("disk", "fail" if free < DISK_FAIL else "warn", text, "Make room: old images, logs, backups.")
    return Finding("disk", "pass", text)


def mode(call: Call) -> list[Finding]:
    if not call.kit.policy.development:
        return []
    return [Finding("mode", "warn", "development: any well-formed key is accepted", "Unset CODEB_ENV and restart the server.")]


async def _slots(call: Call) -> Finding:
    seen, now = await call.kit.sight.look(), call.kit.world.now()
    if seen.fault:
        return Finding("slots", "warn", f"not looked at: {seen.fault}")
    visible, snapshot = call.projects(), call.kit.store.snapshot
    count, drift = 0, []
    for place, pair in snapshot.pairs.items():
        if place.project not in visible or place in snapshot.running:
            continue
        for row in pair.rows:
            count += row.state is not State.EMPTY
            drift += [each.text for each in of_slot(row, seen.units, now)]
    # what needs more than a look at containers, as the last round found it
    last = (each for each in call.kit.drift.left if each.place and each.place.project in visible and each.text not in drift)
    drift += [each.text for each in last if each.place not in snapshot.running and not each.kind.startswith("container_")]
    if drift:
        return Finding(
            "slots",
            "warn",
            "; ".join(drift[:10]),
            "reconcile mends what is safe to mend and says what mends the rest.",
        )
    return Finding("slots", "pass", f"{count} filled slots, all as the registry says")


async def _health(call: Call, params: HealthParams) -> Outcome:
    jobs = [bounded(name, check.check) for name, check in call.kit.checks.items()]
    *parts, slots = await asyncio.gather(*jobs, bounded("slots", lambda: _slots(call)))
    found = [Finding("api", "pass", "answers"), *mode(call), *parts, disk(call), slots]
    worst = next((word for word in ("fail", "warn") if any(each.status == word for each in found)), "pass")
    bad = ", ".join(each.name for each in found if each.status != "pass")
    checks = [FindingView(name=each.name, status=each.status, text=each.text, fix=each.fix) for each in found]
    return Outcome(HealthResult(status=worst, checks=checks), f"Look at: {bad}." if bad else "All is well.")


TOOLS: tuple[Tool[Any], ...] = (
    Tool(
        "health_check",
        "Check everything",
        "API, store, Docker, proxy, disk, slots: pass, warn or fail, each with its fix.",
        HealthParams,
        HealthResult,
        Role.VIEWER,
        Risk.READS,
        _health,
    ),
)
