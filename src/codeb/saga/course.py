"""One operation under way: its steps forward, its steps back, each journaled."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any, Generic

from codeb.contracts.kit import Kit
from codeb.contracts.store import Registry
from codeb.errors import FenceLost, InternalFault, PublicError, StepFailed, Unavailable
from codeb.model.journal import Operation, OpState, StepRow, StepState
from codeb.saga.fence import fence_kit
from codeb.saga.step import I, Run, Saga, Step
from codeb.saga.unwinding import LEAST_SECONDS, TRIES, Turn, undo_all

log = logging.getLogger("codeb.saga")

LANDED_SECONDS = 15.0
"""how long the world may take to say whether the commit point was passed"""


class InDoubt(InternalFault):
    """The store is away in the very moment in which it would have to say whether it committed: stop here, resume later."""


FollowUp = Callable[[Registry], Awaitable["Course[Any] | None"]]


class Course(Generic[I]):
    """Drives one operation from where its journal stands to an end.

    `changes` counts what a watcher can see; `finished` is set by the engine when nothing more will happen here.
    """

    def __init__(self, kit: Kit, saga: Saga[I], operation: Operation, value: I, rows: Sequence[StepRow] = ()) -> None:
        self.saga = saga
        self.operation = operation
        self.finished = asyncio.Event()
        self.changes = 0
        self._changed = asyncio.Event()
        self._kit = kit
        self._offset = len(saga.opening)
        self._rows: dict[int, StepRow] = {row.index: row for row in rows}
        self._dirty: list[StepRow] = []
        self._resumed = bool(rows)
        self._cancelled = operation.cancel_requested
        self._act: asyncio.Task[Any] | None = None
        self.run = Run(fence_kit(kit, operation.id, operation.fence), operation, value, warnings=list(operation.warnings))
        for row in rows:
            if row.state is StepState.DONE:
                self.run.outputs[row.name] = row.output

    # what others see and ask

    @property
    def committed(self) -> bool:
        row = self._row(self.saga.commit_index)
        return row is not None and row.state is StepState.DONE

    def cancel(self) -> None:
        self._cancelled = True
        if self._act is not None and not self.committed:
            self._act.cancel()

    def tell(self) -> None:
        self.changes += 1
        self._changed.set()
        self._changed = asyncio.Event()

    async def wait_change(self) -> None:
        await self._changed.wait()

    # the journal

    def _row(self, at: int) -> StepRow | None:
        return self._rows.get(at + self._offset)

    def _set(self, at: int, state: StepState, **more: Any) -> None:
        step = self.saga.steps[at]
        former = self._row(at)
        started = former.started_at if former and state is not StepState.INTENT else self._kit.world.now()
        blank = StepRow(self.operation.id, at + self._offset, step.name, state, started)
        row = replace(former or blank, state=state, started_at=started, **more)
        self._rows[row.index] = row
        self._dirty.append(row)

    async def _write(self, registry: Registry) -> None:
        """Everything noted since the last transaction, in this one. It is noted until that is over: it may be run twice."""
        for row in self._dirty:
            await registry.journal.step(self.operation.fence, row)

    async def _flush(self, **fields: Any) -> None:
        async def act(registry: Registry) -> None:
            await self._write(registry)
            if fields:
                await registry.journal.change(self.operation.id, self.operation.fence, **fields)

        await self._kit.store.transact(act)
        self._dirty.clear()
        self.tell()

    async def journal_opening(self, registry: Registry, opened_ms: float) -> None:
        """In the transaction that opens the operation: what it did already, and the intent of the first step."""
        spent = self.saga.spent(self.run.input)
        now = self._kit.world.now()
        for index, name in enumerate(self.saga.opening):
            row = StepRow(self.operation.id, index, name, StepState.DONE, now, duration_ms=spent.get(name, opened_ms))
            self._rows[index] = row
            self._dirty.append(row)
        if self.saga.steps[0].do is not None:
            self._set(0, StepState.INTENT)
        await self._write(registry)

    async def _reached(self, step: Step[I], way: str, moment: str) -> None:
        await self._kit.world.reached(f"{self.saga.name}.{step.name}.{way}.{moment}")

    # forward

    async def sail(self, follow_up: FollowUp) -> "Course[Any] | None":
        """Bring the operation to its end; returns the course of the operation that grows out of it, if any."""
        start: int | None = 0
        if self._resumed:
            start = await self._where_to_resume()
        if start is None:
            await self._unwind(len(self.saga.steps) - 1, self._interrupted())
            return None
        deadline = self._kit.world.monotonic() + self.saga.deadline(self._kit.policy)
        for at in range(start, len(self.saga.steps)):
            if at == self.saga.commit_index + 1:
                deadline = max(deadline, self._kit.world.monotonic() + self._kit.policy.undo_seconds)
            if (row := self._row(at)) is not None and row.state is StepState.DONE:
                continue
            fault = await self._try_step(at, deadline)
            if fault is not None:
                await self._unwind(at, fault)
                return None
        return await self._succeed(follow_up)

    async def _where_to_resume(self) -> int | None:
        """The step to go on with, or None to go back."""
        if self.operation.state is OpState.UNWINDING:
            return None
        commit = self.saga.commit_index
        if self.committed:
            return commit + 1
        row, step = self._row(commit), self.saga.steps[commit]
        if row is not None and row.state is StepState.INTENT and step.landed is not None:
            try:
                async with asyncio.timeout(LANDED_SECONDS):
                    landed = await step.landed(self.run)
            except FenceLost:
                raise
            except Exception as fault:
                log.warning("operation %s: cannot tell whether %s landed (%s); going back", self.operation.id, step.name, fault)
                landed = False
            if landed:
                self._set(commit, StepState.DONE)
                await self._flush()
                await self._reached(step, "do", "record")
                return commit + 1
        return None

    async def _try_step(self, at: int, deadline: float) -> PublicError | None:
        """Run one step. None: go on. An error: go back. After the commit point a failure is tried again, then a warning."""
        step = self.saga.steps[at]
        after = at > self.saga.commit_index
        tries = TRIES if after else 1
        for attempt in range(1, tries + 1):
            if not after and self._cancelled:
                return StepFailed("The operation was cancelled.", code="cancelled", details={"step": step.name})
            fault = await self._once(at, attempt, deadline)
            if fault is None:
                return None
            if not after:
                return fault
            if attempt < tries:
                await self._kit.world.sleep(0.3 * attempt)
        self._set(at, StepState.FAILED)
        self.run.warn(f"Step {step.name} failed after the commit point: {self._row_error(at)}")
        return None

    def _row_error(self, at: int) -> str:
        row = self._row(at)
        return row.error or "" if row else ""

    async def _once(self, at: int, attempt: int, deadline: float) -> PublicError | None:
        step = self.saga.steps[at]
        began = self._kit.world.monotonic()
        try:
            if step.record is not None:
                await self._record(at, step, attempt)
            else:
                await self._do(at, step, attempt, deadline)
        except (FenceLost, InDoubt):
            raise
        except asyncio.CancelledError:
            if not self._cancelled:
                raise
            fault: PublicError = StepFailed("The operation was cancelled.", code="cancelled")
        except Exception as error:
            fault = _public(error)
        else:
            return None
        fault.details.setdefault("step", step.name)
        self._set(
            at, StepState.FAILED, attempt=attempt, error=fault.message,
            duration_ms=(self._kit.world.monotonic() - began) * 1000,
        )  # fmt: skip
        self.tell()
        return fault

    async def _record(self, at: int, step: Step[I], attempt: int) -> None:
        assert step.record is not None
        began = self._kit.world.monotonic()
        await self._reached(step, "do", "before")
        pending, rows = list(self._dirty), dict(self._rows)

        async def act(registry: Registry) -> dict[str, Any]:
            assert step.record is not None
            self._dirty, self._rows = list(pending), dict(rows)
            output = dict(await step.record(self.run, registry) or {})
            spent = (self._kit.world.monotonic() - began) * 1000
            self._set(at, StepState.DONE, attempt=attempt, duration_ms=spent, output=output, error=None)
            self._intend_next(at)
            await self._write(registry)
            await self._reached(step, "do", "effect")
            return output

        try:
            output = await self._kit.store.transact(act)
            self._dirty.clear()
        except Unavailable:
            self._dirty, self._rows = pending, rows
            landed = await self._landed_after_all(at)
            if landed is None:
                raise
            output = landed.output
        except BaseException:
            self._dirty, self._rows = pending, rows
            raise
        self.run.outputs[step.name] = output
        self.tell()
        await self._reached(step, "do", "record")

    async def _landed_after_all(self, at: int) -> StepRow | None:
        """A commit that brought no answer may have landed. Going back from what landed, or doing it twice, would be wrong.

        Raises `InDoubt` when the journal cannot be read either: whoever resumes the operation reads it then.
        """
        try:
            steps = await self._kit.store.consult(lambda registry: registry.journal.steps(self.operation.id))
            found = {row.index: row for row in steps}
        except PublicError as fault:
            raise InDoubt(f"whether step {self.saga.steps[at].name} was recorded is not known: {fault}") from fault
        row = found.get(at + self._offset)
        if row is None or row.state is not StepState.DONE:
            return None
        self._rows, self._dirty = found, []
        return row

    async def _do(self, at: int, step: Step[I], attempt: int, deadline: float) -> None:
        assert step.do is not None
        row = self._row(at)
        if row is None or row.state is not StepState.INTENT or attempt > 1:
            self._set(at, StepState.INTENT, attempt=attempt)
        if self._dirty:
            await self._flush()
        await self._reached(step, "do", "before")
        began = self._kit.world.monotonic()
        left = deadline - began
        if at > self.saga.commit_index:
            left = max(left, LEAST_SECONDS)
        self._act = asyncio.ensure_future(step.do(self.run))
        try:
            async with asyncio.timeout(left):
                output = dict(await self._act or {})
        except TimeoutError:
            raise StepFailed(
                f"Step {step.name} was not done when the operation's time was over.",
                code="deadline", hint="Look at what it waits for, then try again.",
            ) from None  # fmt: skip
        finally:
            self._act = None
        await self._reached(step, "do", "effect")
        spent = (self._kit.world.monotonic() - began) * 1000
        self._set(at, StepState.DONE, duration_ms=spent, output=output, error=None)
        self.run.outputs[step.name] = output
        self._intend_next(at)
        if at + 1 < len(self.saga.steps) and self.saga.steps[at + 1].do is not None:
            await self._flush()
            await self._reached(step, "do", "record")

    def _intend_next(self, at: int) -> None:
        if at + 1 < len(self.saga.steps) and self.saga.steps[at + 1].do is not None:
            self._set(at + 1, StepState.INTENT)

    async def _succeed(self, follow_up: FollowUp) -> "Course[Any] | None":
        result = self.saga.result(self.run)

        async def act(registry: Registry) -> Course[Any] | None:
            await self._write(registry)
            await registry.journal.close(
                self.operation.id, self.operation.fence, OpState.SUCCEEDED,
                result=result, warnings=tuple(self.run.warnings),
            )  # fmt: skip
            return await follow_up(registry)

        following = await self._kit.store.transact(act)
        self._dirty.clear()
        await self._reached(self.saga.steps[-1], "do", "record")
        return following

    # back

    def _interrupted(self) -> PublicError:
        former = self.operation.error
        if former:
            return StepFailed(
                former.get("message", "A step failed."), code=former.get("code"), hint=former.get("hint", ""),
                details=former.get("details", {}),
            )  # fmt: skip
        if self._cancelled:
            return StepFailed("The operation was cancelled.", code="cancelled", details={"step": self.operation.step})
        return StepFailed(
            f"CodeB was interrupted during step {self.operation.step}; what had been done was undone at the next start.",
            code="interrupted", hint="Call it again.", details={"step": self.operation.step},
        )  # fmt: skip

    async def _unwind(self, last: int, fault: PublicError) -> None:
        # A second start goes on with the error of the first: it is why the operation failed.
        error = self.operation.error or {
            "code": fault.code,
            "message": fault.message,
            "hint": fault.hint,
            "details": fault.details,
            "status": fault.status,
        }
        await self._flush(state=OpState.UNWINDING, error=error, warnings=tuple(self.run.warnings))
        faults = list(self.operation.undo_faults)
        turns = [Turn(at, self.saga.steps[at]) for at in range(last, -1, -1) if self._is_to_undo(at)]
        for turn in await undo_all(turns, self._kit.world, self._kit.policy.undo_seconds, self._undo):
            assert turn.problem is not None
            log.error("operation %s: step %s could not be undone: %s", self.operation.id, turn.step.name, turn.problem)
            self._set(turn.at, StepState.UNDO_FAILED, error=turn.problem.message)
            faults.append(f"{turn.step.name}: {turn.problem.message}")
        ended = OpState.CANCELLED if fault.code == "cancelled" else OpState.FAILED

        async def act(registry: Registry) -> None:
            await self._write(registry)
            await self.saga.failed(self.run, registry, fault)
            await registry.journal.close(
                self.operation.id, self.operation.fence, ended,
                undo_faults=tuple(faults), warnings=tuple(self.run.warnings),
            )  # fmt: skip

        await self._kit.store.transact(act)
        self._dirty.clear()
        await self._reached(self.saga.steps[0], "undo", "record")

    def _is_to_undo(self, at: int) -> bool:
        row = self._row(at)
        return row is not None and row.state is not StepState.UNDONE and self.saga.steps[at].undo is not None

    async def _undo(self, turn: Turn[I], seconds: float) -> PublicError | None:
        """One try to undo one step; what went wrong with it."""
        step = turn.step
        assert step.undo is not None
        if turn.tries == 1:
            self._set(turn.at, StepState.UNDOING)
            await self._flush()
            await self._reached(step, "undo", "before")
        limit = asyncio.timeout(seconds)
        try:
            async with limit:
                await step.undo(self.run)
        except FenceLost:
            raise
        except Exception as error:
            if limit.expired():
                # What an earlier try said tells more.
                return turn.problem or Unavailable("It was not done within the time there was to go back in.", code="deadline")
            return _public(error)
        await self._reached(step, "undo", "effect")
        self._set(turn.at, StepState.UNDONE)
        await self._flush()
        await self._reached(step, "undo", "record")
        return None


def _public(error: Exception) -> PublicError:
    if isinstance(error, PublicError):
        return error
    if isinstance(error, TimeoutError):
        return StepFailed("A step did not end in time.", code="deadline")
    log.error("a step failed in an unexpected way", exc_info=error)
    return StepFailed("A step failed in a way CodeB did not foresee; the server's log has the details.", code="internal")
