"""Time as a caller: what happens because it is time, not because somebody asked."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta

from codeb.contracts.kit import Kit
from codeb.contracts.store import Registry
from codeb.entry.preview_ends import end_previews
from codeb.entry.reconciler import Reconciler
from codeb.errors import PublicError
from codeb.flows import envs, master_key
from codeb.gate import AuditLog
from codeb.model.access import Actor, Role
from codeb.model.deletion import KEPT_DAYS, READY, purge_due
from codeb.model.slots import SlotRow, grace_expired
from codeb.model.storage import still_need
from codeb.saga.engine import Engine
from codeb.tools.call import Call
from codeb.tools.deletions import begin_purge
from codeb.tools.slots import empty_slot
from codeb.tools.storage import begin_end

log = logging.getLogger("codeb.timer")

EVERY_SECONDS = 10.0
ENV_SECONDS = 30.0
PRUNE_SECONDS = 3600.0
PRUNED_AT_ONCE, PRUNE_PAUSE = 1_000, 0.1
"""rows of the audit log in one transaction, and the pause after it in seconds"""
GRACE_SECONDS, GRACE_PAUSE = 60.0, 60.0
"""how long the round waits for slots to be emptied, and before one that was not is tried again"""
PURGE_SECONDS = 60.0
"""how long the round waits for one purge; a longer one goes on by itself"""
PURGE_PAUSE = 600.0
"""before one that did not succeed is tried again"""


async def end_graces(kit: Kit, engine: Engine, audit: AuditLog, later: dict[str, float]) -> list[str]:
    """Empty every slot whose grace is over by its stored time; returns the operations begun, ended by then. A busy place waits.

    One that did not succeed is tried again, not before the (monotonic) time that `later` has for it. One audit row each time,
    also for what did not succeed.
    """
    snapshot, now, begun = kit.store.snapshot, kit.world.now(), list[tuple[Call, SlotRow, str]]()
    over: list[SlotRow] = [
        pair.grace for place, pair in snapshot.pairs.items()
        if pair.grace is not None and grace_expired(pair.grace, now) and snapshot.projects[place.project].state == READY
    ]  # fmt: skip
    began = kit.world.monotonic()
    for row in over:
        if began < later.get(row.container, 0.0):
            continue
        actor = Actor("timer", snapshot.projects[row.place.project].team, Role.ADMIN)
        call = Call(kit, engine, actor, "slot_cleanup", kit.world.new_id("timer"))
        try:
            begun.append((call, row, (await empty_slot(call, row, "its grace is over", by_itself=True)).id))
        except PublicError as fault:
            log.info("%s stays for now: %s", row.container, fault)
    for call, row, operation in begun:
        fault_of = await _ended(call, operation, GRACE_SECONDS)
        if fault_of is not None:
            log.warning("%s stays for now: %s", row.container, fault_of)
            later[row.container] = kit.world.monotonic() + GRACE_PAUSE
        summary = f"{row.container}: {fault_of.message if fault_of else 'emptied, its grace is over.'}"
        params = {"projectName": row.place.project, "environment": row.place.environment, "slot": row.slot.value}
        audit.record_automatic(
            "slot_cleanup", now, operation, summary, params, team=call.actor.team, code=fault_of.code if fault_of else "",
            duration_ms=(kit.world.monotonic() - began) * 1000,
        )  # fmt: skip
    return [operation for _, _, operation in begun]


async def _ended(call: Call, operation: str, seconds: float) -> PublicError | None:
    """Why it did not succeed in this time, if it did not."""
    try:
        await call.ended(operation, seconds)
    except PublicError as fault:
        return fault
    return None


async def end_rotations(kit: Kit, engine: Engine) -> list[str]:
    """End every former password that no slot needs any more; returns the operations begun. A busy place waits."""
    snapshot, begun = kit.store.snapshot, []
    for each in await kit.store.consult(lambda registry: registry.storages.rotating()):
        project = snapshot.projects.get(each.place.project)
        if project is None or project.state != READY or not each.ready or still_need(each, snapshot.pair_of(each.place)):
            continue
        actor = Actor("timer", project.team, Role.ADMIN)
        call = Call(kit, engine, actor, "db_rotate", kit.world.new_id("timer"), needs_database=True)
        try:
            begun.append((await begin_end(call, each)).id)
        except PublicError as fault:
            log.info("the former password of %s stays for now: %s", each.name, fault)
    return begun


async def purge_deleted(kit: Kit, engine: Engine, audit: AuditLog, later: dict[str, float]) -> list[str]:
    """Remove what is left of every project whose week is over by its stored time; returns the operations begun.

    A purge that stopped half way is tried again, not before the (monotonic) time that `later` has for it. One audit row
    each time, also for what did not succeed.
    """
    snapshot, now, begun = kit.store.snapshot, kit.world.now(), []
    busy = {place.project for place in snapshot.running}
    for project in [each for each in snapshot.projects.values() if purge_due(each, now) and each.name not in busy]:
        if kit.world.monotonic() < later.get(project.name, 0.0):
            continue
        actor = Actor("timer", project.team, Role.ADMIN)
        call = Call(kit, engine, actor, "project_delete", kit.world.new_id("timer"), needs_database=True)
        params, summary, code = {"projectName": project.name, "purge": True}, f"{project.name}: purged.", ""
        began = kit.world.monotonic()
        try:
            operation = await begin_purge(call, project, f"it was deleted {KEPT_DAYS} days ago")
            begun.append(operation.id)
            call.correlation_id = operation.id
            operation, _ = await call.ended(operation.id, PURGE_SECONDS)
            if not (operation.result or {}).get("purged"):
                summary, code = f"{project.name}: only partly purged: {' '.join(operation.warnings)}", "not_all_gone"
        except PublicError as fault:
            log.info("%s stays for now: %s", project.name, fault)
            summary, code = f"{project.name}: {fault.message}", fault.code
        if code:
            later[project.name] = kit.world.monotonic() + PURGE_PAUSE
        spent = (kit.world.monotonic() - began) * 1000
        audit.record_automatic(
            "project_delete", now, call.correlation_id, summary, params, team=project.team, code=code, duration_ms=spent
        )  # fmt: skip
    return begun


async def _graces(kit: Kit, engine: Engine, audit: AuditLog) -> None:
    """Look every ten seconds until cancelled."""
    later: dict[str, float] = {}
    while True:
        await asyncio.sleep(EVERY_SECONDS)
        try:
            if kit.store.standing.leads:
                await end_graces(kit, engine, audit, later)
                if not kit.store.standing.degraded and not engine.stopping:
                    await end_rotations(kit, engine)
                    await purge_deleted(kit, engine, audit, later)
                    await end_previews(kit, engine, audit, later)
        except Exception:
            log.exception("the timer's round failed; the next one comes")


async def _vault(kit: Kit) -> None:
    """A master key that was put back, or a database that is back, opens the vault without a restart; and who comes to lead lets
    go of the key that a change left behind."""
    looked: list[str] = []
    while True:
        await asyncio.sleep(EVERY_SECONDS)
        try:
            left = list(kit.keyring.ids) if kit.store.standing.leads else []
            if kit.keyring.fault is not None or (len(left) > 1 and left != looked):
                await master_key.settle(kit)
                looked = left
        except Exception:
            log.exception("the look at the master key failed; the next one comes")


async def _env_files(kit: Kit) -> None:
    """At once, for a death may have come before a file; then every half minute."""
    while True:
        try:
            if kit.store.standing.leads:
                await envs.settle(kit)
        except Exception:
            log.exception("the look at the env files failed; the next one comes")
        await asyncio.sleep(ENV_SECONDS)


async def prune_audit(kit: Kit) -> int:
    """Drop what of the audit log is older than it is kept; gives how many rows went. In small steps: others write between."""
    return await _prune(kit, lambda registry, before, most: registry.audit.prune(before, most))


async def prune_approvals(kit: Kit) -> int:
    """The same of approvals, which the log tells of as long as they are there."""
    return await _prune(kit, lambda registry, before, most: registry.approvals.prune(before, most))


Dropping = Callable[[Registry, datetime, int], Awaitable[int]]


async def _prune(kit: Kit, drop: Dropping) -> int:
    if not kit.policy.audit_days:
        return 0
    before, gone = kit.world.now() - timedelta(days=kit.policy.audit_days), 0
    while kit.store.standing.leads and not kit.store.standing.degraded:
        step = await kit.store.transact(lambda registry: drop(registry, before, PRUNED_AT_ONCE))
        gone += step
        if not step:
            break
        await kit.world.sleep(PRUNE_PAUSE)
    return gone


async def _retention(kit: Kit) -> None:
    """Look every hour until cancelled."""
    while True:
        try:
            gone, over = await prune_audit(kit), await prune_approvals(kit)
            if gone or over:
                days = kit.policy.audit_days
                log.info("%d rows of the audit log and %d approvals were older than %d days and are gone", gone, over, days)
        except Exception:
            log.exception("the audit log was not pruned; the next hour comes")
        await asyncio.sleep(PRUNE_SECONDS)


async def run(kit: Kit, engine: Engine, audit: AuditLog) -> None:
    """Everything that happens because it is time, until cancelled."""
    async with asyncio.TaskGroup() as jobs:
        jobs.create_task(_graces(kit, engine, audit))
        jobs.create_task(_vault(kit))
        jobs.create_task(_retention(kit))
        jobs.create_task(_env_files(kit))
        jobs.create_task(Reconciler(kit, engine, audit).run())
