"""Time as a caller: what happens because it is time, not because somebody asked."""

import asyncio
import logging

from codeb.contracts.kit import Kit
from codeb.entry.reconciler import Reconciler
from codeb.errors import PublicError
from codeb.flows import master_key
from codeb.gate import AuditLog
from codeb.model.access import Actor, Role
from codeb.model.slots import SlotRow, grace_expired
from codeb.saga.engine import Engine
from codeb.tools.call import Call
from codeb.tools.slots import empty_slot

log = logging.getLogger("codeb.timer")

EVERY_SECONDS = 10.0


async def end_graces(kit: Kit, engine: Engine) -> list[str]:
    """Empty every slot whose grace is over by its stored time; returns the operations begun. A busy place waits."""
    now, begun = kit.world.now(), []
    over: list[SlotRow] = [
        pair.grace for pair in kit.store.snapshot.pairs.values() if pair.grace is not None and grace_expired(pair.grace, now)
    ]
    for row in over:
        team = kit.store.snapshot.projects[row.place.project].team
        actor = Actor("timer", team, Role.ADMIN)
        call = Call(kit, engine, actor, "slot_cleanup", kit.world.new_id("timer"))
        try:
            begun.append((await empty_slot(call, row, "its grace is over")).id)
        except PublicError as fault:
            log.info("%s stays for now: %s", row.container, fault)
    return begun


async def _graces(kit: Kit, engine: Engine) -> None:
    """Look every ten seconds until cancelled."""
    while True:
        await asyncio.sleep(EVERY_SECONDS)
        try:
            if kit.store.standing.leads:
                await end_graces(kit, engine)
        except Exception:
            log.exception("the timer's round failed; the next one comes")


async def _vault(kit: Kit) -> None:
    """A master key that was put back, or a database that is back, opens the vault without a restart."""
    while True:
        await asyncio.sleep(EVERY_SECONDS)
        try:
            if kit.keyring.fault is not None:
                await master_key.settle(kit)
        except Exception:
            log.exception("the look at the master key failed; the next one comes")


async def run(kit: Kit, engine: Engine, audit: AuditLog) -> None:
    """Everything that happens because it is time, until cancelled."""
    async with asyncio.TaskGroup() as jobs:
        jobs.create_task(_graces(kit, engine))
        jobs.create_task(_vault(kit))
        jobs.create_task(Reconciler(kit, engine, audit).run())
