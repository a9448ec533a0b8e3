"""Where a chain goes on when something is missing at the start (P14)."""

from dataclasses import replace
from typing import Any

import pytest

from codeb.contracts.store import Standing
from codeb.gate.audit import _there
from codeb.model.chain import Head, Span
from tests.kit import START, begin
from tests.unit.gate.test_audit import STAGING, Away, row, verified

pytestmark = pytest.mark.anyio


class Apart(Away):
    """What stands in for the database: it takes rows, and does not know what the database has."""

    def __init__(self, store: Any) -> None:
        self.standing = Standing(away_since=START, why="gone")
        self.append = store.append  # type: ignore[method-assign]


async def test_without_the_database_a_chain_begins_that_follows_the_newest_row_aside() -> None:
    """The note of the end may be older than what waits."""
    async with begin("active") as rig:
        process = rig.boot()
        await process.ok("port_allocate", **STAGING)
        process.audit._store = Away(rig.store)  # type: ignore[assignment]
        await process.ok("project_update", projectName="shop", watchSeconds=70)
        (waiting,) = rig.ledger.rows
        rig.ledger.kept = replace(waiting.head, seq=waiting.head.seq - 1, hash=waiting.prev or "")
        after = rig.boot()
        after.audit._store = Away(rig.store)  # type: ignore[assignment]
        await after.ok("project_update", projectName="shop", watchSeconds=71)
        (began,) = [each for each in rig.ledger.rows if each.tool == "audit_chain"]
        assert (began.code, began.params["follows"]) == ("without_database", vars(waiting.head))


async def test_what_stands_in_for_the_database_does_not_say_where_a_chain_ends() -> None:
    async with begin("active") as rig:
        process = rig.boot()
        process.audit.add(row(1))
        await process.audit.close()
        after = rig.boot()
        after.audit._store = Apart(rig.store)  # type: ignore[assignment]
        after.audit.add(row(2))
        body = await verified(after)
        assert [each["why"] for each in body["chains"]] == ["", "without_database"]


async def test_of_a_chain_that_is_not_there_no_row_is() -> None:
    async with begin("active") as rig:
        process = rig.boot()
        process.audit.add(row(1))
        await process.audit.close()
        assert rig.ledger.kept is not None
        async with rig.store.read() as registry:
            spans = list(await registry.audit.chains())
            assert await _there(registry, rig.ledger.kept, spans)
            for head in (replace(rig.ledger.kept, chain="other"), replace(rig.ledger.kept, hash="x"), Head("house", 99, "x")):
                assert not await _there(registry, head, spans)
            gone = Head("old", 5, "e" * 64)
            assert await _there(registry, gone, [Span("old", 0, None, gone)]), "it went by its age"
            assert not await _there(registry, replace(gone, hash="x"), [Span("old", 0, None, gone)])
