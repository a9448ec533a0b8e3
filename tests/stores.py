"""Stores for tests, on all three kinds of database, and values to put in them."""

from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.engine import make_url

from codeb.drivers.store.mirror import Mirror
from codeb.drivers.store.sql import SqlStore, open_store
from codeb.drivers.store.twin import TwinStore, open_twin
from codeb.drivers.world import SystemWorld
from codeb.errors import Unavailable
from codeb.model.journal import Operation, OpState
from codeb.model.names import Place, Slot
from codeb.model.slots import Pair, SlotRow
from codeb.model.specs import Project
from tests.line import Line, line

KINDS = [
    "sqlite-file",
    "sqlite-memory",
    pytest.param("postgres", marks=pytest.mark.postgres),
    pytest.param("twin", marks=[pytest.mark.postgres, pytest.mark.long]),
    pytest.param("twin-away", marks=pytest.mark.postgres),
]
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
        case kind:
            address = str(request.getfixturevalue("postgres").url())
            return address if kind == "postgres" else f"{kind}+{address}"


Opener = Callable[..., Any]


@pytest.fixture
async def opener(url: str, clock: Clock, tmp_path: Path) -> AsyncIterator[Opener]:
    """Opens the same database again, as another process would; closes all in the end.

    `twin`: PostgreSQL with its local copy; `twin-away`: the copy alone, the database having gone just before.
    """
    opened: list[SqlStore] = []
    kind, _, address = url.partition("+")

    async def another(mirror: Mirror | None = None) -> SqlStore:
        if not address:
            opened.append(await open_store(url, mirror=mirror, now=clock))
            return opened[-1]
        at.set("open")
        twin = await twin_of(through(at, address), tmp_path, clock, boot=len(opened), mirror=mirror)
        opened.append(twin)
        if kind == "twin-away":
            at.set("shut")
            twin._lose(Unavailable("nobody listens there any more"))
        return twin

    with line(int(make_url(address).port or 0) if address else 0) as at:
        yield another
        for store in opened:
            await store.close()


async def twin_of(
    address: str, folder: Path, clock: Callable[[], datetime], *, boot: int = 0, mirror: Mirror | None = None, home: str = "one"
) -> TwinStore:
    """A PostgreSQL registry with its copy; `folder` stands for the machine, `home` for one process on it."""
    (folder / home).mkdir(exist_ok=True)
    return await open_twin(
        address, home=folder / home, fence=folder / "leader", owner=f"{home}:{boot}", address=f"http://{home}.test",
        mirror=mirror, now=clock, new_id=SystemWorld().new_id,
    )  # fmt: skip


def through(line: Line, address: str) -> str:
    """The address of a database behind this line."""
    return make_url(address).set(host="127.0.0.1", port=line.port).render_as_string(hide_password=False)


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


def many_write(store: SqlStore) -> bool:
    """Whether a second process may open and write it too: memory cannot be shared, and of twins one leads."""
    return not isinstance(store, TwinStore) and "memory.db" not in store._database.about


async def reread(store: SqlStore) -> Any:
    """The snapshot as somebody who has never seen the store before reads it."""
    fresh = SqlStore(store._database, None, store._now)
    await fresh.refresh()
    return fresh.snapshot
