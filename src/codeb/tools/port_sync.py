"""Registry against runtime: where the two disagree about ports, and what can be mended safely."""

from typing import Any

from pydantic import Field

from codeb.contracts.store import Registry
from codeb.errors import Unavailable
from codeb.flows.observers import survey
from codeb.model.access import Role
from codeb.model.deletion import READY
from codeb.model.slots import State
from codeb.tools import fields
from codeb.tools.call import Call
from codeb.tools.drafts import draft
from codeb.tools.pairs import drop_pair, new_pair, taken_outside
from codeb.tools.tool import Outcome, Risk, Tool

MEND = "mend: "


class SyncParams(fields.Changing):
    fix: bool = Field(False, description="mend what is safe to mend")


class DriftView(fields.Result):
    port: int
    kind: str
    text: str
    repair: str
    mended: bool = False


class SyncResult(fields.Result):
    drift: list[DriftView]
    mended: int


async def _sync(call: Call, params: SyncParams) -> Outcome:
    drift = await _find_drift(call)
    mend = [row.port for row in drift if row.repair.startswith(MEND)]
    drafted = draft("port_sync", {"mend": mend}, [row.repair for row in drift], {str(row.port): row.kind for row in drift})
    if params.dry_run:
        return drafted.shown(f"{len(drift)} differences, {len(mend)} can be mended.")
    drafted.still_fits(params)
    mended: list[int] = []
    if params.fix and mend:
        outside = await taken_outside(call)

        async def act(registry: Registry) -> list[int]:
            return await _mend(registry, call, mend, outside)

        mended = await call.change(act, lambda ports: _result(drift, ports).model_dump(by_alias=True))
    result = _result(drift, mended)
    said = f"{len(drift)} differences, {result.mended} mended." if drift else "Registry and runtime agree."
    return Outcome(result, said)


def _result(drift: list[DriftView], ports: list[int]) -> SyncResult:
    rows = [row.model_copy(update={"mended": row.port in ports}) for row in drift]
    return SyncResult(drift=rows, mended=sum(1 for row in rows if row.mended))


async def _find_drift(call: Call) -> list[DriftView]:
    """What a round of reconciliation finds about ports, among what the caller may see. Raises `Unavailable` for a part that
    could not be looked at: an unknown port is not a right one."""
    seen = await survey(call.kit, parts=("containers", "ports"))
    if unseen := next((each for each in seen.found if each.kind == "unseen"), None):
        raise Unavailable(f"{unseen.text} Nothing was done.", code="not_looked_at", hint=unseen.repair)
    visible, pairs = call.projects(), seen.ground.pairs
    drift = []
    for each in sorted((each for each in seen.found if each.port is not None), key=lambda each: each.port or 0):
        if each.place is None or each.place.project not in visible or each.port is None:
            continue
        pair = pairs.get(each.place)
        idle = each.kind == "used_by_other" and pair is not None and all(row.state is State.EMPTY for row in pair.rows)
        repair = f"{MEND}give {each.place.key} another pair" if idle else each.repair
        drift.append(DriftView(port=each.port, kind=each.kind, text=each.text, repair=repair))
    return drift


async def _mend(registry: Registry, call: Call, mend: list[int], outside: set[int]) -> list[int]:
    """Move environments without any container away from ports that others took."""
    mended: list[int] = []
    for place in sorted(call.kit.store.snapshot.pairs):
        pair = await registry.slots.pair(place)
        if pair is None:
            continue
        lost = [row.port for row in pair.rows if row.port in mend]
        idle = all(row.state is State.EMPTY for row in pair.rows)
        project = await registry.projects.get(place.project)
        if project is None or project.state != READY:
            continue
        if not lost or not idle or await registry.journal.running(place):
            continue
        await drop_pair(registry, call, pair)
        await new_pair(registry, call, place, outside)
        mended += lost
    return mended


TOOLS: tuple[Tool[Any], ...] = (
    Tool(
        "port_sync", "Compare ports", "Compare registry and runtime; with fix mend what is safe.",
        SyncParams, SyncResult, Role.ADMIN, Risk.CHANGES, _sync,
    ),
)  # fmt: skip
