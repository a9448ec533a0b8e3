"""Scan: is this project ready to be deployed? One line per check, each with its fix."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from codeb.flows.observers import Survey, survey
from codeb.flows.site import said
from codeb.model.access import Role
from codeb.model.drift import Mismatch
from codeb.model.events import Severity
from codeb.model.names import Place
from codeb.model.slots import Pair, State
from codeb.model.specs import Address, Finding, Project
from codeb.model.storage import Kind
from codeb.tools import fields, surroundings
from codeb.tools.call import Call
from codeb.tools.health import FindingView, bounded, disk
from codeb.tools.refusals import not_ready
from codeb.tools.tool import NextCall, Outcome, Risk, Tool

IMAGES_SECONDS = 3.0
LOCAL = ("127.0.0.1", "localhost")


class ScanResult(fields.Result):
    project_name: str
    environment: str
    ready: bool
    checks: list[FindingView]


async def _scan(call: Call, params: fields.OnEnvironment) -> Outcome:
    project = call.project(params.project_name)
    place = Place(params.project_name, params.environment)
    pair = call.kit.store.snapshot.pair_of(place)
    seen, parts = await asyncio.gather(survey(call.kit, only=(place,)), _parts(call, place))
    busy = call.kit.store.snapshot.running.get(place)
    found = [
        _project(project, place, pair), _ports(seen, place, pair), parts["env"], parts["image"],
        _part("proxy site", seen, ("proxy",), place, _site_text(pair)),
        _part("public route", seen, ("switches", "routes"), place, _route_text(call, place, pair)),
        parts["dns"], parts["certificate"], _part("containers", seen, ("containers",), place, _containers_text(pair)),
        parts["database"], parts["redis"], disk(call), _drift(seen, place, busy is not None), parts["registry"],
    ]  # fmt: skip
    ready = all(each.status != "fail" for each in found)
    checks = [FindingView(name=each.name, status=each.status, text=each.text, fix=each.fix) for each in found]
    result = ScanResult(project_name=place.project, environment=place.environment, ready=ready, checks=checks)
    bad = ", ".join(each.name for each in found if each.status != "pass")
    where = f"{place.project} {place.environment}"
    summary = f"{where} is ready to be deployed" if ready else f"{where} is not ready to be deployed"
    return Outcome(result, f"{summary}; look at: {bad}." if bad else f"{summary}.", _next(call, seen, place))


async def _parts(call: Call, place: Place) -> dict[str, Finding]:
    """What is asked of others, all at once, each for its time at most."""
    looks: dict[str, Callable[[], Awaitable[Finding]]] = {
        "env": partial(surroundings.variables, call, place), "image": partial(_images, call),
        "dns": partial(surroundings.dns, call, place), "certificate": partial(surroundings.certificate, call, place),
        "database": partial(surroundings.storage, call, place, Kind.POSTGRES),
        "redis": partial(surroundings.storage, call, place, Kind.REDIS), "registry": call.kit.checks["store"].check,
    }  # fmt: skip
    found = await asyncio.gather(*(bounded(name, look) for name, look in looks.items()))
    return {name: replace(each, name=name) for name, each in zip(looks, found, strict=True)}


def _next(call: Call, seen: Survey, place: Place) -> tuple[NextCall, ...]:
    if not any(each.mendable for each in _here(seen.found, place)) or not call.actor.may_use("reconcile", Role.ADMIN):
        return ()
    return (NextCall("reconcile", {"projectName": place.project, "environment": place.environment}, "mend what is safe to mend"),)


def _here(found: Iterable[Mismatch], place: Place) -> list[Mismatch]:
    return [each for each in found if each.place == place]


def _project(project: Project, place: Place, pair: Pair | None) -> Finding:
    if fault := not_ready(project):
        return Finding("project", "fail", fault.message.rstrip("."), fault.hint)
    if pair is None:
        return Finding(
            "project", "warn", f"{project.name} has no environment {place.environment} yet", "The first deploy makes it."
        )
    return Finding("project", "pass", f"{project.name} is registered, of type {project.type}")


def _ports(seen: Survey, place: Place, pair: Pair | None) -> Finding:
    if pair is None:
        return Finding("ports", "pass", "a free pair is leased with the environment")
    return _part("ports", seen, ("ports",), place, f"blue {pair.blue.port}, green {pair.green.port}")


async def _images(call: Call) -> Finding:
    """Whether the image registry answers; an image that is on this server can be deployed without it."""
    registry = call.kit.policy.image_registry
    host, _, port = registry.rpartition(":") if registry.rpartition(":")[2].isdigit() else (registry, "", "")
    tls = host not in LOCAL
    address = Address(host.strip("[]"), int(port or (443 if tls else 80)), "/v2/", tls=tls)
    answer = await call.kit.health.probe(address, IMAGES_SECONDS)
    if answer.ok or answer.status == 401:
        return Finding("image", "pass", f"the image registry {registry} answers")
    fix = "Start it, set CODEB_IMAGE_REGISTRY, or deploy an image that is on this server."
    return Finding("image", "warn", f"the image registry {registry} does not answer: {said(answer)}", fix)


def _site_text(pair: Pair | None) -> str:
    if pair is None or all(row.state is State.EMPTY for row in pair.rows):
        return "the first deploy sets it up"
    return "configured and loaded"


def _route_text(call: Call, place: Place, pair: Pair | None) -> str:
    url = call.kit.policy.url(place.host(call.kit.policy.base_domain))
    if pair is None or pair.active is None:
        return f"{url} answers once a version is promoted"
    return f"{url} is answered by {pair.active.slot}"


def _containers_text(pair: Pair | None) -> str:
    filled = [row for row in pair.rows if row.state is not State.EMPTY] if pair else []
    return ", ".join(f"{row.slot} {row.state}" for row in filled) or "none yet"


def _part(name: str, seen: Survey, parts: Sequence[str], place: Place, well: str) -> Finding:
    """One line for what these observers found here, or of the whole installation where that stands in the way."""
    looked = [each for part in parts for each in seen.by_part.get(part, ())]
    found = [each for each in looked if each.place == place or (each.place is None and each.kind in WHOLE)]
    if not found:
        return Finding(name, "pass", well)
    bad = any(each.severity is Severity.ALARM or each.kind in BLOCKS for each in found)
    texts, fixes = (dict.fromkeys(words) for words in ((each.text for each in found), (each.repair for each in found)))
    return Finding(name, "fail" if bad else "warn", "; ".join(texts), "; ".join(fixes))


WHOLE = frozenset({"unseen", "proxy_dead", "proxy_differs"})
BLOCKS = frozenset({"unseen", "used_by_other"})
"""what would make the next deploy fail"""


def _drift(seen: Survey, place: Place, busy: bool) -> Finding:
    if busy:
        return Finding("drift", "pass", "an operation is under way; it is compared when that is over")
    count = len(_here(seen.found, place))
    if count:
        text = f"{count} difference{'' if count == 1 else 's'} between registry and world"
        return Finding("drift", "warn", text, "reconcile mends what is safe to mend")
    return Finding("drift", "pass", "registry and world agree")


TOOLS: tuple[Tool[Any], ...] = (
    Tool(
        "scan", "Check readiness",
        "Is this environment ready to be deployed? Project, ports, variables, images, proxy, DNS, certificate, containers,"
        " storage, disk, drift.",
        fields.OnEnvironment, ScanResult, Role.VIEWER, Risk.READS, _scan,
    ),
)  # fmt: skip
