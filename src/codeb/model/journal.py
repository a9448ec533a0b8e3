"""Operations and their steps as the journal keeps them, with the allowed moves as data."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from codeb.model.names import Place


class OpState(StrEnum):
    RUNNING = "running"
    """going forward"""
    UNWINDING = "unwinding"
    """going back: a step failed, was cancelled, or the process died before the commit point"""
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    """everything that could be undone is undone; `undo_faults` names what could not"""
    CANCELLED = "cancelled"

    @property
    def terminal(self) -> bool:
        return self in (OpState.SUCCEEDED, OpState.FAILED, OpState.CANCELLED)


OP_MOVES: frozenset[tuple[OpState, OpState]] = frozenset(
    {
        (OpState.RUNNING, OpState.UNWINDING),
        (OpState.RUNNING, OpState.SUCCEEDED),
        (OpState.UNWINDING, OpState.FAILED),
        (OpState.UNWINDING, OpState.CANCELLED),
        (OpState.UNWINDING, OpState.RUNNING),
    }
)
"""UNWINDING -> RUNNING: a resume that finds the commit had landed after all goes forward."""


class StepState(StrEnum):
    INTENT = "intent"
    """written before the act: it may or may not have happened"""
    DONE = "done"
    FAILED = "failed"
    UNDOING = "undoing"
    UNDONE = "undone"
    UNDO_FAILED = "undo_failed"


IDLE = "idle"
"""in the output of a step that was about parts of which there were none"""


@dataclass(frozen=True)
class StepRow:
    """One step of one operation. `output` is plain JSON; `duration_ms` is of the act alone, by the monotonic clock."""

    operation_id: str
    index: int
    name: str
    state: StepState
    started_at: datetime
    attempt: int = 1
    duration_ms: float | None = None
    output: dict[str, Any] = field(default_factory=dict)
    error: str | None = None

    @property
    def idle(self) -> bool:
        """Whether there was nothing for it to be done about: it is not told as done."""
        return self.state is StepState.DONE and self.output.get(IDLE) is True


@dataclass(frozen=True)
class Operation:
    """One run of a saga. `input` was fixed in the transaction that opened it and is all an undo may rely on."""

    id: str
    tool: str
    saga: str
    saga_version: int
    places: tuple[Place, ...]
    team: str
    actor: str
    input: dict[str, Any]
    state: OpState
    created_at: datetime
    updated_at: datetime
    fence: int
    summary: str = ""
    step: str | None = None
    cancel_requested: bool = False
    result: dict[str, Any] | None = None
    error: dict[str, Any] | None = None
    warnings: tuple[str, ...] = ()
    undo_faults: tuple[str, ...] = ()
    resumed: int = 0
    follows: str | None = None
    """the operation this one grew out of (autoPromote: the deploy)"""
    ended_at: datetime | None = None

    @property
    def project(self) -> str:
        return self.places[0].project

    @property
    def environment(self) -> str:
        return self.places[0].environment
