"""Which cells the crash matrix has. The points are read from the sagas, so a new step is a new cell."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from codeb.flows.catalog import SAGAS
from codeb.saga.step import Saga

BY_NAME = {saga.name: saga for saga in SAGAS}
MOMENTS = ("before", "effect", "record")

# situation -> states of the two slots it wants; None: an environment that does not exist yet
SITUATIONS: dict[str, frozenset[str] | None] = {
    "new environment": None,
    "empty pair": frozenset({"empty"}),
    "deployed only": frozenset({"deployed", "empty"}),
    "active and deployed": frozenset({"active", "deployed"}),
    "active and grace": frozenset({"active", "grace"}),
}
CALLS = {
    "deploy": "deploy", "deploy of a broken image": "deploy", "deploy and promote": "deploy", "promote": "promote",
    "rollback": "rollback", "cleanup": "slot_cleanup", "project_delete": "project_delete",
}  # fmt: skip
BY_HAND = {"mend of a lost container": "mend", "mend of everything": "mend", "restart": "restart"}
"""begun by nobody's call: by what somebody did past CodeB, and the loop or the watch finding it"""


@dataclass(frozen=True)
class Cell:
    what: str
    """a key of CALLS or BY_HAND"""
    situation: str
    point: str
    """saga.step.way.moment"""
    second: str | None = None

    def __str__(self) -> str:
        return f"{self.what} ({self.situation}) at {self.point}" + (f", then at {self.second}" if self.second else "")

    @property
    def saga(self) -> Saga[Any]:
        return BY_NAME[self.point.partition(".")[0]]

    @property
    def at(self) -> int:
        return _index(self.saga, self.point)

    @property
    def moment(self) -> str:
        return self.point.rpartition(".")[2]

    @property
    def reloads(self) -> bool:
        """Whether a site comes or goes: the proxy then loads a new configuration."""
        return self.what in ("project_delete", "mend of everything") or self.situation in ("new environment", "empty pair")

    @property
    def by_hand(self) -> bool:
        return self.what in BY_HAND

    @property
    def committed(self) -> bool:
        """Whether the commit point is behind the first kill: then forward, else back."""
        commit = self.saga.commit_index
        if commit == 0 and self.saga.steps[0].record and not self.saga.opening:
            # opened, and not a row in its journal yet: it begins anew
            return True
        if ".undo." in self.point or self.at != commit:
            return ".undo." not in self.point and self.at > commit
        # a record commits with its transaction, inside which `effect` is; an act that commits has landed with its effect
        return self.moment in (("record",) if self.saga.steps[commit].record else ("effect", "record"))


def _index(saga: Saga[Any], point: str) -> int:
    return next(index for index, step in enumerate(saga.steps) if step.name == point.split(".")[1])


def forward_points(saga: Saga[Any], since: int = 0) -> Iterator[str]:
    """Every point on the way forward. An act before a record has no `record` of its own: both are one transaction."""
    for index, step in enumerate(saga.steps[since:], since):
        joined = step.do is not None and index + 1 < len(saga.steps) and saga.steps[index + 1].record is not None
        for moment in MOMENTS:
            if not (joined and moment == "record"):
                yield f"{saga.name}.{step.name}.do.{moment}"


def undo_points(saga: Saga[Any], last: int) -> list[str]:
    """Every point on the way back from step `last`, in the order in which they are passed."""
    undone = [step.name for step in reversed(saga.steps[: last + 1]) if step.undo is not None]
    final = f"{saga.name}.{saga.steps[0].name}.undo.record"
    points = [f"{saga.name}.{name}.undo.{moment}" for name in undone for moment in MOMENTS]
    return [*(point for point in points if point != final), final]


def recovery_points(cell: Cell) -> list[str]:
    """Every point that the server passes which recovers from the first kill."""
    saga, at = cell.saga, cell.at
    if ".undo." in cell.point:
        return _onward(saga, cell.point)
    if not cell.committed:
        # with the outcome of a step its successor's intent is written, and is undone as well
        reach = at + 1 if cell.moment == "record" and saga.steps[at + 1].do is not None else at
        return undo_points(saga, reach)
    if at == len(saga.steps) - 1 and cell.moment == "record":
        return []
    if at == saga.commit_index and saga.steps[at].do is not None:
        return [f"{saga.name}.{saga.steps[at].name}.do.record", *forward_points(saga, at + 1)]
    return list(forward_points(saga, at + 1 if cell.moment == "record" else at))


def _onward(saga: Saga[Any], point: str) -> list[str]:
    """What is still before a way back that was cut at `point`: its step again, unless that is recorded as undone."""
    points = undo_points(saga, len(saga.steps) - 1)
    here = points.index(point)
    return points[here + 1 :] if point.endswith(".record") else points[here - here % 3 :]


def cells(what: str, situation: str, points: list[str], seconds: str) -> list[Cell]:
    """One cell per point; `seconds` says which second kills: none, one (a sample) or all."""
    made: list[Cell] = []
    for number, point in enumerate(points):
        single = Cell(what, situation, point)
        recovery = recovery_points(single)
        if seconds == "one" and recovery:
            made.append(Cell(what, situation, point, recovery[number % len(recovery)]))
        else:
            made.append(single)
        if seconds == "all":
            made += [Cell(what, situation, point, again) for again in recovery]
    return made
