"""The audit log in the store: rows are added and, when old enough, dropped; none is ever changed.

A statement looks at a stretch of the log that does not grow with it, because one that takes long is taken for a database that
went away.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, RowMapping, delete, func, select

from codeb.contracts.audit import AuditAsk, AuditPage
from codeb.drivers.store import rows
from codeb.drivers.store.schema import audit_logs, audit_pruned
from codeb.drivers.store.transaction import Transaction, upsert
from codeb.model.chain import AuditRow, Head, Span

STRETCH = 20_000
"""places that one page looks at"""

_ONE = audit_logs.c


class SqlAudit:
    def __init__(self, tx: Transaction) -> None:
        self._tx = tx

    async def add(self, rows_: Sequence[AuditRow]) -> None:
        if rows_:
            added = [rows.audit_values(row) for row in rows_]
            await self._tx.write(self._tx.insert(audit_logs).on_conflict_do_nothing(), added)
            self._tx.audited += added

    async def latest(self, limit: int) -> Sequence[AuditRow]:
        """Newest first."""
        newest = select(audit_logs).order_by(_ONE.id.desc()).limit(limit)
        return [rows.audit_of(row) for row in (await self._tx.read(newest)).all]

    async def page(self, ask: AuditAsk, *, before: int | None, limit: int) -> AuditPage:
        ends = await self._ends()
        if ends["first"] is None:
            return AuditPage((), None)
        top = min(ends["last"] + 1, before) if before is not None else ends["last"] + 1
        low = max(top - STRETCH, ends["first"])
        here = select(audit_logs).where(_ONE.id < top, _ONE.id >= low, *_narrowing(ask)).order_by(_ONE.id.desc()).limit(limit)
        found = [(row["id"], rows.audit_of(row)) for row in (await self._tx.read(here)).all]
        reached = found[-1][0] if len(found) == limit else low
        return AuditPage(found, reached if reached > ends["first"] else None)

    async def _ends(self) -> RowMapping:
        """Of all rows. Each from the end of the index: asked for together SQLite would look at every row."""
        first, last = (select(end(_ONE.id)).scalar_subquery() for end in (func.min, func.max))
        return (await self._tx.read(select(first.label("first"), last.label("last")))).all[0]

    async def chains(self) -> Sequence[Span]:
        pruned = {
            row["chain"]: Head(row["chain"], row["seq"], row["hash"]) for row in (await self._tx.read(select(audit_pruned))).all
        }
        found, last = dict[str, Span](), ""
        # one step along the index for each, however many rows there are
        while (row := (await self._tx.read(select(func.min(_ONE.chain).label("chain")).where(_ONE.chain > last))).all[0])[
            "chain"
        ]:
            last = row["chain"]
            found[last] = await self._span(last, pruned.get(last))
        for chain, anchor in pruned.items():
            found.setdefault(chain, Span(chain, 0, None, anchor))
        return [found[chain] for chain in sorted(found)]

    async def _span(self, chain: str, pruned: Head | None) -> Span:
        ends = select(_ONE.id, _ONE.seq, _ONE.hash).where(_ONE.chain == chain).limit(1)
        first = (await self._tx.read(ends.order_by(_ONE.seq))).all[0]
        last = (await self._tx.read(ends.order_by(_ONE.seq.desc()))).all[0]
        return Span(chain, first["seq"], Head(chain, last["seq"], last["hash"]), pruned, last["id"])

    async def unchained(self, team: str | None = None) -> int:
        these = [_ONE.chain.is_(None), *([_ONE.team == team] if team is not None else [])]
        return int((await self._tx.read(select(func.count().label("n")).where(*these))).all[0]["n"])

    async def run(self, chain: str, after: int, limit: int) -> Sequence[AuditRow]:
        """In the order of their numbers."""
        these = select(audit_logs).where(_ONE.chain == chain, _ONE.seq > after).order_by(_ONE.seq).limit(limit)
        return [rows.audit_of(row) for row in (await self._tx.read(these)).all]

    async def prune(self, before: datetime, limit: int) -> int:
        gone = 0
        for span in await self.chains():
            oldest = select(_ONE.seq, _ONE.at, _ONE.hash).where(_ONE.chain == span.chain).order_by(_ONE.seq).limit(limit)
            last: Any = None
            for row in (await self._tx.read(oldest)).all:
                if row["at"] >= before:
                    break
                last = row
            if last is not None:
                gone += await self._tx.write(delete(audit_logs).where(_ONE.chain == span.chain, _ONE.seq <= last["seq"]))
                mark = {"chain": span.chain, "seq": last["seq"], "hash": last["hash"], "at": self._tx.now()}
                await self._tx.write(upsert(self._tx.dialect, audit_pruned), mark)
        # what is in no chain is older than what is
        until = ((await self._ends())["first"] or 0) + STRETCH
        free = select(_ONE.id).where(_ONE.id < until, _ONE.chain.is_(None), _ONE.at < before).order_by(_ONE.id).limit(limit)
        if old := [row["id"] for row in (await self._tx.read(free)).all]:
            gone += await self._tx.write(delete(audit_logs).where(_ONE.id.in_(old)))
        return gone


def _narrowing(ask: AuditAsk) -> list[ColumnElement[bool]]:
    mine = _ONE.team == ask.team
    found: list[ColumnElement[bool]] = [mine | _ONE.team.is_(None) if ask.nobodys else mine]
    same = {"key_id": ask.key_id, "tool": ask.tool, "ok": ask.ok, "correlation_id": ask.correlation_id}
    found += [_ONE[name] == value for name, value in same.items() if value is not None]
    project = _ONE.params["projectName"].as_string()
    if ask.own_key is not None:
        found.append(_ONE.key_id == ask.own_key)
    if ask.projects:
        found.append(project.in_(sorted(ask.projects)) | project.is_(None))
    if ask.project is not None:
        found.append(project == ask.project)
    if ask.since is not None:
        found.append(_ONE.at >= ask.since)
    if ask.until is not None:
        found.append(_ONE.at < ask.until)
    return found
