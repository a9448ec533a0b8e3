"""One step of a procedure, the procedure, and what a step is given when it runs."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from codeb.contracts.kit import Kit, Policy
from codeb.contracts.store import Registry
from codeb.errors import PublicError
from codeb.model.journal import IDLE, Operation

I = TypeVar("I")  # noqa: E741  the input of a saga
P = TypeVar("P")

Output = Mapping[str, Any]


@dataclass
class Run(Generic[I]):
    """One run of a saga, as its steps see it. `kit` is fenced: its changing verbs refuse once the lock has passed on."""

    kit: Kit
    operation: Operation
    input: I
    outputs: dict[str, dict[str, Any]] = field(default_factory=dict)
    """what finished steps returned, by step name; present for every step before the commit once it has committed"""
    warnings: list[str] = field(default_factory=list)

    def warn(self, text: str) -> None:
        """Something the caller should know although the operation goes on."""
        if text and text not in self.warnings:
            self.warnings.append(text)

    def about(self, part: P) -> "Run[P]":
        """The same run, as the steps of another procedure see it that is done as a part of this one."""
        return Run(self.kit, self.operation, part, self.outputs, self.warnings)


@dataclass(frozen=True)
class Step(Generic[I]):
    """`do` and `undo` may both be repeated. `undo` relies on the input and on the world, never on what `do` returned.

    A step is either an act outside (`do`) or a write to the store (`record`, done in one transaction with its own
    journal row). `commits` marks the one point of no return. `landed` answers, after a crash inside an act that
    commits, whether it happened.
    """

    name: str
    about: str
    do: Callable[[Run[I]], Awaitable[Output | None]] | None = None
    undo: Callable[[Run[I]], Awaitable[None]] | None = None
    record: Callable[[Run[I], Registry], Awaitable[Output | None]] | None = None
    commits: bool = False
    apart: bool = False
    """what its undo takes back, no earlier step's undo touches: they need not wait for it when its part is away"""
    landed: Callable[[Run[I]], Awaitable[bool]] | None = None

    def __post_init__(self) -> None:
        if (self.do is None) == (self.record is None):
            raise ValueError(f"step {self.name}: either an act or a record")
        if self.commits and self.do is not None and self.landed is None:
            raise ValueError(f"step {self.name}: an act that commits must be able to say whether it landed")


def each(step: Step[P], parts: Callable[[I], Sequence[P]], name: str = "") -> Step[I]:
    """An act of another procedure as a step of this one: done for every part of the input, undone the other way round.

    An undo that fails keeps none of the others from being undone.
    """
    act, back = step.do, step.undo
    if act is None or step.commits:
        raise ValueError(f"step {step.name}: only an act that does not commit can be a part of another procedure")

    async def do(run: Run[I]) -> Output:
        found: dict[str, Any] = {}
        wanted = parts(run.input)
        for part in wanted:
            found |= await act(run.about(part)) or {}
        return found if wanted else {IDLE: True}

    async def undo(run: Run[I]) -> None:
        assert back is not None
        faults: list[PublicError] = []
        for part in reversed(parts(run.input)):
            try:
                await back(run.about(part))
            except PublicError as fault:
                faults.append(fault)
        if faults:
            raise faults[0]

    return Step(name or step.name, step.about, do=do, undo=undo if back else None, apart=step.apart)


@dataclass(frozen=True)
class Next(Generic[I]):
    """An operation that grows out of another one and takes over its lock in the same transaction."""

    saga: "Saga[I]"
    tool: str
    input: I


async def _nothing(*_: Any) -> None:
    return None


@dataclass(frozen=True)
class Saga(Generic[I]):
    """A procedure: its steps in order, and what belongs to its beginning and its two ends.

    `opening` names what is done, and journaled as done, in the transaction that opens it; `spent` tells from the input how
    many milliseconds those of them took that `decide` did. The others are what `opened` took.
    """

    name: str
    version: int
    input: type[I]
    steps: tuple[Step[I], ...]
    deadline: Callable[[Policy], float]
    result: Callable[[Run[I]], dict[str, Any]]
    summary: Callable[[I], str]
    opening: tuple[str, ...] = ()
    spent: Callable[[I], Mapping[str, float]] = lambda _: {}
    opened: Callable[[I, Operation, Registry], Awaitable[None]] = _nothing
    failed: Callable[[Run[I], Registry, PublicError], Awaitable[None]] = _nothing
    then: Callable[[Run[I], Registry], Awaitable[Next[Any] | None]] = _nothing

    def __post_init__(self) -> None:
        if sum(step.commits for step in self.steps) != 1:
            raise ValueError(f"saga {self.name}: exactly one step is the commit point")

    def step(self, name: str) -> Step[I]:
        return next(step for step in self.steps if step.name == name)

    async def recorded(self, run: Run[I], registry: Registry) -> None:
        """What its commit point writes, in the transaction of a procedure that this one is a part of."""
        record = self.steps[self.commit_index].record
        assert record is not None
        await record(run, registry)

    @property
    def commit_index(self) -> int:
        return next(at for at, step in enumerate(self.steps) if step.commits)
