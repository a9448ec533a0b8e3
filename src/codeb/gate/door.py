"""Find, authenticate, role, validate, scope, run, check the result; audit around all of it, refusals too."""

import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

from codeb.contracts.kit import Kit
from codeb.errors import FenceLost, Forbidden, InvalidParams, NotFound, PublicError, Unavailable
from codeb.gate.audit import AuditLog, without_keys
from codeb.gate.consent import consent
from codeb.gate.entrance import Entrance, too_often
from codeb.gate.hiding import hidden
from codeb.gate.validate import refuse_keys, validate
from codeb.model import grammar
from codeb.model.access import Actor, holds_key
from codeb.model.chain import AuditRow
from codeb.model.limits import Allowance
from codeb.model.names import did_you_mean
from codeb.model.secret import Secret
from codeb.saga.engine import Engine
from codeb.tools.call import Call, Replayed
from codeb.tools.fields import Params
from codeb.tools.refusals import degraded, unknown_project
from codeb.tools.tool import USUAL_BYTES, Accepted, Plan, Tool
from codeb.tools.untrusted import EVIDENCE, paths

log = logging.getLogger("codeb.gate")


@dataclass(frozen=True)
class Asked:
    """One call in a caller's words, as an entry heard it."""

    tool: str
    params: Any
    token: Secret | None
    entry: str
    correlation_id: str
    ip: str | None = None
    idempotency_key: str | None = None
    explicit: bool = False
    """whether what a tool wants assistants to say has to be said (`Tool.must_say`)"""
    told: Callable[[str], None] | None = None
    """told the id of every operation that the call begins or waits for, as soon as it is known"""


@dataclass(frozen=True)
class Answer:
    """The envelope every entry shows; `status` is the HTTP number, `ok` whether the call succeeded."""

    status: int
    body: dict[str, Any] = field(default_factory=dict)
    allowance: Allowance | None = None
    """what the key may call beside this; None without a valid key, or without a limit"""
    begun: str | None = None
    """the operation that was begun and not waited for"""

    @property
    def ok(self) -> bool:
        return self.status < 400


@dataclass(frozen=True)
class Entered:
    """Whether somebody may read what is no tool's: the actor, or the fault that says why not."""

    actor: Actor | None
    allowance: Allowance | None
    fault: PublicError | None = None


class Gate:
    """The one door. An exception inside it is a denial."""

    def __init__(self, kit: Kit, engine: Engine, audit: AuditLog, tools: Mapping[str, Tool[Any]]) -> None:
        self._kit = kit
        self._engine = engine
        self._audit = audit
        self._tools = tools
        self._called = {name: tool for tool in tools.values() for name in (*tool.aliases, tool.name)}
        self.entrance = Entrance(kit)
        self.on_answer: list[Callable[[str, int, str], None]] = []
        """called after each call with tool, HTTP status and role"""

    async def call(self, asked: Asked) -> Answer:
        """Answer one call; never raises for anything the call did."""
        began = self._kit.world.monotonic()
        seen = _Seen()
        try:
            body = await self._admit(asked, seen)
            status, code = 200, ""
        except PublicError as fault:
            status, code, body = fault.status, fault.code, failed(fault)
        except FenceLost:
            deposed = self._not_leading()
            status, code, body = deposed.status, deposed.code, failed(deposed)
        except Exception:
            log.exception("call %s of %s ended in an unforeseen error", asked.correlation_id, asked.tool)
            status, code, body = 500, "internal", internal(asked.correlation_id)
        spent = (self._kit.world.monotonic() - began) * 1000
        now = self._kit.world.now()
        # who has no valid key is not to measure with our clock what became of the one they tried
        body["duration"] = round(spent, 3 if seen.actor else 0)
        body["timestamp"] = now.isoformat()
        body["correlationId"] = asked.correlation_id
        # what a tool that shows a secret says of it may hold it; why it showed none does not
        summary = (seen.unsaid if status == 200 else "") or body.get("summary") or body.get("error", "")
        self._record(asked, seen, status, code, summary, spent)
        for each in self.on_answer:
            each(seen.tool, status, seen.actor.role.value if seen.actor else "none")
        if seen.changes:
            await self._audit.flush()
        return Answer(status, body, seen.allowance, seen.begun)

    async def that_began(self, asked: Asked, operation_id: str) -> Asked | None:
        """The call that began an operation, to be made once more by the same key: it begins nothing, and has the answer that
        waiting for it would have had. None for an operation of another key, and for one that no call with an idempotency
        key began. It is not counted: what is done with it is. Raises `Unauthenticated`, `Unavailable`.
        """
        actor = self.entrance.know(asked.token, asked.ip)
        try:
            grammar.operation_id(operation_id)
        except ValueError:
            return None
        found = await self._kit.store.consult(lambda registry: registry.answers.that_began(actor.key_id, operation_id))
        if found is None or found.params is None:
            return None
        return replace(asked, tool=found.tool, params=dict(found.params), idempotency_key=None)

    def enter(self, asked: Asked) -> Entered:
        """Who reads what is no tool's, such as the catalogue: it counts like a call, and is audited like one."""
        seen = _Seen(asked.tool)
        try:
            actor = self._known(asked, seen)
        except PublicError as fault:
            self._record(asked, seen, fault.status, fault.code, fault.message, 0.0)
            return Entered(None, seen.allowance, fault)
        self._record(asked, seen, 200, "", f"{asked.tool} was read.", 0.0)
        return Entered(actor, seen.allowance)

    def refused(self, asked: Asked, status: int, code: str, summary: str) -> None:
        """Put on record what an entry refused before it came to a tool, by whom where the key says that; and count it."""
        seen = _Seen(self._called[asked.tool].name if asked.tool in self._called else "unknown")
        with suppress(PublicError):
            seen.actor = self.entrance.know(asked.token, asked.ip)
            seen.allowance = self.entrance.count(seen.actor)
        self._record(asked, seen, status, code, summary, 0.0)

    def _record(self, asked: Asked, seen: "_Seen", status: int, code: str, summary: str, spent: float) -> None:
        self._audit.add(
            AuditRow(
                at=self._kit.world.now(), correlation_id=asked.correlation_id, entry=asked.entry, tool=seen.tool,
                ok=status < 400, code=code,
                key_id=seen.actor.key_id if seen.actor else None, team=seen.actor.team if seen.actor else None,
                role=seen.actor.role.value if seen.actor else None, ip=asked.ip, duration_ms=round(spent, 3),
                params=seen.params, summary=summary[:500],
            ),
            beyond=seen.allowance is not None and not seen.allowance.granted,
        )  # fmt: skip

    def offered(self, actor: Actor) -> list[Tool[Any]]:
        """The tools this caller may use."""
        return [tool for tool in self._tools.values() if _may(actor, tool)]

    def named(self, name: str) -> Tool[Any] | None:
        """The tool of that name, whoever may use it."""
        return self._called.get(name)

    def most_bytes(self, tool: str, token: Secret | None) -> int:
        """How large the body of a call may be, by its tool's own path. For who has no valid key as large as any: to read
        and look at more would cost us more than it costs them."""
        found = self._called.get(tool)
        return found.most_bytes if found and (found.most_bytes == USUAL_BYTES or self.entrance.knows(token)) else USUAL_BYTES

    async def _admit(self, asked: Asked, seen: "_Seen") -> dict[str, Any]:
        actor = self._known(asked, seen)
        tool = self._find(asked.tool, actor)
        seen.tool, seen.changes = tool.name, tool.changes
        if not _may(actor, tool):
            raise Forbidden(
                f"{actor.lacks(tool.name, tool.role)} Nothing was done.",
                hint="Ask an admin or owner of your team; whoami shows what this key may use.",
            )
        params = validate(tool.params, asked.params, tool.must_say if asked.explicit else ())
        said = params.model_dump(by_alias=True, mode="json", exclude_unset=True)
        seen.params = hidden(tool.params, said)
        # what is risky to read is on record before it is shown
        seen.changes = seen.changes or (tool.may_be_risky and tool.is_risky(params))
        if tool.changes:
            # of what is secret nothing is kept in the clear, so a key may be in it
            refuse_keys({**seen.params, "Idempotency-Key": asked.idempotency_key})
        self._scope(actor, params)
        self._able(tool, params)
        if seen.changes and not getattr(params, "dry_run", False):
            await self._audit.refuse_if_blocked(tool.name)
        key = self._idempotency_key(tool, asked, params)
        seen.unsaid = f"{tool.title}: what it showed is not on record." if tool.holds_secret else ""
        call = Call(
            self._kit, self._engine, actor, tool.name, asked.correlation_id, said, key,
            needs_database=not tool.without_database, holds_secret=tool.holds_secret, told=asked.told,
        )  # fmt: skip
        return await self._run(tool, call, params, seen)

    def _known(self, asked: Asked, seen: "_Seen") -> Actor:
        """Who calls, and one call less for them. Raises `Unauthenticated` and `RateLimited`."""
        actor = seen.actor = self.entrance.know(asked.token, asked.ip)
        seen.allowance = self.entrance.count(actor)
        if seen.allowance is not None and not seen.allowance.granted:
            raise too_often(seen.allowance)
        return actor

    def _find(self, name: Any, actor: Actor) -> Tool[Any]:
        tool = self._called.get(name) if isinstance(name, str) else None
        if tool is None:
            word = name[:64] if isinstance(name, str) else ""
            near = did_you_mean(word, [each.name for each in self.offered(actor)])
            raise NotFound(
                "There is no such tool; nothing was done.", code="unknown_tool", hint=near or "GET /api/tools lists them."
            )
        return tool

    def _scope(self, actor: Actor, params: Params) -> None:
        """Environment and project of a key, for every tool that has such fields."""
        environment = getattr(params, "environment", None)
        if environment is not None and not actor.may_touch(environment):
            raise Forbidden(f"This key does not reach {environment}; nothing was done.", hint="Use a key for that environment.")
        project = getattr(params, "project_name", None)
        if project is not None and actor.projects and project not in actor.projects:
            raise unknown_project(project, actor.projects)

    def _able(self, tool: Tool[Any], params: Params) -> None:
        """What changes something needs a process that leads, and mostly the database itself. Raises `Unavailable`."""
        if not tool.changes or getattr(params, "dry_run", False):
            return
        standing = self._kit.store.standing
        if not standing.leads:
            raise self._not_leading()
        if standing.degraded and not tool.without_database:
            able = sorted(each.name for each in self._tools.values() if each.changes and each.without_database)
            raise degraded(tool.name, standing, able)

    def _not_leading(self) -> Unavailable:
        leader = self._kit.store.standing.leader
        return Unavailable(
            f"This process does not lead, so it changes nothing; {leader or 'no process'} leads at the moment.",
            code="not_leader", hint="Send the call there, or repeat it in a few seconds if nobody leads.",
            details={"leader": leader},
        )  # fmt: skip

    def _idempotency_key(self, tool: Tool[Any], asked: Asked, params: Params) -> str | None:
        if not tool.changes:
            return None
        said: str | None = getattr(params, "idempotency_key", None)
        header = asked.idempotency_key
        if header is None:
            return said
        try:
            grammar.idempotency_key(header)
        except ValueError as fault:
            problem = {"field": "Idempotency-Key", "problem": str(fault)}
            raise InvalidParams(f"Idempotency-Key: {fault}; nothing was done.", details={"fields": [problem]}) from None
        if said not in (None, header):
            raise InvalidParams("The header Idempotency-Key and the field idempotencyKey differ; nothing was done.")
        return header

    async def _run(self, tool: Tool[Any], call: Call, params: Params, seen: "_Seen") -> dict[str, Any]:
        applies = tool.changes and not getattr(params, "dry_run", False)
        if applies and (first := await call.first_answer()):
            return replayed(first, paths(tool.result))
        await consent(tool, call, params)
        try:
            outcome = await tool.run(call, params)
        except Replayed as replay:
            return replayed(replay.answer, paths(tool.result))
        if not isinstance(outcome.result, (tool.result, Plan, Accepted)):
            raise TypeError(f"{tool.name} answered {type(outcome.result).__name__}, not {tool.result.__name__}")
        await call.end_approval()
        seen.begun = outcome.result.operation_id if isinstance(outcome.result, Accepted) else None
        body = {"success": True, **outcome.wire}
        if applies and not isinstance(outcome.result, Accepted):
            await call.keep_answer(body)
        return body


def _may(actor: Actor, tool: Tool[Any]) -> bool:
    """A key that was narrowed to a tool before it was called as it is now may use it still."""
    return any(actor.may_use(name, tool.role) for name in (tool.name, *tool.aliases))


@dataclass
class _Seen:
    """What the audit row will say of a call, as far as it got."""

    tool: str = "unknown"
    actor: Actor | None = None
    changes: bool = False
    unsaid: str = ""
    """in place of the summary, where that is not to be kept"""
    params: dict[str, Any] = field(default_factory=dict)
    allowance: Allowance | None = None
    begun: str | None = None


def replayed(answer: Mapping[str, Any], others: tuple[str, ...] = ()) -> dict[str, Any]:
    """The first answer; one that was lost before its envelope was kept: the data, and that it is a repetition."""
    if "success" in answer:
        return dict(answer)
    return {
        "success": True,
        **answer,
        "summary": "This was done before, under the same idempotency key.",
        "next": [],
        "warnings": [],
        **({"untrusted": list(others)} if others else {}),
    }


def failed(fault: PublicError) -> dict[str, Any]:
    """The envelope of a refusal. A call that would help, where the details name one, is also the likely next one."""
    helps = fault.details.get("redeploy") or fault.details.get("repeat")
    body = {
        "success": False, "error": fault.message, "code": fault.code, "hint": fault.hint, "details": fault.details,
        "retryable": fault.retryable, "summary": fault.message, "next": [helps] if helps else [], "warnings": [],
    }  # fmt: skip
    if theirs := [f"details.{name}" for name in EVIDENCE if name in fault.details]:
        body["untrusted"] = theirs
    # a refusal names what it refuses, and that may be a key in the wrong place
    return {name: without_keys(each) for name, each in body.items()} if holds_key(body) else body


def internal(correlation_id: str) -> dict[str, Any]:
    message = "CodeB ran into a fault of its own. What is running goes on running."
    return {
        "success": False, "error": message, "code": "internal", "hint": f"The server's log has it under {correlation_id}.",
        "details": {}, "retryable": False, "summary": message, "next": [], "warnings": [],
    }  # fmt: skip
