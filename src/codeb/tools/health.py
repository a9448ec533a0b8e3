"""The state of everything: one line per part."""

import asyncio
import shutil
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from codeb.errors import PublicError
from codeb.model.access import Role
from codeb.model.drift import of_slot
from codeb.model.servers import Server
from codeb.model.slots import State
from codeb.model.specs import Finding
from codeb.tools import fields
from codeb.tools.call import Call
from codeb.tools.operators import is_operator
from codeb.tools.servers import checked, every
from codeb.tools.surroundings import certificates
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


async def bounded(name: str, check: Callable[[], Awaitable[Finding]]) -> Finding:
    """What a part says of itself; that it cannot, or takes too long, is a finding too."""
    try:
        async with asyncio.timeout(CHECK_SECONDS):
            return await check()
    except PublicError as fault:
        return Finding(name, "fail", fault.message, fault.hint)
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


async def _certificates(call: Call) -> Finding:
    """Of every site of the caller's that the proxy has."""
    if call.kit.policy.tls == "off":
        return Finding("certificates", "pass", "this installation serves plain HTTP")
    visible, snapshot = call.projects(), call.kit.store.snapshot
    places = [place for place in sorted(await call.kit.proxy.sites()) if place.project in visible]
    own = [place.host(call.kit.policy.base_domain) for place in places]
    named = [each.host for place in places for each in snapshot.domains_of(place)]
    return await certificates(call, dict.fromkeys([*named, *own]))


async def _machines(call: Call) -> list[Finding]:
    """The other servers, for whoever operates them. The machine CodeB runs on is what the other lines are about."""
    if not is_operator(call):
        return []
    found = await call.kit.store.consult(lambda registry: every(registry, call))
    others = [each for name, each in found.items() if name != call.kit.policy.server]
    return list(await asyncio.gather(*(bounded(f"server {each.name}", partial(_machine, call, each)) for each in others)))


async def _machine(call: Call, server: Server) -> Finding:
    checks = await checked(call, server)
    bad = [each for each in checks if not each.ok]
    name = f"server {server.name}"
    if not bad:
        return Finding(name, "pass", ", ".join(each.what for each in checks) or "nothing is to be looked for there")
    return Finding(name, "fail", " ".join(each.text for each in bad), " ".join(dict.fromkeys(each.fix for each in bad)))


async def _health(call: Call, params: HealthParams) -> Outcome:
    jobs = [bounded(name, check.check) for name, check in call.kit.checks.items()]
    jobs += [bounded("certificates", partial(_certificates, call)), bounded("slots", partial(_slots, call))]
    machines, parts = await asyncio.gather(_machines(call), asyncio.gather(*jobs))
    found = [Finding("api", "pass", "answers"), *mode(call), disk(call), *machines, *parts]
    worst = next((word for word in ("fail", "warn") if any(each.status == word for each in found)), "pass")
    bad = ", ".join(each.name for each in found if each.status != "pass")
    checks = [FindingView(name=each.name, status=each.status, text=each.text, fix=each.fix) for each in found]
    return Outcome(HealthResult(status=worst, checks=checks), f"Look at: {bad}." if bad else "All is well.")


TOOLS: tuple[Tool[Any], ...] = (
    Tool(
        "health_check",
        "Check everything",
        "API, store, Docker, proxy, DNS, storage, servers, certificates, disk, slots: pass, warn or fail, each with its fix.",
        HealthParams,
        HealthResult,
        Role.VIEWER,
        Risk.READS,
        _health,
    ),
)
