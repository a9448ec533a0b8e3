"""What was done while the database was away and could not be added to it: read it, put right what is wrong, settle it."""

from collections.abc import Mapping
from typing import Any

from codeb.contracts.store import Registry
from codeb.errors import NotFound
from codeb.model.access import Role
from codeb.model.events import Unreplayed
from codeb.tools import fields
from codeb.tools.call import Call
from codeb.tools.drafts import draft
from codeb.tools.tool import NextCall, Outcome, Risk, Tool


class ListParams(fields.Params):
    pass


class ConflictView(fields.Result):
    conflict_id: str
    at: str
    reason: str
    operation_id: str | None
    rows: list[dict[str, Any]]
    others: int


class ListResult(fields.Result):
    conflicts: list[ConflictView]


class SettleParams(fields.Changing):
    conflict_id: fields.ConflictId


class SettleResult(fields.Result):
    conflict_id: str
    settled: bool


def _project(row: Mapping[str, Any]) -> str | None:
    facts = row.get("after") or row.get("before") or {}
    found = facts.get("name") if row.get("table") == "projects" else facts.get("project")
    return found if isinstance(found, str) else None


def _theirs(call: Call, conflict: Unreplayed) -> list[Mapping[str, Any]]:
    """Its rows about projects that the caller sees."""
    visible = call.projects()
    return [row for row in conflict.changes if _project(row) in visible]


def view(call: Call, conflict: Unreplayed) -> ConflictView:
    rows = _theirs(call, conflict)
    return ConflictView(
        conflict_id=conflict.id, at=conflict.at.isoformat(), reason=conflict.reason, operation_id=conflict.operation_id,
        rows=[dict(row) for row in rows], others=len(conflict.changes) - len(rows),
    )  # fmt: skip


async def _open_ones(call: Call) -> list[Unreplayed]:
    found = await call.kit.store.consult(lambda registry: registry.conflicts.open_ones())
    return [each for each in found if _theirs(call, each)]


async def _list(call: Call, params: ListParams) -> Outcome:
    found = await _open_ones(call)
    settle = tuple(
        NextCall("conflict_settle", {"conflictId": each.id}, "once what it should have done is put right or not wanted")
        for each in found[:1]
    )
    said = f"{len(found)} could not be added to the database." if found else "Nothing: all was added to the database."
    return Outcome(ListResult(conflicts=[view(call, each) for each in found]), said, settle)


async def _settle(call: Call, params: SettleParams) -> Outcome:
    known = {each.id: each for each in await _open_ones(call)}
    if params.conflict_id not in known:
        raise NotFound(f"There is no open conflict {params.conflict_id}.", code="conflict_not_found", hint="Call conflict_list.")
    reason = known[params.conflict_id].reason
    drafted = draft("conflict_settle", {"conflictId": params.conflict_id}, [f"forget what was not added ({reason})"], {})
    if params.dry_run:
        return drafted.shown(f"Would settle {params.conflict_id}: {reason}.")
    drafted.still_fits(params)

    async def act(registry: Registry) -> str:
        await registry.conflicts.settle(params.conflict_id, call.actor.name)
        return params.conflict_id

    await call.change(act, lambda which: {"conflictId": which, "settled": True})
    return Outcome(SettleResult(conflict_id=params.conflict_id, settled=True), f"{params.conflict_id} is settled.")


TOOLS: tuple[Tool[Any], ...] = (
    Tool(
        "conflict_list", "List conflicts",
        "What was done while the database was away and could not be added to it: rows as they would have been.",
        ListParams, ListResult, Role.ADMIN, Risk.READS, _list,
    ),
    Tool(
        "conflict_settle", "Settle a conflict", "Say that a conflict is put right, or that what it did is not wanted.",
        SettleParams, SettleResult, Role.ADMIN, Risk.CHANGES, _settle,
    ),
)  # fmt: skip
