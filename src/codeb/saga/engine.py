"""How a long thing survives: open, run, unwind, resume.

The intent row is written before an act, the outcome row after it; the outcome of one step and the intent of the next
share a transaction. A failure before the commit point undoes the failing step too, last in first out. After a crash
the journal and the world decide: before the commit point back, after it forward.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pydantic import TypeAdapter

from codeb.contracts.kit import Kit
from codeb.contracts.store import Registry
from codeb.errors import Conflict, FenceLost, PublicError, Unavailable
from codeb.model.conflicts import busy
from codeb.model.journal import Operation, OpState
from codeb.model.names import Place
from codeb.saga.course import Course
from codeb.saga.step import I, Saga

log = logging.getLogger("codeb.saga")

LEASE_SECONDS = 30.0
RENEW_SECONDS = 5.0


@dataclass(frozen=True)
class Request:
    """Who asks for an operation, and on what."""

    tool: str
    places: tuple[Place, ...]
    team: str
    actor: str
    warned: Sequence[str] = ()
    """what the operation warns of from its beginning, read once it is decided"""


FORMS: dict[type[Any], TypeAdapter[Any]] = {}
"""how the input of each saga is written down and read again: making one takes five milliseconds, so each is made once"""


def _form(kind: type[I]) -> TypeAdapter[I]:
    if kind not in FORMS:
        FORMS[kind] = TypeAdapter(kind)
    return FORMS[kind]


class Engine:
    """Runs sagas. One per process; `owner` reads `{home id}:{boot id}`."""

    def __init__(self, kit: Kit, sagas: Sequence[Saga[Any]], owner: str) -> None:
        self._kit = kit
        self._sagas: Mapping[tuple[str, int], Saga[Any]] = {(saga.name, saga.version): saga for saga in sagas}
        self._owner = owner
        self._courses: dict[str, Course[Any]] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._entering: set[str] = set()
        """opened in a transaction that may just have committed, not launched yet: not abandoned"""
        self._stopping = False

    async def open(
        self,
        saga: Saga[I],
        request: Request,
        decide: Callable[[Registry], Awaitable[I]],
        claim: Callable[[Registry, str], Awaitable[str | None]] | None = None,
    ) -> Operation:
        """Decide and lock in one transaction, then run detached; returns the operation as opened.

        `claim(registry, id)` binds an idempotency key to the new operation, or names the operation the key already
        has: that one is returned and nothing new is begun. Raises `Busy` when a place is locked, `Unavailable` when
        CodeB is stopping, and whatever `decide` raises; then nothing was done.
        """
        with self._entry() as entered:

            async def act(registry: Registry) -> Course[I] | Operation:
                operation_id = self._kit.world.new_id("op")
                earlier = await claim(registry, operation_id) if claim else None
                if earlier is not None:
                    return await self.find(registry, earlier)
                if self._stopping:
                    raise Unavailable(
                        "CodeB is stopping and begins no new operation.", code="stopping", hint="Try again in a moment."
                    )
                for place in request.places:
                    if running := await registry.journal.running(place):
                        raise busy(running)
                entered(operation_id)
                return await self._enter(registry, saga, request, await decide(registry), operation_id)

            opened = await self._kit.store.transact(act)
            if isinstance(opened, Operation):
                return opened
            self._launch(opened)
            return opened.operation

    @contextlib.contextmanager
    def _entry(self) -> Iterator[Callable[[str], None]]:
        """What is told to it counts as entering, until it is launched or turns out not to be.

        A commit that brought no answer, or whose caller went away, may have landed: its operation is then like any
        other that nobody works on, and is resumed.
        """
        told: list[str] = []

        def entered(operation_id: str) -> None:
            told.append(operation_id)
            self._entering.add(operation_id)

        try:
            yield entered
        finally:
            self._entering.difference_update(told)

    async def _enter(
        self,
        registry: Registry,
        saga: Saga[I],
        request: Request,
        value: I,
        operation_id: str,
        follows: str | None = None,
    ) -> Course[I]:
        now = self._kit.world.now()
        operation = Operation(
            id=operation_id, tool=request.tool, saga=saga.name, saga_version=saga.version, places=request.places,
            team=request.team, actor=request.actor, input=_form(saga.input).dump_python(value, mode="json"),
            state=OpState.RUNNING, created_at=now, updated_at=now, fence=0, summary=saga.summary(value), follows=follows,
            warnings=tuple(request.warned),
        )  # fmt: skip
        operation = await registry.journal.open(operation, owner=self._owner)
        began = self._kit.world.monotonic()
        await saga.opened(value, operation, registry)
        course = Course(self._kit, saga, operation, value)
        await course.journal_opening(registry, (self._kit.world.monotonic() - began) * 1000)
        return course

    def _launch(self, course: Course[Any]) -> None:
        operation_id = course.operation.id
        self._courses[operation_id] = course
        task = asyncio.create_task(self._sail(course), name=f"saga {operation_id}")
        self._tasks[operation_id] = task
        task.add_done_callback(lambda _: self._tasks.pop(operation_id, None))

    async def _sail(self, course: Course[Any]) -> None:
        async def follow_up(registry: Registry) -> Course[Any] | None:
            onward = await course.saga.then(course.run, registry)
            if onward is None:
                return None
            former, operation_id = course.operation, self._kit.world.new_id("op")
            entered(operation_id)
            request = Request(onward.tool, former.places, former.team, former.actor)
            return await self._enter(registry, onward.saga, request, onward.input, operation_id, follows=former.id)

        try:
            with self._entry() as entered:
                following = await course.sail(follow_up)
                if following is not None:
                    self._launch(following)
        except FenceLost:
            log.warning("operation %s was taken over by another process; this one lets go", course.operation.id)
        except asyncio.CancelledError:
            raise
        except Exception:
            log.exception("operation %s could not be journaled; it is resumed later", course.operation.id)
        finally:
            course.finished.set()
            course.tell()
            self._forget_old()

    def _forget_old(self) -> None:
        ended = [key for key, course in self._courses.items() if course.finished.is_set()]
        for key in ended[:-64]:
            del self._courses[key]

    async def find(self, registry: Registry, operation_id: str) -> Operation:
        operation = await registry.journal.get(operation_id)
        if operation is None:
            raise Conflict(f"Operation {operation_id} is no longer on record.", code="operation_gone")
        return operation

    async def wait(self, operation_id: str, seconds: float) -> None:
        """Return when the operation has ended, or when `seconds` are over. Another process's is looked at repeatedly."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                if course := self._courses.get(operation_id):
                    await course.finished.wait()
                    if self._stopping or self._kit.store.standing.leads:
                        return
                while True:
                    found = await self._kit.store.consult(lambda registry: registry.journal.get(operation_id))
                    if found is None or found.state.terminal:
                        return
                    await self._kit.world.sleep(0.2)

    async def wait_for_change(self, operation_id: str, seen: int, seconds: float) -> int:
        """Return the number of changes so far once it differs from `seen`, the operation ended, or `seconds` are over.

        It begins anew when another process goes on with the operation, so a `seen` from before is a difference too.
        """
        course = self._courses.get(operation_id)
        if course is None:
            return seen
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while course.changes == seen and not course.finished.is_set():
                    await course.wait_change()
        return course.changes

    async def cancel(self, operation: Operation) -> None:
        """Ask a running operation to go back. Raises `Conflict` (`past_commit`, `already_ended`) when it cannot."""
        if operation.state.terminal:
            raise Conflict(f"Operation {operation.id} has already {operation.state}.", code="already_ended")
        course = self._courses.get(operation.id)
        if course is not None and course.committed:
            raise Conflict(
                f"Operation {operation.id} is past its commit point and can only finish.",
                code="past_commit",
                hint="Wait for it, then roll back if the result is not wanted.",
            )
        await self._kit.store.transact(lambda registry: registry.journal.ask_cancel(operation.id))
        if course is not None:
            course.cancel()

    async def resume(self, lease_seconds: float = LEASE_SECONDS) -> list[str]:
        """Take over every operation nobody works on and bring it to an end; returns their ids. They run detached.

        A process that has just begun to lead says `lease_seconds=0`: what others began is theirs no more.
        """
        home = self._owner.partition(":")[0]
        taken: list[str] = []

        async def act(registry: Registry) -> list[Course[Any]]:
            left = await registry.journal.abandoned(home=home, lease_seconds=lease_seconds)
            left = [each for each in left if each.id not in self._tasks and each.id not in self._entering]
            courses = []
            for operation in left:
                held = await registry.journal.take_over(operation.id, owner=self._owner)
                saga = self._sagas.get((held.saga, held.saga_version))
                if saga is None:
                    await self._hand_over(registry, held)
                    continue
                resumed = replace(held, resumed=held.resumed + 1)
                await registry.journal.change(held.id, held.fence, resumed=resumed.resumed)
                value = _form(saga.input).validate_python(held.input)
                courses.append(Course(self._kit, saga, resumed, value, await registry.journal.steps(held.id)))
            return courses

        for course in await self._kit.store.transact(act):
            log.warning("operation %s (%s) was interrupted; resuming", course.operation.id, course.saga.name)
            taken.append(course.operation.id)
            self._launch(course)
        return taken

    async def _hand_over(self, registry: Registry, operation: Operation) -> None:
        fault = f"it was begun by version {operation.saga_version} of {operation.saga}, which this CodeB does not have"
        log.error("operation %s needs a person: %s", operation.id, fault)
        error = {
            "code": "unknown_saga_version", "step": operation.step,
            "message": f"Operation {operation.id} was not finished: {fault}.",
            "hint": "Nothing was done since. See slot_status for what is so; reconcile mends what differs; then call again.",
        }  # fmt: skip
        await registry.journal.close(operation.id, operation.fence, OpState.FAILED, error=error, undo_faults=(fault,))

    async def keep_leases(self) -> None:
        """Renew this process's leases until cancelled, and pick up what others dropped."""
        while True:
            await self._kit.world.sleep(RENEW_SECONDS)
            if not self._kit.store.standing.leads:
                continue
            try:
                if self._tasks:
                    await self._kit.store.transact(lambda registry: registry.journal.renew(self._owner))
                if not self._stopping:
                    await self.resume()
            except (PublicError, FenceLost) as fault:
                log.warning("leases not renewed: %s", fault)

    @property
    def stopping(self) -> bool:
        return self._stopping

    def stop(self) -> None:
        """Begin no new operation from now on."""
        self._stopping = True

    async def drain(self, seconds: float) -> None:
        """Begin nothing new; let what runs end within `seconds`; stop the rest at a journaled point."""
        self.stop()
        if self._tasks:
            await asyncio.wait(list(self._tasks.values()), timeout=seconds)
        for task in list(self._tasks.values()):
            task.cancel()
        if self._tasks:
            await asyncio.gather(*list(self._tasks.values()), return_exceptions=True)
