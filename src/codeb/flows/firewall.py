"""Firewall: have these openings as the registry says, and change what it says, together.

apply -> RECORD -> settle

Every step looks at the rows and brings only the openings it is about to what they say, so a repetition finds its work done and
nothing of others is touched. Before the commit point the rows are the old ones: going back is the same act as going forward.
"""

import asyncio
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

from codeb.contracts.firewall import Proof
from codeb.contracts.kit import Kit
from codeb.contracts.store import Registry
from codeb.errors import Conflict, StepFailed
from codeb.model import firewall, servers
from codeb.model.deletion import CREATING, READY
from codeb.model.drift import Mismatch
from codeb.model.firewall import NOBODY, Opening, Rule
from codeb.model.names import Place
from codeb.saga.step import Run, Saga, Step

LOCK = Place("_", "firewall")
"""what a change of the firewall locks: no project is called so"""
REACHED = ("store", "docker", "proxy")
"""checks that have to pass after a change, where they passed before"""
CHECK_SECONDS, TRIES, PAUSE = 4.0, 3, 0.5


@dataclass(frozen=True)
class FirewallInput:
    touched: tuple[Opening, ...]
    add: tuple[Rule, ...] = ()
    remove: tuple[Rule, ...] = ()
    about: str = "bring the firewall to what the registry says"
    also: tuple[str, ...] = ()
    """projects that are being set up: they count as if they were live"""


# what is to be


async def rows(registry: Registry) -> tuple[list[Rule], set[str]]:
    """The rules, and the projects whose rules count: one that is being set up has those on record that its storage needs."""
    live = {each.name for each in await registry.projects.all() if each.state in (CREATING, READY)}
    return list(await registry.rules.all()), live


def guarded(kit: Kit) -> set[str] | None:
    """The servers whose rules the firewall has; None: all."""
    return None if kit.firewall.everywhere else {kit.policy.server}


def wanted(kit: Kit, rules: Iterable[Rule], live: Collection[str]) -> dict[Opening, Opening]:
    return firewall.wanted(rules, guarded(kit), live)


async def bring(
    kit: Kit, touched: Iterable[Opening], proof: Proof, *, add: Collection[Rule] = (), remove: Collection[Rule] = (),
    also: Collection[str] = (),
) -> bool:  # fmt: skip
    """Have these openings as the rows say, with `add` and without `remove`; `also`: projects that count as if they were live."""
    rules, live = await kit.store.consult(rows)
    gone = {each.key for each in remove}
    future = [each for each in rules if each.key not in gone]
    future += [each for each in add if each.key not in {rule.key for rule in future}]
    opened, closed = firewall.change(wanted(kit, future, {*live, *also}), touched)
    return await kit.firewall.change(opened, closed, proof)


async def of_project(kit: Kit, project: str, *, also: Collection[str] = (), back: bool = False) -> None:
    """Have the openings of a project as the rows and its state say; `back`: that is how it was before. Without rules nothing is
    looked at."""
    rules, _ = await kit.store.consult(rows)
    touched = [each.opening for each in rules if each.project == project]
    if touched and kit.firewall.provider != "none":
        await bring(kit, touched, trusted if back else await proof(kit), also=also)


# the proof


async def trusted() -> None:
    """For the way back, and for what is proven already."""


async def _passing(kit: Kit) -> set[str]:
    async def ask(name: str) -> str:
        try:
            async with asyncio.timeout(CHECK_SECONDS):
                found = await kit.checks[name].check()
        except TimeoutError:
            return ""
        return "" if found.status == "fail" else name

    return set(await asyncio.gather(*(ask(name) for name in REACHED if name in kit.checks)))


async def proof(kit: Kit) -> Proof:
    """What CodeB reaches now, it has to reach after the change. `firewall_unproven` otherwise."""
    before = await _passing(kit)

    async def prove() -> None:
        lost = before
        for attempt in range(TRIES):
            if attempt:
                await kit.world.sleep(PAUSE)
            lost = before - await _passing(kit)
            if not lost:
                return
        raise StepFailed(
            f"With it CodeB no longer reached {', '.join(sorted(lost))}; what was in force before is again.",
            code="firewall_unproven", hint="See health_check.", details={"lost": sorted(lost)},
        )  # fmt: skip

    return prove


# steps


async def _apply(run: Run[FirewallInput]) -> dict[str, Any]:
    value = run.input
    proven = await proof(run.kit)
    return {"changed": await bring(run.kit, value.touched, proven, add=value.add, remove=value.remove, also=value.also)}


async def _back(run: Run[FirewallInput]) -> None:
    await bring(run.kit, run.input.touched, trusted)


async def _record(run: Run[FirewallInput], registry: Registry) -> None:
    """Raises `Conflict` when the project or the server went meanwhile: everything is taken back then."""
    value = run.input
    there = servers.known(await registry.servers.all(), run.kit.policy.server)
    for rule in value.add:
        project = await registry.projects.get(rule.project) if rule.project != NOBODY else None
        if rule.project != NOBODY and (project is None or project.state != READY):
            raise Conflict(f"Project {rule.project} is deleted.", code="project_deleted", hint="Call undelete first.")
        if rule.server not in there:
            raise Conflict(f"There is no server {rule.server} any more.", code="server_not_found", hint="See server_list.")
    await registry.rules.put(*value.add)
    await registry.rules.remove(*value.remove)


async def _settle(run: Run[FirewallInput]) -> None:
    """Another one that shares an opening may have ended meanwhile; and a death may have taken back what is recorded now."""
    await bring(run.kit, run.input.touched, trusted)


def _result(run: Run[FirewallInput]) -> dict[str, Any]:
    value = run.input
    return {
        "opened": [str(rule.opening) for rule in value.add], "closed": [str(rule.opening) for rule in value.remove],
        "changed": bool(run.outputs.get("apply", {}).get("changed")),
    }  # fmt: skip


SAGA: Saga[FirewallInput] = Saga(
    name="firewall",
    version=1,
    input=FirewallInput,
    steps=(
        Step("apply", "the firewall has it, and CodeB still reaches what it must", do=_apply, undo=_back),
        Step("record", "the rules are on record", record=_record, commits=True),
        Step("settle", "the firewall is as the registry says", do=_settle),
    ),
    deadline=lambda policy: policy.switch_seconds,
    result=_result,
    summary=lambda value: value.about,
)


# looking, and mending


async def differences(kit: Kit, *, fixed: bool = False) -> list[Mismatch]:
    """Where the firewall is not what the registry says. While a change is under way the two differ on purpose."""
    if kit.firewall.provider == "none" or LOCK in kit.store.snapshot.running:
        return []
    standing = await kit.firewall.look()
    rules, live = await kit.store.consult(rows)
    return firewall.differences(standing, wanted(kit, rules, live).values(), fixed=fixed)


async def mending(kit: Kit, *, fixed: bool) -> FirewallInput:
    """What mends what is missing and edited; with `fixed` also what nobody asked for."""
    standing = await kit.firewall.look()
    rules, live = await kit.store.consult(rows)
    want = set(wanted(kit, rules, live).values())
    touched = want - standing.open | (standing.ours - want if fixed else set())
    return FirewallInput(tuple(sorted(touched)), about="mend the firewall")
