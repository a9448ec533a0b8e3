"""P7: whatever is asked in whatever order, no two branches hold what overlaps, and each answer is that of a small model."""

import asyncio
import os
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from codeb.model.work import overlap
from tests.kit import Process, Rig, begin

FULL = os.environ.get("CODEB_TEST_SIZE") == "full"
PATHS = ["a", "a/b", "a/b/c", "ab", "b", "b/c"]
SPANS = {"1h": 1, "3h": 3, "8h": 8}

paths = st.lists(st.sampled_from(PATHS), min_size=1, max_size=3, unique=True)
branches = st.sampled_from(["x", "y", "z"])
which = st.integers(0, 4)
ACTS = st.one_of(
    st.tuples(st.just("create"), branches, paths, st.sampled_from(sorted(SPANS))),
    st.tuples(st.just("add"), which, paths),
    st.tuples(st.just("remove"), which, paths),
    st.tuples(st.just("renew"), which, st.sampled_from(sorted(SPANS))),
    st.tuples(st.just("move"), which, branches),
    st.tuples(st.just("complete"), which),
    st.tuples(st.just("jump"), st.sampled_from([1, 4])),
)


@dataclass
class Item:
    """One task as the model has it: until when it holds each of its files; None: given back."""

    id: str
    branch: str
    files: dict[str, datetime | None] = field(default_factory=dict)
    open: bool = True


class Run:
    def __init__(self, rig: Rig, process: Process) -> None:
        self.rig, self.process = rig, process
        self.items: list[Item] = []

    @property
    def now(self) -> datetime:
        return self.rig.clock.now()

    def live(self) -> set[tuple[str, str, str]]:
        return {
            (each.id, each.branch, path)
            for each in self.items
            for path, until in each.files.items()
            if until and until > self.now
        }

    def blocked(self, item: Item | None, branch: str, wanted: Any) -> bool:
        others = [(other, path) for id_, other, path in self.live() if item is None or id_ != item.id]
        return any(branch != other and overlap(path, one) for one in wanted for other, path in others)

    async def ask(self, fits: bool, tool: str, **params: Any) -> dict[str, Any]:
        said = await self.process.ask(tool, **params)
        assert said.status == (200 if fits else 409), (tool, params, said.body)
        return said.body

    async def act(self, act: tuple[Any, ...]) -> None:
        name, *rest = act
        if name == "jump":
            self.rig.clock.jumped += timedelta(hours=rest[0])
        elif name == "create":
            await self.create(*rest)
        elif rest[0] < len(self.items):
            await getattr(self, name)(self.items[rest[0]], *rest[1:])

    async def create(self, branch: str, wanted: list[str], span: str) -> None:
        fits = not self.blocked(None, branch, wanted)
        about = {"projectName": "shop", "title": "t", "branch": branch, "files": wanted, "lockTtl": span}
        said = await self.ask(fits, "task_create", **about)
        if fits:
            until = self.now + timedelta(hours=SPANS[span])
            self.items.append(Item(said["task"]["taskId"], branch, dict.fromkeys(wanted, until)))

    async def take(self, item: Item, wanted: list[str], span: str, **params: Any) -> None:
        fits = item.open and not self.blocked(item, item.branch, wanted)
        await self.ask(fits, "task_update", taskId=item.id, **params)
        if fits:
            item.files |= dict.fromkeys(wanted, self.now + timedelta(hours=SPANS[span]))

    async def add(self, item: Item, wanted: list[str]) -> None:
        await self.take(item, wanted, "8h", addFiles=wanted)

    async def renew(self, item: Item, span: str) -> None:
        await self.take(item, [path for path, until in item.files.items() if until], span, lockTtl=span)

    async def remove(self, item: Item, wanted: list[str]) -> None:
        await self.ask(True, "task_update", taskId=item.id, removeFiles=wanted)
        item.files |= {path: None for path in wanted if path in item.files}

    async def move(self, item: Item, branch: str) -> None:
        held = [path for id_, _, path in self.live() if id_ == item.id]
        fits = branch == item.branch or not self.blocked(item, branch, held)
        await self.ask(fits, "task_update", taskId=item.id, branch=branch)
        if fits and branch != item.branch:
            item.branch = branch

    async def complete(self, item: Item) -> None:
        await self.ask(True, "task_complete", taskId=item.id)
        item.open, item.files = False, dict.fromkeys(item.files)

    async def agree(self) -> None:
        async with self.rig.store.read() as registry:
            held = {(each.task, each.branch, each.path) for each in await registry.tasks.locks("shop", self.now)}
        assert held == self.live()
        for _, branch, path in held:
            assert not any(branch != other and overlap(path, one) for _, other, one in held), held


async def play(acts: list[tuple[Any, ...]]) -> None:
    async with begin("active") as rig:
        run = Run(rig, rig.boot())
        for act in acts:
            await run.act(act)
            await run.agree()


@settings(max_examples=400 if FULL else 20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(ACTS, min_size=4, max_size=14))
def test_locks_are_those_of_the_model(acts: list[tuple[Any, ...]]) -> None:
    asyncio.run(play(acts))
