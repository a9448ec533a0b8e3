"""Whether a risky call may be made just so: the one place where the policies of key and team are enforced.

A call that may not is rehearsed, and the refusal says what it would do and what is needed: its name typed, or another
identity's yes to exactly this plan. Nothing is remembered under the call's idempotency key: a refusal is no effect.
"""

import hashlib
import json
from dataclasses import replace
from typing import Any, TypeVar

from codeb.contracts.store import Registry
from codeb.errors import Conflict, InternalFault, StalePlan
from codeb.model.access import Approval
from codeb.model.approvals import STANDS_FOR, Decision, PlanApproval, nobody_stands_by, policy
from codeb.model.events import Event, Severity
from codeb.tools.call import Call
from codeb.tools.fields import Params
from codeb.tools.people import known
from codeb.tools.refusals import degraded, spent
from codeb.tools.tool import Plan, Tool

P = TypeVar("P", bound=Params)

HOW = frozenset({"dryRun", "planId", "idempotencyKey", "wait", "confirm"})
"""fields that say how a call is made, not what it does"""

MOST_WAITING = 20
"""of one key: who decides is not to be buried, so that one more yes goes unread"""


async def consent(tool: Tool[P], call: Call, params: P) -> None:
    """Return when the call may be made; then `call.approval` names what it has to use up, if anything.

    Raises `Conflict`: `confirm_needed`, `approval_needed`, or `approval_{state}` for one that is over; `StalePlan`; and what
    the rehearsal raises.
    """
    if not tool.may_be_risky or getattr(params, "dry_run", False) or not tool.is_risky(params):
        return
    needed = policy(call.actor, call.kit.store.snapshot.teams.get(call.actor.team))
    if needed is Approval.NONE:
        return
    if needed is Approval.NAME:
        await _named(tool, call, params)
        return
    body = body_of(tool, params)
    said = getattr(params, "plan_id", None)
    if said is not None and (found := await _asked_before(call, body, said)):
        _apply(call, found)
        return
    drafted = await _rehearsed(tool, call, params)
    raise _needed(call, tool, await _ask(tool, call, params, drafted, body))


def body_of(tool: Tool[P], params: P) -> str:
    """The same for two calls that do the same, whatever they leave to a default."""
    done = {name: value for name, value in params.model_dump(by_alias=True, mode="json").items() if name not in HOW}
    return hashlib.sha256(json.dumps([tool.name, done], sort_keys=True).encode()).hexdigest()


async def _rehearsed(tool: Tool[P], call: Call, params: P) -> Plan:
    """The tool's own dry run of this call. Raises `StalePlan` when the caller has another plan in hand."""
    outcome = await tool.run(
        replace(call, idempotency_key=None), params.model_copy(update={"dry_run": True, "plan_id": None})
    )  # fmt: skip
    if not isinstance(outcome.result, Plan):
        raise InternalFault(f"the dry run of {tool.name} is no plan")
    if getattr(params, "plan_id", None) not in (None, outcome.result.plan_id):
        raise StalePlan("Things changed since the plan was made; nothing was done.", hint="Ask again without planId.")
    return outcome.result


def _repeat(tool: Tool[P], call: Call, why: str, **more: Any) -> dict[str, Any]:
    """This call as it is to be made again."""
    params = {name: value for name, value in call.params.items() if name != "idempotencyKey"}
    return {"tool": tool.name, "params": params | more, "why": why}


def _shown(drafted: Plan | PlanApproval) -> dict[str, Any]:
    return {
        "planId": drafted.plan_id, "plan": dict(drafted.plan), "changes": list(drafted.changes), "touches": dict(drafted.touches),
    }  # fmt: skip


# the name typed


async def _named(tool: Tool[P], call: Call, params: P) -> None:
    name = getattr(params, tool.acts_on)
    if name is not None and getattr(params, "confirm", "") == name:
        return
    drafted = await _rehearsed(tool, call, params)
    if name is None:
        raise Conflict(f"This call does not say what {tool.name} acts on; nothing was done.", code="confirm_needed")
    raise Conflict(
        f"{tool.name} of {name} has to be confirmed; nothing was done.", code="confirm_needed",
        hint=f"Repeat the call with the name typed as confirm: {name}.",
        details={
            **_shown(drafted), "confirm": name,
            "repeat": _repeat(tool, call, "do exactly this", confirm=name, planId=drafted.plan_id),
        },
    )  # fmt: skip


# another identity


async def _asked_before(call: Call, body: str, plan_id: str) -> PlanApproval | None:
    """The newest approval of exactly this: key, tool, params and plan."""
    found = await call.kit.store.consult(
        lambda registry: registry.approvals.of_key(call.actor.key_id, 1, body_sha256=body, plan_id=plan_id)
    )
    return found[0] if found and found[0].stands(call.kit.world.now()) is not Decision.WAITING else None


def _apply(call: Call, found: PlanApproval) -> None:
    """Raises `Conflict` unless it is approved. The transaction that acts asks once more."""
    stands = found.stands(call.kit.world.now())
    if stands is Decision.REJECTED:
        raise rejected(found)
    if stands is Decision.APPROVED and nobody_stands_by(found, known(call)):
        raise Conflict(
            f"The key that approved {found.id} is not valid any more, so its word is not either; nothing was done.",
            code="approval_void", hint="Ask again without planId.", details={"approvalId": found.id},
        )  # fmt: skip
    # Used, and under an idempotency key: perhaps by this very call. Then the tool finds what it began, and begins nothing.
    if stands is not Decision.APPROVED and not (stands is Decision.USED and call.idempotency_key):
        raise spent(found.id, stands)
    call.approval = found.id


async def _ask(tool: Tool[P], call: Call, params: P, drafted: Plan, body: str) -> PlanApproval:
    """The approval that waits for this plan: the one there is, or a new one. Raises `Unavailable` without the database."""
    world, store, actor = call.kit.world, call.kit.store, call.actor

    async def act(registry: Registry) -> PlanApproval:
        if store.standing.degraded:
            # nobody could decide, and an hour is soon over
            raise degraded(f"an approval of {tool.name}", store.standing)
        now, roles = world.now(), registry.approvals
        # whatever its params were: other words for the same plan are no other question
        for each in await roles.of_key(actor.key_id, MOST_WAITING, plan_id=drafted.plan_id, state=Decision.REJECTED):
            if now < each.expires_at:
                return each
        for each in await roles.of_key(actor.key_id, MOST_WAITING, body_sha256=body):
            if each.plan_id == drafted.plan_id and each.stands(now) in (Decision.WAITING, Decision.APPROVED):
                return each
            if each.state is Decision.WAITING:
                over = Decision.EXPIRED if each.stands(now) is Decision.EXPIRED else Decision.STALE
                await roles.move(each.id, Decision.WAITING, over)
        waiting = await roles.of_key(actor.key_id, MOST_WAITING * 2, state=Decision.WAITING)
        if sum(each.stands(now) is Decision.WAITING for each in waiting) >= MOST_WAITING:
            raise Conflict(
                f"{MOST_WAITING} calls of this key wait for an approval already; nothing was done.", code="too_many_waiting",
                hint="See approval_list; wait until some are decided.",
            )  # fmt: skip
        fresh = PlanApproval(
            id=world.new_id("ap"), team=actor.team, tool=tool.name, project=getattr(params, "project_name", None),
            environment=getattr(params, "environment", None),
            params={name: value for name, value in call.params.items() if name not in HOW}, body_sha256=body,
            plan_id=drafted.plan_id, plan=drafted.plan, changes=tuple(drafted.changes), touches=drafted.touches,
            state=Decision.WAITING, requested_key=actor.key_id, requested_by=actor.name, created_at=now,
            expires_at=now + STANDS_FOR,
        )  # fmt: skip
        await roles.add(fresh)
        await registry.events.add(
            Event(
                world.new_id("ev"), now, "approval_asked", Severity.INFO,
                f"{actor.name} asks for an approval: {fresh.what} ({'; '.join(fresh.changes)}).", actor.team, fresh.project,
                fresh.environment, data={"approvalId": fresh.id, "tool": tool.name, "expiresAt": fresh.expires_at.isoformat()},
            )
        )  # fmt: skip
        return fresh

    return await store.transact(act)


def rejected(found: PlanApproval) -> Conflict:
    return Conflict(
        f"{found.decided_by} said no to {found.what}. Nothing was done.", code="approval_rejected",
        hint="Talk to whoever said no; asking again for the same plan gets the same answer for an hour.",
        details={"approvalId": found.id, "state": found.state.value, "reason": found.reason or ""},
    )  # fmt: skip


def _needed(call: Call, tool: Tool[Any], asked: PlanApproval) -> Conflict:
    if asked.state is Decision.REJECTED:
        return rejected(asked)
    given = asked.state is Decision.APPROVED
    told = f"{asked.what} is approved" if given else f"{asked.what} needs another identity's approval"
    then = (
        "Repeat the call with planId."
        if given
        else f"Somebody else with the right to make this call approves it: `we approve {asked.id}`, or rejects it. "
        "Then repeat the call with planId."
    )
    return Conflict(
        f"{told}; nothing was done yet.", code="approval_needed", hint=then,
        details={
            "approvalId": asked.id, "state": asked.state.value, **_shown(asked), "expiresAt": asked.expires_at.isoformat(),
            "repeat": _repeat(tool, call, "once it is approved", planId=asked.plan_id),
        },
    )  # fmt: skip
