"""One call as a tool sees it: who calls, what it may see, and how it may change things."""

import contextlib
import hashlib
import json
import logging
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from codeb.contracts.kit import Kit
from codeb.contracts.store import Registry, Remembered
from codeb.errors import Busy, Conflict, NotFound, PublicError, Unavailable
from codeb.model.access import Actor
from codeb.model.approvals import Decision
from codeb.model.deletion import is_deleted
from codeb.model.journal import Operation, OpState, StepRow
from codeb.model.names import Place
from codeb.model.sealed import about_answer
from codeb.model.secret import Secret
from codeb.model.slots import Pair
from codeb.model.specs import Project
from codeb.saga.engine import Engine, Request
from codeb.saga.step import I, Saga
from codeb.tools.refusals import degraded, failure, gone, not_ready, spent, step_list, unknown_project

T = TypeVar("T")

log = logging.getLogger("codeb.tools")

UPKEEP, UPKEEP_SECONDS = ("reconcile", "restart", "registry_delete", "registry_gc"), 15.0
WAIT_SECONDS = 900.0
"""longer than any operation's own deadline and its undoing"""


class Replayed(Exception):
    """The idempotency key was used before: this is the first answer."""

    def __init__(self, answer: Mapping[str, Any]) -> None:
        self.answer = answer


class _Undone(Exception):
    pass


@dataclass
class Call:
    kit: Kit
    engine: Engine
    actor: Actor
    tool: str
    correlation_id: str
    params: Mapping[str, Any] = field(default_factory=dict)
    """as validated, wire names: what an idempotency key is compared by"""
    idempotency_key: str | None = None
    needs_database: bool = False
    """whether what it does may only be done in the database itself"""
    holds_secret: bool = False
    """whether its answer is kept sealed only"""
    approval: str | None = None
    """the approval this call is made by: used up in the transaction that does what was approved"""
    told: Callable[[str], None] | None = None
    """told the id of every operation that it begins or waits for"""

    # what it may see

    def projects(self, *, deleted: bool = False) -> dict[str, Project]:
        """The projects this caller may see, by name; those that are deleted only with `deleted`."""
        everything = self.kit.store.snapshot.projects
        return {
            name: each for name, each in everything.items()
            if (deleted or not is_deleted(each)) and self.actor.sees_project(name, each.team)
        }  # fmt: skip

    def project(self, name: str, *, deleted: bool = False) -> Project:
        """One of them. Raises `NotFound`, the same for one that is not there and one that is another team's; `Conflict`
        (`project_deleted`) for a deleted one, unless it may be one."""
        found = self.kit.store.snapshot.projects.get(name)
        if found is None or not self.actor.sees_project(name, found.team):
            raise unknown_project(name, self.projects())
        if not deleted and is_deleted(found):
            raise gone(found)
        return found

    def past(self, name: str | None) -> tuple[str, ...]:
        """What to warn of when records are asked for by a project's name: whether there is one now is no matter, since records
        are found by their own team. The same for one that is gone, one that is another team's and one that never was."""
        if name is None or name in (visible := self.projects(deleted=True)):
            return ()
        fault = unknown_project(name, visible)
        near = fault.hint if fault.hint.startswith("Did") else ""
        return (f"There is no project {name} now; shown is what is on record of it. {near}".strip(),)

    async def ready(self, registry: Registry, name: str) -> Project:
        """A project that something may be done with, as this transaction sees it.

        Raises `NotFound`, `Conflict` (`project_deleting`, `project_deleted`).
        """
        project = await registry.projects.get(name)
        if project is None or not self.actor.sees_project(name, project.team):
            raise unknown_project(name, self.projects())
        if fault := not_ready(project):
            raise fault
        return project

    def pair(self, place: Place) -> Pair:
        """Both slots of an environment. Raises `NotFound` (`environment_not_found`)."""
        pair = self.kit.store.snapshot.pair_of(place)
        if pair is None:
            known = sorted(each.environment for each in self.kit.store.snapshot.pairs if each.project == place.project)
            raise NotFound(
                f"Project {place.project} has no environment {place.environment}.",
                code="environment_not_found",
                hint=f"It has {', '.join(known) or 'none yet'}. A deploy to {place.environment} makes it.",
                details={"environments": known},
            )
        return pair

    # how it may change things

    @property
    def _body(self) -> str:
        """Whether it is waited for makes no other call of it: what was begun can be waited for later."""
        said = {key: value for key, value in self.params.items() if key not in ("idempotencyKey", "wait")}
        return hashlib.sha256(json.dumps([self.tool, said], sort_keys=True).encode()).hexdigest()

    async def _earlier(self, registry: Registry, part: str = "") -> Remembered | None:
        if self.idempotency_key is None:
            return None
        found = await registry.answers.find(self.actor.key_id, self.idempotency_key + part)
        if found is not None and (found.tool, found.body_sha256) != (self.tool, self._body):
            raise Conflict(
                f"Idempotency key {self.idempotency_key!r} was used for another call ({found.tool}).",
                code="idempotency_conflict",
                hint="Use a new key for a new call.",
            )
        return found

    def _refuse_without_database(self) -> None:
        """Asked inside the transaction: the database may have gone since the call came in."""
        standing = self.kit.store.standing
        if self.needs_database and standing.degraded:
            raise degraded(self.tool, standing)

    async def _use_approval(self, registry: Registry, operation_id: str | None = None) -> None:
        """Asked inside the transaction, which is rolled back with it: used once, and only for what was done.

        Raises `Conflict`: `approval_used`, `approval_expired`.
        """
        if self.approval is None:
            return
        now = self.kit.world.now()
        found = await registry.approvals.get(self.approval)
        stands = found.stands(now) if found else Decision.EXPIRED
        if stands is not Decision.APPROVED:
            raise spent(self.approval, stands)
        await registry.approvals.move(
            self.approval, Decision.APPROVED, Decision.USED, used_at=now, operation_id=operation_id
        )  # fmt: skip

    async def spend_approval(self) -> None:
        """Use up the approval of a call that changes nothing, before it shows anything. Raises as a change by it would."""
        if self.approval is not None:
            await self.kit.store.transact(self._use_approval)
            self.approval = None

    async def end_approval(self) -> None:
        """The call succeeded. Where it had nothing to do, its approval is over all the same. Never raises for the store."""
        if self.approval is None:
            return
        which, now = self.approval, self.kit.world.now()

        async def act(registry: Registry) -> None:
            found = await registry.approvals.get(which)
            if found is not None and found.state is Decision.APPROVED:
                await registry.approvals.move(which, Decision.APPROVED, Decision.USED, used_at=now)

        try:
            await self.kit.store.transact(act)
        except PublicError as fault:
            log.warning("the approval %s was not used up: %s", which, fault)

    async def _remember(self, registry: Registry, part: str = "", **what: Any) -> None:
        if self.idempotency_key is not None:
            key = self.idempotency_key + part
            now = self.kit.world.now()
            await registry.answers.put(Remembered(self.actor.key_id, key, self.tool, self._body, now, **what))

    async def _kept(self, registry: Registry, answer: Mapping[str, Any]) -> dict[str, Any]:
        """An answer as it is kept: plain, or sealed only. Raises `Unavailable` (`vault_closed`)."""
        if not self.holds_secret or self.idempotency_key is None:
            return {"answer": dict(answer)}
        self.kit.keyring.fits(await registry.seals.in_force())
        text = Secret(json.dumps(answer, ensure_ascii=False))
        return {"answer": None, "sealed": self.kit.vault.seal(text, about_answer(self.actor.key_id, self.idempotency_key))}

    def _told(self, earlier: Remembered) -> Mapping[str, Any] | None:
        """The answer that was kept. Raises as `Vault.open` does."""
        if earlier.sealed is None:
            return earlier.answer
        answer: dict[str, Any] = json.loads(
            self.kit.vault.open(earlier.sealed, about_answer(earlier.key_id, earlier.key)).reveal()
        )
        return answer

    async def first_answer(self) -> Mapping[str, Any] | None:
        """The whole answer that this idempotency key brought before, if it did.

        Raises `Unavailable` (`vault_closed`) also where it could not be kept: before anything is done, not after.
        """
        if self.idempotency_key is None:
            return None

        async def look(registry: Registry) -> Mapping[str, Any] | None:
            earlier = await self._earlier(registry)
            if earlier is None and self.holds_secret:
                self.kit.keyring.fits(await registry.seals.in_force())
            return self._told(earlier) if earlier else None

        return await self.kit.store.consult(look)

    async def began(self, *parts: str) -> dict[str, str]:
        """The operations that this idempotency key began before, by part: the call is about them, whatever is true by now."""
        if self.idempotency_key is None:
            return {}

        async def look(registry: Registry) -> dict[str, str]:
            found = {part: await self._earlier(registry, part) for part in parts or ("",)}
            return {part: each.operation_id for part, each in found.items() if each is not None and each.operation_id}

        return await self.kit.store.consult(look)

    async def begun(self) -> Operation | None:
        """The one operation that this idempotency key began before: what it was about may be gone by now, or be another."""
        if not (begun := (await self.began()).get("")):
            return None
        return await self.kit.store.consult(lambda registry: self.engine.find(registry, begun))

    async def bind(self, operation_id: str) -> None:
        """Remember that the idempotency key is about an operation that another call began. Safe to repeat."""

        async def act(registry: Registry) -> None:
            if await self._earlier(registry) is None:
                await self._remember(registry, operation_id=operation_id)

        if self.idempotency_key is not None:
            await self.kit.store.transact(act)

    async def note(self, registry: Registry, answer: Mapping[str, Any]) -> None:
        """Remember the data of an answer under the idempotency key, in the transaction that ends what was done."""
        if await self._earlier(registry) is None:
            await self._remember(registry, **await self._kept(registry, answer))

    async def keep_answer(self, answer: Mapping[str, Any]) -> None:
        """Remember the whole answer under its idempotency key. What was done is done: never raises for the store."""
        if self.idempotency_key is None:
            return

        async def act(registry: Registry) -> None:
            assert self.idempotency_key is not None
            kept = await self._kept(registry, answer)
            if await self._earlier(registry) is None:
                await self._remember(registry, **kept)
            else:
                await registry.answers.complete(self.actor.key_id, self.idempotency_key, **kept)

        try:
            await self.kit.store.transact(act)
        except PublicError as fault:
            log.warning("the answer of %s was not kept under its idempotency key: %s", self.tool, fault)

    async def change(self, act: Callable[[Registry], Awaitable[T]], answer: Callable[[T], Mapping[str, Any]]) -> T:
        """Run `act` in one write transaction, together with the memory of its answer under the idempotency key.

        Raises `Replayed` when the key was used before for the same call.
        """

        async def once(registry: Registry) -> T:
            earlier = await self._earlier(registry)
            if earlier is not None:
                raise Replayed(self._told(earlier) or {})
            self._refuse_without_database()
            await self._use_approval(registry)
            done = await act(registry)
            await self._remember(registry, **await self._kept(registry, answer(done)))
            return done

        done = await self.kit.store.transact(once)
        self.approval = None
        return done

    async def rehearse(self, decide: Callable[[Registry], Awaitable[T]]) -> T:
        """Decide as the real thing would, in a transaction that is rolled back."""
        found: list[T] = []

        async def act(registry: Registry) -> None:
            found[:] = [await decide(registry)]
            raise _Undone

        with contextlib.suppress(_Undone):
            await self.kit.store.transact(act)
        return found[0]

    async def open(
        self,
        saga: Saga[I],
        places: tuple[Place, ...],
        decide: Callable[[Registry], Awaitable[I]],
        part: str = "",
        patient: Collection[str] = (),
        warned: Sequence[str] = (),
    ) -> Operation:
        """Begin an operation, or find the one this idempotency key began. `part` tells several of one call apart. `warned`,
        read once it is decided, is what the operation warns of from its beginning.

        Upkeep that CodeB does by itself, and the deletion of images, hold a place for moments that nobody asked for: they are
        waited for, as is what else holds it by one of the tools of `patient`.
        """

        async def claim(registry: Registry, operation_id: str) -> str | None:
            earlier = await self._earlier(registry, part)
            if earlier is not None:
                return earlier.operation_id
            await self._use_approval(registry, operation_id)
            again = {name: said for name, said in self.params.items() if name != "wait"}
            again["idempotencyKey"] = self.idempotency_key
            await self._remember(registry, part, operation_id=operation_id, params=again)
            return None

        async def decided(registry: Registry) -> I:
            self._refuse_without_database()
            return await decide(registry)

        request = Request(self.tool, places, self.actor.team, self.actor.name, warned)
        upkeep = () if self.tool in UPKEEP else UPKEEP
        opened = await self.patiently(lambda: self.engine.open(saga, request, decided, claim), (*upkeep, *patient))
        self.approval = None
        self._tell(opened.id)
        return opened

    def _tell(self, operation_id: str) -> None:
        if self.told is not None:
            self.told(operation_id)

    async def patiently(self, act: Callable[[], Awaitable[T]], tools: Collection[str]) -> T:
        """Do it, once what holds its place has ended, where that is one of these tools."""
        end = self.kit.world.monotonic() + UPKEEP_SECONDS
        while True:
            try:
                return await act()
            except Busy as held:
                left = end - self.kit.world.monotonic()
                if held.details.get("tool") not in tools or left <= 0:
                    raise
                await self.engine.wait(str(held.details["operationId"]), left)

    async def ended(self, operation_id: str, seconds: float = WAIT_SECONDS) -> tuple[Operation, list[StepRow]]:
        """Wait for an operation.

        Raises `OperationFailed` with its steps when it did not succeed, `Unavailable` (`stopping`, `still_running`) when
        it goes on without this call.
        """
        self._tell(operation_id)
        await self.engine.wait(operation_id, seconds)

        async def look(registry: Registry) -> tuple[Operation | None, list[StepRow]]:
            return await registry.journal.get(operation_id), list(await registry.journal.steps(operation_id))

        try:
            operation, steps = await self.kit.store.consult(look)
        except Unavailable as fault:
            raise Unavailable(
                f"Operation {operation_id} was begun; how it ended cannot be read: {fault.message}", code=fault.code,
                hint=f"See how it ended with operation_get {operation_id}.", details={"operationId": operation_id},
            ) from fault  # fmt: skip
        if operation is None:
            raise NotFound(f"Operation {operation_id} is no longer on record.", code="operation_not_found")
        if operation.state in (OpState.FAILED, OpState.CANCELLED):
            raise failure(operation, steps)
        if not operation.state.terminal:
            raise self._goes_on(operation, steps)
        return operation, steps

    def _goes_on(self, operation: Operation, steps: list[StepRow]) -> Unavailable:
        stopping = self.engine.stopping
        why = (
            "CodeB is stopping and brings it to an end at its next start" if stopping else "It takes longer than this call waits"
        )
        return Unavailable(
            f"{operation.summary} is at step {operation.step}. {why}. Production traffic is unaffected.",
            code="stopping" if stopping else "still_running",
            hint=f"See how it ended with operation_get {operation.id}.",
            details={"operationId": operation.id, "state": operation.state.value, "steps": step_list(steps)},
        )
