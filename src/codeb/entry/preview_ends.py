"""The end of previews whose time is over, and of those of which something is left."""

import logging

from codeb.contracts.kit import Kit
from codeb.errors import PublicError
from codeb.gate import AuditLog
from codeb.model.access import Actor, Role
from codeb.model.deletion import READY
from codeb.model.previews import Preview, is_over, number_of
from codeb.saga.engine import Engine
from codeb.tools.call import Call
from codeb.tools.preview_ends import begin_end

log = logging.getLogger("codeb.timer")

WAIT_SECONDS = 60.0
"""how long a round waits for them; one that takes longer goes on by itself"""
PAUSE_SECONDS = 600.0
"""before one that did not succeed is tried again"""


async def end_previews(kit: Kit, engine: Engine, audit: AuditLog, later: dict[str, float]) -> list[str]:
    """Remove every preview whose stored time is over; returns the operations begun. A busy place waits.

    One that did not succeed is tried again, not before the (monotonic) time that `later` has for it. One audit row each time.
    """
    snapshot, now, begun = kit.store.snapshot, kit.world.now(), list[tuple[Call, Preview, str]]()
    began = kit.world.monotonic()
    for place, each in snapshot.previews.items():
        ready = snapshot.projects[place.project].state == READY and place not in snapshot.running
        if not ready or not is_over(each, now) or began < later.get(place.key, 0.0):
            continue
        actor = Actor("timer", snapshot.projects[place.project].team, Role.ADMIN)
        call = Call(kit, engine, actor, "preview_delete", kit.world.new_id("timer"), needs_database=True)
        why = "its removal had stopped half way" if each.ending else f"its {each.ttl_hours} hours are over"
        try:
            begun.append((call, each, (await begin_end(call, place, why, still=each)).id))
        except PublicError as fault:
            log.info("the preview %s stays for now: %s", place.key, fault)
    for call, each, operation in begun:
        place, (code, why) = each.place, await _ended(call, operation)
        if code:
            log.warning("the preview %s is not gone yet: %s", place.key, why)
            later[place.key] = kit.world.monotonic() + PAUSE_SECONDS
        params = {"projectName": place.project, "pullRequest": number_of(place.environment)}
        audit.record_automatic(
            "preview_delete", now, operation, f"{place.key}: {why or 'removed, its time is over.'}", params,
            team=call.actor.team, code=code, duration_ms=(kit.world.monotonic() - began) * 1000,
        )  # fmt: skip
    return [operation for _, _, operation in begun]


async def _ended(call: Call, operation: str) -> tuple[str, str]:
    """Code and words of what kept it from being gone in this time; empty: it is."""
    try:
        found, _ = await call.ended(operation, WAIT_SECONDS)
    except PublicError as fault:
        return fault.code, fault.message
    return ("", "") if (found.result or {}).get("deleted") else ("not_all_gone", " ".join(found.warnings))
