"""Registry against runtime: where the two disagree about ports, and what can be mended safely."""

from typing import Any

from pydantic import Field

from codeb.contracts.store import Registry
from codeb.model.access import Role
from codeb.model.names import parse_container
from codeb.model.slots import SlotRow, State
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
    if params.fix and mend:
        outside = await taken_outside(call)

        async def act(registry: Registry) -> list[int]:
            return await _mend(registry, call, mend, outside)

        mended = await call.change(act, lambda ports: {"mended": ports})
        drift = [row.model_copy(update={"mended": row.port in mended}) for row in drift]
    count = sum(1 for row in drift if row.mended)
    said = f"{len(drift)} differences, {count} mended." if drift else "Registry and runtime agree."
    return Outcome(SyncResult(drift=drift, mended=count), said)


async def _find_drift(call: Call) -> list[DriftView]:
    """Registry against runtime and sockets, among what the caller may see; places with an operation under way are left out."""
    published, listening = await call.kit.ports.published(), await call.kit.ports.listening()
    visible, snapshot = call.projects(), call.kit.store.snapshot
    rows = {row.port: row for place, pair in snapshot.pairs.items() if place.project in visible for row in pair.rows}
    found = [
        _of_row(call, row, published.get(port), port in listening)
        for port, row in sorted(rows.items())
        if row.place not in snapshot.running
    ]
    drift = [each for each in found if each is not None]
    for port, name in sorted(published.items()):
        owner = parse_container(name)
        if owner is not None and owner[0].project in visible and port not in rows:
            text = f"{name} publishes {port} without a lease"
            drift.append(DriftView(port=port, kind="not_leased", text=text, repair="port_register, or remove the container"))
    return drift


def _of_row(call: Call, row: SlotRow, holder: str | None, listening: bool) -> DriftView | None:
    """Where one leased port differs."""
    if row.state is not State.EMPTY:
        if holder == row.container:
            return None
        text = f"{row.container} does not publish {row.port}"
        return DriftView(port=row.port, kind="not_published", text=text, repair=f"deploy {row.place.key} again")
    if holder is None and not listening:
        return None
    other = holder or "another program"
    pair = call.kit.store.snapshot.pairs[row.place]
    idle = all(each.state is State.EMPTY for each in pair.rows)
    repair = f"{MEND}give {row.place.key} another pair" if idle else f"stop {other}, or it blocks the next deploy"
    text = f"{row.port} is leased to {row.container} but used by {other}"
    return DriftView(port=row.port, kind="used_by_other", text=text, repair=repair)


async def _mend(registry: Registry, call: Call, mend: list[int], outside: set[int]) -> list[int]:
    """Move environments without any container away from ports that others took."""
    mended: list[int] = []
    for place in sorted(call.kit.store.snapshot.pairs):
        pair = await registry.slots.pair(place)
        if pair is None:
            continue
        lost = [row.port for row in pair.rows if row.port in mend]
        idle = all(row.state is State.EMPTY for row in pair.rows)
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
