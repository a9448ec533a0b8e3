"""Stores for tests, on all three kinds of database, and values to put in them."""

from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from codeb.drivers.store.mirror import Mirror
from codeb.drivers.store.sql import SqlStore, open_store
from codeb.model.journal import Operation, OpState
from codeb.model.names import Place, Slot
from codeb.model.slots import Pair, SlotRow
from codeb.model.specs import Project

KINDS = ["sqlite-file", "sqlite-memory", pytest.param("postgres", marks=pytest.mark.postgres)]
SHARED = ["sqlite-file", pytest.param("postgres", marks=pytest.mark.postgres)]
"""kinds that two processes may open at once"""

START = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)
PROD = Place("shop", "production")
STAGE = Place("shop", "staging")


class Clock:
    """Moves only when told."""

    def __init__(self) -> None:
        self.at = START

    def __call__(self) -> datetime:
        return self.at

    def jump(self, **by: float) -> None:
        self.at += timedelta(**by)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    match request.param:
        case "sqlite-file":
            return f"sqlite:///{tmp_path}/home/codeb.db"
        case "sqlite-memory":
            return "sqlite://"
        case _:
            return str(request.getfixturevalue("postgres").url())


Opener = Callable[..., Any]


@pytest.fixture
async def opener(url: str, clock: Clock) -> AsyncIterator[Opener]:
    """Opens the same database again, as another process would; closes all in the end."""
    opened: list[SqlStore] = []

    async def another(mirror: Mirror | None = None) -> SqlStore:
        opened.append(await open_store(url, mirror=mirror, now=clock))
        return opened[-1]

    yield another
    for store in opened:
        await store.close()


@pytest.fixture
async def store(opener: Opener) -> SqlStore:
    found: SqlStore = await opener()
    return found


def pair(place: Place = PROD, port: int = 4100) -> Pair:
    return Pair(SlotRow(place, Slot.BLUE, port), SlotRow(place, Slot.GREEN, port + 1))


def project(name: str = "shop", team: str = "acme") -> Project:
    return Project(name, team, created_at=START, created_by="acme/owner/k1")


def operation(id_: str = "op_1", places: tuple[Place, ...] = (PROD,), **more: Any) -> Operation:
    fields: dict[str, Any] = {
        "tool": "deploy", "saga": "deploy", "saga_version": 1, "team": "acme", "actor": "acme/member/k1",
        "input": {"version": "1", "list": [1, {"a": None}]}, "state": OpState.RUNNING, "created_at": START,
        "updated_at": START, "fence": 0, "summary": "deploy 1 of shop",
    }  # fmt: skip
    return Operation(id=id_, places=places, **{**fields, **more})


async def reread(store: SqlStore) -> Any:
    """The snapshot as somebody who has never seen the store before reads it."""
    fresh = SqlStore(store._database, None, store._now)
    await fresh.refresh()
    return fresh.snapshot
